"""Every board: what it is, and what it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boards import BOARDS, Saved

from zun_arm.board import as_dict, describe, run_for
from zun_arm.core.model import Board
from zun_arm.core.platforms import PLATFORMS, Isa

NAT, C32, EMU, NO = "native", "native-compat32", "emulated", None

# Board: arm, SoC, cores, isa; then how v6, v7, arm64 and amd64 run.
MATRIX = {
    "raspi-1b": (True, "BCM2835", 1, "armv6", NAT, NO, NO, NO),
    "raspi-zero-w": (True, "BCM2835", 1, "armv6", NAT, NO, NO, NO),
    "raspi-2b~": (True, "BCM2836", 4, "armv7", NAT, NAT, NO, NO),
    "raspi-3b-32": (True, "BCM2837", 4, "armv8", NAT, NAT, NO, NO),
    "raspi-3b-64": (True, "BCM2837", 4, "armv8", C32, C32, NAT, NO),
    "raspi-4b-64": (True, "BCM2711", 4, "armv8", C32, C32, NAT, NO),
    "raspi-5-4k": (True, "BCM2712", 4, "armv8", C32, C32, NAT, NO),
    "raspi-5-16k": (True, "BCM2712", 4, "armv8", NO, NO, NAT, NO),
    "bananapi-m1": (True, "Allwinner sun7i-a20", 2, "armv7", NAT, NAT, NO, NO),
    "bpi-m64~": (True, "Allwinner sun50i-a64", 4, "armv8", C32, C32, NAT, NO),
    "orangepi-5~": (True, "Rockchip rk3588s", 8, "armv8", C32, C32, NAT, NO),
    "bpi-f3": (False, "SpacemiT k1", 8, "riscv64", NO, NO, NO, NO),
    "x-gene~": (True, None, 8, "armv8", C32, C32, NAT, NO),
    "x2-phone~": (True, None, 4, "armv8", NO, NO, NAT, NO),
    "apple-vm": (True, None, 2, "armv8", NO, NO, NAT, NO),
    "laptop~": (False, None, 8, "x86_64", NO, NO, NO, NAT),
    "laptop-qemu~": (False, None, 8, "x86_64", EMU, EMU, EMU, NAT),
    "laptop-qemu-no-f~": (False, None, 8, "x86_64", NO, NO, NO, NAT),
    "raspi-5-16k-qemu": (True, "BCM2712", 4, "armv8", EMU, EMU, NAT, NO),
    "raspi-3b-64-qemu~": (True, "BCM2837", 4, "armv8", EMU, EMU, NAT, EMU),
    "unknown-arm~": (True, None, 2, "armv8", NO, NO, NAT, NO),
}


def board(name: str, root: Path) -> Board:
    return describe(BOARDS[name].write(root))


def test_every_board_is_in_the_matrix() -> None:
    assert set(MATRIX) == set(BOARDS)


@pytest.mark.parametrize("name", MATRIX)
def test_what_it_is_and_what_it_runs(name: str, tmp_path: Path) -> None:
    found = board(name, tmp_path)
    runs = tuple(found.runs[platform].as_dict()["execution"] for platform in PLATFORMS)
    assert (found.arm, found.soc, found.cores, found.isa.value, *runs) == MATRIX[name]
    assert (found.machine, found.memory_mib) == (BOARDS[name].machine, BOARDS[name].memory_mib)
    assert found.page_size == BOARDS[name].page_size
    for run in found.runs.values():
        assert run.why and "\n" not in run.why
        assert (run.emulator is not None) == (run.execution == EMU)


@pytest.mark.parametrize("name", MATRIX)
def test_run_for_agrees_with_runs_and_explains_the_rest(name: str, tmp_path: Path) -> None:
    found = board(name, tmp_path)
    typical = dict(zip(PLATFORMS, (Isa.ARMV6, Isa.ARMV7, Isa.ARMV8, Isa.X86_64), strict=True))
    for platform, isa in typical.items():
        assert run_for(found, isa) == found.runs[platform]
    assert run_for(found, Isa.ARMV5).execution == found.runs["linux/arm/v6"].execution
    assert run_for(found, Isa.UNKNOWN).execution is None
    assert run_for(found, Isa.RISCV64).execution is None
    # 32-bit ARMv8 code needs an ARMv8 core, or an emulator; ARMv7 cores would die of SIGILL.
    expected = found.runs["linux/arm/v7"].execution if found.isa is not Isa.ARMV7 else None
    assert run_for(found, Isa.ARMV8_AARCH32).execution == expected


@pytest.mark.parametrize(
    ("name", "platform", "words"),
    [
        (
            "raspi-3b-64",
            "linux/arm/v7",
            ["Cortex-A53 cores execute ARMv7 in AArch32 state (64-bit kernel, 4 KiB pages)"],
        ),
        ("raspi-1b", "linux/arm/v6", ["ARM1176 core executes ARMv6 (32-bit kernel, armv6l)"]),
        ("raspi-1b", "linux/arm/v7", ["ARM1176 core executes ARMv6, not ARMv7", "no emulator", "qemu-user-static"]),
        ("raspi-3b-32", "linux/arm64", ["32-bit", "armv7l", "64-bit OS"]),
        ("bananapi-m1", "linux/arm64", ["Cortex-A7 cores execute ARMv7, not 64-bit ARMv8"]),
        ("raspi-5-16k", "linux/arm/v7", ["16 KiB pages", "need 4 KiB", "kernel8.img"]),
        ("x2-phone~", "linux/arm/v7", ["Cortex-X2 cores have no AArch32"]),
        ("apple-vm", "linux/arm/v6", ["no AArch32"]),
        ("unknown-arm~", "linux/arm/v7", ["unknown cores", "0xfff"]),
        ("orangepi-5~", "linux/arm64", ["Cortex-A55 and Cortex-A76 cores"]),
        ("laptop-qemu~", "linux/arm/v7", ["qemu-arm", "CPU model max", "x86-64, not ARMv7"]),
        ("laptop-qemu-no-f~", "linux/arm/v7", ["lacks flag F", "register it with F"]),
        ("raspi-3b-64-qemu~", "linux/arm/v7", ["binfmt_misc entry zz", "before the kernel's own loader", "Cortex-A53"]),
        ("bpi-f3", "linux/arm/v7", ["Spacemit(R) X60 cores execute 64-bit RISC-V, not ARMv7"]),
        ("raspi-4b-64", "linux/amd64", ["64-bit ARMv8, not x86-64", "no emulator"]),
    ],
)
def test_why_names_its_reason(name: str, platform: str, words: list[str], tmp_path: Path) -> None:
    why = board(name, tmp_path).runs[platform].why
    assert [word for word in words if word not in why] == [], why


def test_groups_of_a_big_little_board(tmp_path: Path) -> None:
    groups = board("orangepi-5~", tmp_path).cpus
    assert [(cpu.name, cpu.count, cpu.part) for cpu in groups] == [("Cortex-A55", 4, 0xD05), ("Cortex-A76", 4, 0xD0B)]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("raspi-1b", "Raspberry Pi Model B Rev 2"),
        ("x-gene~", "GIGABYTE MP30-AR1"),
        ("x2-phone~", "Cortex-A710"),
        ("laptop~", "LENOVO ThinkPad X1"),
        ("bpi-f3", "Banana Pi BPI-F3"),
        ("apple-vm", "QEMU Virtual Machine"),
    ],
)
def test_model(name: str, model: str, tmp_path: Path) -> None:
    assert board(name, tmp_path).model == model


def test_json_has_the_fixed_keys(tmp_path: Path) -> None:
    told = json.loads(json.dumps(as_dict(board("laptop-qemu~", tmp_path))))
    fixed = ["arm", "model", "soc", "cores", "isa", "memory_mib", "page_size", "runs"]
    assert list(told) == [*fixed, "cpus", "machine", "kernel", "cgroup", "emulators"]
    assert list(told["runs"]) == list(PLATFORMS)
    assert told["runs"]["linux/amd64"].keys() == {"execution", "why"}
    assert told["cpus"][0] == {
        "name": "Intel(R) Core(TM) i7-1165G7 @ 2.80GHz",
        "count": 8,
        "implementer": None,
        "part": None,
    }
    assert told["emulators"][0] == {
        "name": "qemu-aarch64",
        "isa": "armv8",
        "interpreter": "/usr/bin/qemu-x-static",
        "flags": "POF",
        "version": None,
        "cpu": "max",
    }
    assert told["cgroup"] == {"version": 2, "controllers": ["cpuset", "cpu", "io", "memory", "pids"]}


def test_json_writes_midr_fields_in_hex(tmp_path: Path) -> None:
    cpus = as_dict(board("raspi-3b-64", tmp_path))["cpus"]
    assert cpus == [{"name": "Cortex-A53", "count": 4, "implementer": "0x41", "part": "0xd03"}]


def test_a_board_under_a_32_bit_personality_says_so(tmp_path: Path) -> None:
    saved = Saved(name="raspi-3b-64", machine="armv8l", model="Raspberry Pi 3 Model B Rev 1.2")
    runs = describe(saved.write(tmp_path)).runs
    assert runs["linux/arm/v7"].execution == C32
    assert runs["linux/arm64"].execution is None and "armv8l" in runs["linux/arm64"].why
