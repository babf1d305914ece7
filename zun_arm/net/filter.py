"""Our own nftables table: the way out (masquerade) and published ports. Verdict maps, applied atomically.

Nobody else's tables are changed, but for Docker's ``DOCKER-USER`` chain, which Docker reserves for its users: Docker sets
the policy of FORWARD to drop, so without two rules there no sandbox would reach beyond the board.
"""

from __future__ import annotations

import json
from contextlib import suppress

from zun_arm.core.model import Publish
from zun_arm.errors import NameInUse, NetworkFailed
from zun_arm.programs import ProgramFailed, run

_TABLE = "zun_arm"
_COMMENT = "zun-arm"


def ensure_table(bridge: str, subnet: str) -> None:
    """Make the table what it must be; the published ports in it are kept."""
    exists = table_exists()
    flush = f"flush table ip {_TABLE}\n" if exists else ""
    maps = "\n".join(
        f"  map published_{protocol} {{ type inet_service : ipv4_addr . inet_service; }}" for protocol in ("tcp", "udp")
    )
    chains = ("prerouting", "output")
    hooks = "\n".join(
        f"  chain {chain} {{ type nat hook {chain} priority -100; policy accept;\n"
        "    fib daddr type local dnat ip to tcp dport map @published_tcp\n"
        "    fib daddr type local dnat ip to udp dport map @published_udp\n  }"
        for chain in chains
    )
    _nft(
        f"{flush}table ip {_TABLE} {{\n{maps}\n{hooks}\n"
        "  chain postrouting { type nat hook postrouting priority 100; policy accept;\n"
        f'    ip saddr {subnet} oifname != "{bridge}" masquerade comment "the way out"\n'
        f'    ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade comment "published ports on localhost"\n'
        f'    ip saddr {subnet} oifname "{bridge}" ct status dnat masquerade comment "published ports from a sandbox"\n'
        "  }\n"
        "  chain isolation { type filter hook forward priority -10; policy accept;\n"
        "    ct state established,related accept\n"
        "    ct status dnat accept\n"
        f'    iifname "{bridge}" oifname {{ "docker0", "br-*" }} drop comment "containers of others"\n'
        "  }\n"
        "  chain guard { type filter hook prerouting priority -300; policy accept;\n"
        f'    iifname "{bridge}" ip daddr 127.0.0.0/8 drop comment "localhost is the board\'s own"\n'
        "  }\n}\n"
    )


def ensure_forwarding(bridge: str) -> None:
    """Let the sandboxes' packets through Docker's FORWARD chain."""
    for rule in _docker_user_rules(bridge):
        if not _iptables_has(rule):
            # No DOCKER-USER chain: this Docker keeps no FORWARD policy of its own, and there is nothing to pass.
            with suppress(ProgramFailed):
                run(["iptables", "-w", "-I", "DOCKER-USER", *rule], package="iptables")


def publish(address: str, ports: tuple[Publish, ...]) -> None:
    """Lead ports of the board to a sandbox; :class:`NameInUse` when another sandbox has one of them."""
    taken = published()
    for port in ports:
        owner = taken.get((port.protocol, port.host_port), (address, 0))[0]
        if owner != address:
            raise NameInUse(
                f"port {port.host_port}/{port.protocol} of this board already leads to the sandbox at {owner}",
                hint="publish another port",
            )
    elements = [
        f"add element ip {_TABLE} published_{port.protocol} {{ {port.host_port} : {address} . {port.sandbox_port} }}\n"
        for port in ports
    ]
    _nft("".join(elements))


def unpublish(address: str) -> None:
    """Close every port of the board that leads to ``address``."""
    elements = [
        f"delete element ip {_TABLE} published_{protocol} {{ {host_port} : {address} . {sandbox_port} }}\n"
        for (protocol, host_port), (owner, sandbox_port) in published().items()
        if owner == address
    ]
    if elements:
        _nft("".join(elements))


def published() -> dict[tuple[str, int], tuple[str, int]]:
    """(protocol, port of the board) -> (address of the sandbox, its port)."""
    if not table_exists():
        return {}
    found = {}
    for protocol in ("tcp", "udp"):
        listed = json.loads(
            run(["nft", "-j", "list", "map", "ip", _TABLE, f"published_{protocol}"], package="nftables")
        )
        for item in listed["nftables"]:
            for key, value in item.get("map", {}).get("elem", []):
                address, port = value["concat"]
                found[(protocol, int(key))] = (str(address), int(port))
    return found


def remove(bridge: str) -> None:
    """Take away the table and the two rules."""
    with suppress(ProgramFailed):
        run(["nft", "delete", "table", "ip", _TABLE], package="nftables")
    for rule in _docker_user_rules(bridge):
        while _iptables_has(rule):
            run(["iptables", "-w", "-D", "DOCKER-USER", *rule], package="iptables")


def _docker_user_rules(bridge: str) -> tuple[list[str], list[str]]:
    comment = ["-m", "comment", "--comment", _COMMENT, "-j", "ACCEPT"]
    answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT"]
    return (["-i", bridge, *comment], ["-o", bridge, *answers, *comment])


def _iptables_has(rule: list[str]) -> bool:
    try:
        run(["iptables", "-w", "-C", "DOCKER-USER", *rule], package="iptables")
    except ProgramFailed:
        return False
    return True


def table_exists() -> bool:
    """Whether our table is there; a firewall that was loaded anew takes it along."""
    try:
        run(["nft", "list", "table", "ip", _TABLE], package="nftables")
    except ProgramFailed:
        return False
    return True


def _nft(rules: str) -> None:
    try:
        run(["nft", "-f", "-"], package="nftables", stdin=rules.encode())
    except ProgramFailed as err:
        raise NetworkFailed(
            f"the kernel refused our nftables rules: {err.message}",
            hint="zun-arm doctor shows whether the kernel has nf_tables and NAT",
        ) from err
