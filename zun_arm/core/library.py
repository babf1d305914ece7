"""Images that zun-arm itself brings into the engine, and what can be said of those there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from zun_arm.core import userlands
from zun_arm.core.imagebook import FileImageBook
from zun_arm.core.model import Image
from zun_arm.core.platforms import Isa
from zun_arm.core.policy import Host
from zun_arm.errors import BadImage


class MadeImage(Protocol):
    """A docker-archive on disk, and what was measured while it was made."""

    @property
    def name(self) -> str: ...

    @property
    def archive(self) -> Path: ...

    @property
    def labelled(self) -> str | None: ...

    @property
    def platform(self) -> str: ...

    @property
    def isa(self) -> Isa | None: ...

    @property
    def corrected(self) -> bool: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


def store(host: Host, book: FileImageBook, made: MadeImage) -> dict[str, Any]:
    """Load a made image into the engine and remember what it is; its archive is removed, whatever happens."""
    try:
        with made.archive.open("rb") as stream:
            image_id = host.engine.load_image(stream)
    finally:
        made.archive.unlink(missing_ok=True)
    if made.isa is not None:
        book.note(image_id, made.isa)
    return {
        "id": image_id,
        "name": made.name,
        "labelled": made.labelled,
        "platform": made.platform,
        "isa": made.isa.value if made.isa else None,
        "corrected": made.corrected,
        "notes": list(made.notes),
    }


def told(host: Host, image: Image, *, measure: bool) -> dict[str, Any]:
    """What is known of an image: its label, and what its programs are (null: not measured yet)."""
    known = host.book.measured(image.id)
    if known is None and measure:
        try:
            known = userlands.measured(host, image)
        except BadImage:
            known = None
    platform, isa = known or (None, None)
    return {
        "id": image.id,
        "names": list(image.names),
        "labelled": image.labelled,
        "platform": platform,
        "isa": isa.value if isa else None,
        "true": None if platform is None else image.labelled == platform,
        "size_mib": image.size_mib,
        "created_at": image.created_at.isoformat(),
    }
