"""The network of the sandboxes on this host: what :class:`zun_arm.core.seams.Network` asks for, on real kernel links."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from zun_arm import __version__
from zun_arm.conf import Settings
from zun_arm.core.model import Port, Publish
from zun_arm.core.seams import Leftover, Mount
from zun_arm.errors import HostNotReady, NameInUse, NetworkFailed
from zun_arm.locks import FileLocks
from zun_arm.net import filter as rules
from zun_arm.net import links, resolver, subnets
from zun_arm.net.gate import Gates
from zun_arm.net.leases import Leases, mac_of

_IPV4 = Path("/proc/sys/net/ipv4")


class KernelNetwork:
    """Bridge, links, leases, gates and rules of one host."""

    def __init__(self, settings: Settings, locks: FileLocks) -> None:
        self._settings = settings
        self._locks = locks
        self._leases = Leases(settings.state_dir / "leases", locks)
        self._gates = Gates(settings.state_dir / "sandboxes")
        self._stamp = settings.state_dir / "shared" / "network-ready"
        self._subnet: ipaddress.IPv4Interface | None = None

    def ensure(self, *, thorough: bool = False) -> None:
        """Make bridge, forwarding and rules be there.

        ``thorough`` when asked for, and when this very bridge was not made ready before; else one look at the bridge.
        """
        if not thorough and self._subnet is not None and links.index_of(self._settings.bridge) is not None:
            return
        with self._locks.hold("bridge"):
            self._ensure_bridge()
            assert self._subnet is not None
            ready = self._ready()
            with suppress(FileNotFoundError):
                if not thorough and self._stamp.read_text() == ready and rules.table_exists():
                    return
            _write(_IPV4 / "ip_forward", "1")
            _write(_IPV4 / "conf" / self._settings.bridge / "route_localnet", "1")
            rules.ensure_table(self._settings.bridge, str(self._subnet.network))
            rules.ensure_forwarding(self._settings.bridge)
            self._stamp.parent.mkdir(parents=True, exist_ok=True)
            self._stamp.write_text(ready)

    def _ready(self) -> str:
        """What the rules were applied for: this version, boot, network namespace and bridge."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        index = links.index_of(self._settings.bridge)
        return f"{__version__} {boot} {Path('/proc/self/ns/net').readlink()} {self._settings.bridge} {index} {self._subnet}\n"

    def _ensure_bridge(self) -> None:
        name = self._settings.bridge
        state = links.bridge_state(name)
        if state is None:
            subnet = subnets.choose(self._settings.subnet, links.routed_subnets())
            gateway = next(subnet.hosts())
            links.make_bridge(name, str(gateway), subnet.prefixlen, self._settings.mtu)
            self._subnet = ipaddress.IPv4Interface(f"{gateway}/{subnet.prefixlen}")
            return
        if not state.ours or state.address is None:
            raise NetworkFailed(
                f"a link {name} is there, but zun-arm did not make it",
                hint=f"set [network] bridge to another name, or remove it: ip link del {name}",
            )
        self._subnet = ipaddress.IPv4Interface(state.address)

    def leases_known(self) -> bool:
        """Whether the leases on disk can be trusted."""
        return self._leases.known

    def restore_leases(self, held: Iterable[tuple[str, str]]) -> None:
        """Write lost leases anew from what the engine's labels say."""
        self._leases.restore(held)

    def lease(self, sandbox_id: str) -> Port:
        """An address for a new sandbox; it keeps it until :meth:`release`."""
        assert self._subnet is not None, "ensure() comes first"
        address = self._leases.take(sandbox_id, self._subnet.network)
        return Port(
            address=address,
            prefix=self._subnet.network.prefixlen,
            gateway=str(self._subnet.ip),
            mac=mac_of(address),
            mtu=self._settings.mtu,
        )

    def release(self, sandbox_id: str) -> None:
        """Give a sandbox's address back."""
        self._leases.release(sandbox_id)

    def prepare(self, sandbox_id: str, name: str, port: Port, *, fresh: bool) -> tuple[Mount, ...]:
        """Make the files a sandbox needs from us, its gate among them. ``fresh``: it never ran before."""
        hosts, resolv_conf = resolver.hosts(name, port.address), resolver.resolv_conf(self._settings.dns)
        mounts = self._gates.prepare(sandbox_id, hosts, resolv_conf, f"{name}\n")
        if not fresh:
            self._gates.note_earlier_run(sandbox_id)
        return mounts

    def discard(self, sandbox_id: str) -> None:
        """Remove those files."""
        self._gates.discard(sandbox_id)

    def entrypoint(self) -> tuple[str, ...]:
        """The gate's command line; the sandbox's own follows as arguments."""
        return self._gates.entrypoint()

    def plug(self, sandbox_id: str, pid: int, port: Port) -> None:
        """Connect the sandbox whose first process is ``pid``."""
        links.plug(sandbox_id, pid, port, self._settings.bridge)

    def plugged(self, pid: int) -> bool:
        """Whether the sandbox whose first process is ``pid`` is connected."""
        try:
            return links.plugged(pid, self._settings.bridge)
        except FileNotFoundError:
            return False

    def complete(self, sandbox_id: str, pid: int, address: str, ports: tuple[Publish, ...]) -> bool:
        """Whether that sandbox is connected, its ports lead to it, and its first process was let through the gate."""
        if not self.plugged(pid) or not self._gates.was_let(sandbox_id, pid):
            return False
        wanted = {(port.protocol, port.host_port): (address, port.sandbox_port) for port in ports}
        return not wanted or wanted.items() <= rules.published().items()

    def never_let(self, sandbox_id: str) -> bool:
        """Whether a sandbox has a gate that no process ever passed: its launch was broken off."""
        return self._gates.never_let(sandbox_id)

    def unplug(self, sandbox_id: str) -> None:
        """Disconnect a sandbox; not connected is no error."""
        links.delete_link(links.veth_name(sandbox_id))

    def publish(self, address: str, ports: tuple[Publish, ...]) -> None:
        """Lead ports of the board to a sandbox; :class:`NameInUse` when a port is taken."""
        if not ports:
            return
        with self._locks.hold("published"):
            mine = {key for key, (owner, _port) in rules.published().items() if owner == address}
            for port in ports:
                if (port.protocol, port.host_port) not in mine:
                    _check_unused(port)
            rules.publish(address, ports)
            links.allow_hairpin(links.veth_name(self._leases.all().get(address, "")))

    def unpublish(self, address: str) -> None:
        """Close the ports of the board that lead to ``address``."""
        with self._locks.hold("published"):
            rules.unpublish(address)

    def open_gate(self, sandbox_id: str, pid: int) -> None:
        """Let the first process ``pid`` run; one that was let already is left alone."""
        self._gates.open(sandbox_id, pid, self._settings.plug_timeout_s)

    def leftovers(self, kept: Mapping[str, Port]) -> list[Leftover]:
        """What of ours belongs to none of the sandboxes ``kept`` (id -> port)."""
        veths = {links.veth_name(sandbox_id) for sandbox_id in kept}
        addresses = {port.address for port in kept.values()}
        gates, leases = self._gates.all(), self._leases.all()
        of_veth = {links.veth_name(sandbox_id): sandbox_id for sandbox_id in (*gates, *leases.values())}
        return [
            *(
                Leftover(kind="veth", what=name, sandbox_id=of_veth.get(name))
                for name in sorted(set(links.sandbox_links()) - veths)
            ),
            *(Leftover(kind="gate", what=place, sandbox_id=place) for place in sorted(set(gates) - set(kept))),
            *(
                Leftover(kind="lease", what=address, sandbox_id=holder)
                for address, holder in sorted(leases.items())
                if holder not in kept
            ),
            *(
                Leftover(kind="published port", what=f"{port}/{protocol} -> {address}", sandbox_id=leases.get(address))
                for (protocol, port), (address, _inner) in sorted(rules.published().items())
                if address not in addresses
            ),
        ]

    def clear(self, leftover: Leftover) -> None:
        """Remove one of them."""
        match leftover.kind:
            case "veth":
                links.delete_link(leftover.what)
            case "gate":
                self._gates.discard(leftover.what)
            case "lease":
                self._leases.drop(leftover.what)
            case "published port":
                self.unpublish(leftover.what.rpartition(" ")[2])

    def teardown(self) -> None:
        """Remove bridge and rules from this host."""
        self._stamp.unlink(missing_ok=True)
        rules.remove(self._settings.bridge)
        state = links.bridge_state(self._settings.bridge)
        if state is not None and state.ours:
            links.delete_link(self._settings.bridge)
        self._subnet = None


def _check_unused(port: Publish) -> None:
    """:class:`NameInUse` when a program of this host listens on the port."""
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if port.protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port.host_port))  # noqa: S104
        except OSError as err:
            if err.errno != errno.EADDRINUSE:
                raise
            raise NameInUse(
                f"port {port.host_port}/{port.protocol} of this board is used by another program",
                hint=f"publish another port; ss -lnp shows who has {port.host_port}",
            ) from err


def _write(file: Path, value: str) -> None:
    with suppress(FileNotFoundError):
        if file.read_text().strip() == value:
            return
        try:
            file.write_text(value)
        except (PermissionError, OSError) as err:
            raise HostNotReady(
                f"{file} cannot be set to {value}: {os.strerror(err.errno or 0)}", hint="run as root"
            ) from err
