"""Processes that die at the worst moment, files that vanish, disks that fill up: afterwards nothing is half there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest

STATE = Path(os.environ.get("OS_DEFAULT__STATE_DIR", "/nonexistent"))
#: The program of these sandboxes: says when it runs, which is when its network is complete.
PROGRAM = ("sh", "-c", "echo up; exec sleep 1000000")
SECONDS = (0.2, 0.35, 0.45, 0.6)


@pytest.fixture
def begin(cli: Any, tiny: str) -> Callable[..., subprocess.Popen[str]]:
    """Begin a launch and return its process."""
    command = cli("--version").args[0]

    def launch(name: str, *options: str, program: tuple[str, ...] = PROGRAM) -> subprocess.Popen[str]:
        args = [command, "launch", "zun-arm/tiny:arm-v7", "--name", name, *options, "--", *program]
        return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return launch


def listed(cli: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(cli("list", "--format", "json").stdout)
    return told


def reconciled(cli: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(cli("reconcile", "--format", "json").stdout)
    return told


def files(part: str) -> list[str]:
    place = STATE / part
    return [file.name for file in place.iterdir() if file.name[0] != "."] if place.is_dir() else []


def test_two_launches_of_one_name(begin: Any, cli: Any, left_over: Any) -> None:
    for _ in range(3):
        both = [begin("ana"), begin("ana")]
        told = [process.communicate(timeout=60) for process in both]
        assert sorted(process.returncode for process in both) == [0, 1], told
        loser = next(err for process, (_out, err) in zip(both, told, strict=True) if process.returncode == 1)
        assert "'ana' is in use" in loser
        winner = listed(cli)[0]
        assert sorted(left_over()) == [
            "container zun-arm-ana",
            f"leases/{winner['address']}",
            next(item for item in left_over() if item.startswith("link zv")),
            f"sandboxes/{winner['id']}",
        ]
        assert cli("exec", "ana", "--", "ip", "route").stdout.startswith("default via")
        cli("delete", "ana")


def test_eight_launches_at_once(begin: Any, cli: Any, left_over: Any) -> None:
    processes = [begin(f"s{number}", "--memory", "64M") for number in range(8)]
    for process in processes:
        _out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    sandboxes = listed(cli)
    assert len({item["address"] for item in sandboxes}) == len({item["mac"] for item in sandboxes}) == 8
    assert not [item for item in left_over() if item.startswith("finding")]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda item: (item, cli("exec", item["name"], "--", "ip", "-4", "addr").stdout), sandboxes)
    assert all(f"{item['address']}/20" in text for item, text in found)
    cli("delete", *(item["name"] for item in sandboxes))
    assert left_over() == []


# The command is stopped in the middle of a launch. Moments are told by what can be seen, so that a slow machine meets
# the same ones, and by plain delays, for all between.


def moment_seen(moment: str, client: docker.DockerClient) -> bool:
    if moment == "lease":
        return bool(files("leases"))
    if moment == "gate":
        return bool(files("sandboxes"))
    if moment == "link":
        return any(name.startswith("zv") for name in os.listdir("/sys/class/net"))  # noqa: PTH208
    states = [item.status for item in client.containers.list(all=True, sparse=True) if item.name == "zun-arm-ana"]
    return bool(states) if moment == "container" else "running" in states


def at(moment: str | float, process: subprocess.Popen[str], client: docker.DockerClient) -> None:
    """Wait for a moment of a launch, or until it is over."""
    if isinstance(moment, float):
        time.sleep(moment)
        return
    while process.poll() is None and not moment_seen(moment, client):
        pass


def complete(cli: Any, client: docker.DockerClient, name: str, eventually: Any) -> bool:
    """Whether the sandbox is there; then it must be complete: its program runs, its port leads to it."""
    found = [item for item in listed(cli) if item["name"] == name]
    if not found:
        return False
    assert found[0]["state"] == "running"
    container = client.containers.get(f"zun-arm-{name}")
    eventually(lambda: b"up" in container.logs(), f"the program of {name} to pass its gate", within=5)
    assert found[0]["address"] in cli("exec", name, "--", "ip", "-4", "addr", "show", "eth0").stdout
    assert files("leases") == [found[0]["address"]]
    rules = subprocess.run(["nft", "list", "table", "ip", "zun_arm"], capture_output=True, text=True).stdout
    assert f"18080 : {found[0]['address']} . 80" in rules
    return True


MOMENTS = ("lease", "gate", "container", "running", "link", *SECONDS)


def test_a_launch_that_is_interrupted(
    begin: Any, cli: Any, client: docker.DockerClient, left_over: Any, eventually: Any
) -> None:
    undone = 0
    for round_, moment in enumerate(MOMENTS * 2):
        process = begin("ana", "--publish", "18080:80")
        at(moment, process, client)
        process.send_signal((signal.SIGINT, signal.SIGTERM)[round_ % 2])  # the moments are odd in number
        _out, err = process.communicate(timeout=60)
        if complete(cli, client, "ana", eventually):
            cli("delete", "ana")
        else:
            undone += 1
            assert process.returncode != 0
        assert left_over() == [], f"at {moment}: {err}"
    assert undone >= 6, "no launch was interrupted: the moments are wrong"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_launch_that_is_killed(
    begin: Any, cli: Any, client: docker.DockerClient, left_over: Any, eventually: Any, moment: str | float
) -> None:
    process = begin("ana", "--publish", "18080:80")
    at(moment, process, client)
    process.kill()
    process.communicate()
    time.sleep(0.5)  # Docker carries out a request whose client is gone
    reconciled(cli)
    assert reconciled(cli) == [], "one reconcile was not enough"
    if complete(cli, client, "ana", eventually):
        cli("stop", "--timeout", "0", "ana")
        cli("start", "ana")
        cli("delete", "ana")
    assert left_over() == []


#: A launch in a process of its own that kills itself before or after one step.
SUICIDE = """
import os, sys
from zun_arm.core import launching
from zun_arm.core.model import LaunchRequest, Publish
from zun_arm.wiring import App

