"""Make reality equal the labels: repair what a crash, a reboot or somebody's ``docker start`` left behind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from zun_arm.core import launching
from zun_arm.core.model import Sandbox, State
from zun_arm.core.policy import Host
from zun_arm.core.seams import Leftover
from zun_arm.core.units import now
from zun_arm.errors import ZunArmError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was not as it should be. ``error`` is None when it was put right (or only looked at)."""

    kind: str
    what: str
    action: str
    error: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The form of ``zun-arm reconcile --format json``."""
        return {"kind": self.kind, "what": self.what, "action": self.action, "error": self.error}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repair:
    """What is wrong with a sandbox, and what puts it right."""

    kind: str
    what: str
    action: str
    do: Callable[[], None]


def reconcile(host: Host, *, repair: bool = True, at: datetime | None = None) -> list[Finding]:
    """Find and (with ``repair``) put right: half-made and expired sandboxes, missing networks, leftovers.

    ``at`` is the moment lifetimes are compared with; None means now. What somebody works on just now is left alone.
    """
    if repair and host.engine.sandboxes():
        # Rules are nobody's in particular: a firewall that was loaded anew has taken them along.
        launching.ensure_network(host, thorough=True)
    findings = [*_sandboxes(host, at or now(), repair), *_leftovers(host, repair)]
    for finding in findings:
        LOG.info(
            "%s %s: %s%s", finding.kind, finding.what, finding.action, f" ({finding.error})" if finding.error else ""
        )
    return findings


def _sandboxes(host: Host, moment: datetime, repair: bool) -> Iterator[Finding]:
    seen = host.engine.sandboxes()
    for sandbox_id in dict.fromkeys(sandbox.id for sandbox in seen):
        if _diagnose(host, [sandbox for sandbox in seen if sandbox.id == sandbox_id], moment) is None:
            continue
        with host.locks.hold(sandbox_id, blocking=False) as free:
            # Looked at again under the lock: a launch or rebuild may have ended since.
            while free and (found := _diagnose(host, _containers(host, sandbox_id), moment)) is not None:
                error = _try(found.do) if repair else None
                yield Finding(kind=found.kind, what=found.what, action=found.action, error=error)
                if error is not None or not repair:
                    break


def _containers(host: Host, sandbox_id: str) -> list[Sandbox]:
    return [sandbox for sandbox in host.engine.sandboxes() if sandbox.id == sandbox_id]


def _diagnose(host: Host, same: list[Sandbox], moment: datetime) -> _Repair | None:
    """What is wrong with the containers of one sandbox: one, or two when a rebuild was broken off."""
    old = next((sandbox for sandbox in same if sandbox.name.endswith(launching.OLD_SUFFIX)), None)
    new = next((sandbox for sandbox in same if sandbox is not old), None)
    if old is not None:
        return _undo_rebuild(host, old, new)
    if new is None:
        return None
    if new.state == State.CREATED or (new.state == State.EXITED and host.network.never_let(new.id)):
        kind = "half-made sandbox"
        return _Repair(kind=kind, what=new.name, action="delete", do=lambda: launching.delete_held(host, new))
    if new.record.expires_at and new.record.expires_at <= moment:
        kind = "expired sandbox"
        return _Repair(kind=kind, what=new.name, action="delete", do=lambda: launching.delete_held(host, new))
    pid = host.engine.pid(new.container_id) if new.state == State.RUNNING else None
    if pid is not None and not host.network.complete(new.id, pid, new.record.port.address, new.record.publish):
        kind = "sandbox without network"
        return _Repair(kind=kind, what=new.name, action="connect", do=lambda: launching.connect_held(host, new, pid))
    return None


def _undo_rebuild(host: Host, old: Sandbox, new: Sandbox | None) -> _Repair:
    kind = "half-done rebuild"
    if new is not None and new.state != State.CREATED:
        action = "delete the old one"
        return _Repair(kind=kind, what=old.name, action=action, do=lambda: host.engine.remove(old.container_id))

    def put_back() -> None:
        if new is not None:
            host.engine.remove(new.container_id)
        launching.put_back_name(host, old)

    return _Repair(kind=kind, what=old.name, action="put the old one back", do=put_back)


def _try(action: Callable[[], None]) -> str | None:
    """Put something right; the error in words when that fails."""
    try:
        action()
    except ZunArmError as err:
        return str(err)
    except OSError as err:
        return f"{err.filename or 'a file'}: {err.strerror}"
    return None


def _leftovers(host: Host, repair: bool) -> Iterator[Finding]:
    by_sandbox: dict[str | None, list[Leftover]] = {}
    for leftover in _unused(host):
        by_sandbox.setdefault(leftover.sandbox_id, []).append(leftover)
    for leftover in by_sandbox.pop(None, []):
        yield _clear(host, leftover, repair)
    for sandbox_id, group in by_sandbox.items():
        assert sandbox_id is not None, "those without were popped"
        with host.locks.hold(sandbox_id, blocking=False) as free:
            # A launch may have ended between the two looks: what its sandbox now uses is no leftover any more.
            again = _unused(host) if free else []
            for leftover in group:
                if leftover in again:
                    yield _clear(host, leftover, repair)
            if free and repair:
                host.locks.forget(sandbox_id)


def _clear(host: Host, leftover: Leftover, repair: bool) -> Finding:
    error = None
    if repair:
        try:
            host.network.clear(leftover)
        except ZunArmError as err:
            error = str(err)
    return Finding(kind=leftover.kind, what=leftover.what, action="remove", error=error)


def _unused(host: Host) -> list[Leftover]:
    found = host.network.leftovers({sandbox.id: sandbox.record.port for sandbox in host.engine.sandboxes()})
    # A container of ours that somebody renamed, or whose record a later version wrote, is no sandbox we know: it may run.
    claimed = host.engine.sandbox_ids() if found else frozenset()
    return [leftover for leftover in found if leftover.sandbox_id not in claimed]
