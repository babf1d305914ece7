"""Names of sandboxes: which are allowed, and new ones for those who give none."""

from __future__ import annotations

import re
import secrets

from zun_arm.errors import BadInput

#: Docker's container names, and host names (RFC 1123), allow no more.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_MANNERS = (
    "brave calm clever eager early fair fleet fresh gentle grand happy keen kind light lively lucky merry mild "
    "neat noble plain proud quick quiet rapid sharp silent steady swift tidy warm wise"
)
_BIRDS = (
    "auk bittern crane curlew dipper dove dunlin egret finch gull harrier heron hoopoe ibis jay kestrel kite "
    "lapwing lark linnet martin merlin osprey owl petrel pipit plover raven robin siskin snipe tern thrush wren"
)


def check_name(name: str) -> str:
    """``name`` itself, or :class:`BadInput`: lower-case letters, digits and inner hyphens, 1 to 63 of them."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is not a name for a sandbox",
            hint="use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit",
        )
    return name


def made_up_name() -> str:
    """A name nobody is likely to have, as in ``keen-heron-4f2a``."""
    return f"{secrets.choice(_MANNERS.split())}-{secrets.choice(_BIRDS.split())}-{secrets.token_hex(2)}"
