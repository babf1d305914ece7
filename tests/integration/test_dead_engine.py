"""dockerd is killed in the middle of a launch and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

STARTED: list[Any] = []  # kept, so that Python does not complain of processes it forgot


#: A launch during which, as its gate is about to be opened, dockerd is killed and the launch fails: it cannot be undone.
FAILING = """
import os, sys
from zun_arm.core import launching
from zun_arm.core.model import LaunchRequest
from zun_arm.errors import NetworkFailed, ZunArmError
from zun_arm.wiring import App

host = App().host

def failing(*args, **named):
    os.kill(int(sys.argv[1]), 9)
    raise NetworkFailed("the test says so")

host.network.open_gate = failing
try:
    launching.launch(host, LaunchRequest(image="zun-arm/tiny:arm-v7", name="ana", command=("sleep", "1000")))
except ZunArmError as err:
    print(err)
"""


def start_engine(lab: Path, eventually: Any) -> None:
    # Its containerd died with it. Where process 1 reaps nobody, dockerd would take the zombie for a running containerd.
    (lab / "exec/containerd/containerd.pid").unlink(missing_ok=True)
    STARTED.append(subprocess.Popen([lab / "start-dockerd"], start_new_session=True))

    eventually(is_alive, "dockerd to answer", within=60)


def is_alive() -> bool:
    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    client.close()
    return True


def kill_engine(lab: Path) -> None:
    os.kill(int((lab / "dockerd.pid").read_text()), signal.SIGKILL)


@pytest.fixture(autouse=True)
def nothing_left(cli: Any, bystander: Any, left_over: Any, lab: Path, eventually: Any) -> Iterator[None]:
    """As everywhere; but the container of somebody else dies with its dockerd, and is started again here."""
    yield
    if not is_alive():
        start_engine(lab, eventually)
    bystander.reload()
    if bystander.status != "running":
        bystander.start()
    cli("delete", "--all")
    left = left_over()
    cli("reconcile")
    assert left == []


def test_the_first_error_is_told_when_more_follow(cli: Any, tiny: str, lab: Path) -> None:
    pid = (lab / "dockerd.pid").read_text().strip()
    done = subprocess.run([sys.executable, "-c", FAILING, pid], capture_output=True, text=True, timeout=60)
    assert "the test says so" in done.stdout


@pytest.mark.parametrize("moment", [0.4, "link"])
def test_the_engine_dies_in_the_middle_of_a_launch(
    cli: Any, lab: Path, eventually: Any, left_over: Any, moment: float | str
) -> None:
    command = cli("--version").args[0]
    launch = [command, "launch", "zun-arm/tiny:arm-v7", "--name", "ana", "--", "sleep", "1000"]
    process = subprocess.Popen(launch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if isinstance(moment, float):
        time.sleep(moment)
    while moment == "link" and process.poll() is None:
        if any(name.startswith("zv") for name in os.listdir("/sys/class/net")):  # noqa: PTH208
            break
    kill_engine(lab)
    _out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert process.returncode == 0 or (process.returncode in (1, 3) and "hint: " in err), err

    start_engine(lab, eventually)
    cli("reconcile")
    assert json.loads(cli("reconcile", "--format", "json").stdout) == []
    if process.returncode == 0:
        told = json.loads(cli("show", "ana", "--format", "json").stdout)
        cli("start", "ana")
        assert told["address"] in cli("exec", "ana", "--", "ip", "addr").stdout
        cli("delete", "ana")
    else:
        assert json.loads(cli("list", "--format", "json").stdout) == [], "a launch that failed left its sandbox"


def test_a_launch_that_cannot_be_undone(cli: Any, tiny: str, lab: Path, eventually: Any) -> None:
    pid = (lab / "dockerd.pid").read_text().strip()
    done = subprocess.run([sys.executable, "-c", FAILING, pid], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout, done.stderr
    start_engine(lab, eventually)
    cli("reconcile")
    assert json.loads(cli("reconcile", "--format", "json").stdout) == []
    assert json.loads(cli("list", "--format", "json").stdout) == [], "a launch that failed left its sandbox"
    assert cli("launch", "tiny", "--name", "ana").returncode == 0


def test_what_is_said_while_the_engine_is_dead(cli: Any, tiny: str, lab: Path) -> None:
    kill_engine(lab)
    for command in (["launch", "tiny"], ["list"], ["delete", "--all"], ["reconcile"], ["exec", "ana", "--", "true"]):
        said = cli(*command, check=False)
        assert said.returncode == 3 and "Traceback" not in said.stderr
        assert "does not answer" in said.stderr and "dockerd" in said.stderr, said.stderr


def test_sandboxes_survive_the_death_of_the_engine(cli: Any, launched: Any, lab: Path, eventually: Any) -> None:
    """Stopped, perhaps, since dockerd ends containers it finds; but there, and as they were."""
    told = launched("--name", "ana", "--publish", "18080:80")
    cli("exec", "ana", "--", "touch", "/root/kept")
    kill_engine(lab)
    start_engine(lab, eventually)
    cli("reconcile")
    [now] = json.loads(cli("list", "--format", "json").stdout)
    assert (now["id"], now["address"]) == (told["id"], told["address"])
    cli("start", "ana")
    inside = cli("exec", "ana", "--", "sh", "-c", "ls /root; ip addr").stdout
    assert "kept" in inside and told["address"] in inside
    cli("delete", "ana")
