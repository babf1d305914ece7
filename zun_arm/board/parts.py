"""What each ARM core is: its name, its instruction set, and whether 32-bit programs run on it.

Sources: names by implementer and part from util-linux (lscpu's ARM table) and Linux
(arch/arm64/include/asm/cputype.h); AArch32 at EL0 from the arm-socs-table project (cpu_cores.yml). Where these do
not say, ``aarch32`` is None and the kernel is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zun_arm.core.model import CpuGroup
from zun_arm.core.platforms import Isa

ARM = 0x41

_IMPLEMENTERS = {
    ARM: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x44: "DEC",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4D: "Freescale",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x66: "Faraday",
    0x69: "Intel",
    0x70: "Phytium",
    0xC0: "Ampere",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of core. ``aarch32``: 32-bit programs run under a 64-bit kernel; None: not known."""

    name: str
    isa: Isa
    aarch32: bool | None


def _table(implementer: int, isa: Isa, aarch32: bool | None, names: dict[int, str]) -> dict[tuple[int, int], Part]:
    return {(implementer, part): Part(name, isa, aarch32) for part, name in names.items()}


_PARTS: dict[tuple[int, int], Part] = {
    **_table(ARM, Isa.ARMV5, True, {0x926: "ARM926", 0x946: "ARM946", 0xA26: "ARM1026"}),
    **_table(ARM, Isa.ARMV6, True, {0xB02: "ARM11 MPCore", 0xB36: "ARM1136", 0xB56: "ARM1156", 0xB76: "ARM1176"}),
    **_table(
        ARM,
        Isa.ARMV7,
        True,
        {
            0xC05: "Cortex-A5",
            0xC07: "Cortex-A7",
            0xC08: "Cortex-A8",
            0xC09: "Cortex-A9",
            0xC0D: "Cortex-A17",
            0xC0E: "Cortex-A17",
            0xC0F: "Cortex-A15",
        },
    ),
    # An ARMv8-A core without AArch64.
    **_table(ARM, Isa.ARMV8_AARCH32, True, {0xD01: "Cortex-A32"}),
    **_table(
        ARM,
        Isa.ARMV8,
        True,
        {
            0xD03: "Cortex-A53",
            0xD04: "Cortex-A35",
            0xD05: "Cortex-A55",
            0xD07: "Cortex-A57",
            0xD08: "Cortex-A72",
            0xD09: "Cortex-A73",
            0xD0A: "Cortex-A75",
            0xD0B: "Cortex-A76",
            0xD0C: "Neoverse-N1",
            0xD0D: "Cortex-A77",
            0xD0E: "Cortex-A76AE",
            0xD40: "Neoverse-V1",
            0xD41: "Cortex-A78",
            0xD42: "Cortex-A78AE",
            0xD44: "Cortex-X1",
            0xD47: "Cortex-A710",
            0xD49: "Neoverse-N2",
            0xD4B: "Cortex-A78C",
            0xD4C: "Cortex-X1C",
        },
    ),
    # Optional in the Cortex-A510: the maker of the SoC chooses.
    **_table(ARM, Isa.ARMV8, None, {0xD46: "Cortex-A510"}),
    **_table(
        ARM,
        Isa.ARMV8,
        False,
        {
            0xD02: "Cortex-A34",
            0xD06: "Cortex-A65",
            0xD43: "Cortex-A65AE",
            0xD48: "Cortex-X2",
            0xD4A: "Neoverse-E1",
            0xD4D: "Cortex-A715",
            0xD4E: "Cortex-X3",
            0xD4F: "Neoverse-V2",
            0xD80: "Cortex-A520",
            0xD81: "Cortex-A720",
            0xD82: "Cortex-X4",
            0xD83: "Neoverse-V3AE",
            0xD84: "Neoverse-V3",
            0xD85: "Cortex-X925",
            0xD87: "Cortex-A725",
            0xD8C: "C1-Ultra",
            0xD8E: "Neoverse-N3",
            0xD90: "C1-Premium",
        },
    ),
    **_table(0x42, Isa.ARMV7, True, {0x00F: "Brahma-B15"}),
    **_table(0x42, Isa.ARMV8, None, {0x100: "Brahma-B53"}),
    **_table(0x42, Isa.ARMV8, False, {0x516: "ThunderX2"}),
    **_table(0x43, Isa.ARMV8, False, {0x0A1: "ThunderX", 0x0A2: "ThunderX-81xx", 0x0A3: "ThunderX-83xx"}),
    **_table(0x43, Isa.ARMV8, False, {0x0AF: "ThunderX2"}),
    **_table(0x46, Isa.ARMV8, None, {0x001: "A64FX"}),
    **_table(0x48, Isa.ARMV8, None, {0xD01: "TaiShan-v110"}),
    **_table(0x4E, Isa.ARMV8, None, {0x000: "Denver", 0x003: "Denver 2", 0x004: "Carmel"}),
    # One part number for three generations; all of them have AArch32 at EL0.
    **_table(0x50, Isa.ARMV8, True, {0x000: "X-Gene"}),
    **_table(0x51, Isa.ARMV7, True, {0x00F: "Scorpion", 0x02D: "Scorpion", 0x04D: "Krait", 0x06F: "Krait"}),
    **_table(0x51, Isa.ARMV8, None, {0x201: "Kryo", 0x205: "Kryo", 0x211: "Kryo"}),
    **_table(0x51, Isa.ARMV8, False, {0xC00: "Falkor"}),
    **_table(0x53, Isa.ARMV8, None, {0x001: "Exynos-M1"}),
    **_table(0x56, Isa.ARMV5, True, {0x131: "Feroceon-88FR131"}),
    **_table(0x56, Isa.ARMV7, True, {0x581: "PJ4", 0x584: "PJ4B-MP"}),
    **_table(
        0x61,
        Isa.ARMV8,
        False,
        {
            # What a virtual machine on an Apple computer shows.
            0x000: "Apple (virtual)",
            0x022: "Icestorm (M1)",
            0x023: "Firestorm (M1)",
            0x024: "Icestorm (M1 Pro)",
            0x025: "Firestorm (M1 Pro)",
            0x028: "Icestorm (M1 Max)",
            0x029: "Firestorm (M1 Max)",
            0x032: "Blizzard (M2)",
            0x033: "Avalanche (M2)",
        },
    ),
    **_table(0x70, Isa.ARMV8, None, {0x660: "FTC660", 0x661: "FTC661", 0x662: "FTC662", 0x663: "FTC663"}),
    **_table(0xC0, Isa.ARMV8, None, {0xAC3: "Ampere-1", 0xAC4: "Ampere-1a"}),
}


