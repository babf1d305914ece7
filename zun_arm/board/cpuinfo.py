"""Reading /proc/cpuinfo: which cores there are, of which family, with which instruction set.

Format: arch/arm/kernel/setup.c, arch/arm64/kernel/cpuinfo.c, arch/x86/kernel/cpu/proc.c, arch/riscv/kernel/cpu.c
of Linux. "CPU architecture" is never read: an ARM1176 says 7 and is ARMv6, a Cortex-A53 under a 32-bit kernel
says 7 and is ARMv8.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from zun_arm.board import parts
from zun_arm.core.model import CpuGroup
from zun_arm.core.platforms import Isa

#: More cores than any board has (NR_CPUS of an x86 kernel is 8192 at most).
MAX_CPUS = 8192
_MAX_NAME = 120
# Lines about the whole board, that follow the last core's.
_BOARD_KEYS = frozenset({"Hardware", "Revision", "Model"})
# All that is read of a core; nothing else is kept.
_CORE_KEYS = frozenset(
    {"CPU implementer", "CPU part", "Features", "Processor", "model name"}  # ARM
    | {"cpu family", "flags", "isa", "uarch", "vendor_id"}  # x86 and RISC-V
)
_WEAKEST_FIRST = (Isa.ARMV5, Isa.ARMV6, Isa.ARMV7, Isa.ARMV8_AARCH32, Isa.ARMV8)

Fields = Mapping[str, str]


class Family(StrEnum):
    """The kind of processor, told apart by the lines each kernel prints."""

    ARM = "ARM"
    X86 = "x86"
    RISCV = "RISC-V"
    OTHER = "unknown"


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """``cpus``: the lines of each core, in the kernel's order; ``common``: those of the whole board."""

    cpus: tuple[Fields, ...]
    common: Fields

    @property
    def first(self) -> Fields:
        """The first core's lines, or the board's when no core is listed."""
        return self.cpus[0] if self.cpus else self.common


def parse(text: str) -> CpuInfo:
    """Any text as cores and common lines; old kernels print the core's fields once, for all of them."""
    cpus: list[dict[str, str]] = []
    common: dict[str, str] = {}
    current: dict[str, str] | None = None
    for line in text.splitlines():
        key, colon, value = (piece.strip() for piece in line.partition(":"))
        if not line.strip():
            current = None
        elif not colon:
            continue
        elif key == "processor" and re.fullmatch(r"[0-9]{1,6}", value):
            current = {}
            if len(cpus) < MAX_CPUS:
                cpus.append(current)
        elif key in _BOARD_KEYS or (current is None and key in _CORE_KEYS):
            common.setdefault(key, value)
        elif current is not None and key in _CORE_KEYS:
            current.setdefault(key, value)
    if not cpus and "CPU implementer" in common:
        cpus = [{}]  # Linux 3.x on one core: "Processor : ARMv6-compatible ..." and no number
    donor = next((cpu for cpu in reversed(cpus) if "CPU implementer" in cpu), common)
    return CpuInfo(tuple(cpu if "CPU implementer" in cpu else {**donor, **cpu} for cpu in cpus), common)


def family_of(info: CpuInfo, machine: str) -> Family:
    """The processor's family: what the cores' lines say, else what uname says."""
    first = info.first
    if "CPU implementer" in first:
        return Family.ARM
    if "vendor_id" in first and "cpu family" in first:
        return Family.X86
    if first.get("isa", "").startswith("rv"):
        return Family.RISCV
    if machine.startswith(("arm", "aarch64")):
        return Family.ARM
    if re.fullmatch(r"x86_64|i[3-6]86", machine):
        return Family.X86
    return Family.RISCV if machine.startswith("riscv") else Family.OTHER


def machine_of(info: CpuInfo) -> str:
    """What ``uname -m`` would have said, for a copy that lacks it; empty when nothing tells."""
    first = info.first
    if "asimd" in first.get("Features", "").split():
        return "aarch64"
    if found := re.search(r"\((v[4-8]\w*l)\)", _name_line(first)):
        return f"arm{found[1]}"
    if "lm" in first.get("flags", "").split():
        return "x86_64"
    return "riscv64" if first.get("isa", "").startswith("rv64") else ""


def groups_of(info: CpuInfo, family: Family) -> tuple[CpuGroup, ...]:
    """Equal cores counted together, in the order they first appear."""
    kinds = Counter((_core_name(cpu, family), *_midr(cpu)) for cpu in info.cpus)
    return tuple(
        CpuGroup(name=name, count=count, implementer=implementer, part=part)
        for (name, implementer, part), count in kinds.items()
    )


def isa_of(info: CpuInfo, family: Family, machine: str) -> Isa:
    """The instruction set of the weakest core, from its part; when that is unknown, from uname or its name line."""
    if family is Family.X86:
        is_64bit = machine == "x86_64" or "lm" in info.first.get("flags", "").split()
        return Isa.X86_64 if is_64bit else Isa.UNKNOWN
    if family is Family.RISCV:
        is_64bit = machine == "riscv64" or info.first.get("isa", "").startswith("rv64")
        return Isa.RISCV64 if is_64bit else Isa.UNKNOWN
    if family is not Family.ARM:
        return Isa.UNKNOWN
    known = {_arm_isa(cpu, machine) for cpu in (info.cpus or (info.common,))} - {Isa.UNKNOWN}
    return min(known, key=_WEAKEST_FIRST.index, default=Isa.UNKNOWN)


def _arm_isa(cpu: Fields, machine: str) -> Isa:
    part = parts.find(*_midr(cpu))
    if part:
        return part.isa
    if machine in ("aarch64", "armv8l"):
        return Isa.ARMV8
    said = _name_line(cpu)
    if "AArch64" in said:
        return Isa.ARMV8
    digit = re.search(r"ARMv([5-8])", said) or re.match(r"armv([5-8])", machine)
    return {"5": Isa.ARMV5, "6": Isa.ARMV6, "7": Isa.ARMV7, "8": Isa.ARMV8}[digit[1]] if digit else Isa.UNKNOWN


def _core_name(cpu: Fields, family: Family) -> str:
    implementer, part = _midr(cpu)
    if implementer is not None and part is not None:
        return parts.name_of(implementer, part)
    said = _name_line(cpu) or cpu.get("uarch", "")
    printable = "".join(char for char in said if char.isprintable())
    return " ".join(printable.split())[:_MAX_NAME] or f"{family.value} core"


def _name_line(cpu: Fields) -> str:
    """ "model name", or "Processor" as kernels before 3.8 had it."""
    return cpu.get("model name", "") or cpu.get("Processor", "")


def _midr(cpu: Fields) -> tuple[int | None, int | None]:
    """Implementer and part, each None when missing or no number of its width (8 and 12 bits)."""
    return _number(cpu.get("CPU implementer", ""), 0xFF), _number(cpu.get("CPU part", ""), 0xFFF)


def _number(text: str, limit: int) -> int | None:
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text):
        return None
    value = int(text, 16)
    return value if value <= limit else None
