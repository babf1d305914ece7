"""How a sandbox comes to run, changes and goes: launch, start, stop, rebuild, delete.

Each registers the undoing of a step before it does the step, so that a step which is done but not answered (an
interrupt, an engine that dies) is undone too. What fails while undoing never hides why it was needed.
"""

from __future__ import annotations

import errno
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from types import TracebackType

from zun_arm.core import room, userlands
from zun_arm.core.keys import put_keys
from zun_arm.core.model import Execution, Image, LaunchRequest, Port, Record, Run, Sandbox, State
from zun_arm.core.naming import check_name, made_up_name
from zun_arm.core.policy import Host
from zun_arm.core.seams import ContainerPlan
from zun_arm.core.units import now
from zun_arm.errors import (
    BadImage,
    DoesNotFit,
    HostNotReady,
    NetworkFailed,
    NotFound,
    WrongState,
    ZunArmError,
)

LOG = logging.getLogger(__name__)

NO_NEW_PRIVILEGES_LABEL = "zun-arm.no-new-privileges"
CONSOLE_LABEL = "zun-arm.console"
#: What a sandbox's old container is called while it is rebuilt; no sandbox can have such a name.
OLD_SUFFIX = ".old"
#: Seconds in which Docker carries out a request whose client was interrupted.
_SETTLE_S = 0.5


def launch(host: Host, request: LaunchRequest, *, sandbox_id: str | None = None) -> Sandbox:
    """Create a sandbox and let it run, its network complete before its first process.

    Raises what the user can do something about: :class:`NotFound` (image), :class:`CannotRun`,
    :class:`LimitNotEnforced`, :class:`DoesNotFit`, :class:`NameInUse`. Nothing is left behind then.
    """
    name = check_name(request.name) if request.name else made_up_name()
    image, platform, isa = userlands.find_image(host, request.image, request.platform)
    run = userlands.run_for(host, image, platform, isa)
    room.check_limits(host, request.limits)
    room.check_room(host, name, request.limits)
    new_id = sandbox_id or str(uuid.uuid4())
    with held(host, name, new_id), ExitStack() as undo:
        undo.push(_unmake(host, name, new_id, whole=True))
        ensure_network(host)
        record = _record(request, new_id, platform, run, image, host.network.lease(new_id))
        created_at = now()
        container_id = _create(host, name, image, record, fresh=True)
        pid = _start(host, undo, container_id, record)
        undo.pop_all()
        LOG.info("sandbox %s runs as process %d", name, pid)
    return Sandbox(
        name=name, container_id=container_id, state=State.RUNNING, created_at=created_at, exit_code=None, record=record
    )


def start(host: Host, sandbox: Sandbox) -> None:
    """Let a stopped sandbox run again, with the address it had; one that runs is left alone, or connected if it is not."""
    if sandbox.state == State.PAUSED:
        raise WrongState(f"sandbox {sandbox.name!r} is paused", hint=f"zun-arm unpause {sandbox.name}")
    with held(host, sandbox.name, sandbox.id):
        ensure_network(host)
        start_held(host, _again(host, sandbox))


def restart(host: Host, sandbox: Sandbox, *, timeout_s: int) -> None:
    """Stop and start again."""
    with held(host, sandbox.name, sandbox.id):
        ensure_network(host)
        sandbox = _again(host, sandbox)
        stop_held(host, sandbox, timeout_s=timeout_s)
        start_held(host, sandbox)


def stop(host: Host, sandbox: Sandbox, *, timeout_s: int) -> None:
    """End a sandbox's processes; its file system, address and name stay. One that is stopped is left alone."""
    with held(host, sandbox.name, sandbox.id):
        stop_held(host, _again(host, sandbox), timeout_s=timeout_s)


def rebuild(host: Host, sandbox: Sandbox, image_reference: str | None, *, timeout_s: int) -> Sandbox:
    """Give a sandbox a fresh file system, of the same image or another; name, id, address and limits stay.

    When the new one cannot be made or started, the old one is put back, running if it ran.
    """
    reference = image_reference or sandbox.record.image
    image, platform, isa = userlands.find_image(host, reference, None if image_reference else sandbox.record.platform)
    run = userlands.run_for(host, image, platform, isa)
    record = replace(
        sandbox.record, image=reference, platform=platform, execution=_execution(run), emulator=run.emulator
    )
    with held(host, sandbox.name, sandbox.id), ExitStack() as undo:
        ensure_network(host)
        sandbox = _again(host, sandbox)
        if sandbox.state in (State.RUNNING, State.PAUSED):
            undo.callback(_quietly, start_held, host, sandbox)
            stop_held(host, sandbox, timeout_s=timeout_s)
        undo.callback(_quietly, put_back_name, host, sandbox)
        host.engine.rename(sandbox.container_id, sandbox.name + OLD_SUFFIX)
        undo.push(_unmake(host, sandbox.name, sandbox.id))
        container_id = _create(host, sandbox.name, image, record, fresh=False)
        _start(host, undo, container_id, record)
        undo.pop_all()
        host.engine.remove(sandbox.container_id)
    return replace(sandbox, container_id=container_id, state=State.RUNNING, exit_code=None, record=record)


