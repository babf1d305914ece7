"""Emulators registered with the kernel (binfmt_misc), and which instruction set each one really serves.

Sources: Linux Documentation/admin-guide/binfmt-misc.rst and fs/binfmt_misc.c (an entry matches when every byte of
the file's head equals ``magic`` under ``mask``, from ``offset``); ELF header layout from elf(5).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from zun_arm.board.tree import Tree
from zun_arm.core.model import Emulator
from zun_arm.core.platforms import Isa

_DIRECTORY = "proc/sys/fs/binfmt_misc"
_NO_ENTRIES = frozenset({"register", "status"})
_HEAD = 256  # BINPRM_BUF_SIZE: what the kernel compares with
_EXECUTABLE, _SHARED = 2, 3  # e_type; a PIE is ET_DYN

# Class (1: 32-bit, 2: 64-bit), e_machine and usual e_flags. All 32-bit ARM is one e_machine: ARMV7 stands for it.
_TARGETS = {
    Isa.ARMV7: (1, 40, 0x05000400),
    Isa.ARMV8: (2, 183, 0),
    Isa.X86_64: (2, 62, 0),
    Isa.RISCV64: (2, 243, 5),
}
_ARM32 = frozenset({Isa.ARMV5, Isa.ARMV6, Isa.ARMV7, Isa.ARMV8_AARCH32})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One enabled line of magic in binfmt_misc."""

    interpreter: str
    flags: str
    offset: int
    magic: bytes
    mask: bytes

    def matches(self, head: bytes) -> bool:
        """Whether the kernel hands a file that begins with ``head`` to this interpreter."""
        window = head[self.offset : self.offset + len(self.magic)]
        pairs = zip(window, self.magic, self.mask, strict=False)
        return len(window) == len(self.magic) and not any((byte ^ magic) & mask for byte, magic, mask in pairs)

    def serves(self, isa: Isa) -> bool:
        """Whether programs of this instruction set, of fixed address and PIE alike, go to it."""
        return all(self.matches(_elf_head(isa, kind)) for kind in (_EXECUTABLE, _SHARED))


def emulators_of(
    tree: Tree, version_of: Callable[[str], str | None], cpu_of: Callable[[str], str | None]
) -> tuple[Emulator, ...]:
    """Every enabled emulator; one that serves several instruction sets is listed for each.

    ``version_of`` and ``cpu_of`` are asked with the interpreter's path.
    """
    if tree.text(f"{_DIRECTORY}/status").strip() == "disabled":
        return ()
    found: list[Emulator] = []
    for name in tree.names(_DIRECTORY):
        entry = parse_entry(tree.text(f"{_DIRECTORY}/{name}")) if name not in _NO_ENTRIES else None
        if entry is None or not name.isprintable():
            continue
        for isa in filter(entry.serves, _TARGETS):
            path = entry.interpreter
            told = {"version": version_of(path), "cpu": cpu_of(path)}
            found.append(Emulator(name=name, isa=isa, interpreter=path, flags=entry.flags, **told))
    return tuple(found)


def parse_entry(text: str) -> Entry | None:
    """An entry's file in binfmt_misc; None when it is disabled, goes by extension, or makes no sense."""
    first, *lines = text.splitlines() or [""]
    if first.strip() != "enabled":
        return None
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(" ")
        fields.setdefault(key.rstrip(":"), value.strip())
    try:
        magic = bytes.fromhex(fields["magic"])
        mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
        offset = int(fields.get("offset", "0")[:4])
    except (KeyError, ValueError):
        return None
    interpreter = fields.get("interpreter", "")
    if not (
        magic
        and len(magic) == len(mask)
        and 0 <= offset < _HEAD
        and interpreter.startswith("/")
        and interpreter.isprintable()
    ):
        return None
    flags = re.sub(r"[^A-Z]", "", fields.get("flags", ""))
    return Entry(interpreter=interpreter, flags=flags, offset=offset, magic=magic, mask=mask)


def serves(emulator: Emulator, isa: Isa) -> bool:
    """Whether programs of ``isa`` are handed to ``emulator``: the kernel cannot tell 32-bit ARM versions apart."""
    return emulator.isa is (Isa.ARMV7 if isa in _ARM32 else isa)


def is_qemu(interpreter: str) -> bool:
    """Whether an interpreter's path is qemu-user's, under its own name or Debian's ``arm-binfmt-P``."""
    name = PurePosixPath(interpreter).name
    return "qemu" in name or name.endswith("-binfmt-P")


def _elf_head(isa: Isa, kind: int) -> bytes:
    """The first 256 bytes of a little-endian ELF program."""
    bits, machine, flags = _TARGETS[isa]
    ident = b"\x7fELF" + bytes((bits, 1, 1, 0)) + bytes(8)
    addresses = bytes(12 if bits == 1 else 24)  # entry, program headers, section headers
    return (ident + struct.pack("<HHI", kind, machine, 1) + addresses + struct.pack("<I", flags)).ljust(_HEAD, b"\0")
