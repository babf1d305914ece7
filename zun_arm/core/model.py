"""What zun-arm talks about: boards, images, ports and sandboxes. Frozen data, checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from zun_arm.core.platforms import Isa
from zun_arm.errors import BadInput


class Execution(StrEnum):
    """How a board executes a userland's instructions; never left unsaid."""

    NATIVE = "native"
    NATIVE_COMPAT32 = "native-compat32"
    EMULATED = "emulated"


class State(StrEnum):
    """A sandbox's state, in Docker's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A qemu-user the kernel hands foreign programs to (binfmt_misc).

    ``flags`` are the kernel's letters: F (opened at registration, works in containers), P (argv[0] kept),
    O (opened file passed on), C (credentials of the program; without it setuid programs lose their rights).
    ``version`` and ``cpu`` are None when they could not be asked.
    """

    name: str
    isa: Isa
    interpreter: str
    flags: str
    version: str | None = None
    cpu: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """What the user is told about it: version and CPU model."""
        return {"version": self.version, "cpu": self.cpu}


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuGroup:
    """Equal cores of a board; a big.LITTLE board has two groups. ``implementer`` and ``part`` are MIDR fields."""

    name: str
    count: int
    implementer: int | None = None
    part: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Whether and how a board runs one platform. ``execution`` None: it cannot; ``why`` is one sentence."""

    execution: Execution | None
    why: str
    emulator: Emulator | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The form of ``zun-arm board --format json``."""
        return {"execution": self.execution.value if self.execution else None, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a machine is and which platforms it runs.

    ``isa`` comes from the CPU part, never from "CPU architecture"; ``memory_mib`` is what the kernel has;
    ``page_size`` is in bytes (0: not known); ``cgroup_version`` 1, 2 or None (none mounted); ``cgroup_controllers`` are those
    that really limit; ``runs`` has one entry for each of :data:`zun_arm.core.platforms.PLATFORMS`.
    """

    arm: bool
    model: str
    soc: str | None
    cores: int
    cpus: tuple[CpuGroup, ...]
    isa: Isa
    memory_mib: int
    page_size: int
    machine: str
    kernel: str
    cgroup_version: int | None
    cgroup_controllers: tuple[str, ...]
    emulators: tuple[Emulator, ...]
    runs: Mapping[str, Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image the engine holds, and what its ELF files say it is.

    ``labelled`` is the platform its configuration claims (None: none of ours); ``platform`` and ``isa`` are what
    its programs were measured to be (None: not measured yet). ``entrypoint``, ``command``, ``user``, ``env`` and
    ``labels`` are its own configuration. ``size_mib`` is unpacked.
    """

    id: str
    names: tuple[str, ...]
    labelled: str | None
    platform: str | None
    isa: Isa | None
    size_mib: float
    created_at: datetime
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sandbox may use at most: MiB, CPUs (a fraction is a share of one), processes, MiB of disk (None: no limit)."""

    memory_mib: int = 128
    vcpus: float = 1.0
    pids: int = 256
    disk_mib: int | None = None

    def __post_init__(self) -> None:
        if self.memory_mib < 6:  # Docker's own floor
            raise BadInput(f"memory limit of {self.memory_mib} MiB is too small", hint="use at least 6M")
        if not 0.01 <= self.vcpus <= 1024:
            raise BadInput(f"cpu limit of {self.vcpus:g} is out of range", hint="use a number from 0.01 up, as in 0.5")
        if self.pids < 4:
            raise BadInput(f"limit of {self.pids} processes is too small", hint="use at least 4")
        if self.disk_mib is not None and self.disk_mib < 1:
            raise BadInput(f"disk limit of {self.disk_mib} MiB is too small", hint="use at least 1M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A port of the board (``host_port``) that leads to a port of the sandbox; ``protocol`` is tcp or udp."""

    host_port: int
    sandbox_port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.host_port}:{self.sandbox_port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A sandbox's attachment to the network: IPv4 address, prefix length, gateway, MAC, MTU in bytes."""

    address: str
    prefix: int
    gateway: str
    mac: str
    mtu: int = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """What a user asks for. ``name`` None: one is made up. ``platform`` None: the image's own. ``ttl_s`` seconds."""

    image: str
    name: str | None = None
    platform: str | None = None
    limits: Limits = field(default_factory=Limits)
    ssh_keys: tuple[str, ...] = ()
    publish: tuple[Publish, ...] = ()
    ttl_s: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    tty: bool = False

    def __post_init__(self) -> None:
        taken = [(item.protocol, item.host_port) for item in self.publish]
        for protocol, port in taken:
            if taken.count((protocol, port)) > 1:
                raise BadInput(
                    f"port {port}/{protocol} of the board is published twice",
                    hint="give each its own port of the board",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What zun-arm must remember about a sandbox; kept in the container's labels, so nothing else can lose it."""

    id: str
    image: str
    platform: str
    execution: Execution
    emulator: Emulator | None
    limits: Limits
    port: Port
    publish: tuple[Publish, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    expires_at: datetime | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    tty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One running (or stopped) userland, as the engine and its labels tell it. ``ssh_user`` is the image's, if it says."""

    name: str
    container_id: str
    state: State
    created_at: datetime
    exit_code: int | None
    record: Record
    ssh_user: str = ""

    @property
    def id(self) -> str:
        """The sandbox's own id, a UUID; it survives rename and rebuild."""
        return self.record.id

    def as_dict(self) -> dict[str, Any]:
        """The form of every ``--format json``; times in ISO 8601, UTC."""
        record = self.record
        told: dict[str, Any] = {
            "id": record.id,
            "name": self.name,
            "image": record.image,
            "platform": record.platform,
            "execution": record.execution.value,
            "state": self.state.value,
            "address": record.port.address,
            "mac": record.port.mac,
            "memory_mib": record.limits.memory_mib,
            "vcpus": record.limits.vcpus,
            "pids": record.limits.pids,
            "created_at": self.created_at.isoformat(),
            "expires_at": record.expires_at.isoformat() if record.expires_at else None,
            "exit_code": self.exit_code,
        }
        if record.emulator is not None:
            told["emulator"] = record.emulator.as_dict()
        return told
