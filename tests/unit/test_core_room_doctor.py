"""Whether a sandbox fits, whether its limits hold, and what doctor says of a host."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pytest
from fakes.board import EMULATED, NO, QEMU
from fakes.host import FakeHost, make_host

from zun_arm.core import launching, room
from zun_arm.core.doctor import Check, Verdict, examine
from zun_arm.core.model import Limits, Run
from zun_arm.core.platforms import AMD64, ARM64, ARM_V7
from zun_arm.errors import DoesNotFit, HostNotReady, LimitNotEnforced, NetworkFailed


def without(fake: FakeHost, *limits: str) -> FakeHost:
    """The host's kernel ignores these limits."""
    fake.engine.told = replace(fake.engine.told, enforced={**fake.engine.told.enforced, **dict.fromkeys(limits, False)})
    return fake


class TestRoom:
    def test_memory_is_told_in_numbers_with_names_and_a_smaller_limit(self) -> None:
        fake = make_host(reserved_memory_mib=100)
        for name in ("ana", "ben", "cho"):
            fake.launch(name)
        launching.stop(fake.host, fake.sandbox("ben"), timeout_s=0)
        fake.board.memory_mib = 401
        with pytest.raises(DoesNotFit) as told:
            fake.launch("dan", limits=Limits(memory_mib=512))
        assert told.value.message == ("sandbox 'dan' needs 512 MiB, 301 MiB are free on Raspberry Pi 4 Model B Rev 1.5")
        assert told.value.hint == "stop one of: ana, cho; or use --memory 301M"
        fake.launch("dan", limits=Limits(memory_mib=301))

    def test_with_nobody_to_stop_and_nothing_to_give(self) -> None:
        fake = make_host(reserved_memory_mib=100)
        fake.board.memory_mib = 60
        with pytest.raises(DoesNotFit, match="needs 128 MiB, 0 MiB are free") as told:
            fake.launch("ana")
        assert told.value.hint == "free some memory"

    def test_at_most_five_are_named(self) -> None:
        fake = make_host(reserved_memory_mib=0)
        for number in range(7):
            fake.launch(f"s{number}")
        fake.board.memory_mib = 5
        with pytest.raises(DoesNotFit) as told:
            room.check_room(fake.host, "x", Limits(memory_mib=6))
        assert told.value.hint == "stop one of: s0, s1, s2, s3, s4; or free some memory"

    @pytest.mark.parametrize(
        ("free", "wanted", "message"),
        [
            (256, None, "'x' needs 1 MiB of disk, 0 MiB are free in /var/lib/docker beside the 256 MiB kept"),
            (100, None, "0 MiB are free"),
            (755, 500, "needs 500 MiB of disk, 499 MiB are free"),
        ],
    )
    def test_disk_is_told_in_numbers(self, free: int, wanted: int | None, message: str) -> None:
        fake = make_host()
        fake.board.disk_mib = free
        with pytest.raises(DoesNotFit, match=message) as told:
            room.check_room(fake.host, "x", Limits(disk_mib=wanted))
        assert "reserved_disk" in str(told.value.hint)

    def test_just_enough_is_enough(self) -> None:
        fake = make_host()
        fake.board.memory_mib, fake.board.disk_mib = 64 + 128, 256 + 500
        room.check_room(fake.host, "x", Limits(memory_mib=128, disk_mib=500))
        fake.board.disk_mib = 257
        room.check_room(fake.host, "x", Limits())


class TestUnenforcedLimits:
    @pytest.mark.parametrize("limit", ["memory", "cpu", "pids"])
    def test_refused_with_its_cure(self, limit: str) -> None:
        fake = without(make_host(), limit)
        with pytest.raises(LimitNotEnforced, match=f"the {limit} limit would not hold") as told:
            fake.launch("ana")
        assert told.value.hint == room.cure(limit)
        assert told.value.exit_code == 3

    @pytest.mark.parametrize("limit", ["memory", "cpu", "pids"])
    def test_warned_of_when_the_owner_says_so(self, limit: str, caplog: pytest.LogCaptureFixture) -> None:
        fake = without(make_host(refuse_unenforced=False), limit)
        with caplog.at_level(logging.WARNING):
            fake.launch("ana")
        assert [
            f"the {limit} limit would not hold" in text and room.cure(limit) in text for text in caplog.messages
        ] == [True]

    @pytest.mark.parametrize("refuse", [True, False])
    def test_a_disk_limit_is_refused_always_but_only_when_asked_for(self, refuse: bool) -> None:
        fake = make_host(refuse_unenforced=refuse)
        fake.launch("ana")
        with pytest.raises(LimitNotEnforced, match="storage driver is overlay2"):
            fake.launch("ben", limits=Limits(disk_mib=100))
        fake.engine.told = replace(fake.engine.told, enforced={**fake.engine.told.enforced, "disk": True})
        fake.launch("ben", limits=Limits(disk_mib=100))

    def test_the_cure_for_memory_is_a_line_to_copy(self) -> None:
        assert "cgroup_enable=memory" in room.cure("memory") and "cmdline.txt" in room.cure("memory")


