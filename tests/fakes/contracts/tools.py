"""What the contracts need to ask their questions."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator


def packed(name: str, content: bytes) -> bytes:
    """A tar of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o640
        tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def unpacked(pieces: Iterator[bytes]) -> dict[str, bytes]:
    """The regular files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]


def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until something is so: what a started process does takes a moment."""
    tick = threading.Event()
    for _try in range(int(timeout_s / 0.02)):
        if condition():
            return
        tick.wait(0.02)
    assert condition()


def new_id() -> str:
    return str(uuid.uuid4())


def ask_in_another_process(program: str, *args: str) -> subprocess.Popen[str]:
    """A Python program that talks by its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
