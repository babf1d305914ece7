"""Reading a machine's /proc and /sys, or a saved copy of them, without ever leaving the root or failing."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path

#: Most bytes read of one file: a 256-core x86 machine's cpuinfo is about 300 KiB.
MAX_BYTES = 1 << 20
#: Most names read of one directory.
MAX_NAMES = 1024


class Tree:
    """Files below one root directory; ``/`` is the live machine.

    A file that is missing, unreadable, no regular file, or outside the root (through a link) reads as None.
    ``seen`` keeps every file's content under the path it was asked for, so that a copy can be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.seen: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        """The first :data:`MAX_BYTES` of a file, or None."""
        content = self._read(path)
        if content is not None:
            self.seen[path] = content
        return content

    def text(self, path: str) -> str:
        """A file as text; empty when it cannot be read, U+FFFD for bytes that are no UTF-8."""
        return (self.read(path) or b"").decode(errors="replace")

    def names(self, path: str) -> tuple[str, ...]:
        """The sorted names in a directory; none when it cannot be read."""
        inside = self._resolve(path)
        if inside is None:
            return ()
        try:
            with os.scandir(inside) as entries:
                return tuple(sorted(entry.name for entry in islice(entries, MAX_NAMES)))
        except OSError:
            return ()

    def _resolve(self, path: str) -> Path | None:
        """The real path behind ``path``, or None when there is none below the root."""
        try:
            real = (self.root / path).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links
            return None
        return real if real.is_relative_to(self.root) else None

    def _read(self, path: str) -> bytes | None:
        inside = self._resolve(path)
        if inside is None:
            return None
        try:
            # O_NONBLOCK: a FIFO in a hostile copy must not hold us.
            fd = os.open(inside, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return _read_all(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else None
        except OSError:
            return None
        finally:
            os.close(fd)


def _read_all(fd: int) -> bytes:
    """Up to :data:`MAX_BYTES` of an open file; files in /proc come a page at a time."""
    content = bytearray()
    while len(content) < MAX_BYTES:
        piece = os.read(fd, MAX_BYTES - len(content))
        if not piece:
            break
        content += piece
    return bytes(content)
