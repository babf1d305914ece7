"""What was measured of the engine's images, remembered by image id: an id names content, so it never grows stale.

The engine's own labels would not do: whoever made the image wrote them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from zun_arm.core.platforms import Isa, platform_of

LOG = logging.getLogger(__name__)

Measure = Callable[[Iterator[bytes]], Isa | None]


class FileImageBook:
    """One small file for each image, below ``directory``. ``measure`` reads a saved image and says its ISA."""

    def __init__(self, directory: Path, measure: Measure) -> None:
        self._directory = directory
        self._measure = measure

    def measured(self, image_id: str) -> tuple[str, Isa] | None:
        """Platform and instruction set of an image, if it was measured before."""
        try:
            isa = Isa(json.loads(self._file(image_id).read_text())["isa"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        platform = platform_of(isa)
        return (platform, isa) if platform else None

    def measure(self, image_id: str, saved: Callable[[], Iterator[bytes]]) -> tuple[str, Isa] | None:
        """Read the whole image once; None when none of its programs is for a platform we know."""
        isa = self._measure(saved())
        platform = platform_of(isa) if isa else None
        if isa is None or platform is None:
            return None
        self.note(image_id, isa)
        return platform, isa

    def note(self, image_id: str, isa: Isa) -> None:
        """Remember what an image was measured to be. Where that cannot be written it is measured again next time."""
        file = self._file(image_id)
        part = file.with_suffix(".part")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"isa": isa.value}))
            part.replace(file)
        except OSError as err:
            LOG.info("what was measured of %s is not remembered: %s", image_id[:19], err)
            with suppress(OSError):
                part.unlink()

    def _file(self, image_id: str) -> Path:
        return self._directory / f"{image_id.removeprefix('sha256:')}.json"
