"""The fakes keep the contracts, so what is tested with them is tested with something like the real thing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes.book import FakeBook
from fakes.contracts.engine import EngineContract
from fakes.contracts.files import BookContract, LocksContract
from fakes.contracts.network import NetworkContract, Waiting
from fakes.engine import FakeEngine
from fakes.locks import FakeLocks
from fakes.network import FakeNetwork

from zun_arm.core.model import Image
from zun_arm.core.platforms import ARM_V7, Isa


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> FakeEngine:
        return FakeEngine()

    @pytest.fixture
    def image(self, engine: FakeEngine) -> Image:
        return engine.add_image("zun-arm/tiny:arm-v7", labelled=ARM_V7, command=("/sbin/init",))


class TestFakeNetwork(NetworkContract):
    @pytest.fixture
    def network(self) -> FakeNetwork:
        return FakeNetwork()

    @pytest.fixture
    def waiting(self, network: FakeNetwork) -> Callable[[str], Waiting]:
        def spawn(sandbox_id: str) -> Waiting:
            process = network.processes.spawn(sandbox_id, gated=True)
            return Waiting(process.pid, lambda: not process.at_gate, lambda: network.processes.end(process.pid))

        return spawn


class TestFakeBook(BookContract):
    @pytest.fixture
    def book(self) -> FakeBook:
        return FakeBook(lambda saved: Isa(saved.decode()) if saved else None)


class TestFakeLocks(LocksContract):
    @pytest.fixture
    def locks(self) -> FakeLocks:
        return FakeLocks()
