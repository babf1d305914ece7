"""A sandbox's life: stop, start, pause, rename, rebuild, snapshot, batches, lifetimes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import docker
import pytest

Launch = Callable[..., dict[str, Any]]


def shown(cli: Any, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cli("show", name, "--format", "json").stdout)
    return told


def inside(cli: Any, name: str, script: str) -> str:
    """What a shell script in the sandbox prints."""
    told: str = cli("exec", name, "--", "sh", "-c", script).stdout
    return told


def network_inside(cli: Any, name: str) -> tuple[str, ...]:
    """MAC and address as the sandbox itself sees them, and its default route."""
    text = inside(cli, name, "cat /sys/class/net/eth0/address; ip -4 -o addr show eth0; ip route | grep ^default")
    mac, address, route = text.splitlines()
    return mac, address.split()[3], route.strip()


def test_stop_and_start_keep_address_mac_and_files(launched: Launch, cli: Any) -> None:
    told = launched("--name", "ana")
    before = network_inside(cli, "ana")
    inside(cli, "ana", "echo kept >/root/file")
    assert cli("stop", "ana").stdout == "ana\n"
    stopped = shown(cli, "ana")
    assert (stopped["state"], stopped["address"], stopped["mac"]) == ("exited", told["address"], told["mac"])
    assert stopped["exit_code"] == 143
    refused = cli("exec", "ana", "--", "true", check=False)
    assert refused.returncode == 1
    assert "'ana' is exited" in refused.stderr and "zun-arm start ana" in refused.stderr
    refused = cli("stats", "ana", check=False)
    assert refused.returncode == 1 and "not running" in refused.stderr

    assert cli("start", "ana").stdout == "ana\n"
    assert shown(cli, "ana")["state"] == "running"
    assert network_inside(cli, "ana") == before
    assert inside(cli, "ana", "cat /root/file") == "kept\n"


def test_stop_and_start_are_idempotent(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    inside(cli, "ana", "touch /tmp/same-run")
    pid = inside(cli, "ana", "cat /proc/1/stat").split()[21]
    cli("start", "ana")
    assert inside(cli, "ana", "cat /proc/1/stat").split()[21] == pid, "a running sandbox was started again"
    cli("stop", "--timeout", "0", "ana")
    cli("stop", "--timeout", "0", "ana")
    assert shown(cli, "ana")["state"] == "exited"


def test_restart(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    before = network_inside(cli, "ana")
    inside(cli, "ana", "echo kept >/root/file; touch /dev/shm/gone")
    cli("restart", "--timeout", "1", "ana")
    assert network_inside(cli, "ana") == before
    assert inside(cli, "ana", "cat /root/file; ls /dev/shm") == "kept\n"


def test_an_address_is_not_given_away_while_its_sandbox_is_stopped(launched: Launch, cli: Any) -> None:
    ana = launched("--name", "ana")
    cli("stop", "--timeout", "0", "ana")
    ben = launched("--name", "ben")
    assert ben["address"] != ana["address"]
    cli("start", "ana")
    assert shown(cli, "ana")["address"] == ana["address"]


def test_pause_and_unpause(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", program=("sh", "-c", "while :; do echo tick; sleep 0.1; done"))
    cli("pause", "ana")
    assert shown(cli, "ana")["state"] == "paused"
    for command in (("exec", "ana", "--", "true"), ("start", "ana")):
        refused = cli(*command, check=False)
        assert refused.returncode == 1
        assert "paused" in refused.stderr and "zun-arm unpause ana" in refused.stderr
    ticks = len(cli("logs", "ana").stdout)
    assert len(cli("logs", "ana").stdout) == ticks, "a paused sandbox went on"
    cli("unpause", "ana")
    assert shown(cli, "ana")["state"] == "running"
    assert inside(cli, "ana", "echo alive") == "alive\n"
    cli("pause", "ana")
    cli("stop", "--timeout", "0", "ana")
    assert shown(cli, "ana")["state"] == "exited"
    cli("start", "ana")
    cli("pause", "ana")
    cli("delete", "ana")


def test_rename(launched: Launch, cli: Any) -> None:
    told = launched("--name", "ana")
    launched("--name", "ben")
    cli("rename", "ana", "ana-os1")
    renamed = shown(cli, "ana-os1")
    assert {**renamed, "name": "", "created_at": ""} == {**told, "name": "", "created_at": ""}
    assert shown(cli, told["id"])["name"] == "ana-os1"
    assert shown(cli, told["id"][:8])["name"] == "ana-os1"
    assert cli("show", "ana", check=False).returncode == 1
    taken = cli("rename", "ana-os1", "ben", check=False)
    assert taken.returncode == 1 and "'ben' is in use" in taken.stderr
    assert cli("rename", "ana-os1", "No_Name", check=False).returncode == 2
    assert sorted(item["name"] for item in json.loads(cli("list", "--format", "json").stdout)) == ["ana-os1", "ben"]


def test_rebuild_keeps_identity_and_loses_files(launched: Launch, cli: Any, left_over: Any) -> None:
    told = launched("--name", "ana", "--memory", "96M")
    before = network_inside(cli, "ana")
    inside(cli, "ana", "echo lost >/root/file")
    rebuilt = json.loads(cli("rebuild", "ana", "--timeout", "1", "--format", "json").stdout)
    for key in ("id", "name", "address", "mac", "memory_mib", "platform", "image"):
        assert rebuilt[key] == told[key], key
    assert network_inside(cli, "ana") == before
    assert inside(cli, "ana", "ls /root") == ""
    assert [item for item in left_over() if item.startswith("container")] == ["container zun-arm-ana"]


def test_rebuild_from_another_image_and_of_a_stopped_sandbox(launched: Launch, cli: Any) -> None:
    told = launched("--name", "ana", "--platform", "linux/arm/v7")
    cli("stop", "--timeout", "0", "ana")
    rebuilt = json.loads(cli("rebuild", "ana", "--image", "zun-arm/tiny:arm64", "--format", "json").stdout)
    assert (rebuilt["id"], rebuilt["address"]) == (told["id"], told["address"])
    assert (rebuilt["platform"], rebuilt["state"]) == ("linux/arm64", "running")
    assert inside(cli, "ana", "uname -m") == "aarch64\n"
    assert shown(cli, "ana") == {**rebuilt, "created_at": shown(cli, "ana")["created_at"]}


@pytest.mark.parametrize("image", ["no-such-image", "nocommand"])
def test_a_failing_rebuild_leaves_the_old_one_running(
    launched: Launch, cli: Any, no_command: str, left_over: Any, image: str
) -> None:
    told = launched("--name", "ana")
    before = network_inside(cli, "ana")
    inside(cli, "ana", "echo kept >/root/file")
    failed = cli("rebuild", "ana", "--image", image, "--timeout", "1", check=False)
    assert failed.returncode == 1
    assert image in failed.stderr and "hint" in failed.stderr
    now = shown(cli, "ana")
    assert (now["id"], now["state"], now["image"]) == (told["id"], "running", told["image"])
    assert network_inside(cli, "ana") == before
    assert inside(cli, "ana", "cat /root/file") == "kept\n"
    assert [item for item in left_over() if item.startswith("container")] == ["container zun-arm-ana"]
    assert [item for item in left_over() if item.startswith("finding")] == []


def test_snapshot(launched: Launch, cli: Any, client: docker.DockerClient) -> None:
    launched("--name", "ana", "--platform", "linux/arm/v7")
    inside(cli, "ana", "echo kept >/root/file")
    made = json.loads(cli("snapshot", "ana", "lab1:monday", "--format", "json").stdout)
    try:
        assert (made["name"], made["platform"]) == ("lab1:monday", "linux/arm/v7")
        told = launched("--name", "ben", image="lab1:monday")
        assert told["platform"] == "linux/arm/v7"
        assert inside(cli, "ben", "cat /root/file; hostname") == "kept\nben\n"
        # Docker copies an image's labels to its containers: that must not make a container ours.
        by_hand = client.containers.run("lab1:monday", name="by-hand", detach=True)
        try:
            by_hand.reload()
            assert by_hand.attrs["Path"] == "/sbin/start", "the snapshot starts our gate instead of its own program"
            assert "by-hand" not in cli("list").stdout
            assert sorted(item["name"] for item in json.loads(cli("list", "--format", "json").stdout)) == ["ana", "ben"]
            assert json.loads(cli("reconcile", "--format", "json").stdout) == []
            cli("delete", "--all")
            by_hand.reload()
            assert by_hand.status == "running"
        finally:
            by_hand.remove(force=True)
    finally:
        cli("delete", "--all")
        cli("image", "delete", "lab1:monday")


def test_a_snapshot_does_not_keep_the_environment_of_its_sandbox(
    launched: Launch, cli: Any, client: docker.DockerClient
) -> None:
    """Environment variables are where people put passwords, and images are passed on."""
    launched("--name", "ana", "--env", "PASSWORD=secret")
    cli("snapshot", "ana", "lab1")
    try:
        config = client.images.get("lab1").attrs["Config"]
        assert "PASSWORD=secret" not in config["Env"]
        assert any(item.startswith("PATH=") for item in config["Env"])
        assert "secret" not in json.dumps(config)
    finally:
        cli("image", "delete", "lab1")


def test_snapshot_of_a_bad_name_or_sandbox(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    refused = cli("snapshot", "ana", "Not A Name", check=False)
    assert refused.returncode == 2 and "name for an image" in refused.stderr
    assert cli("snapshot", "nobody", "lab1", check=False).returncode == 1


def test_exit_code_and_wait(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", program=("sh", "-c", "sleep 1; exit 3"))
    assert cli("wait", "ana").stdout == "3\n"
    told = shown(cli, "ana")
    assert (told["state"], told["exit_code"]) == ("exited", 3)
    assert json.loads(cli("wait", "ana", "--format", "json").stdout) == {"name": "ana", "exit_code": 3}
    launched("--name", "ben")
    late = cli("wait", "ben", "--timeout", "1s", check=False)
    assert late.returncode == 1 and "still ran after 1 s" in late.stderr


def test_a_program_that_is_not_in_the_image(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", program=("no-such-program",))
    assert cli("wait", "ana", "--timeout", "10s").stdout == "127\n"
    assert "no-such-program is not in this image" in cli("logs", "ana").stdout


def test_delete_batches(launched: Launch, cli: Any, left_over: Any) -> None:
    launched("--name", "ana")
    launched("--name", "ben")
    done = cli("stop", "--timeout", "0", "ana", "nobody", check=False)
    assert done.returncode == 4
    assert done.stdout == "ana\n" and "nobody" in done.stderr and "1 of 2 failed" in done.stderr
    assert shown(cli, "ana")["state"] == "exited"
    done = cli("delete", "nobody", "ana", check=False)
    assert done.returncode == 4 and done.stdout == "ana\n"
    done = cli("delete", "nobody", check=False)
    assert done.returncode == 1 and "there is no sandbox 'nobody'" in done.stderr and "zun-arm list" in done.stderr
    assert cli("delete", "--if-exists", "nobody").stdout == ""
    assert cli("delete", "--if-exists", "nobody", "ben").stdout == "ben\n"
    assert left_over() == []
    assert cli("delete", "--all").stdout == ""
    assert cli("delete", check=False).returncode == 2
    assert cli("delete", "--all", "ana", check=False).returncode == 2


def test_delete_all(launched: Launch, cli: Any, left_over: Any) -> None:
    launched("--name", "ana", "--publish", "18080:80")
    launched("--name", "ben")
    cli("stop", "--timeout", "0", "ben")
    assert sorted(cli("delete", "--all").stdout.split()) == ["ana", "ben"]
    assert left_over() == []


def test_lifetime(launched: Launch, cli: Any, eventually: Any) -> None:
    told = launched("--name", "ana", "--ttl", "1s", "--publish", "18080:80")
    kept = launched("--name", "ben", "--ttl", "8h")
    assert told["expires_at"] > told["created_at"] and kept["expires_at"] > told["expires_at"]
    findings = eventually(lambda: json.loads(cli("reconcile", "--format", "json").stdout), "an expired sandbox")
    assert [(item["kind"], item["what"], item["error"]) for item in findings] == [("expired sandbox", "ana", None)]
    assert [item["name"] for item in json.loads(cli("list", "--format", "json").stdout)] == ["ben"]


def test_environment_and_command(launched: Launch, cli: Any) -> None:
    program = ("sh", "-c", 'echo "$COURSE|$EMPTY|$0|$1|$SHLVL"; sleep 1000', "a b", "c\nd")
    launched("--name", "ana", "--env", "COURSE=os 1=x", "--env", "EMPTY=", program=program)
    assert cli("exec", "ana", "--env", "MORE=1", "--", "sh", "-c", "echo $COURSE $MORE").stdout == "os 1=x 1\n"
    cli("stop", "--timeout", "0", "ana")
    assert cli("logs", "ana").stdout.replace("\r", "").startswith("os 1=x||a b|c\nd|")


def test_made_up_names_are_told(launched: Launch, cli: Any) -> None:
    told = launched()
    assert shown(cli, told["name"])["id"] == told["id"]
    table = cli("list").stdout.splitlines()
    assert table[0].split()[:4] == ["NAME", "STATE", "PLATFORM", "EXECUTION"]
    assert told["name"] in table[1] and told["execution"] in table[1]
