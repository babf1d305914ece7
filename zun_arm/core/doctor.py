"""What this host needs to run sandboxes, what it has, and the cure for each thing it lacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from zun_arm.core import room
from zun_arm.core.platforms import ARM64, ARM_V7
from zun_arm.core.policy import Host
from zun_arm.errors import ZunArmError


class Verdict(StrEnum):
    """``fail``: no sandbox can run; ``warn``: something a user may ask for will be refused or missing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at: what was found, and the cure when it is not as it should be."""

    name: str
    verdict: Verdict
    found: str
    cure: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The form of ``zun-arm doctor --format json``."""
        return {"name": self.name, "verdict": self.verdict.value, "found": self.found, "cure": self.cure}


def examine(host: Host, tools: dict[str, Callable[[], str]]) -> list[Check]:
    """Look at everything. ``tools`` are further things to find: name -> how (it returns where, or raises)."""
    checks = [_root(), *_tools(tools), _engine(host)]
    if checks[-1].verdict is Verdict.FAIL:
        return [*checks, *_board(host)]
    return [*checks, *_limits(host), *_board(host), _tried("room", _room, host), _tried("network", _network, host)]


def _tried(name: str, look: Callable[[Host], Check], host: Host) -> Check:
    """A check that may itself be refused by this host."""
    try:
        return look(host)
    except ZunArmError as err:
        return Check(name=name, verdict=Verdict.FAIL, found=err.message, cure=err.hint)
    except OSError as err:
        found = f"{err.filename or 'a file'}: {err.strerror}"
        return Check(name=name, verdict=Verdict.FAIL, found=found, cure="run as root, as in sudo zun-arm")


def _root() -> Check:
    if os.geteuid() == 0:
        return Check(name="root", verdict=Verdict.OK, found="running as root")
    return Check(
        name="root",
        verdict=Verdict.FAIL,
        found=f"running as user {os.geteuid()}",
        cure="run as root, as in sudo zun-arm",
    )


def _tools(tools: dict[str, Callable[[], str]]) -> Iterator[Check]:
    for name, find in tools.items():
        try:
            yield Check(name=name, verdict=Verdict.OK, found=find())
        except ZunArmError as err:
            yield Check(name=name, verdict=Verdict.FAIL, found=err.message, cure=err.hint)


def _engine(host: Host) -> Check:
    try:
        facts = host.engine.facts()
    except ZunArmError as err:
        return Check(name="docker", verdict=Verdict.FAIL, found=err.message, cure=err.hint)
    found = f"Docker {facts.version}, API {facts.api_version}, {facts.storage_driver}, cgroup v{facts.cgroup_version}"
    return Check(name="docker", verdict=Verdict.OK, found=found)


def _limits(host: Host) -> Iterator[Check]:
    for limit in ("memory", "swap", "cpu", "pids", "disk"):
        name = f"{limit} limit"
        if host.engine.facts().enforced[limit]:
            yield Check(name=name, verdict=Verdict.OK, found="holds")
        else:
            verdict = Verdict.FAIL if limit not in ("swap", "disk") and host.policy.refuse_unenforced else Verdict.WARN
            yield Check(name=name, verdict=verdict, found="would be ignored", cure=room.cure(limit))


def _board(host: Host) -> Iterator[Check]:
    board = host.board.describe()
    for platform, run in board.runs.items():
        if run.execution is not None:
            yield Check(name=platform, verdict=Verdict.OK, found=f"{run.execution.value}: {run.why}")
            if run.emulator is not None and "C" not in run.emulator.flags:
                yield Check(
                    name=f"{platform} setuid",
                    verdict=Verdict.WARN,
                    found="sudo, su and other setuid programs have no effect in emulated sandboxes "
                    f"(binfmt flags {run.emulator.flags or 'none'}, no C)",
                    cure="log in as the user you need, or run on a board; flag C would trust every emulated image as root",
                )
        elif platform in (ARM_V7, ARM64):
            yield Check(
                name=platform,
                verdict=Verdict.WARN,
                found=run.why,
                cure="apt-get install qemu-user-static; without systemd, register it: tools/quickstart does",
            )


def _room(host: Host) -> Check:
    memory = host.board.memory_available_mib() - host.policy.reserved_memory_mib
    disk = host.board.disk_free_mib(host.engine.facts().data_root) - host.policy.reserved_disk_mib
    found = f"{max(0, memory)} MiB of memory and {max(0, disk)} MiB of disk are free for sandboxes"
    if memory < host.policy.limits.memory_mib or disk < 1:
        return Check(name="room", verdict=Verdict.WARN, found=found, cure="stop or delete sandboxes, or remove images")
    return Check(name="room", verdict=Verdict.OK, found=found)


def _network(host: Host) -> Check:
    host.network.ensure()
    return Check(name="network", verdict=Verdict.OK, found="bridge and rules are there")
