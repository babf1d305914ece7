"""Start, stop, restart, rebuild and delete; a sandbox is never worse off when one of them fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.host import NOTHING, make_host
from fakes.network import Opened
from fakes.steps import (
    HOW,
    fail_at,
    full_launch,
    rebuildable,
    steps,
    stopped,
)

from zun_arm.core import launching
from zun_arm.core.model import State
from zun_arm.core.platforms import ARM_V7
from zun_arm.core.reconcile import reconcile
from zun_arm.errors import (
    DoesNotFit,
    EngineFailed,
    NetworkFailed,
    NotFound,
    WrongState,
)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fakes carry out an interrupted request before they say so: there is nothing to wait for."""
    monkeypatch.setattr(launching, "_SETTLE_S", 0)


class TestStartAndStop:
    def test_it_keeps_its_address_and_its_ports(self) -> None:
        fake = make_host()
        told = full_launch(fake)
        launching.stop(fake.host, fake.sandbox(), timeout_s=1)
        assert fake.sandbox().state == State.EXITED
        assert fake.network.links == {} and fake.network.published == {}
        assert fake.network.leases == {told.record.port.address: told.id}
        fake.launch("ben")
        launching.start(fake.host, fake.sandbox())
        assert fake.whole(told.id) == []
        assert fake.network.opened[-1] == Opened(told.id, plugged=True, published=(2222,))
        assert fake.sandbox().record == told.record

    def test_start_leaves_the_running_alone_and_stop_the_stopped(self) -> None:
        fake = make_host()
        full_launch(fake)
        before = fake.kept()
        launching.start(fake.host, fake.sandbox())
        assert fake.kept() == before
        for _again in range(2):
            launching.stop(fake.host, fake.sandbox(), timeout_s=0)
            assert fake.sandbox().state == State.EXITED

    def test_two_who_start_it_at_once_start_it_once(self) -> None:
        fake = make_host()
        seen_by_both = stopped(fake)
        for _who in range(2):
            launching.start(fake.host, seen_by_both)
            assert fake.whole(seen_by_both.id) == []

    def test_a_paused_one_is_stopped_but_not_started(self) -> None:
        fake = make_host()
        told = full_launch(fake)
        fake.engine.pause(told.container_id)
        with pytest.raises(WrongState, match="paused") as refused:
            launching.start(fake.host, fake.sandbox())
        assert refused.value.hint == "zun-arm unpause ana"
        launching.stop(fake.host, fake.sandbox(), timeout_s=0)
        assert fake.sandbox().state == State.EXITED

    @pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED, State.EXITED])
    def test_restart_from_any_state(self, state: State) -> None:
        fake = make_host()
        told = full_launch(fake)
        if state == State.PAUSED:
            fake.engine.pause(told.container_id)
        if state == State.EXITED:
            launching.stop(fake.host, fake.sandbox(), timeout_s=0)
        launching.restart(fake.host, fake.sandbox(), timeout_s=3)
        assert fake.whole(told.id) == []
        assert len(fake.network.opened) == 2

    @pytest.mark.parametrize(("error", "after"), HOW)
    @pytest.mark.parametrize(
        ("number", "step"),
        steps(
            lambda fake, sandbox: launching.start(fake.host, sandbox),
            stopped,
        ),
    )
    def test_a_failed_start_leaves_it_stopped_and_startable(
        self, number: int, step: str, error: BaseException, after: bool
    ) -> None:
        fake = make_host()
        sandbox = stopped(fake)
        before = fake.kept()
        fail_at(fake, number, step, error, after=after)
        with pytest.raises(type(error), match=str(error)):
            launching.start(fake.host, sandbox)
        assert fake.kept() == before
        launching.start(fake.host, fake.sandbox())
        assert fake.whole(fake.sandbox().id) == []

    def test_no_room_to_start(self) -> None:
        fake = make_host()
        stopped(fake)
        fake.board.memory_mib = 100
        with pytest.raises(DoesNotFit, match="36 MiB are free"):
            launching.start(fake.host, fake.sandbox())
        assert fake.sandbox().state == State.EXITED


