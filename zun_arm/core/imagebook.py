"""What was measured of the engine's images, remembered by image id: an id names content, so it never grows stale.

The engine's own labels would not do: whoever made the image wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from zun_arm.core.platforms import Isa, platform_of

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
        """Remember what an image was measured to be."""
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._file(image_id)
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"isa": isa.value}))
        part.replace(file)

    def _file(self, image_id: str) -> Path:
        return self._directory / f"{image_id.removeprefix('sha256:')}.json"
