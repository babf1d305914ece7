"""Describing a machine: this one, or a saved one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zun_arm.board import cpuinfo, parts
from zun_arm.board.cgroups import cgroups_of
from zun_arm.board.emulators import emulators_of
from zun_arm.board.identity import memory_mib_of, model_of, soc_of
from zun_arm.board.probes import LiveProbes, NoProbes, Probes
from zun_arm.board.runs import TYPICAL, decide
from zun_arm.board.tree import Tree
from zun_arm.core.model import Board, CpuGroup, Run
from zun_arm.core.platforms import PLATFORMS
from zun_arm.errors import NotFound

UNAME = "uname.json"
_MAX_WORD = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Uname:
    """What system calls tell: ``uname -m``, ``uname -r``, and the page size in bytes (0: not known)."""

    machine: str
    release: str
    page_size: int


def describe(root: Path | None = None) -> Board:
    """What a machine is and which platforms it runs.

    ``root`` None: this very machine, with live probes. A directory: a board saved there (``proc/``, ``sys/``,
    ``uname.json``); nothing outside it is read. Files may be missing or wrong; :class:`NotFound` when ``root`` is
    no directory.
    """
    if root is None:
        return assemble(Tree(Path("/")), live_uname(), LiveProbes())
    if not root.is_dir():
        raise NotFound(f"there is no saved board at {root}", hint="give the directory that holds its uname.json")
    tree = Tree(root)
    return assemble(tree, saved_uname(tree), NoProbes())


def assemble(tree: Tree, uname: Uname, probes: Probes) -> Board:
    """A board from its files, what uname said, and what can be asked besides."""
    info = cpuinfo.parse(tree.text("proc/cpuinfo"))
    machine = uname.machine or cpuinfo.machine_of(info)
    family = cpuinfo.family_of(info, machine)
    cpus = cpuinfo.groups_of(info, family)
    model = model_of(tree, info, cpus)
    version, controllers = cgroups_of(tree)
    board = Board(
        arm=family is cpuinfo.Family.ARM,
        model=model,
        soc=soc_of(tree, info, cpus, model),
        cores=max(1, len(info.cpus)),
        cpus=cpus,
        isa=cpuinfo.isa_of(info, family, machine),
        memory_mib=memory_mib_of(tree),
        page_size=uname.page_size or (0 if machine in ("aarch64", "") else 4096),
        machine=machine,
        kernel=uname.release,
        cgroup_version=version,
        cgroup_controllers=controllers,
        emulators=emulators_of(tree, probes.version, probes.cpu),
        runs={},
    )
    return replace(board, runs=_runs(board, probes))


def live_uname() -> Uname:
    """This machine's own answers."""
    told = os.uname()
    return Uname(machine=told.machine, release=told.release, page_size=os.sysconf("SC_PAGE_SIZE"))


def saved_uname(tree: Tree) -> Uname:
    """The answers kept in ``uname.json``; what is missing or senseless is empty or 0."""
    try:
        told = json.loads(tree.text(UNAME))
    except (ValueError, RecursionError):
        told = None
    fields: dict[str, Any] = told if isinstance(told, dict) else {}
    size = fields.get("page_size")
    is_page = isinstance(size, int) and 1024 <= size <= 1 << 20 and size & (size - 1) == 0
    machine, release = _word(fields.get("machine")), _word(fields.get("release"))
    return Uname(machine=machine, release=release, page_size=int(size) if is_page and size else 0)


def as_dict(board: Board) -> dict[str, Any]:
    """The form of ``zun-arm board --format json``."""
    return {
        "arm": board.arm,
        "model": board.model,
        "soc": board.soc,
        "cores": board.cores,
        "isa": board.isa.value,
        "memory_mib": board.memory_mib,
        "page_size": board.page_size,
        "runs": {platform: board.runs[platform].as_dict() for platform in PLATFORMS},
        "cpus": [_cpu_as_dict(cpu) for cpu in board.cpus],
        "machine": board.machine,
        "kernel": board.kernel,
        "cgroup": {"version": board.cgroup_version, "controllers": list(board.cgroup_controllers)},
        "emulators": [
            {
                "name": emulator.name,
                "isa": emulator.isa.value,
                "interpreter": emulator.interpreter,
                "flags": emulator.flags,
                **emulator.as_dict(),
            }
            for emulator in board.emulators
        ],
    }


def _runs(board: Board, probes: Probes) -> dict[str, Run]:
    """One answer for each platform; the kernel is only asked where 32-bit programs are in question."""
    aarch32 = parts.aarch32_of(board.cpus)
    if board.arm and board.machine == "aarch64" and aarch32 is not False:
        asked = probes.aarch32()
        aarch32 = aarch32 if asked is None else asked
    return {platform: decide(board, TYPICAL[platform], aarch32) for platform in PLATFORMS}


def _cpu_as_dict(cpu: CpuGroup) -> dict[str, Any]:
    implementer = None if cpu.implementer is None else f"0x{cpu.implementer:02x}"
    part = None if cpu.part is None else f"0x{cpu.part:03x}"
    return {"name": cpu.name, "count": cpu.count, "implementer": implementer, "part": part}


def _word(value: object) -> str:
    """A short printable string, or nothing."""
    return value[:_MAX_WORD] if isinstance(value, str) and value.isprintable() else ""
