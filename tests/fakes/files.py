"""The files of a fake sandbox: directories and contents by absolute path, packed and unpacked as tar."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO

from zun_arm.errors import NotFound

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nstudent:x:1000:1000::/home/student:/bin/sh\n"


def _standard() -> dict[str, bytes | None]:
    folders = ("/", "/etc", "/root", "/home", "/home/student", "/tmp", "/bin")
    return {**dict.fromkeys(folders), "/etc/passwd": PASSWD}


@dataclass
class Files:
    """``tree`` maps a path to its content, None for a directory; ``owners`` to (uid, gid, mode)."""

    tree: dict[str, bytes | None] = field(default_factory=_standard)
    owners: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def copy(self) -> Files:
        return Files(dict(self.tree), dict(self.owners))

    def is_directory(self, path: str) -> bool:
        return self.tree.get(_clean(path), b"") is None

    def put(self, directory: str, archive: bytes | BinaryIO) -> None:
        if not self.is_directory(directory):
            raise NotFound(f"the directory {directory!r} in the sandbox: Could not find the file {directory}")
        stream = io.BytesIO(archive) if isinstance(archive, bytes) else archive
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                place = _clean(f"{directory}/{member.name}")
                content = tar.extractfile(member) if member.isreg() else None
                self.tree[place] = content.read() if content else None
                self.owners[place] = (member.uid, member.gid, member.mode)

    def get(self, path: str) -> bytes:
        path = _clean(path)
        if path not in self.tree:
            raise NotFound(f"the path {path!r} in the sandbox: Could not find the file {path}")
        top = PurePosixPath(path).name or "/"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for place, content in sorted(self.tree.items()):
                if place != path and not place.startswith(path.rstrip("/") + "/"):
                    continue
                member = tarfile.TarInfo(f"{top}{place.removeprefix(path)}")
                member.mode = self.owners.get(place, (0, 0, 0o755))[2]
                member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
                member.size = len(content or b"")
                tar.addfile(member, io.BytesIO(content or b""))
        return packed.getvalue()


def _clean(path: str) -> str:
    return str(PurePosixPath("/", path.replace("/./", "/").removesuffix("/.")))
