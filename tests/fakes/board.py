"""A board as told: its memory, its disk, and what it runs."""

from __future__ import annotations

from pathlib import Path

from zun_arm.core.model import Board, CpuGroup, Emulator, Execution, Run
from zun_arm.core.platforms import AMD64, ARM64, ARM_V6, ARM_V7, Isa, platform_of

NATIVE = Run(execution=Execution.NATIVE, why="its cores execute it")
COMPAT = Run(execution=Execution.NATIVE_COMPAT32, why="its 64-bit cores execute 32-bit programs too")
NO = Run(execution=None, why="its cores do not execute it and no emulator is registered")
QEMU = Emulator(
    name="qemu-arm", isa=Isa.ARMV7, interpreter="/usr/bin/qemu-arm", flags="POCF", version="9.2.0", cpu="cortex-a15"
)
EMULATED = Run(execution=Execution.EMULATED, why="qemu-arm 9.2.0 is registered", emulator=QEMU)


class FakeBoard:
    """:class:`zun_arm.core.seams.BoardFacts` of a Raspberry Pi 4 with a 64-bit kernel, unless told otherwise."""

    def __init__(self) -> None:
        self.model = "Raspberry Pi 4 Model B Rev 1.5"
        self.memory_mib = 1000
        self.disk_mib = 8000
        self.runs = {ARM_V6: COMPAT, ARM_V7: COMPAT, ARM64: NATIVE, AMD64: NO}
        self.refusal: Exception | None = None

    def describe(self) -> Board:
        return Board(
            arm=True,
            model=self.model,
            soc="bcm2711",
            cores=4,
            cpus=(CpuGroup(name="Cortex-A72", count=4, implementer=0x41, part=0xD08),),
            isa=Isa.ARMV8,
            memory_mib=1848,
            page_size=4096,
            machine="aarch64",
            kernel="6.1.21",
            cgroup_version=2,
            cgroup_controllers=("cpu", "memory", "pids"),
            emulators=(QEMU,),
            runs=self.runs,
        )

    def run_for(self, isa: Isa) -> Run:
        return self.runs[platform_of(isa) or AMD64]

    def memory_available_mib(self) -> int:
        return self.memory_mib

    def disk_free_mib(self, path: Path) -> int:
        if self.refusal is not None:
            raise self.refusal
        return self.disk_mib
