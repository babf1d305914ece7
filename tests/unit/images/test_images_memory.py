"""However large an archive is, converting and measuring it takes little memory."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tarfile

import pytest
from image_makers import PACKERS, armv7, config, member, sha

MIB = 1024 * 1024
CEILING_KIB = 25 * 1024

# Runs in a process of its own; prints how many KiB its resident memory grew at most.
CHILD = """
import sys
from pathlib import Path
import zstandard
from zun_arm.images import convert, measure_saved
import zun_arm.images.convert

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

source, work, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS:")
if what == "convert":
    result = convert(source, name="big", work=work)
else:
    with source.open("rb") as stream:
        result = measure_saved(stream, work=work)
assert result.platform == "linux/arm/v7", result
print(status("VmHWM:") - before)
"""


def write_layer(path, *, files=160, size=MIB, small=20_000, zeros=30 * MIB):
    """A layer of ``files`` files that hardly compress, with many small ones and a large program."""
    noise = random.Random(1).randbytes(size)
    with tarfile.open(path, "w") as archive:
        program = armv7()
        archive.addfile(member("bin/sh", size=len(program)), io.BytesIO(program))
        large = program + bytes(zeros)
        archive.addfile(member("usr/bin/large", size=len(large)), io.BytesIO(large))
        for number in range(files):
            archive.addfile(member(f"data/{number}", size=size), io.BytesIO(noise))
        for number in range(small):
            archive.addfile(
                member(f"usr/share/doc/package-{number}/a-file-with-a-name", tarfile.SYMTYPE, link="/etc/x")
            )


def write_docker_archive(layer, path):
    """A docker-archive around a layer file, made without reading it into memory more than once."""
    data = layer.read_bytes()
    configuration = config([data])
    manifest = f'[{{"Config": "{sha(configuration)}.json", "Layers": ["0/layer.tar"]}}]'.encode()
    with tarfile.open(path, "w") as archive:
        for name, content in [
            ("0/layer.tar", data),
            (f"{sha(configuration)}.json", configuration),
            ("manifest.json", manifest),
        ]:
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    directory = tmp_path_factory.mktemp("big")
    write_layer(directory / "layer.tar")
    write_docker_archive(directory / "layer.tar", directory / "image.tar")
    assert (directory / "layer.tar").stat().st_size > 150 * MIB
    return directory


@pytest.mark.parametrize(
    ("file", "packing", "what"),
    [
        ("layer.tar", "plain", "convert"),
        ("layer.tar", "gz", "convert"),
        ("layer.tar", "zst", "convert"),
        ("image.tar", "plain", "convert"),
        ("image.tar", "gz", "convert"),
        ("image.tar", "plain", "measure_saved"),
    ],
)
def test_memory_is_bounded(big, tmp_path, file, packing, what):
    source = tmp_path / "archive"
    source.write_bytes(PACKERS[packing]((big / file).read_bytes()))
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, source, work, what], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    print(f"{packing} {file} {what}: {int(done.stdout) / 1024:.1f} MiB more")
    assert int(done.stdout) <= CEILING_KIB


def test_memory_is_bounded_for_xz(tmp_path):
    layer = tmp_path / "layer.tar"
    write_layer(layer, files=1, size=20 * MIB, small=100, zeros=140 * MIB)
    source = tmp_path / "archive"
    with source.open("wb") as out:
        subprocess.run(["xz", "-6", "-T1", "-c", str(layer)], stdout=out, check=True)
    assert layer.stat().st_size > 150 * MIB
    done = subprocess.run(
        [sys.executable, "-c", CHILD, source, tmp_path, "convert"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    print(f"xz: {int(done.stdout) / 1024:.1f} MiB more")
    assert int(done.stdout) <= CEILING_KIB
