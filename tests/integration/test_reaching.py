"""Ways in and out: published ports, the way out by masquerade, SSH."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

Launch = Callable[..., dict[str, Any]]
WEB = ("sh", "-c", "hostname >/tmp/index.html; exec httpd -f -p 80 -h /tmp")

_GET = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as server:
    server.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    text = b""
    while piece := server.recv(4096):
        text += piece
print(text.decode().split("\\r\\n\\r\\n")[1], end="")
"""


def get(prefix: list[str], address: str, port: int) -> str | None:
    """The page a web server shows, fetched by a process in another place; None when nobody answers."""
    done = subprocess.run([*prefix, sys.executable, "-c", _GET, address, str(port)], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def test_published_ports(launched: Launch, cli: Any, outside: list[str], eventually: Any) -> None:
    ana = launched("--name", "ana", "--publish", "18080:80", "--publish", "18081:80", program=WEB)
    ben = launched("--name", "ben", "--publish", "18082:80", program=WEB)
    eventually(lambda: get([], ana["address"], 80) == "ana\n", "ana's web server", within=15)
    eventually(lambda: get([], ben["address"], 80) == "ben\n", "ben's web server", within=15)
    places = {
        "from outside": (outside, "198.51.100.2"),
        "from the board, at its own address": ([], "198.51.100.2"),
        "from the board, at localhost": ([], "127.0.0.1"),
    }
    for place, (prefix, address) in places.items():
        pages = [get(prefix, address, port) for port in (18080, 18081, 18082)]
        assert pages == ["ana\n", "ana\n", "ben\n"], place
    assert get_inside(cli, "ben", "198.51.100.2", 18080).endswith("\nana\n"), "from another sandbox"

    cli("stop", "--timeout", "0", "ana")
    assert [get(prefix, address, 18080) for prefix, address in places.values()] == [None, None, None]
    assert get(outside, "198.51.100.2", 18082) == "ben\n"
    cli("start", "ana")
    for place, (prefix, address) in places.items():
        eventually(lambda prefix=prefix, address=address: get(prefix, address, 18080) == "ana\n", f"ana again, {place}")
    cli("delete", "ana")
    assert get(outside, "198.51.100.2", 18080) is None


def get_inside(cli: Any, name: str, address: str, port: int) -> str:
    ask = ("exec", "-i", name, "--", "nc", "-w", "5", address, str(port))
    told: str = cli(*ask, input="GET / HTTP/1.0\r\n\r\n", check=False).stdout
    return told


def test_a_sandbox_reaches_its_own_published_port(launched: Launch, cli: Any, eventually: Any) -> None:
    """Out to the board's address and back in: what a program does that knows itself by its public name."""
    ana = launched("--name", "ana", "--publish", "18080:80", program=WEB)
    eventually(lambda: get([], ana["address"], 80) == "ana\n", "ana's web server", within=15)
    assert get_inside(cli, "ana", "198.51.100.2", 18080).endswith("\nana\n")


def test_what_is_not_published_is_closed(launched: Launch, cli: Any, outside: list[str], eventually: Any) -> None:
    ana = launched("--name", "ana", program=WEB)
    eventually(lambda: get([], ana["address"], 80) == "ana\n", "ana's web server", within=15)
    assert get(outside, "198.51.100.2", 80) is None
    with socket.create_server(("127.0.0.1", 18099)):
        # Packets for the board's localhost are let through to the bridge for published ports, never the other way.
        script = "ip route add 127.0.0.1/32 via $(ip route | awk '/default/ {print $3}') 2>/dev/null; nc -w 1 127.0.0.1 18099"
        assert cli("exec", "ana", "--", "sh", "-c", f"{script} </dev/null", check=False).returncode != 0


_UDP = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
print("ready", flush=True)
data, peer = server.recvfrom(100)
server.sendto(data.upper(), peer)
"""
_ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.sendto(b"hello", (sys.argv[1], 18053))
print(client.recvfrom(100)[0].decode(), end="")
"""


def test_a_published_udp_port(launched: Launch, client: docker.DockerClient, outside: list[str]) -> None:
    launched("--name", "ana", "--publish", "18053:53/udp")
    pid = client.api.inspect_container("zun-arm-ana")["State"]["Pid"]
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    for prefix, address in ((outside, "198.51.100.2"), ([], "127.0.0.1")):
        with subprocess.Popen([*inside, sys.executable, "-c", _UDP], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            done = subprocess.run([*prefix, sys.executable, "-c", _ASK, address], capture_output=True, text=True)
            server.kill()
        assert done.stdout == "HELLO", f"{prefix} {address}: {done.stderr}"


@pytest.mark.parametrize("platform", ["linux/arm/v7", "linux/arm64"])
def test_the_way_out(launched: Launch, cli: Any, greeter: int, platform: str) -> None:
    launched("--name", "ana", "--platform", platform)
    said = cli("exec", "ana", "--", "nc", "-w", "5", "198.51.100.1", str(greeter)).stdout
    assert said == "you are 198.51.100.2\n", "the outside world sees another address than the board's"
    assert " 0% packet loss" in cli("exec", "ana", "--", "ping", "-c", "1", "-W", "5", "198.51.100.1").stdout


def test_sandboxes_reach_each_other(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    ben = launched("--name", "ben")
    assert " 0% packet loss" in cli("exec", "ana", "--", "ping", "-c", "1", "-W", "5", ben["address"]).stdout


def test_ssh(launched: Launch, cli: Any, eventually: Any, tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    ana = launched("--name", "ana", "--platform", "linux/arm/v7", "--ssh-key", str(tmp_path / "mine.pub"))
    ben = launched("--name", "ben", "--publish", "18022:22")

    def ssh(key: str, address: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["ssh", "-i", str(tmp_path / key), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]
        command += ["-o", f"UserKnownHostsFile={tmp_path}/hosts", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20"]
        command += [*options, f"root@{address}", "uname -m; pwd; id -u"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    for address in (ana["address"], ben["address"]):
        eventually(lambda address=address: _listens(address), f"the SSH server at {address}")
    done = ssh("mine", ana["address"])
    assert done.stdout == "armv7l\n/root\n0\n", done.stderr
    cli("restart", "--timeout", "1", "ana")
    eventually(lambda: _listens(ana["address"]), "the SSH server")
    assert ssh("mine", ana["address"]).stdout.startswith("armv7l")
    for key, address, options in (("theirs", ana["address"], ()), ("mine", "127.0.0.1", ("-p", "18022"))):
        done = ssh(key, address, *options)
        assert done.returncode == 255 and "Permission denied" in done.stderr and done.stdout == ""


def _listens(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=5) as server:
            return server.recv(4) == b"SSH-"
    except OSError:
        return False


def test_containers_of_others_are_out_of_reach(launched: Any, cli: Any, client: Any, tiny: str) -> None:
    """Docker keeps its networks apart; our way out must not lead into them."""
    serve = "while :; do echo greetings | nc -l -p 8000; done"
    stranger = client.containers.run(
        "zun-arm/tiny:arm-v7", ["/bin/sh", "-c", serve], detach=True, name="stranger", init=True
    )
    try:
        stranger.reload()
        address = stranger.attrs["NetworkSettings"]["IPAddress"]
        deadline = time.monotonic() + 30
        heard = b""
        while not heard and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((address, 8000), timeout=1) as connection:
                heard = connection.recv(100)
        assert heard == b"greetings\n", "this host reaches it"
        launched("--name", "ana", program=("sleep", "1000"))
        reached = cli("exec", "ana", "--", "sh", "-c", f"nc -w 3 {address} 8000 </dev/null", check=False, timeout=60)
        assert "greetings" not in reached.stdout
    finally:
        stranger.remove(force=True)
