"""A container's cgroup, found without asking Docker: what it uses, and its first process.

Reading these files takes a fifth of a millisecond, against half a second for Docker's stats.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from zun_arm.core.seams import Usage
from zun_arm.errors import WrongState

_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


class Cgroup:
    """The cgroup of one container. ``driver`` is ``cgroupfs`` or ``systemd``, ``version`` 1 or 2: they decide its place."""

    def __init__(self, container_id: str, driver: str, version: int, root: Path = _CGROUP) -> None:
        group = f"system.slice/docker-{container_id}.scope" if driver == "systemd" else f"docker/{container_id}"
        self._version = version
        self._root = root
        self._group = group

    def _place(self, controller: str) -> Path:
        return self._root / self._group if self._version == 2 else self._root / controller / self._group

    def usage(self) -> Usage:
        """Memory, CPU and processes; :class:`WrongState` when the container does not run."""
        try:
            memory, pids = self._place("memory"), self._place("pids")
            current, cache = (
                ("memory.current", "inactive_file")
                if self._version == 2
                else ("memory.usage_in_bytes", "total_inactive_file")
            )
            return Usage(
                # Page cache the kernel can drop at once is not counted: nor does the kernel when memory runs out.
                memory_bytes=_number(memory / current) - _field(memory / "memory.stat", cache),
                cpu_ns=self._cpu_ns(),
                pids=_number(pids / "pids.current"),
            )
        except FileNotFoundError as err:
            raise WrongState("the sandbox is not running: it uses nothing", hint="zun-arm start NAME") from err

    def _cpu_ns(self) -> int:
        if self._version == 2:
            return _field(self._place("cpu") / "cpu.stat", "usage_usec") * 1000
        return _number(self._place("cpuacct") / "cpuacct.usage")

    def first_process(self, proc: Path = _PROC) -> int | None:
        """The pid, on this host, of the process that is number 1 inside; None while there is none.

        runc makes that process after all namespaces it lives in, so they can be entered from then on.
        """
        for pid in self._processes():
            with suppress(OSError):
                numbers = _line(proc / pid / "status", "NSpid:").split()
                if len(numbers) == 2 and numbers[1] == "1":
                    return int(pid)
        return None

    def _processes(self) -> Iterator[str]:
        with suppress(OSError):
            yield from (self._place("pids") / "cgroup.procs").read_text().split()


def _number(file: Path) -> int:
    return int(file.read_text())


def _field(file: Path, key: str) -> int:
    return int(_line(file, f"{key} ") or 0)


def _line(file: Path, start: str) -> str:
    """What follows ``start`` in the line that begins with it."""
    return next((line[len(start) :] for line in file.read_text().splitlines() if line.startswith(start)), "")
