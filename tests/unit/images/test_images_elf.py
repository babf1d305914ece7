"""What one ELF file was built for."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from image_makers import AARCH64, ARM, DYN, EXEC, RISCV, V7, X86_64, arm_attributes, armv7, elf

from zun_arm.core.platforms import Isa
from zun_arm.images import read_elf


@pytest.mark.parametrize(
    ("cpu_arch", "isa"),
    [
        (1, Isa.ARMV5),  # v4
        (2, Isa.ARMV5),  # v4T
        (3, Isa.ARMV5),  # v5T
        (4, Isa.ARMV5),  # v5TE: Debian armel
        (6, Isa.ARMV6),  # v6
        (7, Isa.ARMV6),  # v6KZ: Raspberry Pi 1
        (8, Isa.ARMV6),  # v6T2
        (9, Isa.ARMV6),  # v6K
        (10, Isa.ARMV7),
        (14, Isa.ARMV8_AARCH32),  # v8-A
        (22, Isa.ARMV8_AARCH32),  # v9-A
        (11, Isa.UNKNOWN),  # v6-M, a microcontroller
        (99, Isa.UNKNOWN),
    ],
)
def test_tag_cpu_arch_tells_the_instruction_set(cpu_arch, isa):
    facts = read_elf(elf(cpu_arch=cpu_arch))
    assert (facts.isa, facts.machine, facts.bits, facts.certain) == (isa, 40, 32, True)


def test_a_microcontroller_profile_is_no_userland():
    assert read_elf(elf(cpu_arch=V7, profile="M")).isa is Isa.UNKNOWN
    assert read_elf(elf(cpu_arch=V7, profile="A")).isa is Isa.ARMV7


@pytest.mark.parametrize(
    ("machine", "isa"), [(AARCH64, Isa.ARMV8), (X86_64, Isa.X86_64), (RISCV, Isa.RISCV64), (8, Isa.UNKNOWN)]
)
def test_64_bit_machines(machine, isa):
    facts = read_elf(elf(machine, bits=64))
    assert (facts.isa, facts.bits) == (isa, 64)


@pytest.mark.parametrize(
    "data", [elf(X86_64, bits=32), elf(AARCH64, bits=32), elf(ARM, bits=64), elf(AARCH64, big_endian=True)]
)
def test_foreign_abis_of_known_machines_are_unknown(data):
    assert read_elf(data).isa is Isa.UNKNOWN


def test_without_attributes_the_float_abi_is_a_guess_and_says_so():
    soft = read_elf(elf(flags=0x5000200))
    hard = read_elf(elf(flags=0x5000400))
    by_loader = read_elf(elf(flags=0x5000000, interpreter="/lib/ld-linux-armhf.so.3"))
    assert (soft.isa, soft.hard_float, soft.certain) == (Isa.ARMV5, False, False)
    assert (hard.isa, hard.hard_float, hard.certain) == (Isa.ARMV7, True, False)
    assert (by_loader.isa, by_loader.hard_float, by_loader.certain) == (Isa.ARMV7, True, False)


def test_hard_float_from_attributes_alone():
    assert read_elf(elf(flags=0x5000000, attributes=arm_attributes(V7, vfp_args=True))).hard_float
    assert not read_elf(elf(flags=0x5000000, attributes=arm_attributes(V7))).hard_float


def test_interpreter_and_static():
    dynamic = read_elf(armv7(interpreter="/lib/ld-linux-armhf.so.3", dynamic=[(1, 1)]))
    library = read_elf(armv7(dynamic=[(1, 1)]))
    static = read_elf(armv7(kind=EXEC))
    static_pie = read_elf(elf(AARCH64, kind=DYN, dynamic=[(0x6FFFFFFB, 0x08000001)]))
    assert (dynamic.interpreter, dynamic.static) == ("/lib/ld-linux-armhf.so.3", False)
    assert (library.interpreter, library.static) == (None, False)
    assert (static.interpreter, static.static) == (None, True)
    assert static_pie.static


@pytest.mark.parametrize("kind", [0, 1, 4])
def test_objects_and_core_files_do_not_count(kind):
    assert read_elf(armv7(kind=kind)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + bytes(60), b"\x7fELF\x09\x01" + bytes(60)]
)
def test_other_data_is_none(data):
    assert read_elf(data) is None


def test_cut_off_anywhere_it_never_raises():
    whole = armv7(interpreter="/lib/ld-linux-armhf.so.3", dynamic=[(1, 1)])
    for length in range(len(whole)):
        facts = read_elf(whole[:length])
        assert facts is None or facts.isa in (Isa.ARMV7, Isa.UNKNOWN)
    assert read_elf(whole).certain


@given(st.binary(max_size=200), st.integers(0, 51), st.binary(max_size=120))
def test_garbage_never_raises(front, at, attributes):
    whole = bytearray(elf(cpu_arch=V7, interpreter="/lib/x", attributes=b"A" + attributes))
    whole[at : at + len(front)] = front
    read_elf(bytes(whole))
    read_elf(b"\x7fELF\x01\x01" + front)


@pytest.mark.parametrize(
    "section",
    [
        b"A" + bytes(20),  # a subsection of length 0 must not loop
        b"A" + (2**32 - 1).to_bytes(4, "little") + b"aeabi\0\x01" + bytes(4),
        b"A" + (30).to_bytes(4, "little") + b"aeabi\0\x01" + (16).to_bytes(4, "little") + b"\xff" * 11,
        b"B" + bytes(20),
    ],
)
def test_damaged_attributes_are_as_none(section):
    facts = read_elf(elf(attributes=section, flags=0x5000400))
    assert (facts.isa, facts.certain) == (Isa.ARMV7, False)


def test_reads_from_a_file_object():
    assert read_elf(io.BytesIO(armv7())).isa is Isa.ARMV7


@pytest.mark.parametrize("path", ["/bin/sh", "/usr/bin/qemu-arm-static", "/bin/busybox", sys.executable])
def test_real_programs_of_this_machine_agree_with_pyelftools(path):
    with Path(path).open("rb") as stream:
        facts, theirs = read_elf(stream), ELFFile(stream)
        interpreters = [each.get_interp_name() for each in theirs.iter_segments() if each["p_type"] == "PT_INTERP"]
    assert facts.interpreter == (interpreters[0] if interpreters else None)
    assert facts.bits == theirs.elfclass
    assert facts.isa is {"EM_X86_64": Isa.X86_64, "EM_AARCH64": Isa.ARMV8}[theirs["e_machine"]]
    assert facts.static == ("static" in path or "busybox" in path)


def test_made_attributes_agree_with_pyelftools():
    theirs = ELFFile(io.BytesIO(armv7())).get_section_by_name(".ARM.attributes")
    [vendor] = theirs.iter_subsections()
    [block] = vendor.iter_subsubsections()
    tags = {each.tag: each.value for each in block.iter_attributes()}
    assert tags["TAG_CPU_ARCH"] == V7
    assert tags["TAG_ABI_VFP_ARGS"] == 1
