"""An engine in memory, with Docker's states, refusals and names."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fakes import programs
from fakes.files import Files
from fakes.processes import Processes
from fakes.streams import FakeStreams
from fakes.trace import Trace
from zun_arm.core.model import Image, Sandbox, State
from zun_arm.core.seams import ContainerPlan, EngineFacts, Usage
from zun_arm.errors import EngineFailed, NameInUse, NotFound, TimedOut, WrongState

MADE_AT = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
FACTS = EngineFacts(
    version="20.10.24",
    api_version="1.41",
    storage_driver="overlay2",
    cgroup_driver="systemd",
    cgroup_version=2,
    data_root=Path("/var/lib/docker"),
    memory_mib=1024,
    enforced={"memory": True, "swap": True, "cpu": True, "pids": True, "disk": False},
)


@dataclass
class Container:
    """One container: what it was made from, and how it stands."""

    id: str
    name: str
    plan: ContainerPlan
    files: Files
    state: State = State.CREATED
    exit_code: int | None = None
    pid: int | None = None
    log: bytes = b""
    cpu_ns: int = 0
    env: dict[str, str] = field(default_factory=dict)


class FakeEngine:
    """:class:`zun_arm.core.seams.Engine` without Docker. ``archives`` are what a hostile sandbox sends for a path."""

    def __init__(self, trace: Trace | None = None, processes: Processes | None = None) -> None:
        self.trace = trace or Trace()
        self.processes = processes or Processes()
        self.containers: dict[str, Container] = {}
        self.unreadable: frozenset[str] = frozenset()
        self.told = FACTS
        self.archives: dict[str, bytes] = {}
        self._images: dict[str, tuple[Image, Files]] = {}
        self._made = 0

    # What it is

    def facts(self) -> EngineFacts:
        with self.trace.step("engine.facts"):
            return self.told

    # Images

    def add_image(self, *names: str, labelled: str | None, **config: object) -> Image:
        """An image as ``docker load`` leaves it; a name another image has goes over to this one."""
        image = Image(
            id="",
            names=names,
            labelled=labelled,
            platform=None,
            isa=None,
            size_mib=2.0,
            created_at=MADE_AT,
            **config,  # type: ignore[arg-type]
        )
        return self._keep(replace(image, id=_digest(image)), Files())

    def image(self, reference: str) -> Image:
        with self.trace.step("engine.image"):
            return self._find(reference)[0]

    def images(self) -> list[Image]:
        with self.trace.step("engine.images"):
            return [image for image, _files in self._images.values() if image.names]

    def load_image(self, stream: BinaryIO) -> str:
        with self.trace.step("engine.load_image"):
            try:
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    member = next(iter(tar))
                    content = tar.extractfile(member)
                    assert content is not None
                    told = json.loads(content.read())
            except (tarfile.TarError, ValueError) as err:
                raise EngineFailed(f"Docker refused the archive: {err}") from err
            image = Image(
                id=told["id"],
                names=tuple(told["names"]),
                labelled=told["labelled"],
                platform=None,
                isa=None,
                size_mib=told["size_mib"],
                created_at=MADE_AT,
                entrypoint=tuple(told["entrypoint"]),
                command=tuple(told["command"]),
                user=told["user"],
                labels=told["labels"],
            )
            return self._keep(image, Files()).id

    def save_image(self, reference: str) -> Iterator[bytes]:
        with self.trace.step("engine.save_image"):
            image = self._find(reference)[0]
            told = {
                "id": image.id,
                "names": image.names,
                "labelled": image.labelled,
                "size_mib": image.size_mib,
                "entrypoint": image.entrypoint,
                "command": image.command,
                "user": image.user,
                "labels": dict(image.labels),
            }
            text, packed = json.dumps(told).encode(), io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as tar:
                member = tarfile.TarInfo("manifest.json")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
            whole = packed.getvalue()
            yield from (whole[at : at + 1000] for at in range(0, len(whole), 1000))

    def remove_image(self, reference: str) -> None:
        with self.trace.step("engine.remove_image"):
            image, files = self._find(reference)
            others = tuple(name for name in image.names if name != _full(reference))
            by_name = len(others) < len(image.names)
            if by_name and others:
                self._images[image.id] = (replace(image, names=others), files)
                return
            if any(container.plan.image.id == image.id for container in self.containers.values()):
                raise WrongState(f"the image {reference!r}: conflict: a container is using it")
            del self._images[image.id]

    def tag_image(self, image_id: str, name: str) -> None:
        with self.trace.step("engine.tag_image"):
            image, files = self._find(image_id)
            self._keep(replace(image, names=tuple(dict.fromkeys((*image.names, _full(name))))), files)

    def _keep(self, image: Image, files: Files) -> Image:
        image = replace(image, names=tuple(_full(name) for name in image.names))
        for other, its_files in list(self._images.values()):
            left = tuple(name for name in other.names if name not in image.names)
            self._images[other.id] = (replace(other, names=left), its_files)
        self._images[image.id] = (image, files)
        return image

    def _find(self, reference: str) -> tuple[Image, Files]:
        for image, files in self._images.values():
            short = image.id.removeprefix("sha256:")
            if (
                _full(reference) in image.names
                or reference == image.id
                or (len(reference) >= 12 and short.startswith(reference))
            ):
                return image, files
        raise NotFound(f"there is no image {reference!r}", hint="zun-arm image list shows those there are")

    # Sandboxes

    def sandboxes(self) -> list[Sandbox]:
        with self.trace.step("engine.sandboxes"):
            return sorted((_sandbox(container) for container in self.containers.values()), key=lambda one: one.name)

    def sandbox_ids(self) -> frozenset[str]:
        with self.trace.step("engine.sandbox_ids"):
            return frozenset(container.plan.record.id for container in self.containers.values()) | self.unreadable

    def sandbox(self, reference: str) -> Sandbox:
        with self.trace.step("engine.sandbox"):
            everything = [_sandbox(container) for container in self.containers.values()]
            named = [sandbox for sandbox in everything if sandbox.name == reference]
            begun = [sandbox for sandbox in everything if len(reference) >= 8 and sandbox.id.startswith(reference)]
            if named or len(begun) == 1:
                return (named or begun)[0]
            raise NotFound(f"there is no sandbox {reference!r}", hint="zun-arm list shows those there are")

    def create(self, plan: ContainerPlan) -> str:
        with self.trace.step("engine.create"):
            self._check_name(plan.name)
            self._made += 1
            container_id = hashlib.sha256(f"{self._made} {plan.name}".encode()).hexdigest()
            files = self._find(plan.image.id)[1].copy()
            env = dict(plan.record.env)
            self.containers[container_id] = Container(container_id, plan.name, plan, files, env=env)
            return container_id

    def start(self, container_id: str, born: Callable[[int], None]) -> int:
        with self.trace.step("engine.start"):
            container = self._container(container_id)
            if container.state == State.PAUSED:
                raise WrongState("the sandbox: cannot start a paused container, try unpause instead")
            if container.state != State.RUNNING:
                container.state, container.exit_code = State.RUNNING, None
                process = self.processes.spawn(
                    container.plan.record.id, gated=bool(container.plan.entrypoint), go=lambda: self._run(container)
                )
                # A program that ended at once has no pid any more.
                container.pid = process.pid if container.state == State.RUNNING else None
                if container.pid is None:
                    self.processes.end(process.pid)
            if container.pid is None:
                raise WrongState("the sandbox ended as soon as it was started", hint="zun-arm logs NAME")
            born(container.pid)
            return container.pid

    def _run(self, container: Container) -> None:
        outcome = programs.run(container.plan.command, container.env)
        container.log += outcome.stdout + outcome.stderr
        if outcome.code is not None:
            self._end(container, outcome.code)

    def pid(self, container_id: str) -> int | None:
        with self.trace.step("engine.pid"):
            return self._container(container_id).pid

    def stop(self, container_id: str, *, timeout_s: int) -> None:
        with self.trace.step("engine.stop"):
            container = self._container(container_id)
            if container.state in (State.RUNNING, State.PAUSED):
                self._end(container, 143 if timeout_s else 137)

    def kill(self, name: str, code: int = 137) -> None:
        """A first process ends behind zun-arm's back."""
        self._end(next(one for one in self.containers.values() if one.name == name), code)

    def _end(self, container: Container, code: int) -> None:
        self.processes.end(container.pid)
        container.state, container.exit_code, container.pid = State.EXITED, code, None

    def pause(self, container_id: str) -> None:
        with self.trace.step("engine.pause"):
            container = self._container(container_id)
            if container.state != State.RUNNING:
                raise WrongState(f"the sandbox: container is {container.state}, not running")
            container.state = State.PAUSED

    def unpause(self, container_id: str) -> None:
        with self.trace.step("engine.unpause"):
            container = self._container(container_id)
            if container.state != State.PAUSED:
                raise WrongState("the sandbox: container is not paused")
            container.state = State.RUNNING

    def rename(self, container_id: str, name: str) -> None:
        with self.trace.step("engine.rename"):
            container = self._container(container_id)
            self._check_name(name)
            container.name = name

    def remove(self, container_id: str) -> None:
        with self.trace.step("engine.remove"):
            container = self.containers.pop(container_id, None)
            if container is not None:
                self.processes.end(container.pid)

    def remove_sandbox(self, sandbox_id: str) -> None:
        with self.trace.step("engine.remove_sandbox"):
            for container in list(self.containers.values()):
                if container.plan.record.id == sandbox_id:
                    self.processes.end(container.pid)
                    del self.containers[container.id]

    def wait(self, container_id: str, *, timeout_s: float | None) -> int:
        with self.trace.step("engine.wait"):
            container = self._container(container_id)
            if container.exit_code is None:
                assert timeout_s is not None, "nothing in this fake would ever end the wait"
                raise TimedOut(f"the sandbox still ran after {timeout_s:g} s")
            return container.exit_code

    def logs(self, container_id: str, *, tail: int | None, follow: bool) -> Iterator[bytes]:
        with self.trace.step("engine.logs"):
            lines = self._container(container_id).log.splitlines(keepends=True)
            yield from lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]

    def snapshot(self, sandbox: Sandbox, name: str) -> str:
        with self.trace.step("engine.snapshot"):
            container = self._container(sandbox.container_id)
            original = container.plan.image
            image = replace(original, names=(name,), id=_digest(replace(original, names=(name, container.id))))
            return self._keep(image, container.files.copy()).id

    # Files

    def put_archive(self, container_id: str, directory: str, archive: bytes | BinaryIO) -> None:
        with self.trace.step("engine.put_archive"):
            self._container(container_id).files.put(directory, archive)

    def get_archive(self, container_id: str, path: str) -> Iterator[bytes]:
        with self.trace.step("engine.get_archive"):
            packed = self.archives.get(path) or self._container(container_id).files.get(path)
            yield from (packed[at : at + 700] for at in range(0, len(packed), 700))

    def is_directory(self, container_id: str, path: str) -> bool:
        with self.trace.step("engine.is_directory"):
            return self._container(container_id).files.is_directory(path)

    # What runs in it

    def usage(self, container_id: str) -> Usage:
        with self.trace.step("engine.usage"):
            container = self.containers.get(container_id)
            if container is None or container.pid is None:
                raise WrongState("the sandbox is not running: it uses nothing", hint="zun-arm start NAME")
            container.cpu_ns += 1_000_000
            return Usage(memory_bytes=3 * 1024 * 1024, cpu_ns=container.cpu_ns, pids=2)

    def exec(
        self, container_id: str, command: list[str], *, tty: bool, stdin: bool, user: str, env: Mapping[str, str]
    ) -> FakeStreams:
        with self.trace.step("engine.exec"):
            container = self._container(container_id)
            if container.state != State.RUNNING:
                raise WrongState(f"the program: container {container_id} is {container.state}")
            return FakeStreams(programs.run(tuple(command), {**container.env, **env}), tty=tty)

    def attach(self, container_id: str, *, tty: bool) -> FakeStreams:
        with self.trace.step("engine.attach"):
            self._container(container_id)
            return FakeStreams(programs.Outcome(code=None), tty=tty)

    def _container(self, container_id: str) -> Container:
        if container_id not in self.containers:
            raise NotFound(f"the sandbox: No such container: {container_id}")
        return self.containers[container_id]

    def _check_name(self, name: str) -> None:
        if any(container.name == name for container in self.containers.values()):
            raise NameInUse(f"the name {name!r} is in use", hint="choose another name")


def _sandbox(container: Container) -> Sandbox:
    return Sandbox(
        name=container.name,
        container_id=container.id,
        state=container.state,
        created_at=MADE_AT,
        exit_code=container.exit_code,
        record=container.plan.record,
    )


def _full(reference: str) -> str:
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def _digest(image: Image) -> str:
    return "sha256:" + hashlib.sha256(re.sub(r"id='[^']*'", "", repr(image)).encode()).hexdigest()
