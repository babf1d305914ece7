"""What every image book and every set of locks does: those on files, and the fakes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from zun_arm.core.platforms import ARM_V7, Isa
from zun_arm.core.seams import ImageBook, Locks
from zun_arm.errors import (
    EngineFailed,
    ZunArmError,
)


class BookContract:
    """Fixture: ``book``, which takes an image's content for the name of its instruction set."""

    IMAGE_ID = "sha256:" + "ab" * 32

    def test_what_was_not_measured_is_not_known(self, book: ImageBook) -> None:
        assert book.measured(self.IMAGE_ID) is None

    def test_an_image_is_measured_once(self, book: ImageBook) -> None:
        assert book.measure(self.IMAGE_ID, lambda: iter([b"arm", b"v7"])) == (ARM_V7, Isa.ARMV7)
        assert book.measured(self.IMAGE_ID) == (ARM_V7, Isa.ARMV7)
        assert book.measured("sha256:" + "cd" * 32) is None

    @pytest.mark.parametrize("content", [b"", b"riscv64", b"unknown"])
    def test_what_is_none_of_our_platforms_is_not_noted(self, book: ImageBook, content: bytes) -> None:
        assert book.measure(self.IMAGE_ID, lambda: iter([content])) is None
        assert book.measured(self.IMAGE_ID) is None

    def test_an_image_that_cannot_be_read_is_not_noted(self, book: ImageBook) -> None:
        def broken() -> Iterator[bytes]:
            yield b"arm"
            raise EngineFailed("the connection broke off")

        with pytest.raises(ZunArmError, match="broke off"):
            book.measure(self.IMAGE_ID, broken)
        assert book.measured(self.IMAGE_ID) is None


class LocksContract:
    """Fixture: ``locks``."""

    def test_a_free_lock_is_had_at_once(self, locks: Locks) -> None:
        for blocking in (True, False):
            with locks.hold("ana", blocking=blocking) as got:
                assert got is True

    def test_it_is_free_again_after_an_error(self, locks: Locks) -> None:
        with pytest.raises(KeyboardInterrupt), locks.hold("ana"):
            raise KeyboardInterrupt
        with locks.hold("ana", blocking=False) as got:
            assert got is True

    def test_other_names_are_other_locks(self, locks: Locks) -> None:
        with locks.hold("ana"), locks.hold("ben", blocking=False) as got:
            assert got is True

    def test_forgetting_is_idempotent_and_may_be_done_by_the_holder(self, locks: Locks) -> None:
        locks.forget("ana")
        with locks.hold("ana"):
            locks.forget("ana")
        locks.forget("ana")
        with locks.hold("ana", blocking=False) as got:
            assert got is True

    def test_another_thread_cannot_have_it(self, locks: Locks) -> None:
        assert self.seen_by_another_thread(locks, "ana") is True
        with locks.hold("ana"):
            assert self.seen_by_another_thread(locks, "ana") is False
            assert self.seen_by_another_thread(locks, "ana") is False
        assert self.seen_by_another_thread(locks, "ana") is True

    def test_another_thread_waits_for_it(self, locks: Locks) -> None:
        order: list[str] = []

        def other() -> None:
            with locks.hold("ana"):
                order.append("other")

        thread = threading.Thread(target=other)
        with locks.hold("ana"):
            thread.start()
            thread.join(0.1)
            order.append("first")
        thread.join(5)
        assert order == ["first", "other"]

    @staticmethod
    def seen_by_another_thread(locks: Locks, name: str) -> bool:
        answers: list[bool] = []

        def ask() -> None:
            with locks.hold(name, blocking=False) as got:
                answers.append(got)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
        return answers[0]
