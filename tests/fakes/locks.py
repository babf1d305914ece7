"""Locks in memory; as with the real ones, who has a lock and takes it again waits for ever, which is told instead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fakes.trace import Trace


class FakeLocks:
    """:class:`zun_arm.core.seams.Locks`; ``held`` says which thread has what, ``files`` which lock files are there."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = trace or Trace()
        self.held: dict[str, int] = {}
        self.files: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, name: str, *, blocking: bool = True) -> Iterator[bool]:
        with self.trace.step("locks.hold"):
            got = self._take(name, blocking)
        try:
            yield got
        finally:
            if got:
                with self._changed:
                    del self.held[name]
                    self._changed.notify_all()

    def _take(self, name: str, blocking: bool) -> bool:
        with self._changed:
            self.files.add(name)
            if name in self.held:
                if not blocking:
                    return False
                assert self.held[name] != threading.get_ident(), f"deadlock: {name} is taken by the thread that has it"
                assert self._changed.wait_for(lambda: name not in self.held, timeout=5), f"{name} is never given back"
            self.held[name] = threading.get_ident()
            return True

    def forget(self, name: str) -> None:
        with self.trace.step("locks.forget"):
            self.files.discard(name)
