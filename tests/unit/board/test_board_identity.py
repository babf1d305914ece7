"""Model, SoC, instruction set and memory from files that are old, sparse or lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import Saved, arm_block, cores

from zun_arm.board import describe

A53 = cores(*[arm_block(0xD03)] * 4)


def described(root: Path, **fields: object):  # type: ignore[no-untyped-def]
    defaults: dict[str, object] = {"name": "x", "machine": "aarch64", "cpuinfo": A53}
    return describe(Saved(**{**defaults, **fields}).write(root))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compatible", "tail", "soc"),
    [
        (("brcm,bcm2708",), "Hardware\t: BCM2708\nRevision\t: 000e\n", "BCM2835"),
        (("brcm,bcm2709",), "", "BCM2837"),  # a Pi 2 B v1.2: its cores are Cortex-A53
        (("brcm,bcm2710", "brcm,bcm2709"), "Hardware\t: BCM2709\n", "BCM2837"),
        (("raspberrypi,2-model-b", "brcm,bcm2836"), "Revision\t: a22042\n", "BCM2837"),
        (("raspberrypi,4-model-b", "brcm,bcm2711"), "Hardware\t: BCM2835\nRevision\t: c03112\n", "BCM2711"),
        (("raspberrypi,4-model-b", "brcm,bcm2711"), "Hardware\t: BCM2835\nRevision\t: nonsense\n", "BCM2711"),
        ((), "Hardware\t: BCM2835\nRevision\t: 2a02082\n", "BCM2837"),  # warranty bit; no device tree
        ((), "Hardware\t: BCM2835\n", None),
        ((), "Hardware\t: Allwinner sun8i Family\nRevision\t: 0000\n", "Allwinner sun8i Family"),
        ((), "Hardware\t: Generic DT based system\n", None),
        (("bananapi,bpi-m5", "amlogic, g12a"), "", "Amlogic g12a"),
        (("linux,dummy-virt",), "", None),
        (("maker,board", "newcomer,chip9"), "", "newcomer chip9"),
    ],
)
def test_soc(compatible: tuple[str, ...], tail: str, soc: str | None, tmp_path: Path) -> None:
    assert described(tmp_path, compatible=compatible, cpuinfo=A53 + tail).soc == soc


def test_pi_2_with_its_own_chip(tmp_path: Path) -> None:
    text = cores(*[arm_block(0xC07)] * 4)
    assert described(tmp_path, machine="armv7l", compatible=("brcm,bcm2709",), cpuinfo=text).soc == "BCM2836"


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"cpuinfo": A53 + "Model\t\t: Raspberry Pi 3 Model B\n"}, "Raspberry Pi 3 Model B"),
        ({"dmi": ("GIGABYTE", "GIGABYTE MP30")}, "GIGABYTE MP30"),
        ({"dmi": ("To Be Filled By O.E.M.", "System Product Name")}, "Cortex-A53"),
        ({"model": "\x01\x02", "dmi": ("Acme", "Default string")}, "Acme"),
        ({"more": (("sys/firmware/devicetree/base/model", "Old Board\0"),)}, "Old Board"),
        ({"cpuinfo": "", "machine": ""}, "unknown machine"),
    ],
)
def test_model_falls_back(fields: dict[str, object], model: str, tmp_path: Path) -> None:
    assert described(tmp_path, **fields).model == model


@pytest.mark.parametrize(
    ("machine", "text", "isa"),
    [
        ("armv7l", arm_block(0xB76, arch=7), "armv6"),
        ("armv7l", arm_block(0xD08, arch=7), "armv8"),
        ("armv7l", arm_block(0xD01, arch=7), "armv8-aarch32"),
        ("armv7l", arm_block(0xFFF, name="ARMv7 Processor rev 4 (v7l)"), "armv7"),
        ("armv6l", arm_block(0xFFF, name="ARMv6-compatible processor rev 7 (v6l)", arch=7), "armv6"),
        ("armv5tejl", arm_block(0x926), "armv5"),
        ("aarch64", "", "armv8"),
        ("riscv64", "", "riscv64"),
        ("x86_64", "", "x86_64"),
        ("s390x", "", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_isa(machine: str, text: str, isa: str, tmp_path: Path) -> None:
    found = described(tmp_path, machine=machine, cpuinfo=cores(text) if text else "")
    assert (found.isa.value, found.arm) == (isa, machine.startswith(("arm", "aarch")))


def test_the_weakest_core_counts(tmp_path: Path) -> None:
    text = cores(arm_block(0xC0F), arm_block(0xB76))
    assert described(tmp_path, machine="armv7l", cpuinfo=text).isa.value == "armv6"


def test_without_uname_the_cores_tell_the_machine_but_not_the_page_size(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(A53)
    found = describe(tmp_path)
    assert (found.machine, found.page_size) == ("aarch64", 0)
    assert "page size is not known" in found.runs["linux/arm/v7"].why
    assert found.runs["linux/arm64"].execution == "native"


def test_cpuinfo_of_linux_3_with_common_fields_last(tmp_path: Path) -> None:
    text = (
        "Processor\t: ARMv7 Processor rev 4 (v7l)\nprocessor\t: 0\nBogoMIPS\t: 1\n\nprocessor\t: 1\nBogoMIPS\t: 1\n\n"
    )
    text += "Features\t: swp half thumb\nCPU implementer\t: 0x41\nCPU part\t: 0xc07\n\nHardware\t: sun7i\n"
    found = described(tmp_path, machine="armv7l", cpuinfo=text)
    assert [(cpu.name, cpu.count) for cpu in found.cpus] == [("Cortex-A7", 2)]


def test_cpuinfo_of_linux_3_on_one_core(tmp_path: Path) -> None:
    text = "Processor\t: ARMv6-compatible processor rev 7 (v6l)\nCPU implementer\t: 0x41\nCPU part\t: 0xb76\n"
    found = described(tmp_path, machine="armv6l", cpuinfo=text)
    assert (found.cores, [cpu.name for cpu in found.cpus]) == (1, ["ARM1176"])


def test_optional_aarch32_is_not_guessed(tmp_path: Path) -> None:
    found = described(tmp_path, cpuinfo=cores(arm_block(0xD46), arm_block(0xD47)))
    why = found.runs["linux/arm/v7"].why
    assert "Cortex-A510" in why and "Cortex-A710" not in why


def test_a_kernel_of_another_family_than_the_cores_runs_nothing(tmp_path: Path) -> None:
    found = described(tmp_path, machine="x86_64")
    assert found.arm
    assert {run.execution for run in found.runs.values()} == {None}
