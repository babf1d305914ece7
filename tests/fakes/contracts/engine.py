"""What every engine does: Docker, and the fake."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fakes.contracts.tools import eventually, packed, unpacked
from fakes.samples import plan
from zun_arm.core.model import Image, Publish, Sandbox, State
from zun_arm.core.seams import Engine
from zun_arm.errors import (
    EngineFailed,
    NameInUse,
    NetworkFailed,
    NotFound,
    TimedOut,
    WrongState,
)


def unheeded(pid: int) -> None:
    """For those who need not know that the first process is born."""


SHELL = ("/bin/sh", "-c")


class EngineContract:
    """Fixtures: ``engine``, and ``image``, which holds a small userland with a shell."""

    @staticmethod
    def only(engine: Engine, name: str) -> Sandbox:
        return next(sandbox for sandbox in engine.sandboxes() if sandbox.name == name)

    # Life cycle

    def test_a_created_container_is_listed_with_its_record(self, engine: Engine, image: Image) -> None:
        wanted = plan(
            image,
            "ana",
            env={"COURSE": "os1"},
            publish=(Publish(host_port=2222, sandbox_port=22),),
            expires_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        )
        container_id = engine.create(wanted)
        found = self.only(engine, "ana")
        assert (found.container_id, found.state, found.exit_code) == (container_id, State.CREATED, None)
        assert found.record == wanted.record
        assert engine.pid(container_id) is None

    def test_a_sandbox_is_found_by_name_id_and_beginning_of_id(self, engine: Engine, image: Image) -> None:
        wanted = plan(image, "ana").record.id
        container_id = engine.create(plan(image, "ana", id=wanted))
        engine.create(plan(image, "ana2"))
        for reference in ("ana", wanted, wanted[:8]):
            assert engine.sandbox(reference).container_id == container_id
        for reference in ("an", wanted[:7], "ben", str(uuid.uuid4())):
            with pytest.raises(NotFound, match=reference):
                engine.sandbox(reference)

    def test_a_taken_name_is_refused_and_its_owner_untouched(self, engine: Engine, image: Image) -> None:
        first = engine.create(plan(image, "ana"))
        with pytest.raises(NameInUse, match="ana"):
            engine.create(plan(image, "ana"))
        assert [sandbox.container_id for sandbox in engine.sandboxes()] == [first]

    def test_start_and_stop_and_start_again(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        pid = engine.start(container_id, unheeded)
        assert pid > 1
        assert engine.pid(container_id) == pid == engine.start(container_id, unheeded)
        assert self.only(engine, "ana").state == State.RUNNING
        for _again in range(2):
            engine.stop(container_id, timeout_s=0)
            stopped = self.only(engine, "ana")
            assert stopped.state == State.EXITED
            assert stopped.exit_code in (137, 143)  # killed, or ended by itself just before
            assert engine.pid(container_id) is None
        assert engine.start(container_id, unheeded) != pid
        assert self.only(engine, "ana").exit_code is None

    def test_the_first_process_is_told_as_it_is_born(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        for _again in range(2):
            told: list[int] = []
            assert [engine.start(container_id, told.append)] == told
            engine.stop(container_id, timeout_s=0)

    def test_who_cannot_use_the_first_process_is_heard(self, engine: Engine, image: Image) -> None:
        def refuses(pid: int) -> None:
            raise NetworkFailed(f"{pid} cannot be plugged")

        container_id = engine.create(plan(image, "ana"))
        with pytest.raises(NetworkFailed, match="cannot be plugged"):
            engine.start(container_id, refuses)
        engine.stop(container_id, timeout_s=0)
        assert engine.pid(container_id) is None

    def test_pause_and_unpause_only_when_it_makes_sense(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        with pytest.raises(WrongState):
            engine.pause(container_id)
        engine.start(container_id, unheeded)
        with pytest.raises((WrongState, EngineFailed), match="not paused"):
            engine.unpause(container_id)
        engine.pause(container_id)
        assert self.only(engine, "ana").state == State.PAUSED
        with pytest.raises(WrongState):
            engine.pause(container_id)
        with pytest.raises(WrongState):
            engine.start(container_id, unheeded)
        engine.unpause(container_id)
        assert self.only(engine, "ana").state == State.RUNNING

    def test_rename_keeps_everything_but_the_name(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        engine.create(plan(image, "ben"))
        before = engine.sandbox("ana")
        engine.rename(container_id, "cho")
        assert engine.sandbox("cho") == replace(before, name="cho")
        with pytest.raises(NotFound):
            engine.sandbox("ana")
        with pytest.raises(NameInUse, match="ben"):
            engine.rename(container_id, "ben")
        assert engine.sandbox("cho").container_id == container_id

    def test_remove_is_idempotent_and_takes_the_running_and_the_paused(self, engine: Engine, image: Image) -> None:
        running, paused = (engine.create(plan(image, name)) for name in ("ana", "ben"))
        for container_id in (running, paused):
            engine.start(container_id, unheeded)
        engine.pause(paused)
        for container_id in (running, paused, running):
            engine.remove(container_id)
        assert engine.sandboxes() == []

    def test_remove_sandbox_takes_every_container_of_the_id_and_no_other(self, engine: Engine, image: Image) -> None:
        sandbox_id = str(uuid.uuid4())
        for name in ("ana", "ana.old"):
            engine.create(plan(image, name, id=sandbox_id))
        engine.create(plan(image, "ben"))
        for _again in range(2):
            engine.remove_sandbox(sandbox_id)
            assert [sandbox.name for sandbox in engine.sandboxes()] == ["ben"]

    def test_what_is_not_there_is_not_found(self, engine: Engine, image: Image) -> None:
        gone = engine.create(plan(image, "ana"))
        engine.remove(gone)
        actions: list[Callable[[], object]] = [
            lambda: engine.start(gone, unheeded),
            lambda: engine.pid(gone),
            lambda: engine.stop(gone, timeout_s=0),
            lambda: engine.pause(gone),
            lambda: engine.unpause(gone),
            lambda: engine.rename(gone, "ben"),
            lambda: engine.wait(gone, timeout_s=1),
            lambda: list(engine.logs(gone, tail=None, follow=False)),
            lambda: engine.put_archive(gone, "/tmp", packed("a", b"")),
            lambda: list(engine.get_archive(gone, "/tmp")),
        ]
        for number, action in enumerate(actions):
            with pytest.raises(NotFound):
                pytest.fail(f"action {number} found it: {action()}")

    # What the first process does

    def test_the_exit_code_is_told(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana", *SHELL, "exit 3"))
        with suppress(WrongState):  # it may have ended before start() could ask for its pid
            engine.start(container_id, unheeded)
        assert engine.wait(container_id, timeout_s=20) == 3
        assert self.only(engine, "ana").exit_code == 3

    def test_a_wait_has_a_deadline(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        engine.start(container_id, unheeded)
        with pytest.raises(TimedOut, match=r"0\.2 s"):
            engine.wait(container_id, timeout_s=0.2)

    def test_the_log_and_its_tail(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana", *SHELL, "echo one; echo two; echo three; sleep 1000"))
        engine.start(container_id, unheeded)

        def log(tail: int | None) -> bytes:
            return b"".join(engine.logs(container_id, tail=tail, follow=False))

        eventually(lambda: log(None) == b"one\ntwo\nthree\n")
        assert log(2) == b"two\nthree\n"
        assert log(0) == b""

    # Files

    def test_files_go_in_and_come_out_before_the_start_and_after_the_end(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        content = bytes(range(256)) * 5000
        engine.put_archive(container_id, "/root", packed("lab.bin", content))
        assert unpacked(engine.get_archive(container_id, "/root/lab.bin")) == {"lab.bin": content}
        engine.start(container_id, unheeded)
        engine.put_archive(container_id, "/root", io.BytesIO(packed("more", b"x")))
        engine.stop(container_id, timeout_s=0)
        got = unpacked(engine.get_archive(container_id, "/root"))
        assert got["root/lab.bin"] == content and got["root/more"] == b"x"

    def test_paths_that_are_not_there(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        with pytest.raises(NotFound, match="/no/such"):
            engine.put_archive(container_id, "/no/such", packed("a", b""))
        with pytest.raises(NotFound, match="/no/such"):
            list(engine.get_archive(container_id, "/no/such"))

    def test_directories_are_told_from_files(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        engine.put_archive(container_id, "/root", packed("file", b"x"))
        assert [engine.is_directory(container_id, path) for path in ("/root", "/root/", "/root/file", "/none")] == [
            True,
            True,
            False,
            False,
        ]

    # Programs inside

    def test_exec_tells_output_errors_and_exit_code(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana", env={"COURSE": "os1"}))
        engine.start(container_id, unheeded)
        command = [*SHELL, "echo $COURSE $WHO; echo bad >&2; exit 42"]
        streams = engine.exec(container_id, command, tty=False, stdin=False, user="", env={"WHO": "ana"})
        told = list(streams.output())
        assert b"".join(text for number, text in told if number == 1) == b"os1 ana\n"
        assert b"".join(text for number, text in told if number == 2) == b"bad\n"
        assert streams.exit_code() == 42

    def test_the_first_bytes_of_an_exec_are_never_lost(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        engine.start(container_id, unheeded)
        for number in range(20):
            streams = engine.exec(container_id, ["/bin/echo", str(number)], tty=False, stdin=False, user="", env={})
            assert list(streams.output()) == [(1, f"{number}\n".encode())]

    def test_exec_passes_input_on(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        engine.start(container_id, unheeded)
        streams = engine.exec(container_id, ["/bin/cat"], tty=False, stdin=True, user="", env={})
        streams.send(b"armv7\n")
        streams.end_input()
        assert b"".join(text for _number, text in streams.output()) == b"armv7\n"
        assert streams.exit_code() == 0

    def test_exec_needs_a_running_sandbox(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        with pytest.raises(WrongState):
            engine.exec(container_id, ["/bin/true"], tty=False, stdin=False, user="", env={})

    def test_usage_of_what_runs(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana"))
        with pytest.raises(WrongState, match="not running"):
            engine.usage(container_id)
        engine.start(container_id, unheeded)
        used = engine.usage(container_id)
        assert 0 < used.memory_bytes <= 32 * 1024 * 1024
        assert used.cpu_ns > 0 and 1 <= used.pids <= 32

    # Images

    def test_images_are_found_by_name_and_id(self, engine: Engine, image: Image) -> None:
        assert engine.image(image.names[0]) == engine.image(image.id) == image
        assert image in engine.images()
        with pytest.raises(NotFound, match="'none'") as told:
            engine.image("none")
        assert told.value.hint

    def test_a_name_is_given_and_taken_away(self, engine: Engine, image: Image) -> None:
        engine.tag_image(image.id, "lab1:monday")
        assert engine.image("lab1:monday").id == image.id
        engine.remove_image("lab1:monday")
        with pytest.raises(NotFound):
            engine.image("lab1:monday")
        assert engine.image(image.id) == image

    def test_an_image_in_use_is_not_removed(self, engine: Engine, image: Image) -> None:
        engine.create(plan(image, "ana"))
        with pytest.raises(WrongState, match=image.names[0]):
            engine.remove_image(image.names[0])
        assert engine.image(image.names[0]) == image

    def test_an_image_is_saved_and_loaded(self, engine: Engine, image: Image) -> None:
        saved = b"".join(engine.save_image(image.names[0]))
        assert saved == b"".join(engine.save_image(image.names[0]))
        loaded = engine.image(engine.load_image(io.BytesIO(saved)))
        assert (loaded.names, loaded.labelled, loaded.command) == (image.names, image.labelled, image.command)

    def test_no_image_is_loaded_from_rubbish(self, engine: Engine) -> None:
        with pytest.raises(EngineFailed):
            engine.load_image(io.BytesIO(b"no archive at all" * 100))

    def test_a_snapshot_keeps_files_and_forgets_whose_they_were(self, engine: Engine, image: Image) -> None:
        container_id = engine.create(plan(image, "ana", "/bin/sleep", "77"))
        engine.put_archive(container_id, "/root", packed("lab.c", b"int main;"))
        snapshot = engine.image(engine.snapshot(engine.sandbox("ana"), "lab1:monday"))
        try:
            assert snapshot.names == ("lab1:monday",) and snapshot.id != image.id
            assert (snapshot.entrypoint, snapshot.command) == (image.entrypoint, image.command)
            assert snapshot.labelled == image.labelled
            engine.remove(container_id)
            second = engine.create(plan(snapshot, "ben"))
            assert unpacked(engine.get_archive(second, "/root/lab.c")) == {"lab.c": b"int main;"}
            engine.remove(second)
        finally:
            engine.remove_image("lab1:monday")
