"""Subnets, name servers, leases on disk, and the gate's script run for real by this host's busybox."""

from __future__ import annotations

import ipaddress
import json
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_arm.errors import BadInput, DoesNotFit, HostNotReady, NetworkFailed, TimedOut
from zun_arm.locks import FileLocks
from zun_arm.net import gate, resolver, subnets
from zun_arm.net.gate import Gates, find_busybox
from zun_arm.net.leases import Leases, mac_of
from zun_arm.net.links import veth_name


class TestSubnets:
    def test_the_first_that_overlaps_nothing(self) -> None:
        routed: list[str] = []
        for expected in subnets.CANDIDATES:
            assert str(subnets.choose(None, routed)) == expected
            routed.append(expected)
        with pytest.raises(NetworkFailed, match="overlap routes") as told:
            subnets.choose(None, routed)
        assert "[network] subnet" in str(told.value.hint)

    @pytest.mark.parametrize("route", ["10.0.0.0/8", "10.203.4.0/24", "10.203.15.255/32", "10.203.0.9/20", "0.0.0.0/1"])
    def test_larger_and_smaller_routes_overlap(self, route: str) -> None:
        assert str(subnets.choose(None, [route])) != subnets.CANDIDATES[0]

    def test_a_wanted_one_is_taken_or_refused(self) -> None:
        assert str(subnets.choose("10.99.0.0/24", ["10.98.0.0/16"])) == "10.99.0.0/24"
        with pytest.raises(NetworkFailed, match=r"10\.99\.0\.0/24 overlaps 10\.99\.0\.0/16"):
            subnets.choose("10.99.0.0/24", ["10.99.0.0/16"])

    @pytest.mark.parametrize(
        "text", ["", "x", "10.99.0.1/24", "10.99.0.0/33", "10.99.0.0/30", "10.0.0.0/7", "fd00::/64"]
    )
    def test_what_is_no_subnet(self, text: str) -> None:
        with pytest.raises(BadInput, match="subnet"):
            subnets.parse(text)

    @given(
        st.lists(
            st.ip_addresses(v=4).flatmap(lambda ip: st.integers(9, 32).map(lambda bits: f"{ip}/{bits}")), max_size=4
        )
    )
    def test_what_is_chosen_overlaps_nothing(self, routed: list[str]) -> None:
        try:
            chosen = subnets.choose(None, routed)
        except NetworkFailed:
            chosen = None
        free = [
            candidate
            for candidate in map(ipaddress.IPv4Network, subnets.CANDIDATES)
            if not any(candidate.overlaps(ipaddress.IPv4Network(route, strict=False)) for route in routed)
        ]
        assert chosen == (free[0] if free else None)


class TestResolver:
    def test_every_sandbox_knows_itself_and_localhost(self) -> None:
        lines = resolver.hosts("ana", "10.203.0.2").splitlines()
        assert "127.0.0.1\tlocalhost" in lines and lines[-1] == "10.203.0.2\tana"

    def test_configured_servers_come_first(self, tmp_path: Path) -> None:
        assert resolver.resolv_conf(("192.0.2.53", "198.51.100.53"), tmp_path / "none") == (
            "nameserver 192.0.2.53\nnameserver 198.51.100.53\n"
        )

    def test_the_hosts_own_that_can_be_reached(self, tmp_path: Path) -> None:
        file = tmp_path / "resolv.conf"
        file.write_text(
            "# made by hand\nsearch lab.example\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n"
            "nameserver ::1\nnameserver rubbish\nnameserver\noptions edns0\n"
        )
        assert resolver.resolv_conf((), file) == "search lab.example\nnameserver 192.0.2.53\noptions edns0\n"

    def test_systemds_upstream_in_place_of_its_stub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stub, upstream = tmp_path / "stub", tmp_path / "upstream"
        stub.write_text("nameserver 127.0.0.53\nsearch x\n")
        upstream.write_text("nameserver 192.0.2.7\n")
        monkeypatch.setattr(resolver, "_SYSTEMD_UPSTREAM", upstream)
        assert resolver.resolv_conf((), stub) == "nameserver 192.0.2.7\n"

    def test_none_is_told_in_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resolver, "_SYSTEMD_UPSTREAM", tmp_path / "none")
        text = resolver.resolv_conf((), tmp_path / "none")
        assert text.startswith("#") and "[network] dns" in text


