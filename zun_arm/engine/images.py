"""Images in the engine: looked up, loaded, saved, tagged, removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from zun_arm.core.model import Image
from zun_arm.core.platforms import platform_from_label
from zun_arm.engine.client import Connection, translated
from zun_arm.errors import EngineFailed, NotFound, WrongState

_MIB = 1024 * 1024
_CHUNK = 256 * 1024


class EngineImages:
    """The image half of :class:`zun_arm.core.seams.Engine`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, reference: str) -> Image:
        """The image of that name or id; :class:`NotFound` says how to get one."""
        try:
            with translated(f"the image {reference!r}"):
                return _image(self._connection.api.inspect_image(reference))
        except (NotFound, EngineFailed) as err:
            if isinstance(err, EngineFailed) and "invalid reference" not in err.message:
                raise
            raise NotFound(
                f"there is no image {reference!r}",
                hint="zun-arm image list shows those there are; zun-arm image build tiny makes one",
            ) from err

    def all(self) -> list[Image]:
        """Every image with a name."""
        with translated("the list of images"):
            listed = self._connection.api.images()
            return [_image(self._connection.api.inspect_image(item["Id"])) for item in listed if item.get("RepoTags")]

    def load(self, stream: BinaryIO) -> str:
        """Load a docker-archive and return the loaded image's id; nothing is held in memory."""
        with translated("the archive"):
            told: list[dict[str, Any]] = list(self._connection.api.load_image(_chunks(stream)))
            for item in told:
                if "error" in item:
                    raise EngineFailed(f"Docker refused the archive: {item['error'].strip()}")
            text = "".join(str(item.get("stream", "")) for item in told)
            found = re.search(r"Loaded image(?: ID)?: (\S+)", text)
            if found is None:
                raise EngineFailed(f"Docker loaded no image from the archive: {text.strip() or 'it said nothing'}")
            return str(self._connection.api.inspect_image(found[1])["Id"])

    def save(self, reference: str) -> Iterator[bytes]:
        """The image as a docker-archive, in pieces."""
        with translated(f"the image {reference!r}"):
            yield from self._connection.api.get_image(reference, chunk_size=_CHUNK)

    def remove(self, reference: str) -> None:
        """Remove an image; :class:`WrongState` when a container uses it."""
        try:
            with translated(f"the image {reference!r}"):
                self._connection.api.remove_image(reference)
        except WrongState as err:
            raise WrongState(err.message, hint="delete the sandboxes (or containers) that use it first") from err

    def tag(self, image_id: str, name: str) -> None:
        """Give an image a name; another image loses it."""
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        with translated(f"the image name {name!r}"):
            self._connection.api.tag(image_id, repository, tag)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _image(told: dict[str, Any]) -> Image:
    config = told.get("Config") or {}
    return Image(
        id=told["Id"],
        names=tuple(told.get("RepoTags") or ()),
        labelled=platform_from_label(told.get("Os", ""), told.get("Architecture", ""), told.get("Variant")),
        platform=None,
        isa=None,
        size_mib=round(told.get("Size", 0) / _MIB, 1),
        created_at=_moment(told.get("Created") or "1970-01-01T00:00:00Z"),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        user=config.get("User") or "",
        labels=config.get("Labels") or {},
    )


def _moment(text: str) -> datetime:
    """A time with nanoseconds, as Go writes it."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
