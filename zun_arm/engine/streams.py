"""Live input and output of a program in a sandbox: Docker's hijacked connection, with or without a terminal.

Without a terminal Docker interleaves stdout and stderr in frames: 1 byte stream number, 3 bytes of zero, 4 bytes length
(big endian), then the bytes. Source: Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

_HEADER = 8
_CHUNK = 65536
STDOUT, STDERR = 1, 2


class Attachment:
    """One connection. ``output`` gives pieces as (1 or 2, bytes); with a terminal all of it is 1."""

    def __init__(self, raw: Any, *, tty: bool, resize: Callable[[int, int], object], code: Callable[[], int]) -> None:
        self._raw = raw
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.settimeout(None)
        self.tty = tty
        self._resize = resize
        self.exit_code = code

    def output(self) -> Iterator[tuple[int, bytes]]:
        """What the program writes, until it ends or the connection is closed."""
        pending = b""
        while True:
            try:
                piece = self._socket.recv(_CHUNK)
            except OSError:
                return
            if not piece:
                return
            if self.tty:
                yield STDOUT, piece
                continue
            pending += piece
            while len(pending) >= _HEADER:
                length = int.from_bytes(pending[4:_HEADER], "big")
                if len(pending) < _HEADER + length:
                    break
                yield pending[0], pending[_HEADER : _HEADER + length]
                pending = pending[_HEADER + length :]

    def send(self, data: bytes) -> None:
        """Write to the program's input."""
        self._socket.sendall(data)

    def end_input(self) -> None:
        """Tell the program that its input is over."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program's terminal its size, in characters; a program that just ended is no error."""
        with suppress(Exception):
            self._resize(rows, columns)

    def close(self) -> None:
        """Give the connection up; the program goes on."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for end in (self._raw, self._socket):
            with suppress(OSError):
                end.close()
