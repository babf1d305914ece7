"""The API's version is the engine's own, from 1.41 (Docker 20.10) to what Docker 29 speaks; it is asked for once."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from zun_arm.engine.adapter import DockerEngine
from zun_arm.errors import HostNotReady


class Answers(http.server.BaseHTTPRequestHandler):
    """As much of an engine as version negotiation and a list need."""

    protocol_version = "HTTP/1.1"
    api_version: ClassVar[str]
    asked: ClassVar[list[str]]
    connections: ClassVar[set[int]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if not self.path.endswith("/version"):
            self.connections.add(id(self.connection))
        told = {"ApiVersion": self.api_version, "Version": "x"} if self.path.endswith("/version") else []
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def engine_speaking(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[DockerEngine, type[Answers]]]:
    handler = type("Handler", (Answers,), {"api_version": request.param, "asked": [], "connections": set()})
    with Server(str(tmp_path / "docker.sock"), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield DockerEngine(f"unix://{tmp_path}/docker.sock", 5), handler
        server.shutdown()


@pytest.mark.parametrize("engine_speaking", ["1.41", "1.44", "1.47", "1.52"], indirect=True)
def test_the_engines_own_version_is_spoken(engine_speaking: tuple[DockerEngine, type[Answers]]) -> None:
    engine, server = engine_speaking
    assert engine.sandboxes() == []
    assert engine.sandboxes() == []
    assert [path.partition("?")[0] for path in server.asked] == [
        "/version",
        f"/v{server.api_version}/containers/json",
        f"/v{server.api_version}/containers/json",
    ]
    assert len(server.connections) == 1, "the connection is kept open"


@pytest.mark.parametrize("engine_speaking", ["1.40", "1.24"], indirect=True)
def test_an_old_engine_is_refused(engine_speaking: tuple[DockerEngine, type[Answers]]) -> None:
    engine, _server = engine_speaking
    with pytest.raises(HostNotReady, match=r"too old: it speaks API 1\.\d+, zun-arm needs 1\.41") as caught:
        engine.sandboxes()
    assert "20.10" in (caught.value.hint or "")
