"""The outer file of an archive: what kind it is, and random access to its members.

A compressed image archive is spooled to disk, since its manifest may come last; a compressed root file system is
recognised by its first members and not spooled.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

from zun_arm.errors import BadImage, NotFound
from zun_arm.images.layers import Tee
from zun_arm.images.limits import ArchiveLimits
from zun_arm.images.members import walk
from zun_arm.images.safety import clean_path
from zun_arm.images.unpack import compression_of, refuse_unsupported, unpacked

_ROOT_DIRECTORIES = frozenset({"bin", "boot", "dev", "etc", "home", "lib", "opt", "proc", "root", "sbin", "usr", "var"})
_MOST_ENTRIES = 10_000
_MOST_DEPTH = 3
_MAKE_AGAIN = "make it again with 'docker save' or 'skopeo copy ... oci-archive:FILE'"


class Kind(StrEnum):
    """What an archive holds."""

    DOCKER = "docker-archive"
    OCI = "OCI archive"
    ROOTFS = "root file system"


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    size: int
    link: str | None


class Container:
    """An opened archive. ``label`` names it in errors; members are streams into the (perhaps spooled) file."""

    def __init__(
        self, kind: Kind, label: str, file: BinaryIO, entries: dict[str, _Entry], limits: ArchiveLimits
    ) -> None:
        self.kind = kind
        self.label = label
        self.limits = limits
        self._file = file
        self._entries = entries

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def open(self, name: str) -> BinaryIO:
        """A member as a forward stream, as it is stored; only one can be read at a time."""
        entry = self._find(name)
        if entry is None:
            raise BadImage(f"{self.label} lacks {name[:200]!r}, which its manifest names", hint=_MAKE_AGAIN)
        self._file.seek(entry.offset)
        return cast(BinaryIO, _Region(self._file, entry.size))

    def json(self, name: str, *, digest: str | None = None) -> Any:
        """A member parsed as JSON, its digest checked if one is given; :class:`BadImage` if it is not sound."""
        stream = Tee(self.open(name), algorithm=digest.partition(":")[0] if digest else "sha256")
        most = self.limits.max_json_bytes
        text = stream.read(most + 1)
        if len(text) > most:
            raise BadImage(f"{name} in {self.label} is larger than {most // 1024} KiB", hint=_MAKE_AGAIN)
        if digest:
            stream.check(digest, f"{name} in {self.label}")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as err:
            raise BadImage(f"{name} in {self.label} is not JSON: {err}", hint=_MAKE_AGAIN) from err

    def rootfs(self) -> BinaryIO:
        """The whole (decompressed) file, for :attr:`Kind.ROOTFS`."""
        self._file.seek(0)
        return unpacked(self._file, what=self.label, limits=self.limits)

    def _find(self, name: str) -> _Entry | None:
        for _ in range(4):  # docker save links layers that several images share
            entry = self._entries.get(name)
            if entry is None or entry.link is None:
                return entry
            name = entry.link
        return None


@contextmanager
def open_container(source: Path, *, work: Path, limits: ArchiveLimits) -> Iterator[Container]:
    """Open an archive of unknown kind; what is spooled lies in ``work`` and is removed at the end."""
    label = source.name
    if not source.is_file():
        raise NotFound(f"there is no archive {source}", hint="give the path of a file made by 'docker save' or tar")
    spool = work / "spool"
    try:
        with source.open("rb") as packed:
            head = packed.read(8)
            packed.seek(0)
            if compression_of(head) is None:
                refuse_unsupported(head, label)
                kind, entries = _index(packed, label)
                yield Container(kind, label, packed, entries, limits)
                return
            with spool.open("w+b") as copy:
                stream = Tee(unpacked(packed, what=label, limits=limits), copy)
                kind, entries = _index(cast(BinaryIO, stream), label)
                if kind is not Kind.ROOTFS:
                    stream.drain()
                    copy.flush()
                    yield Container(kind, label, copy, entries, limits)
                    return
            spool.unlink()
            yield Container(kind, label, packed, {}, limits)
    finally:
        spool.unlink(missing_ok=True)


def _index(stream: BinaryIO, label: str) -> tuple[Kind, dict[str, _Entry]]:
    """The kind, and where its members are (for the image kinds)."""
    entries: dict[str, _Entry] = {}
    seen = 0
    for member in walk(stream, what=label):
        header = member.header
        path = clean_path(header.name)
        seen += bool(path)
        if path.split("/")[0] in _ROOT_DIRECTORIES or len(entries) > _MOST_ENTRIES:
            return Kind.ROOTFS, {}
        if path.count("/") >= _MOST_DEPTH or len(path) > 300:
            continue
        if header.isreg() and not header.issparse():
            entries[path] = _Entry(header.offset_data, header.size, None)
        elif header.issym() or header.islnk():
            target = posixpath.join(posixpath.dirname(path), header.linkname) if header.issym() else header.linkname
            entries[path] = _Entry(0, 0, posixpath.normpath(target)[:300])
    if not seen:
        raise BadImage(f"{label} is an empty archive", hint=_MAKE_AGAIN)
    if "manifest.json" in entries:
        return Kind.DOCKER, entries
    if "index.json" in entries:
        return Kind.OCI, entries
    if any(path.startswith("blobs/") or path.endswith("/layer.tar") for path in entries):
        raise BadImage(f"{label} looks like an image, but has neither manifest.json nor index.json", hint=_MAKE_AGAIN)
    return Kind.ROOTFS, {}


class _Region:
    """A part of a file, from its current position on."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def seekable(self) -> bool:
        return False
