"""What was measured of images, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fakes.trace import Trace
from zun_arm.core.platforms import Isa, platform_of

Measure = Callable[[bytes], Isa | None]


class FakeBook:
    """:class:`zun_arm.core.seams.ImageBook`; ``measure`` reads a saved image and says its instruction set."""

    def __init__(self, measure: Measure, trace: Trace | None = None) -> None:
        self.trace = trace or Trace()
        self.noted: dict[str, Isa] = {}
        self._measure = measure

    def measured(self, image_id: str) -> tuple[str, Isa] | None:
        with self.trace.step("book.measured"):
            isa = self.noted.get(image_id)
            platform = platform_of(isa) if isa else None
            return (platform, isa) if isa and platform else None

    def measure(self, image_id: str, saved: Callable[[], Iterator[bytes]]) -> tuple[str, Isa] | None:
        with self.trace.step("book.measure"):
            isa = self._measure(b"".join(saved()))
            platform = platform_of(isa) if isa else None
            if isa is None or platform is None:
                return None
            self.noted[image_id] = isa
            return platform, isa

    def note(self, image_id: str, isa: Isa) -> None:
        self.noted[image_id] = isa
