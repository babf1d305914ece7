"""The README's first command, on this very machine, in a fresh clone: install, launch, log in, take away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

ROOT = Path(__file__).parents[2]
MADE = Path("/var/lib/zun-arm/quickstart")
MISC = Path("/proc/sys/fs/binfmt_misc")
SOCKET = Path("/var/run/docker.sock")


def run(*argv: str, timeout: float = 900, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "DOCKER_HOST"))}
    environment["PATH"] = ":".join(part for part in os.environ["PATH"].split(":") if ".cache/venv" not in part)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=environment)
    assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def dockerd_pid() -> int | None:
    """The pid of this host's dockerd; None when it does not run."""
    try:
        pid = int(Path("/var/run/docker.pid").read_text())
    except OSError:
        return None
    return pid if Path(f"/proc/{pid}").exists() else None


def what_is_there() -> dict[str, Any]:
    """Everything on this host that quickstart may change."""
    return {
        "venv": Path("/opt/zun-arm").exists(),
        "command": os.path.lexists("/usr/local/bin/zun-arm"),
        "made": MADE.exists(),
        "emulators": sorted(file.name for file in MISC.iterdir() if file.name.startswith("qemu"))
        if MISC.exists()
        else [],
        "bridge": "zunarm0" in run("ip", "-o", "link").stdout,
        "rules": "zun_arm" in run("nft", "list", "tables").stdout,
        "dockerd": dockerd_pid(),
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of what is committed."""
    target = tmp_path_factory.mktemp("clone") / "zun-arm"
    run("git", "clone", "--quiet", str(ROOT), str(target))
    return target


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, Any]]:
    there = what_is_there()
    assert not there["made"], "quickstart is in use on this machine: ./tools/quickstart --remove, then test"
    yield there


@pytest.fixture(scope="module")
def first(clone: Path, before: dict[str, Any]) -> Iterator[str]:
    """What quickstart prints the first time."""
    try:
        yield run(str(clone / "tools/quickstart")).stdout
    finally:
        if MADE.exists():
            run(str(clone / "tools/quickstart"), "--remove", check=False)


def field(text: str, name: str) -> list[str]:
    return re.findall(rf"^{re.escape(name)}:\s+(.+)$", text, re.MULTILINE)


def test_two_sandboxes_are_shown_as_promised(first: str) -> None:
    assert field(first, "platform") == ["linux/arm/v7", "linux/arm64"]
    executions = field(first, "execution")
    assert len(executions) == 2 and set(executions) <= {"native", "native-compat32", "emulated"}
    machines = field(first, "uname -m")
    assert machines[0] in ("armv7l", "armv8l", "aarch64") and machines[1] == "aarch64"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address) for address in field(first, "address"))


def test_the_printed_ssh_lines_log_in(first: str) -> None:
    for line in field(first, "ssh"):
        known = ["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        assert run("ssh", *known, *line.split()[1:], "id -un", timeout=60).stdout.strip() == "root"


def test_again_is_idempotent(first: str, clone: Path) -> None:
    again = run(str(clone / "tools/quickstart"), timeout=120).stdout
    assert again == first


def test_remove_takes_away_what_it_made_and_nothing_else(first: str, clone: Path, before: dict[str, Any]) -> None:
    engine = docker.DockerClient(base_url=f"unix://{SOCKET}")
    program = ["/bin/sleep", "1000"]
    stranger = engine.containers.run("zun-arm/tiny:arm-v7", program, detach=True, name="stranger", init=True)
    try:
        engine.images.get("zun-arm/tiny:arm-v7").tag("not-ours", "kept")
        run("/usr/local/bin/zun-arm", "launch", "tiny", "--name", "mine")
        kept = run(str(clone / "tools/quickstart"), "--remove", check=False)
        assert kept.returncode == 4 and "1 sandboxes that quickstart did not make" in kept.stderr
        run("/usr/local/bin/zun-arm", "delete", "mine")
        assert "removed." in run(str(clone / "tools/quickstart"), "--remove").stderr
        stranger.reload()
        assert stranger.status == "running"
        assert engine.images.get("not-ours:kept")
        after = what_is_there()
        assert {**after, "dockerd": None} == {**before, "dockerd": None}
        # A dockerd that quickstart started goes on as long as it runs somebody else's container.
        assert after["dockerd"] == (before["dockerd"] or dockerd_pid())
    finally:
        stranger.remove(force=True)
        engine.images.remove("not-ours:kept", force=True)
        if before["dockerd"] is None and (started := dockerd_pid()):
            os.kill(started, signal.SIGTERM)
