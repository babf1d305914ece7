"""Kernel links by pyroute2: the bridge, and a sandbox's veth plugged in one breath.

The veth is created with its peer already inside the sandbox's network namespace: one request. What remains (address,
routes, link up) is done by an IPRoute opened in a thread that entered the namespace. pyroute2's own NetNS() forks, which
costs 8 to 11 ms and can hang inside nova-compute, so it is never used.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from zun_arm.core.model import Port
from zun_arm.errors import HostNotReady, NetworkFailed

if TYPE_CHECKING:
    from pyroute2 import IPRoute

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_IFF_UP = 1  # linux/if.h
_ALIAS = "zun-arm"
_VETH = "zv"
SANDBOX_LINK = "eth0"


def veth_name(sandbox_id: str) -> str:
    """The host's end of a sandbox's link, 14 bytes: the kernel allows 15."""
    return _VETH + sandbox_id.replace("-", "")[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeState:
    """The bridge as the kernel has it; ``address`` is ``10.203.0.1/20`` or None while it has none."""

    index: int
    ours: bool
    address: str | None


def ip_route() -> IPRoute:
    """A netlink connection to this thread's network namespace; :class:`HostNotReady` without the right to change links."""
    from pyroute2 import IPRoute

    try:
        return IPRoute()
    except OSError as err:
        raise HostNotReady(f"the kernel's link interface cannot be opened: {err}", hint="run as root") from err


def explain(err: Exception, what: str) -> NetworkFailed | HostNotReady:
    """A kernel refusal in words, with what to do."""
    code = getattr(err, "code", None) or getattr(err, "errno", None)
    if code == errno.EPERM:
        return HostNotReady(f"{what}: this needs root", hint="run as root, as in sudo zun-arm")
    if code == errno.EOPNOTSUPP:
        return HostNotReady(
            f"{what}: this kernel has no such link type",
            hint="reboot if the kernel was upgraded; on Ubuntu for Raspberry Pi install linux-modules-extra-raspi",
        )
    reason = os.strerror(code) if isinstance(code, int) else str(err)
    return NetworkFailed(f"{what}: {reason}")


def index_of(name: str) -> int | None:
    """The index of a link of this thread's network namespace, or None; 20 times faster than asking by netlink."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def bridge_state(name: str) -> BridgeState | None:
    """The bridge of that name, or None."""
    with ip_route() as ip:
        found = ip.link_lookup(ifname=name)
        if not found:
            return None
        link = ip.link("get", index=found[0])[0]
        kind = (link.get_attr("IFLA_LINKINFO") or {"attrs": []}).get("attrs", [])
        is_bridge = ("IFLA_INFO_KIND", "bridge") in [tuple(pair) for pair in kind]
        addresses = [
            f"{entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}" for entry in ip.get_addr(index=found[0], family=2)
        ]
        return BridgeState(
            index=found[0],
            ours=is_bridge and link.get_attr("IFLA_IFALIAS") == _ALIAS,
            address=addresses[0] if addresses else None,
        )


def make_bridge(name: str, address: str, prefix: int, mtu: int) -> int:
    """Create our bridge with its address, up; returns its index. A half-made one is removed again.

    It gets its name last: whoever dies before leaves a bridge of another name, which is removed here.
    """
    half_made = f"{name[:11]}.new"
    delete_link(half_made)
    with ip_route() as ip:
        try:
            ip.link("add", ifname=half_made, kind="bridge", br_forward_delay=0)
            index = int(ip.link_lookup(ifname=half_made)[0])
            try:
                ip.link("set", index=index, ifalias=_ALIAS, mtu=mtu)
                ip.addr("add", index=index, address=address, prefixlen=prefix)
                ip.link("set", index=index, ifname=name)
                ip.link("set", index=index, state="up")
            except BaseException:
                ip.link("del", index=index)
                raise
            return index
        except _netlink_error() as err:
            raise explain(err, f"the bridge {name} cannot be made") from err


def delete_link(name: str) -> bool:
    """Delete a link; False when there was none."""
    with ip_route() as ip:
        for index in ip.link_lookup(ifname=name):
            with suppress(_netlink_error()):
                ip.link("del", index=index)
                return True
    return False


def routed_subnets() -> list[str]:
    """The IPv4 destinations this host has routes to, without the default route, as ``10.0.0.0/8``."""
    with ip_route() as ip:
        return [
            f"{route.get_attr('RTA_DST')}/{route['dst_len']}"
            for route in ip.get_routes(family=2)
            if route.get_attr("RTA_DST") and route["dst_len"]
        ]


def sandbox_links() -> dict[str, int]:
    """Our host-side links: name -> index."""
    with ip_route() as ip:
        links = [(link.get_attr("IFLA_IFNAME"), link["index"]) for link in ip.get_links()]
    return {name: index for name, index in links if name.startswith(_VETH) and len(name) == len(_VETH) + 12}


def plug(sandbox_id: str, pid: int, port: Port, bridge: str) -> None:
    """Give the process's network namespace a complete ``eth0``: MAC, MTU, address, default route, up.

    Nothing is left behind when it fails. :class:`NetworkFailed` says which step the kernel refused.
    """
    host_end = veth_name(sandbox_id)
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    except FileNotFoundError as err:
        raise NetworkFailed(f"the process {pid} of sandbox {sandbox_id} ended before its network was made") from err
    try:
        if os.fstat(namespace).st_ino == os.stat("/proc/self/ns/net").st_ino:  # noqa: PTH116
            raise NetworkFailed(f"the process {pid} of sandbox {sandbox_id} shares this host's network")
        _make_veth(host_end, namespace, port, bridge)
        try:
            in_namespace(namespace, lambda: _configure(port))
        except BaseException:
            delete_link(host_end)
            raise
    finally:
        os.close(namespace)


def allow_hairpin(host_end: str) -> None:
    """Let the bridge send a sandbox's packets back to it: to its own published port, by the board's address.

    Under br_netfilter a packet is translated inside the bridge, and has to leave by the port it came in on.
    """
    index = index_of(host_end)
    if index is None:
        return
    with ip_route() as ip:
        try:
            ip.brport("set", index=index, mode=1)
        except _netlink_error() as err:
            raise explain(err, f"the bridge's port {host_end} cannot be set") from err


def plugged(pid: int, bridge: str) -> bool:
    """Whether the process's network namespace has an ``eth0`` that is up and whose other end is on the bridge."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        other_end = in_namespace(namespace, _other_end)
    finally:
        os.close(namespace)
    if other_end is None:
        return False
    with ip_route() as ip:
        try:
            link = ip.link("get", index=other_end)[0]
        except _netlink_error():
            return False
        master = link.get_attr("IFLA_MASTER")
        return master is not None and master == index_of(bridge)


