"""The files a sandbox gets because Docker, with its network switched off, writes none."""

from __future__ import annotations

import ipaddress
from pathlib import Path

_SYSTEMD_UPSTREAM = Path("/run/systemd/resolve/resolv.conf")


def hosts(name: str, address: str) -> str:
    """The text of ``/etc/hosts``."""
    return (
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
        f"{address}\t{name}\n"
    )


def resolv_conf(servers: tuple[str, ...], host_file: Path = Path("/etc/resolv.conf")) -> str:
    """The text of ``/etc/resolv.conf``: ``servers``, or else those of this host that can be reached from a sandbox.

    A server on a loopback address (systemd-resolved's 127.0.0.53) is another one inside a sandbox; then systemd's own
    list of upstream servers is taken.
    """
    if servers:
        return "".join(f"nameserver {server}\n" for server in servers)
    for file in (host_file, _SYSTEMD_UPSTREAM):
        lines = _usable(file)
        if any(line.startswith("nameserver") for line in lines):
            return "".join(f"{line}\n" for line in lines)
    return "# this host has no name server a sandbox can reach: set [network] dns in zun-arm.conf\n"


def _usable(file: Path) -> list[str]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return []
    return [
        line.strip() for line in text.splitlines() if line.split()[:1] in (["search"], ["options"]) or _reachable(line)
    ]


def _reachable(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        return not ipaddress.ip_address(words[1].partition("%")[0]).is_loopback
    except ValueError:
        return False
