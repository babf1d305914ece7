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

Remedy = Callable[[Host, Sandbox], None]

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


def reconcile(host: Host, *, repair: bool = True, at: datetime | None = None) -> list[Finding]:
    """Find and (with ``repair``) put right: half-made and expired sandboxes, missing networks, leftovers.

    ``at`` is the moment lifetimes are compared with; None means now. A launch under way is left alone.
    """
    moment = at or now()
    findings = [*_sandboxes(host, moment, repair), *_leftovers(host, repair)]
    for finding in findings:
        LOG.info(
            "%s %s: %s%s", finding.kind, finding.what, finding.action, f" ({finding.error})" if finding.error else ""
        )
    return findings


def _sandboxes(host: Host, moment: datetime, repair: bool) -> Iterator[Finding]:
    sandboxes = host.engine.sandboxes()
    names = {sandbox.name: sandbox for sandbox in sandboxes}
    for sandbox in sandboxes:
        if not _is_idle(host, sandbox.id):
            continue
        if sandbox.name.endswith(launching.OLD_SUFFIX):
            yield _do(host, repair, "half-done rebuild", sandbox, *_undo_rebuild(names, sandbox))
        elif sandbox.state == State.CREATED:
            yield _do(host, repair, "half-made sandbox", sandbox, "delete", launching.delete)
        elif sandbox.record.expires_at and sandbox.record.expires_at <= moment:
            yield _do(host, repair, "expired sandbox", sandbox, "delete", launching.delete)
        elif sandbox.state == State.RUNNING:
            pid = host.engine.pid(sandbox.container_id)
            if pid is not None and not host.network.plugged(pid):
                yield _do(host, repair, "sandbox without network", sandbox, "connect", _connect)


def _undo_rebuild(names: dict[str, Sandbox], old: Sandbox) -> tuple[str, Remedy]:
    current = names.get(old.name.removesuffix(launching.OLD_SUFFIX))
    if current is not None and current.state != State.CREATED:
        return "delete the old one", lambda host, sandbox: host.engine.remove(sandbox.container_id)

    def put_back(host: Host, sandbox: Sandbox) -> None:
        if current is not None:
            host.engine.remove(current.container_id)
        host.engine.rename(sandbox.container_id, sandbox.name.removesuffix(launching.OLD_SUFFIX))

    return "put the old one back", put_back


def _connect(host: Host, sandbox: Sandbox) -> None:
    pid = host.engine.pid(sandbox.container_id)
    if pid is not None:
        launching.connect(host, sandbox, pid)


def _do(host: Host, repair: bool, kind: str, sandbox: Sandbox, action: str, remedy: Remedy) -> Finding:
    error = None
    if repair:
        try:
            remedy(host, sandbox)
        except ZunArmError as err:
            error = str(err)
    return Finding(kind=kind, what=sandbox.name, action=action, error=error)


def _leftovers(host: Host, repair: bool) -> Iterator[Finding]:
    idle = [leftover for leftover in _unused(host) if _is_idle(host, leftover.sandbox_id)]
    # A launch may have ended between the two looks: what its sandbox now uses is no leftover any more.
    for leftover in [leftover for leftover in _unused(host) if leftover in idle] if idle else []:
        error = None
        if repair:
            try:
                host.network.clear(leftover)
                if leftover.sandbox_id is not None:
                    host.locks.forget(leftover.sandbox_id)
            except ZunArmError as err:
                error = str(err)
        yield Finding(kind=leftover.kind, what=leftover.what, action="remove", error=error)


def _unused(host: Host) -> list[Leftover]:
    return host.network.leftovers({sandbox.id: sandbox.record.port for sandbox in host.engine.sandboxes()})


def _is_idle(host: Host, sandbox_id: str | None) -> bool:
    """Whether nobody works on the sandbox just now."""
    if sandbox_id is None:
        return True
    with host.locks.hold(sandbox_id, blocking=False) as free:
        return free
