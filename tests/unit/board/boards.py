"""Boards as saved roots: one line of facts each, written below a directory as ``describe`` reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "boards"

ARM_MAGIC = ("7f454c4601010100000000000000000002002800", "ffffffffffffff00fffffffffffffffffeffffff")
ARM64_MAGIC = ("7f454c460201010000000000000000000200b700", "ffffffffffffff00fffffffffffffffffeffffff")
AMD64_MAGIC = ("7f454c4602010100000000000000000002003e00", "fffffffffffefe00fffffffffffffffffeffffff")
FEATURES64 = "fp asimd evtstrm crc32 cpuid"


def entry(magic_and_mask: tuple[str, str], *, flags: str = "POF", interpreter: str = "/usr/bin/qemu-x-static") -> str:
    """A file in binfmt_misc, as the kernel prints it."""
    magic, mask = magic_and_mask
    return f"enabled\ninterpreter {interpreter}\nflags: {flags}\noffset 0\nmagic {magic}\nmask {mask}\n"


def arm_block(part: int, *, implementer: int = 0x41, features: str = FEATURES64, name: str = "", arch: int = 8) -> str:
    """One core's lines, as an ARM kernel prints them."""
    head = f"model name\t: {name}\n" if name else ""
    return (
        f"{head}BogoMIPS\t: 48.00\nFeatures\t: {features}\nCPU implementer\t: 0x{implementer:02x}\n"
        f"CPU architecture: {arch}\nCPU variant\t: 0x0\nCPU part\t: 0x{part:03x}\nCPU revision\t: 4\n"
    )


def cores(*blocks: str, tail: str = "") -> str:
    """A whole cpuinfo from each core's lines."""
    return "".join(f"processor\t: {number}\n{block}\n" for number, block in enumerate(blocks)) + tail


