"""Damaged and hostile archives: refused with a reason, and nothing is left behind."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile

import pytest
import zstandard
from image_makers import PACKERS, armv7, config, docker_archive, member, oci_archive, rootfs, sha, tar

from zun_arm.errors import BadImage
from zun_arm.images import ArchiveLimits, convert

LAYER = rootfs(armv7())
GOOD = ("bin/sh", armv7())


@pytest.fixture
def refused(tmp_path):
    """Convert some bytes, which must fail; gives the error."""

    def convert_bytes(data, **options):
        source, work = tmp_path / "bad.tar", tmp_path / "work"
        source.write_bytes(data)
        with pytest.raises(BadImage) as caught:
            convert(source, name="lab:1", work=work, **options)
        assert list(work.iterdir()) == []
        assert caught.value.hint
        return str(caught.value)

    return convert_bytes


@pytest.fixture
def accepted(tmp_path):
    def convert_bytes(data, **options):
        source = tmp_path / "good.tar"
        source.write_bytes(data)
        return convert(source, name="lab:1", work=tmp_path / "work", **options)

    return convert_bytes


# Cut off or damaged.

BIG = rootfs(armv7(), ("usr/data", bytes(range(256)) * 4000))
WHOLES = {
    "rootfs": BIG,
    "docker": docker_archive([BIG]),
    "oci": oci_archive([([BIG], config([BIG]))]),
}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", WHOLES)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_cut_off(refused, kind, packing, part):
    data = PACKERS[packing](WHOLES[kind])
    message = refused(data[: int(len(data) * part)])
    assert "cut off" in message or "not a sound tar" in message


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_cut_off_in_the_last_bytes(refused, packing):
    assert "cut off" in refused(PACKERS[packing](BIG)[:-3])


def test_a_root_file_system_cut_off_between_two_members(refused):
    end = BIG.index(b"usr/data")
    assert "cut off" in refused(BIG[:end])


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_damaged_compressed_data(refused, packing):
    data = bytearray(PACKERS[packing](BIG))
    data[len(data) // 2] ^= 0xFF
    message = refused(bytes(data))
    assert "damaged" in message or "not a sound tar" in message


def test_other_data_behind_compressed_data(refused, accepted):
    assert "other data behind" in refused(gzip.compress(BIG) + b"surprise")
    assert accepted(gzip.compress(BIG) + bytes(1000)).platform == "linux/arm/v7"  # padding is usual


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_several_compressed_streams_in_a_row_are_one(accepted, packing):
    pack = PACKERS[packing]
    done = accepted(pack(BIG[:5000]) + pack(BIG[5000:]))
    assert done.layer_digests == (f"sha256:{sha(BIG)}",)


def test_a_damaged_header_in_the_middle(refused):
    data = bytearray(BIG)
    at = data.index(b"usr/data")
    data[at : at + 4] = b"evil"
    assert "damaged near byte" in refused(bytes(data))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"x" * 5000, bytes(10240), gzip.compress(b"hello"), gzip.compress(b"")]
)
def test_no_archive_at_all(refused, data):
    message = refused(data)
    assert "empty" in message or "not a sound tar" in message or "cut off" in message


# Ways out.


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/passwd", "//etc/passwd", "./../evil", "a/..", "..", "x/../y"]
)
def test_members_that_lead_out(refused, name):
    layer = tar(GOOD, (name, b"x"))
    assert "absolute" in refused(layer) or "leads out" in refused(layer)
    assert "absolute" in refused(docker_archive([layer])) or "leads out" in refused(docker_archive([layer]))


def test_outer_members_that_lead_out(refused):
    assert "leads out" in refused(docker_archive([LAYER], extra=[("../evil", b"x")]))


@pytest.mark.parametrize("target", ["/", "/etc", "../../..", "lib"])
def test_a_member_written_through_a_link(refused, target):
    layer = tar(GOOD, member("way", tarfile.SYMTYPE, link=target), ("way/passwd", b"x"))
    assert "goes through the symbolic link 'way'" in refused(layer)


def test_a_member_written_through_two_links(refused):
    layer = tar(
        GOOD,
        "d/",
        member("d/a", tarfile.SYMTYPE, link="b"),
        member("d/b", tarfile.SYMTYPE, link="/etc"),
        ("./d//a/passwd", b"x"),
    )
    assert "goes through the symbolic link 'd/a'" in refused(layer)


@pytest.mark.parametrize("target", ["../../etc/shadow", "/etc/shadow"])
def test_hard_links_to_the_outside(refused, target):
    assert "hard link" in refused(tar(GOOD, member("x", tarfile.LNKTYPE, link=target)))


def test_hard_links_through_a_link(refused):
    layer = tar(GOOD, member("way", tarfile.SYMTYPE, link="/etc"), member("x", tarfile.LNKTYPE, link="way/shadow"))
    assert "goes through" in refused(layer)


def test_links_that_are_only_links_are_fine(accepted):
    layer = tar(
        GOOD,
        member("etc/mtab", tarfile.SYMTYPE, link="/proc/mounts"),
        member("a/deep", tarfile.SYMTYPE, link="../../../../x"),
        member("bin/ash", tarfile.LNKTYPE, link="bin/sh"),
        member("turned", tarfile.SYMTYPE, link="/etc"),
        "turned/",
        ("turned/file", b"the link was replaced by a directory"),
    )
    assert accepted(layer).platform == "linux/arm/v7"


# Devices, whiteouts.


@pytest.mark.parametrize(
    ("name", "kind", "numbers"),
    [
        ("dev/sda", tarfile.BLKTYPE, (8, 0)),
        ("dev/null", tarfile.BLKTYPE, (1, 3)),
        ("dev/null", tarfile.CHRTYPE, (1, 1)),  # /dev/mem under another name
        ("dev/mem", tarfile.CHRTYPE, (1, 1)),
        ("dev/kmsg", tarfile.CHRTYPE, (1, 11)),
    ],
)
def test_device_nodes(refused, name, kind, numbers):
    assert "is a device node" in refused(tar(GOOD, member(name, kind, device=numbers)))


def test_the_device_nodes_debootstrap_packs_and_whiteouts_are_fine(accepted):
    devices = {
        "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
        "tty": (5, 0), "console": (5, 1), "ptmx": (5, 2),
    }  # fmt: skip
    entries = [member(f"./dev/{name}", tarfile.CHRTYPE, device=numbers) for name, numbers in devices.items()]
    entries += [member("run/fifo", tarfile.FIFOTYPE), ("etc/.wh.gone", b""), ("var/.wh..wh..opq", b"")]
    assert accepted(tar(GOOD, *entries)).platform == "linux/arm/v7"


@pytest.mark.parametrize("name", ["a/.wh...", "a/.wh..", ".wh."])
def test_whiteouts_of_directories_above(refused, name):
    assert "whiteout" in refused(tar(GOOD, (name, b"")))


# Too much.


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_decompression_bombs(refused, packing):
    pack = {
        "gz": lambda data: gzip.compress(data, 9),
        "xz": lambda data: lzma.compress(data, preset=6),
        "zst": lambda data: zstandard.ZstdCompressor(level=19).compress(data),
    }[packing]
    bomb = pack(tar(GOOD, ("zeros", bytes(30_000_000))))
    few = ArchiveLimits(max_unpacked_bytes=10_000_000)
    assert "unpacks to more than 10 MiB" in refused(bomb, limits=few)
    ratio = ArchiveLimits(ratio_floor_bytes=1_000_000)
    assert "200 times its size" in refused(bomb, limits=ratio)


def test_bombs_inside_a_layer(refused):
    layer = tar(GOOD, ("zeros", bytes(30_000_000)))
    archive = oci_archive([([layer], config([layer]))], pack=gzip.compress)
    assert "unpacks to more than" in refused(archive, limits=ArchiveLimits(max_unpacked_bytes=10_000_000))


def test_a_sparse_file_counts_with_its_full_size(refused):
    header = member("huge", tarfile.REGTYPE, size=0)
    header.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.realsize": str(1 << 50),
                          "GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}  # fmt: skip
    assert "unpacks to more than" in refused(tar(GOOD, header))


def test_too_many_members(refused):
    layer = tar(GOOD, *((f"f{number}", b"") for number in range(60)))
    assert "more than 50 members" in refused(layer, limits=ArchiveLimits(max_members=50))


def test_a_header_of_absurd_size(refused):
    header = member("x", b"x", size=1 << 40)  # a pax header of a TiB
    out = io.BytesIO()
    out.write(header.tobuf(tarfile.GNU_FORMAT))
    out.write(bytes(4096))
    assert "has a header of" in refused(out.getvalue())


def test_a_path_of_absurd_length(refused):
    assert "longer than 4096" in refused(tar(GOOD, ("a/" * 3000 + "x", b"")))


def test_a_window_that_takes_too_much_memory(refused):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
    message = refused(lzma.compress(BIG, filters=filters))
    assert "needs more than 20 MiB of memory" in message
    assert "xz -6" in message
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert "needs more than 20 MiB of memory" in refused(packed.compress(BIG) + packed.flush())


# Manifests that lie.


def rewritten(**changes):
    """A docker-archive whose manifest or configuration was tampered with."""
    configuration = changes.get("configuration", config([LAYER]))
    manifest = {"Config": f"{sha(configuration)}.json", "RepoTags": ["x:1"], "Layers": ["0/layer.tar"]}
    manifest.update(changes.get("manifest", {}))
    return tar(
        ("0/layer.tar", changes.get("layer", LAYER)),
        (f"{sha(config([LAYER]))}.json", configuration),
        ("manifest.json", changes.get("text", json.dumps([manifest]).encode())),
    )


@pytest.mark.parametrize(
    ("archive", "word"),
    [
        (rewritten(text=b"{garbage"), "not JSON"),
        (rewritten(text=b"[" * 100_000), "not JSON"),
        (rewritten(text=b"[" + b" " * 600_000 + b"]"), "larger than 512 KiB"),
        (rewritten(text=b"{}"), "not a list of objects"),
        (rewritten(text=b"[1]"), "not a list of objects"),
        (rewritten(text=b"[]"), "holds no image"),
        (rewritten(text=b"[{}]"), "has no Config"),
        (rewritten(manifest={"Layers": ["9/layer.tar"]}), "lacks '9/layer.tar'"),
        (rewritten(manifest={"Layers": [], "x": 1}), "has 0 layers"),
        (rewritten(manifest={"Layers": ["0/layer.tar"] * 2}), "has 2 layers, its configuration names 1"),
        (rewritten(manifest={"Config": "none.json"}), "lacks 'none.json'"),
        (rewritten(manifest={"Config": "../../etc/passwd"}), "lacks"),
        (rewritten(layer=rootfs(armv7(), ("added", b"x"))), "has the digest"),
        (rewritten(layer=b"no tar at all" * 100), "not a sound tar"),
        (rewritten(configuration=b'{"rootfs": 1}', manifest={"Config": f"{sha(config([LAYER]))}.json"}), "has the digest"),
    ],
)  # fmt: skip
def test_lying_docker_manifests(refused, archive, word):
    assert word in refused(archive)


@pytest.mark.parametrize(
    "configuration",
    [
        b"[]",
        b"{}",
        b'{"rootfs": {}}',
        b'{"rootfs": {"diff_ids": ["x"]}}',
        b'{"rootfs": {"diff_ids": ["x"]}, "config": 3}',
    ],
)
def test_configurations_that_are_none(refused, configuration):
    assert "configuration" in refused(docker_archive([LAYER], configuration))


def test_a_tampered_blob(refused):
    archive = oci_archive([([LAYER], config([LAYER]))], pack=lambda layer: gzip.compress(layer, mtime=0))
    packed = gzip.compress(LAYER, mtime=0)
    other = gzip.compress(LAYER, mtime=1)  # the same content, other bytes
    assert len(packed) == len(other)
    assert "has the digest" in refused(archive.replace(packed, other))


def test_a_tampered_manifest_blob(refused):
    archive = oci_archive([([LAYER], config([LAYER]))])
    assert "has the digest" in refused(
        archive.replace(b'"schemaVersion": 2, "mediaType"', b'"schemaVersion": 3, "mediaType"')
    )


def test_an_index_that_names_itself_or_nothing(refused):
    assert "holds no image" in refused(tar(("index.json", b'{"manifests": []}'), ("oci-layout", b"{}")))
    bad = tar(("index.json", b'{"manifests": [{"digest": "md5:1"}]}'), ("oci-layout", b"{}"))
    assert "digest that is none" in refused(bad)


def test_an_image_without_its_manifest(refused):
    assert "neither manifest.json nor index.json" in refused(tar(("0/layer.tar", LAYER), ("x.json", b"{}")))
