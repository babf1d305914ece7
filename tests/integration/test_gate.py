"""The gate: no program ever runs without its network, whatever the image and whoever starts the container."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

Launch = Callable[..., dict[str, Any]]
PROGRAM = ("sh", "-c", "echo up; exec sleep 1000000")


def ups(client: docker.DockerClient, name: str) -> int:
    """How often the sandbox's program has run."""
    log: bytes = client.containers.get(f"zun-arm-{name}").logs()
    return log.split().count(b"up")


def test_a_container_restarted_behind_our_back_waits(
    launched: Launch, cli: Any, client: docker.DockerClient, eventually: Any
) -> None:
    told = launched("--name", "ana", "--publish", "18080:80", program=PROGRAM)
    eventually(lambda: ups(client, "ana") == 1, "the program to run")
    for times in (2, 3):
        client.containers.get("zun-arm-ana").restart(timeout=0)
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            assert ups(client, "ana") == times - 1, "the program ran without its network"
        processes = cli("exec", "ana", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout.replace("\0", " ")
        assert "/.zun-arm/busybox sh /.zun-arm/start sh -c" in processes
        assert "eth0" not in cli("exec", "ana", "--", "ip", "-o", "link").stdout
        found = json.loads(cli("reconcile", "--format", "json").stdout)
        assert [(item["kind"], item["what"], item["error"]) for item in found] == [
            ("sandbox without network", "ana", None)
        ]
        eventually(lambda times=times: ups(client, "ana") == times, "the program to run", within=5)
        assert told["address"] in cli("exec", "ana", "--", "ip", "addr", "show", "eth0").stdout
        assert json.loads(cli("reconcile", "--format", "json").stdout) == []


def test_start_of_a_container_stopped_and_started_behind_our_back(
    launched: Launch, cli: Any, client: docker.DockerClient, eventually: Any
) -> None:
    """Our own stop and start put it right as well."""
    told = launched("--name", "ana", program=PROGRAM)
    container = client.containers.get("zun-arm-ana")
    container.stop(timeout=0)
    container.start()
    cli("restart", "--timeout", "0", "ana")
    eventually(lambda: ups(client, "ana") == 2, "the program to run", within=5)
    assert told["address"] in cli("exec", "ana", "--", "ip", "addr", "show", "eth0").stdout


@pytest.fixture
def scratch(cli: Any, client: docker.DockerClient, bystander: Any, tmp_path: Path) -> Iterator[str]:
    """An image of a single file: a static ARM program."""
    pieces, _stat = bystander.get_archive("/bin/busybox")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as packed:
        program = packed.extractfile("busybox")
        assert program is not None
        content = program.read()
    with tarfile.open(tmp_path / "scratch.tar", "w") as tar:
        header = tarfile.TarInfo("busybox")
        header.size, header.mode = len(content), 0o755
        tar.addfile(header, io.BytesIO(content))
    told = json.loads(cli("image", "import", str(tmp_path / "scratch.tar"), "--format", "json").stdout)
    assert (told["name"], told["platform"], told["isa"]) == ("scratch:latest", "linux/arm/v7", "armv7")
    yield "scratch"
    cli("delete", "--all")
    cli("image", "delete", "scratch")


def test_an_image_from_scratch(launched: Launch, cli: Any, scratch: str) -> None:
    told = launched("--name", "ana", image=scratch, program=("/busybox", "sleep", "1000000"))
    assert told["address"] in cli("exec", "ana", "--", "/busybox", "ip", "addr", "show", "eth0").stdout
    assert cli("exec", "ana", "--", "/busybox", "cat", "/etc/hostname").stdout == "ana\n"
    cli("restart", "--timeout", "0", "ana")
    assert "default via" in cli("exec", "ana", "--", "/busybox", "ip", "route").stdout
    no_command = cli("launch", scratch, check=False)
    assert no_command.returncode == 1 and "names no program" in no_command.stderr
    no_shell = cli("shell", "ana", check=False, input="")
    assert no_shell.returncode != 0


@pytest.fixture
def unprivileged(cli: Any, client: docker.DockerClient, bystander: Any) -> Iterator[str]:
    """An image that runs as nobody, in a directory of its own."""
    changes = [
        "USER 65534",
        "WORKDIR /mnt",
        "CMD []",
        'ENTRYPOINT ["/bin/sh", "-c", "id -u; pwd; echo up; sleep 1000"]',
    ]
    made = client.api.commit(bystander.id, "unprivileged", "latest", changes=changes)
    yield "unprivileged"
    cli("delete", "--all")
    client.images.remove(made["Id"], force=True)


def test_an_image_of_an_unprivileged_user(
    launched: Launch, cli: Any, client: docker.DockerClient, unprivileged: str, eventually: Any, greeter: int
) -> None:
    told = launched("--name", "ana", image=unprivileged)
    eventually(lambda: ups(client, "ana") == 1, "the program to run")
    assert cli("logs", "ana").stdout.replace("\r", "").splitlines() == ["65534", "/mnt", "up"]
    assert cli("exec", "ana", "--", "id", "-u").stdout == "65534\n"
    assert told["address"] in cli("exec", "ana", "--", "ip", "addr", "show", "eth0").stdout
    assert cli("exec", "ana", "--", "nc", "-w", "5", "198.51.100.1", str(greeter)).stdout == "you are 198.51.100.2\n"
    cli("restart", "--timeout", "0", "ana")
    eventually(lambda: ups(client, "ana") == 2, "the program to run")


def test_the_network_is_there_at_the_programs_first_instruction(
    launched: Launch, cli: Any, client: docker.DockerClient, eventually: Any, greeter: int
) -> None:
    """20 launches and 10 restarts of a program that ends at once when anything is missing."""
    script = (
        "ip -4 addr show eth0 | grep -q 'inet 10.' || exit 1; ip route | grep -q '^default via' || exit 2;"
        "grep -q '^nameserver 192.0.2.53$' /etc/resolv.conf || exit 3; grep -q \"$(hostname)\" /etc/hosts || exit 4;"
        f"nc -w 5 198.51.100.1 {greeter} </dev/null | grep -q 'you are 198.51.100.2' || exit 5;"
        "echo up; exec sleep 1000000"
    )
    names = [f"s{number}" for number in range(20)]
    for name in names:
        cli(
            *("launch", "zun-arm/tiny:arm-v7", "--name", name, "--memory", "64M", "--", "sh", "-c", script),
            OS_NETWORK__DNS="192.0.2.53",
        )

    def ran(name: str, times: int) -> bool:
        container = client.containers.get(f"zun-arm-{name}")
        assert container.status == "running", f"{name} ended with {container.attrs['State']['ExitCode']}"
        return ups(client, name) == times

    for name in names:
        eventually(lambda name=name: ran(name, 1), f"{name} to see its network")
    cli("restart", "--timeout", "0", *names[:10], OS_NETWORK__DNS="192.0.2.53")
    for name in names[:10]:
        eventually(lambda name=name: ran(name, 2), f"{name} to see its network again")
    cli("delete", "--all")
