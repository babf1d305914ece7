"""Commands on a host of fakes: what they print where, and their exit codes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
import yaml
from fakes.board import EMULATED
from fakes.cli import Cli
from fakes.host import NOTHING, FakeHost, make_host

from zun_arm.cli.main import _COMMANDS
from zun_arm.cli.main import cli as zun_arm
from zun_arm.core import launching
from zun_arm.core.platforms import ARM_V7
from zun_arm.errors import EngineFailed, HostNotReady

KEYS = ["id", "name", "image", "platform", "execution", "state", "address", "mac"]
KEYS += ["memory_mib", "vcpus", "pids", "created_at", "expires_at", "exit_code"]


@pytest.fixture
def fake() -> FakeHost:
    return make_host()


@pytest.fixture
def run(
    fake: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    before = signal.getsignal(signal.SIGTERM)
    yield Cli(fake, tmp_path, monkeypatch, capfd)
    signal.signal(signal.SIGTERM, before)


def commands() -> Iterator[tuple[str, ...]]:
    """Every command there is, those of groups too."""
    context = click.Context(zun_arm)
    for name in sorted(_COMMANDS):
        yield (name,)
        command = zun_arm.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)


class TestHelp:
    @pytest.mark.parametrize("command", list(commands()), ids=" ".join)
    def test_every_command_has_an_intent_and_examples(self, run: Cli, command: tuple[str, ...]) -> None:
        ended = run(*command, "--help")
        assert (ended.code, ended.err) == (0, "")
        assert "Usage: zun-arm " + " ".join(command) in ended.out
        examples = ended.out.partition("Examples:\n")[2]
        assert f"zun-arm {' '.join(command)}" in examples
        intent = ended.out.splitlines()[2].strip()
        assert intent[0].isupper() and len(intent) > 10

    @pytest.mark.parametrize("command", [one for one in commands() if len(one) == 1], ids=" ".join)
    def test_every_option_says_what_it_is_for(self, command: tuple[str, ...]) -> None:
        found = zun_arm.get_command(click.Context(zun_arm), command[0])
        assert found is not None
        for option in found.params:
            assert not isinstance(option, click.Option) or option.help, option.name

    def test_the_first_help_shows_the_way_and_the_exit_codes(self, run: Cli) -> None:
        out = run("--help").out
        for part in ("zun-arm launch tiny --name ana", "0 ok, 1 failed, 2 usage, 3 host not ready, 4 part of a batch"):
            assert part in out
        assert all(f"\n  {name} " in out for name in _COMMANDS)

    def test_the_version(self, run: Cli) -> None:
        assert run("--version").out == "zun-arm, version 0.1.0\n"


class TestLaunch:
    def test_json_has_its_keys_in_order(self, run: Cli, fake: FakeHost) -> None:
        ended = run(
            "launch", "tiny", "--name", "ana", "--memory", "64M", "--cpus", "0.5", "--pids", "64", "--format", "json"
        )
        assert (ended.code, ended.err) == (0, "")
        assert list(ended.json) == KEYS
        assert (ended.json["memory_mib"], ended.json["vcpus"], ended.json["pids"]) == (64, 0.5, 64)
        assert fake.whole(ended.json["id"]) == []

    def test_an_emulated_one_is_told_so(self, run: Cli, fake: FakeHost) -> None:
        fake.board.runs = {**fake.board.runs, ARM_V7: EMULATED}
        told = run("launch", "tiny", "--platform", "armhf", "--format", "json").json
        assert list(told) == [*KEYS, "emulator"]
        assert (told["execution"], told["emulator"]) == ("emulated", {"version": "9.2.0", "cpu": "cortex-a15"})

    def test_everything_that_can_be_said(self, run: Cli, fake: FakeHost, tmp_path: Path) -> None:
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
        (tmp_path / "key.pub").write_text(key)
        ended = run(
            *("launch", "tiny", "--name", "ana", "--ssh-key", str(tmp_path / "key.pub"), "--publish", "2222:22"),
            *("--ttl", "8h", "--env", "COURSE=os1", "-e", "X=", "--tty", "--", "/bin/sleep", "-x"),
        )
        assert ended.code == 0
        record = fake.sandbox("ana").record
        assert record.ssh_keys == (key,) and str(record.publish[0]) == "2222:22/tcp"
        assert record.env == {"COURSE": "os1", "X": ""} and record.tty and record.expires_at
        assert record.command == ("/bin/sleep", "-x")

    @pytest.mark.parametrize(
        "args",
        [
            (),
            ("--name", "Ana"),
            ("--name", ""),
            ("--memory", "lots"),
            ("--memory", "1M"),
            ("--cpus", "0"),
            ("--cpus", "many"),
            ("--pids", "1"),
            ("--publish", "22"),
            ("--ttl", "0"),
            ("--env", "X"),
            ("--platform", "vax"),
            ("--ssh-key", "/none.pub"),
            ("--format", "xml"),
            ("--no-such-option",),
        ],
        ids=" ".join,
    )
    def test_usage_errors_end_with_2_and_make_nothing(self, run: Cli, fake: FakeHost, args: tuple[str, ...]) -> None:
        ended = run("launch", *(("tiny",) if args else ()), *args)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err
        assert fake.kept() == NOTHING

    @pytest.mark.parametrize(
        ("args", "code", "error"),
        [
            (("none",), 1, "there is no image 'none'"),
            (("tiny", "--memory", "10G"), 1, "needs 10240 MiB, 936 MiB are free"),
            (("tiny", "--disk", "1G"), 3, "the disk limit would not hold"),
        ],
    )
    def test_refusals_say_what_happened_and_what_to_do(
        self, run: Cli, fake: FakeHost, args: tuple[str, ...], code: int, error: str
    ) -> None:
        ended = run("launch", *args)
        assert (ended.code, ended.out) == (code, "")
        first, second = ended.err.splitlines()
        assert first.startswith("zun-arm: error: ") and error in first
        assert second.startswith("zun-arm: hint: ")
        assert fake.kept() == NOTHING

    def test_ctrl_c_undoes_and_says_so(self, run: Cli, fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launching, "_SETTLE_S", 0)
        fake.trace.fail("engine.start", KeyboardInterrupt(), after=True)
        ended = run("launch", "tiny")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "zun-arm: what was begun is undone\n\nzun-arm: interrupted\n"
        assert fake.kept() == NOTHING

    def test_sigterm_is_as_ctrl_c(self, run: Cli, fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launching, "_SETTLE_S", 0)
        fake.trace.afterwards("network.plug", lambda: signal.raise_signal(signal.SIGTERM))
        assert run("launch", "tiny").code == 1
        assert fake.kept() == NOTHING


class TestListAndShow:
    def test_an_empty_host(self, run: Cli) -> None:
        headings = "NAME STATE PLATFORM EXECUTION ADDRESS IMAGE MIB CPUS PIDS EXIT AGE"
        assert run("list").out.split() == headings.split()
        assert run("list", "--format", "json").json == []

    def test_a_table_for_people(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        fake.launch("a-much-longer-name")
        heading, *rows = run("list").out.splitlines()
        assert [row.split()[:4] for row in rows] == [
            ["a-much-longer-name", "running", "linux/arm64", "native"],
            ["ana", "running", "linux/arm64", "native"],
        ]
        assert {row.index("running") for row in rows} == {heading.index("STATE")}

    def test_json_and_yaml_are_the_same(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        told = run("list", "--format", "json").json
        assert [list(item) for item in told] == [KEYS]
        assert yaml.safe_load(run("list", "--format", "yaml").out) == told
        assert run("show", "ana", "--format", "json").json == told[0]

    def test_show_for_people(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        lines = run("show", "ana").out.splitlines()
        assert [line.split("  ")[0].strip() for line in lines] == [key.replace("_", " ") for key in KEYS]

    def test_what_is_not_there(self, run: Cli) -> None:
        ended = run("show", "none")
        assert ended.code == 1 and "'none'" in ended.err and "zun-arm list" in ended.err

    def test_an_engine_that_does_not_answer_ends_with_3(self, run: Cli, fake: FakeHost) -> None:
        fake.trace.fail("engine.sandboxes", HostNotReady("Docker: permission denied", hint="run as root"))
        ended = run("list")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err == "zun-arm: error: Docker: permission denied\nzun-arm: hint: run as root\n"


class TestBatches:
    @pytest.fixture
    def three(self, fake: FakeHost) -> None:
        for name in ("ana", "ben", "cho"):
            fake.launch(name)

    @pytest.mark.usefixtures("three")
    @pytest.mark.parametrize("command", ["stop", "restart", "pause", "delete"])
    def test_all_well_ends_with_0(self, run: Cli, command: str) -> None:
        ended = run(command, "ana", "cho")
        assert (ended.code, ended.out, ended.err) == (0, "ana\ncho\n", "")

    @pytest.mark.usefixtures("three")
    def test_one_failure_ends_with_4_and_the_others_are_done(self, run: Cli, fake: FakeHost) -> None:
        ended = run("stop", "ana", "none", "cho")
        assert (ended.code, ended.out) == (4, "ana\ncho\n")
        assert "there is no sandbox 'none'" in ended.err
        assert "1 of 3 failed: none" in ended.err
        assert [str(sandbox.state) for sandbox in fake.engine.sandboxes()] == ["exited", "running", "exited"]

    @pytest.mark.usefixtures("three")
    def test_nothing_but_failures_ends_with_their_code(self, run: Cli) -> None:
        ended = run("stop", "x", "y")
        assert ended.code == 1
        assert ended.err.count("there is no sandbox") == 2
        assert run("stop", "x").code == 1

    @pytest.mark.usefixtures("three")
    def test_a_dead_engine_in_a_batch_ends_with_3(self, run: Cli, fake: FakeHost) -> None:
        fake.trace.engine_dead_from = len(fake.trace.calls)
        assert run("stop", "ana", "ben").code == 3

    @pytest.mark.usefixtures("three")
    def test_delete_all(self, run: Cli, fake: FakeHost) -> None:
        assert run("delete", "--all").out == "ana\nben\ncho\n"
        assert fake.kept() == NOTHING
        assert run("delete", "--all").code == 0

    @pytest.mark.usefixtures("three")
    def test_delete_if_exists(self, run: Cli) -> None:
        assert run("delete", "none").code == 1
        ended = run("delete", "--if-exists", "none", "ana")
        assert (ended.code, ended.out) == (0, "ana\n")

    @pytest.mark.parametrize("args", [(), ("--all", "ana")], ids=["neither", "both"])
    def test_delete_wants_names_or_all(self, run: Cli, args: tuple[str, ...]) -> None:
        assert run("delete", *args).code == 2

    @pytest.mark.parametrize("command", ["start", "stop", "restart", "pause", "unpause"])
    def test_a_name_is_needed(self, run: Cli, command: str) -> None:
        assert run(command).code == 2

    def test_images(self, run: Cli) -> None:
        ended = run("image", "delete", "none", "zun-arm/tiny:arm64")
        assert (ended.code, ended.out) == (4, "zun-arm/tiny:arm64\n")
        assert run("image", "delete", "none").code == 1
        assert run("image", "delete", "none", "neither").code == 1, "all failed: as with sandboxes"


class TestStates:
    def test_start_what_was_stopped(self, run: Cli, fake: FakeHost) -> None:
        told = fake.launch("ana")
        run("stop", "ana", "--timeout", "0")
        assert run("show", "ana", "--format", "json").json["exit_code"] == 137
        assert run("start", "ana").code == 0
        assert fake.whole(told.id) == []

    def test_pause_and_unpause(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        assert run("unpause", "ana").code == 1
        assert run("pause", "ana").code == 0
        ended = run("exec", "ana", "--", "/bin/true")
        assert ended.code == 1 and "zun-arm unpause ana" in ended.err
        assert run("unpause", "ana").code == 0

    def test_rename(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        fake.launch("ben")
        assert run("rename", "ana", "cho").out == "cho\n"
        assert run("rename", "cho", "ben").code == 1
        assert run("rename", "cho", "Ben").code == 2

    def test_rebuild(self, run: Cli, fake: FakeHost) -> None:
        before = fake.launch("ana")
        told = run("rebuild", "ana", "--format", "json").json
        assert list(told) == KEYS and told["id"] == before.id
        assert fake.sandbox("ana").container_id != before.container_id

    def test_wait(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        ended = run("wait", "ana", "--timeout", "1s")
        assert ended.code == 1 and "1 s" in ended.err
        fake.engine.kill("ana", 42)
        assert run("wait", "ana").out == "42\n"
        assert run("wait", "ana", "--format", "json").json == {"name": "ana", "exit_code": 42}


class TestInside:
    def test_exec_ends_with_the_programs_code(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana", env={"COURSE": "os1"})
        ended = run("exec", "-e", "WHO=ana", "ana", "--", "/bin/sh", "-c", "echo $COURSE $WHO; echo bad >&2; exit 42")
        assert (ended.code, ended.out, ended.err) == (42, "os1 ana\n", "bad\n")

    def test_exec_needs_a_running_sandbox_and_a_program(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        assert run("exec", "ana").code == 2
        run("stop", "ana")
        ended = run("exec", "ana", "--", "/bin/true")
        assert ended.code == 1 and "zun-arm start ana" in ended.err

    def test_logs(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana", command=("/bin/sh", "-c", "echo one; echo two; sleep 9"))
        assert run("logs", "ana").out == "one\ntwo\n"
        assert run("logs", "--tail", "1", "ana").out == "two\n"
        assert run("logs", "--tail", "-1", "ana").code == 2

    def test_stats(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        fake.launch("ben")
        run("stop", "ben")
        (row,) = run("stats", "--interval", "0.05", "--format", "json").json
        assert list(row) == (
            [
                "name",
                "memory_mib",
                "memory_limit_mib",
                "cpu_percent",
                "vcpus",
                "cpu_seconds",
                "pids",
                "pids_limit",
                "execution",
            ]
        )
        assert (row["name"], row["memory_mib"], row["memory_limit_mib"], row["pids"]) == ("ana", 3.0, 128, 2)
        assert 0 < row["cpu_percent"] <= 2
        assert run("stats", "ben", "--interval", "0.05").code == 1

    def test_cp(self, run: Cli, fake: FakeHost, tmp_path: Path) -> None:
        fake.launch("ana")
        (tmp_path / "lab.c").write_text("int main;")
        assert run("cp", str(tmp_path / "lab.c"), "ana:/root/").code == 0
        assert run("cp", "ana:root/lab.c", str(tmp_path / "back.c")).code == 0
        assert (tmp_path / "back.c").read_text() == "int main;"
        for args in (("a", "b"), ("ana:/a", "ana:/b")):
            assert run("cp", *args).code == 2
        assert run("cp", "none:/a", str(tmp_path)).code == 1

    def test_snapshot(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        assert list(run("snapshot", "ana", "lab1", "--format", "json").json) == ["id", "name", "platform"]
        assert run("snapshot", "ana", "Lab1").code == 2


class TestImages:
    def test_list(self, run: Cli) -> None:
        told = run("image", "list", "--format", "json").json
        keys = ["id", "names", "labelled", "platform", "isa", "true", "size_mib", "created_at"]
        assert [list(item) for item in told] == [keys] * 2
        assert "zun-arm/tiny:arm64" in run("image", "list").out

    def test_verify(self, run: Cli, fake: FakeHost) -> None:
        assert run("image", "verify", "tiny").code == 0
        fake.engine.add_image("liar", labelled="linux/arm64", labels={"truth": "armv7"})
        ended = run("image", "verify", "liar", "--format", "json")
        assert (ended.code, ended.json["true"]) == (1, False)
        assert "claims linux/arm64" in ended.err and "linux/arm/v7" in ended.err
        assert run("image", "verify", "none").code == 1

    def test_export(self, run: Cli, fake: FakeHost, tmp_path: Path) -> None:
        assert run("image", "export", "tiny", str(tmp_path / "tiny.tar")).code == 0
        assert (tmp_path / "tiny.tar").read_bytes() == b"".join(fake.engine.save_image("zun-arm/tiny:arm64"))
        assert [item.name for item in tmp_path.iterdir()] == ["tiny.tar"]

    def test_an_export_that_fails_leaves_nothing(self, run: Cli, fake: FakeHost, tmp_path: Path) -> None:
        fake.trace.fail("engine.save_image", EngineFailed("broken off"), after=True)
        assert run("image", "export", "tiny", str(tmp_path / "tiny.tar")).code == 1
        assert run("image", "export", "tiny", str(tmp_path / "none" / "tiny.tar")).code == 1
        assert list(tmp_path.iterdir()) == []


class TestHost:
    def test_doctor(self, run: Cli, fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 0)
        ended = run("doctor")
        assert ended.code == 0
        assert "disk limit" in ended.out and "zun-arm: disk limit: leave --disk out" in ended.err
        fake.trace.engine_dead_from = 0
        ended = run("doctor", "--format", "json")
        assert ended.code == 3
        assert [check["name"] for check in ended.json if check["verdict"] == "fail"] == ["docker"]
        assert all(list(check) == ["name", "verdict", "found", "cure"] for check in ended.json)

    def test_reconcile(self, run: Cli, fake: FakeHost) -> None:
        ended = run("reconcile")
        assert (ended.code, ended.out, ended.err) == (0, "", "zun-arm: nothing to repair\n")
        told = fake.launch("ana")
        fake.engine.containers.clear()
        dry = run("reconcile", "--dry-run", "--format", "json").json
        assert [item["kind"] for item in dry] == ["veth", "gate", "lease"]
        assert told.id in fake.network.gates
        assert run("reconcile").code == 0
        assert run("reconcile", "--format", "json").json == []

    def test_reconcile_that_fails_ends_with_1(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        fake.engine.containers.clear()
        fake.trace.fail("network.clear", EngineFailed("busy"))
        ended = run("reconcile")
        assert ended.code == 1 and "busy" in ended.out

    def test_teardown_only_without_sandboxes(self, run: Cli, fake: FakeHost) -> None:
        fake.launch("ana")
        ended = run("teardown")
        assert ended.code == 1 and "ana" in ended.err and fake.network.bridge
        run("delete", "--all")
        assert run("teardown").code == 0
        assert not fake.network.bridge

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion(self, run: Cli, shell: str) -> None:
        assert "_ZUN_ARM_COMPLETE" in run("completion", shell).out
        assert run("completion", "tcsh").code == 2

    def test_an_unknown_command(self, run: Cli) -> None:
        ended = run("lunch")
        assert ended.code == 2 and "lunch" in ended.err

    def test_limits_of_the_configuration_are_the_defaults(
        self, run: Cli, fake: FakeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_LIMITS__MEMORY", "77")
        assert run("launch", "tiny", "--format", "json").json["memory_mib"] == 77
        monkeypatch.setenv("OS_LIMITS__MEMORY", "lots")
        ended = run("launch", "tiny")
        assert ended.code == 2 and "lots" in ended.err

    def test_storage_that_limits_disk_is_used(self, run: Cli, fake: FakeHost) -> None:
        fake.engine.told = replace(fake.engine.told, enforced={**fake.engine.told.enforced, "disk": True})
        run("launch", "tiny", "--name", "ana", "--disk", "1G")
        assert fake.sandbox("ana").record.limits.disk_mib == 1024