def delete(host: Host, sandbox: Sandbox) -> None:
    """Remove a sandbox and everything it had: processes, file system, link, address, gate, ports. Twice is no error."""
    with held(host, sandbox.name, sandbox.id):
        delete_held(host, sandbox)


def start_held(host: Host, sandbox: Sandbox) -> None:
    """:func:`start` for one who holds the sandbox's lock."""
    pid = host.engine.pid(sandbox.container_id)
    if pid is not None:
        connect_held(host, sandbox, pid)
        return
    room.check_room(host, sandbox.name, sandbox.record.limits)
    with ExitStack() as undo:
        host.network.prepare(sandbox.id, sandbox.name, sandbox.record.port, fresh=False)
        _start(host, undo, sandbox.container_id, sandbox.record)
        undo.pop_all()


def stop_held(host: Host, sandbox: Sandbox, *, timeout_s: int) -> None:
    """:func:`stop` for one who holds the sandbox's lock."""
    _thaw(host, sandbox)
    host.engine.stop(sandbox.container_id, timeout_s=timeout_s)
    _disconnect(host, sandbox.record)


def delete_held(host: Host, sandbox: Sandbox) -> None:
    """:func:`delete` for one who holds the sandbox's lock."""
    _thaw(host, sandbox)
    # By the sandbox's id: a rebuild may have ended since it was looked up, and given it another container.
    host.engine.remove_sandbox(sandbox.id)
    _disconnect(host, sandbox.record)
    host.network.release(sandbox.id)
    host.network.discard(sandbox.id)
    host.locks.forget(sandbox.id)


def connect_held(host: Host, sandbox: Sandbox, pid: int) -> None:
    """Complete the network of a sandbox that runs without, and open its gate if it waits there; lock held."""
    if not host.network.plugged(pid):
        host.network.plug(sandbox.id, pid, sandbox.record.port)
    _open(host, sandbox.container_id, sandbox.record, pid)


def _again(host: Host, sandbox: Sandbox) -> Sandbox:
    """The sandbox as it is now, under its lock: whoever had the lock before may have changed it."""
    for found in host.engine.sandboxes():
        if found.id == sandbox.id and not found.name.endswith(OLD_SUFFIX):
            return found
    raise NotFound(f"sandbox {sandbox.name!r} was deleted meanwhile", hint="zun-arm list shows those there are")


def put_back_name(host: Host, sandbox: Sandbox) -> None:
    """Give the old container of a failed rebuild its name again."""
    for found in host.engine.sandboxes():
        if found.container_id == sandbox.container_id and found.name.endswith(OLD_SUFFIX):
            host.engine.rename(found.container_id, found.name.removesuffix(OLD_SUFFIX))


def ensure_network(host: Host, *, thorough: bool = False) -> None:
    """Bridge, rules and leases are there; leases lost with the state directory are written anew from the labels.

    ``thorough`` looks at the rules too, even if this process saw them before.
    """
    host.network.ensure(thorough=thorough)
    if not host.network.leases_known():
        host.network.restore_leases([(sandbox.id, sandbox.record.port.address) for sandbox in host.engine.sandboxes()])


@contextmanager
def held(host: Host, name: str, sandbox_id: str) -> Iterator[None]:
    """Hold a sandbox's lock, and say in words what this host's file systems refuse meanwhile: rights, or space."""
    try:
        with host.locks.hold(sandbox_id):
            yield
    except OSError as err:
        what = f"sandbox {name!r}: {err.filename or 'a file'}: {err.strerror}"
        if err.errno in (errno.EACCES, errno.EPERM):
            raise HostNotReady(what, hint="run as root, as in sudo zun-arm") from err
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DoesNotFit(what, hint="free some space: delete sandboxes, images or files") from err
        raise ZunArmError(what, hint="zun-arm doctor looks at this host") from err


