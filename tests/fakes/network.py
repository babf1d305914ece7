"""A network in memory: leases, gates, links and published ports of one host, refusing what the kernel refuses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fakes.processes import Processes
from fakes.trace import Trace
from zun_arm.core.model import Port, Publish
from zun_arm.core.seams import Leftover, Mount
from zun_arm.errors import DoesNotFit, NameInUse, NetworkFailed


@dataclass(frozen=True)
class Opened:
    """A gate was opened: what its sandbox had then."""

    sandbox_id: str
    plugged: bool
    published: tuple[int, ...]


class FakeNetwork:
    """:class:`zun_arm.core.seams.Network` without a kernel. ``listening`` are ports of the board others have."""

    def __init__(
        self, trace: Trace | None = None, processes: Processes | None = None, subnet: str = "10.203.0.0/28"
    ) -> None:
        self.trace = trace or Trace()
        self.processes = processes or Processes()
        self.subnet = ipaddress.IPv4Network(subnet)
        self.bridge = False
        self.leases: dict[str, str] = {}
        self.leases_written = False
        self.gates: dict[str, tuple[str, Port]] = {}
        self._plugged: dict[str, int] = {}
        self.published: dict[tuple[str, int], tuple[str, int]] = {}
        self.listening: set[int] = set()
        self.opened: list[Opened] = []
        self.let: set[str] = set()

    @property
    def links(self) -> dict[str, int]:
        """Sandbox id -> pid; a link goes with its namespace, and that with its process."""
        return {sandbox_id: pid for sandbox_id, pid in self._plugged.items() if pid in self.processes.running}

    def ensure(self, *, thorough: bool = False) -> None:
        with self.trace.step("network.ensure"):
            self.bridge = True

    def leases_known(self) -> bool:
        with self.trace.step("network.leases_known"):
            return self.leases_written

    def restore_leases(self, held: Iterable[tuple[str, str]]) -> None:
        with self.trace.step("network.restore_leases"):
            self.leases.update({address: sandbox_id for sandbox_id, address in held})
            self.leases_written = True

    def lease(self, sandbox_id: str) -> Port:
        with self.trace.step("network.lease"):
            gateway, *hosts = map(str, self.subnet.hosts())
            mine = [address for address, holder in self.leases.items() if holder == sandbox_id]
            free = mine or [address for address in hosts if address not in self.leases]
            if not free:
                raise DoesNotFit(f"no address is free: all {len(hosts)} of {self.subnet} belong to sandboxes")
            self.leases[free[0]] = sandbox_id
            mac = "0a:5a:" + ipaddress.IPv4Address(free[0]).packed.hex(":")
            return Port(address=free[0], prefix=self.subnet.prefixlen, gateway=gateway, mac=mac)

    def release(self, sandbox_id: str) -> None:
        with self.trace.step("network.release"):
            self.leases = {address: holder for address, holder in self.leases.items() if holder != sandbox_id}

    def prepare(self, sandbox_id: str, name: str, port: Port, *, fresh: bool) -> tuple[Mount, ...]:
        with self.trace.step("network.prepare"):
            self.gates[sandbox_id] = (name, port)
            if not fresh:
                self.let.add(sandbox_id)
            return (Mount(source=Path("/var/lib/zun-arm/sandboxes", sandbox_id), target="/.zun-arm"),)

    def discard(self, sandbox_id: str) -> None:
        with self.trace.step("network.discard"):
            self.gates.pop(sandbox_id, None)
            self.let.discard(sandbox_id)

    def entrypoint(self) -> tuple[str, ...]:
        with self.trace.step("network.entrypoint"):
            return ("/.zun-arm/busybox", "sh", "/.zun-arm/start")

    def plug(self, sandbox_id: str, pid: int, port: Port) -> None:
        with self.trace.step("network.plug"):
            if pid not in self.processes.running:
                raise NetworkFailed(f"the process {pid} of sandbox {sandbox_id} ended before its network was made")
            if not self.bridge:
                raise NetworkFailed("the bridge is gone", hint="run zun-arm reconcile")
            self.processes.running[pid].network = True
            self._plugged[sandbox_id] = pid

    def plugged(self, pid: int) -> bool:
        with self.trace.step("network.plugged"):
            process = self.processes.running.get(pid)
            return process is not None and process.network

    def complete(self, sandbox_id: str, pid: int, address: str, ports: tuple[Publish, ...]) -> bool:
        with self.trace.step("network.complete"):
            process = self.processes.running.get(pid)
            wanted = {(port.protocol, port.host_port): (address, port.sandbox_port) for port in ports}
            connected = process is not None and process.network and not process.at_gate
            return connected and wanted.items() <= self.published.items()

    def never_let(self, sandbox_id: str) -> bool:
        with self.trace.step("network.never_let"):
            return sandbox_id in self.gates and sandbox_id not in self.let

    def unplug(self, sandbox_id: str) -> None:
        with self.trace.step("network.unplug"):
            self._cut(sandbox_id)

    def _cut(self, sandbox_id: str) -> None:
        process = self.processes.running.get(self._plugged.pop(sandbox_id, 0))
        if process is not None:
            process.network = False

    def publish(self, address: str, ports: tuple[Publish, ...]) -> None:
        with self.trace.step("network.publish"):
            for port in ports:
                owner = self.published.get((port.protocol, port.host_port), (address, 0))[0]
                if owner != address or port.host_port in self.listening:
                    raise NameInUse(f"port {port.host_port}/{port.protocol} of this board is used")
            for port in ports:
                self.published[port.protocol, port.host_port] = (address, port.sandbox_port)

    def unpublish(self, address: str) -> None:
        with self.trace.step("network.unpublish"):
            self.published = {key: target for key, target in self.published.items() if target[0] != address}

    def open_gate(self, sandbox_id: str, pid: int) -> None:
        with self.trace.step("network.open_gate"):
            if sandbox_id not in self.gates:
                raise NetworkFailed(f"the gate of sandbox {sandbox_id} cannot be opened: No such file or directory")
            process = self.processes.running.get(pid)
            if process is None or process.sandbox_id != sandbox_id:
                raise NetworkFailed(f"the first process of sandbox {sandbox_id} ended before its network was complete")
            if not process.at_gate:
                return  # it was let already
            address = self.gates[sandbox_id][1].address
            ports = tuple(port for (_protocol, port), target in self.published.items() if target[0] == address)
            self.opened.append(Opened(sandbox_id, process.network, ports))
            process.at_gate = False
            self.let.add(sandbox_id)
            process.go()

    def leftovers(self, kept: Mapping[str, Port]) -> list[Leftover]:
        with self.trace.step("network.leftovers"):
            addresses = {port.address for port in kept.values()}
            return [
                *(Leftover(kind="veth", what=one, sandbox_id=one) for one in sorted(self.links) if one not in kept),
                *(Leftover(kind="gate", what=one, sandbox_id=one) for one in sorted(self.gates) if one not in kept),
                *(
                    Leftover(kind="lease", what=address, sandbox_id=holder)
                    for address, holder in sorted(self.leases.items())
                    if holder not in kept
                ),
                *(
                    Leftover(
                        kind="published port",
                        what=f"{port}/{protocol} -> {address}",
                        sandbox_id=self.leases.get(address),
                    )
                    for (protocol, port), (address, _inner) in sorted(self.published.items())
                    if address not in addresses
                ),
            ]

    def clear(self, leftover: Leftover) -> None:
        with self.trace.step("network.clear"):
            match leftover.kind:
                case "veth":
                    self._cut(leftover.what)
                case "gate":
                    self.gates.pop(leftover.what, None)
                case "lease":
                    self.leases.pop(leftover.what, None)
                case "published port":
                    address = leftover.what.rpartition(" ")[2]
                    self.published = {key: to for key, to in self.published.items() if to[0] != address}

    def teardown(self) -> None:
        with self.trace.step("network.teardown"):
            self.bridge = False
            self.published.clear()
