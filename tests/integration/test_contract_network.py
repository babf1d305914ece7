"""The kernel's links, FIFOs and nftables keep the network's contract: processes in network namespaces of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.contracts.network import NetworkContract, Waiting
from fakes.contracts.tools import eventually, new_id

from zun_arm import conf
from zun_arm.core.model import Publish
from zun_arm.errors import NameInUse, NetworkFailed
from zun_arm.locks import FileLocks
from zun_arm.net.adapter import KernelNetwork
from zun_arm.net.gate import find_busybox
from zun_arm.net.links import veth_name
from zun_arm.wiring import App

BRIDGE = "zacontract0"
# Waits as the gate's script does, then becomes a program that can be recognised.
WAIT = 'read -r go <"$1" && exec "$2" sleep 1000'


def links(*args: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(subprocess.run(["ip", "-j", *args], capture_output=True, check=True).stdout)
    return told


@pytest.fixture
def settings(tmp_path: Path) -> conf.Settings:
    return replace(conf.load(), state_dir=tmp_path, bridge=BRIDGE, subnet="10.99.0.0/28", plug_timeout_s=0.3)


@pytest.fixture
def network(settings: conf.Settings, app: App) -> Iterator[KernelNetwork]:
    """A network of its own; the table of rules is one for the machine, so that of the other tests is made anew."""
    app.network.teardown()
    network = KernelNetwork(settings, FileLocks(settings.state_dir / "locks"))
    yield network
    for leftover in network.leftovers({}):
        network.clear(leftover)
    network.teardown()
    app.network.ensure()


@pytest.fixture
def waiting(settings: conf.Settings) -> Iterator[Callable[[str], Waiting]]:
    busybox = str(find_busybox())
    with ExitStack() as ending:

        def spawn(sandbox_id: str) -> Waiting:
            gate = settings.state_dir / "sandboxes" / sandbox_id / "gate"
            process = subprocess.Popen(["unshare", "--net", busybox, "sh", "-c", WAIT, "gate", gate, busybox])

            def end() -> None:
                process.kill()
                process.wait(5)

            ending.callback(end)
            namespace = Path(f"/proc/{process.pid}/ns/net")
            eventually(lambda: not namespace.samefile("/proc/self/ns/net"))
            return Waiting(
                process.pid, lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0"), end
            )

        yield spawn


class TestKernelNetwork(NetworkContract):
    """The contract, and what only a kernel can show."""

    def test_a_plugged_process_has_all_of_it(self, ready: KernelNetwork, waiting: Callable[[str], Waiting]) -> None:
        sandbox_id = new_id()
        port, process = self.plugged_in(ready, waiting, sandbox_id)
        inside = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "-j"]
        (eth0,) = json.loads(subprocess.run([*inside, "addr", "show", "eth0"], capture_output=True, check=True).stdout)
        assert (eth0["address"], eth0["mtu"], eth0["operstate"]) == (port.mac, port.mtu, "UP")
        ipv4 = [(info["local"], info["prefixlen"]) for info in eth0["addr_info"] if info["family"] == "inet"]
        assert ipv4 == [(port.address, port.prefix)]
        (route,) = json.loads(
            subprocess.run([*inside, "route", "show", "default"], capture_output=True, check=True).stdout
        )
        assert (route["gateway"], route["dev"]) == (port.gateway, "eth0")
        (veth,) = links("link", "show", veth_name(sandbox_id))
        assert (veth["master"], veth["operstate"]) == (BRIDGE, "UP")

    def test_a_plug_that_fails_half_way_leaves_no_link(
        self, ready: KernelNetwork, waiting: Callable[[str], Waiting]
    ) -> None:
        sandbox_id = new_id()
        port = ready.lease(sandbox_id)
        ready.prepare(sandbox_id, "ana", port, fresh=True)
        process = waiting(sandbox_id)
        with pytest.raises(NetworkFailed):
            ready.plug(sandbox_id, process.pid, replace(port, gateway="192.0.2.1"))
        assert not ready.plugged(process.pid)
        assert [link["ifname"] for link in links("link") if link["ifname"].startswith("zv")] == []

    def test_a_process_of_the_hosts_own_network_is_never_plugged(self, ready: KernelNetwork) -> None:
        with subprocess.Popen(["sleep", "100"]) as process:
            with pytest.raises(NetworkFailed, match="shares this host's network"):
                ready.plug(new_id(), process.pid, ready.lease(new_id()))
            process.kill()

    def test_a_bridge_of_somebody_else_is_left_alone(self, network: KernelNetwork) -> None:
        subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
        try:
            with pytest.raises(NetworkFailed, match="zun-arm did not make it"):
                network.ensure()
            network.teardown()
            assert links("link", "show", BRIDGE)
        finally:
            subprocess.run(["ip", "link", "del", BRIDGE], check=True)

    def test_after_its_bridge_was_removed_a_sandbox_counts_as_unplugged(
        self, ready: KernelNetwork, waiting: Callable[[str], Waiting]
    ) -> None:
        """So that reconcile connects it: with a new bridge, its old link leads nowhere."""
        sandbox_id = new_id()
        port, process = self.plugged_in(ready, waiting, sandbox_id)
        subprocess.run(["ip", "link", "del", BRIDGE], check=True)
        assert not ready.plugged(process.pid), "neither while there is no bridge"
        ready.ensure()
        assert not ready.plugged(process.pid), "nor when there is another"
        ready.plug(sandbox_id, process.pid, port)
        assert ready.plugged(process.pid)

    def test_a_port_somebody_listens_on_is_refused(self, ready: KernelNetwork) -> None:
        import socket

        address = ready.lease(new_id()).address
        with socket.create_server(("0.0.0.0", 42099)), pytest.raises(NameInUse, match="42099/tcp"):
            ready.publish(address, (Publish(host_port=42099, sandbox_port=22),))

    def test_rules_and_bridge_are_there_once_however_often_they_are_made(
        self, ready: KernelNetwork, settings: conf.Settings
    ) -> None:
        before = subprocess.run(["nft", "list", "table", "ip", "zun_arm"], capture_output=True, text=True, check=True)
        address = ready.lease(new_id()).address
        ready.publish(address, (Publish(host_port=42022, sandbox_port=22),))
        for _again in range(2):
            KernelNetwork(settings, FileLocks(settings.state_dir / "locks")).ensure()
        during = subprocess.run(
            ["nft", "list", "map", "ip", "zun_arm", "published_tcp"], capture_output=True, text=True
        )
        assert f"42022 : {address} . 22" in during.stdout, "published ports are kept"
        ready.unpublish(address)
        after = subprocess.run(["nft", "list", "table", "ip", "zun_arm"], capture_output=True, text=True, check=True)
        assert after.stdout == before.stdout
