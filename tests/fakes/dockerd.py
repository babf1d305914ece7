"""A server on a unix socket that answers like Docker Engine, as far as it was told to."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    owner: FakeDockerd


class FakeDockerd:
    """``answers`` maps a path to status and body; ``silent`` takes requests and never answers."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix://{path}"
        self.api_version = "1.41"
        self.silent = False
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.paths: list[str] = []
        self._ended = threading.Event()
        self._server = _Server(str(path), _Handler)
        self._server.owner = self

    def json(self, path: str, answer: Any) -> None:
        self.answers[path] = (200, json.dumps(answer).encode())

    def answer(self, path: str) -> tuple[int, bytes]:
        self.paths.append(path)
        if self.silent:
            self._ended.wait(30)
        plain = path.partition("?")[0]
        if plain in self.answers:
            return self.answers[plain]
        if plain == "/version":
            told = {"Version": "20.10.24", "ApiVersion": self.api_version, "MinAPIVersion": "1.12"}
            return 200, json.dumps(told).encode()
        return 404, json.dumps({"message": "page not found"}).encode()

    def __enter__(self) -> FakeDockerd:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.server.owner.answer(self.path)
        if self.server.owner.silent:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_HEAD = do_GET

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""
