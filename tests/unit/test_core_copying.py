"""Files in and out; and a sandbox that sends whatever it likes cannot write beside the directory it is copied to."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.engine import FakeEngine
from fakes.samples import plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zun_arm.core.copying import copy_in, copy_out
from zun_arm.core.model import Sandbox
from zun_arm.core.platforms import ARM64
from zun_arm.errors import EngineFailed, NotFound, ZunArmError

Member = tuple[str, bytes, str | bytes, int]
REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def tar_of(*members: Member) -> bytes:
    """Members as (name, type, content or target of the link, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content, mode in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, mode
            if isinstance(content, bytes):
                member.size = len(content)
            else:
                member.linkname = content
            tar.addfile(member, io.BytesIO(content if isinstance(content, bytes) else b""))
    return out.getvalue()


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.create(plan(engine.add_image("tiny", labelled=ARM64, command=("x",)), "ana"))
    return engine


@pytest.fixture
def ana(engine: FakeEngine) -> Sandbox:
    return engine.sandbox("ana")


@pytest.fixture
def inside(engine: FakeEngine) -> dict[str, bytes | None]:
    """The files of the sandbox."""
    (container,) = engine.containers.values()
    return container.files.tree


class TestIn:
    def test_a_file_into_a_directory_and_under_a_new_name(
        self, engine: FakeEngine, ana: Sandbox, inside: dict[str, bytes | None], tmp_path: Path
    ) -> None:
        source = tmp_path / "lab.c"
        source.write_bytes(b"int main;" * 100_000)
        for target, place in (("/root", "/root/lab.c"), ("/tmp/", "/tmp/lab.c"), ("/root/x.c", "/root/x.c")):
            copy_in(engine, ana, source, target)
            assert inside[place] == source.read_bytes()

    def test_a_directory_with_all_that_is_in_it(
        self, engine: FakeEngine, ana: Sandbox, inside: dict[str, bytes | None], tmp_path: Path
    ) -> None:
        (tmp_path / "lab" / "sub").mkdir(parents=True)
        (tmp_path / "lab" / "sub" / "a").write_bytes(b"x")
        copy_in(engine, ana, tmp_path / "lab", "/root")
        assert inside["/root/lab/sub"] is None and inside["/root/lab/sub/a"] == b"x"

    def test_files_belong_to_root_inside(self, engine: FakeEngine, ana: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "run").write_bytes(b"")
        (tmp_path / "run").chmod(0o741)
        copy_in(engine, ana, tmp_path / "run", "/root")
        (container,) = engine.containers.values()
        assert container.files.owners["/root/run"] == (0, 0, 0o741)

    def test_the_current_directory_keeps_its_name(
        self, engine: FakeEngine, ana: Sandbox, inside: dict[str, bytes | None], tmp_path: Path, monkeypatch: Any
    ) -> None:
        (tmp_path / "lab").mkdir()
        (tmp_path / "lab" / "a").write_bytes(b"x")
        monkeypatch.chdir(tmp_path / "lab")
        copy_in(engine, ana, Path(), "/root")
        assert inside["/root/lab/a"] == b"x"

    def test_what_is_not_there(self, engine: FakeEngine, ana: Sandbox, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="none"):
            copy_in(engine, ana, tmp_path / "none", "/root")
        (tmp_path / "a").touch()
        for target in ("/none/", "/none/a"):
            with pytest.raises(NotFound, match="/none"):
                copy_in(engine, ana, tmp_path / "a", target)

    def test_an_engine_that_refuses_is_heard_and_nothing_hangs(
        self, engine: FakeEngine, ana: Sandbox, tmp_path: Path
    ) -> None:
        (tmp_path / "large").write_bytes(b"x" * 3_000_000)
        engine.trace.fail("engine.put_archive", EngineFailed("no space left on device"))
        with pytest.raises(EngineFailed, match="no space"):
            copy_in(engine, ana, tmp_path / "large", "/root")


class TestOut:
    def test_a_file_into_a_directory_and_under_a_new_name(
        self, engine: FakeEngine, ana: Sandbox, inside: dict[str, bytes | None], tmp_path: Path
    ) -> None:
        inside["/root/result"] = b"42" * 50_000
        for target, place in ((tmp_path, "result"), (tmp_path / "mine", "mine"), (tmp_path / "mine", "mine")):
            copy_out(engine, ana, "/root/result", target)
            assert (tmp_path / place).read_bytes() == inside["/root/result"]

    def test_into_the_current_directory(
        self, engine: FakeEngine, ana: Sandbox, inside: dict[str, bytes | None], tmp_path: Path, monkeypatch: Any
    ) -> None:
        inside["/root/a"] = b"x"
        monkeypatch.chdir(tmp_path)
        copy_out(engine, ana, "/root", Path())
        copy_out(engine, ana, "/root/a", Path("b"))
        assert (tmp_path / "root" / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"x"

    def test_a_directory_as_a_new_name(
        self, engine: FakeEngine, ana: Sandbox, inside: dict[str, bytes | None], tmp_path: Path
    ) -> None:
        inside.update({"/root/sub": None, "/root/sub/a": b"x"})
        copy_out(engine, ana, "/root/", tmp_path / "copy")
        assert (tmp_path / "copy" / "sub" / "a").read_bytes() == b"x"

    def test_links_inside_what_is_copied_stay_links(self, engine: FakeEngine, ana: Sandbox, tmp_path: Path) -> None:
        engine.archives["/lab"] = tar_of(
            ("lab", DIR, b"", 0o755),
            ("lab/a", REG, b"x", 0o644),
            ("lab/soft", SYM, "a", 0o777),
            ("lab/hard", LNK, "lab/a", 0o644),
        )
        copy_out(engine, ana, "/lab", tmp_path)
        assert (tmp_path / "lab" / "soft").readlink() == Path("a")
        assert (tmp_path / "lab" / "hard").samefile(tmp_path / "lab" / "a")

    def test_no_program_comes_out_with_rights_of_its_own(
        self, engine: FakeEngine, ana: Sandbox, tmp_path: Path
    ) -> None:
        engine.archives["/su"] = tar_of(("su", REG, b"x", 0o6777))
        copy_out(engine, ana, "/su", tmp_path)
        assert (tmp_path / "su").stat().st_mode & 0o7777 == 0o755
        assert (tmp_path / "su").stat().st_uid == os.geteuid()

    def test_what_is_not_there(self, engine: FakeEngine, ana: Sandbox, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="/none"):
            copy_out(engine, ana, "/none", tmp_path)
        with pytest.raises(NotFound, match="there is no directory"):
            copy_out(engine, ana, "/etc/passwd", tmp_path / "none" / "passwd")

    def test_an_answer_that_breaks_off(self, engine: FakeEngine, ana: Sandbox, tmp_path: Path) -> None:
        engine.archives["/a"] = tar_of(("a", REG, b"x" * 5000, 0o644))[:3000]
        with pytest.raises(ZunArmError, match="ana:/a cannot be copied"):
            copy_out(engine, ana, "/a", tmp_path)


class TestHostile:
    """``victim`` and ``outside`` must be as before, whatever the sandbox sends into ``target``."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        (tmp_path / "target").mkdir()
        return tmp_path / "target"

    @pytest.fixture
    def victim(self, tmp_path: Path) -> Path:
        (tmp_path / "victim").write_text("precious")
        (tmp_path / "outside").mkdir()
        return tmp_path / "victim"

    @pytest.fixture
    def send(self, engine: FakeEngine, ana: Sandbox, target: Path, victim: Path) -> Callable[..., ZunArmError | None]:
        def sent(*members: Member) -> ZunArmError | None:
            engine.archives["/lab"] = tar_of(*members)
            error = None
            try:
                copy_out(engine, ana, "/lab", target)
            except ZunArmError as err:
                error = err
            assert victim.read_text() == "precious" and victim.stat().st_nlink == 1
            assert sorted(item.name for item in victim.parent.iterdir()) == ["outside", "target", "victim"]
            assert list((victim.parent / "outside").iterdir()) == []
            return error

        return sent

    @pytest.mark.parametrize("name", ["lab/../../victim", "lab/../../new", "../../victim", "lab/x/../../../victim"])
    def test_dots(self, send: Callable[..., Any], name: str) -> None:
        error = send(("lab", DIR, b"", 0o755), (name, REG, b"evil", 0o644))
        assert "leads out of" in str(error)

    def test_absolute_names(self, send: Callable[..., Any], victim: Path) -> None:
        send(("lab", DIR, b"", 0o755), (str(victim), REG, b"evil", 0o644))
        send((str(victim), REG, b"evil", 0o644))

    @pytest.mark.parametrize("link", ["../../outside", "..", "../..", "/", "."])
    def test_writing_through_a_link(self, send: Callable[..., Any], target: Path, link: str) -> None:
        error = send(("lab", DIR, b"", 0o755), ("lab/l", SYM, link, 0o777), ("lab/l/evil", REG, b"evil", 0o644))
        assert error is not None
        assert not (target / "evil").exists() and not (target / "lab" / "evil").exists()

    def test_writing_through_a_link_of_a_link(self, send: Callable[..., Any]) -> None:
        send(
            ("lab", DIR, b"", 0o755),
            ("lab/a", DIR, b"", 0o755),
            ("lab/a/up", SYM, "..", 0o777),
            ("lab/l", SYM, "a/up/../../outside", 0o777),
            ("lab/l", DIR, b"", 0o755),
            ("lab/l/evil", REG, b"evil", 0o644),
        )

    def test_overwriting_through_a_link(self, send: Callable[..., Any], target: Path) -> None:
        (target / "lab").mkdir()
        (target / "lab" / "file").symlink_to("../../victim")
        send(("lab", DIR, b"", 0o755), ("lab/file", REG, b"evil", 0o644))
        assert (target / "lab" / "file").read_bytes() == b"evil"

    @pytest.mark.parametrize("link", ["/etc/passwd", "../../victim", "../../../../../etc/passwd", "x/../../../victim"])
    def test_links_that_lead_out_are_not_made(
        self, send: Callable[..., Any], target: Path, link: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert send(("lab", DIR, b"", 0o755), ("lab/l", SYM, link, 0o777), ("lab/a", REG, b"x", 0o644)) is None
        assert not os.path.lexists(target / "lab" / "l")
        assert (target / "lab" / "a").exists()
        assert "lab/l is not copied" in caplog.text

    @pytest.mark.parametrize("linked", ["lab/../../victim", "../victim", "lab/../../outside", "lab/none"])
    def test_hard_links_out(self, send: Callable[..., Any], linked: str) -> None:
        error = send(("lab", DIR, b"", 0o755), ("lab/h", LNK, linked, 0o644), ("lab/h", REG, b"evil", 0o644))
        assert error is not None

    def test_a_hard_link_out_by_a_soft_link(self, send: Callable[..., Any], target: Path) -> None:
        (target / "lab").mkdir()
        (target / "lab" / "l").symlink_to("../../victim")
        assert send(("lab", DIR, b"", 0o755), ("lab/h", LNK, "lab/l", 0o644)) is not None

    @pytest.mark.parametrize(
        "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["character", "block", "fifo"]
    )
    def test_devices_and_pipes_are_left_out(
        self, send: Callable[..., Any], target: Path, kind: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert send(("lab", DIR, b"", 0o755), ("lab/dev", kind, b"", 0o666), ("lab/a", REG, b"x", 0o644)) is None
        assert [item.name for item in (target / "lab").iterdir()] == ["a"]
        assert "neither a file nor a directory nor a link" in caplog.text

    def test_several_at_the_top(self, send: Callable[..., Any], target: Path) -> None:
        send(("lab", REG, b"1", 0o644), ("victim", REG, b"2", 0o644), ("other/victim", REG, b"3", 0o644))
        assert [item.name for item in target.iterdir()] == ["lab"]

    def test_a_file_in_place_of_a_directory_and_the_other_way_round(self, send: Callable[..., Any]) -> None:
        assert send(("lab", DIR, b"", 0o755), ("lab", REG, b"x", 0o644)) is not None
        assert send(("lab", DIR, b"", 0o755), ("lab/a", REG, b"x", 0o644), ("lab/a/b", REG, b"x", 0o644)) is not None

    def test_a_name_with_a_zero_byte(self, engine: FakeEngine, ana: Sandbox, target: Path) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            member = tarfile.TarInfo("lab")
            member.pax_headers = {"path": "lab/a\0b"}
            tar.addfile(member)
        engine.archives["/lab"] = out.getvalue()
        (target / "lab").mkdir()
        with pytest.raises(ZunArmError, match="cannot be copied"):
            copy_out(engine, ana, "/lab", target)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(places=st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=8))
    def test_a_damaged_answer_is_refused_in_words_or_harmless(
        self, engine: FakeEngine, ana: Sandbox, target: Path, victim: Path, places: list[tuple[int, int]]
    ) -> None:
        sent = bytearray(
            tar_of(
                ("lab", DIR, b"", 0o755),
                ("lab/a", REG, b"x" * 10, 0o644),
                ("lab/l", SYM, "a", 0o777),
                ("lab/h", LNK, "lab/a", 0o644),
            )
        )
        for at, value in places:
            sent[at % len(sent)] = value
        engine.archives["/lab"] = bytes(sent)
        try:
            copy_out(engine, ana, "/lab", target)
        except ZunArmError as err:
            assert "cannot be copied" in str(err)
        assert victim.read_text() == "precious"
        assert sorted(item.name for item in victim.parent.iterdir()) == ["outside", "target", "victim"]