def x86_block(name: str) -> str:
    return f"vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 140\nmodel name\t: {name}\nflags\t\t: fpu vme lm sse2\n"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A board's files. ``cpuinfo`` None: the published text in tests/fixtures/boards (else synthetic)."""

    name: str
    machine: str
    release: str = "6.1.0"
    page_size: int = 4096
    memory_mib: int = 1024
    cpuinfo: str | None = None
    model: str = ""
    compatible: tuple[str, ...] = ()
    dmi: tuple[str, str] | None = None
    cmdline: str = "console=tty1"
    controllers: str | None = "cpuset cpu io memory pids"
    binfmt: tuple[tuple[str, str], ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    def files(self) -> dict[str, bytes]:
        """Content by path."""
        text = self.cpuinfo
        if text is None:
            text = (FIXTURES / self.name / "proc/cpuinfo").read_text()
        uname = {"machine": self.machine, "release": self.release, "page_size": self.page_size}
        found = {
            "proc/cpuinfo": text,
            "proc/meminfo": f"MemTotal:       {self.memory_mib * 1024} kB\nMemFree:        1000 kB\n",
            "proc/cmdline": self.cmdline + "\n",
            "uname.json": json.dumps(uname),
        }
        if self.model:
            found["proc/device-tree/model"] = self.model + "\0"
        if self.compatible:
            found["proc/device-tree/compatible"] = "".join(f"{one}\0" for one in self.compatible)
        if self.dmi:
            found["sys/class/dmi/id/sys_vendor"], found["sys/class/dmi/id/product_name"] = self.dmi
        if self.controllers is not None:
            found["sys/fs/cgroup/cgroup.controllers"] = self.controllers + "\n"
        found |= {f"proc/sys/fs/binfmt_misc/{name}": content for name, content in self.binfmt}
        found |= dict(self.more)
        return {path: content.encode() for path, content in found.items()}

    def write(self, root: Path) -> Path:
        """Write the root and return it."""
        for path, content in self.files().items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return root


_PI5 = Saved(
    name="raspi-5",
    machine="aarch64",
    release="6.6.31+rpt-rpi-2712",
    page_size=16384,
    memory_mib=8053,
    model="Raspberry Pi 5 Model B Rev 1.0",
    compatible=("raspberrypi,5-model-b", "brcm,bcm2712"),
)
_LAPTOP = Saved(
    name="laptop",
    machine="x86_64",
    cpuinfo=cores(*[x86_block("Intel(R) Core(TM) i7-1165G7 @ 2.80GHz")] * 8),
    memory_mib=15800,
    dmi=("LENOVO", "ThinkPad X1"),
)
_QEMU_POF = (("qemu-arm", entry(ARM_MAGIC)), ("qemu-aarch64", entry(ARM64_MAGIC)))
_A53_MODEL = "Raspberry Pi 3 Model B Rev 1.2"

#: Every board of the matrix. A name ending in "~" has no published cpuinfo: its text is synthetic.
BOARDS: dict[str, Saved] = {
    "raspi-1b": Saved(
        name="raspi-1b",
        machine="armv6l",
        release="6.1.0-rpi7-rpi-v6",
        memory_mib=427,
        model="Raspberry Pi Model B Rev 2",
        compatible=("raspberrypi,model-b-rev2", "brcm,bcm2835"),
    ),
    "raspi-zero-w": Saved(
        name="raspi-zero-w",
        machine="armv6l",
        memory_mib=427,
        model="Raspberry Pi Zero W Rev 1.1",
        compatible=("raspberrypi,model-zero-w", "brcm,bcm2835"),
    ),
    "raspi-2b~": Saved(
        name="raspi-2b",
        machine="armv7l",
        memory_mib=926,
        cpuinfo=cores(
            *[arm_block(0xC07, features="half thumb neon", name="ARMv7 Processor rev 5 (v7l)", arch=7)] * 4,
            tail="Hardware\t: BCM2835\nRevision\t: a21041\n",
        ),
        model="Raspberry Pi 2 Model B Rev 1.1",
        compatible=("raspberrypi,2-model-b", "brcm,bcm2836"),
    ),
    "raspi-3b-32": Saved(
        name="raspi-3b-32",
        machine="armv7l",
        memory_mib=926,
        model=_A53_MODEL,
        compatible=("brcm,bcm2710", "brcm,bcm2709"),
    ),
    "raspi-3b-64": Saved(
        name="raspi-3b-64",
        machine="aarch64",
        memory_mib=906,
        model=_A53_MODEL,
        compatible=("raspberrypi,3-model-b", "brcm,bcm2837"),
        cmdline="coherent_pool=1M cgroup_disable=memory console=tty1",
        controllers="cpuset cpu io pids",
    ),
    "raspi-4b-64": Saved(
        name="raspi-4b-64",
        machine="aarch64",
        memory_mib=7813,
        model="Raspberry Pi 4 Model B Rev 1.5",
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
    ),
    "raspi-5-4k": replace(_PI5, page_size=4096),
    "raspi-5-16k": _PI5,
    "bananapi-m1": Saved(
        name="bananapi-m1",
        machine="armv7l",
        memory_mib=997,
        model="LeMaker Banana Pi",
        compatible=("lemaker,bananapi", "allwinner,sun7i-a20"),
    ),
    "bpi-m64~": Saved(
        name="bpi-m64",
        machine="aarch64",
        memory_mib=1989,
        cpuinfo=cores(*[arm_block(0xD03)] * 4),
        model="BananaPi-M64",
        compatible=("sinovoip,bananapi-m64", "allwinner,sun50i-a64"),
    ),
    "orangepi-5~": Saved(
        name="orangepi-5",
        machine="aarch64",
        memory_mib=7929,
        cpuinfo=cores(*[arm_block(0xD05)] * 4, *[arm_block(0xD0B)] * 4),
        model="Xunlong Orange Pi 5",
        compatible=("xunlong,orangepi-5", "rockchip,rk3588s"),
    ),
    "bpi-f3": Saved(
        name="bpi-f3",
        machine="riscv64",
        memory_mib=3800,
        model="Banana Pi BPI-F3",
        compatible=("bananapi,bpi-f3", "spacemit,k1"),
    ),
    "x-gene~": Saved(
        name="x-gene",
        machine="aarch64",
        memory_mib=32000,
        cpuinfo=cores(*[arm_block(0x000, implementer=0x50, features="fp asimd evtstrm")] * 8),
        dmi=("GIGABYTE", "MP30-AR1"),
    ),
    "x2-phone~": Saved(
        name="x2-phone",
        machine="aarch64",
        memory_mib=7600,
        cpuinfo=cores(*[arm_block(0xD47)] * 3, arm_block(0xD48)),
    ),
    "apple-vm": Saved(name="apple-vm", machine="aarch64", memory_mib=1990, dmi=("QEMU", "QEMU Virtual Machine")),
    "laptop~": _LAPTOP,
    "laptop-qemu~": replace(_LAPTOP, binfmt=_QEMU_POF),
    "laptop-qemu-no-f~": replace(_LAPTOP, binfmt=(("qemu-arm", entry(ARM_MAGIC, flags="OC")),)),
    "raspi-5-16k-qemu": replace(_PI5, binfmt=(("qemu-arm", entry(ARM_MAGIC)),)),
    "raspi-3b-64-qemu~": Saved(
        name="raspi-3b-64",
        machine="aarch64",
        model=_A53_MODEL,
        compatible=("raspberrypi,3-model-b", "brcm,bcm2837"),
        binfmt=(("zz", entry(ARM_MAGIC)), ("aa", entry(AMD64_MAGIC))),
    ),
    "unknown-arm~": Saved(name="unknown-arm", machine="aarch64", cpuinfo=cores(*[arm_block(0xFFF)] * 2)),
}
