"""Archives of every kind become a docker-archive that says what it is."""

from __future__ import annotations

import json
import tarfile

import pytest
from image_makers import (
    EXEC,
    PACKERS,
    RISCV,
    arm64,
    armv5,
    armv6,
    armv7,
    config,
    docker_archive,
    elf,
    layers_of,
    member,
    oci_archive,
    rootfs,
    sha,
    tar,
    x86_64,
)

from zun_arm.core.platforms import Isa
from zun_arm.errors import BadImage, BadInput, DoesNotFit, NotFound, ZunArmError
from zun_arm.images import ArchiveLimits, convert

LAYER = rootfs(armv7())


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


@pytest.fixture
def give(tmp_path, work):
    """Convert some bytes; afterwards nothing but the result may be in the work directory."""

    def convert_bytes(data, *, file="archive", name="lab:1", **options):
        source = tmp_path / file
        source.write_bytes(data)
        before = set(work.glob("*"))
        try:
            done = convert(source, name=name, work=work, **options)
        except ZunArmError:
            assert set(work.glob("*")) == before
            raise
        assert set(work.iterdir()) == before | {done.archive}
        return done

    return convert_bytes


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(
    "whole",
    [
        LAYER,
        docker_archive([LAYER]),
        oci_archive([([LAYER], config([LAYER]))]),
        oci_archive([([LAYER], config([LAYER]))], docker=True),
    ],
    ids=["rootfs", "docker", "oci", "docker25"],
)
def test_every_kind_in_every_packing_told_by_content(give, whole, packing):
    done = give(PACKERS[packing](whole), file="looks-like.zip")
    assert (done.platform, done.isa, done.corrected, done.notes) == ("linux/arm/v7", Isa.ARMV7, False, ())
    layers, told, manifest = layers_of(done.archive)
    assert layers == [LAYER]
    assert (told["os"], told["architecture"], told["variant"]) == ("linux", "arm", "v7")
    assert told["config"]["Labels"] == {"zun-arm.isa": "armv7", "zun-arm.platform": "linux/arm/v7"}
    assert manifest["RepoTags"] == ["lab:1"]
    assert done.layer_digests == (f"sha256:{sha(LAYER)}",)
    assert done.config_digest == f"sha256:{manifest['Config'].removesuffix('.json')}"
    assert done.size_bytes == len(LAYER)


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_layers_come_out_unpacked(give, packing):
    second = tar(("etc/.wh.os", b""), ("new", b"file"))
    archive = oci_archive([([LAYER, second], config([LAYER, second]))], pack=PACKERS[packing], docker=packing == "gz")
    layers, _, _ = layers_of(give(archive).archive)
    assert layers == [LAYER, second]


@pytest.mark.parametrize("kind", ["docker", "rootfs"])
def test_the_same_input_gives_the_same_bytes(give, kind, tmp_path):
    data = docker_archive([LAYER]) if kind == "docker" else LAYER
    first = give(data)
    once = first.archive.read_bytes()
    first.archive.unlink()
    assert give(data).archive.read_bytes() == once


def test_a_wrong_label_is_corrected_and_said(give):
    done = give(docker_archive([LAYER], architecture="arm64", variant=""))
    assert done.labelled == "linux/arm64"
    assert done.platform == "linux/arm/v7"
    assert done.corrected
    assert done.notes == ("labelled linux/arm64, its programs are ARMv7: label corrected",)
    _, told, _ = layers_of(done.archive)
    assert (told["architecture"], told["variant"]) == ("arm", "v7")


def test_a_right_arm64_label_loses_its_variant_and_is_not_called_wrong(give):
    layer = rootfs(arm64())
    done = give(docker_archive([layer], architecture="arm64", variant="v8"))
    assert (done.platform, done.corrected) == ("linux/arm64", False)
    _, told, _ = layers_of(done.archive)
    assert "variant" not in told


@pytest.mark.parametrize(
    ("program", "platform", "isa"),
    [
        (armv5(), "linux/arm/v6", Isa.ARMV5),
        (armv6(), "linux/arm/v6", Isa.ARMV6),
        (elf(cpu_arch=14), "linux/arm/v7", Isa.ARMV8_AARCH32),
        (arm64(), "linux/arm64", Isa.ARMV8),
        (x86_64(), "linux/amd64", Isa.X86_64),
    ],
)
def test_the_platform_follows_the_programs(give, program, platform, isa):
    done = give(rootfs(program))
    assert (done.platform, done.isa) == (platform, isa)