class TestLeases:
    SUBNET = ipaddress.IPv4Network("10.99.0.0/29")

    @pytest.fixture
    def leases(self, tmp_path: Path) -> Leases:
        leases = Leases(tmp_path / "leases", FileLocks(tmp_path / "locks"))
        leases.restore([])
        return leases

    def test_the_lowest_free_address_and_never_the_gateway(self, leases: Leases) -> None:
        assert [leases.take(f"id{number}", self.SUBNET) for number in range(5)] == [
            f"10.99.0.{last}" for last in (2, 3, 4, 5, 6)
        ]
        with pytest.raises(DoesNotFit, match=r"all 5 of 10\.99\.0\.0/29"):
            leases.take("one-more", self.SUBNET)
        leases.release("id1")
        assert leases.take("one-more", self.SUBNET) == "10.99.0.3"

    def test_who_has_one_keeps_it(self, leases: Leases) -> None:
        assert leases.take("ana", self.SUBNET) == leases.take("ana", self.SUBNET)

    def test_another_process_sees_them(self, leases: Leases, tmp_path: Path) -> None:
        address = leases.take("ana", self.SUBNET)
        other = Leases(tmp_path / "leases", FileLocks(tmp_path / "locks"))
        assert other.known and other.all() == {address: "ana"}
        other.drop(address)
        other.drop(address)
        assert leases.all() == {}

    def test_lost_files_are_not_known(self, tmp_path: Path) -> None:
        leases = Leases(tmp_path / "leases", FileLocks(tmp_path / "locks"))
        assert not leases.known and leases.all() == {}
        leases.release("ana")
        leases.restore([("ana", "10.99.0.2")])
        assert leases.known and leases.take("ben", self.SUBNET) == "10.99.0.3"

    def test_threads_never_share_an_address(self, leases: Leases) -> None:
        subnet = ipaddress.IPv4Network("10.99.0.0/24")
        taken: list[str] = []
        start = threading.Barrier(8)

        def take(number: int) -> None:
            start.wait(5)
            taken.extend(leases.take(f"id{number}-{turn}", subnet) for turn in range(5))

        threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(taken) == len(set(taken)) == 40

    @given(st.ip_addresses(v=4))
    def test_a_mac_is_local_unicast_and_tells_the_address(self, address: ipaddress.IPv4Address) -> None:
        mac = bytes.fromhex(mac_of(str(address)).replace(":", ""))
        assert mac[0] & 0b11 == 0b10 and mac[2:] == address.packed


def test_names_of_links_fit_the_kernel() -> None:
    name = veth_name("6f1b3f0e-9a4b-4f0e-8d5e-2f6f5d0c9b1a")
    assert name == "zv6f1b3f0e9a4b" and len(name) < 16


