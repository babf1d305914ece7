"""Where packages come from: the Debian mirror the host's own apt uses, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from zun_arm.errors import HostNotReady
from zun_arm.programs import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_FORMAT = "$(REPO_URI)|$(CODENAME)|$(ORIGIN)|$(COMPONENT)"
_USABLE = ("http://", "https://", "file:", "mirror+")
_OPTION = re.compile(r'(Acquire::[A-Za-z0-9:_-]+) "([^"]*)";')
# Settings of the host's apt without which its mirror may not answer; a snapshot's Release file is "too old".
_PASSED_ON = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries", "Acquire::ForceIPv4")
_PROXIES = {"Acquire::http::Proxy": "http_proxy", "Acquire::https::Proxy": "https_proxy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A mirror's URI, apt options (``Acquire::...`` to value), and environment variables for proxies."""

    uri: str
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def host_mirror(suite: str, *, uri: str | None = None) -> Mirror:
    """The mirror for a Debian suite; ``uri`` overrides which, not how. :class:`HostNotReady` if there is none."""
    options = _acquire_options()
    return Mirror(
        uri=uri or _host_uri(suite),
        options={key: options[key] for key in _PASSED_ON if key in options},
        environment={
            variable: options[key] for key, variable in _PROXIES.items() if options.get(key, "DIRECT") != "DIRECT"
        },
    )


def _host_uri(suite: str) -> str:
    """Of the Debian sources apt knows: the one for exactly this suite, else one for another whole suite."""
    listing = run(["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"], package="apt", timeout_s=30)
    others = []
    for line in listing.splitlines():
        uri, codename, origin, component = [*line.split("|"), "", "", ""][:4]
        if origin != "Debian" or component != "main" or not uri.startswith(_USABLE):
            continue
        if codename == suite:
            return uri
        if "-" not in codename:  # bookworm-updates and bookworm-security do not hold a whole suite
            others.append(uri)
    if others:
        return others[0]
    raise HostNotReady(
        "apt on this machine has no Debian mirror to build images from",
        hint="run 'apt-get update', or name a mirror in [images] mirror of zun-arm.conf",
    )


def _acquire_options() -> dict[str, str]:
    dump = run(["apt-config", "dump"], package="apt", timeout_s=30)
    matches = map(_OPTION.fullmatch, dump.splitlines())
    return {match[1]: match[2] for match in matches if match}