class TestDoctor:
    @pytest.fixture(autouse=True)
    def as_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    @staticmethod
    def ask(fake: FakeHost) -> dict[str, Check]:
        return {check.name: check for check in examine(fake.host, {"nft": lambda: "/usr/sbin/nft"})}

    def test_a_good_host(self) -> None:
        checks = self.ask(make_host())
        assert list(checks) == [
            "root",
            "nft",
            "docker",
            "memory limit",
            "swap limit",
            "cpu limit",
            "pids limit",
            "disk limit",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64",
            "room",
            "network",
        ]
        assert {name for name, check in checks.items() if check.verdict is not Verdict.OK} == {"disk limit"}
        assert checks["docker"].found == "Docker 20.10.24, API 1.41, overlay2, cgroup v2"
        assert checks["nft"].found == "/usr/sbin/nft"
        assert "936 MiB of memory and 7744 MiB of disk" in checks["room"].found

    def test_not_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        check = self.ask(make_host())["root"]
        assert check.verdict is Verdict.FAIL
        assert "1000" in check.found and "sudo" in str(check.cure)

    def test_a_missing_program(self) -> None:
        def missing() -> str:
            raise HostNotReady("the program nft is not installed", hint="apt-get install nftables")

        (check,) = [one for one in examine(make_host().host, {"nft": missing}) if one.name == "nft"]
        assert check.verdict is Verdict.FAIL
        assert check.cure == "apt-get install nftables"

    def test_no_engine_still_tells_of_the_board(self) -> None:
        fake = make_host()
        fake.trace.engine_dead_from = 0
        checks = self.ask(fake)
        assert (checks["docker"].verdict, checks["docker"].cure) == (Verdict.FAIL, "start it")
        assert checks[ARM64].verdict is Verdict.OK
        assert "network" not in checks and "network.ensure" not in fake.trace.calls

    @pytest.mark.parametrize("limit", ["memory", "cpu", "pids"])
    @pytest.mark.parametrize(("refuse", "verdict"), [(True, Verdict.FAIL), (False, Verdict.WARN)])
    def test_limits_that_would_be_ignored(self, limit: str, refuse: bool, verdict: Verdict) -> None:
        checks = self.ask(without(make_host(refuse_unenforced=refuse), limit))
        assert (checks[f"{limit} limit"].verdict, checks[f"{limit} limit"].cure) == (verdict, room.cure(limit))

    def test_platforms_without_cores_or_emulator(self) -> None:
        fake = make_host()
        fake.board.runs = {**fake.board.runs, ARM_V7: NO}
        checks = self.ask(fake)
        assert checks[ARM_V7].verdict is Verdict.WARN
        assert "qemu-user-static" in str(checks[ARM_V7].cure)
        assert AMD64 not in checks, "nobody comes for it"

    @pytest.mark.parametrize(("flags", "warned"), [("POCF", False), ("POF", True), ("", True)])
    def test_emulators_that_take_setuid_away(self, flags: str, warned: bool) -> None:
        fake = make_host()
        fake.board.runs = {**fake.board.runs, ARM_V7: replace(EMULATED, emulator=replace(QEMU, flags=flags))}
        checks = self.ask(fake)
        assert checks[ARM_V7].found.startswith("emulated: ")
        assert (f"{ARM_V7} setuid" in checks) is warned
        if warned:
            assert "sudo" in checks[f"{ARM_V7} setuid"].found and checks[f"{ARM_V7} setuid"].cure

    def test_native_platforms_say_how(self) -> None:
        fake = make_host()
        fake.board.runs = {**fake.board.runs, ARM64: Run(execution=fake.board.runs[ARM64].execution, why="because")}
        assert self.ask(fake)[ARM64].found == "native: because"

    @pytest.mark.parametrize(("memory", "disk"), [(64 + 127, 8000), (1000, 256), (10, 10)])
    def test_little_room(self, memory: int, disk: int) -> None:
        fake = make_host()
        fake.board.memory_mib, fake.board.disk_mib = memory, disk
        check = self.ask(fake)["room"]
        assert (check.verdict, bool(check.cure)) == (Verdict.WARN, True)
        assert "-" not in check.found

    def test_a_disk_that_cannot_be_looked_at_does_not_end_the_examination(self) -> None:
        fake = make_host()
        fake.board.refusal = HostNotReady("Docker's data root cannot be read", hint="run as root")
        checks = self.ask(fake)
        assert (checks["room"].verdict, checks["room"].cure) == (Verdict.FAIL, "run as root")
        assert "network" in checks

    def test_no_network(self) -> None:
        fake = make_host()
        fake.trace.fail("network.ensure", NetworkFailed("the kernel refused", hint="modprobe veth"))
        check = self.ask(fake)["network"]
        assert (check.verdict, check.found, check.cure) == (Verdict.FAIL, "the kernel refused", "modprobe veth")

    def test_rights_that_are_missing_do_not_end_the_examination(self) -> None:
        fake = make_host()
        fake.trace.fail("network.ensure", PermissionError(13, "Permission denied", "/var/lib/zun-arm"))
        check = self.ask(fake)["network"]
        assert check.verdict is Verdict.FAIL and check.cure
        assert "/var/lib/zun-arm" in check.found

    def test_every_complaint_has_a_cure(self) -> None:
        fake = without(make_host(), "memory", "cpu", "pids")
        fake.board.runs = {**fake.board.runs, ARM_V7: NO, ARM64: NO}
        fake.board.memory_mib = 0
        complaints = [check for check in self.ask(fake).values() if check.verdict is not Verdict.OK]
        assert len(complaints) == 7
        assert all(check.cure for check in complaints)

    def test_the_form_for_json(self) -> None:
        told = self.ask(make_host())["root"].as_dict()
        assert told == {"name": "root", "verdict": "ok", "found": "running as root", "cure": None}
