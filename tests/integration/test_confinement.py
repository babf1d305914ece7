"""What a sandbox may not do: use more than its limits, gain rights, reach the board's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker

Launch = Callable[..., dict[str, Any]]


def cgroup_file(client: docker.DockerClient, name: str, controller: str, file_v1: str, file_v2: str) -> str:
    """A file of the sandbox's cgroup, wherever this host mounts it."""
    pid = client.api.inspect_container(f"zun-arm-{name}")["State"]["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return (Path("/sys/fs/cgroup") / controllers / path.lstrip("/") / file_v1).read_text().strip()
        if not controllers:
            unified = Path("/sys/fs/cgroup") / path.lstrip("/") / file_v2
    return unified.read_text().strip()


def inside(cli: Any, script: str) -> str:
    told: str = cli("exec", "ana", "--", "sh", "-c", script).stdout
    return told


def test_limits_are_in_the_cgroup(launched: Launch, client: docker.DockerClient) -> None:
    launched("--name", "ana", "--memory", "96M", "--cpus", "0.25", "--pids", "33")
    assert cgroup_file(client, "ana", "memory", "memory.limit_in_bytes", "memory.max") == str(96 * 1024 * 1024)
    assert cgroup_file(client, "ana", "pids", "pids.max", "pids.max") == "33"
    quota = cgroup_file(client, "ana", "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0]
    period = cgroup_file(client, "ana", "cpu", "cpu.cfs_period_us", "cpu.max").split()[-1]
    assert int(quota) / int(period) == 0.25


def test_memory_limit(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", "--memory", "64M")
    eater = cli("exec", "ana", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=400M", "count=1", check=False)
    assert eater.returncode == 137, f"a program took 400 MiB of its 64: {eater.stderr}"
    assert inside(cli, "echo alive") == "alive\n"
    launched("--name", "ben", "--memory", "64M", program=("dd", "if=/dev/zero", "of=/dev/null", "bs=400M", "count=1"))
    assert cli("wait", "ben", "--timeout", "60s").stdout == "137\n"
    assert json.loads(cli("show", "ben", "--format", "json").stdout)["exit_code"] == 137


def test_pids_limit(launched: Launch, cli: Any, eventually: Any) -> None:
    launched("--name", "ana", "--pids", "24")
    many = "i=0; while [ $i -lt 40 ]; do sleep 1 & i=$((i+1)); done; wait"
    bomb = cli("exec", "ana", "--", "sh", "-c", many, check=False)
    assert "fork" in bomb.stderr or "pthread" in bomb.stderr or "Resource temporarily" in bomb.stderr, bomb
    [stats] = json.loads(cli("stats", "ana", "--interval", "0.05", "--format", "json").stdout)
    assert stats["pids"] <= stats["pids_limit"] == 24

    def works() -> bool:
        return cli("exec", "ana", "--", "echo", "alive", check=False).stdout == "alive\n"

    eventually(works, "the sandbox to work again", within=15)


def test_stats(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", "--memory", "64M", "--cpus", "0.5", "--pids", "50")
    launched("--name", "ben", program=("sh", "-c", "while :; do :; done"))
    rows = {row["name"]: row for row in json.loads(cli("stats", "--format", "json").stdout)}
    assert list(rows) == ["ana", "ben"]
    assert list(rows["ana"]) == [
        *("name", "memory_mib", "memory_limit_mib", "cpu_percent", "vcpus", "cpu_seconds", "pids", "pids_limit"),
        "execution",
    ]
    ana, ben = rows["ana"], rows["ben"]
    assert 0 < ana["memory_mib"] <= ana["memory_limit_mib"] == 64
    assert (ana["vcpus"], ana["pids_limit"]) == (0.5, 50)
    assert 1 <= ana["pids"] <= 50
    assert ana["cpu_percent"] < 30 < ben["cpu_percent"] < 130
    assert json.loads(cli("stats", "ana", "--format", "json").stdout)[0]["name"] == "ana"
    cli("stop", "--timeout", "0", "ana")
    assert [row["name"] for row in json.loads(cli("stats", "--format", "json").stdout)] == ["ben"]


def test_cpu_limit(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", "--cpus", "0.2", program=("sh", "-c", "while :; do :; done"))
    [stats] = json.loads(cli("stats", "ana", "--interval", "2", "--format", "json").stdout)
    assert stats["cpu_percent"] <= 30, "a loop uses more than its fifth of a CPU"


def test_zombies_are_reaped(launched: Launch, cli: Any, eventually: Any) -> None:
    launched("--name", "ana")
    assert inside(cli, "cat /proc/1/comm").strip() in ("docker-init", "tini")
    inside(cli, "for i in 1 2 3 4 5; do sh -c 'sleep 0.2 & sleep 0.1 &'; done")

    def states() -> str:
        return inside(cli, "cat /proc/[0-9]*/status 2>/dev/null | grep ^State")

    eventually(lambda: "Z (" not in states() and "sleep 0.2" not in inside(cli, "ps"), "zombies to be gone", within=10)


def test_rights_are_few(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    status = dict(line.split(":\t", 1) for line in inside(cli, "cat /proc/1/status").splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    # AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, NET_BIND_SERVICE, SETGID, SETUID, SYS_CHROOT
    allowed = {29, 0, 1, 3, 4, 5, 10, 6, 7, 18}
    bounding = int(status["CapBnd"], 16)
    assert {number for number in range(64) if bounding >> number & 1} <= allowed


FORBIDDEN = {
    "change its address": "ip addr add 10.203.9.9/20 dev eth0",
    "take its link down": "ip link set eth0 down",
    "mount": "mount -t tmpfs tmpfs /mnt",
    "make our mounts writable": "mount -o remount,rw /etc/hosts",
    "unmount our files": "umount /etc/hosts",
    "make device nodes": "mknod /tmp/disk b 8 0",
    "write to /proc/sys": "echo 1 >/proc/sys/kernel/sysrq",
    "set the clock": "date -s 2020-01-01 2>&1 | grep 'not permitted' >&2 && exit 1",
    "change /etc/hosts": "echo 1 >>/etc/hosts",
    "change /etc/resolv.conf": "echo 1 >/etc/resolv.conf",
    "change /etc/hostname": "echo 1 >/etc/hostname",
    "change the gate's program": "echo 1 >/.zun-arm/busybox",
    "change the gate's script": "echo 1 >/.zun-arm/start",
    "add files to the gate": "touch /.zun-arm/file",
    "remove the gate": "rm /.zun-arm/gate",
    "make namespaces": "unshare -m true",
    "raise its limits": "f=$(ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null);"
    " echo 1000000000 >$f",
}


def test_what_a_sandbox_cannot_do(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    done = {what: cli("exec", "ana", "--", "sh", "-c", script, check=False) for what, script in FORBIDDEN.items()}
    assert [what for what, how in done.items() if how.returncode == 0] == []
    assert [what for what, how in done.items() if not how.stderr] == []
    assert inside(cli, "echo alive") == "alive\n"


def test_the_boards_files_are_out_of_reach(launched: Launch, cli: Any, client: docker.DockerClient) -> None:
    launched("--name", "ana")
    assert inside(cli, "find / -xdev -name '*.sock' 2>/dev/null; ls /dev | grep -E '^(sd|vd|mem|kmsg|mmc)'; true") == ""
    mounts = client.api.inspect_container("zun-arm-ana")["Mounts"]
    assert {mount["Destination"] for mount in mounts} == {
        *("/.zun-arm", "/.zun-arm/busybox", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
    }
    assert not any(mount["RW"] for mount in mounts)
    shown = [line.split() for line in inside(cli, "cat /proc/mounts").splitlines()]
    ours = {line[1]: line[3].split(",") for line in shown if line[1].startswith(("/.zun-arm", "/etc/"))}
    assert len(ours) == 5 and all("ro" in options for options in ours.values())


def test_another_sandbox_is_out_of_reach(launched: Launch, cli: Any) -> None:
    launched("--name", "ben", program=("sh", "-c", "exec sleep 424242"))
    launched("--name", "ana")
    assert "424242" not in inside(cli, "cat /proc/[0-9]*/cmdline").replace("\0", " ")