class TestGateFiles:
    def test_what_is_prepared(self, tmp_path: Path) -> None:
        gates = Gates(tmp_path / "sandboxes")
        old = os.umask(0o077)
        try:
            mounts = gates.prepare("ana", "HOSTS", "RESOLV", "ana\n")
        finally:
            os.umask(old)
        place = tmp_path / "sandboxes" / "ana"
        assert {mount.target: mount.source for mount in mounts} == {
            "/.zun-arm": place,
            "/.zun-arm/busybox": find_busybox(),
            "/etc/hosts": place / "hosts",
            "/etc/resolv.conf": place / "resolv.conf",
            "/etc/hostname": place / "hostname",
        }
        assert (place / "hosts").read_text() == "HOSTS" and (place / "resolv.conf").read_text() == "RESOLV"
        assert stat.S_ISFIFO((place / "gate").stat().st_mode)
        # Any user inside must read them, whatever root's umask is.
        assert place.stat().st_mode & 0o777 == 0o755
        assert {file.stat().st_mode & 0o444 for file in place.iterdir()} == {0o444}
        assert {file.stat().st_mode & 0o022 for file in place.iterdir()} == {0}
        assert gates.all() == ["ana"]

    def test_prepared_twice_and_discarded_twice(self, tmp_path: Path) -> None:
        gates = Gates(tmp_path / "sandboxes")
        assert gates.all() == []
        first = gates.prepare("ana", "old", "", "")
        assert gates.prepare("ana", "new", "", "") == first
        assert (tmp_path / "sandboxes" / "ana" / "hosts").read_text() == "new"
        for _again in range(2):
            gates.discard("ana")
            assert gates.all() == []

    def test_nobody_there(self, tmp_path: Path) -> None:
        gates = Gates(tmp_path)
        with pytest.raises(NetworkFailed, match="gate of sandbox ana cannot be opened"):
            gates.open("ana", os.getpid(), 0.1)
        gates.prepare("ana", "", "", "")
        with pytest.raises(NetworkFailed, match="ended before its network was complete"):
            gates.open("ana", ended_pid(), 5)
        with pytest.raises(TimedOut, match=r"within 0\.1 s") as told:
            gates.open("ana", os.getpid(), 0.1)
        assert "plug_timeout" in str(told.value.hint)

    def test_a_host_without_a_static_busybox(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gate, "_is_static", lambda path: False)
        with pytest.raises(HostNotReady, match="busybox") as told:
            find_busybox()
        assert told.value.hint == "apt-get install busybox-static"


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(("segments", "static"), [((1, 1), True), ((1, 3), False), ((3,), False), ((), True)])
def test_static_programs_are_told_from_dynamic_ones(
    tmp_path: Path, wide: bool, order: str, segments: tuple[int, ...], static: bool
) -> None:
    head = bytearray(b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2]) + bytes(58))
    table, entry = 64, 56 if wide else 32

    def put(at: int, size: int, value: int) -> None:
        head[at : at + size] = value.to_bytes(size, order)  # type: ignore[arg-type]

    for (at, size), value in zip(
        ((32, 8), (54, 2), (56, 2)) if wide else ((28, 4), (42, 2), (44, 2)), (table, entry, len(segments)), strict=True
    ):
        put(at, size, value)
    for kind in segments:
        head += kind.to_bytes(4, order) + bytes(entry - 4)  # type: ignore[arg-type]
    (tmp_path / "program").write_bytes(bytes(head))
    assert gate._is_static(tmp_path / "program") is static


