"""Which cgroup controllers really limit, and which emulator serves what."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import AMD64_MAGIC, ARM64_MAGIC, ARM_MAGIC, Saved, arm_block, cores, entry

from zun_arm.board import describe, run_for
from zun_arm.board.emulators import parse_entry
from zun_arm.core.model import Board
from zun_arm.core.platforms import Isa

MOUNTINFO = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" + "".join(
    f"4{n} 31 0:3{n} / /sys/fs/cgroup/{name} rw,relatime shared:9 - {kind} {kind} {options}\n"
    for n, (name, kind, options) in enumerate(
        [
            ("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
            ("memory", "cgroup", "rw,memory"),
            ("pids", "cgroup", "rw,pids"),
            ("systemd", "cgroup", "rw,xattr,name=systemd"),
            ("unified", "cgroup2", "rw,nsdelegate"),
        ]
    )
)
MOUNTS = "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
ENABLED = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"


def described(root: Path, **fields: object) -> Board:
    defaults: dict[str, object] = {"name": "x", "machine": "aarch64", "cpuinfo": cores(arm_block(0xD03))}
    return describe(Saved(**{**defaults, **fields}).write(root))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("controllers", "more", "cmdline", "expected"),
    [
        ("cpu memory pids", (), "", (2, ("cpu", "memory", "pids"))),
        ("cpu pids", (("proc/cgroups", ENABLED + "memory\t0\t9\t1\n"),), "", (2, ("cpu", "pids"))),
        ("cpu memory", (), "cgroup_disable=memory quiet", (2, ("cpu",))),
        ("cpu memory", (), "cgroup_disable=memory quiet cgroup_enable=memory", (2, ("cpu", "memory"))),
        ("cpu memory", (), "cgroup_enable=memory cgroup_disable=cpu,memory", (2, ())),
        ("", (), "", (2, ())),
        (None, (("proc/self/mountinfo", MOUNTINFO),), "", (1, ("cpu", "cpuacct", "memory", "pids"))),
        (None, (("proc/self/mountinfo", MOUNTINFO),), "cgroup_disable=memory", (1, ("cpu", "cpuacct", "pids"))),
        (
            None,
            (("proc/self/mountinfo", MOUNTINFO), ("proc/cgroups", ENABLED + "memory\t0\t1\t0\npids\t8\t2\t1\n")),
            "",
            (1, ("cpu", "cpuacct", "pids")),
        ),
        (None, (("proc/mounts", MOUNTS),), "", (1, ("memory",))),
        (None, (("sys/fs/cgroup/memory/tasks", ""), ("sys/fs/cgroup/unified/cgroup.controllers", "cpu")), "",
         (1, ("memory",))),
        (None, (("proc/cgroups", ENABLED + "memory\t0\t9\t1\n"),), "", (None, ())),
    ],
)  # fmt: skip
def test_cgroups(
    controllers: str | None,
    more: tuple[tuple[str, str], ...],
    cmdline: str,
    expected: tuple[int | None, tuple[str, ...]],
    tmp_path: Path,
) -> None:
    found = described(tmp_path, controllers=controllers, more=more, cmdline=cmdline)
    assert (found.cgroup_version, found.cgroup_controllers) == expected


@pytest.mark.parametrize(
    ("magic", "isa"), [(ARM_MAGIC, Isa.ARMV7), (ARM64_MAGIC, Isa.ARMV8), (AMD64_MAGIC, Isa.X86_64)]
)
def test_the_header_tells_what_an_emulator_serves_not_its_name(
    magic: tuple[str, str], isa: Isa, tmp_path: Path
) -> None:
    found = described(tmp_path, binfmt=(("qemu-sparc", entry(magic)),)).emulators
    assert [(emulator.name, emulator.isa) for emulator in found] == [("qemu-sparc", isa)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "enabled\n",
        entry(ARM_MAGIC).replace("enabled", "disabled"),
        "enabled\ninterpreter /usr/bin/python3\nflags: \noffset 0\nmagic cb0d0d0a\n",
        "enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n",
        entry(ARM_MAGIC).replace("offset 0", "offset 9"),
        entry(ARM_MAGIC).replace("offset 0", "offset -1"),
        entry(ARM_MAGIC).replace("offset 0", "offset x"),
        entry((ARM_MAGIC[0], "ff")),
        entry(("zz", "zz")),
        entry((ARM_MAGIC[0].replace("46010101", "46010201"), ARM_MAGIC[1])),  # armeb
        entry((ARM_MAGIC[0], "ff" * 20)),  # fixed-address programs only: most are PIE
        entry(ARM_MAGIC, interpreter="relative/qemu"),
        "\0\xff garbage",
    ],
)
def test_entries_that_serve_nothing(text: str, tmp_path: Path) -> None:
    assert described(tmp_path, binfmt=(("qemu-arm", text),)).emulators == ()


def test_binfmt_misc_switched_off_as_a_whole(tmp_path: Path) -> None:
    found = described(tmp_path, binfmt=(("qemu-arm", entry(ARM_MAGIC)), ("status", "disabled\n")))
    assert found.emulators == ()


def test_a_mask_that_lets_everything_pass_serves_all(tmp_path: Path) -> None:
    found = described(tmp_path, binfmt=(("any", entry(("7f454c46", "ffffffff"))),))
    assert {emulator.isa for emulator in found.emulators} == {Isa.ARMV7, Isa.ARMV8, Isa.X86_64, Isa.RISCV64}
    assert {run.execution for run in found.runs.values()} == {"emulated"}


def test_an_entry_without_mask_compares_every_byte() -> None:
    parsed = parse_entry("enabled\ninterpreter /x\nflags: F\noffset 1\nmagic 454c46\n")
    assert parsed is not None
    assert (parsed.matches(b"\x7fELF"), parsed.matches(b"\x7fELG"), parsed.matches(b"\x7fEL")) == (True, False, False)


def test_of_two_entries_the_one_that_works_in_containers(tmp_path: Path) -> None:
    entries = (("a", entry(ARM_MAGIC, flags="P")), ("b", entry(ARM_MAGIC, flags="PF")))
    run = described(tmp_path, machine="armv6l", cpuinfo=cores(arm_block(0xB76)), binfmt=entries).runs["linux/arm/v7"]
    assert run.emulator is not None and run.emulator.name == "b"


def test_an_entry_without_f_also_spoils_native_programs(tmp_path: Path) -> None:
    run = described(tmp_path, binfmt=(("qemu-arm", entry(ARM_MAGIC, flags="")),)).runs["linux/arm/v7"]
    assert run.execution is None
    assert "lacks flag F" in run.why and "or remove it" in run.why


def test_an_emulator_runs_what_the_cores_do_not(tmp_path: Path) -> None:
    text = cores(arm_block(0xC07))
    found = described(tmp_path, machine="armv7l", cpuinfo=text, binfmt=(("q", entry(ARM_MAGIC)),))
    assert run_for(found, Isa.ARMV8_AARCH32).execution == "emulated"
