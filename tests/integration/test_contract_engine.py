"""Docker keeps the engine's contract, with a real ARM userland."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from fakes.contracts.engine import EngineContract

from zun_arm.core.model import Image
from zun_arm.engine.adapter import DockerEngine
from zun_arm.wiring import App


class TestDockerEngine(EngineContract):
    @pytest.fixture
    def engine(self, app: App) -> DockerEngine:
        return app.engine

    @pytest.fixture
    def image(self, engine: DockerEngine, tiny: str, client: docker.DockerClient) -> Iterator[Image]:
        name = f"zun-arm/{tiny}:arm-v7"
        yield engine.image(name)
        assert client.images.get(name), "a test took the image away"