def _record(request: LaunchRequest, sandbox_id: str, platform: str, run: Run, image: Image, port: Port) -> Record:
    return Record(
        id=sandbox_id,
        image=request.image,
        platform=platform,
        execution=_execution(run),
        emulator=run.emulator,
        limits=request.limits,
        port=port,
        publish=request.publish,
        ssh_keys=request.ssh_keys,
        expires_at=now() + timedelta(seconds=request.ttl_s) if request.ttl_s else None,
        env=request.env,
        command=request.command,
        # The label speaks of the image's own program; a terminal costs a start some 8 ms, and mixes stdout with stderr.
        tty=request.tty or (not request.command and image.labels.get(CONSOLE_LABEL) == "tty"),
    )


def _execution(run: Run) -> Execution:
    assert run.execution is not None, "checked by run_for()"
    return run.execution


def _create(host: Host, name: str, image: Image, record: Record, *, fresh: bool) -> str:
    """Make the gate and the container, with its keys inside; not started."""
    program = (*image.entrypoint, *(record.command or image.command))
    if not program:
        raise BadImage(
            f"the image {record.image!r} names no program to run", hint="give one: zun-arm launch IMAGE -- PROGRAM"
        )
    plan = ContainerPlan(
        name=name,
        image=image,
        record=record,
        entrypoint=host.network.entrypoint(),
        command=program,
        mounts=host.network.prepare(record.id, name, record.port, fresh=fresh),
        no_new_privileges=image.labels.get(NO_NEW_PRIVILEGES_LABEL) != "false",
        log_max_mib=host.policy.log_max_mib,
    )
    container_id = host.engine.create(plan)
    if record.ssh_keys:
        put_keys(host.engine, container_id, image, record.ssh_keys)
    return container_id


def _start(host: Host, undo: ExitStack, container_id: str, record: Record) -> int:
    """Start the container, plug it in while Docker completes the start, and open its gate."""
    undo.callback(_quietly, host.engine.stop, container_id, timeout_s=0)
    undo.callback(_quietly, _disconnect, host, record)
    pid = host.engine.start(container_id, lambda pid: host.network.plug(record.id, pid, record.port))
    _open(host, container_id, record, pid)
    return pid


def _open(host: Host, container_id: str, record: Record, pid: int) -> None:
    """Lead its ports to a plugged sandbox, and let its first process go on."""
    host.network.publish(record.port.address, record.publish)
    try:
        host.network.open_gate(record.id, pid)
    except NetworkFailed as err:
        said = ""
        with suppress(ZunArmError):
            said = b"".join(host.engine.logs(container_id, tail=3, follow=False)).decode(errors="replace").strip()
        raise NetworkFailed(err.message, hint=f"its last words: {said}" if said else err.hint) from err


def _disconnect(host: Host, record: Record) -> None:
    host.network.unplug(record.id)
    if record.publish:
        host.network.unpublish(record.port.address)


def _thaw(host: Host, sandbox: Sandbox) -> None:
    """A paused sandbox cannot end; one that goes on already, or is gone, is as good."""
    if sandbox.state == State.PAUSED:
        with suppress(NotFound, WrongState):
            host.engine.unpause(sandbox.container_id)


def _quietly(action: Callable[..., object], *args: object, **named: object) -> None:
    """Run a step of an undo; what fails there must not hide why it was needed."""
    try:
        action(*args, **named)
    except (ZunArmError, OSError) as err:
        LOG.warning("while undoing: %s", err)


def _unmake(host: Host, name: str, sandbox_id: str, *, whole: bool = False) -> Callable[..., None]:
    """Removes a half-made container, and with ``whole`` the lease, gate and lock of its sandbox.

    The container may not be there yet: an interrupted request is still carried out by Docker. While it cannot be
    removed, its address stays taken: reconcile removes both.
    """

    def remove() -> bool:
        try:
            for sandbox in host.engine.sandboxes():
                if (sandbox.name, sandbox.id) == (name, sandbox_id):
                    host.engine.remove(sandbox.container_id)
        except (ZunArmError, OSError) as err:
            LOG.warning("while undoing: %s", err)
            return False
        return True

    def leave(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        removed = remove()
        if error is not None and not isinstance(error, Exception):
            time.sleep(_SETTLE_S)
            removed = remove()
        if removed and whole:
            _quietly(host.network.discard, sandbox_id)
            _quietly(host.network.release, sandbox_id)
            _quietly(host.locks.forget, sandbox_id)

    return leave
