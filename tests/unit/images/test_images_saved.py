"""Measuring images from the stream of ``docker save``."""

from __future__ import annotations

import io

import pytest
from image_makers import PACKERS, armv6, armv7, config, docker_archive, oci_archive, rootfs, tar, x86_64

from zun_arm.core.platforms import Isa
from zun_arm.errors import BadImage
from zun_arm.images import ArchiveLimits, measure_saved

LAYER = rootfs(armv7())


class Socket:
    """A stream as a socket gives it: forward only, and never as much as was asked for."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def read(self, size):
        return self._data.read(min(size, 1000))

    def at_end(self):
        return not self._data.read(1)


@pytest.mark.parametrize("packing", PACKERS)
def test_all_layouts_of_docker_save(packing):
    archives = [
        docker_archive([LAYER]),
        oci_archive([([LAYER], config([LAYER]))], docker=True, pack=PACKERS[packing]),
    ]
    for archive in archives:
        stream = Socket(archive)
        found = measure_saved(stream)
        assert (found.isa, found.platform, found.evidence) == (Isa.ARMV7, "linux/arm/v7", "bin/busybox")
        assert found.counts == {Isa.ARMV7: 1}
        assert stream.at_end()


def test_data_only():
    assert measure_saved(io.BytesIO(docker_archive([tar(("etc/data", b"1"))]))) is None


def test_the_images_own_program_decides_a_tie():
    archive = docker_archive([tar(("app", armv7()), ("bin/sh", armv6()))])
    assert measure_saved(io.BytesIO(archive), entrypoint=["/app", "x"]).isa is Isa.ARMV7
    assert measure_saved(io.BytesIO(archive)).isa is Isa.ARMV6


def test_a_later_layer_counts_too():
    layers = [tar(("bin/sh", x86_64())), tar(("a", armv7()), ("b", armv7()))]
    found = measure_saved(io.BytesIO(docker_archive(layers)))
    assert found.isa is Isa.ARMV7
    assert found.counts == {Isa.X86_64: 1, Isa.ARMV7: 2}


def test_a_large_program_is_read_through_a_file(tmp_path):
    large = armv7() + bytes(3_000_000)
    found = measure_saved(io.BytesIO(docker_archive([tar(("bin/sh", large))])), work=tmp_path)
    assert found.certain
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_breaks_off():
    archive = docker_archive([LAYER])
    for length in (100, 2000, len(archive) // 2):
        with pytest.raises(BadImage):
            measure_saved(io.BytesIO(archive[:length]))


def test_limits_hold():
    archive = docker_archive([tar(("bin/sh", armv7() + bytes(100_000)))])
    with pytest.raises(BadImage, match="unpacks to more"):
        measure_saved(io.BytesIO(archive), limits=ArchiveLimits(max_unpacked_bytes=50_000))
