"""The command line on a host of fakes, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fakes.host import FakeHost
from zun_arm import conf


class FakeApp:
    """What :class:`zun_arm.wiring.App` is to the commands."""

    def __init__(self, fake: FakeHost, state_dir: Path) -> None:
        self.host = fake.host
        self.engine = fake.engine
        self.network = fake.network
        self.board = fake.board
        self.book = fake.book
        self.locks = fake.locks
        self.work_dir = state_dir / "work"
        self.settings = conf.load([])

    def tools(self) -> dict[str, Callable[[], str]]:
        return {"busybox": lambda: "/usr/bin/busybox"}


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs ``zun-arm ARGS`` on the fakes."""

    def __init__(
        self, fake: FakeHost, state_dir: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.fake = fake
        self._monkeypatch = monkeypatch
        self._capture = capture
        monkeypatch.setattr("zun_arm.wiring.App", lambda: FakeApp(fake, state_dir))

    def __call__(self, *args: str) -> Ended:
        from zun_arm.cli.main import main

        self._monkeypatch.setattr(sys, "argv", ["zun-arm", *args])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)
