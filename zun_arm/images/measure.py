"""What instruction set a whole userland is for, from its many ELF files.

The rule:

* Executables and shared libraries count, one vote each; firmware, kernels, modules, debug files and anything in
  ``/dev``, ``/proc``, ``/sys`` do not.
* Files that name their architecture decide; 32-bit ARM files without build attributes are asked only if there is no
  other (``certain`` is then False: the file could be for an older or newer ARM than it looks).
* The majority wins. So a Raspbian "armhf" (nearly all v6, a few v7 libraries chosen at run time) is ARMv6, a Debian
  armel is ARMv5, and a foreign ``qemu-arm-static`` put into an image changes nothing.
* A tie is decided by the image's own program, then ``/bin/sh``, then the C library and the loader, then by the
  newest of the equal ones: refusing a board is better than an illegal instruction on it.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from zun_arm.core.platforms import Isa, platform_of
from zun_arm.images.elf import EM_ARM, HEAD_BYTES, MAGIC, ElfFacts, read_elf
from zun_arm.images.limits import MIB
from zun_arm.images.members import Member

_NOT_COUNTED = re.compile(r"(?:usr/)?lib/(?:firmware|modules|debug)/|(?:boot|dev|proc|sys)/")
_LIBC = re.compile(r".*/(?:ld-(?:linux|musl)[^/]*\.so(?:\.[0-9]+)?|ld-2\.[0-9]+\.so|libc\.so\.6|libc-2\.[0-9]+\.so)")
_PROGRAM_DIRECTORIES = ("bin", "sbin", "usr/local/bin", "usr/local/sbin", "local/bin", "local/sbin")
_MOST_PROGRAMS = 5000
_MOST_HOPS = 8
_IN_MEMORY_BYTES = MIB
_OLDEST_FIRST = tuple(Isa)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a userland is. ``platform`` None: none of ours. ``counts``: ELF files per instruction set.

    ``evidence`` is the path of the file that speaks best for it. ``certain`` False: no file named its architecture.
    """

    isa: Isa
    platform: str | None
    counts: Mapping[Isa, int]
    evidence: str
    certain: bool = True


class Tally:
    """Collects ELF files member by member; ``entrypoint`` is the image's own command line, if known."""

    def __init__(self, *, entrypoint: Sequence[str] = (), work: Path | None = None) -> None:
        self._own = _key(entrypoint[0].lstrip("/")) if entrypoint else ""
        self._own_is_bare = bool(entrypoint) and "/" not in entrypoint[0]
        self._work = work
        self._votes: dict[bool, Counter[Isa]] = {True: Counter(), False: Counter()}
        self._evidence: dict[Isa, str] = {}
        self._libc: Isa | None = None
        self._programs: dict[str, Isa] = {}
        self._links: dict[str, str] = {}

    def add(self, path: str, member: Member) -> None:
        """Look at one member of a layer; ``path`` is its clean path."""
        if member.header.issym():
            self._note_link(path, member.header.linkname)
        elif member.header.isreg() and member.data.left >= 52 and not _NOT_COUNTED.match(path):
            facts = self._read(member)
            if facts is not None:
                self._count(path, facts)

    def result(self) -> Measurement | None:
        """The measurement, or None if there was no ELF file at all (a data-only image)."""
        certain = bool(self._votes[True].keys() - {Isa.UNKNOWN})
        votes: Mapping[Isa, int] = self._votes[certain] if certain else self._votes[True] + self._votes[False]
        if not votes:
            return None
        known: list[Isa] = [isa for isa in votes if isa is not Isa.UNKNOWN] or list(votes)
        most = max(votes[isa] for isa in known)
        isa = self._break_tie([isa for isa in known if votes[isa] == most])
        total = self._votes[True] + self._votes[False]
        return Measurement(
            isa=isa, platform=platform_of(isa), counts=total, evidence=self._evidence[isa], certain=certain
        )

    def _read(self, member: Member) -> ElfFacts | None:
        """The ELF facts of a member; a 32-bit ARM file is read whole, past 1 MiB through a temporary file."""
        head = member.data.read(64)
        if not head.startswith(MAGIC):
            return None
        order = "big" if head[5] == 2 else "little"
        if int.from_bytes(head[18:20], order) != EM_ARM:  # type: ignore[arg-type]
            return read_elf(head + member.data.read(HEAD_BYTES - len(head)))
        with tempfile.SpooledTemporaryFile(
            max_size=_IN_MEMORY_BYTES, dir=None if self._work is None else str(self._work)
        ) as whole:
            whole.write(head)
            while block := member.data.read():
                whole.write(block)
            return read_elf(cast(BinaryIO, whole))

    def _count(self, path: str, facts: ElfFacts) -> None:
        self._votes[facts.certain][facts.isa] += 1
        is_libc = bool(_LIBC.fullmatch(path))
        if is_libc or facts.isa not in self._evidence:
            self._evidence[facts.isa] = path
        if is_libc:
            self._libc = facts.isa
        key = _key(path)
        if (
            key.rpartition("/")[0] in _PROGRAM_DIRECTORIES and len(self._programs) < _MOST_PROGRAMS
        ) or key == self._own:
            self._programs[key] = facts.isa

    def _note_link(self, path: str, target: str) -> None:
        key = _key(path)
        if key.rpartition("/")[0] in _PROGRAM_DIRECTORIES and len(self._links) < _MOST_PROGRAMS and len(target) < 200:
            directory = "" if target.startswith("/") else key.rpartition("/")[0]
            self._links[key] = _key(_normal(f"{directory}/{target}"))

    def _break_tie(self, equal: list[Isa]) -> Isa:
        own = [f"{directory}/{self._own}" for directory in _PROGRAM_DIRECTORIES] if self._own_is_bare else [self._own]
        for isa in [*(self._program(path) for path in own), self._program("bin/sh"), self._libc]:
            if isa in equal and isa is not None:
                return isa
        return max(equal, key=_OLDEST_FIRST.index)

    def _program(self, key: str) -> Isa | None:
        for _ in range(_MOST_HOPS):
            if key in self._programs:
                return self._programs[key]
            key = self._links.get(key, "")
        return None


def _key(path: str) -> str:
    """A path with ``usr/`` taken off, so that a merged and an unmerged /usr look alike."""
    return path.removeprefix("usr/")


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
