"""Locks between processes, by oslo.concurrency: files that the kernel unlocks when their holder dies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOG = logging.getLogger(__name__)


class FileLocks:
    """Named locks, one file each below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def hold(self, name: str, *, blocking: bool = True) -> Iterator[bool]:
        """Hold the lock ``name``; yields False at once when ``blocking`` is False and another process has it."""
        from oslo_concurrency import lockutils

        self._directory.mkdir(parents=True, exist_ok=True)
        lock = lockutils.external_lock(name, lock_path=str(self._directory))
        got = lock.acquire(blocking=blocking)
        try:
            yield got
        finally:
            if got:
                lock.release()

    def forget(self, name: str) -> None:
        """Remove the file of a lock nobody needs any more."""
        with suppress(FileNotFoundError):
            (self._directory / name).unlink()
