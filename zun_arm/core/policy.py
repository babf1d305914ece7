"""What the board's owner decided: defaults and reserves, as the core sees the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from zun_arm.core.model import Limits
from zun_arm.core.seams import BoardFacts, Engine, ImageBook, Locks, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Defaults for launches; MiB to leave free for the board; whether limits the kernel ignores refuse a launch."""

    limits: Limits = field(default_factory=Limits)
    reserved_memory_mib: int = 64
    reserved_disk_mib: int = 256
    log_max_mib: int = 2
    refuse_unenforced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine that runs sandboxes: everything the use cases work with."""

    engine: Engine
    network: Network
    board: BoardFacts
    book: ImageBook
    locks: Locks
    policy: Policy