def test_what_an_image_says_about_itself_is_kept(give):
    inner = {
        "Entrypoint": ["/init"],
        "Cmd": ["go"],
        "Env": ["A=1"],
        "User": "ana",
        "WorkingDir": "/home",
        "Labels": {"mine": "1", "zun-arm.isa": "a lie"},
    }
    done = give(docker_archive([LAYER], config([LAYER], **inner)))
    _, told, _ = layers_of(done.archive)
    labels = {"mine": "1", "zun-arm.isa": "armv7", "zun-arm.platform": "linux/arm/v7"}
    assert told["config"] == {**inner, "Labels": labels}
    assert told["created"] == "2024-01-01T00:00:00Z"
    assert told["history"] == [{"created_by": "a test"}]


@pytest.mark.parametrize(
    ("entries", "command"),
    [
        ([("bin/sh", armv7())], ["/bin/sh"]),
        ([member("bin", tarfile.SYMTYPE, link="usr/bin"), ("usr/bin/sh", armv7())], ["/bin/sh"]),
        ([("usr/bin/sh", armv7())], ["/usr/bin/sh"]),
        ([("sbin/init", armv7())], ["/sbin/init"]),
        ([("init", armv7())], ["/init"]),
    ],
)
def test_a_root_file_system_starts_a_shell_or_an_init(give, entries, command):
    _, told, _ = layers_of(give(tar(*entries)).archive)
    assert told["config"]["Cmd"] == command


def test_a_root_file_system_with_nothing_to_start_says_so(give):
    done = give(tar(("hello", armv7())))
    assert "give a command" in done.notes[0]
    _, told, _ = layers_of(done.archive)
    assert "Cmd" not in told["config"]


def test_names_get_a_tag_and_are_checked(give):
    assert give(LAYER, name="registry.lab:5000/arm/tiny").name == "registry.lab:5000/arm/tiny:latest"
    for bad in ("Lab", "a b", "lab:", "-x", ""):
        with pytest.raises(BadInput, match="not an image name"):
            give(LAYER, name=bad)


# Several images in one archive.

TWO = [([LAYER], config([LAYER])), ([rootfs(arm64())], config([rootfs(arm64())], "arm64", ""))]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("platform", "isa"), [("linux/arm/v7", Isa.ARMV7), ("arm64", Isa.ARMV8)])
def test_one_of_several_images_is_chosen_by_platform(give, platform, isa, nested):
    assert give(oci_archive(TWO, nested=nested, attest=True), platform=platform).isa is isa


def test_which_of_several_must_be_said(give):
    with pytest.raises(BadImage, match=r"holds 2 images: linux/arm/v7, linux/arm64 \(choose one with --platform\)"):
        give(oci_archive(TWO))


def test_an_absent_platform_lists_those_there(give):
    with pytest.raises(BadImage, match="no image for linux/amd64; there are: linux/arm/v7, linux/arm64"):
        give(oci_archive(TWO, nested=True), platform="linux/amd64")


def test_an_attestation_is_no_second_image(give):
    assert give(oci_archive(TWO[:1], attest=True)).isa is Isa.ARMV7


def test_layers_several_images_share_are_links_in_old_archives(give):
    configuration = config([LAYER, LAYER])
    manifest = [{"Config": f"{sha(configuration)}.json", "Layers": ["a/layer.tar", "b/layer.tar"]}]
    archive = tar(
        ("a/layer.tar", LAYER),
        member("b/layer.tar", tarfile.SYMTYPE, link="../a/layer.tar"),
        (f"{sha(configuration)}.json", configuration),
        ("manifest.json", json.dumps(manifest).encode()),
    )
    done = give(archive)
    layers, _, manifest = layers_of(done.archive)
    assert layers == [LAYER, LAYER]
    with tarfile.open(done.archive) as opened:
        assert len(opened.getnames()) == 3  # the layer only once


# What is asked for, claimed and measured.


def test_a_platform_that_contradicts_the_programs_is_refused(give):
    with pytest.raises(
        BadImage, match=r"was to be linux/arm64, but its programs are ARMv7 .*bin/busybox.*--platform linux/arm/v7"
    ):
        give(LAYER, platform="linux/arm64")


def test_data_only_images_keep_their_label(give):
    done = give(docker_archive([tar(("etc/data", b"1"))], architecture="arm64", variant=""))
    assert (done.platform, done.isa, done.corrected) == ("linux/arm64", None, False)
    assert "no program" in done.notes[0]
    with pytest.raises(BadImage, match="nothing tells its platform"):
        give(tar(("etc/data", b"1")))


