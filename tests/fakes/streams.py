"""A live connection to a program of a fake sandbox."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from fakes.programs import Outcome


class FakeStreams:
    """Gives what the program writes; one that stays (``cat``) gives back what it is sent, until its input ends."""

    def __init__(self, outcome: Outcome, *, tty: bool) -> None:
        self.tty = tty
        self.sizes: list[tuple[int, int]] = []
        self._code = outcome.code
        self._pieces: queue.Queue[tuple[int, bytes] | None] = queue.Queue()
        for number, text in ((1, outcome.stdout), (2, outcome.stderr)):
            if text:
                self._pieces.put((1 if tty else number, text))
        if outcome.code is not None:
            self._pieces.put(None)

    def output(self) -> Iterator[tuple[int, bytes]]:
        while (piece := self._pieces.get(timeout=5)) is not None:
            yield piece

    def send(self, data: bytes) -> None:
        self._pieces.put((1, data))

    def end_input(self) -> None:
        if self._code is None:
            self._code = 0
            self._pieces.put(None)

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def exit_code(self) -> int:
        assert self._code is not None, "asked for the exit code of a program that still runs: the real one waits"
        return self._code

    def close(self) -> None:
        self._pieces.put(None)
