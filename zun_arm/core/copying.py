"""Files into and out of a sandbox, streamed as tar; whatever the sandbox sends cannot leave the directory it is put in."""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import threading
from contextlib import suppress
from pathlib import Path, PurePosixPath

from zun_arm.core.model import Sandbox
from zun_arm.core.pieces import Pieces
from zun_arm.core.seams import Engine
from zun_arm.errors import BadInput, NotFound, ZunArmError

LOG = logging.getLogger(__name__)

_CHUNK = 256 * 1024


def copy_in(engine: Engine, sandbox: Sandbox, source: Path, target: str) -> None:
    """Copy a file or directory of this host to ``target`` in a sandbox: into it when it is a directory, else as it."""
    if not source.exists():
        raise NotFound(f"there is no file {source}", hint="check the path")
    into = engine.is_directory(sandbox.container_id, target)
    path = PurePosixPath(target)
    if target.endswith("/") and not into:
        raise NotFound(
            f"there is no directory {target} in {sandbox.name}",
            hint=f"make it: zun-arm exec {sandbox.name} -- mkdir -p {target}",
        )
    directory, name = (target, source.resolve().name) if into else (str(path.parent), path.name)
    reader, writer = os.pipe()
    failures: list[BaseException] = []

    def pack() -> None:
        # The engine may refuse and close its end: its answer says why, better than our broken pipe.
        try:
            with suppress(BrokenPipeError), os.fdopen(writer, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
                tar.add(source, arcname=name, filter=_as_root)
        except OSError as err:
            failures.append(err)

    thread = threading.Thread(target=pack, name="zun-arm-pack")
    thread.start()
    try:
        with os.fdopen(reader, "rb") as stream:
            engine.put_archive(sandbox.container_id, directory, stream)
    finally:
        thread.join()
    if failures:
        raise BadInput(f"{source} cannot be read: {failures[0]}") from failures[0]


def copy_out(engine: Engine, sandbox: Sandbox, source: str, target: Path) -> None:
    """Copy a file or directory of a sandbox to this host: into ``target`` when it is a directory, else as it."""
    pieces = engine.get_archive(sandbox.container_id, source)
    top = PurePosixPath(source).name or "root"
    into = target.is_dir()
    directory = target if into else target.parent
    if not directory.is_dir():
        raise NotFound(f"there is no directory {directory}", hint="make it first")
    try:
        with tarfile.open(fileobj=Pieces(pieces), mode="r|") as tar:
            for member in tar:
                inside = PurePosixPath(member.name).parts[1:]
                _extract(tar, member, directory, (top if into else target.name, *inside))
    except (tarfile.TarError, OSError, ValueError) as err:
        raise ZunArmError(f"{sandbox.name}:{source} cannot be copied to {target}: {err}") from err


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path, parts: tuple[str, ...]) -> None:
    """Put one member below ``directory``; what would lead out of it, or is no file, directory or link, is refused."""
    place = directory.joinpath(*parts)
    if ".." in parts or any(
        parent.is_symlink() for parent in place.parents if parent != directory and directory in parent.parents
    ):
        raise OSError(f"the sandbox sent a path that leads out of {directory}: {member.name}")
    if member.isdir():
        place.mkdir(exist_ok=True)
        return
    if place.is_symlink() or place.is_file():
        place.unlink()
    if member.isreg():
        content = tar.extractfile(member)
        assert content is not None, "a regular member has content"
        with place.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
        place.chmod(member.mode & 0o755)
    elif member.issym():
        inside = os.path.normpath(PurePosixPath(*parts).parent / member.linkname)
        if PurePosixPath(member.linkname).is_absolute() or inside.startswith(".."):
            LOG.warning("%s is not copied: it is a link to %s, outside of what is copied", member.name, member.linkname)
            return
        place.symlink_to(member.linkname)
    elif member.islnk():
        linked = directory.joinpath(parts[0], *PurePosixPath(member.linkname).parts[1:]).resolve(strict=True)
        if directory.resolve() not in linked.parents:
            raise OSError(f"the sandbox sent a link that leads out of {directory}: {member.name}")
        place.hardlink_to(linked)
    else:
        LOG.warning("%s is not copied: it is neither a file nor a directory nor a link", member.name)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
