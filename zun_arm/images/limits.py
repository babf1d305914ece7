"""How much an archive may ask of this machine before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from zun_arm.errors import BadImage, BadInput

MIB = 1024 * 1024
GIB = 1024 * MIB
#: Bytes read and written at a time.
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """Ceilings for one archive.

    ``max_unpacked_bytes``: all layers unpacked. ``max_members``: files, directories and links in all layers.
    ``max_ratio``: unpacked over packed bytes, looked at once ``ratio_floor_bytes`` came out. ``max_window_bytes``:
    memory a decompressor may take (xz -7 and zstd -19 fit, xz -9 needs 65 MiB). ``max_json_bytes``: one manifest
    or configuration.
    """

    max_unpacked_bytes: int = 16 * GIB
    max_members: int = 1_000_000
    max_ratio: int = 200
    ratio_floor_bytes: int = 256 * MIB
    max_window_bytes: int = 20 * MIB
    max_json_bytes: int = 512 * 1024

    def __post_init__(self) -> None:
        if min(self.max_unpacked_bytes, self.max_members, self.max_ratio, self.max_json_bytes) < 1:
            raise BadInput("an archive limit must be at least 1", hint="leave it out to use the default")


class Budget:
    """What is left of :class:`ArchiveLimits` while the layers of one archive are read."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self.limits = limits
        self._bytes = 0
        self._members = 0

    def spend(self, name: str, size: int) -> None:
        """Count one member; :class:`BadImage` names the one that was too much."""
        self._members += 1
        self._bytes += max(size, 0)
        if self._members > self.limits.max_members:
            raise BadImage(
                f"the archive has more than {self.limits.max_members} members",
                hint="no userland has that many files: get the archive from its source again",
            )
        if self._bytes > self.limits.max_unpacked_bytes:
            raise too_large(self.limits.max_unpacked_bytes, f"at {name!r}")


def too_large(max_unpacked_bytes: int, where: str) -> BadImage:
    """The error for an archive that unpacks to more than it may."""
    return BadImage(
        f"the archive unpacks to more than {max_unpacked_bytes / MIB:.0f} MiB ({where})",
        hint="it may be a decompression bomb; if you trust it, raise max_unpacked_bytes",
    )
