"""Address leases: one link per address, that names the sandbox's id. Taken under a lock, so none is given twice.

A link has no content to be written to the disk before Docker's own files: it costs a launch nothing, a file 1 to 2 ms.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from zun_arm.errors import DoesNotFit
from zun_arm.locks import FileLocks

_LOCK = "leases"
_COMPLETE = ".complete"


class Leases:
    """The addresses of one subnet and who has them."""

    def __init__(self, directory: Path, locks: FileLocks) -> None:
        self._directory = directory
        self._locks = locks

    @property
    def known(self) -> bool:
        """Whether the files can be trusted; False when they were never written, or were lost."""
        return (self._directory / _COMPLETE).exists()

    def restore(self, held: Iterable[tuple[str, str]]) -> None:
        """Write the leases anew from (sandbox id, address) pairs; existing files are kept."""
        with self._locks.hold(_LOCK):
            self._directory.mkdir(parents=True, exist_ok=True)
            for sandbox_id, address in held:
                self._write(address, sandbox_id)
            (self._directory / _COMPLETE).touch()

    def take(self, sandbox_id: str, subnet: ipaddress.IPv4Network) -> str:
        """The sandbox's address: the one it has, or the lowest free one. :class:`DoesNotFit` when none is left."""
        with self._locks.hold(_LOCK):
            taken = self.all()
            for address, holder in taken.items():
                if holder == sandbox_id:
                    return address
            gateway = next(subnet.hosts())
            for host in subnet.hosts():
                address = str(host)
                if host != gateway and address not in taken:
                    self._write(address, sandbox_id)
                    return address
        raise DoesNotFit(
            f"no address is free: all {subnet.num_addresses - 3} of {subnet} belong to sandboxes",
            hint="delete sandboxes (zun-arm list), or set a larger [network] subnet",
        )

    def release(self, sandbox_id: str) -> None:
        """Give back every address of a sandbox; none is no error."""
        for address, holder in self.all().items():
            if holder == sandbox_id:
                self.drop(address)

    def _write(self, address: str, sandbox_id: str) -> None:
        """The lease appears whole or not at all, whatever happens meanwhile."""
        self.drop(address)
        (self._directory / address).symlink_to(sandbox_id)

    def drop(self, address: str) -> None:
        """Forget one address."""
        with suppress(FileNotFoundError):
            (self._directory / address).unlink()

    def all(self) -> dict[str, str]:
        """Address -> sandbox id."""
        found = {}
        for file in self._files():
            with suppress(FileNotFoundError):
                found[file.name] = str(file.readlink())
        return found

    def _files(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        return [file for file in self._directory.iterdir() if not file.name.startswith(".")]


def mac_of(address: str) -> str:
    """The MAC of an address: locally administered, and always the same, so that no neighbour's ARP entry goes stale."""
    return "0a:5a:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)
