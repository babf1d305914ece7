"""First processes of sandboxes: some wait at their gate, and each has a network namespace of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count


@dataclass
class Process:
    """``at_gate`` until the gate is opened; ``network`` is whether its namespace has a complete link."""

    pid: int
    sandbox_id: str
    at_gate: bool
    go: Callable[[], object] = field(repr=False)
    network: bool = False


class Processes:
    """A process table. No pid of it can be one of this machine's: Linux gives at most 4194304."""

    def __init__(self) -> None:
        self.running: dict[int, Process] = {}
        self._pids = count(5_000_000)

    def spawn(self, sandbox_id: str, *, gated: bool, go: Callable[[], object] = lambda: None) -> Process:
        process = Process(next(self._pids), sandbox_id, gated, go)
        self.running[process.pid] = process
        if not gated:
            go()
        return process

    def end(self, pid: int | None) -> None:
        if pid is not None:
            self.running.pop(pid, None)

    def of(self, sandbox_id: str) -> list[Process]:
        return [process for process in self.running.values() if process.sandbox_id == sandbox_id]
