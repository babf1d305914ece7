"""Making a bare root file system the userland a recipe describes: files in, leftovers out, a user if it has one."""

from __future__ import annotations

from zun_arm.images.recipes import Recipe, User
from zun_arm.images.tree import Tree

# What differs from build to build or belongs to the machine that built; Docker provides /dev, /proc and /sys.
_LEFTOVERS = (
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/tmp",
    "var/log",
    "var/cache",
    "var/lib/apt/lists",
    "var/lib/apt/extended_states",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/random-seed",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/machine-id",
    "etc/.pwd.lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/ssh/ssh_host_*",
    "root/.bash_history",
)
_MOUNT_POINTS = ("dev", "proc", "run", "sys")
_SECONDS_A_DAY = 86400


def dress(tree: Tree, recipe: Recipe) -> None:
    """Apply a recipe to an unpacked set of packages."""
    tree.drop(recipe.drop, recipe.keep)
    tree.drop_files(_LEFTOVERS)
    tree.drop([f"{each}/*" for each in (*_MOUNT_POINTS, "tmp")])
    for path in _MOUNT_POINTS:
        tree.put_directory(path)
    tree.put_directory("tmp", mode=0o1777)
    tree.put_directory("var/tmp", mode=0o1777)
    tree.put_file("etc/machine-id", b"")
    for link, target in recipe.links.items():
        tree.put_link(link, target)
    if recipe.user is not None:
        _add_user(tree, recipe.user, int(recipe.date.timestamp()) // _SECONDS_A_DAY)
    for directory in recipe.directories:
        tree.put_directory(directory.path, mode=directory.mode)
    for file in recipe.files:
        tree.put_file(file.path, file.data, mode=file.mode)


def _add_user(tree: Tree, user: User, day: int) -> None:
    """What useradd does, without running it: entries, a home from /etc/skel, and a place for SSH keys.

    The password field ``*`` lets nobody in with a password, and keys work (``!`` would lock the account for sshd).
    """
    home = f"home/{user.name}"
    tree.append("etc/passwd", f"{user.name}:x:{user.id}:{user.id}::/{home}:{user.shell}")
    tree.append("etc/group", f"{user.name}:x:{user.id}:")
    tree.append("etc/shadow", f"{user.name}:*:{day}:0:99999:7:::")
    if "etc/gshadow" in tree:
        tree.append("etc/gshadow", f"{user.name}:!::")
    tree.put_directory(home, mode=0o755, owner=user.id)
    tree.copy("etc/skel", home, owner=user.id)
    tree.put_directory(f"{home}/.ssh", mode=0o700, owner=user.id)
