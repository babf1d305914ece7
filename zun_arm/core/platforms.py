"""Platforms in OCI spelling, instruction sets as ELF files carry them, and how the two belong together.

Sources: OCI image specification (platform variants); containerd's platform normalisation (arm without a
variant is v7, armhf is arm/v7, armel is arm/v6); ARM IHI 0045 (build attributes).
"""

from __future__ import annotations

from enum import StrEnum

from zun_arm.errors import BadInput


class Isa(StrEnum):
    """An instruction set as a userland is built for it, or as a core executes it."""

    ARMV5 = "armv5"
    ARMV6 = "armv6"
    ARMV7 = "armv7"
    ARMV8_AARCH32 = "armv8-aarch32"
    ARMV8 = "armv8"
    X86_64 = "x86_64"
    RISCV64 = "riscv64"
    UNKNOWN = "unknown"


ARM_V6 = "linux/arm/v6"
ARM_V7 = "linux/arm/v7"
ARM64 = "linux/arm64"
AMD64 = "linux/amd64"

#: Every platform zun-arm can be asked for, in the order people are shown them.
PLATFORMS = (ARM_V6, ARM_V7, ARM64, AMD64)

_PLATFORM_OF_ISA = {
    # Debian armel is measured as v5TE; the oldest board we know, a Raspberry Pi 1, runs it.
    Isa.ARMV5: ARM_V6,
    Isa.ARMV6: ARM_V6,
    Isa.ARMV7: ARM_V7,
    Isa.ARMV8_AARCH32: ARM_V7,
    Isa.ARMV8: ARM64,
    Isa.X86_64: AMD64,
}

_WORDS = {
    Isa.ARMV5: "ARMv5",
    Isa.ARMV6: "ARMv6",
    Isa.ARMV7: "ARMv7",
    Isa.ARMV8_AARCH32: "32-bit ARMv8",
    Isa.ARMV8: "64-bit ARMv8",
    Isa.X86_64: "x86-64",
    Isa.RISCV64: "64-bit RISC-V",
    Isa.UNKNOWN: "an unknown instruction set",
}

_ALIASES = {
    "arm": ARM_V7,
    "arm/v7": ARM_V7,
    "arm/v8": ARM_V7,
    "armhf": ARM_V7,
    "armv7": ARM_V7,
    "armv7l": ARM_V7,
    "arm/v5": ARM_V6,
    "arm/v6": ARM_V6,
    "armel": ARM_V6,
    "armv6": ARM_V6,
    "armv6l": ARM_V6,
    "arm64": ARM64,
    "arm64/v8": ARM64,
    "aarch64": ARM64,
    "amd64": AMD64,
    "amd64/v1": AMD64,
    "x86_64": AMD64,
}

_DEBIAN_ARCHITECTURES = {ARM_V6: "armel", ARM_V7: "armhf", ARM64: "arm64", AMD64: "amd64"}


def parse_platform(text: str) -> str:
    """The platform a user means, in OCI spelling; :class:`BadInput` lists the known ones."""
    short = text.strip().lower().removeprefix("linux/")
    platform = _ALIASES.get(short)
    if platform is None:
        raise BadInput(f"unknown platform {text!r}", hint=f"use one of: {', '.join(PLATFORMS)}")
    return platform


def platform_from_label(os: str, architecture: str, variant: str | None) -> str | None:
    """The platform an image's own configuration claims, or None when it is none of ours."""
    if os and os != "linux":
        return None
    return _ALIASES.get(f"{architecture}/{variant}" if variant else architecture)


def platform_of(isa: Isa) -> str | None:
    """The platform a userland of this instruction set belongs to, or None when it is none of ours."""
    return _PLATFORM_OF_ISA.get(isa)


def in_words(isa: Isa) -> str:
    """An instruction set as people write it."""
    return _WORDS[isa]


def debian_architecture(platform: str) -> str:
    """Debian's name for a platform, as in ``linux/arm/v7`` -> ``armhf``."""
    return _DEBIAN_ARCHITECTURES[platform]


def oci_fields(platform: str) -> dict[str, str]:
    """The ``os``, ``architecture`` and (if any) ``variant`` fields of an OCI image configuration."""
    os, architecture, *variant = platform.split("/")
    fields = {"os": os, "architecture": architecture}
    if variant:
        fields["variant"] = variant[0]
    return fields
