"""Names, sizes, durations, ports, limits, keys: what people may write, and what is refused in words."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.board import QEMU
from fakes.engine import FakeEngine
from fakes.samples import plan, record
from hypothesis import example, given
from hypothesis import strategies as st

from zun_arm.core import units
from zun_arm.core.keys import put_keys, read_keys
from zun_arm.core.model import Emulator, Limits, Publish, Sandbox, State
from zun_arm.core.naming import check_name, made_up_name
from zun_arm.core.pieces import Pieces
from zun_arm.core.platforms import ARM64
from zun_arm.errors import BadImage, BadInput, ZunArmError

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


class TestNames:
    @pytest.mark.parametrize("name", ["a", "0", "ana", "a-b", "a--b", "x" * 63, "4711"])
    def test_allowed(self, name: str) -> None:
        assert check_name(name) == name

    @pytest.mark.parametrize(
        "name", ["", "-a", "a-", "A", "ana.old", "a_b", "a b", "x" * 64, "ä", "ana\n", "../a", "a/b", "٣"]
    )
    def test_refused(self, name: str) -> None:
        with pytest.raises(BadInput, match="is not a name for a sandbox") as told:
            check_name(name)
        assert told.value.exit_code == 2 and "63" in str(told.value.hint)

    def test_made_up_names_are_allowed_and_differ(self) -> None:
        names = {check_name(made_up_name()) for _ in range(200)}
        assert len(names) > 195


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "mib"),
        [
            ("128M", 128),
            ("128m", 128),
            ("128MiB", 128),
            ("128 MB", 128),
            ("1.5G", 1536),
            ("1T", 1048576),
            ("268435456", 256),
            ("1024k", 1),
            ("2048KiB", 2),
            (" 7M ", 7),
        ],
    )
    def test_sizes(self, text: str, mib: int) -> None:
        assert units.parse_mib(text) == mib

    @pytest.mark.parametrize("text", ["", "M", "-1M", "1e3M", "12X", "1,5G", "1 2M", "0", "0M", "1023k", "1048575"])
    def test_no_sizes(self, text: str) -> None:
        with pytest.raises(BadInput, match=r"is not a size|less than 1 MiB"):
            units.parse_mib(text)

    @pytest.mark.parametrize(
        ("text", "seconds"), [("90", 90), ("30s", 30), ("15m", 900), ("8h", 28800), ("2d", 172800), ("1w", 604800)]
    )
    def test_durations(self, text: str, seconds: int) -> None:
        assert units.parse_seconds(text) == seconds

    @pytest.mark.parametrize("text", ["", "0", "0s", "0.5s", "11000d", "1y", "-1h", "soon", "1h30m"])
    def test_no_durations(self, text: str) -> None:
        with pytest.raises(BadInput):
            units.parse_seconds(text)

    @pytest.mark.parametrize(
        ("text", "shown"), [("2222:22", "2222:22/tcp"), ("5353:53/udp", "5353:53/udp"), ("1:65535/TCP", "1:65535/tcp")]
    )
    def test_published_ports(self, text: str, shown: str) -> None:
        assert str(units.parse_publish(text)) == shown

    @pytest.mark.parametrize("text", ["", "22", "0:22", "22:0", "65536:22", "a:b", "1:2/sctp", "127.0.0.1:1:2", "-1:2"])
    def test_no_published_ports(self, text: str) -> None:
        with pytest.raises(BadInput, match="is not a published port"):
            units.parse_publish(text)

    def test_environment(self) -> None:
        assert units.parse_env(("A=1", "B=", "C=x=y", "D=ä b")) == {"A": "1", "B": "", "C": "x=y", "D": "ä b"}
        for item in ("A", "=1", "", "A=\0"):
            with pytest.raises(BadInput, match="KEY=VALUE"):
                units.parse_env((item,))

    @example("9" * 400)
    @example("9" * 5000 + ":22")
    @given(st.one_of(st.text(max_size=30), st.from_regex(r"[0-9]{1,400}[kmgtshdw]?", fullmatch=True)))
    def test_whatever_is_written_is_understood_or_refused_in_words(self, text: str) -> None:
        for parse in (units.parse_mib, units.parse_seconds, units.parse_publish, lambda item: units.parse_env((item,))):
            try:
                parse(text)
            except BadInput as err:
                assert err.hint

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86400, "1d"), (9e6, "104d")],
    )
    def test_ages(self, seconds: float, shown: str) -> None:
        since = datetime(2024, 5, 1, tzinfo=UTC)
        assert units.age(since, since + timedelta(seconds=seconds)) == shown


class TestModel:
    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            ({"memory_mib": 5}, "5 MiB is too small"),
            ({"vcpus": 0.001}, "0.001 is out of range"),
            ({"vcpus": -1}, "-1 is out of range"),
            ({"vcpus": float("nan")}, "nan is out of range"),
            ({"vcpus": float("inf")}, "inf is out of range"),
            ({"pids": 3}, "3 processes"),
            ({"disk_mib": 0}, "0 MiB is too small"),
        ],
    )
    def test_limits_out_of_range(self, limits: dict[str, float], message: str) -> None:
        with pytest.raises(BadInput, match=message) as told:
            Limits(**limits)  # type: ignore[arg-type]
        assert told.value.hint

    def test_the_json_of_a_sandbox_keeps_its_order_and_spells_times_out(self) -> None:
        made = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
        sandbox = Sandbox(
            name="ana", container_id="c", state=State.RUNNING, created_at=made, exit_code=None, record=record()
        )
        told = sandbox.as_dict()
        wanted = (
            "id name image platform execution state address mac memory_mib vcpus pids created_at expires_at exit_code"
        )
        assert list(told) == wanted.split()
        assert told["created_at"] == "2024-05-01T12:00:00+00:00"
        assert told["expires_at"] is None

    def test_an_emulated_one_says_by_what(self) -> None:
        sandbox = Sandbox(
            name="ana",
            container_id="c",
            state=State.EXITED,
            created_at=datetime.now(UTC),
            exit_code=132,
            record=record(emulator=QEMU, expires_at=datetime(2030, 1, 1, tzinfo=UTC)),
        )
        told = sandbox.as_dict()
        assert list(told)[-1] == "emulator"
        assert told["emulator"] == {"version": "9.2.0", "cpu": "cortex-a15"}
        assert told["expires_at"] == "2030-01-01T00:00:00+00:00"

    def test_ports_and_emulators_are_told_in_full(self) -> None:
        assert str(Publish(host_port=53, sandbox_port=53, protocol="udp")) == "53:53/udp"
        assert Emulator.as_dict(QEMU) == {"version": "9.2.0", "cpu": "cortex-a15"}


class TestReadKeys:
    def test_one_a_line_without_comments(self, tmp_path: Path) -> None:
        file = tmp_path / "keys"
        file.write_text(f"# mine\n\n{ED25519} ana@laptop\n  {ED25519}  \n")
        assert read_keys(file) == (f"{ED25519} ana@laptop", ED25519)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "holds no key"),
            ("# only a comment\n", "holds no key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "private key"),
            ("hello world", "not a public SSH key"),
            ("ssh-ed25519", "not a public SSH key"),
            ("ssh-ed25519 !!!!", "not a public SSH key"),
            ("ssh-ed25519 schlüssel", "not a public SSH key"),
            ("ssh-rsa " + ED25519.split()[1], "not a public SSH key"),
            ("ssh-ed25519 QUJD", "not a public SSH key"),
            (f"{ED25519}\nrubbish", "not a public SSH key"),
        ],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        file = tmp_path / "keys"
        file.write_text(text)
        with pytest.raises(BadInput, match=message) as told:
            read_keys(file)
        assert told.value.hint

    def test_no_such_file_and_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="cannot be read"):
            read_keys(tmp_path / "none")
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(BadInput, match="cannot be read"):
            read_keys(tmp_path / "binary")


class TestPutKeys:
    @staticmethod
    def put(user: str | None, passwd: bytes | None) -> FakeEngine:
        engine = FakeEngine()
        image = engine.add_image(
            "lab", labelled=ARM64, command=("x",), labels={"zun-arm.ssh-user": user} if user else {}
        )
        container_id = engine.create(plan(image, "ana"))
        files = engine.containers[container_id].files.tree
        if passwd is None:
            del files["/etc/passwd"]
        else:
            files["/etc/passwd"] = passwd
        put_keys(engine, container_id, image, [ED25519, ED25519 + " two"])
        return engine

    def test_for_the_images_user(self) -> None:
        engine = self.put("student", b"root:x:0:0::/root:/bin/sh\nstudent:x:1000:1001::/home/student:/bin/sh\n")
        (container,) = engine.containers.values()
        assert container.files.tree["/home/student/.ssh/authorized_keys"] == f"{ED25519}\n{ED25519} two\n".encode()
        assert container.files.owners["/home/student/.ssh"] == (1000, 1001, 0o700)
        assert container.files.owners["/home/student/.ssh/authorized_keys"] == (1000, 1001, 0o600)

    @pytest.mark.parametrize("passwd", [None, b"", b"nonsense\n", b"rootless:x:5:5::/no:/bin/sh\n", b"\xff\xfe\n"])
    def test_root_needs_no_entry(self, passwd: bytes | None) -> None:
        (container,) = self.put(None, passwd).containers.values()
        assert container.files.owners["/root/.ssh/authorized_keys"] == (0, 0, 0o600)

    def test_a_user_the_image_has_not(self) -> None:
        with pytest.raises(BadImage, match="no user student"):
            self.put("student", b"root:x:0:0::/root:/bin/sh\n")

    def test_a_home_the_image_has_not(self) -> None:
        with pytest.raises(BadImage, match="no directory /home/none"):
            self.put("student", b"student:x:1:1::/home/none:/bin/sh\n")

    @pytest.mark.parametrize("line", [b"student:x:a:b::/root:/bin/sh", b"student:x:::::", b"student:x:1e9:0::/root:"])
    def test_numbers_that_are_none(self, line: bytes) -> None:
        with pytest.raises(BadImage):
            self.put("student", line)

    def test_an_image_whose_passwd_is_no_file(self) -> None:
        engine = FakeEngine()
        image = engine.add_image("lab", labelled=ARM64, command=("x",))
        container_id = engine.create(plan(image, "ana"))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            link = tarfile.TarInfo("passwd")
            link.type, link.linkname = tarfile.SYMTYPE, "/somewhere/passwd"
            tar.addfile(link)
        engine.archives["/etc/passwd"] = packed.getvalue()
        put_keys(engine, container_id, image, [ED25519])
        assert "/root/.ssh/authorized_keys" in engine.containers[container_id].files.tree


class TestPieces:
    @given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 30), max_size=20))
    def test_whatever_the_pieces_the_bytes_are_the_same(self, pieces: list[bytes], sizes: list[int]) -> None:
        whole, stream = b"".join(pieces), Pieces(iter(pieces))
        for size in sizes:
            told = stream.read(size)
            assert told == whole[:size]
            whole = whole[size:]
        assert stream.read() == whole
        assert stream.read(1) == b""

    def test_it_can_be_buffered(self) -> None:
        buffered = io.BufferedReader(Pieces(iter([b"ab", b"", b"c\nd"])))
        assert buffered.readline() == b"abc\n"
        assert buffered.read() == b"d"


def test_errors_carry_message_hint_and_exit_code() -> None:
    err = BadInput("no", hint="do this")
    assert (err.message, err.hint, str(err), err.exit_code) == ("no", "do this", "no (do this)", 2)
    assert str(ZunArmError("no")) == "no"


def test_every_error_has_an_exit_code_of_the_documented_ones() -> None:
    def below(kind: type[ZunArmError]) -> set[type[ZunArmError]]:
        return {kind}.union(*(below(one) for one in kind.__subclasses__()))

    assert {kind.__name__: int(kind.exit_code) for kind in below(ZunArmError) if kind.exit_code != 1} == {
        "BadInput": 2,
        "HostNotReady": 3,
        "LimitNotEnforced": 3,
        "PartlyFailed": 4,
    }
