"""Reconcile: what a crash, a reboot or somebody's hand left behind is put right; what is under way is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.host import NOTHING, FakeHost, make_host
from fakes.network import Opened
from fakes.samples import record

from zun_arm.core import launching
from zun_arm.core.model import Publish, Sandbox, State
from zun_arm.core.reconcile import Finding, reconcile
from zun_arm.core.seams import ContainerPlan
from zun_arm.core.units import now
from zun_arm.errors import EngineFailed, NetworkFailed

SSH = Publish(host_port=2222, sandbox_port=22)


def half_made(fake: FakeHost, name: str, sandbox: Sandbox | None = None, *, started: bool = False) -> str:
    """A container as a zun-arm that was killed leaves it; of a new sandbox, or beside that of ``sandbox``."""
    fake.network.ensure()
    image = fake.engine.image("zun-arm/tiny:arm64")
    new = record()
    kept = sandbox.record if sandbox else replace(new, port=fake.network.lease(new.id))
    plan = ContainerPlan(
        name=name,
        image=image,
        record=kept,
        entrypoint=fake.network.entrypoint(),
        command=image.command,
        mounts=fake.network.prepare(kept.id, name, kept.port, fresh=True),
        no_new_privileges=True,
        log_max_mib=2,
    )
    container_id = fake.engine.create(plan)
    if started:
        fake.engine.start(container_id, lambda pid: None)
    return container_id


def kinds(findings: list[Finding]) -> list[tuple[str, str, str | None]]:
    return [(finding.kind, finding.action, finding.error) for finding in findings]


def test_a_healthy_host_needs_nothing() -> None:
    fake = make_host()
    fake.launch("ana", publish=(SSH,))
    fake.launch("ben")
    launching.stop(fake.host, fake.sandbox("ben"), timeout_s=0)
    fake.engine.pause(fake.launch("cho").container_id)
    before = fake.kept()
    assert reconcile(fake.host) == []
    assert fake.kept() == before


def test_an_empty_host_needs_nothing() -> None:
    fake = make_host()
    assert reconcile(fake.host) == []
    assert fake.kept() == NOTHING


def test_a_half_made_sandbox_goes() -> None:
    fake = make_host()
    fake.launch("ben")
    before = fake.kept()
    half_made(fake, "ana")
    assert reconcile(fake.host) == [Finding(kind="half-made sandbox", what="ana", action="delete")]
    assert fake.kept() == before


def test_an_expired_sandbox_goes_at_its_hour_and_not_before() -> None:
    fake = make_host()
    expires = fake.launch("ana", ttl_s=3600).record.expires_at
    fake.launch("ben")
    assert expires is not None
    assert reconcile(fake.host, at=expires - timedelta(seconds=1)) == []
    assert reconcile(fake.host, at=expires) == [Finding(kind="expired sandbox", what="ana", action="delete")]
    assert [sandbox.name for sandbox in fake.engine.sandboxes()] == ["ben"]


def test_a_stopped_or_paused_sandbox_expires_too() -> None:
    fake = make_host()
    for name in ("ana", "ben"):
        fake.launch(name, ttl_s=60)
    launching.stop(fake.host, fake.sandbox("ana"), timeout_s=0)
    fake.engine.pause(fake.sandbox("ben").container_id)
    reconcile(fake.host, at=now() + timedelta(hours=1))
    assert fake.kept() == {**NOTHING, "lock files": []}


def test_one_that_was_started_behind_our_back_gets_its_network() -> None:
    fake = make_host()
    told = fake.launch("ana", publish=(SSH,))
    launching.stop(fake.host, fake.sandbox(), timeout_s=0)
    fake.engine.start(told.container_id, lambda pid: None)
    assert "an open gate" in fake.whole(told.id)
    assert reconcile(fake.host) == [Finding(kind="sandbox without network", what="ana", action="connect")]
    assert fake.whole(told.id) == []
    assert fake.network.opened[-1] == Opened(told.id, plugged=True, published=(2222,))


def test_one_that_lost_its_link_while_it_ran_gets_a_new_one() -> None:
    fake = make_host()
    told = fake.launch("ana", publish=(SSH,))
    fake.network.unplug(told.id)
    assert kinds(reconcile(fake.host)) == [("sandbox without network", "connect", None)]
    assert fake.whole(told.id) == []
    assert reconcile(fake.host) == []


def test_one_that_cannot_be_connected_is_told_and_the_others_go_on() -> None:
    fake = make_host()
    for name in ("ana", "ben"):
        told = fake.launch(name)
        launching.stop(fake.host, told, timeout_s=0)
        fake.engine.start(told.container_id, lambda pid: None)
    fake.trace.fail("network.plug", NetworkFailed("the kernel said no"))
    first, second = reconcile(fake.host)
    assert (first.what, first.error) == ("ana", "the kernel said no")
    assert (second.what, second.error) == ("ben", None)
    assert fake.whole(fake.sandbox("ben").id) == []


class TestHalfDoneRebuild:
    @staticmethod
    def begun(fake: FakeHost) -> Sandbox:
        """A rebuild that was killed after it had renamed the old container."""
        told = fake.launch("ana")
        launching.stop(fake.host, fake.sandbox(), timeout_s=0)
        fake.engine.rename(told.container_id, "ana.old")
        return replace(told, state=State.EXITED)

    def test_before_there_was_a_new_one(self) -> None:
        fake = make_host()
        old = self.begun(fake)
        assert kinds(reconcile(fake.host)) == [("half-done rebuild", "put the old one back", None)]
        self.check_old_is_back(fake, old)

    def test_while_the_new_one_was_half_made(self) -> None:
        fake = make_host()
        old = self.begun(fake)
        half_made(fake, "ana", old)
        assert kinds(reconcile(fake.host)) == [("half-done rebuild", "put the old one back", None)]
        self.check_old_is_back(fake, old)

    @staticmethod
    def check_old_is_back(fake: FakeHost, old: Sandbox) -> None:
        assert fake.sandbox("ana").container_id == old.container_id
        assert len(fake.engine.containers) == 1
        assert fake.network.leases == {old.record.port.address: old.id}, "its address can be given to another"
        assert reconcile(fake.host) == []
        launching.start(fake.host, fake.sandbox())
        assert fake.whole(old.id) == []

    def test_when_the_new_one_ran_already(self) -> None:
        fake = make_host()
        old = self.begun(fake)
        new = half_made(fake, "ana", old, started=True)
        found = sorted(kinds(reconcile(fake.host)))
        assert found == [
            ("half-done rebuild", "delete the old one", None),
            ("sandbox without network", "connect", None),
        ]
        assert list(fake.engine.containers) == [new]
        assert fake.whole(old.id) == []
        assert reconcile(fake.host) == []

    def test_one_that_ends_well_meanwhile_is_left_alone(self) -> None:
        """Seen half done, finished before it is looked at closer: the new container must not go."""
        fake = make_host()
        old = self.begun(fake)
        new = half_made(fake, "ana", old)

        def finishes() -> None:
            pid = fake.engine.start(new, lambda pid: fake.network.plug(old.id, pid, old.record.port))
            assert fake.network.plugged(pid)
            fake.network.open_gate(old.id, pid)
            fake.engine.remove(old.container_id)

        fake.trace.afterwards("engine.sandboxes", finishes)
        reconcile(fake.host)
        assert [(one.name, one.container_id) for one in fake.engine.sandboxes()] == [("ana", new)]
        assert fake.whole(old.id) == []


class TestUnderWay:
    def test_a_launch_under_way_is_left_alone(self) -> None:
        fake = make_host()
        found: list[list[Finding]] = []
        for step in ("network.lease", "network.prepare", "engine.create", "engine.put_archive", "network.publish"):
            fake.trace.afterwards(step, lambda: found.append(reconcile(fake.host)))
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
        told = fake.launch("ana", ssh_keys=(key,), publish=(SSH,))
        assert found == [[]] * 5
        assert fake.whole(told.id) == []

    def test_a_rebuild_under_way_is_left_alone(self) -> None:
        fake = make_host()
        old = fake.launch("ana")
        found: list[list[Finding]] = []
        for step in ("engine.rename", "engine.create"):
            fake.trace.afterwards(step, lambda: found.append(reconcile(fake.host)))
        launching.rebuild(fake.host, old, None, timeout_s=0)
        assert found == [[]] * 2
        assert fake.whole(old.id) == []

    def test_a_launch_that_ends_well_meanwhile_is_left_alone(self) -> None:
        """Seen half made under its lock, and finished before the lock is tried: it must not be deleted."""
        fake = make_host()
        container_id = half_made(fake, "ana")
        sandbox = fake.sandbox()

        def finishes() -> None:
            pid = fake.engine.start(container_id, lambda pid: fake.network.plug(sandbox.id, pid, sandbox.record.port))
            fake.network.open_gate(sandbox.id, pid)

        fake.trace.afterwards("engine.sandboxes", finishes)
        reconcile(fake.host)
        assert fake.whole(sandbox.id) == []

    def test_leftovers_of_a_launch_that_ends_well_meanwhile_are_none(self) -> None:
        fake = make_host()
        told: list[Sandbox] = []
        # The list of sandboxes is taken, then a launch begins and ends, then the network is looked at.
        fake.trace.afterwards("engine.sandboxes", lambda: told.append(fake.launch("ana")), nth=2)
        assert reconcile(fake.host) == []
        assert fake.whole(told[0].id) == []


class TestLeftovers:
    @staticmethod
    def litter(fake: FakeHost) -> str:
        """Everything a sandbox has on the network's side, and no sandbox."""
        told = fake.launch("gone", publish=(SSH,))
        process = fake.processes.of(told.id)[0]
        del fake.engine.containers[told.container_id]
        fake.processes.running[process.pid] = process  # somebody keeps its namespace alive
        return told.id

    def test_all_of_them_go(self) -> None:
        fake = make_host()
        fake.launch("ana")
        before = fake.kept()
        self.litter(fake)
        findings = reconcile(fake.host)
        assert [finding.kind for finding in findings] == ["veth", "gate", "lease", "published port"]
        assert all(finding.action == "remove" and finding.error is None for finding in findings)
        fake.processes.running = {pid: one for pid, one in fake.processes.running.items() if one.network}
        assert fake.kept() == before
        assert reconcile(fake.host) == []

    def test_those_of_a_container_that_cannot_be_read_stay(self) -> None:
        """Renamed by hand, or recorded by a later version: it may run, so nothing of it is taken."""
        fake = make_host()
        told = fake.launch("ana")
        container_id = fake.sandbox().container_id
        hidden = fake.engine.containers.pop(container_id)
        fake.engine.unreadable = frozenset({told.id})
        before = (dict(fake.network.leases), dict(fake.network.gates), dict(fake.network.links))
        assert reconcile(fake.host) == []
        assert (dict(fake.network.leases), dict(fake.network.gates), dict(fake.network.links)) == before
        fake.engine.unreadable = frozenset()
        assert {finding.kind for finding in reconcile(fake.host)} >= {"gate", "lease"}
        fake.engine.containers[container_id] = hidden

    def test_those_of_somebody_at_work_stay(self) -> None:
        fake = make_host()
        sandbox_id = self.litter(fake)
        with fake.locks.hold(sandbox_id):
            assert reconcile(fake.host) == []
        assert len(reconcile(fake.host)) == 4

    def test_one_that_cannot_be_removed_is_told_and_the_others_go(self) -> None:
        fake = make_host()
        self.litter(fake)
        fake.trace.fail("network.clear", NetworkFailed("device busy"))
        errors = [finding.error for finding in reconcile(fake.host)]
        assert errors == ["device busy", None, None, None]


class TestDryRun:
    def test_it_tells_the_same_and_changes_nothing(self) -> None:
        fake = make_host()
        half_made(fake, "ana")
        fake.launch("ben", ttl_s=1)
        TestLeftovers.litter(fake)
        lost = fake.launch("cho")
        fake.network.unplug(lost.id)
        moment = now() + timedelta(hours=1)
        before = {**fake.kept(), "lock files": None}
        told = reconcile(fake.host, repair=False, at=moment)
        assert {**fake.kept(), "lock files": None} == before
        assert len(told) == 7
        assert kinds(told) == [(kind, action, None) for kind, action, _error in kinds(reconcile(fake.host, at=moment))]


def test_an_engine_that_does_not_answer_is_told() -> None:
    fake = make_host()
    fake.trace.fail("engine.sandboxes", EngineFailed("no answer"))
    with pytest.raises(EngineFailed, match="no answer"):
        reconcile(fake.host)


def test_the_form_for_json() -> None:
    assert list(Finding(kind="veth", what="zv1", action="remove").as_dict()) == ["kind", "what", "action", "error"]
