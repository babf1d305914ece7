"""SSH public keys: checked when given, put into a sandbox before its first process runs."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from zun_arm.core.model import Image
from zun_arm.core.pieces import Pieces
from zun_arm.core.seams import Engine
from zun_arm.errors import BadImage, BadInput, NotFound

SSH_USER_LABEL = "zun-arm.ssh-user"
_LARGEST_FILE = 64 * 1024


def read_keys(file: Path) -> tuple[str, ...]:
    """The public keys in a file, one a line; :class:`BadInput` for a private key or anything else."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE).decode()
    except (OSError, UnicodeDecodeError) as err:
        raise BadInput(
            f"the key file {file} cannot be read: {err}", hint="give a public key, as in id_ed25519.pub"
        ) from err
    if "PRIVATE KEY" in text:
        raise BadInput(f"{file} holds a private key", hint=f"give the public one: {file}.pub")
    keys = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    if not keys:
        raise BadInput(f"{file} holds no key", hint="make one: ssh-keygen -t ed25519")
    for key in keys:
        _check(key, file)
    return keys


def _check(key: str, file: Path) -> None:
    kind, _, rest = key.partition(" ")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except ValueError:  # no base64, or not even ASCII
        blob = b""
    # RFC 4253: the blob begins with the length of its type's name, and the name.
    if len(blob) < 16 or blob[4 : 4 + len(kind)] != kind.encode():
        raise BadInput(f"{file}: not a public SSH key: {key[:40]!r}", hint="give a file such as id_ed25519.pub")


def put_keys(engine: Engine, container_id: str, image: Image, keys: Iterable[str]) -> None:
    """Write ``authorized_keys`` for the image's SSH user (its label ``zun-arm.ssh-user``, else root)."""
    user = image.labels.get(SSH_USER_LABEL, "root")
    uid, gid, home = _account(engine, container_id, user)
    text = "".join(f"{key}\n" for key in keys).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo(".ssh")
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o700, uid, gid
        tar.addfile(folder)
        file = tarfile.TarInfo(".ssh/authorized_keys")
        file.size, file.mode, file.uid, file.gid = len(text), 0o600, uid, gid
        tar.addfile(file, io.BytesIO(text))
    try:
        engine.put_archive(container_id, home, packed.getvalue())
    except NotFound as err:
        raise BadImage(
            f"the image has no directory {home} for the keys of {user}", hint="launch it without --ssh-key"
        ) from err


def _account(engine: Engine, container_id: str, user: str) -> tuple[int, int, str]:
    """Uid, gid and home of a user of the image."""
    try:
        # Streamed, and of the first member no more than a passwd file needs: the image may be anybody's.
        pieces = engine.get_archive(container_id, "/etc/passwd")
        with tarfile.open(fileobj=Pieces(pieces), mode="r|") as tar:
            first = tar.next()
            file = tar.extractfile(first) if first is not None and first.isreg() else None
            passwd = file.read(_LARGEST_FILE).decode(errors="replace") if file else ""
        for _rest in pieces:
            pass
    except (NotFound, tarfile.TarError, KeyError):
        passwd = ""
    for line in passwd.splitlines():
        fields = line.split(":")
        if fields[0] == user and len(fields) >= 6 and fields[2].isdecimal() and fields[3].isdecimal():
            return int(fields[2]), int(fields[3]), fields[5] or "/"
    if user == "root":
        return 0, 0, "/root"
    raise BadImage(f"the image has no user {user}, for whom the keys are", hint="launch it without --ssh-key")
