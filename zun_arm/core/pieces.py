"""Pieces of bytes, as an HTTP answer brings them, read as a file."""

from __future__ import annotations

import io
from collections.abc import Iterator


class Pieces(io.RawIOBase):
    """A readable stream over an iterator; it holds no more than was asked for and one piece."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """For io.BufferedReader."""
        told = self.read(len(buffer))
        buffer[: len(told)] = told
        return len(told)

    def read(self, size: int = -1) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end; all of them when ``size`` is negative."""
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                size = len(self._rest)
                break
            self._rest += piece
        told, self._rest = self._rest[:size], self._rest[size:]
        return told
