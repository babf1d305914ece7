"""Cgroup files, frames of output, and Docker's errors in zun-arm's words."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import docker.errors
import pytest
import requests
from fakes.dockerd import FakeDockerd
from hypothesis import given
from hypothesis import strategies as st

from zun_arm.core.seams import Usage
from zun_arm.engine.adapter import DockerEngine
from zun_arm.engine.cgroups import Cgroup
from zun_arm.engine.client import Connection, translated
from zun_arm.engine.streams import Attachment
from zun_arm.errors import EngineFailed, HostNotReady, NameInUse, NotFound, WrongState, ZunArmError

ID = "ab" * 32
GROUPS = {"systemd": f"system.slice/docker-{ID}.scope", "cgroupfs": f"docker/{ID}"}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def cgroup(root: Path, driver: str, version: int) -> None:
    """The files of a running container, as the kernel writes them."""
    group = GROUPS[driver]
    if version == 2:
        write(
            root / group,
            {
                "memory.current": "5000000\n",
                "memory.stat": "anon 1000\nfile 4000000\ninactive_anon 1\ninactive_file 3000000\nactive_file 1000000\n",
                "cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n",
                "pids.current": "3\n",
                "cgroup.procs": "41\n42\n",
            },
        )
        return
    write(
        root,
        {
            f"memory/{group}/memory.usage_in_bytes": "5000000\n",
            f"memory/{group}/memory.stat": "cache 1\ninactive_file 7\ntotal_cache 2\ntotal_inactive_file 3000000\n",
            f"cpuacct/{group}/cpuacct.usage": "1234567000\n",
            f"pids/{group}/pids.current": "3\n",
            f"pids/{group}/cgroup.procs": "41\n42\n",
        },
    )


@pytest.mark.parametrize("driver", ["systemd", "cgroupfs"])
@pytest.mark.parametrize("version", [1, 2])
class TestCgroups:
    def test_usage(self, tmp_path: Path, driver: str, version: int) -> None:
        cgroup(tmp_path, driver, version)
        used = Cgroup(ID, driver, version, tmp_path).usage()
        assert used == Usage(memory_bytes=2_000_000, cpu_ns=1_234_567_000, pids=3)

    def test_one_that_does_not_run(self, tmp_path: Path, driver: str, version: int) -> None:
        cgroup(tmp_path, driver, version)
        with pytest.raises(WrongState, match="not running"):
            Cgroup("cd" * 32, driver, version, tmp_path).usage()

    def test_another_drivers_place_is_not_looked_at(self, tmp_path: Path, driver: str, version: int) -> None:
        cgroup(tmp_path, "systemd" if driver == "cgroupfs" else "cgroupfs", version)
        with pytest.raises(WrongState):
            Cgroup(ID, driver, version, tmp_path).usage()

    def test_the_first_process_is_number_1_inside(self, tmp_path: Path, driver: str, version: int) -> None:
        cgroup(tmp_path, driver, version)
        proc = tmp_path / "proc"
        write(proc, {"41/status": "Name:\trunc\nNSpid:\t41\n", "42/status": "Name:\tsh\nNSpid:\t42\t1\n"})
        assert Cgroup(ID, driver, version, tmp_path).first_process(proc) == 42

    def test_there_is_none_yet(self, tmp_path: Path, driver: str, version: int) -> None:
        proc = tmp_path / "proc"
        assert Cgroup(ID, driver, version, tmp_path).first_process(proc) is None
        cgroup(tmp_path, driver, version)
        # One ended between the two looks; the other is the engine's helper, in no namespace of its own.
        write(proc, {"42/status": "NSpid:\t42\n"})
        assert Cgroup(ID, driver, version, tmp_path).first_process(proc) is None


def frame(number: int, text: bytes) -> bytes:
    return bytes([number, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


class Connected:
    """An attachment, and the engine's end of its connection."""

    def __init__(self, *, tty: bool) -> None:
        ours, self.far = socket.socketpair()
        self.sizes: list[tuple[int, int]] = []
        self.attachment = Attachment(
            ours, tty=tty, resize=lambda rows, columns: self.sizes.append((rows, columns)), code=lambda: 7
        )

    def output_of(self, pieces: list[bytes]) -> list[tuple[int, bytes]]:
        """What comes out when the engine sends these pieces and closes."""

        def send() -> None:
            for piece in pieces:
                self.far.sendall(piece)
            self.far.close()

        thread = threading.Thread(target=send)
        thread.start()
        told = list(self.attachment.output())
        thread.join(5)
        self.attachment.close()
        return told


frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=6)


class TestStreams:
    @given(frames, st.lists(st.integers(0, 400), max_size=8))
    def test_frames_may_be_split_anywhere(self, sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
        whole = b"".join(frame(*one) for one in sent)
        places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
        pieces = [whole[start:end] for start, end in pairwise(places)]
        assert Connected(tty=False).output_of(pieces) == sent

    def test_a_large_frame(self) -> None:
        text = bytes(300_000)
        assert Connected(tty=False).output_of([frame(2, text)]) == [(2, text)]

    def test_a_frame_that_is_cut_off_ends_the_output(self) -> None:
        assert Connected(tty=False).output_of([frame(1, b"whole"), frame(1, b"cut off")[:-1]]) == [(1, b"whole")]

    def test_a_terminal_has_no_frames(self) -> None:
        told = Connected(tty=True).output_of([b"\x01\0\0\0\0\0\0\x02"])
        assert told == [(1, b"\x01\0\0\0\0\0\0\x02")]

    def test_input_and_its_end(self) -> None:
        one = Connected(tty=False)
        one.attachment.send(b"line\n")
        one.attachment.end_input()
        with one.far.makefile("rb") as far:
            assert far.read() == b"line\n"
        one.far.sendall(frame(1, b"answer"))
        one.far.close()
        assert list(one.attachment.output()) == [(1, b"answer")]
        assert one.attachment.exit_code() == 7
        one.attachment.close()

    def test_a_closed_connection_ends_the_output(self) -> None:
        one = Connected(tty=False)
        threading.Timer(0.05, one.attachment.close).start()
        assert list(one.attachment.output()) == []
        one.attachment.end_input()
        one.attachment.close()
        one.far.close()

    def test_a_size_nobody_wants_any_more(self) -> None:
        def gone(rows: int, columns: int) -> None:
            raise NotFound("no such exec")

        one = Connected(tty=True)
        one.attachment.resize(24, 80)
        assert one.sizes == [(24, 80)]
        other = Attachment(one.far, tty=True, resize=gone, code=lambda: 0)
        other.resize(24, 80)
        other.close()
        one.attachment.close()


def api_error(status: int, text: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError("refused", response=response, explanation=text)


class TestErrors:
    @pytest.mark.parametrize(
        ("err", "kind", "part"),
        [
            (api_error(404, "No such container: x"), NotFound, "No such container"),
            (api_error(409, 'The container name "/x" is already in use by container y'), NameInUse, "already in use"),
            (api_error(409, "Container x is not running"), WrongState, "not running"),
            (api_error(304, "not modified"), WrongState, "not modified"),
            (api_error(500, "write /x: no space left on device"), EngineFailed, "zun-arm image delete"),
            (api_error(400, "exec format error"), EngineFailed, "image verify"),
            (api_error(500, "something else"), EngineFailed, "something else"),
            (requests.exceptions.ReadTimeout("read timed out"), EngineFailed, "in time"),
            (requests.exceptions.ConnectionError("Connection aborted."), HostNotReady, "connection aborted"),
            (PermissionError(13, "Permission denied"), HostNotReady, "sudo"),
            (docker.errors.DockerException("whatever"), HostNotReady, "whatever"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_the_engines_errors_are_ours(self, err: Exception, kind: type[ZunArmError], part: str) -> None:
        with pytest.raises(ZunArmError) as told, translated("sandbox 'ana'"):
            raise err
        assert type(told.value) is kind
        assert told.value.message.startswith("sandbox 'ana': ")
        assert part in str(told.value)
        assert told.value.__cause__ is err

    def test_ours_stay_as_they_are_and_others_too(self) -> None:
        for err in (NameInUse("x"), KeyboardInterrupt(), AssertionError("a mistake of ours")):
            with pytest.raises(type(err)) as told, translated("sandbox 'ana'"):
                raise err
            assert told.value is err


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[FakeDockerd]:
    with FakeDockerd(tmp_path / "docker.sock") as server:
        yield server


class TestConnection:
    def test_an_engine_that_is_new_enough(self, dockerd: FakeDockerd) -> None:
        connection = Connection(dockerd.host, 5)
        assert connection.api.api_version == "1.41"
        assert connection.api is connection.api
        assert dockerd.paths == ["/version"], "asked once"

    @pytest.mark.parametrize("version", ["1.39", "1.40", "1.24"])
    def test_an_engine_that_is_too_old(self, dockerd: FakeDockerd, version: str) -> None:
        dockerd.api_version = version
        with pytest.raises(HostNotReady, match="too old") as told:
            _ = Connection(dockerd.host, 5).api
        assert version in told.value.message
        assert "20.10" in str(told.value.hint) and "apt-get install docker.io" in str(told.value.hint)

    def test_no_engine(self, tmp_path: Path) -> None:
        host = f"unix://{tmp_path}/none.sock"
        with pytest.raises(HostNotReady, match="does not answer") as told:
            _ = Connection(host, 5).api
        assert host in told.value.message and "no such file" in told.value.message
        assert "start it" in str(told.value.hint)

    def test_a_socket_nobody_listens_on(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / "dead.sock"))
        with pytest.raises(HostNotReady, match="connection refused") as told:
            _ = Connection(f"unix://{tmp_path}/dead.sock", 5).api
        assert "start it" in str(told.value.hint)

    def test_a_socket_that_never_answers(self, dockerd: FakeDockerd) -> None:
        dockerd.silent = True
        with pytest.raises(ZunArmError, match="answer") as told:
            _ = Connection(dockerd.host, 1).api
        assert told.value.hint and "install Docker Engine" not in told.value.hint

    def test_something_that_is_no_engine(self, dockerd: FakeDockerd) -> None:
        dockerd.answers["/version"] = (200, b"<html>hello</html>")
        with pytest.raises(HostNotReady):
            _ = Connection(dockerd.host, 5).api

    def test_a_host_that_is_no_address(self) -> None:
        with pytest.raises(HostNotReady):
            _ = Connection("carrier-pigeon://x", 5).api


INFO: dict[str, Any] = {
    "ServerVersion": "20.10.24",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "DockerRootDir": "/data/docker",
    "MemTotal": 1024 * 1024 * 1024,
    "MemoryLimit": True,
    "SwapLimit": False,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "Warnings": ["WARNING: No swap limit support"],
}


class TestFacts:
    def ask(self, dockerd: FakeDockerd, **changes: Any) -> Any:
        dockerd.json("/v1.41/info", {**INFO, **changes})
        return DockerEngine(dockerd.host, 5).facts()

    def test_what_the_engine_says(self, dockerd: FakeDockerd) -> None:
        facts = self.ask(dockerd)
        assert (facts.version, facts.api_version, facts.memory_mib) == ("20.10.24", "1.41", 1024)
        assert facts.data_root == Path("/data/docker")
        assert facts.enforced == {"memory": True, "swap": False, "cpu": True, "pids": True, "disk": False}
        assert facts.warnings == ("WARNING: No swap limit support",)

    @pytest.mark.parametrize(
        ("changes", "limit"),
        [({"MemoryLimit": False}, "memory"), ({"CpuCfsQuota": False}, "cpu"), ({"PidsLimit": None}, "pids")],
    )
    def test_what_the_kernel_would_ignore(self, dockerd: FakeDockerd, changes: dict[str, Any], limit: str) -> None:
        assert self.ask(dockerd, **changes).enforced[limit] is False

    @pytest.mark.parametrize(
        ("driver", "backing", "holds"),
        [
            ("btrfs", "", True),
            ("zfs", "", True),
            ("overlay2", "xfs", True),
            ("overlay2", "extfs", False),
            ("vfs", "", False),
        ],
    )
    def test_which_storage_limits_disk(self, dockerd: FakeDockerd, driver: str, backing: str, holds: bool) -> None:
        status = [["Backing Filesystem", backing]] if backing else None
        assert self.ask(dockerd, Driver=driver, DriverStatus=status).enforced["disk"] is holds

    def test_an_engine_without_cgroups(self, dockerd: FakeDockerd) -> None:
        facts = self.ask(dockerd, CgroupVersion=None, CgroupDriver="none")
        assert (facts.cgroup_version, facts.cgroup_driver) == (1, "none")
