"""Docker as :class:`zun_arm.core.seams.Engine`: only containers that carry our label are ever listed or touched."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from zun_arm.core.keys import SSH_USER_LABEL
from zun_arm.core.model import Image, Sandbox, State
from zun_arm.core.seams import ContainerPlan, EngineFacts, Usage
from zun_arm.engine import plans
from zun_arm.engine.cgroups import Cgroup
from zun_arm.engine.client import Connection, translated
from zun_arm.engine.images import EngineImages
from zun_arm.engine.records import NAME_PREFIX, RECORD_LABEL, SANDBOX_LABEL, from_labels
from zun_arm.engine.streams import Attachment
from zun_arm.errors import NameInUse, NotFound, TimedOut, WrongState

_ID = re.compile(r"[0-9a-f][0-9a-f-]{7,35}")
_EXITED = re.compile(r"Exited \((-?\d+)\)")
_MIB = 1024 * 1024
_OK = 200
#: Seconds before the first look for the first process of a container that starts, and between two looks.
_BIRTH_PAUSE_S, _BIRTH_POLL_S = 0.03, 0.002


class DockerEngine:
    """One Docker Engine. Safe to use from several threads."""

    def __init__(self, host: str, timeout_s: int) -> None:
        self.connection = Connection(host, timeout_s)
        self._images = EngineImages(self.connection)
        self._facts: EngineFacts | None = None

    # What it is

    def facts(self) -> EngineFacts:
        """The engine and the limits it enforces; asked once in a process."""
        if self._facts is None:
            with translated("Docker"):
                self._facts = _facts(self.connection.api.info(), self.connection.api.api_version)
        return self._facts

    # Images

    def image(self, reference: str) -> Image:
        """The image of that name or id."""
        return self._images.get(reference)

    def images(self) -> list[Image]:
        """Every image with a name."""
        return self._images.all()

    def load_image(self, stream: BinaryIO) -> str:
        """Load a docker-archive; returns the image's id."""
        return self._images.load(stream)

    def save_image(self, reference: str) -> Iterator[bytes]:
        """An image as a docker-archive."""
        return self._images.save(reference)

    def remove_image(self, reference: str) -> None:
        """Remove an image."""
        self._images.remove(reference)

    def tag_image(self, image_id: str, name: str) -> None:
        """Give an image a name."""
        self._images.tag(image_id, name)

    # Sandboxes

    def sandboxes(self) -> list[Sandbox]:
        """All of them, by one request."""
        return self._listed({"label": [SANDBOX_LABEL]})

    def sandbox_ids(self) -> frozenset[str]:
        """The ids that containers carry, also those of containers whose name or record we cannot read."""
        with translated("the list of sandboxes"):
            listed = self.connection.api.containers(all=True, filters={"label": [SANDBOX_LABEL]})
        return frozenset((item.get("Labels") or {}).get(SANDBOX_LABEL, "") for item in listed) - {""}

    def sandbox(self, reference: str) -> Sandbox:
        """The sandbox of that name, id, or beginning of an id (8 characters or more)."""
        named = self._listed({"label": [SANDBOX_LABEL], "name": [f"^/{NAME_PREFIX}{re.escape(reference)}$"]})
        if named:
            return named[0]
        if _ID.fullmatch(reference):
            found = [sandbox for sandbox in self.sandboxes() if sandbox.id.startswith(reference)]
            if len(found) == 1:
                return found[0]
        raise NotFound(f"there is no sandbox {reference!r}", hint="zun-arm list shows those there are")

    def _listed(self, filters: dict[str, list[str]]) -> list[Sandbox]:
        with translated("the list of sandboxes"):
            listed = self.connection.api.containers(all=True, filters=filters)
        found = [_sandbox(item) for item in listed]
        return sorted((sandbox for sandbox in found if sandbox is not None), key=lambda sandbox: sandbox.name)

    def create(self, plan: ContainerPlan) -> str:
        """Create the container and return its id; :class:`NameInUse` when the name is taken."""
        api = self.connection.api
        try:
            with translated(f"sandbox {plan.name!r}"):
                # The SDK's create_container() has no NetworkDisabled together with our mounts; its own request does.
                made = api.create_container_from_config(plans.body(plan), plans.container_name(plan.name))
        except NameInUse as err:
            raise NameInUse(
                f"the name {plan.name!r} is in use",
                hint="choose another name; zun-arm list shows the sandboxes (another container may be called zun-arm-NAME)",
            ) from err
        return str(made["Id"])

    def start(self, container_id: str, born: Callable[[int], None]) -> int:
        """Start the container; returns the pid of its first process on this host.

        ``born`` is called with it as soon as that process has its namespaces, while Docker still completes the start.
        """
        with ThreadPoolExecutor(1, "zun-arm-start") as worker:
            started = worker.submit(self._start, container_id)
            pid = self._await_birth(container_id, started)
            if pid is not None:
                born(pid)
            started.result()
        if pid is None:  # an engine whose cgroups lie where we do not look
            pid = self.pid(container_id)
            if pid is None:
                raise WrongState(
                    "the sandbox ended as soon as it was started", hint="zun-arm logs NAME shows its last words"
                )
            born(pid)
        return pid

    def _await_birth(self, container_id: str, started: Future[None]) -> int | None:
        """The first process, once it has its namespaces; None when the start ended without one being seen.

        Looking costs time that Docker needs on a small board: it begins late, and grows rarer.
        """
        since = time.monotonic()
        pause_s = _BIRTH_PAUSE_S
        while not started.done():
            time.sleep(pause_s)
            pid = self._cgroup(container_id).first_process()
            if pid is not None:
                return pid
            pause_s = max(_BIRTH_POLL_S, 0.05 * (time.monotonic() - since))
        return self._cgroup(container_id).first_process()

    def _start(self, container_id: str) -> None:
        with translated("the sandbox"):
            self.connection.api.start(container_id)

    def _cgroup(self, container_id: str) -> Cgroup:
        facts = self.facts()
        return Cgroup(container_id, facts.cgroup_driver, facts.cgroup_version)

    def pid(self, container_id: str) -> int | None:
        """The pid of the first process, or None when it does not run."""
        with translated("the sandbox"):
            state = self.connection.api.inspect_container(container_id)["State"]
        return int(state["Pid"]) or None

    def stop(self, container_id: str, *, timeout_s: int) -> None:
        """Ask the first process to end, and end it after ``timeout_s`` seconds."""
        with translated("the sandbox"):
            self.connection.api.stop(container_id, timeout=timeout_s)

    def pause(self, container_id: str) -> None:
        """Freeze every process."""
        with translated("the sandbox"):
            self.connection.api.pause(container_id)

    def unpause(self, container_id: str) -> None:
        """Let every process go on."""
        with translated("the sandbox"):
            self.connection.api.unpause(container_id)

    def rename(self, container_id: str, name: str) -> None:
        """Give the sandbox another name; :class:`NameInUse` when it is taken."""
        try:
            with translated("the sandbox"):
                self.connection.api.rename(container_id, plans.container_name(name))
        except NameInUse as err:
            raise NameInUse(f"the name {name!r} is in use", hint="choose another name") from err

    def remove(self, container_id: str) -> None:
        """Remove a container with its volumes, running or not; gone already is no error."""
        with suppress(NotFound), translated("the sandbox"):
            try:
                self.connection.api.remove_container(container_id, force=True, v=True)
            except Exception as err:
                if "already in progress" not in str(err):
                    raise

    def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove whatever container carries this sandbox id; none is no error."""
        with translated("the sandbox"):
            for item in self.connection.api.containers(all=True, filters={"label": [f"{SANDBOX_LABEL}={sandbox_id}"]}):
                self.remove(item["Id"])

    def wait(self, container_id: str, *, timeout_s: float | None) -> int:
        """The first process's exit code, once it has ended; :class:`TimedOut` after ``timeout_s`` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with translated("the sandbox"):
                state = self.connection.api.inspect_container(container_id)["State"]
            if state["Status"] in ("exited", "dead"):
                return int(state["ExitCode"])
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut(f"the sandbox still ran after {timeout_s:g} s")
            time.sleep(0.1)

    def logs(self, container_id: str, *, tail: int | None, follow: bool) -> Iterator[bytes]:
        """Pieces of what the first process wrote, as they come when ``follow``."""
        with translated("the log"):
            pieces: Iterator[bytes] = self.connection.api.logs(
                container_id, stream=True, follow=follow, tail="all" if tail is None else tail
            )
            yield from pieces

    def snapshot(self, sandbox: Sandbox, name: str) -> str:
        """Keep the sandbox's file system as an image; returns its id. The gate and our labels do not get into it."""
        api = self.connection.api
        repository, _, tag = name.partition(":")
        with translated(f"the snapshot {name!r}"):
            container = api.inspect_container(sandbox.container_id)
            original = api.inspect_image(container["Image"]).get("Config") or {}
            kept = {key: original.get(key) for key in ("User", "WorkingDir", "ExposedPorts", "StopSignal")}
            # Docker fills what is absent from the container's own configuration, our gate among it: empty is not absent.
            programs = {"Entrypoint": original.get("Entrypoint") or [], "Cmd": original.get("Cmd") or []}
            # The same for variables of --env: passwords may be among them. Emptied, they tell nothing.
            env = dict(item.partition("=")[::2] for item in original.get("Env") or [])
            kept["Env"] = [f"{key}={value}" for key, value in {**dict.fromkeys(sandbox.record.env, ""), **env}.items()]
            # Labels of the container cannot be kept out of the image, only emptied; an empty label means "not ours".
            labels = {SANDBOX_LABEL: "", RECORD_LABEL: "", **(original.get("Labels") or {})}
            made = api.commit(
                sandbox.container_id, repository, tag or "latest", conf={**kept, **programs, "Labels": labels}
            )
        return str(made["Id"])

    def put_archive(self, container_id: str, directory: str, archive: bytes | BinaryIO) -> None:
        """Unpack a tar below a directory of the sandbox."""
        with translated(f"the directory {directory!r} in the sandbox"):
            self.connection.api.put_archive(container_id, directory, archive)

    def get_archive(self, container_id: str, path: str) -> Iterator[bytes]:
        """A file or directory of the sandbox as a tar."""
        with translated(f"the path {path!r} in the sandbox"):
            pieces, _stat = self.connection.api.get_archive(container_id, path)
            yield from pieces

    def is_directory(self, container_id: str, path: str) -> bool:
        """Whether a path of the sandbox is a directory, or a link to one; False when it is not there."""
        api = self.connection.api
        url = f"{api.base_url}/v{api.api_version}/containers/{container_id}/archive"
        with translated(f"the path {path!r} in the sandbox"):
            return api.head(url, params={"path": f"{path}/."}).status_code == _OK

    def usage(self, container_id: str) -> Usage:
        """What a running sandbox uses now."""
        return self._cgroup(container_id).usage()

    # Programs inside

    def exec(
        self, container_id: str, command: list[str], *, tty: bool, stdin: bool, user: str, env: Mapping[str, str]
    ) -> Attachment:
        """Start a program in a running sandbox and connect to it."""
        api = self.connection.api
        with translated("the program"):
            made = api.exec_create(container_id, command, stdin=stdin, tty=tty, user=user, environment=dict(env))
            raw = api.exec_start(made["Id"], tty=tty, socket=True)
        return Attachment(
            raw,
            tty=tty,
            resize=lambda rows, columns: api.exec_resize(made["Id"], rows, columns),
            code=lambda: self._exec_code(made["Id"]),
        )

    def _exec_code(self, exec_id: str) -> int:
        deadline = time.monotonic() + 10
        while True:
            with translated("the program"):
                told = self.connection.api.exec_inspect(exec_id)
            if not told["Running"] and told["ExitCode"] is not None:
                return int(told["ExitCode"])
            if time.monotonic() > deadline:
                raise TimedOut("the program's output ended, but the program did not within 10 s")
            time.sleep(0.02)

    def attach(self, container_id: str, *, tty: bool) -> Attachment:
        """Connect to the first process's own input and output."""
        api = self.connection.api
        with translated("the console"):
            raw = api.attach_socket(container_id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 0})
        return Attachment(
            raw,
            tty=tty,
            resize=lambda rows, columns: api.resize(container_id, rows, columns),
            code=lambda: self.wait(container_id, timeout_s=None),
        )


