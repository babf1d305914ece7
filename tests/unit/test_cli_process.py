"""The command as a process of its own: what it imports, and engines that are absent, too old or silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.dockerd import FakeDockerd
from fakes.engine import MADE_AT
from fakes.samples import record

from zun_arm.engine.records import to_labels

#: Slow to import, or large; whoever does not need them does not wait for them.
HEAVY = (
    "docker",
    "requests",
    "pyroute2",
    "oslo_config",
    "oslo_concurrency",
    "elftools",
    "yaml",
    "jsonschema",
    "paramiko",
)
RUN = """
import json, os, sys
from zun_arm.cli.main import main
try:
    main()
finally:
    with open(os.environ["TOLD"], "w") as told:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), told)
"""


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[FakeDockerd]:
    with FakeDockerd(tmp_path / "docker.sock") as server:
        yield server


def environment(tmp_path: Path, host: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "DOCKER_"))}
    return {**mine, "DOCKER_HOST": host, "OS_DEFAULT__STATE_DIR": str(tmp_path / "state")}


def zun_arm(tmp_path: Path, host: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("zun-arm"), *args],
        env={**environment(tmp_path, host), **env},
        capture_output=True,
        text=True,
        timeout=20,
    )


def imported(tmp_path: Path, host: str, *args: str) -> list[str]:
    """The packages that command imports, of the heavy ones."""
    told = tmp_path / "imported.json"
    done = subprocess.run(
        [sys.executable, "-c", RUN, *args],
        env={**environment(tmp_path, host), "TOLD": str(told)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    modules = json.loads(told.read_text())
    return [name for name in HEAVY if name in modules]


@pytest.mark.parametrize(
    "args", [("--help",), ("--version",), ("launch", "--help"), ("image", "build", "--help")], ids=" ".join
)
def test_help_needs_nothing_heavy(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert imported(tmp_path, "unix:///nonexistent", *args) == []


def test_list_does_not_wait_for_the_network(tmp_path: Path, dockerd: FakeDockerd) -> None:
    dockerd.json("/v1.41/containers/json", [])
    assert set(imported(tmp_path, dockerd.host, "list")) <= {"docker", "requests", "oslo_config", "yaml"}


class TestEngines:
    def test_an_absent_one(self, tmp_path: Path) -> None:
        done = zun_arm(tmp_path, f"unix://{tmp_path}/none.sock", "list")
        assert (done.returncode, done.stdout) == (3, "")
        assert f"{tmp_path}/none.sock" in done.stderr
        assert "zun-arm: hint: start it" in done.stderr
        assert "Traceback" not in done.stderr

    def test_one_that_is_too_old(self, tmp_path: Path, dockerd: FakeDockerd) -> None:
        dockerd.api_version = "1.39"
        done = zun_arm(tmp_path, dockerd.host, "list")
        assert (done.returncode, done.stdout) == (3, "")
        assert "1.39" in done.stderr and "zun-arm: hint: install Docker Engine 20.10 or newer" in done.stderr

    def test_one_that_forgets_an_answer(self, tmp_path: Path, dockerd: FakeDockerd) -> None:
        dockerd.answers["/v1.41/containers/json"] = (500, b'{"message": "something is rotten"}')
        done = zun_arm(tmp_path, dockerd.host, "list")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "zun-arm: error: the list of sandboxes: something is rotten\n"

    def test_a_configuration_that_is_refused(self, tmp_path: Path) -> None:
        done = zun_arm(tmp_path, "unix:///nonexistent", "list", OS_DOCKER__TIMEOUT="soon")
        assert done.returncode == 2
        assert "soon" in done.stderr and "Traceback" not in done.stderr


class TestList:
    @staticmethod
    def container(name: str, **changes: Any) -> dict[str, Any]:
        labels = changes.pop("Labels", None) or to_labels(record())
        return {
            "Id": "ab" * 32,
            "Names": [f"/{name}"],
            "State": "running",
            "Status": "Up 2 hours",
            "Created": int(MADE_AT.timestamp()),
            "Labels": labels,
            **changes,
        }

    def test_all_by_one_request_sorted_by_name(self, tmp_path: Path, dockerd: FakeDockerd) -> None:
        ended = {"State": "exited", "Status": "Exited (137) 3 hours ago"}
        dockerd.json(
            "/v1.41/containers/json",
            [
                self.container("zun-arm-ben", **ended),
                self.container("zun-arm-ana"),
                self.container("zun-arm-cho", State="paused"),
            ],
        )
        told = json.loads(zun_arm(tmp_path, dockerd.host, "list", "--format", "json").stdout)
        assert [(one["name"], one["state"], one["exit_code"]) for one in told] == [
            ("ana", "running", None),
            ("ben", "exited", 137),
            ("cho", "paused", None),
        ]
        assert told[0]["created_at"] == "2024-05-01T12:00:00+00:00"
        assert [path.partition("?")[0] for path in dockerd.paths] == ["/version", "/v1.41/containers/json"]
        assert "zun-arm.sandbox" in dockerd.paths[1], "only those with our label are asked for"

    def test_one_unreadable_record_does_not_hide_the_others(self, tmp_path: Path, dockerd: FakeDockerd) -> None:
        future = {**to_labels(record()), "zun-arm.record": '{"format": 2}'}
        tiny = to_labels(record())
        tiny["zun-arm.record"] = tiny["zun-arm.record"].replace('"memory_mib":32', '"memory_mib":1')
        dockerd.json(
            "/v1.41/containers/json",
            [
                self.container("zun-arm-ana"),
                self.container("zun-arm-new", Labels=future),
                self.container("zun-arm-odd", Labels=tiny),
                self.container("somebody-elses"),
            ],
        )
        done = zun_arm(tmp_path, dockerd.host, "list", "--format", "json")
        assert done.returncode == 0, done.stderr
        assert [one["name"] for one in json.loads(done.stdout)] == ["ana"]

    def test_a_reader_that_goes_away_is_no_error(self, tmp_path: Path, dockerd: FakeDockerd) -> None:
        dockerd.json("/v1.41/containers/json", [self.container(f"zun-arm-s{number}") for number in range(2000)])
        program = f"{Path(sys.executable).with_name('zun-arm')} list | head -n 1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", program], env=environment(tmp_path, dockerd.host), capture_output=True, text=True, timeout=20
        )
        assert done.stdout.splitlines()[1:] == ["0"]
        assert done.stderr == ""
