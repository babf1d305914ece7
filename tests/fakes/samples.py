"""Things to make others from with ``dataclasses.replace``."""

from __future__ import annotations

import uuid
from typing import Any

from zun_arm.core.model import Execution, Image, Limits, Port, Record
from zun_arm.core.platforms import ARM_V7
from zun_arm.core.seams import ContainerPlan

PORT = Port(address="10.203.0.2", prefix=20, gateway="10.203.0.1", mac="0a:5a:0a:cb:00:02")


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "image": "tiny",
        "platform": ARM_V7,
        "execution": Execution.NATIVE,
        "emulator": None,
        "limits": Limits(memory_mib=32, vcpus=0.5, pids=32),
        "port": PORT,
    }
    return Record(**{**fields, **changes})


def plan(image: Image, name: str, *command: str, **changes: Any) -> ContainerPlan:
    """A container without a gate, whose first process is ``command``."""
    return ContainerPlan(
        name=name,
        image=image,
        record=record(**changes),
        entrypoint=(),
        command=command or ("/bin/sleep", "1000"),
        mounts=(),
        no_new_privileges=True,
        log_max_mib=1,
    )
