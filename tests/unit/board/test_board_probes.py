"""What is asked of the live machine, with answers given by fakes, and on this very machine."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from boards import BOARDS, Saved, arm_block, cores

from zun_arm.board import as_dict, describe, run_for, save
from zun_arm.board.detect import assemble, saved_uname
from zun_arm.board.probes import LiveProbes
from zun_arm.board.tree import Tree
from zun_arm.core.model import Board
from zun_arm.core.platforms import Isa
from zun_arm.errors import BadInput


class Answers:
    """A live machine that answers as told, and counts the questions about AArch32."""

    def __init__(self, aarch32: bool | None) -> None:
        self.answer = aarch32
        self.asked = 0

    def aarch32(self) -> bool | None:
        self.asked += 1
        return self.answer

    def version(self, interpreter: str) -> str | None:
        return "9.1.2"

    def cpu(self, interpreter: str) -> str | None:
        return "cortex-a7"


def live(saved: Saved, root: Path, answers: Answers) -> Board:
    tree = Tree(saved.write(root))
    return assemble(tree, saved_uname(tree), answers)


@pytest.mark.parametrize(("answer", "expected"), [(True, "native-compat32"), (False, None), (None, None)])
def test_unknown_cores_are_asked(answer: bool | None, expected: str | None, tmp_path: Path) -> None:
    board = live(BOARDS["unknown-arm~"], tmp_path, Answers(answer))
    for isa in (Isa.ARMV5, Isa.ARMV6, Isa.ARMV7, Isa.ARMV8_AARCH32):
        run = run_for(board, isa)
        assert run.execution == expected
        assert answer is not False or "refuses 32-bit programs" in run.why


def test_a_kernel_that_refuses_is_believed_over_the_table(tmp_path: Path) -> None:
    board = live(BOARDS["raspi-4b-64"], tmp_path, Answers(False))  # arm64.no32bit_el0, or no CONFIG_COMPAT
    assert {run_for(board, isa).execution for isa in (Isa.ARMV5, Isa.ARMV7, Isa.ARMV8_AARCH32)} == {None}
    assert board.runs["linux/arm64"].execution == "native"


@pytest.mark.parametrize("name", ["x2-phone~", "raspi-3b-32", "laptop~", "bpi-f3"])
def test_nobody_asks_where_the_answer_is_known(name: str, tmp_path: Path) -> None:
    answers = Answers(True)
    live(BOARDS[name], tmp_path, answers)
    assert answers.asked == 0


def test_version_and_cpu_are_told(tmp_path: Path) -> None:
    board = live(BOARDS["laptop-qemu~"], tmp_path, Answers(None))
    assert board.runs["linux/arm/v7"].why.startswith("qemu-arm 9.1.2 (CPU model cortex-a7) emulates ARMv7")


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('test "$*" = "linux32 true"', True),
        ('echo "setarch: failed to set personality to linux32: Invalid argument" >&2; exit 1', False),
        ('echo "setarch: failed to set personality to linux32: Operation not permitted" >&2; exit 1', None),
    ],
)
def test_only_einval_proves_that_there_is_no_aarch32(
    text: str, expected: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "setarch", text)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LiveProbes().aarch32() is expected


def test_version_of_the_program_behind_the_link(tmp_path: Path) -> None:
    program(tmp_path / "qemu-arm-static", 'case "$0" in *-P) exit 1;; esac; echo "qemu-arm version 7.2.22 (Debian)"')
    link = tmp_path / "arm-binfmt-P"
    link.symlink_to("qemu-arm-static")
    assert LiveProbes().version(str(link)) == "7.2.22"


@pytest.mark.parametrize("text", ["exit 3", "echo no number", ":"])
def test_version_that_cannot_be_told(text: str, tmp_path: Path) -> None:
    assert LiveProbes().version(program(tmp_path / "qemu-x", text)) is None
    assert LiveProbes().version(str(tmp_path / "gone")) is None


def test_version_is_asked_once_until_the_program_changes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = program(tmp_path / "qemu-y", f'echo x >> {log}; echo "version 1.2"')
    assert [LiveProbes().version(path) for _ in range(3)] == ["1.2"] * 3
    assert log.read_text() == "x\n"
    os.utime(path, ns=(1, 1))
    assert LiveProbes().version(path) == "1.2"
    assert log.read_text() == "x\nx\n"


def test_cpu_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QEMU_CPU", raising=False)
    assert LiveProbes().cpu("/usr/libexec/qemu-binfmt/arm-binfmt-P") == "max"
    assert LiveProbes().cpu("/usr/bin/box64") is None
    monkeypatch.setenv("QEMU_CPU", "arm1176")
    assert LiveProbes().cpu("/usr/bin/qemu-arm-static") == "arm1176"


def test_this_machine() -> None:
    board = describe()
    told = os.uname()
    assert (board.machine, board.kernel, board.page_size) == (told.machine, told.release, os.sysconf("SC_PAGE_SIZE"))
    assert board.memory_mib > 0 and board.cores >= 1
    assert board.arm == told.machine.startswith(("arm", "aarch64"))
    json.dumps(as_dict(board))


def test_saved_and_described_it_is_the_same_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QEMU_CPU", raising=False)
    paths = save(tmp_path / "a" / "b")
    again, board = describe(tmp_path / "a" / "b"), describe()
    assert list(paths) == sorted(paths) and {"uname.json", "proc/cpuinfo", "proc/meminfo"} <= set(paths)
    for path in paths:
        assert stat.S_ISREG((tmp_path / "a" / "b" / path).lstat().st_mode)

    def unprobed(one: Board) -> Board:
        runs = {platform: replace(run, why="", emulator=None) for platform, run in one.runs.items()}
        emulators = tuple(replace(emulator, version=None) for emulator in one.emulators)
        return replace(one, runs=runs, emulators=emulators)

    assert unprobed(again) == unprobed(board)
    assert all(emulator.version is None for emulator in again.emulators)


def test_saving_again_replaces_links_and_never_follows_them(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    board = tmp_path / "board"
    board.mkdir()
    (board / "uname.json").symlink_to(victim)
    save(board)
    assert victim.read_text() == "precious"
    assert not (board / "uname.json").is_symlink()


def test_saving_through_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "proc").symlink_to(tmp_path / "out")
    with pytest.raises(BadInput, match="leads out"):
        save(tmp_path / "board")
    assert list((tmp_path / "out").iterdir()) == []


def test_saving_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot save the board"):
        save(tmp_path / "file" / "below")


def test_what_is_private_stays_at_home(tmp_path: Path) -> None:
    from zun_arm.board.saved import _reduced

    text = cores(arm_block(0xD03), tail="Revision\t: a02082\nSerial\t\t: 00000000deadbeef\n").encode()
    assert b"deadbeef" not in _reduced("proc/cpuinfo", text)
    assert b"a02082" in _reduced("proc/cpuinfo", text)
    assert _reduced("proc/cmdline", b"root=UUID=1 cgroup_disable=memory x") == b"cgroup_disable=memory\n"
    mounts = b"1 2 0:1 / /home/ana rw - ext4 /dev/a rw\n2 1 0:2 / /c rw - cgroup cgroup rw,memory\n"
    assert _reduced("proc/self/mountinfo", mounts) == b"2 1 0:2 / /c rw - cgroup cgroup rw,memory\n"
