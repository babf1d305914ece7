"""Sizes, durations, ports and times as people write them, into the units the rest of zun-arm uses."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from zun_arm.core.model import Publish
from zun_arm.errors import BadInput

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_MIB_PER = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024, "": 1 / (1024 * 1024)}
_DURATION = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([smhdw]?)", re.IGNORECASE)
_SECONDS_PER = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}
_PUBLISH = re.compile(r"(\d{1,5}):(\d{1,5})(?:/(tcp|udp))?", re.IGNORECASE)
_HIGHEST_PORT = 65535


def parse_mib(text: str) -> int:
    """MiB of a size such as ``128M``, ``1.5G`` or ``268435456`` (bytes, as in Docker)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{text!r} is not a size", hint="write a number and a unit, as in 128M or 1.5G")
    mib = float(match[1]) * _MIB_PER[match[2].lower()]
    if mib < 1:
        raise BadInput(f"{text!r} is less than 1 MiB", hint="write a number and a unit, as in 128M or 1.5G")
    return int(mib)


def parse_seconds(text: str) -> int:
    """Seconds of a duration such as ``90``, ``30s``, ``15m``, ``8h``, ``2d`` or ``1w``; from 1 to ten years' worth."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{text!r} is not a duration", hint="write a number and a unit, as in 30m, 8h or 2d")
    seconds = int(float(match[1]) * _SECONDS_PER[match[2].lower()])
    if not 1 <= seconds <= 10 * 366 * 86400:
        raise BadInput(f"the duration {text!r} is out of range", hint="use at least 1s and at most ten years")
    return seconds


def parse_publish(text: str) -> Publish:
    """A published port such as ``2222:22`` or ``5353:53/udp``: the board's port first, then the sandbox's."""
    match = _PUBLISH.fullmatch(text.strip())
    ports = (int(match[1]), int(match[2])) if match else (0, 0)
    if match is None or not all(1 <= port <= _HIGHEST_PORT for port in ports):
        raise BadInput(
            f"{text!r} is not a published port", hint="write BOARD_PORT:SANDBOX_PORT, as in 2222:22 or 5353:53/udp"
        )
    return Publish(host_port=ports[0], sandbox_port=ports[1], protocol=(match[3] or "tcp").lower())


def parse_env(items: tuple[str, ...]) -> dict[str, str]:
    """Environment variables of ``KEY=VALUE`` items."""
    env = {}
    for item in items:
        key, sign, value = item.partition("=")
        if not sign or not key or "\0" in item:
            raise BadInput(f"{item!r} is not an environment variable", hint="write KEY=VALUE")
        env[key] = value
    return env


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def age(since: datetime, until: datetime | None = None) -> str:
    """How long ago, for people: ``12s``, ``5m``, ``3h``, ``2d``."""
    seconds = max(0, int(((until or now()) - since).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
