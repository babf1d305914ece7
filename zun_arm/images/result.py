"""What converting or building gives: a file for ``docker load``, and what it is."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zun_arm.core.platforms import Isa
from zun_arm.errors import BadInput, DoesNotFit

LABEL_ISA = "zun-arm.isa"
LABEL_PLATFORM = "zun-arm.platform"

_REMOVAL_TRIES, _BETWEEN_TRIES_S = 50, 0.1

_NAME = re.compile(
    r"(?:[a-z0-9][a-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A docker-archive in ``archive`` (the caller removes it), named ``name`` with its tag.

    ``labelled`` is the platform the source claimed (None: nothing, or none of ours), ``platform`` and ``isa`` what
    its programs are (``isa`` None: it has none). ``corrected``: the label was wrong and is now right. ``notes`` are
    sentences for the user. ``config_digest`` is the image id of Docker's classic store, ``layer_digests`` are
    diff_ids, ``size_bytes`` is all layers unpacked.
    """

    name: str
    archive: Path
    labelled: str | None
    platform: str
    isa: Isa | None
    corrected: bool
    notes: tuple[str, ...]
    config_digest: str
    layer_digests: tuple[str, ...]
    size_bytes: int


def image_name(text: str) -> str:
    """An image name with its tag (``latest`` if none is given); :class:`BadInput` if Docker would not take it."""
    if len(text) > 250 or not _NAME.fullmatch(text):
        raise BadInput(f"{text!r} is not an image name", hint="use lower-case letters, digits, '-', '.', as in lab:1.0")
    return text if ":" in text.rpartition("/")[2] else f"{text}:latest"


@contextmanager
def scratch(work: Path) -> Iterator[Path]:
    """One temporary directory below ``work``, removed whatever happens; a full disk becomes :class:`DoesNotFit`."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=work, prefix="zun-arm-"))
        try:
            yield directory
        finally:
            _remove(directory)
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DoesNotFit(
                f"the disk below {work} is full", hint="free some space, or use another work directory"
            ) from err
        raise


def _remove(directory: Path) -> None:
    """Remove a tree that a program just killed may be writing to for another moment."""
    for _ in range(_REMOVAL_TRIES):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(_BETWEEN_TRIES_S)
    shutil.rmtree(directory)  # says what is in the way


def keep(archive: Path, work: Path) -> Path:
    """Move a finished archive out of its temporary directory, to a name of its own in ``work``."""
    return archive.rename(work / f"{archive.parent.name}.tar")