def _facts(info: dict[str, Any], api_version: str) -> EngineFacts:
    driver = info.get("Driver", "")
    backing = dict(info.get("DriverStatus") or []).get("Backing Filesystem", "")
    return EngineFacts(
        version=info.get("ServerVersion", ""),
        api_version=api_version,
        storage_driver=driver,
        cgroup_driver=info.get("CgroupDriver", ""),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        data_root=Path(info.get("DockerRootDir") or "/var/lib/docker"),
        memory_mib=int(info.get("MemTotal", 0)) // _MIB,
        enforced={
            "memory": bool(info.get("MemoryLimit")),
            "swap": bool(info.get("SwapLimit")),
            "cpu": bool(info.get("CpuCfsPeriod")) and bool(info.get("CpuCfsQuota")),
            "pids": bool(info.get("PidsLimit")),
            # overlay2 can on XFS with project quotas only; whether they are on, Docker says when it creates.
            "disk": driver in ("btrfs", "zfs") or (driver == "overlay2" and backing == "xfs"),
        },
        warnings=tuple(info.get("Warnings") or ()),
    )


def _sandbox(item: dict[str, Any]) -> Sandbox | None:
    record = from_labels(item.get("Labels") or {})
    names = [name.lstrip("/") for name in item.get("Names") or ()]
    name = next((name.removeprefix(NAME_PREFIX) for name in names if name.startswith(NAME_PREFIX)), None)
    if record is None or name is None:
        return None
    code = _EXITED.match(item.get("Status") or "")
    return Sandbox(
        name=name,
        container_id=item["Id"],
        state=State(item["State"]),
        created_at=datetime.fromtimestamp(item["Created"], UTC),
        exit_code=int(code[1]) if code else None,
        record=record,
        ssh_user=(item.get("Labels") or {}).get(SSH_USER_LABEL, ""),
    )
