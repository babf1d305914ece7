"""Questions only the live machine can answer: does it execute 32-bit programs, which qemu is that."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Protocol

from zun_arm.board.emulators import is_qemu
from zun_arm.errors import ZunArmError
from zun_arm.programs import ProgramFailed, run

_DEADLINE_S = 5.0
_QEMU_DEFAULT_CPU = "max"  # qemu-user's default CPU model, for ARM and AArch64 alike
_ENV = {"PATH": os.defpath, "LC_ALL": "C"}


class Probes(Protocol):
    """What is asked besides the files. None: it cannot be told."""

    def aarch32(self) -> bool | None:
        """Whether a 64-bit ARM kernel executes 32-bit programs."""

    def version(self, interpreter: str) -> str | None:
        """The version of an emulator."""

    def cpu(self, interpreter: str) -> str | None:
        """The CPU model an emulator shows."""


class LiveProbes:
    """Asks this machine; each question runs one short program, with a deadline."""

    def aarch32(self) -> bool | None:
        """``personality(PER_LINUX32)`` in a child: EINVAL without AArch32 at EL0 (arch/arm64/kernel/sys.c)."""
        try:
            run(["setarch", "linux32", "true"], package="util-linux", timeout_s=_DEADLINE_S, env=_ENV)
        except ProgramFailed as err:
            return False if "Invalid argument" in err.stderr else None
        except ZunArmError:
            return None
        return True

    def version(self, interpreter: str) -> str | None:
        """What ``--version`` says, as in "7.2.22"; None for an interpreter not found here (a container's own)."""
        try:
            # Debian's *-binfmt-P names refuse options; the program behind the link does not.
            real = Path(interpreter).resolve(strict=True)
            return _version(str(real), real.stat().st_mtime_ns)
        except (OSError, RuntimeError, ValueError):
            return None

    def cpu(self, interpreter: str) -> str | None:
        """``QEMU_CPU``, else qemu-user's default; None when it is not qemu."""
        return os.environ.get("QEMU_CPU") or _QEMU_DEFAULT_CPU if is_qemu(interpreter) else None


class NoProbes:
    """For a saved board: its files are all there is."""

    def aarch32(self) -> bool | None:
        """Not known."""
        return None

    def version(self, interpreter: str) -> str | None:
        """Not known."""
        return None

    def cpu(self, interpreter: str) -> str | None:
        """qemu-user's default."""
        return _QEMU_DEFAULT_CPU if is_qemu(interpreter) else None


@functools.lru_cache(maxsize=32)
def _version(program: str, changed_ns: int) -> str | None:
    """Ask once for each program and time of change."""
    try:
        said = run([program, "--version"], timeout_s=_DEADLINE_S, env=_ENV)
    except (ZunArmError, OSError):
        return None
    found = re.search(r"(?:version |\bv)(\d+(?:\.\d+)+)", said)
    return found[1] if found else None
