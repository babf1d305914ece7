"""What one ELF file was built for, from its first bytes and its ARM build attributes.

Sources: System V ABI (ELF header, program and section headers); ARM IHI 0044 (e_flags, SHT_ARM_ATTRIBUTES);
ARM IHI 0045 (build attributes, Tag_CPU_arch). Read with ``struct``: some twenty times faster than a general ELF
library, which counts on a board with thousands of files, and bounded for hostile files.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from zun_arm.core.platforms import Isa
from zun_arm.images.armattributes import ArmAttributes, read_arm_attributes

MAGIC = b"\x7fELF"
#: Bytes enough for the ELF header, the program headers and the interpreter's name of every usual file.
HEAD_BYTES = 4096
EM_ARM, EM_X86_64, EM_AARCH64, EM_RISCV = 40, 62, 183, 243

_ET_EXEC, _ET_DYN = 2, 3
_PT_DYNAMIC, _PT_INTERP = 2, 3
_SHT_ARM_ATTRIBUTES = 0x70000003
_EF_ARM_ABI_FLOAT_HARD = 0x400
_DT_FLAGS_1, _DF_1_PIE = 0x6FFFFFFB, 0x08000000
_MOST_HEADERS = 4096
_MOST_TABLE_BYTES = 64 * 1024

_ISA_OF_64_BIT = {EM_X86_64: Isa.X86_64, EM_AARCH64: Isa.ARMV8, EM_RISCV: Isa.RISCV64}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFacts:
    """An executable or shared library. ``machine`` is e_machine, ``interpreter`` the PT_INTERP path.

    ``certain`` is False when a 32-bit ARM file has no build attributes, so that ``isa`` is only concluded from
    its floating-point ABI. ``static``: needs no loader.
    """

    isa: Isa
    machine: int
    bits: int
    hard_float: bool = False
    interpreter: str | None = None
    static: bool = False
    certain: bool = True


@dataclass(frozen=True, slots=True)
class _Segment:
    type: int
    offset: int
    size: int


def read_elf(data: bytes | bytearray | memoryview | BinaryIO) -> ElfFacts | None:
    """Facts about an ELF executable or shared library; None for anything else.

    Objects, kernel modules and core files are "anything else". Never raises for what the file contains: garbage
    gives None, an unknown machine :attr:`Isa.UNKNOWN`. For 32-bit ARM the whole file is needed (its attributes
    lie near the end), for others the first :data:`HEAD_BYTES`.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes | bytearray | memoryview) else data
    try:
        ident = _at(stream, 0, 16)
        if len(ident) < 16 or ident[:4] != MAGIC or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            return None
        return _File(stream, bits=32 * ident[4], order="<" if ident[5] == 1 else ">").facts()
    except (struct.error, ValueError, OverflowError, IndexError):
        return None


class _File:
    """An ELF file of one class and byte order. Its readers raise ``struct.error`` where it is cut off."""

    def __init__(self, stream: BinaryIO, *, bits: int, order: str) -> None:
        self._stream = stream
        self._bits = bits
        self._order = order

    def facts(self) -> ElfFacts | None:
        layout = self._order + "HHI" + ("III" if self._bits == 32 else "QQQ") + "IHHHHHH"
        (kind, machine, _, _, phoff, shoff, flags, _, phentsize, phnum, shentsize, shnum, _) = struct.unpack(
            layout, _at(self._stream, 16, struct.calcsize(layout))
        )
        if kind not in (_ET_EXEC, _ET_DYN):
            return None
        segments = self._segments(phoff, phentsize, min(phnum, _MOST_HEADERS))
        interpreter = self._interpreter(segments)
        isa, hard_float, certain = _ISA_OF_64_BIT.get(machine, Isa.UNKNOWN), False, True
        if self._order == ">" or (self._bits == 32) != (machine == EM_ARM):
            isa = Isa.UNKNOWN  # big-endian userlands and the 32-bit ABIs of 64-bit machines are none of ours
        elif machine == EM_ARM:
            attributes = self._attributes(shoff, shentsize, min(shnum, _MOST_HEADERS))
            named_hard = "armhf" in (interpreter or "")
            hard_float = bool(flags & _EF_ARM_ABI_FLOAT_HARD) or attributes.vfp_registers or named_hard
            certain = attributes.isa is not None
            # Without attributes: the oldest userlands are soft-float; take a hard-float one for what Debian and OCI
            # mean by it (v7), so that an older board refuses it instead of meeting an illegal instruction.
            isa = attributes.isa or (Isa.ARMV7 if hard_float else Isa.ARMV5)
        return ElfFacts(
            isa=isa,
            machine=machine,
            bits=self._bits,
            hard_float=hard_float,
            interpreter=interpreter,
            static=interpreter is None and self._needs_no_loader(segments),
            certain=certain,
        )

    def _segments(self, offset: int, entry: int, count: int) -> list[_Segment]:
        layout = self._order + ("IIIIIIII" if self._bits == 32 else "IIQQQQQQ")
        if entry < struct.calcsize(layout):
            return []
        table = _at(self._stream, offset, entry * count)
        rows = [struct.unpack_from(layout, table, start) for start in range(0, len(table) - entry + 1, entry)]
        if self._bits == 32:
            return [_Segment(row[0], row[1], row[4]) for row in rows]
        return [_Segment(row[0], row[2], row[5]) for row in rows]

    def _interpreter(self, segments: list[_Segment]) -> str | None:
        for segment in segments:
            if segment.type == _PT_INTERP and 0 < segment.size <= HEAD_BYTES:
                name = _at(self._stream, segment.offset, segment.size).split(b"\0")[0]
                return name.decode(errors="replace") or None
        return None

    def _needs_no_loader(self, segments: list[_Segment]) -> bool:
        """Whether a file without PT_INTERP is a static program: no PT_DYNAMIC, or it says it is a static PIE."""
        layout = self._order + ("II" if self._bits == 32 else "QQ")
        for segment in segments:
            if segment.type == _PT_DYNAMIC:
                table = _at(self._stream, segment.offset, min(segment.size, _MOST_TABLE_BYTES))
                usable = len(table) - len(table) % struct.calcsize(layout)
                entries = struct.iter_unpack(layout, table[:usable])
                return any(tag == _DT_FLAGS_1 and value & _DF_1_PIE for tag, value in entries)
        return True

    def _attributes(self, offset: int, entry: int, count: int) -> ArmAttributes:
        layout = "<IIIIII"
        if offset and entry >= struct.calcsize(layout):
            table = _at(self._stream, offset, entry * count)
            for start in range(0, len(table) - entry + 1, entry):
                _, kind, _, _, where, size = struct.unpack_from(layout, table, start)
                if kind == _SHT_ARM_ATTRIBUTES:
                    return read_arm_attributes(_at(self._stream, where, min(size, _MOST_TABLE_BYTES)))
        return ArmAttributes()


def _at(stream: BinaryIO, offset: int, size: int) -> bytes:
    if offset >= 1 << 62:
        return b""
    stream.seek(offset)
    return stream.read(min(size, 4 * _MOST_TABLE_BYTES))
