"""The main path: launch, be in it, look at it, delete it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

KEYS = [
    "id",
    "name",
    "image",
    "platform",
    "execution",
    "state",
    "address",
    "mac",
    "memory_mib",
    "vcpus",
    "pids",
    "created_at",
    "expires_at",
    "exit_code",
]


@pytest.mark.parametrize(("platform", "machine"), [("linux/arm/v7", "armv7l"), ("linux/arm64", "aarch64")])
def test_a_launched_sandbox_runs_its_platform(
    launched: Callable[..., Any], cli: Any, platform: str, machine: str
) -> None:
    told = launched("--name", "ana", "--platform", platform, "--memory", "64M", "--cpus", "0.5", "--pids", "64")
    assert list(told)[: len(KEYS)] == KEYS
    assert (told["name"], told["platform"], told["state"]) == ("ana", platform, "running")
    assert (told["memory_mib"], told["vcpus"], told["pids"], told["exit_code"]) == (64, 0.5, 64, None)
    assert told["execution"] in ("native", "native-compat32", "emulated")
    if told["execution"] == "emulated":
        assert told["emulator"]["version"] and told["emulator"]["cpu"]
    assert cli("exec", "ana", "--", "uname", "-m").stdout.strip() == machine
    listed = json.loads(cli("list", "--format", "json").stdout)
    assert [item["name"] for item in listed] == ["ana"]
    assert {**listed[0], "created_at": ""} == {**told, "created_at": ""}


def test_the_network_is_complete_inside(launched: Callable[..., Any], cli: Any) -> None:
    told = launched("--name", "ana")
    assert told["address"] in cli("exec", "ana", "--", "ip", "-4", "addr", "show", "eth0").stdout
    assert told["mac"] in cli("exec", "ana", "--", "ip", "link", "show", "eth0").stdout
    assert "default via" in cli("exec", "ana", "--", "ip", "route").stdout
    assert f"{told['address']}\tana" in cli("exec", "ana", "--", "cat", "/etc/hosts").stdout
    assert cli("exec", "ana", "--", "hostname").stdout.strip() == "ana"


def test_exec_returns_the_programs_own_code(launched: Callable[..., Any], cli: Any) -> None:
    launched("--name", "ana")
    assert cli("exec", "ana", "--", "sh", "-c", "exit 42", check=False).returncode == 42
    assert cli("exec", "-i", "ana", "--", "tr", "a-z", "A-Z", input="armv7").stdout == "ARMV7"
    done = cli("exec", "ana", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
