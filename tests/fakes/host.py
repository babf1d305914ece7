"""A whole host of fakes, and what must hold on it."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from fakes.board import FakeBoard
from fakes.book import FakeBook
from fakes.engine import FakeEngine
from fakes.locks import FakeLocks
from fakes.network import FakeNetwork
from fakes.processes import Processes
from fakes.trace import Trace
from zun_arm.core import launching
from zun_arm.core.model import LaunchRequest, Sandbox
from zun_arm.core.platforms import AMD64, ARM64, ARM_V6, ARM_V7, Isa
from zun_arm.core.policy import Host, Policy

ISAS = {ARM_V6: Isa.ARMV6, ARM_V7: Isa.ARMV7, ARM64: Isa.ARMV8, AMD64: Isa.X86_64}


@dataclass
class FakeHost:
    """The core's :class:`Host`, and its parts as what they are."""

    engine: FakeEngine
    network: FakeNetwork
    board: FakeBoard
    book: FakeBook
    locks: FakeLocks
    trace: Trace
    processes: Processes
    host: Host

    def launch(self, name: str = "ana", image: str = "tiny", **options: Any) -> Sandbox:
        return launching.launch(self.host, LaunchRequest(image=image, name=name, **options))

    def sandbox(self, name: str = "ana") -> Sandbox:
        return self.engine.sandbox(name)

    def kept(self) -> dict[str, Any]:
        """Everything there is of sandboxes on this host, to compare."""
        return {
            "containers": {one.name: (one.id, one.state, one.plan.record) for one in self.engine.containers.values()},
            "leases": dict(self.network.leases),
            "gates": sorted(self.network.gates),
            "links": sorted(self.network.links),
            "published": dict(self.network.published),
            "processes": sorted(process.sandbox_id for process in self.processes.running.values()),
            "held locks": sorted(self.locks.held),
            "lock files": sorted(self.locks.files),
        }

    def whole(self, sandbox_id: str) -> list[str]:
        """What a running sandbox lacks; an empty list is what is wanted."""
        processes = self.processes.of(sandbox_id)
        lacks = {
            "a process": len(processes) == 1,
            "a link": sandbox_id in self.network.links and all(process.network for process in processes),
            "its lease": sandbox_id in self.network.leases.values(),
            "its gate": sandbox_id in self.network.gates,
            "an open gate": not any(process.at_gate for process in processes),
        }
        return [what for what, there in lacks.items() if not there]


NOTHING: dict[str, Any] = {
    "containers": {},
    "leases": {},
    "gates": [],
    "links": [],
    "published": {},
    "processes": [],
    "held locks": [],
    "lock files": [],
}


def make_host(*platforms: str, **policy: Any) -> FakeHost:
    """A board with the recipe ``tiny`` built for ``platforms`` (linux/arm/v7 and linux/arm64 when none is named)."""
    trace, processes = Trace(), Processes()
    engine, network = FakeEngine(trace, processes), FakeNetwork(trace, processes)
    board, book, locks = FakeBoard(), FakeBook(measure_label, trace), FakeLocks(trace)
    for platform in platforms or (ARM_V7, ARM64):
        tag = platform.removeprefix("linux/").replace("/", "-")
        image = engine.add_image(f"zun-arm/tiny:{tag}", labelled=platform, command=("/sbin/init",))
        book.note(image.id, ISAS[platform])
    host = Host(engine=engine, network=network, board=board, book=book, locks=locks, policy=Policy(**policy))
    return FakeHost(engine, network, board, book, locks, trace, processes, host)


def measure_label(saved: bytes) -> Isa | None:
    """The "programs" of a fake image: its label ``truth``, or else the platform it claims."""
    with tarfile.open(fileobj=BytesIO(saved)) as tar:
        content = tar.extractfile("manifest.json")
        assert content is not None
        told = json.loads(content.read())
    truth = told["labels"].get("truth")
    return Isa(truth) if truth else ISAS.get(told["labelled"])
