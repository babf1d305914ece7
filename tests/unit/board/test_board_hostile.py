"""Files that are missing, huge, garbage or traps: always an answer, never one from outside the root."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from boards import BOARDS, Saved, arm_block, cores
from hypothesis import given
from hypothesis import strategies as st

from zun_arm.board import as_dict, cpuinfo, describe, run_for
from zun_arm.board.tree import MAX_BYTES, Tree
from zun_arm.core.model import Board
from zun_arm.core.platforms import PLATFORMS, Isa
from zun_arm.errors import NotFound

FULL = BOARDS["laptop-qemu~"]
NOISE = random.Random(1).randbytes(200_000)


def sound(board: Board) -> None:
    """An answer in the full form."""
    json.dumps(as_dict(board)).encode()
    assert set(board.runs) == set(PLATFORMS)
    assert all(run_for(board, isa).why for isa in Isa)
    assert board.cores >= 1 and board.memory_mib >= 0 and len(board.model) <= 120


def test_an_empty_directory(tmp_path: Path) -> None:
    board = describe(tmp_path)
    sound(board)
    assert (board.arm, board.isa, board.cgroup_version) == (False, Isa.UNKNOWN, None)
    assert {run.execution for run in board.runs.values()} == {None}


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no saved board"):
        describe(tmp_path / "gone")


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, NOISE, b"\xff\xfe", b": : :\n" * 9, b"\n" * 100_000])
def test_every_file_replaced_by_garbage(content: bytes, tmp_path: Path) -> None:
    root = FULL.write(tmp_path)
    for path in FULL.files():
        (root / path).write_bytes(content)
    sound(describe(root))


@pytest.mark.parametrize("path", sorted(BOARDS["raspi-3b-64"].files()))
@pytest.mark.parametrize("trap", ["missing", "directory", "fifo", "loop", "link-out", "garbage"])
def test_each_file_as_a_trap(path: str, trap: str, tmp_path: Path) -> None:
    root = BOARDS["raspi-3b-64"].write(tmp_path / "board")
    victim = root / path
    victim.unlink()
    if trap == "directory":
        victim.mkdir()
    elif trap == "fifo":
        os.mkfifo(victim)
    elif trap == "loop":
        victim.symlink_to(victim.name)
    elif trap == "link-out":
        (tmp_path / "outside").write_text("LEAK: LEAK\nMemTotal: 7340032 kB\nmodel name: LEAK\n")
        victim.symlink_to(tmp_path / "outside")
    elif trap == "garbage":
        victim.write_bytes(NOISE)
    board = describe(root)
    sound(board)
    assert "LEAK" not in json.dumps(as_dict(board)) and board.memory_mib != 7168


def test_a_whole_folder_that_leads_out(tmp_path: Path) -> None:
    outside = BOARDS["raspi-4b-64"].write(tmp_path / "outside")
    root = tmp_path / "board"
    root.mkdir()
    (root / "proc").symlink_to(outside / "proc")
    (root / "sys").symlink_to("../outside/sys")
    board = describe(root)
    assert (board.model, board.cgroup_version) == ("unknown machine", None)


def test_a_saved_link_to_the_live_device_tree_is_not_followed(tmp_path: Path) -> None:
    root = BOARDS["bpi-m64~"].write(tmp_path)
    (root / "proc/device-tree").rename(root / "dt")
    (root / "proc/device-tree").symlink_to("/sys/firmware/devicetree/base")
    assert describe(root).model == "Cortex-A53"
    (root / "proc/device-tree").unlink()
    (root / "proc/device-tree").symlink_to("../dt")  # within the root it may lead anywhere
    assert describe(root).model == "BananaPi-M64"


def test_reads_are_capped(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)
    assert len(Tree(tmp_path).read("huge") or b"") == MAX_BYTES


def test_cpuinfo_with_more_cores_and_lines_than_there_are(tmp_path: Path) -> None:
    keys = "".join(f"k{number}: v\n" for number in range(40_000))
    text = "".join(f"processor\t: {number}\n" for number in range(30_000)) + keys + "CPU implementer : 0x41\n"
    board = describe(Saved(name="x", machine="aarch64", cpuinfo=text).write(tmp_path))
    assert board.cores == cpuinfo.MAX_CPUS


@pytest.mark.parametrize(
    "told",
    [
        "[]", "null", "{", "[" * 100_000, '"x"', '{"machine": 5, "release": [], "page_size": "big"}',
        '{"machine": "aarch64", "page_size": true}', '{"machine": "aarch64", "page_size": -4096}',
        '{"machine": "aarch64", "page_size": 5000}', '{"machine": "aarch64", "page_size": 1e999}',
        '{"machine": "\\ud800", "release": "a\\nb"}', '{"page_size": ' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_uname_that_makes_no_sense(told: str, tmp_path: Path) -> None:
    root = BOARDS["bpi-m64~"].write(tmp_path)
    (root / "uname.json").write_text(told)
    board = describe(root)
    sound(board)
    assert (board.machine, board.kernel, board.page_size) == ("aarch64", "", 0)


@pytest.mark.parametrize(
    "line", ["MemTotal: -5 kB", "MemTotal: lots", "MemTotal: " + "9" * 99 + " kB", "memtotal: 1 kB"]
)
def test_memory_that_makes_no_sense(line: str, tmp_path: Path) -> None:
    root = BOARDS["bpi-m64~"].write(tmp_path)
    (root / "proc/meminfo").write_text(line)
    assert describe(root).memory_mib == 0


KEYS = st.one_of(
    st.sampled_from(["processor", "Processor", "model name", "CPU implementer", "CPU part", "CPU architecture"]),
    st.sampled_from(["Hardware", "Revision", "Model", "Features", "vendor_id", "cpu family", "flags", "isa", "uarch"]),
    st.sampled_from(["hart", "", "\n"]),
)
VALUES = st.one_of(
    st.sampled_from(
        ["0", "1", "0x41", "0xd03", "0xfff", "0x", "-1", "٣", "rv64imac", "ARMv7 Processor", "lm", "a02082"]
    ),
    st.text(max_size=20),
)
LINES = st.lists(st.one_of(st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]}\t: {pair[1]}"), st.text(max_size=30)))
MACHINES = st.sampled_from(["", "aarch64", "armv8l", "armv7l", "armv6l", "armv7b", "x86_64", "i686", "riscv64", "mips"])


@given(lines=LINES, machine=MACHINES)
def test_any_cpuinfo_gives_an_answer(lines: list[str], machine: str) -> None:
    info = cpuinfo.parse("\n".join(lines))
    family = cpuinfo.family_of(info, machine)
    groups = cpuinfo.groups_of(info, family)
    assert sum(group.count for group in groups) == len(info.cpus)
    assert cpuinfo.isa_of(info, family, machine) in Isa
    cpuinfo.machine_of(info)


def test_fuzzed_files_give_an_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = FULL.write(tmp_path_factory.mktemp("board"))
    paths = sorted(FULL.files())

    @given(
        st.sampled_from(paths),
        st.one_of(st.binary(max_size=200), LINES.map(lambda lines: "\n".join(lines).encode(errors="replace"))),
    )
    def check(path: str, content: bytes) -> None:
        (root / path).write_bytes(content)
        try:
            sound(describe(root))
        finally:
            (root / path).write_bytes(FULL.files()[path])

    check()


def test_a_long_vendor_and_product_make_one_name_of_bounded_length(tmp_path: Path) -> None:
    sound(describe(Saved(name="x", machine="x86_64", cpuinfo="", dmi=("V" * 500, "P" * 500)).write(tmp_path)))


def test_a_name_with_control_characters_stays_one_line(tmp_path: Path) -> None:
    text = cores(arm_block(0xD03)).replace("CPU part\t: 0xd03", "model name\t: evil\x1b[31m\tname")
    board = describe(Saved(name="x", machine="aarch64", cpuinfo=text).write(tmp_path))
    assert "\x1b" not in json.dumps(as_dict(board), ensure_ascii=False)
