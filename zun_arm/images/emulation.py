"""Whether programs of a platform can be run here at all, which installing packages needs.

Source: Linux, Documentation/admin-guide/binfmt-misc.rst.
"""

from __future__ import annotations

import os
from pathlib import Path

from zun_arm.core.platforms import AMD64, ARM64, ARM_V6, ARM_V7
from zun_arm.errors import HostNotReady

BINFMT = Path("/proc/sys/fs/binfmt_misc")

_NATIVE = {
    "x86_64": (AMD64,),
    # A 64-bit ARM core may or may not run 32-bit programs; mmdebstrap tries it and says so.
    "aarch64": (ARM64, ARM_V7, ARM_V6),
    "armv8l": (ARM_V7, ARM_V6),
    "armv7l": (ARM_V7, ARM_V6),
    "armv6l": (ARM_V6,),
}
# e_machine, little-endian, as bytes 18 and 19 of the magic in hexadecimal.
_MACHINE = {ARM_V6: "2800", ARM_V7: "2800", ARM64: "b700", AMD64: "3e00"}
_MACHINE_DIGITS = slice(36, 40)


def ensure_executable(platform: str, *, binfmt: Path = BINFMT, machine: str | None = None) -> None:
    """:class:`HostNotReady` unless this machine runs programs of ``platform``, natively or by an emulator."""
    machine = machine or os.uname().machine
    if platform in _NATIVE.get(machine, ()):
        return
    flags = _emulator_flags(binfmt, _MACHINE[platform])
    cure = "apt-get install qemu-user-static binfmt-support"
    if flags is None:
        raise HostNotReady(f"this {machine} machine cannot run {platform} programs to install packages", hint=cure)
    if "F" not in flags:
        raise HostNotReady(
            f"the emulator for {platform} does not work inside another root (binfmt flags {flags!r} lack F)", hint=cure
        )


def _emulator_flags(binfmt: Path, machine_digits: str) -> str | None:
    """The flags of an enabled entry for the machine; None if there is none."""
    for entry in sorted(binfmt.glob("*")) if binfmt.is_dir() else ():
        if entry.name in ("register", "status"):
            continue
        lines = entry.read_text().splitlines()
        values = dict(line.split(maxsplit=1) for line in lines if " " in line)
        if lines[:1] == ["enabled"] and values.get("magic", "")[_MACHINE_DIGITS] == machine_digits:
            return values.get("flags:", "")
    return None
