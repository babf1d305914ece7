"""Which image a launch means, what its programs are, snapshots, and the library of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.board import COMPAT, EMULATED, NATIVE, NO
from fakes.host import FakeHost, make_host
from hypothesis import given
from hypothesis import strategies as st

from zun_arm.core import launching, library
from zun_arm.core.platforms import AMD64, ARM64, ARM_V6, ARM_V7, Isa, parse_platform, platform_from_label
from zun_arm.core.userlands import find_image, image_name, run_for, take_snapshot
from zun_arm.errors import BadImage, BadInput, CannotRun, EngineFailed, NotFound

ALL = (ARM_V6, ARM_V7, ARM64, AMD64)


def found(fake: FakeHost, reference: str, wanted: str | None = None) -> str:
    return find_image(fake.host, reference, wanted)[0].names[0]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ({ARM_V7: NATIVE, ARM64: NO, AMD64: NO, ARM_V6: NATIVE}, "zun-arm/tiny:arm-v7"),
        ({ARM_V7: COMPAT, ARM64: NATIVE, AMD64: NO, ARM_V6: COMPAT}, "zun-arm/tiny:arm64"),
        ({ARM_V7: NO, ARM64: NATIVE, AMD64: NO, ARM_V6: NO}, "zun-arm/tiny:arm64"),
        ({ARM_V7: EMULATED, ARM64: EMULATED, AMD64: NATIVE, ARM_V6: EMULATED}, "zun-arm/tiny:arm-v7"),
        ({ARM_V7: EMULATED, ARM64: NATIVE, AMD64: NO, ARM_V6: EMULATED}, "zun-arm/tiny:arm64"),
        ({ARM_V7: NO, ARM64: EMULATED, AMD64: NATIVE, ARM_V6: NATIVE}, "zun-arm/tiny:arm-v6"),
    ],
)
def test_a_recipe_means_the_arm_platform_this_board_runs_best(runs: dict[str, object], expected: str) -> None:
    fake = make_host(*ALL)
    fake.board.runs = runs  # type: ignore[assignment]
    assert found(fake, "tiny") == expected


@pytest.mark.parametrize("platform", ALL)
def test_a_platform_that_is_asked_for_is_given(platform: str) -> None:
    image, measured, _isa = find_image(make_host(*ALL).host, "tiny", platform)
    assert (image.names, measured) == ((image_name("tiny", platform),), platform)


def test_an_exact_name_comes_before_a_recipe() -> None:
    fake = make_host()
    fake.engine.add_image("tiny", labelled=ARM_V7, command=("x",))
    assert found(fake, "tiny") == found(fake, "tiny", "armhf") == "tiny:latest"
    assert found(fake, "tiny", "arm64") == "zun-arm/tiny:arm64"


def test_images_are_found_by_full_name_and_by_id() -> None:
    fake = make_host()
    image = fake.engine.image("zun-arm/tiny:arm-v7")
    for reference in ("zun-arm/tiny:arm-v7", image.id, image.id.removeprefix("sha256:")[:12]):
        assert find_image(fake.host, reference, None)[0] == image


def test_another_platform_than_asked_for_is_told_with_what_there_is() -> None:
    fake = make_host()
    fake.engine.add_image("lab1", labelled=ARM64)
    with pytest.raises(CannotRun, match="'lab1' is linux/arm64, not linux/arm/v7") as told:
        find_image(fake.host, "lab1", "armhf")
    assert "--platform linux/arm/v7" in str(told.value.hint)


def test_nothing_of_that_name() -> None:
    fake = make_host(ARM_V7)
    for reference, wanted, message in (
        ("none", None, "no image 'none'$"),
        ("none", "arm64", "no image 'none' for linux/arm64$"),
        ("tiny", "arm64", "no image 'tiny' for linux/arm64$"),
        ("other/tiny", None, "no image 'other/tiny'$"),
        ("tiny:arm64", None, "no image 'tiny:arm64'$"),
    ):
        with pytest.raises(NotFound) as told:
            find_image(fake.host, reference, wanted)
        assert told.match(message.rstrip("$"))
        assert "zun-arm image build" in str(told.value.hint)


def test_a_platform_nobody_knows() -> None:
    with pytest.raises(BadInput, match="'vax'"):
        find_image(make_host().host, "tiny", "vax")


def test_programs_are_believed_not_labels() -> None:
    fake = make_host()
    fake.engine.add_image("liar", labelled=ARM64, labels={"truth": "armv7"})
    assert find_image(fake.host, "liar", None)[1:] == (ARM_V7, Isa.ARMV7)
    with pytest.raises(CannotRun, match="is linux/arm/v7, not linux/arm64"):
        find_image(fake.host, "liar", ARM64)


def test_an_image_is_measured_once() -> None:
    fake = make_host()
    fake.engine.add_image("lab1", labelled=ARM64)
    for _again in range(3):
        find_image(fake.host, "lab1", None)
    assert fake.trace.calls.count("engine.save_image") == 1


@pytest.mark.parametrize("truth", ["riscv64", "unknown"])
def test_an_image_for_no_platform_of_ours(truth: str) -> None:
    fake = make_host()
    fake.engine.add_image("lab1", labelled=ARM64, labels={"truth": truth})
    with pytest.raises(BadImage, match="'lab1:latest' holds no program") as told:
        find_image(fake.host, "lab1", None)
    assert ARM_V7 in str(told.value.hint)


def test_what_this_board_cannot_run_says_why() -> None:
    fake = make_host(AMD64)
    image, platform, isa = find_image(fake.host, "tiny", AMD64)
    with pytest.raises(CannotRun) as told:
        run_for(fake.host, image, platform, isa)
    for part in (fake.board.model, "zun-arm/tiny:amd64", AMD64, "x86_64", NO.why):
        assert part in told.value.message


class TestSnapshot:
    def test_its_name_and_platform(self) -> None:
        fake = make_host()
        sandbox = fake.launch("ana")
        told = take_snapshot(fake.host, sandbox, "lab1")
        assert told == {"id": fake.engine.image("lab1").id, "name": "lab1:latest", "platform": ARM64}
        assert fake.launch("ben", "lab1").record.platform == ARM64
        launching.delete(fake.host, sandbox)

    @pytest.mark.parametrize("name", ["Lab1", "", "lab 1", "lab1:", ":x", "-lab", "lab1:a:b", "lab1@sha256:00", "a//b"])
    def test_names_docker_would_refuse(self, name: str) -> None:
        fake = make_host()
        sandbox = fake.launch("ana")
        with pytest.raises(BadInput, match="is not a name for an image"):
            take_snapshot(fake.host, sandbox, name)

    @pytest.mark.parametrize("name", ["lab1", "lab1:monday", "os1/lab1:v1.2_3", "a--b", "a__b"])
    def test_names_docker_takes(self, name: str) -> None:
        fake = make_host()
        full = name if ":" in name else f"{name}:latest"
        assert take_snapshot(fake.host, fake.launch("ana"), name)["name"] == full


@dataclass
class Made:
    name: str
    archive: Path
    isa: Isa | None = Isa.ARMV7
    labelled: str | None = ARM64
    platform: str = ARM_V7
    corrected: bool = True
    notes: tuple[str, ...] = ("it lied",)


class TestLibrary:
    def archive(self, fake: FakeHost, tmp_path: Path) -> Path:
        file = tmp_path / "made.tar"
        file.write_bytes(b"".join(fake.engine.save_image("zun-arm/tiny:arm64")))
        return file

    def test_a_stored_image_is_noted_and_its_archive_removed(self, tmp_path: Path) -> None:
        fake = make_host()
        made = Made("lab1", self.archive(fake, tmp_path))
        fake.book.noted.clear()
        told = library.store(fake.host, fake.book, made)  # type: ignore[arg-type]
        assert list(told) == ["id", "name", "labelled", "platform", "isa", "corrected", "notes"]
        assert told["notes"] == ["it lied"]
        assert fake.book.noted == {told["id"]: Isa.ARMV7}
        assert not made.archive.exists()

    def test_an_archive_the_engine_refuses_is_removed_too(self, tmp_path: Path) -> None:
        fake = make_host()
        made = Made("lab1", self.archive(fake, tmp_path))
        fake.trace.fail("engine.load_image", EngineFailed("no space left on device"))
        with pytest.raises(EngineFailed):
            library.store(fake.host, fake.book, made)  # type: ignore[arg-type]
        assert not made.archive.exists()

    def test_what_is_told_of_an_image(self) -> None:
        fake = make_host()
        liar = fake.engine.add_image("liar", labelled=ARM64, labels={"truth": "armv7"})
        unmeasured = library.told(fake.host, liar, measure=False)
        assert (unmeasured["platform"], unmeasured["isa"], unmeasured["true"]) == (None, None, None)
        measured = library.told(fake.host, liar, measure=True)
        assert (measured["labelled"], measured["platform"], measured["isa"], measured["true"]) == (
            ARM64,
            ARM_V7,
            "armv7",
            False,
        )
        assert library.told(fake.host, fake.engine.image("zun-arm/tiny:arm64"), measure=False)["true"] is True
        none = fake.engine.add_image("none", labelled=None, labels={"truth": "riscv64"})
        assert library.told(fake.host, none, measure=True)["platform"] is None


class TestPlatforms:
    @pytest.mark.parametrize(
        ("text", "platform"),
        [
            ("linux/arm/v7", ARM_V7),
            ("arm", ARM_V7),
            ("ARMHF", ARM_V7),
            (" linux/arm/v8 ", ARM_V7),
            ("armel", ARM_V6),
            ("linux/arm/v5", ARM_V6),
            ("aarch64", ARM64),
            ("linux/arm64/v8", ARM64),
            ("x86_64", AMD64),
        ],
    )
    def test_spellings(self, text: str, platform: str) -> None:
        assert parse_platform(text) == platform

    @given(st.text(max_size=20))
    def test_anything_else_is_refused_in_words(self, text: str) -> None:
        try:
            assert parse_platform(text) in ALL
        except BadInput as err:
            assert ARM64 in str(err.hint)

    @pytest.mark.parametrize(
        ("label", "platform"),
        [
            (("linux", "arm", "v7"), ARM_V7),
            (("linux", "arm", None), ARM_V7),
            (("", "arm64", ""), ARM64),
            (("windows", "amd64", None), None),
            (("linux", "riscv64", None), None),
            (("linux", "arm", "v9"), None),
        ],
    )
    def test_labels(self, label: tuple[str, str, str | None], platform: str | None) -> None:
        assert platform_from_label(*label) == platform
