"""Locks between processes, by oslo.concurrency: files that the kernel unlocks when their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any


class FileLocks:
    """Named locks, one file each below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._threads: Any = None

    @contextmanager
    def hold(self, name: str, *, blocking: bool = True) -> Iterator[bool]:
        """Hold the lock ``name``; yields False at once when not ``blocking`` and another process or thread has it."""
        from oslo_concurrency import lockutils

        self._directory.mkdir(parents=True, exist_ok=True)
        if self._threads is None:
            # The kernel's file locks belong to processes: threads need locks of their own beside them.
            self._threads = lockutils.Semaphores()
        lock = lockutils.lock(
            name,
            external=True,
            lock_path=str(self._directory),
            do_log=False,
            semaphores=self._threads,
            blocking=blocking,
        )
        with ExitStack() as held:
            try:
                held.enter_context(lock)
            except lockutils.AcquireLockFailedException:
                yield False
            else:
                yield True

    def forget(self, name: str) -> None:
        """Remove the file of a lock nobody needs any more."""
        with suppress(FileNotFoundError):
            (self._directory / name).unlink()
