"""A sandbox's record in its container's labels: the one truth about sandboxes, which no lost file can take away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zun_arm.core.model import Emulator, Execution, Limits, Port, Publish, Record
from zun_arm.core.platforms import Isa
from zun_arm.errors import ZunArmError

#: The sandbox's id; a container without it (or with an empty one) is not ours.
SANDBOX_LABEL = "zun-arm.sandbox"
RECORD_LABEL = "zun-arm.record"
#: Containers are called ``zun-arm-<name of the sandbox>``.
NAME_PREFIX = "zun-arm-"
_FORMAT = 1


def to_labels(record: Record) -> dict[str, str]:
    """The labels that hold a record."""
    told: dict[str, Any] = {
        "format": _FORMAT,
        "image": record.image,
        "platform": record.platform,
        "execution": record.execution.value,
        "memory_mib": record.limits.memory_mib,
        "vcpus": record.limits.vcpus,
        "pids": record.limits.pids,
        "disk_mib": record.limits.disk_mib,
        "port": {
            "address": record.port.address,
            "prefix": record.port.prefix,
            "gateway": record.port.gateway,
            "mac": record.port.mac,
            "mtu": record.port.mtu,
        },
        "publish": [[item.host_port, item.sandbox_port, item.protocol] for item in record.publish],
        "ssh_keys": list(record.ssh_keys),
        "expires_at": record.expires_at.isoformat() if record.expires_at else None,
        "env": dict(record.env),
        "command": list(record.command),
        "tty": record.tty,
    }
    if record.emulator is not None:
        emulator = record.emulator
        told["emulator"] = {
            "name": emulator.name,
            "isa": emulator.isa.value,
            "interpreter": emulator.interpreter,
            "flags": emulator.flags,
            "version": emulator.version,
            "cpu": emulator.cpu,
        }
    return {SANDBOX_LABEL: record.id, RECORD_LABEL: json.dumps(told, separators=(",", ":"))}


def from_labels(labels: Mapping[str, str]) -> Record | None:
    """The record in a container's labels; None when the container is not ours or its record is unreadable."""
    sandbox_id = labels.get(SANDBOX_LABEL)
    if not sandbox_id:
        return None
    try:
        told = json.loads(labels[RECORD_LABEL])
        if told["format"] != _FORMAT:
            return None
        return _record(sandbox_id, told)
    except (KeyError, TypeError, ValueError, ZunArmError):
        return None


def _record(sandbox_id: str, told: Mapping[str, Any]) -> Record:
    emulator = told.get("emulator")
    return Record(
        id=sandbox_id,
        image=told["image"],
        platform=told["platform"],
        execution=Execution(told["execution"]),
        emulator=Emulator(**{**emulator, "isa": Isa(emulator["isa"])}) if emulator else None,
        limits=Limits(memory_mib=told["memory_mib"], vcpus=told["vcpus"], pids=told["pids"], disk_mib=told["disk_mib"]),
        port=Port(**told["port"]),
        publish=tuple(Publish(host_port=h, sandbox_port=s, protocol=p) for h, s, p in told["publish"]),
        ssh_keys=tuple(told["ssh_keys"]),
        expires_at=datetime.fromisoformat(told["expires_at"]) if told["expires_at"] else None,
        env=told["env"],
        command=tuple(told["command"]),
        tty=told["tty"],
    )
