"""How a board runs a userland: natively, in AArch32 state, through an emulator, or not at all, and why.

Sources: Linux fs/exec.c (binfmt_misc is asked before the ELF loader), arch/arm64/Kconfig (COMPAT needs 4 KiB
pages), arch/arm64/include/asm/compat.h (uname says armv8l in a 32-bit personality of a 64-bit kernel).
"""

from __future__ import annotations

import re

from zun_arm.board import parts
from zun_arm.board.emulators import serves
from zun_arm.core.model import Board, Emulator, Execution, Run
from zun_arm.core.platforms import AMD64, ARM64, ARM_V6, ARM_V7, Isa, in_words, platform_of

#: What a platform's userlands are usually built for.
TYPICAL = {ARM_V6: Isa.ARMV6, ARM_V7: Isa.ARMV7, ARM64: Isa.ARMV8, AMD64: Isa.X86_64}

_PAGE = 4096
_ARM_ORDER = (Isa.ARMV5, Isa.ARMV6, Isa.ARMV7, Isa.ARMV8_AARCH32, Isa.ARMV8)


def run_for(board: Board, isa: Isa) -> Run:
    """How ``board`` runs a userland measured to be ``isa``; the same as ``board.runs`` for a platform's typical one."""
    platform = platform_of(isa)
    if platform is None:
        return Run(execution=None, why=f"zun-arm has no platform for {in_words(isa)} userlands")
    typical = board.runs.get(platform)
    if typical is not None and TYPICAL[platform] is isa:
        return typical
    aarch32 = parts.aarch32_of(board.cpus)
    if typical is not None and board.machine in ("aarch64", "armv8l"):
        if typical.execution is None:
            return typical  # what stops ARMv6 or ARMv7 under a 64-bit kernel stops all 32-bit programs
        if typical.execution is Execution.NATIVE_COMPAT32:
            aarch32 = True
    return decide(board, isa, aarch32)


def decide(board: Board, isa: Isa, aarch32: bool | None) -> Run:
    """How ``board`` runs ``isa``; ``aarch32``: its kernel executes 32-bit programs, None: not known."""
    native = _native(board, isa, aarch32)
    matching = [emulator for emulator in board.emulators if serves(emulator, isa)]
    if not matching:
        return native if native.execution else _without_emulator(native, isa)
    emulator = next((one for one in matching if "F" in one.flags), matching[0])
    if "F" not in emulator.flags:
        return Run(execution=None, why=_flag_missing(emulator, isa, native))
    if native.execution:
        why = f"the binfmt_misc entry {emulator.name} takes {in_words(isa)} programs before the kernel's own loader, "
        why += f"so {_told(emulator)} emulates them although {native.why}"
    else:
        why = f"{_told(emulator)} emulates {in_words(isa)}, as {native.why}"
    return Run(execution=Execution.EMULATED, why=why, emulator=emulator)


def _native(board: Board, isa: Isa, aarch32: bool | None) -> Run:
    """Without any emulator: native, native-compat32, or the reason why not."""
    cores, machine = _cores(board), board.machine or "nothing"
    if isa is Isa.X86_64:
        if board.isa is not Isa.X86_64:
            return _no(f"{cores} {in_words(board.isa)}, not x86-64")
        if machine != "x86_64":
            return _no(f"the kernel answers as {machine}, not as x86_64")
        return Run(execution=Execution.NATIVE, why=f"{cores} x86-64 (64-bit kernel)")
    if not board.arm or board.isa not in _ARM_ORDER or _ARM_ORDER.index(board.isa) < _ARM_ORDER.index(isa):
        return _no(f"{cores} {in_words(board.isa)}, not {in_words(isa)}")
    if isa is Isa.ARMV8:
        return _native_64bit(board)
    if re.fullmatch(r"armv[5-7]\w*l", machine):
        return Run(execution=Execution.NATIVE, why=f"{cores} {in_words(isa)} (32-bit kernel, {machine})")
    if machine in ("aarch64", "armv8l"):
        # A 64-bit kernel only says armv8l after it granted the 32-bit personality: proof enough.
        return _compat32(board, isa, True if machine == "armv8l" and aarch32 is None else aarch32)
    return _no(f"the kernel answers as {machine}, which is no little-endian ARM")


def _native_64bit(board: Board) -> Run:
    if board.machine == "aarch64":
        return Run(execution=Execution.NATIVE, why=f"{_cores(board)} 64-bit ARMv8 (64-bit kernel)")
    if board.machine == "armv8l":
        return _no("zun-arm runs in a 32-bit personality (armv8l): start it, and Docker, as 64-bit programs")
    return _no(
        f"the kernel is 32-bit ({board.machine or 'unknown'}): install a 64-bit OS, {_cores(board)} 64-bit ARMv8"
    )


def _compat32(board: Board, isa: Isa, aarch32: bool | None) -> Run:
    """32-bit programs under a 64-bit kernel."""
    lacking = parts.without_aarch32(board.cpus)
    pages = f"{board.page_size // 1024} KiB pages"
    if lacking:
        return _no(f"{' and '.join(lacking)} cores have no AArch32 state, so they cannot execute {in_words(isa)}")
    if board.page_size <= 0:
        return _no("the kernel's page size is not known, and 32-bit programs need 4 KiB pages")
    if board.page_size != _PAGE:
        return _no(f"the kernel uses {pages}: 32-bit programs need 4 KiB ({_cure_for_pages(board)})")
    if aarch32 is None:
        unknown = ", ".join(parts.unsure_of_aarch32(board.cpus)) or "not listed"
        return _no(
            f"unknown cores ({unknown}): only 'setarch linux32 true' on the board tells if they have AArch32 state"
        )
    if not aarch32:
        return _no(f"the kernel refuses 32-bit programs (personality linux32) on its {_names(board)} cores")
    why = f"{_cores(board)} {in_words(isa)} in AArch32 state (64-bit kernel, {pages})"
    return Run(execution=Execution.NATIVE_COMPAT32, why=why)


def _cure_for_pages(board: Board) -> str:
    if board.soc == "BCM2712" or board.model.startswith("Raspberry Pi"):
        return "boot kernel8.img on a Raspberry Pi 5: kernel=kernel8.img in config.txt"
    return "boot a kernel built with 4 KiB pages"


def _without_emulator(native: Run, isa: Isa) -> Run:
    hint = "apt-get install qemu-user-static, which registers one with binfmt_misc"
    return _no(f"{native.why}; no emulator for {in_words(isa)} is registered ({hint})")


def _flag_missing(emulator: Emulator, isa: Isa, native: Run) -> str:
    why = (
        f"the binfmt_misc entry {emulator.name} lacks flag F, so containers with {in_words(isa)} programs do not find "
    )
    why += f"{emulator.interpreter}: register it with F (apt-get install --reinstall qemu-user-static)"
    return why + (f" or remove it, as {native.why}" if native.execution else f"; {native.why}")


def _told(emulator: Emulator) -> str:
    version = f" {emulator.version}" if emulator.version else ""
    return f"{emulator.name}{version}" + (f" (CPU model {emulator.cpu})" if emulator.cpu else "")


def _names(board: Board) -> str:
    return " and ".join(dict.fromkeys(cpu.name for cpu in board.cpus)) or "unknown"


def _cores(board: Board) -> str:
    """Subject and verb: "Cortex-A53 cores execute"."""
    return f"{_names(board)} {'core executes' if board.cores == 1 else 'cores execute'}"


def _no(why: str) -> Run:
    return Run(execution=None, why=why)
