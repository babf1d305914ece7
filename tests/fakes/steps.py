"""Use cases taken apart: every call they make on the outside world, to let each one fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.contracts.tools import packed
from fakes.host import FakeHost, make_host
from zun_arm.core import launching
from zun_arm.core.model import Publish, Sandbox
from zun_arm.errors import (
    EngineFailed,
)

SSH = Publish(host_port=2222, sandbox_port=22)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ana@laptop"
INTERRUPTED = KeyboardInterrupt("Ctrl-C")
FAILED = EngineFailed("this step fails")


def full_launch(fake: FakeHost, name: str = "ana") -> Sandbox:
    """With everything a launch can do."""
    return fake.launch(name, ssh_keys=(KEY,), publish=(SSH,), env={"COURSE": "os1"}, ttl_s=60)


def steps(action: Callable[[FakeHost, Any], object], prepare: Callable[[FakeHost], object]) -> list[Any]:
    """Every call a use case makes on the outside world when all goes well, as (number, name)."""
    fake = make_host()
    prepared = prepare(fake)
    first = len(fake.trace.calls)
    action(fake, prepared)
    names = fake.trace.calls[first:]
    return [pytest.param(number, name, id=f"{number}-{name}") for number, name in enumerate(names)]


def fail_at(fake: FakeHost, number: int, name: str, error: BaseException, *, after: bool) -> None:
    # Whoever is interrupted while it takes a lock has none afterwards.
    fake.trace.fail_call(len(fake.trace.calls) + number, error, after=after and name != "locks.hold")


def stopped(fake: FakeHost) -> Sandbox:
    launching.stop(fake.host, full_launch(fake), timeout_s=0)
    return fake.sandbox()


def beside_a_neighbour(fake: FakeHost) -> Sandbox:
    return fake.launch("ben", publish=(Publish(host_port=8080, sandbox_port=80),))


def rebuildable(fake: FakeHost) -> Sandbox:
    """A launched sandbox with a file that a rebuild loses."""
    told = full_launch(fake)
    fake.engine.put_archive(told.container_id, "/root", packed("old", b""))
    return told


HOW = [
    pytest.param(FAILED, False, id="fails"),
    pytest.param(FAILED, True, id="is-done-but-fails"),
    pytest.param(INTERRUPTED, False, id="interrupted-before"),
    pytest.param(INTERRUPTED, True, id="interrupted-after"),
]
