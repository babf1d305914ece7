"""Walking a tar archive forward, one member at a time, whatever its size and whoever made it.

``tarfile`` parses the headers, but never extracts: it sees the archive through a window that only moves forward
and refuses absurd reads, and what it remembers of earlier members is dropped.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from zun_arm.errors import BadImage
from zun_arm.images.limits import CHUNK

BLOCK = 512
# Longest extended header (long names, extended attributes) taken; Linux limits one attribute to 64 KiB.
_MOST_HEADER_BYTES = 512 * 1024
_MOST_GLOBAL_HEADERS = 64
_AGAIN = "it may be an incomplete download: get it again"


class Data:
    """The content of one member; readable until the next member is asked for."""

    def __init__(self, forward: _Forward, size: int) -> None:
        self._forward = forward
        self.left = size

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes (-1: at most one chunk); empty at the end."""
        wanted = min(self.left, CHUNK if size < 0 else size)
        if wanted == 0:
            return b""
        block = self._forward.take(wanted)
        if len(block) < wanted:
            raise self._forward.cut_off()
        self.left -= wanted
        return block


@dataclass(frozen=True, slots=True)
class Member:
    """A tar member: its header, and its content where it has one (a sparse file's is not given)."""

    header: tarfile.TarInfo
    data: Data

    @property
    def name(self) -> str:
        return self.header.name


def walk(stream: BinaryIO, *, what: str, need_end: bool = False) -> Iterator[Member]:
    """All members of an uncompressed tar stream, in order; :class:`BadImage` where it is damaged or cut off.

    ``need_end``: also insist on the end-of-archive marker, for archives no digest vouches for. A seekable stream
    must be at its beginning; contents not read are skipped.
    """
    forward = _Forward(stream, what)
    try:
        archive = tarfile.open(fileobj=cast(BinaryIO, forward), mode="r:", encoding="utf-8")  # noqa: SIM115
        while (header := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]
            if header.size < 0 or len(archive.pax_headers) > _MOST_GLOBAL_HEADERS:
                raise BadImage(f"{what} is damaged: the header of {header.name[:200]!r} makes no sense", hint=_AGAIN)
            if header.type not in tarfile.SUPPORTED_TYPES:
                raise BadImage(
                    f"{what} has a member of unknown type {header.type!r}: {header.name[:200]!r}",
                    hint="make the archive with GNU tar's default format",
                )
            size = header.size if header.isreg() and not header.issparse() else 0
            yield Member(header, Data(forward, size))
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, IndexError, KeyError) as err:
        raise BadImage(f"{what} is not a sound tar archive: {err}", hint=_AGAIN) from err
    forward.check_end(need_end)


class _Forward:
    """A file object for ``tarfile`` that moves forward only; seeks where the stream below can, else reads on."""

    def __init__(self, stream: BinaryIO, what: str) -> None:
        self._stream = stream
        self._what = what
        self._seekable = stream.seekable()
        self._position = 0
        self._last = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        """A header, as tarfile asks for it."""
        if not 0 <= size <= _MOST_HEADER_BYTES:
            raise BadImage(f"{self._what} is damaged: it has a header of {size} bytes", hint=_AGAIN)
        self._last = self.take(size)
        return self._last

    def take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0 or position < self._position:
            raise BadImage(f"{self._what} is damaged: a header leads backwards", hint=_AGAIN)
        if self._seekable:
            self._stream.seek(position - self._position, 1)
            self._position = position
        while self._position < position:
            if not self.take(min(CHUNK, position - self._position)):
                raise self.cut_off()
        return position

    def check_end(self, need_end: bool) -> None:
        """The last header block read must be the zero block that ends an archive (or, if allowed, nothing)."""
        if self._last.count(0) == BLOCK == len(self._last) or (not self._last and not need_end):
            return
        if len(self._last) < BLOCK:
            raise self.cut_off()
        raise BadImage(f"{self._what} is damaged near byte {self._position}: no tar header there", hint=_AGAIN)

    def cut_off(self) -> BadImage:
        return BadImage(f"{self._what} is cut off after {self._position} bytes", hint=_AGAIN)