def _other_end() -> int | None:
    """The index of the link at the other end of this namespace's ``eth0``, if that is up.

    Asked for by flag: the operational state follows a moment after the link was set up.
    """
    index = index_of(SANDBOX_LINK)
    if index is None:
        return None
    with ip_route() as ip:
        link = ip.link("get", index=index)[0]
        return int(link.get_attr("IFLA_LINK")) if link["flags"] & _IFF_UP else None


def _make_veth(host_end: str, namespace: int, port: Port, bridge: str) -> None:
    with ip_route() as ip:
        master = index_of(bridge)
        if master is None:
            raise NetworkFailed(f"the bridge {bridge} is gone", hint="run zun-arm reconcile")
        request: dict[str, Any] = {
            "ifname": host_end,
            "kind": "veth",
            "master": master,
            "mtu": port.mtu,
            "state": "up",
            "peer": {"ifname": SANDBOX_LINK, "net_ns_fd": namespace, "address": port.mac, "mtu": port.mtu},
        }
        try:
            try:
                ip.link("add", **request)
            except _netlink_error() as err:
                if getattr(err, "code", None) != errno.EEXIST:
                    raise
                # The end of a namespace that just died; the kernel removes it a moment later.
                ip.link("del", index=ip.link_lookup(ifname=host_end)[0])
                ip.link("add", **request)
        except _netlink_error() as err:
            raise explain(err, f"the link {host_end} cannot be made") from err


def _configure(port: Port) -> None:
    index = index_of(SANDBOX_LINK)
    if index is None:
        raise NetworkFailed(f"{SANDBOX_LINK} vanished while it was set up")
    with ip_route() as ip:
        try:
            ip.addr("add", index=index, address=port.address, prefixlen=port.prefix)
            ip.link("set", index=index, state="up")
            ip.route("add", dst="default", gateway=port.gateway, oif=index)
        except _netlink_error() as err:
            raise explain(err, f"the address {port.address}/{port.prefix} cannot be set") from err


def in_namespace(namespace: int, action: Callable[[], T]) -> T:
    """Run ``action`` in a thread of its own that entered the network namespace ``namespace`` (a file descriptor)."""
    results: list[T] = []
    failures: list[BaseException] = []

    def entered() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace, _CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise explain(OSError(code, os.strerror(code)), "the sandbox's network cannot be entered")
            results.append(action())
        except BaseException as err:
            failures.append(err)

    thread = threading.Thread(target=entered, name="zun-arm-netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _netlink_error() -> type[Exception]:
    from pyroute2.netlink.exceptions import NetlinkError

    return NetlinkError  # type: ignore[no-any-return]