class TestRebuild:
    def test_the_files_are_fresh_and_the_rest_stays(self) -> None:
        fake = make_host()
        before = rebuildable(fake)
        told = launching.rebuild(fake.host, fake.sandbox(), None, timeout_s=1)
        assert told == fake.sandbox() or replace(told, created_at=fake.sandbox().created_at) == fake.sandbox()
        assert (told.id, told.name, told.record) == (before.id, "ana", before.record)
        assert told.container_id != before.container_id
        assert fake.whole(told.id) == []
        (container,) = fake.engine.containers.values()
        assert "/root/old" not in container.files.tree
        assert "/root/.ssh/authorized_keys" in container.files.tree
        assert fake.network.opened[-1] == Opened(told.id, plugged=True, published=(2222,))

    def test_another_image_changes_image_platform_and_execution(self) -> None:
        fake = make_host()
        before = rebuildable(fake)
        fake.engine.add_image("lab1", labelled=ARM_V7, command=("/sbin/init",))
        record = launching.rebuild(fake.host, fake.sandbox(), "lab1", timeout_s=1).record
        assert (record.image, record.platform, record.execution) == ("lab1", ARM_V7, "native-compat32")
        assert record.port == before.record.port and record.limits == before.record.limits

    def test_a_stopped_one_runs_afterwards(self) -> None:
        fake = make_host()
        rebuildable(fake)
        launching.stop(fake.host, fake.sandbox(), timeout_s=0)
        launching.rebuild(fake.host, fake.sandbox(), None, timeout_s=1)
        assert fake.whole(fake.sandbox().id) == []

    def test_an_unknown_image_is_refused_while_the_old_one_runs(self) -> None:
        fake = make_host()
        rebuildable(fake)
        before = fake.kept()
        with pytest.raises(NotFound, match="none"):
            launching.rebuild(fake.host, fake.sandbox(), "none", timeout_s=1)
        assert fake.kept() == before

    @pytest.mark.parametrize(("error", "after"), HOW)
    @pytest.mark.parametrize(
        ("number", "step"),
        steps(
            lambda fake, sandbox: launching.rebuild(fake.host, sandbox, None, timeout_s=1),
            rebuildable,
        ),
    )
    def test_whichever_step_fails_the_sandbox_runs(
        self, number: int, step: str, error: BaseException, after: bool
    ) -> None:
        """The old one is put back, running; once the new one runs, a failure to remove the old one may leave that."""
        fake = make_host()
        old = rebuildable(fake)
        fail_at(fake, number, step, error, after=after)
        try:
            launching.rebuild(fake.host, old, None, timeout_s=1)
        except BaseException as raised:
            assert raised is error
        else:
            pytest.fail("the failure was not told")
        now_there = fake.sandbox("ana")
        assert now_there.id == old.id
        assert fake.whole(old.id) == []
        assert fake.network.leases == {old.record.port.address: old.id}
        assert fake.network.published == {("tcp", 2222): (old.record.port.address, 22)}
        assert not fake.locks.held
        if step != "engine.remove":
            assert now_there.container_id == old.container_id
            assert [one.name for one in fake.engine.sandboxes()] == ["ana"]
        reconcile(fake.host)
        assert fake.whole(old.id) == []
        assert [one.name for one in fake.engine.sandboxes()] == ["ana"]

    def test_a_stopped_one_stays_stopped_when_it_fails(self) -> None:
        fake = make_host()
        old = rebuildable(fake)
        launching.stop(fake.host, fake.sandbox(), timeout_s=0)
        before = fake.kept()
        fake.trace.fail("engine.start", EngineFailed("no"))
        with pytest.raises(EngineFailed):
            launching.rebuild(fake.host, fake.sandbox(), None, timeout_s=1)
        assert fake.kept() == before
        assert fake.sandbox().container_id == old.container_id

    def test_it_is_undone_under_its_lock(self) -> None:
        fake = make_host()
        old = rebuildable(fake)
        held: list[list[str]] = []
        for step in ("engine.remove", "engine.rename", "engine.start"):
            fake.trace.afterwards(
                step, lambda: held.append(list(fake.locks.held)), nth=2 if step != "engine.remove" else 1
            )
        fake.trace.fail("network.open_gate", NetworkFailed("no"))
        with pytest.raises(NetworkFailed):
            launching.rebuild(fake.host, fake.sandbox(), None, timeout_s=1)
        assert held == [[old.id]] * 3, "reconcile could take the half-done rebuild for its own work"


class TestDelete:
    def test_everything_goes(self) -> None:
        fake = make_host()
        full_launch(fake)
        launching.delete(fake.host, fake.sandbox())
        assert fake.kept() == NOTHING

    @pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED, State.EXITED])
    def test_twice_is_as_good_as_once(self, state: State) -> None:
        fake = make_host()
        told = full_launch(fake)
        if state == State.PAUSED:
            fake.engine.pause(told.container_id)
        if state == State.EXITED:
            launching.stop(fake.host, told, timeout_s=0)
        seen = fake.sandbox()
        for _again in range(2):
            launching.delete(fake.host, seen)
            assert fake.kept() == NOTHING

    def test_a_paused_one_that_goes_on_meanwhile(self) -> None:
        fake = make_host()
        told = full_launch(fake)
        fake.engine.pause(told.container_id)
        seen = fake.sandbox()
        fake.engine.unpause(told.container_id)
        launching.delete(fake.host, seen)
        assert fake.kept() == NOTHING

    def test_what_could_not_be_removed_keeps_its_address(self) -> None:
        fake = make_host()
        told = full_launch(fake)
        fake.trace.fail("engine.remove_sandbox", EngineFailed("device busy"))
        with pytest.raises(EngineFailed, match="busy"):
            launching.delete(fake.host, told)
        assert fake.network.leases == {told.record.port.address: told.id}
        launching.delete(fake.host, fake.sandbox())
        assert fake.kept() == NOTHING

    def test_only_the_named_one_goes(self) -> None:
        fake = make_host()
        neighbour = fake.launch("ben")
        before = fake.kept()
        full_launch(fake)
        launching.delete(fake.host, fake.sandbox())
        assert fake.kept() == before
        assert fake.whole(neighbour.id) == []
