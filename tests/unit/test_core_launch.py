"""Launch: in which order things are done, what is refused, and how each step's failure is undone."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.host import NOTHING, make_host
from fakes.network import Opened
from fakes.steps import (
    FAILED,
    HOW,
    KEY,
    SSH,
    beside_a_neighbour,
    fail_at,
    full_launch,
    steps,
)

from zun_arm.core import launching
from zun_arm.core.model import LaunchRequest, Limits, Publish, State
from zun_arm.core.platforms import ARM_V7
from zun_arm.core.reconcile import reconcile
from zun_arm.core.units import now
from zun_arm.errors import (
    BadImage,
    BadInput,
    CannotRun,
    DoesNotFit,
    EngineFailed,
    HostNotReady,
    NameInUse,
    NetworkFailed,
    NotFound,
    ZunArmError,
)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fakes carry out an interrupted request before they say so: there is nothing to wait for."""
    monkeypatch.setattr(launching, "_SETTLE_S", 0)


LAUNCH_STEPS = steps(lambda fake, nothing: full_launch(fake), lambda fake: None)


class TestLaunch:
    def test_the_sandbox_is_whole_and_told_as_it_is(self) -> None:
        fake = make_host()
        told = full_launch(fake)
        assert replace(told, created_at=fake.sandbox().created_at) == fake.sandbox()
        assert fake.whole(told.id) == []
        assert (told.state, told.record.platform, told.record.image) == (State.RUNNING, "linux/arm64", "tiny")
        assert told.record.env == {"COURSE": "os1"} and told.record.ssh_keys == (KEY,)
        assert told.record.expires_at is not None
        assert timedelta(seconds=55) < told.record.expires_at - now() < timedelta(seconds=61)
        assert fake.kept()["held locks"] == []

    def test_the_gate_opens_last_on_a_complete_network(self) -> None:
        fake = make_host()
        told = full_launch(fake)
        assert fake.network.opened == [Opened(told.id, plugged=True, published=(2222,))]
        order = [
            fake.trace.calls.index(step)
            for step in (
                "network.ensure",
                "network.lease",
                "network.prepare",
                "engine.create",
                "engine.put_archive",
                "engine.start",
                "network.plug",
                "network.publish",
                "network.open_gate",
            )
        ]
        assert order == sorted(order)

    def test_keys_are_there_before_the_first_process(self) -> None:
        fake = make_host()
        full_launch(fake)
        (container,) = fake.engine.containers.values()
        assert container.files.tree["/root/.ssh/authorized_keys"] == f"{KEY}\n".encode()
        assert container.files.owners["/root/.ssh/authorized_keys"] == (0, 0, 0o600)
        assert container.files.owners["/root/.ssh"] == (0, 0, 0o700)

    def test_its_lock_is_held_from_the_lease_to_the_open_gate(self) -> None:
        fake = make_host()
        seen: list[list[str]] = []
        for step in ("network.lease", "engine.create", "engine.start", "network.plug", "network.open_gate"):
            fake.trace.afterwards(step, lambda: seen.append(list(fake.locks.held)))
        told = full_launch(fake)
        assert seen == [[told.id]] * 5

    @pytest.mark.parametrize(("error", "after"), HOW)
    @pytest.mark.parametrize(("number", "step"), LAUNCH_STEPS)
    def test_whichever_step_fails_nothing_is_left(
        self, number: int, step: str, error: BaseException, after: bool
    ) -> None:
        fake = make_host()
        fail_at(fake, number, step, error, after=after)
        with pytest.raises(type(error), match=str(error)):
            full_launch(fake)
        assert fake.kept() == NOTHING
        full_launch(fake)
        assert fake.whole(fake.sandbox().id) == []

    @pytest.mark.parametrize(("number", "step"), steps(lambda fake, neighbour: full_launch(fake), beside_a_neighbour))
    def test_a_failure_leaves_the_neighbours_alone(self, number: int, step: str) -> None:
        fake = make_host()
        neighbour = beside_a_neighbour(fake)
        before = fake.kept()
        fail_at(fake, number, step, FAILED, after=True)
        with pytest.raises(EngineFailed):
            full_launch(fake)
        assert fake.kept() == before
        assert fake.whole(neighbour.id) == []

    @pytest.mark.parametrize(("number", "step"), [one for one in LAUNCH_STEPS if "engine" in one.values[1]])
    def test_when_the_engine_dies_reconcile_puts_it_right_once_it_is_back(self, number: int, step: str) -> None:
        fake = make_host()
        fake.trace.engine_dead_from = number
        with pytest.raises(HostNotReady):
            full_launch(fake)
        fake.trace.engine_dead_from = None
        reconcile(fake.host)
        assert reconcile(fake.host) == []
        for sandbox in fake.engine.sandboxes():
            assert fake.network.leases.get(sandbox.record.port.address) == sandbox.id, "its address can be given away"

    def test_it_is_undone_in_reverse_and_under_its_lock(self) -> None:
        fake = make_host()
        held: list[bool] = []
        undo = (
            "network.unpublish",
            "network.unplug",
            "engine.stop",
            "engine.remove",
            "network.discard",
            "network.release",
        )
        for step in undo:
            fake.trace.afterwards(step, lambda: held.append(bool(fake.locks.held)))
        fake.trace.fail("network.open_gate", NetworkFailed("no"))
        with pytest.raises(NetworkFailed):
            full_launch(fake)
        after = fake.trace.calls[fake.trace.calls.index("network.open_gate") :]
        order = [after.index(step) for step in ("network.unplug", "engine.stop", "engine.remove", "network.discard")]
        assert order == sorted(order)
        assert held == [True] * len(undo), "reconcile could meddle with what is being undone"

    @pytest.mark.parametrize("undoing", ["network.unplug", "network.unpublish", "network.discard", "network.release"])
    def test_what_fails_while_undoing_does_not_hide_why_it_was_needed(self, undoing: str) -> None:
        fake = make_host()
        fake.trace.fail("network.open_gate", NetworkFailed("the reason"))
        fake.trace.fail(undoing, NetworkFailed("a consequence"))
        with pytest.raises(NetworkFailed, match="the reason"):
            full_launch(fake)
        assert fake.kept()["containers"] == {}

    def test_the_last_words_of_a_first_process_that_died_are_told(self) -> None:
        fake = make_host()

        def dies() -> None:
            next(iter(fake.engine.containers.values())).log = b"Illegal instruction\n"
            fake.engine.kill("ana", 132)

        fake.trace.afterwards("network.plug", dies)
        with pytest.raises(NetworkFailed, match="ended before") as told:
            full_launch(fake)
        assert "Illegal instruction" in str(told.value.hint)
        assert fake.kept() == NOTHING

    def test_a_taken_name_is_refused_and_its_owner_goes_on(self) -> None:
        fake = make_host()
        first = full_launch(fake)
        before = fake.kept()
        with pytest.raises(NameInUse, match="'ana'"):
            fake.launch("ana")
        assert fake.kept() == before
        assert fake.whole(first.id) == []

    def test_a_taken_port_is_refused_and_its_owner_goes_on(self) -> None:
        fake = make_host()
        full_launch(fake)
        before = fake.kept()
        with pytest.raises(NameInUse, match="2222"):
            fake.launch("ben", publish=(Publish(host_port=8080, sandbox_port=80), SSH))
        assert fake.kept() == before

    def test_no_address_left(self) -> None:
        fake = make_host()
        for number in range(13):
            fake.launch(f"s{number}")
        before = fake.kept()
        with pytest.raises(DoesNotFit, match="13"):
            fake.launch("one-too-many")
        assert fake.kept() == before

    def test_leases_lost_with_the_state_directory_are_not_given_twice(self) -> None:
        fake = make_host()
        first = fake.launch("ana")
        fake.network.leases, fake.network.leases_written = {}, False
        second = fake.launch("ben")
        assert second.record.port.address != first.record.port.address
        assert fake.network.leases[first.record.port.address] == first.id

    def test_an_image_without_a_program(self) -> None:
        fake = make_host()
        fake.engine.add_image("scratch", labelled=ARM_V7)
        with pytest.raises(BadImage, match="'scratch'") as told:
            fake.launch(image="scratch")
        assert "--" in str(told.value.hint)
        assert fake.kept() == NOTHING
        fake.launch(image="scratch", command=("/bin/sleep", "9"))

    def test_a_command_replaces_the_images_own_behind_its_entry_point(self) -> None:
        fake = make_host()
        fake.engine.add_image("two", labelled=ARM_V7, entrypoint=("/bin/sleep",), command=("5",))
        fake.launch("ana", "two")
        fake.launch("ben", "two", command=("7", "8"))
        commands = {one.name: one.plan.command for one in fake.engine.containers.values()}
        assert commands == {"ana": ("/bin/sleep", "5"), "ben": ("/bin/sleep", "7", "8")}
        assert all(one.plan.entrypoint == fake.network.entrypoint() for one in fake.engine.containers.values())

    @pytest.mark.parametrize(
        ("labels", "no_new_privileges", "tty"),
        [
            ({}, True, False),
            ({"zun-arm.no-new-privileges": "false"}, False, False),
            ({"zun-arm.no-new-privileges": "true", "zun-arm.console": "tty"}, True, True),
            ({"zun-arm.no-new-privileges": "", "zun-arm.console": "no"}, True, False),
        ],
    )
    def test_what_the_images_labels_decide(self, labels: dict[str, str], no_new_privileges: bool, tty: bool) -> None:
        fake = make_host()
        fake.engine.add_image("lab", labelled=ARM_V7, command=("/sbin/init",), labels=labels)
        told = fake.launch(image="lab")
        (container,) = fake.engine.containers.values()
        assert (container.plan.no_new_privileges, told.record.tty) == (no_new_privileges, tty)

    def test_a_name_is_made_up_when_none_is_given(self) -> None:
        fake = make_host()
        names = {launching.launch(fake.host, LaunchRequest(image="tiny")).name for _ in range(5)}
        assert len(names) == 5

    def test_an_id_from_outside_is_kept(self) -> None:
        fake = make_host()
        wanted = "6f1b3f0e-9a4b-4f0e-8d5e-2f6f5d0c9b1a"
        told = launching.launch(fake.host, LaunchRequest(image="tiny"), sandbox_id=wanted)
        assert told.id == wanted == fake.sandbox(told.name).id

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"name": "Ana"}, BadInput),
            ({"name": "ana.old"}, BadInput),
            ({"image": "none"}, NotFound),
            ({"platform": "linux/amd64"}, NotFound),
            ({"limits": Limits(memory_mib=100_000)}, DoesNotFit),
            ({"limits": Limits(disk_mib=10)}, HostNotReady),
        ],
    )
    def test_what_is_refused_is_refused_before_anything_is_made(
        self, options: dict[str, Any], error: type[ZunArmError]
    ) -> None:
        fake = make_host()
        with pytest.raises(error):
            fake.launch(**{"name": "ana", **options})
        assert fake.kept() == NOTHING
        assert "network.ensure" not in fake.trace.calls

    @pytest.mark.parametrize("step", ["locks.hold", "network.ensure", "network.lease", "network.prepare"])
    @pytest.mark.parametrize(
        ("number", "kind"),
        [
            (errno.EACCES, HostNotReady),
            (errno.EPERM, HostNotReady),
            (errno.ENOSPC, DoesNotFit),
            (errno.EIO, ZunArmError),
        ],
    )
    def test_what_the_file_system_refuses_is_told_in_words(
        self, step: str, number: int, kind: type[ZunArmError]
    ) -> None:
        fake = make_host()
        fake.trace.fail(step, OSError(number, os.strerror(number), "/var/lib/zun-arm/x"))
        with pytest.raises(ZunArmError) as told:
            full_launch(fake)
        assert type(told.value) is kind
        assert told.value.message == f"sandbox 'ana': /var/lib/zun-arm/x: {os.strerror(number)}"
        assert told.value.hint
        assert fake.kept() == NOTHING

    def test_an_instruction_set_this_board_has_not_is_refused(self) -> None:
        fake = make_host("linux/amd64")
        with pytest.raises(CannotRun, match="Raspberry Pi 4"):
            fake.launch()
        assert fake.kept() == NOTHING
