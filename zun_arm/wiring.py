"""The composition root: which adapters serve the core, made from the configuration."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from zun_arm.conf import Settings, load
from zun_arm.core.imagebook import FileImageBook
from zun_arm.core.model import Board, Limits, Run
from zun_arm.core.pieces import Pieces
from zun_arm.core.platforms import Isa
from zun_arm.core.policy import Host, Policy
from zun_arm.engine.adapter import DockerEngine
from zun_arm.errors import HostNotReady
from zun_arm.locks import FileLocks
from zun_arm.net.adapter import KernelNetwork


class ThisBoard:
    """:class:`zun_arm.core.seams.BoardFacts` of this machine, looked at once; or of a saved one, for tests."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    @cached_property
    def _board(self) -> Board:
        from zun_arm import board

        return board.describe(self._root)

    def describe(self) -> Board:
        """What this machine is."""
        return self._board

    def run_for(self, isa: Isa) -> Run:
        """How it runs a userland of this instruction set."""
        from zun_arm import board

        return board.run_for(self._board, isa)

    def memory_available_mib(self) -> int:
        """MiB of memory the kernel could give to new programs now (MemAvailable)."""
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
        raise HostNotReady("/proc/meminfo says nothing of MemAvailable", hint="zun-arm needs Linux 3.14 or newer")

    def disk_free_mib(self, path: Path) -> int:
        """MiB free for root on the file system that holds ``path``."""
        try:
            free = os.statvfs(path)
        except OSError as err:
            raise HostNotReady(f"Docker's data root {path} cannot be read: {err}", hint="run as root") from err
        return free.f_bavail * free.f_frsize // (1024 * 1024)


class App:
    """Everything a front end needs, each part made when it is first used."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or load()

    @cached_property
    def engine(self) -> DockerEngine:
        """Docker."""
        return DockerEngine(self.settings.docker_host, self.settings.docker_timeout_s)

    @cached_property
    def locks(self) -> FileLocks:
        """Locks between processes."""
        return FileLocks(self.settings.state_dir / "locks")

    @cached_property
    def network(self) -> KernelNetwork:
        """Bridge, links, leases, rules."""
        return KernelNetwork(self.settings, self.locks)

    @cached_property
    def board(self) -> ThisBoard:
        """This machine."""
        return ThisBoard(self.settings.board_root)

    @cached_property
    def book(self) -> FileImageBook:
        """What was measured of images."""
        return FileImageBook(self.settings.state_dir / "images", _measure)

    @property
    def work_dir(self) -> Path:
        """Where archives are unpacked and packed: on disk, not in a /tmp that may be memory."""
        return self.settings.state_dir / "work"

    @cached_property
    def host(self) -> Host:
        """All of it, as the use cases want it."""
        settings = self.settings
        return Host(
            engine=self.engine,
            network=self.network,
            board=self.board,
            book=self.book,
            locks=self.locks,
            policy=Policy(
                limits=Limits(memory_mib=settings.memory_mib, vcpus=settings.vcpus, pids=settings.pids),
                reserved_memory_mib=settings.reserved_memory_mib,
                reserved_disk_mib=settings.reserved_disk_mib,
                log_max_mib=settings.log_max_mib,
                refuse_unenforced=settings.unenforced == "refuse",
            ),
        )

    def tools(self) -> dict[str, Callable[[], str]]:
        """The programs a host needs, for the doctor."""
        from zun_arm.net.gate import find_busybox
        from zun_arm.programs import find

        return {
            "busybox": lambda: str(find_busybox()),
            "nft": lambda: find("nft", package="nftables"),
            "iptables": lambda: find("iptables"),
        }


def _measure(saved: Iterator[bytes]) -> Isa | None:
    from zun_arm import images

    measurement = images.measure_saved(cast(BinaryIO, io.BufferedReader(Pieces(saved))))
    return measurement.isa if measurement else None
