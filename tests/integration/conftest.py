"""Integration tests run inside `tools/lab`: a Docker Engine and network namespaces of their own.

Each test leaves nothing behind, which is checked after it; a container that is not zun-arm's stands beside every test and
must never be touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from testcontainers.core.container import DockerContainer

from zun_arm.core import launching
from zun_arm.core.reconcile import reconcile
from zun_arm.wiring import App

Cli = Callable[..., subprocess.CompletedProcess[str]]
ZUN_ARM = str(Path(sys.executable).with_name("zun-arm"))


def pytest_configure(config: pytest.Config) -> None:
    if "ZUN_ARM_LAB" not in os.environ:
        pytest.exit("integration tests run in a laboratory: tools/test integration, or tools/lab -- pytest ...", 1)


@pytest.fixture(scope="session")
def lab() -> Path:
    """The laboratory's directory: dockerd.pid, dockerd.log, start-dockerd, state/."""
    return Path(os.environ["ZUN_ARM_LAB"])


def run_cli(*args: str, input: str | None = None, timeout: float = 180, check: bool = True, **env: str) -> Any:
    """``zun-arm ARGS``; fails the test, with what the command said, when ``check`` and the exit code is not 0."""
    done = subprocess.run(
        [ZUN_ARM, *args], input=input, capture_output=True, text=True, timeout=timeout, env={**os.environ, **env}
    )
    if check:
        assert done.returncode == 0, (
            f"zun-arm {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run the command line as a user does."""
    return run_cli


@pytest.fixture(scope="session")
def outside() -> list[str]:
    """Command prefix that runs a program in the outside world, at 198.51.100.1."""
    return ["nsenter", f"--net={os.environ['ZUN_ARM_OUTSIDE_NETNS']}"]


@pytest.fixture(scope="session")
def tiny() -> str:
    """The recipe `tiny`, built for linux/arm/v7 and linux/arm64 into the laboratory's engine."""
    subprocess.run(
        ["nsenter", f"--net={os.environ['ZUN_ARM_HOST_NETNS']}", ZUN_ARM, "image", "build", "tiny"],
        check=True,
        timeout=300,
    )
    return "tiny"


@pytest.fixture(scope="session")
def app() -> App:
    """zun-arm as a library, on the laboratory's engine and network."""
    return App()


@pytest.fixture(scope="session")
def client() -> docker.DockerClient:
    """Docker's own SDK: for looking past zun-arm."""
    return docker.from_env()


@pytest.fixture(scope="session")
def bystander(tiny: str) -> Iterator[Any]:
    """A container of somebody else, made by testcontainers, with a network of Docker's own and labels of its own."""
    stranger = DockerContainer("zun-arm/tiny:arm-v7").with_command("/bin/sleep 100000").with_name("bystander")
    with stranger as running:
        yield running.get_wrapped_container()


def identity(container: Any) -> tuple[str, str, str]:
    """What changes when a container is touched: state, start and restarts."""
    container.reload()
    state = container.attrs["State"]
    return state["Status"], state["StartedAt"], str(container.attrs["RestartCount"])


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, bystander: Any, client: docker.DockerClient) -> Iterator[None]:
    """Before: nothing of ours is there. After: what the test made is deleted, and then nothing of ours is there."""
    before = identity(bystander)
    yield
    report = getattr(request.node, "rep_call", None)
    if report is not None and report.failed:
        dump(client)
    this = App()  # not the command line: four processes less after each test
    for sandbox in this.engine.sandboxes():
        launching.delete(this.host, sandbox)
    assert remains(client) == []
    assert identity(bystander) == before, "a container that is not ours was touched"


def remains(client: docker.DockerClient) -> list[str]:
    """Everything of zun-arm's that is there: containers, links, leases, gates, published ports, findings of reconcile."""
    found = [f"container {item.name}" for item in client.containers.list(all=True) if item.name.startswith("zun-arm-")]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    found += [
        f"link {line.split(':')[1].strip()}"
        for line in links.splitlines()
        if line.split(":")[1].strip().startswith("zv")
    ]
    state = Path(os.environ["OS_DEFAULT__STATE_DIR"])
    for part in ("leases", "sandboxes", "work"):
        if (state / part).is_dir():
            found += [f"{part}/{file.name}" for file in (state / part).iterdir() if not file.name.startswith(".")]
    table = subprocess.run(["nft", "list", "table", "ip", "zun_arm"], capture_output=True, text=True)
    if "elements" in table.stdout:
        found.append(f"published ports: {table.stdout}")
    return found + [f"finding {item}" for item in reconcile(App().host, repair=False)]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    setattr(item, f"rep_{report.when}", report)


def dump(client: docker.DockerClient) -> None:
    """The state and last words of every container, for a test that failed."""
    for item in client.containers.list(all=True):
        print(f"--- {item.name}: {item.attrs['State']}")
        print(item.logs(tail=20).decode(errors="replace"))


@pytest.fixture
def launched(cli: Cli, tiny: str) -> Callable[..., dict[str, Any]]:
    """Launch `tiny` and return what the command says of it."""

    def launch(*options: str, image: str = "tiny", program: tuple[str, ...] = ()) -> dict[str, Any]:
        args = ["launch", image, "--format", "json", *options, *(["--", *program] if program else [])]
        told: dict[str, Any] = json.loads(cli(*args).stdout)
        return told

    return launch


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Look again and again until what was looked for is there (is true), and return it; fail after a deadline."""

    def wait(look: Callable[[], Any], what: str, *, within: float = 30) -> Any:
        deadline = time.monotonic() + within
        while not (found := look()):
            assert time.monotonic() < deadline, f"waited {within:g} s in vain for {what}"
            time.sleep(0.05)
        return found

    return wait


@pytest.fixture(scope="session")
def left_over(client: docker.DockerClient) -> Callable[[], list[str]]:
    """Everything of zun-arm's that is there; for a test that wants to know before the usual cleaning."""
    return lambda: remains(client)


@pytest.fixture(scope="session")
def rootfs(client: docker.DockerClient, bystander: Any) -> bytes:
    """The root file system of `tiny` for linux/arm/v7, as a tar."""
    return b"".join(client.api.export(bystander.id))


@pytest.fixture(scope="session")
def no_command(client: docker.DockerClient, rootfs: bytes) -> str:
    """An image that names no program to run."""
    client.api.import_image_from_data(rootfs, repository="nocommand", tag="latest")
    return "nocommand"


_GREETER = """
import socket, sys
with socket.create_server(("198.51.100.1", int(sys.argv[1])), backlog=64) as server:
    print("ready", flush=True)
    while True:
        peer, (address, _port) = server.accept()
        with peer:
            peer.sendall(f"you are {address}\\n".encode())
"""


@pytest.fixture
def greeter(outside: list[str]) -> Iterator[int]:
    """A TCP server in the outside world, on 198.51.100.1: tells everybody the address they came from. The port."""
    port = 9007
    with subprocess.Popen(
        [*outside, sys.executable, "-c", _GREETER, str(port)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield port
        server.kill()


needed = [program for program in ("nsenter", "ip", "nft", "dockerd", "ssh") if shutil.which(program) is None]
assert not needed, f"these programs are missing: {needed}"