def test_a_script_is_no_static_program(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\n")
    assert gate._is_static(tmp_path / "program") is False


def ended_pid() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
        return process.pid


class AtGate:
    """The gate's script with its files in a directory of this host, as if that were the sandbox's root."""

    def __init__(self, directory: Path) -> None:
        self.gates = Gates(directory / "sandboxes")
        self.gates.prepare("ana", "", "", "")
        self.inside = directory / "sandboxes" / "ana"
        script = self.inside / "start"
        script.write_text(script.read_text().replace("/.zun-arm/", f"{self.inside}/"))
        self.programs = directory / "bin"
        self.programs.mkdir()

    def program(self, name: str, text: str) -> Path:
        file = self.programs / name
        file.write_text(f"#!/usr/bin/env python3\n{text}\n")
        file.chmod(0o755)
        return file

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        _busybox, applet, _script = self.gates.entrypoint()
        return subprocess.Popen(
            [find_busybox(), applet, self.inside / "start", *command],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.programs,
        )

    def run(self, *command: str, **env: str) -> tuple[str, str, int]:
        """Output, errors and exit code of a program whose gate is opened."""
        with self.start(*command, **{"PATH": f"{self.programs}:/usr/bin:/bin", **env}) as process:
            self.gates.open("ana", process.pid, 5)
            out, err = process.communicate(timeout=10)
            return out, err, process.returncode


@pytest.fixture
def at_gate(tmp_path: Path) -> Iterator[AtGate]:
    return AtGate(tmp_path)


SHOW_ENV = "import json, os; print(json.dumps(dict(os.environ)))"
SHOW_ARGV = "import sys; print(sys.argv[1:])"


class TestGateScript:
    def test_the_program_waits_until_the_gate_is_open(self, at_gate: AtGate) -> None:
        at_gate.program("lab", "print('ran')")
        with at_gate.start("lab", PATH=f"{at_gate.programs}:/usr/bin:/bin") as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate(timeout=0.2)
            at_gate.gates.open("ana", process.pid, 5)
            assert process.communicate(timeout=10) == ("ran\n", "")

    def test_its_arguments_are_its_own(self, at_gate: AtGate) -> None:
        at_gate.program("lab", SHOW_ARGV)
        arguments = ["", "a b", "*", "$HOME", "-x", "--", "'", '"', "\\", "ä", "a\nb"]
        assert at_gate.run("lab", *arguments) == (f"{arguments}\n", "", 0)

    def test_argv0_is_as_it_was_written(self, at_gate: AtGate) -> None:
        (at_gate.programs / "lab").symlink_to(find_busybox())
        out, _err, _code = at_gate.run("echo", "x")
        assert out == "x\n"
        assert at_gate.run("sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline; true")[0].startswith("sh -c")
        assert at_gate.run("/bin/sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline; true")[0].startswith("/bin/sh -c")

    def test_the_first_in_path_that_can_be_run(self, at_gate: AtGate, tmp_path: Path) -> None:
        for name, mode, is_file in (("a", 0o644, True), ("b", 0o755, False), ("c", 0o755, True)):
            place = tmp_path / name / "lab"
            if is_file:
                place.parent.mkdir()
                place.write_text(f"#!/bin/sh\necho {name}\n")
                place.chmod(mode)
            else:
                place.mkdir(parents=True)
        path = ":".join(str(tmp_path / name) for name in ("none", "a", "b", "c"))
        assert at_gate.run("lab", PATH=path) == ("c\n", "", 0)

    def test_busyboxs_own_applets_do_not_come_first(self, at_gate: AtGate) -> None:
        at_gate.program("ls", "print('the image has its own')")
        assert at_gate.run("ls")[0] == "the image has its own\n"

    def test_a_program_that_is_not_there(self, at_gate: AtGate) -> None:
        out, err, code = at_gate.run("no-such-program", PATH="/usr/bin:/bin")
        assert (out, code) == ("", 127)
        assert err == "zun-arm: the program no-such-program is not in this image (PATH is /usr/bin:/bin)\n"
        assert at_gate.run("/no/such")[2] == 127

    def test_a_busybox_applet_the_image_has_not_is_not_there(self, at_gate: AtGate, tmp_path: Path) -> None:
        assert at_gate.run("ls", PATH=str(tmp_path))[2] == 127

    def test_a_program_by_its_path(self, at_gate: AtGate) -> None:
        lab = at_gate.program("lab", "print('by path')")
        assert at_gate.run(str(lab))[0] == at_gate.run("./lab")[0] == "by path\n"

    def test_the_exit_code_is_the_programs(self, at_gate: AtGate) -> None:
        assert at_gate.run("sh", "-c", "exit 42")[2] == 42
        assert at_gate.run("sh", "-c", "kill -TERM $$")[2] == -15

    @pytest.mark.parametrize(
        "env",
        [
            {},
            {"HOME": "/root", "LANG": "C.UTF-8", "EMPTY": "", "SPACES": "a  b", "LINES_": "a\nb"},
            {"name": "ana", "program": "lab1", "go": "north", "d": "4"},
        ],
        ids=["none", "usual", "names-the-script-uses"],
    )
    def test_the_environment_is_the_images_own(self, at_gate: AtGate, env: dict[str, str]) -> None:
        lab = at_gate.program("lab", SHOW_ENV)
        wanted = {"PATH": f"{at_gate.programs}:/usr/bin:/bin", **env}
        direct = subprocess.run([lab], env=wanted, capture_output=True, text=True, check=True).stdout
        assert json.loads(at_gate.run("lab", **env)[0]) == json.loads(direct)

    def test_the_process_becomes_the_program(self, at_gate: AtGate) -> None:
        at_gate.program("lab", "import os; print(os.getpid())")
        with at_gate.start("lab", PATH=f"{at_gate.programs}:/usr/bin:/bin") as process:
            at_gate.gates.open("ana", process.pid, 5)
            assert process.communicate(timeout=10)[0] == f"{process.pid}\n"
