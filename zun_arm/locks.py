"""Locks between processes, by oslo.concurrency: files that the kernel unlocks when their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any


class FileLocks:
    """Named locks, one file each below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    @contextmanager
    def hold(self, name: str, *, blocking: bool = True) -> Iterator[bool]:
        """Hold the lock ``name``; yields False at once when not ``blocking`` and another process or thread has it."""
        from oslo_concurrency import lockutils

        self._directory.mkdir(parents=True, exist_ok=True)
        # The kernel's file locks belong to processes: threads need locks of their own beside them.
        threads = lockutils.internal_lock(str(self._directory / name), blocking=blocking)
        processes = lockutils.external_lock(name, lock_path=str(self._directory))
        with ExitStack() as held:
            try:
                held.enter_context(threads)
            except lockutils.AcquireLockFailedException:
                yield False
                return
            got = processes.acquire(blocking=blocking)
            held.callback(_let_go, processes, got)
            yield got

    def forget(self, name: str) -> None:
        """Remove the file of a lock nobody needs any more."""
        with suppress(FileNotFoundError):
            (self._directory / name).unlink()


def _let_go(lock: Any, got: bool) -> None:
    """Release a lock; one that was refused still has its file open."""
    if got:
        lock.release()
    elif lock.lockfile is not None:
        lock.lockfile.close()
        lock.lockfile = None
