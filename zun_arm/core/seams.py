"""What the core asks of the outside world: one Protocol for each room that reaches out.

Adapters and the fakes of the tests fulfil the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from zun_arm.core.model import Board, Image, Port, Publish, Record, Run, Sandbox
from zun_arm.core.platforms import Isa


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What the engine says of itself and of the limits it really enforces.

    ``enforced`` maps ``memory``, ``swap``, ``cpu``, ``pids`` and ``disk`` to True or False; ``data_root`` is where
    its images and containers lie; ``memory_mib`` is the host's memory as the engine sees it.
    """

    version: str
    api_version: str
    storage_driver: str
    cgroup_driver: str
    cgroup_version: int
    data_root: Path
    memory_mib: int
    enforced: Mapping[str, bool]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of the host shown read-only in a sandbox."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """All the engine needs to create a sandbox's container."""

    name: str
    image: Image
    record: Record
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    no_new_privileges: bool
    log_max_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a sandbox uses now: bytes of memory, nanoseconds of CPU since start, processes."""

    memory_bytes: int
    cpu_ns: int
    pids: int


class Streams(Protocol):
    """A live connection to a program's input and output; the pieces of ``output`` are (1 stdout or 2 stderr, bytes)."""

    tty: bool

    def output(self) -> Iterator[tuple[int, bytes]]: ...

    def send(self, data: bytes) -> None: ...

    def end_input(self) -> None: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def exit_code(self) -> int: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """Docker, restricted to containers that carry our label."""

    def facts(self) -> EngineFacts: ...

    def image(self, reference: str) -> Image: ...

    def images(self) -> list[Image]: ...

    def load_image(self, stream: BinaryIO) -> str: ...

    def save_image(self, reference: str) -> Iterator[bytes]: ...

    def remove_image(self, reference: str) -> None: ...

    def tag_image(self, image_id: str, name: str) -> None: ...

    def sandboxes(self) -> list[Sandbox]: ...

    def sandbox_ids(self) -> frozenset[str]: ...

    def sandbox(self, reference: str) -> Sandbox: ...

    def create(self, plan: ContainerPlan) -> str: ...

    def start(self, container_id: str, born: Callable[[int], None]) -> int: ...

    def pid(self, container_id: str) -> int | None: ...

    def stop(self, container_id: str, *, timeout_s: int) -> None: ...

    def pause(self, container_id: str) -> None: ...

    def unpause(self, container_id: str) -> None: ...

    def rename(self, container_id: str, name: str) -> None: ...

    def remove(self, container_id: str) -> None: ...

    def remove_sandbox(self, sandbox_id: str) -> None: ...

    def wait(self, container_id: str, *, timeout_s: float | None) -> int: ...

    def logs(self, container_id: str, *, tail: int | None, follow: bool) -> Iterator[bytes]: ...

    def snapshot(self, sandbox: Sandbox, name: str) -> str: ...

    def put_archive(self, container_id: str, directory: str, archive: bytes | BinaryIO) -> None: ...

    def get_archive(self, container_id: str, path: str) -> Iterator[bytes]: ...

    def is_directory(self, container_id: str, path: str) -> bool: ...

    def usage(self, container_id: str) -> Usage: ...

    def exec(
        self, container_id: str, command: list[str], *, tty: bool, stdin: bool, user: str, env: Mapping[str, str]
    ) -> Streams: ...

    def attach(self, container_id: str, *, tty: bool) -> Streams: ...


class Network(Protocol):
    """The kernel's links, addresses and rules, restricted to those we made."""

    def ensure(self, *, thorough: bool = False) -> None: ...

    def leases_known(self) -> bool: ...

    def restore_leases(self, held: Iterable[tuple[str, str]]) -> None: ...

    def lease(self, sandbox_id: str) -> Port: ...

    def release(self, sandbox_id: str) -> None: ...

    def prepare(self, sandbox_id: str, name: str, port: Port, *, fresh: bool) -> tuple[Mount, ...]: ...

    def discard(self, sandbox_id: str) -> None: ...

    def entrypoint(self) -> tuple[str, ...]: ...

    def plug(self, sandbox_id: str, pid: int, port: Port) -> None: ...

    def plugged(self, pid: int) -> bool: ...

    def complete(self, sandbox_id: str, pid: int, address: str, ports: tuple[Publish, ...]) -> bool: ...

    def never_let(self, sandbox_id: str) -> bool: ...

    def unplug(self, sandbox_id: str) -> None: ...

    def publish(self, address: str, ports: tuple[Publish, ...]) -> None: ...

    def unpublish(self, address: str) -> None: ...

    def open_gate(self, sandbox_id: str, pid: int) -> None: ...

    def leftovers(self, kept: Mapping[str, Port]) -> list[Leftover]: ...

    def clear(self, leftover: Leftover) -> None: ...

    def teardown(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something of ours that no sandbox uses. ``kind`` is veth, lease, gate or published port.

    ``sandbox_id`` is whose it was, when that can still be told: a launch under way holds that lock.
    """

    kind: str
    what: str
    sandbox_id: str | None = None


class BoardFacts(Protocol):
    """What this machine is."""

    def describe(self) -> Board: ...

    def run_for(self, isa: Isa) -> Run: ...

    def memory_available_mib(self) -> int: ...

    def disk_free_mib(self, path: Path) -> int: ...


class ImageBook(Protocol):
    """What was measured of the images the engine holds, by image id."""

    def measured(self, image_id: str) -> tuple[str, Isa] | None: ...

    def measure(self, image_id: str, saved: Callable[[], Iterator[bytes]]) -> tuple[str, Isa] | None: ...


class Locks(Protocol):
    """Locks that hold between processes; entering gives False when not ``blocking`` and somebody else has it."""

    def hold(self, name: str, *, blocking: bool = True) -> AbstractContextManager[bool]: ...

    def forget(self, name: str) -> None: ...
