"""Measuring an image the engine already holds, from the stream of ``docker save``; nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from zun_arm.images.layers import Inspection, Tee
from zun_arm.images.limits import ArchiveLimits, Budget
from zun_arm.images.measure import Measurement, Tally
from zun_arm.images.members import BLOCK, Data, walk
from zun_arm.images.unpack import compression_of, unpacked

_USTAR = slice(257, 262)


def measure_saved(
    stream: BinaryIO,
    *,
    entrypoint: Sequence[str] = (),
    work: Path | None = None,
    limits: ArchiveLimits | None = None,
) -> Measurement | None:
    """What a ``docker save`` stream's programs are; None if it holds none.

    ``entrypoint``: the image's own command line, for ties. ``work``: where an ELF file of more than 1 MiB may lie
    for a moment (an unnamed file). Works for the layouts of all Docker versions, since every member that is a tar
    archive, compressed or not, is a layer. The stream is read to its end. Memory stays below 25 MiB.
    """
    limits = limits or ArchiveLimits()
    inspection = Inspection(Budget(limits), Tally(entrypoint=entrypoint, work=work))
    for member in walk(cast(BinaryIO, _Unseekable(stream)), what="the saved image"):
        head = member.data.read(BLOCK)
        if head[_USTAR] == b"ustar" or compression_of(head):
            what = f"the saved layer {member.name[:100]}"
            whole = cast(BinaryIO, _Joined(head, member.data))
            layer = Tee(unpacked(whole, what=what, limits=limits))
            inspection.layer(layer, what=what)
    while stream.read(BLOCK * BLOCK):
        pass
    return inspection.tally.result()


class _Unseekable:
    """A stream, read forward only."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """All ``size`` bytes, as long as there are any: a socket gives what it has."""
        data = self._stream.read(size)
        while data and len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        return data

    def seekable(self) -> bool:
        return False


class _Joined:
    """The bytes already read of a member, and the rest of it."""

    def __init__(self, head: bytes, rest: Data) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._rest.read(size)

    def seekable(self) -> bool:
        return False
