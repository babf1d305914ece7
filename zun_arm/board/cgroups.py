"""Which limits this kernel really enforces: the cgroup version and its controllers.

Sources: Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; proc_pid_mountinfo(5); Raspberry Pi kernels
boot with ``cgroup_disable=memory``, which a later ``cgroup_enable=memory`` undoes.
"""

from __future__ import annotations

from zun_arm.board.tree import Tree

_TOP = "sys/fs/cgroup"
_V1_CONTROLLERS = frozenset(
    {"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc"}
    | {"net_cls", "net_prio", "perf_event", "pids", "rdma"}
)


def cgroups_of(tree: Tree) -> tuple[int | None, tuple[str, ...]]:
    """The version (2: unified; 1: also hybrid; None: not mounted) and the controllers that limit."""
    off = _switched_off(tree.text("proc/cmdline"))
    mounted = _mounted_v1(tree)
    unified = tree.read(f"{_TOP}/cgroup.controllers")
    if unified is not None:
        names = unified.decode(errors="replace").split()
        return 2, tuple(name for name in names if name.isidentifier() and name not in off)
    if mounted:
        return 1, tuple(sorted(mounted - off - _disabled(tree)))
    return None, ()


def _mounted_v1(tree: Tree) -> frozenset[str]:
    """Version 1's controllers by their mounts; by their directories in a copy that has no list of mounts."""
    lists = [_from_mountinfo(tree.text("proc/self/mountinfo")), _from_mounts(tree.text("proc/mounts"))]
    options = next((found for found in lists if found), frozenset(tree.names(_TOP)))
    return frozenset(name for option in options for name in option.split(",")) & _V1_CONTROLLERS


def _from_mountinfo(text: str) -> frozenset[str]:
    """Super options of each cgroup mount: ``... - cgroup cgroup rw,memory``."""
    tails = (line.rpartition(" - ")[2].split() for line in text.splitlines())
    return frozenset(tail[2] for tail in tails if len(tail) >= 3 and tail[0] == "cgroup")


def _from_mounts(text: str) -> frozenset[str]:
    """Options of each cgroup mount: ``cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0``."""
    rows = (line.split() for line in text.splitlines())
    return frozenset(row[3] for row in rows if len(row) >= 4 and row[2] == "cgroup")


def _disabled(tree: Tree) -> frozenset[str]:
    """Controllers with 0 in the last column of /proc/cgroups."""
    rows = (line.split() for line in tree.text("proc/cgroups").splitlines() if not line.startswith("#"))
    return frozenset(row[0] for row in rows if len(row) >= 4 and row[3] == "0")


def _switched_off(cmdline: str) -> frozenset[str]:
    """Controllers the kernel's command line disables; the last word about each one counts."""
    off: set[str] = set()
    for word in cmdline.split():
        option, _, names = word.partition("=")
        if option == "cgroup_disable":
            off.update(names.split(","))
        elif option == "cgroup_enable":
            off.difference_update(names.split(","))
    return frozenset(off)
