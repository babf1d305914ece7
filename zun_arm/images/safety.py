"""What no layer of a userland may contain: ways out of its root, and raw devices.

Docker confines unpacking itself; these checks refuse a hostile archive before it gets that far, with the member's
name. Whiteouts (``.wh.NAME``, OCI image specification, layer.md) are legal.
"""

from __future__ import annotations

import tarfile

from zun_arm.errors import BadImage

_HINT = "the archive is not a plain userland: do not use it unless you know who made it"
_LONGEST_PATH = 4096  # PATH_MAX
_MOST_LINKS = 200_000

# Character devices any container has anyway (Linux, Documentation/admin-guide/devices.txt); debootstrap packs them.
_HARMLESS_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "console": (5, 1),
    "ptmx": (5, 2),
}
_WHITEOUT = ".wh."


def clean_path(name: str, *, why: str = "the member") -> str:
    """A member's path without ``./``, or :class:`BadImage` if it is absolute or climbs with ``..``."""
    if name.startswith("/"):
        raise BadImage(f"{why} {_short(name)} is an absolute path", hint=_HINT)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadImage(f"{why} {_short(name)} leads out of the archive's root", hint=_HINT)
    if len(name) > _LONGEST_PATH:
        raise BadImage(f"{why} {_short(name)} has a path longer than {_LONGEST_PATH} characters", hint=_HINT)
    return "/".join(parts)


class LayerGuard:
    """Checks the members of one layer, in order. Remembers the layer's symbolic links (as hashes, to save memory)."""

    def __init__(self) -> None:
        self._links: set[int] = set()

    def check(self, header: tarfile.TarInfo) -> str:
        """The member's clean path; :class:`BadImage` if it may not be in a layer."""
        path = clean_path(header.name)
        if not path:
            return path
        self._check_parents(path, "the member")
        self._check_whiteout(path)
        if header.islnk():
            target = clean_path(header.linkname, why=f"the hard link {_short(path)} leads outside: its target")
            self._check_parents(target, f"the hard link {_short(path)} to")
        elif header.isblk() or (header.ischr() and not _harmless(header)):
            numbers = f"{header.devmajor}:{header.devminor}"
            raise BadImage(f"the member {_short(path)} is a device node ({numbers})", hint=_HINT)
        if header.issym():
            self._remember(path)
        elif self._links:
            self._links.discard(hash(path))
        return path

    def _remember(self, path: str) -> None:
        self._links.add(hash(path))
        if len(self._links) > _MOST_LINKS:
            raise BadImage(f"a layer has more than {_MOST_LINKS} symbolic links", hint=_HINT)

    def _check_parents(self, path: str, who: str) -> None:
        """No member may be written through a symbolic link of the same layer: the link can lead anywhere."""
        end = path.find("/")
        while end > 0 and self._links:
            if hash(path[:end]) in self._links:
                raise BadImage(f"{who} {_short(path)} goes through the symbolic link {_short(path[:end])}", hint=_HINT)
            end = path.find("/", end + 1)

    @staticmethod
    def _check_whiteout(path: str) -> None:
        name = path.rpartition("/")[2]
        if name in (_WHITEOUT, f"{_WHITEOUT}.", f"{_WHITEOUT}.."):
            raise BadImage(f"the whiteout {_short(path)} would delete its own directory", hint=_HINT)


def _harmless(header: tarfile.TarInfo) -> bool:
    name = header.name.rstrip("/").rpartition("/")[2]
    return _HARMLESS_DEVICES.get(name) == (header.devmajor, header.devminor)


def _short(path: str) -> str:
    return repr(path if len(path) <= 120 else f"{path[:100]}...")
