"""Whether a sandbox fits on this board, and whether its limits would hold."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from zun_arm.core.model import Limits, State
from zun_arm.core.policy import Host
from zun_arm.errors import DoesNotFit, LimitNotEnforced

LOG = logging.getLogger(__name__)

_CURES: Mapping[str, str] = {
    "memory": "the memory cgroup is off: add cgroup_enable=memory to the kernel's command line "
    "(/boot/firmware/cmdline.txt on a Raspberry Pi) and reboot",
    "cpu": "this kernel lacks CONFIG_CFS_BANDWIDTH: install a newer kernel",
    "pids": "this kernel lacks the pids cgroup: install a newer kernel",
    "swap": "add swapaccount=1 to the kernel's command line and reboot, or switch swap off: swapoff -a",
    "disk": "leave --disk out, or put Docker's data on btrfs, or on xfs with project quotas",
}


def check_limits(host: Host, limits: Limits) -> None:
    """:class:`LimitNotEnforced` when this machine would accept a limit and ignore it."""
    facts = host.engine.facts()
    asked = ["memory", "cpu", "pids", *(["disk"] if limits.disk_mib is not None else [])]
    for limit in asked:
        if facts.enforced[limit]:
            continue
        what = f"the {limit} limit would not hold on this machine"
        if limit == "disk":
            what += f" (Docker's storage driver is {facts.storage_driver})"
        elif not host.policy.refuse_unenforced:
            LOG.warning("%s: %s", what, cure(limit))
            continue
        raise LimitNotEnforced(what, hint=cure(limit))


def cure(limit: str) -> str:
    """What makes a limit hold that does not."""
    return _CURES[limit]


def check_room(host: Host, name: str, limits: Limits) -> None:
    """:class:`DoesNotFit` when memory or disk for another sandbox is not there."""
    policy = host.policy
    free_mib = host.board.memory_available_mib() - policy.reserved_memory_mib
    if limits.memory_mib > free_mib:
        running = [sandbox for sandbox in host.engine.sandboxes() if sandbox.state == State.RUNNING]
        names = ", ".join(sandbox.name for sandbox in running[:5])
        stop = f"stop one of: {names}; or " if names else ""
        smaller = f"use --memory {free_mib}M" if free_mib >= 6 else "free some memory"
        raise DoesNotFit(
            f"sandbox {name!r} needs {limits.memory_mib} MiB, {max(0, free_mib)} MiB are free on "
            f"{host.board.describe().model}",
            hint=stop + smaller,
        )
    data_root = host.engine.facts().data_root
    free_disk_mib = host.board.disk_free_mib(data_root) - policy.reserved_disk_mib
    if free_disk_mib < (limits.disk_mib or 0) or free_disk_mib <= 0:
        raise DoesNotFit(
            f"sandbox {name!r} needs {limits.disk_mib or 1} MiB of disk, {max(0, free_disk_mib)} MiB are free in "
            f"{data_root} beside the {policy.reserved_disk_mib} MiB kept for the board",
            hint="delete sandboxes or images (zun-arm image delete), or lower [limits] reserved_disk",
        )
