"""A container plan as the body of Docker's ``POST /containers/create``: safe by default, limits always set."""

from __future__ import annotations

from typing import Any

from zun_arm.core.seams import ContainerPlan
from zun_arm.engine.records import NAME_PREFIX, to_labels

_MIB = 1024 * 1024

#: Less than Docker's default set: no raw sockets, no device nodes, no file capabilities.
CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
)


def container_name(name: str) -> str:
    """The name of a sandbox's container."""
    return NAME_PREFIX + name


def body(plan: ContainerPlan) -> dict[str, Any]:
    """The JSON of the request. Fields: Docker Engine API 1.41, unchanged up to 1.52."""
    record, limits = plan.record, plan.record.limits
    host: dict[str, Any] = {
        # No libnetwork: its hook doubles the time of a start. The network is plugged by us, behind the gate.
        "NetworkMode": "none",
        # An emulated first process that crashes would hang for ever; a native one would reap no zombies.
        "Init": True,
        "Memory": limits.memory_mib * _MIB,
        # Memory and swap together: without it Docker allows as much swap again, on an SD card.
        "MemorySwap": limits.memory_mib * _MIB,
        "NanoCpus": int(limits.vcpus * 1_000_000_000),
        "PidsLimit": limits.pids,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        "SecurityOpt": ["no-new-privileges"] if plan.no_new_privileges else [],
        "LogConfig": {
            "Type": "local",
            "Config": {"max-size": f"{plan.log_max_mib}m", "max-file": "1", "compress": "false"},
        },
        "Mounts": [
            {"Type": "bind", "Source": str(mount.source), "Target": mount.target, "ReadOnly": True}
            for mount in plan.mounts
        ],
    }
    if limits.disk_mib is not None:
        # btrfs counts the image's own layers too, so the image's size comes on top.
        host["StorageOpt"] = {"size": f"{limits.disk_mib + int(plan.image.size_mib) + 1}M"}
    return {
        "Image": plan.image.id,
        "Hostname": plan.name,
        "NetworkDisabled": True,
        "Entrypoint": list(plan.entrypoint),
        "Cmd": list(plan.command),
        "Env": [f"{key}={value}" for key, value in record.env.items()],
        "Labels": to_labels(record),
        "Tty": record.tty,
        "OpenStdin": record.tty,
        "HostConfig": host,
    }
