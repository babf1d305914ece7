"""The ``.ARM.attributes`` section: which architecture the assembler and linker were told to build for.

Source: ARM IHI 0045 (Addenda to, and Errata in, the ABI for the Arm Architecture: build attributes).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from zun_arm.core.platforms import Isa

_TAG_FILE = 1
_TAG_CPU_ARCH, _TAG_CPU_ARCH_PROFILE, _TAG_ABI_VFP_ARGS = 6, 7, 28
_TAG_COMPATIBILITY = 32
_TEXT_TAGS = {4, 5, 65, 67}

# Tag_CPU_arch; the M profile (11-13, 16, 17, 21) is firmware, no userland.
_ISA_OF_CPU_ARCH = {
    **dict.fromkeys((3, 4, 5), Isa.ARMV5),  # v5T, v5TE, v5TEJ
    **dict.fromkeys((6, 7, 8, 9), Isa.ARMV6),  # v6, v6KZ, v6T2, v6K
    10: Isa.ARMV7,
    **dict.fromkeys((14, 22), Isa.ARMV8_AARCH32),  # v8-A, v9-A
    **dict.fromkeys((1, 2), Isa.ARMV5),  # v4, v4T: run wherever v5 does
}


@dataclass(frozen=True, slots=True)
class ArmAttributes:
    """``isa`` is None when the section is missing or silent; ``vfp_registers``: arguments go in VFP registers."""

    isa: Isa | None = None
    vfp_registers: bool = False


def read_arm_attributes(section: bytes) -> ArmAttributes:
    """Parse a section's bytes; damaged ones give what could be read before the damage."""
    tags: dict[int, int] = {}
    if section[:1] == b"A":
        with suppress(IndexError, ValueError):
            _read_vendors(section, tags)
    arch = tags.get(_TAG_CPU_ARCH)
    isa = _ISA_OF_CPU_ARCH.get(arch, Isa.UNKNOWN) if arch else None
    if isa is not None and tags.get(_TAG_CPU_ARCH_PROFILE) == ord("M"):
        isa = Isa.UNKNOWN
    return ArmAttributes(isa, tags.get(_TAG_ABI_VFP_ARGS) == 1)


def _read_vendors(section: bytes, tags: dict[int, int]) -> None:
    """Subsections: length (4 bytes, itself included), vendor name, then blocks of attributes."""
    position = 1
    while position + 4 < len(section):
        length = int.from_bytes(section[position : position + 4], "little")
        if length < 5:
            raise ValueError("a subsection shorter than its own header")
        end = min(position + length, len(section))
        name_end = section.index(0, position + 4)
        if section[position + 4 : name_end] == b"aeabi":
            _read_blocks(section[name_end + 1 : end], tags)
        position = end


def _read_blocks(data: bytes, tags: dict[int, int]) -> None:
    """Blocks: a tag (1 means the whole file), size (4 bytes, tag and size included), attributes."""
    position = 0
    while position < len(data):
        tag, start = _number(data, position)
        size = int.from_bytes(data[start : start + 4], "little")
        if size < 5:
            raise ValueError("a block shorter than its own header")
        if tag == _TAG_FILE:
            _read_attributes(data[start + 4 : position + size], tags)
        position += size


def _read_attributes(data: bytes, tags: dict[int, int]) -> None:
    position = 0
    while position < len(data):
        tag, position = _number(data, position)
        if tag in _TEXT_TAGS or (tag > _TAG_COMPATIBILITY and tag % 2 == 1):
            position = data.index(0, position) + 1
            continue
        tags[tag], position = _number(data, position)
        if tag == _TAG_COMPATIBILITY:
            position = data.index(0, position) + 1


def _number(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 5 bytes, and the position after it."""
    value = 0
    for index in range(5):
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, position + index + 1
    raise ValueError("a number longer than 32 bits")
