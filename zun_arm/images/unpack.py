"""Decompression of unknown data as a plain forward stream, with bounded memory and bounded output.

The kind is told by the first bytes, never by a file name: gzip (RFC 1952), xz, zstd (RFC 8878), or none of them.
"""

from __future__ import annotations

import io
import lzma
import zlib
from typing import BinaryIO, Protocol

from zun_arm.errors import BadImage
from zun_arm.images.limits import CHUNK, MIB, ArchiveLimits, too_large

_MAGICS = {
    "gzip": b"\x1f\x8b\x08",
    "xz": b"\xfd7zXZ\x00",
    "zstd": b"\x28\xb5\x2f\xfd",
}
_UNSUPPORTED = {b"BZh": "bzip2", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7-Zip", b"QFI\xfb": "a qcow2 disk image"}
# zstd's interface cannot bound its output, but 4 bytes in give at most 128 KiB out (RFC 8878, RLE blocks).
_ZSTD_SLICE = 128


class _Engine(Protocol):
    """The part of zlib's, lzma's and zstandard's decompressor objects used here."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def compression_of(head: bytes) -> str | None:
    """``gzip``, ``xz``, ``zstd``, or None for data that is none of them; at least 6 bytes are needed."""
    for kind, magic in _MAGICS.items():
        if head.startswith(magic):
            return kind
    return None


def refuse_unsupported(head: bytes, what: str) -> None:
    """:class:`BadImage` for kinds of files people take for userland archives."""
    for magic, kind in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise BadImage(f"{what} is {kind}", hint="give a tar archive: plain, or packed with gzip, xz or zstd")


def unpacked(stream: BinaryIO, *, what: str, limits: ArchiveLimits) -> BinaryIO:
    """``stream`` decompressed if it is compressed, else as it is; forward only, ``what`` names it in errors."""
    buffered = io.BufferedReader(_Raw(stream), CHUNK)
    head = buffered.peek(8)[:8]
    refuse_unsupported(head, what)
    kind = compression_of(head)
    if kind is None:
        return buffered
    return io.BufferedReader(_Unpacked(buffered, kind, what, limits), CHUNK)


class _Raw(io.RawIOBase):
    """Any object with ``read`` as a raw stream (a pipe, an HTTP body, a part of a file)."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(buffer):  # a socket gives what it has; a magic number needs all its bytes
            data = self._stream.read(len(buffer) - filled)
            if not data:
                break
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        return filled


class _Unpacked(io.RawIOBase):
    """One or more compressed streams in a row; raises :class:`BadImage` where they are damaged or cut off."""

    def __init__(self, source: BinaryIO, kind: str, what: str, limits: ArchiveLimits) -> None:
        self._source = source
        self._kind = kind
        self._what = what
        self._limits = limits
        self._pending = b""
        self._ready = memoryview(b"")
        self._packed = 0
        self._out = 0
        self._engine: _Engine | None = self._new_engine()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            if self._engine is None:
                return 0
            self._ready = memoryview(self._step(len(buffer)))
            self._count(len(self._ready))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _step(self, wanted: int) -> bytes:
        """Some more output, perhaps none yet."""
        engine = self._engine
        if engine is None or engine.eof:
            return self._next_stream()
        try:
            out = self._feed(engine, wanted)
        except (zlib.error, lzma.LZMAError, EOFError) as err:
            raise self._damaged(err) from err
        except Exception as err:
            if type(err).__module__.split(".")[0] != "zstandard":
                raise
            raise self._damaged(err) from err
        return out

    def _feed(self, engine: _Engine, wanted: int) -> bytes:
        if self._kind == "xz":
            data = self._fetch(CHUNK) if engine.needs_input else b""  # type: ignore[attr-defined]
            return engine.decompress(data, wanted)  # type: ignore[attr-defined, no-any-return]
        if self._kind == "gzip":
            tail = engine.unconsumed_tail  # type: ignore[attr-defined]
            return engine.decompress(tail or self._fetch(CHUNK), wanted)  # type: ignore[attr-defined, no-any-return]
        return engine.decompress(self._fetch(_ZSTD_SLICE))  # type: ignore[attr-defined, no-any-return]

    def _fetch(self, size: int) -> bytes:
        data, self._pending = self._pending[:size], self._pending[size:]
        data = data or self._source.read(size)
        self._packed += len(data)
        if not data:
            raise BadImage(f"{self._what} is cut off: its {self._kind} data ends too early", hint=_AGAIN)
        return data

    def _next_stream(self) -> bytes:
        """After the end of one stream: padding and the end of the data, or another stream."""
        rest = self._engine.unused_data if self._engine else b""
        rest = rest.lstrip(b"\0")
        while not rest:
            block = self._source.read(CHUNK)
            if not block:
                self._engine = None
                return b""
            rest = block.lstrip(b"\0")
        rest += self._source.read(8)
        if compression_of(rest) != self._kind:
            raise BadImage(f"{self._what} has other data behind its {self._kind} data", hint=_AGAIN)
        self._pending = rest
        self._engine = self._new_engine()
        return b""

    def _count(self, size: int) -> None:
        self._out += size
        limits = self._limits
        if self._out > limits.max_unpacked_bytes:
            raise too_large(limits.max_unpacked_bytes, f"unpacking {self._what}")
        if self._out > limits.ratio_floor_bytes and self._out > self._packed * limits.max_ratio:
            raise BadImage(
                f"{self._what} unpacks to more than {limits.max_ratio} times its size: a decompression bomb",
                hint="get it from its source again, or raise max_ratio if you trust it",
            )

    def _new_engine(self) -> _Engine:
        if self._kind == "gzip":
            return zlib.decompressobj(wbits=31)
        if self._kind == "xz":
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=self._limits.max_window_bytes)
        import zstandard

        # The window must be a power of two; 8 MiB is what every decoder has to accept.
        window = 1 << (max(self._limits.max_window_bytes, 8 * MIB).bit_length() - 1)
        engine: _Engine = zstandard.ZstdDecompressor(max_window_size=window).decompressobj()
        return engine

    def _damaged(self, err: Exception) -> BadImage:
        text = str(err).lower()
        if "memory usage limit" in text or "too much memory" in text:
            return BadImage(
                f"{self._what} needs more than {self._limits.max_window_bytes / MIB:.0f} MiB of memory to unpack",
                hint="pack it again with 'xz -6', 'zstd -19' or gzip",
            )
        return BadImage(f"{self._what} is damaged: its {self._kind} data cannot be unpacked ({err})", hint=_AGAIN)


_AGAIN = "it may be an incomplete download: get it again"
