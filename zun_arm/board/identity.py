"""Which board this is: its model, its SoC and its memory.

Sources: the device tree's ``model`` and ``compatible`` (Devicetree Specification, root node); Raspberry Pi
documentation, "Revision codes" (bit fields; and that the Hardware line of cpuinfo says BCM2835 on every board);
old Raspbian trees name the SoC only, by the number of its family.
"""

from __future__ import annotations

import re

from zun_arm.board.cpuinfo import CpuInfo
from zun_arm.board.tree import Tree
from zun_arm.core.model import CpuGroup

_DEVICE_TREES = ("proc/device-tree", "sys/firmware/devicetree/base")
_MAX_TEXT = 120

# Names Raspbian's own kernels used for the SoC's family, and the chip on the board.
_PI_FAMILIES = {"bcm2708": "BCM2835", "bcm2709": "BCM2836", "bcm2710": "BCM2837"}
# Bits 12-15 of a new-style revision code.
_PI_PROCESSORS = ("BCM2835", "BCM2836", "BCM2837", "BCM2711", "BCM2712")
_PI_NEW_STYLE = 1 << 23

_VENDORS = {
    "allwinner": "Allwinner",
    "amlogic": "Amlogic",
    "apm": "APM",
    "apple": "Apple",
    "fsl": "NXP",
    "mediatek": "MediaTek",
    "nvidia": "NVIDIA",
    "qcom": "Qualcomm",
    "rockchip": "Rockchip",
    "samsung": "Samsung",
    "spacemit": "SpacemiT",
    "starfive": "StarFive",
    "ti": "TI",
}
_NO_SOC = frozenset({"linux,dummy-virt"})  # QEMU's "virt" machine
# What makers leave in a DMI field they did not fill in.
_DMI_BLANKS = frozenset(
    {"", "default string", "none", "not specified", "o.e.m.", "system manufacturer", "system product name"}
)


def model_of(tree: Tree, info: CpuInfo, cpus: tuple[CpuGroup, ...]) -> str:
    """The board's name: device tree, else cpuinfo's Model line, else DMI, else its processor's."""
    names = [_clean(tree.text(f"{base}/model")) for base in _DEVICE_TREES]
    names += [_clean(info.common.get("Model", "")), _dmi_model(tree)]
    names += [cpu.name for cpu in cpus]
    return next((name for name in names if name), "unknown machine")[:_MAX_TEXT]


def soc_of(tree: Tree, info: CpuInfo, cpus: tuple[CpuGroup, ...], model: str) -> str | None:
    """The SoC, as in "BCM2837" or "Allwinner sun7i-a20"; None when nothing tells (x86, ACPI)."""
    compatible = _compatible(tree)
    hardware = _clean(info.common.get("Hardware", ""))
    if _is_raspberry_pi(model, compatible, hardware):
        return _raspberry_pi_soc(compatible, info.common.get("Revision", ""), cpus)
    if compatible:
        return None if compatible[-1] in _NO_SOC else _soc_name(compatible[-1])
    return None if not hardware or hardware.startswith("Generic DT") else hardware


def memory_mib_of(tree: Tree) -> int:
    """The memory the kernel has, in MiB; 0 when it does not say."""
    found = re.search(r"^MemTotal:\s*([0-9]{1,15})\s*kB", tree.text("proc/meminfo"), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def _compatible(tree: Tree) -> tuple[str, ...]:
    """The root node's list, board first, SoC last; one vendor's kernel has a space in an entry."""
    texts = [tree.text(f"{base}/compatible") for base in _DEVICE_TREES]
    text = next((text for text in texts if text.strip("\0\n ")), "")
    entries = (_clean(entry).replace(" ", "") for entry in text.split("\0"))
    return tuple(entry for entry in entries if entry)


def _is_raspberry_pi(model: str, compatible: tuple[str, ...], hardware: str) -> bool:
    if compatible:
        return any(re.match(r"raspberrypi,|brcm,bcm27(08|09|10)$", entry) for entry in compatible)
    return model.startswith("Raspberry Pi") or re.fullmatch(r"BCM2[78][0-9]{2}", hardware) is not None


def _raspberry_pi_soc(compatible: tuple[str, ...], revision: str, cpus: tuple[CpuGroup, ...]) -> str | None:
    """From the revision code, which follows the chip (a Pi 2 B can have a BCM2837), else from the device tree."""
    if soc := _soc_of_revision(revision):
        return soc
    chips = [entry.removeprefix("brcm,") for entry in compatible if entry.startswith("brcm,")]
    if not chips:
        return None
    soc = _PI_FAMILIES.get(chips[0], chips[0].upper())
    return "BCM2837" if soc == "BCM2836" and any(cpu.name == "Cortex-A53" for cpu in cpus) else soc


def _soc_of_revision(text: str) -> str | None:
    if not re.fullmatch(r"[0-9a-fA-F]{4,8}", text):
        return None
    code = int(text, 16)
    if not code & _PI_NEW_STYLE:
        return "BCM2835" if 0x0002 <= code & 0xFFFF <= 0x0015 else None
    processor = code >> 12 & 0xF
    return _PI_PROCESSORS[processor] if processor < len(_PI_PROCESSORS) else None


def _soc_name(entry: str) -> str:
    vendor, comma, chip = entry.partition(",")
    if vendor == "brcm":
        return chip.upper()
    return f"{_VENDORS.get(vendor, vendor)} {chip}" if comma else entry


def _dmi_model(tree: Tree) -> str:
    fields = [_clean(tree.text(f"sys/class/dmi/id/{name}")) for name in ("sys_vendor", "product_name")]
    vendor, product = ("" if _is_blank(field) else field for field in fields)
    return product if product.startswith(vendor) else f"{vendor} {product}".strip()


def _is_blank(field: str) -> bool:
    return field.lower() in _DMI_BLANKS or field.lower().startswith("to be filled")


def _clean(text: str) -> str:
    """One line of printable text; garbage becomes nothing."""
    text = text.split("\0", 1)[0] if text.strip("\0") else ""
    kept = "".join(char if char.isprintable() and char != "\N{REPLACEMENT CHARACTER}" else " " for char in text)
    return " ".join(kept.split())[:_MAX_TEXT]
