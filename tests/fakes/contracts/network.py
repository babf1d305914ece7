"""What every network does: the kernel's, and the fake."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from fakes.contracts.tools import eventually, new_id
from zun_arm.core.model import Port, Publish
from zun_arm.core.seams import Leftover, Network
from zun_arm.errors import (
    DoesNotFit,
    NameInUse,
    NetworkFailed,
)


@dataclass(frozen=True)
class Waiting:
    """A process that waits at the gate of a sandbox, in a network namespace of its own."""

    pid: int
    passed: Callable[[], bool]
    end: Callable[[], None]


class NetworkContract:
    """Fixtures: ``network``, unused, with a subnet of 14 addresses; ``waiting(sandbox_id)`` starts a :class:`Waiting`."""

    Spawn = Callable[[str], Waiting]

    @pytest.fixture
    def ready(self, network: Network) -> Network:
        network.ensure()
        network.restore_leases([])
        return network

    def plugged_in(self, network: Network, waiting: Spawn, sandbox_id: str) -> tuple[Port, Waiting]:
        port = network.lease(sandbox_id)
        network.prepare(sandbox_id, "ana", port, fresh=True)
        process = waiting(sandbox_id)
        network.plug(sandbox_id, process.pid, port)
        return port, process

    # Leases

    def test_leases_are_unknown_until_they_are_written(self, network: Network) -> None:
        network.ensure()
        assert not network.leases_known()
        network.restore_leases([])
        assert network.leases_known()

    def test_a_restored_address_is_not_given_again(self, ready: Network) -> None:
        first = ipaddress.IPv4Address(ready.lease(new_id()).address)
        ready.restore_leases([(new_id(), str(first + 1))])
        assert ready.lease(new_id()).address == str(first + 2)

    def test_every_sandbox_has_an_address_of_its_own(self, ready: Network) -> None:
        ports = [ready.lease(new_id()) for _ in range(5)]
        assert len({port.address for port in ports}) == len({port.mac for port in ports}) == 5
        assert {port.gateway for port in ports}.isdisjoint(port.address for port in ports)
        assert {port.prefix for port in ports} == {28}

    def test_a_sandbox_that_asks_twice_keeps_its_address(self, ready: Network) -> None:
        sandbox_id = new_id()
        assert ready.lease(sandbox_id) == ready.lease(sandbox_id)

    def test_a_released_address_is_given_again(self, ready: Network) -> None:
        first, second = new_id(), new_id()
        address = ready.lease(first).address
        ready.lease(second)
        for _again in range(2):
            ready.release(first)
        assert ready.lease(new_id()).address == address

    def test_a_full_subnet_is_told(self, ready: Network) -> None:
        holders = [new_id() for _ in range(13)]
        assert len({ready.lease(holder).address for holder in holders}) == 13
        with pytest.raises(DoesNotFit, match="13"):
            ready.lease(new_id())
        ready.release(holders[4])
        ready.lease(new_id())

    # Links and gates

    def test_a_plugged_process_is_connected_at_once_until_it_is_unplugged(self, ready: Network, waiting: Spawn) -> None:
        sandbox_id = new_id()
        port = ready.lease(sandbox_id)
        ready.prepare(sandbox_id, "ana", port, fresh=True)
        process = waiting(sandbox_id)
        assert not ready.plugged(process.pid)
        # Often: a link that is up "a moment later" would look like none to whoever looks at once.
        told = set()
        for _turn in range(50):
            ready.plug(sandbox_id, process.pid, port)
            told.add(ready.plugged(process.pid))
            for _again in range(2):
                ready.unplug(sandbox_id)
                assert not ready.plugged(process.pid)
        assert told == {True}

    def test_plugging_again_is_no_error(self, ready: Network, waiting: Spawn) -> None:
        sandbox_id = new_id()
        port, process = self.plugged_in(ready, waiting, sandbox_id)
        ready.plug(sandbox_id, process.pid, port)
        assert ready.plugged(process.pid)

    def test_a_process_that_ended_cannot_be_plugged(self, ready: Network, waiting: Spawn) -> None:
        sandbox_id = new_id()
        port = ready.lease(sandbox_id)
        ready.prepare(sandbox_id, "ana", port, fresh=True)
        process = waiting(sandbox_id)
        process.end()
        with pytest.raises(NetworkFailed, match=f"{process.pid}"):
            ready.plug(sandbox_id, process.pid, port)
        assert not ready.plugged(process.pid)
        assert [one.kind for one in ready.leftovers({}) if one.kind == "veth"] == []

    def test_no_process_passes_before_its_gate_is_opened(self, ready: Network, waiting: Spawn) -> None:
        sandbox_id = new_id()
        _port, process = self.plugged_in(ready, waiting, sandbox_id)
        threading.Event().wait(0.05)
        assert not process.passed()
        ready.open_gate(sandbox_id, process.pid)
        eventually(process.passed)
        ready.open_gate(sandbox_id, process.pid)  # it was let already

    def test_a_gate_opens_for_its_own_sandbox_only(self, ready: Network, waiting: Spawn) -> None:
        first, second = new_id(), new_id()
        _port, one = self.plugged_in(ready, waiting, first)
        _port, other = self.plugged_in(ready, waiting, second)
        ready.open_gate(second, other.pid)
        eventually(other.passed)
        assert not one.passed()

    def test_a_gate_whose_process_has_ended(self, ready: Network, waiting: Spawn) -> None:
        sandbox_id = new_id()
        _port, process = self.plugged_in(ready, waiting, sandbox_id)
        process.end()
        with pytest.raises(NetworkFailed, match=sandbox_id):
            ready.open_gate(sandbox_id, process.pid)

    def test_a_gate_that_is_not_there(self, ready: Network) -> None:
        with pytest.raises(NetworkFailed, match="gate"):
            ready.open_gate(new_id(), os.getpid())

    def test_files_are_prepared_twice_and_discarded_twice(self, ready: Network) -> None:
        sandbox_id = new_id()
        port = ready.lease(sandbox_id)
        mounts = ready.prepare(sandbox_id, "ana", port, fresh=True)
        assert ready.prepare(sandbox_id, "ana", port, fresh=True) == mounts
        gate = ready.entrypoint()[0]
        assert any(gate.startswith(mount.target) for mount in mounts)
        for _again in range(2):
            ready.discard(sandbox_id)
        assert [one.kind for one in ready.leftovers({})] == ["lease"]

    # Published ports

    def test_a_published_port_has_one_owner(self, ready: Network) -> None:
        first, second = ready.lease(new_id()).address, ready.lease(new_id()).address
        ssh = Publish(host_port=42022, sandbox_port=22)
        for _again in range(2):
            ready.publish(first, (ssh,))
        with pytest.raises(NameInUse, match="42022"):
            ready.publish(second, (Publish(host_port=42023, sandbox_port=23), ssh))
        ready.publish(second, (replace(ssh, protocol="udp"),))
        for _again in range(2):
            ready.unpublish(first)
        ready.publish(second, (ssh, Publish(host_port=42023, sandbox_port=23)))
        ready.unpublish(second)

    def test_a_refused_publication_publishes_nothing(self, ready: Network) -> None:
        first, second = ready.lease(new_id()).address, ready.lease(new_id()).address
        ssh = Publish(host_port=42022, sandbox_port=22)
        ready.publish(first, (ssh,))
        with pytest.raises(NameInUse):
            ready.publish(second, (Publish(host_port=42023, sandbox_port=23), ssh))
        ready.publish(first, (Publish(host_port=42023, sandbox_port=23),))
        ready.unpublish(first)

    # Leftovers

    def test_nothing_of_a_kept_sandbox_is_a_leftover(self, ready: Network, waiting: Spawn) -> None:
        sandbox_id = new_id()
        port, _process = self.plugged_in(ready, waiting, sandbox_id)
        ready.publish(port.address, (Publish(host_port=42022, sandbox_port=22),))
        assert ready.leftovers({sandbox_id: port}) == []
        ready.unpublish(port.address)

    def test_everything_of_a_forgotten_sandbox_is_a_leftover_and_can_be_cleared(
        self, ready: Network, waiting: Spawn
    ) -> None:
        sandbox_id, kept = new_id(), new_id()
        port, process = self.plugged_in(ready, waiting, sandbox_id)
        kept_port = ready.lease(kept)
        ready.publish(port.address, (Publish(host_port=42022, sandbox_port=22),))
        found = ready.leftovers({kept: kept_port})
        assert [one.kind for one in found] == ["veth", "gate", "lease", "published port"]
        assert {one.sandbox_id for one in found} == {sandbox_id}
        for leftover in found * 2:
            ready.clear(leftover)
        assert ready.leftovers({kept: kept_port}) == []
        assert not ready.plugged(process.pid)

    def test_a_leftover_that_is_gone_by_itself_is_no_error(self, ready: Network) -> None:
        for kind, what in (("veth", "zv000000000000"), ("gate", new_id()), ("lease", "10.99.0.9")):
            ready.clear(Leftover(kind=kind, what=what))

    # All of it

    def test_ensure_and_teardown_are_idempotent(self, ready: Network) -> None:
        for _again in range(2):
            ready.teardown()
        for _again in range(2):
            ready.ensure()
        ready.lease(new_id())