when, step = sys.argv[1].split()
host = App().host
part = host.engine if step in ("create", "start") else host.network
real = getattr(part, step)

def dying(*args, **named):
    if when == "after":
        real(*args, **named)
    os.kill(os.getpid(), 9)

setattr(part, step, dying)
program = ("sh", "-c", "echo up; exec sleep 1000000")
ports = (Publish(host_port=18080, sandbox_port=80),)
launching.launch(host, LaunchRequest(image="zun-arm/tiny:arm-v7", name="ana", command=program, publish=ports))
"""
STEPS = (
    "after lease",
    "after prepare",
    "after create",
    "after start",
    "after plug",
    "after publish",
    "after open_gate",
)


@pytest.mark.parametrize("step", ["before lease", "before open_gate", *STEPS])
def test_a_launch_that_dies_at_a_step(
    cli: Any, tiny: str, client: docker.DockerClient, left_over: Any, eventually: Any, step: str
) -> None:
    died = subprocess.run([sys.executable, "-c", SUICIDE, step], capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    reconciled(cli)
    assert reconciled(cli) == [], "one reconcile was not enough"
    if complete(cli, client, "ana", eventually):
        cli("delete", "ana")
    assert left_over() == []


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.5, 0.7])
def test_a_rebuild_that_is_killed(begin: Any, cli: Any, launched: Any, left_over: Any, delay: float) -> None:
    """The sandbox is there afterwards, once, with its address, as the old one or as the new one."""
    told = launched("--name", "ana", program=PROGRAM)
    cli("exec", "ana", "--", "touch", "/root/old")
    args = [cli("--version").args[0], "rebuild", "ana", "--timeout", "0"]
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    process.kill()
    process.wait()
    time.sleep(0.5)
    reconciled(cli)
    assert reconciled(cli) == []
    [now] = listed(cli)
    assert (now["name"], now["id"], now["address"]) == ("ana", told["id"], told["address"])
    cli("start", "ana")
    assert told["address"] in cli("exec", "ana", "--", "ip", "-4", "addr", "show", "eth0").stdout
    assert [item for item in left_over() if item.startswith("container")] == ["container zun-arm-ana"]


# Things vanish


def test_lost_leases(launched: Any, cli: Any) -> None:
    ana = launched("--name", "ana")
    shutil.rmtree(STATE / "leases")
    assert [item["name"] for item in listed(cli)] == ["ana"]
    ben = launched("--name", "ben")
    assert ben["address"] != ana["address"]
    cli("delete", "ana", "ben")


def test_lost_state_directory(launched: Any, cli: Any, greeter: int) -> None:
    ana = launched("--name", "ana", "--publish", "18080:80")
    for part in STATE.iterdir():
        shutil.rmtree(part)
    assert [item["address"] for item in listed(cli)] == [ana["address"]]
    assert cli("exec", "ana", "--", "true").returncode == 0
    assert launched("--name", "ben")["address"] != ana["address"]
    cli("restart", "--timeout", "0", "ana")
    assert ana["address"] in cli("exec", "ana", "--", "ip", "addr").stdout
    assert cli("exec", "ana", "--", "nc", "-w", "5", "198.51.100.1", str(greeter)).stdout == "you are 198.51.100.2\n"
    assert f"{ana['address']}\tana" in cli("exec", "ana", "--", "cat", "/etc/hosts").stdout


def test_a_container_removed_behind_our_back(
    launched: Any, cli: Any, client: docker.DockerClient, left_over: Any
) -> None:
    told = launched("--name", "ana", "--publish", "18080:80")
    client.containers.get("zun-arm-ana").remove(force=True)
    assert cli("delete", "ana", check=False).returncode == 1
    found = {(item["kind"], item["error"]) for item in reconciled(cli)}
    assert {("lease", None), ("gate", None), ("published port", None)} <= found
    assert left_over() == []
    assert launched("--name", "ana")["address"] == told["address"], "its address did not become free"


def test_a_bridge_deleted_behind_our_back(launched: Any, cli: Any, eventually: Any, greeter: int) -> None:
    ana = launched("--name", "ana")
    subprocess.run(["ip", "link", "del", "zunarm0"], check=True)
    reconciled(cli)
    launched("--name", "ben")
    cli("restart", "--timeout", "0", "ana")
    for name in ("ana", "ben"):
        said = cli("exec", name, "--", "nc", "-w", "5", "198.51.100.1", str(greeter)).stdout
        assert said == "you are 198.51.100.2\n"
    assert ana["address"] in cli("show", "ana").stdout


def test_rules_flushed_behind_our_back(launched: Any, cli: Any, greeter: int) -> None:
    """As `nft flush ruleset` or a firewall's reload does; reconcile puts them back."""
    ana = launched("--name", "ana", "--publish", "18080:80")
    subprocess.run(["nft", "delete", "table", "ip", "zun_arm"], check=True)
    reconciled(cli)
    rules = subprocess.run(["nft", "list", "table", "ip", "zun_arm"], capture_output=True, text=True).stdout
    assert "masquerade" in rules
    assert f"18080 : {ana['address']} . 80" in rules
    said = cli("exec", "ana", "--", "nc", "-w", "5", "198.51.100.1", str(greeter)).stdout
    assert said == "you are 198.51.100.2\n"


# The disk is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("free_pages", [0, 1, 2, 3, 4, 5])
def test_state_directory_on_a_full_disk(cli: Any, tiny: str, small_disk: Path, left_over: Any, free_pages: int) -> None:
    state = small_disk / "state"
    (state / "locks").mkdir(parents=True)
    with (small_disk / "filler").open("wb") as filler:
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write(bytes(free - 4096 * free_pages))
    done = cli("launch", "zun-arm/tiny:arm-v7", "--name", "ana", check=False, OS_DEFAULT__STATE_DIR=str(state))
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1, done.stderr
    assert "full" in done.stderr.lower() or "no space left" in done.stderr.lower()
    assert "hint: " in done.stderr
    assert left_over() == []
    for part in ("leases", "sandboxes"):
        left = [file.name for file in (state / part).glob("[!.]*")]
        assert left == [], f"{part} keeps {left}"
    (small_disk / "filler").unlink()
    assert cli("launch", "zun-arm/tiny:arm-v7", "--name", "ana", OS_DEFAULT__STATE_DIR=str(state)).returncode == 0
    cli("delete", "ana", OS_DEFAULT__STATE_DIR=str(state))