def find(implementer: int | None, part: int | None) -> Part | None:
    """The kind of core with these MIDR fields, or None when it is in no table."""
    return None if implementer is None or part is None else _PARTS.get((implementer, part))


def name_of(implementer: int, part: int) -> str:
    """The core's name, or what is known of one in no table."""
    known = find(implementer, part)
    if known:
        return known.name
    return f"unknown {_IMPLEMENTERS.get(implementer, 'ARM-compatible')} 0x{implementer:02x}/0x{part:03x}"


def without_aarch32(cpus: Iterable[CpuGroup]) -> tuple[str, ...]:
    """Names of the cores known to lack AArch32."""
    found = ((cpu.name, find(cpu.implementer, cpu.part)) for cpu in cpus)
    return tuple(name for name, part in found if part and part.aarch32 is False)


def unsure_of_aarch32(cpus: Iterable[CpuGroup]) -> tuple[str, ...]:
    """Names of the cores of which no table says whether they have AArch32."""
    found = ((cpu.name, find(cpu.implementer, cpu.part)) for cpu in cpus)
    return tuple(name for name, part in found if part is None or part.aarch32 is None)


def aarch32_of(cpus: Iterable[CpuGroup]) -> bool | None:
    """Whether every core has AArch32 (one without it spoils it for all); None: some core is not known."""
    answers = [part.aarch32 if part else None for part in (find(cpu.implementer, cpu.part) for cpu in cpus)]
    if False in answers:
        return False
    return True if answers and None not in answers else None
