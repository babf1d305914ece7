"""Which addresses the sandboxes get: a subnet that overlaps nothing this host can already reach."""

from __future__ import annotations

import ipaddress

from zun_arm.errors import BadInput, NetworkFailed

#: Tried in this order when the configuration names none.
CANDIDATES = ("10.203.0.0/20", "10.219.0.0/20", "172.29.0.0/20", "192.168.208.0/20")


def choose(wanted: str | None, routed: list[str]) -> ipaddress.IPv4Network:
    """The subnet for a new bridge; ``routed`` are the destinations of this host's routes."""
    existing = [ipaddress.ip_network(destination, strict=False) for destination in routed]
    if wanted is not None:
        subnet = parse(wanted)
        for other in existing:
            if subnet.overlaps(other):
                raise NetworkFailed(
                    f"the subnet {subnet} overlaps {other}, to which this host already has a route",
                    hint="set another [network] subnet, or none to let zun-arm choose",
                )
        return subnet
    for candidate in map(ipaddress.IPv4Network, CANDIDATES):
        if not any(candidate.overlaps(other) for other in existing):
            return candidate
    raise NetworkFailed(
        f"all of {', '.join(CANDIDATES)} overlap routes of this host", hint="set [network] subnet to a free subnet"
    )


def parse(text: str) -> ipaddress.IPv4Network:
    """A subnet with room for a gateway and at least one sandbox."""
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError as err:
        raise BadInput(f"[network] subnet = {text}: {err}", hint="write a subnet such as 10.203.0.0/20") from err
    if not 8 <= subnet.prefixlen <= 29:
        raise BadInput(f"[network] subnet = {text} is too large or too small", hint="use a prefix from /8 to /29")
    return subnet
