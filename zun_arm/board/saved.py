"""Saving this machine's description, to look at it elsewhere: the files that were read, and nothing private."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

from zun_arm.board.detect import UNAME, assemble, live_uname
from zun_arm.board.probes import NoProbes
from zun_arm.board.tree import Tree
from zun_arm.errors import BadInput


def save(directory: Path) -> tuple[str, ...]:
    """Write what :func:`describe` reads below ``directory`` and return the relative paths, sorted.

    Device-tree files are stored as files under ``proc/device-tree/``, whatever link led to them. Serial numbers,
    mounts other than cgroups and boot options other than cgroups' are left out: the answer does not need them.
    :class:`BadInput` when the directory cannot be written, or a link in it leads out.
    """
    tree, uname = Tree(Path("/")), live_uname()
    assemble(tree, uname, NoProbes())
    files = {path: _reduced(path, content) for path, content in tree.seen.items()}
    files[UNAME] = (json.dumps(asdict(uname), indent=2) + "\n").encode()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            _write(directory.resolve(), path, content)
    except OSError as err:
        hint = "choose a new directory that you may write"
        raise BadInput(f"cannot save the board below {directory}: {err.strerror}: {err.filename}", hint=hint) from err
    return tuple(sorted(files))


def _write(directory: Path, path: str, content: bytes) -> None:
    """Write one file anew; a link in its place is replaced, a link on the way out is refused."""
    target = directory / path
    if not target.parent.resolve().is_relative_to(directory):
        raise BadInput(f"{target.parent} leads out of {directory}", hint="choose a new directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _reduced(path: str, content: bytes) -> bytes:
    """The parts of a file that are read, where the rest tells about its owner."""
    if path == "proc/cpuinfo":
        return re.sub(rb"(?m)^(Serial\s*:).*$", rb"\1 0000000000000000", content)
    if path == "proc/cmdline":
        return b" ".join(word for word in content.split() if word.startswith(b"cgroup_")) + b"\n"
    if path == "proc/self/mountinfo":
        return b"".join(line for line in content.splitlines(keepends=True) if b" - cgroup" in line)
    if path == "proc/mounts":
        return b"".join(line for line in content.splitlines(keepends=True) if line.startswith(b"cgroup"))
    if path == "proc/meminfo":
        return b"".join(line for line in content.splitlines(keepends=True) if line.startswith(b"MemTotal"))
    return content