def test_data_only_root_file_systems_are_what_they_are_told_to_be(give):
    assert give(tar(("etc/data", b"1")), platform="linux/arm/v6").platform == "linux/arm/v6"


@pytest.mark.parametrize("label", ["v6", "v7"])
def test_programs_that_do_not_say_which_arm_keep_the_label(give, label):
    layer = tar(("hello", elf(kind=EXEC, flags=0x5000400)))
    done = give(docker_archive([layer], variant=label))
    assert (done.platform, done.corrected) == (f"linux/arm/{label}", False)
    assert "do not say" in done.notes[0]


def test_programs_that_do_not_say_which_arm_are_still_not_arm64(give):
    done = give(docker_archive([tar(("hello", elf(flags=0x5000400)))], architecture="arm64", variant=""))
    assert (done.platform, done.corrected) == ("linux/arm/v7", True)


@pytest.mark.parametrize("program", [elf(RISCV), elf(8, bits=64)])
def test_machines_that_are_none_of_ours_are_refused(give, program):
    with pytest.raises(BadImage, match="ARM and x86-64 userlands only"):
        give(rootfs(program))


# The measuring rule, on whole userlands.


def several(program, count, prefix="usr/lib/lib"):
    return [(f"{prefix}{number}.so", program) for number in range(count)]


def test_a_raspbian_with_a_few_v7_libraries_is_v6(give):
    layer = tar(
        ("bin/sh", armv6()), ("lib/libc.so.6", armv6()), *several(armv6(), 20), *several(armv7(), 5, "usr/lib/neon/l")
    )
    done = give(docker_archive([layer], variant="v7"))
    assert (done.platform, done.isa, done.corrected) == ("linux/arm/v6", Isa.ARMV6, True)


def test_a_foreign_emulator_in_the_image_changes_nothing(give):
    assert give(tar(("bin/sh", armv7()), ("bin/ls", armv7()), ("usr/bin/qemu-arm-static", x86_64()))).isa is Isa.ARMV7


def test_a_tie_is_decided_by_the_shell_through_its_link(give):
    layer = tar(
        ("a", armv7()),
        ("usr/bin/busybox", armv6()),
        member("usr/bin/sh", tarfile.SYMTYPE, link="/usr/bin/busybox"),
    )
    assert give(layer).isa is Isa.ARMV6


@pytest.mark.parametrize("entrypoint", [["/usr/bin/app"], ["app"]])
def test_a_tie_is_decided_by_the_images_own_program_first(give, entrypoint):
    layer = tar(("usr/bin/app", armv7()), ("bin/sh", armv6()))
    assert give(docker_archive([layer], config([layer], Entrypoint=entrypoint))).isa is Isa.ARMV7


def test_a_tie_is_decided_by_libc_and_else_by_the_newer(give):
    assert give(tar(("a", armv7()), ("lib/arm-linux-gnueabihf/libc.so.6", armv6()))).isa is Isa.ARMV6
    assert give(tar(("a", armv6()), ("b", armv7()))).isa is Isa.ARMV7


def test_firmware_kernels_and_modules_do_not_vote(give):
    layer = tar(("bin/sh", armv7()), *several(x86_64(), 3, "usr/lib/firmware/f"), *several(arm64(), 3, "boot/k"))
    assert give(layer).isa is Isa.ARMV7


def test_guesses_do_not_outvote_files_that_know(give):
    layer = tar(("bin/sh", armv6()), *several(elf(flags=0x5000400), 9))
    assert give(layer).isa is Isa.ARMV6


# Input that is no archive of ours.


def test_missing_and_foreign_files(give, tmp_path, work):
    with pytest.raises(NotFound, match="there is no archive"):
        convert(tmp_path / "none", name="x", work=work)
    with pytest.raises(NotFound):
        convert(tmp_path, name="x", work=work)
    for data, word in [
        (b"PK\x03\x04" + bytes(99), "zip"),
        (b"BZh91AY" + bytes(99), "bzip2"),
        (b"QFI\xfb" + bytes(99), "qcow2"),
    ]:
        with pytest.raises(BadImage, match=word):
            give(data)


def test_a_full_disk_is_said(give, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zun_arm.images.writer.LayerSink.write", full)
    with pytest.raises(DoesNotFit, match="is full"):
        give(LAYER)


def test_limits_must_make_sense():
    with pytest.raises(BadInput):
        ArchiveLimits(max_members=0)
