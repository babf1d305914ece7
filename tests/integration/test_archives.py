"""Archives from elsewhere: every kind, with a label that lies, broken, hostile; and the way back out."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import zstandard

Import = Callable[..., dict[str, Any]]
V7 = "zun-arm/tiny:arm-v7"
WORK = Path(os.environ.get("OS_DEFAULT__STATE_DIR", "/nonexistent")) / "work"


def tar_of(members: dict[str, bytes]) -> bytes:
    """A tar archive of plain files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def docker_archive(layer: bytes, **config: Any) -> bytes:
    """What ``docker save`` makes, of one layer."""
    text = json.dumps({**config, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}"]}}).encode()
    manifest = [{"Config": f"{digest(text)}.json", "RepoTags": ["saved:latest"], "Layers": ["1/layer.tar"]}]
    return tar_of({f"{digest(text)}.json": text, "1/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()})


def oci_archive(layer: bytes, **config: Any) -> bytes:
    """An OCI image layout in a tar, its layer packed with gzip."""
    text = json.dumps({**config, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}"]}}).encode()
    blobs: dict[str, bytes] = {}

    def blob(kind: str, content: bytes) -> dict[str, Any]:
        blobs[f"blobs/sha256/{digest(content)}"] = content
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest(content)}", "size": len(content)}

    layers = [blob("layer.v1.tar+gzip", gzip.compress(layer, 1))]
    manifest = {"schemaVersion": 2, "config": blob("config.v1+json", text), "layers": layers}
    index = {"schemaVersion": 2, "manifests": [blob("manifest.v1+json", json.dumps(manifest).encode())]}
    version = b'{"imageLayoutVersion": "1.0.0"}'
    return tar_of({"oci-layout": version, "index.json": json.dumps(index).encode(), **blobs})


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


TRUE = {"os": "linux", "architecture": "arm", "variant": "v7", "config": {"Cmd": ["/sbin/start"]}}
LIE = {"os": "linux", "architecture": "arm64", "config": {"Cmd": ["/bin/sleep", "100000"], "Env": ["PATH=/bin"]}}


@pytest.fixture(autouse=True)
def nothing_else(nothing_left: None, client: docker.DockerClient, rootfs: bytes, cli: Any) -> Iterator[None]:
    """Afterwards: the same images as before, and nothing in the directory for unpacking."""
    before = images(client)
    yield
    cli("delete", "--all")
    new = sorted(images(client) - before)
    assert before <= images(client)
    for name in new:
        client.images.remove(name, force=True)
    assert not WORK.exists() or list(WORK.iterdir()) == []


def images(client: docker.DockerClient) -> set[str]:
    """The names of all images, or ids of those that have none."""
    return {name for image in client.api.images() for name in image["RepoTags"] or [image["Id"]]}


@pytest.fixture
def imported(cli: Any, tmp_path: Path) -> Import:
    """Import bytes as an archive."""

    def import_(content: bytes, *options: str, file: str = "lab1.tar") -> dict[str, Any]:
        (tmp_path / file).write_bytes(content)
        done = cli("image", "import", str(tmp_path / file), "--format", "json", *options)
        told: dict[str, Any] = json.loads(done.stdout)
        return {**told, "said": done.stderr}

    return import_


@pytest.fixture
def refused(cli: Any, tmp_path: Path, client: docker.DockerClient) -> Callable[..., str]:
    """Import bytes that must be refused, quickly, with nothing left."""

    def refuse(content: bytes, *words: str, options: tuple[str, ...] = (), code: int = 1) -> str:
        (tmp_path / "evil.tar").write_bytes(content)
        before = images(client)
        for command in ("import", "verify"):
            since = time.monotonic()
            done = cli(
                "image", command, str(tmp_path / "evil.tar"), *(options if command == "import" else ()), check=False
            )
            assert time.monotonic() - since < 20
            assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr and done.stdout == ""
            for word in (*words, "zun-arm: hint: "):
                assert word in done.stderr, f"{command}: {word!r} is not in: {done.stderr}"
            assert images(client) == before
            assert not WORK.exists() or list(WORK.iterdir()) == []
        said: str = done.stderr
        return said

    return refuse


# Lies


@pytest.mark.parametrize("make", [docker_archive, oci_archive])
def test_a_label_that_lies(imported: Import, launched: Any, cli: Any, rootfs: bytes, tmp_path: Path, make: Any) -> None:
    told = imported(make(rootfs, **LIE))
    assert (told["name"], told["labelled"], told["platform"]) == ("lab1:latest", "linux/arm64", "linux/arm/v7")
    assert told["corrected"] is True
    assert "lab1:latest: labelled linux/arm64, its programs are ARMv7: label corrected" in told["said"]
    assert json.loads(cli("image", "verify", "lab1", "--format", "json").stdout)["true"] is True
    sandbox = launched("--name", "ana", image="lab1")
    assert sandbox["platform"] == "linux/arm/v7"
    assert cli("exec", "ana", "--", "uname", "-m").stdout == "armv7l\n"
    verified = cli("image", "verify", str(tmp_path / "lab1.tar"), "--format", "json", check=False)
    assert verified.returncode == 1
    assert json.loads(verified.stdout)["true"] is False
    assert "claims linux/arm64" in verified.stderr and "its programs are for linux/arm/v7" in verified.stderr


def test_an_image_in_the_engine_that_lies(launched: Any, cli: Any, client: docker.DockerClient, rootfs: bytes) -> None:
    client.images.load(docker_archive(rootfs, **LIE))
    verified = cli("image", "verify", "saved", "--format", "json", check=False)
    assert verified.returncode == 1
    told = json.loads(verified.stdout)
    assert (told["labelled"], told["platform"], told["true"]) == ("linux/arm64", "linux/arm/v7", False)
    assert "saved claims linux/arm64" in verified.stderr and "its programs are for linux/arm/v7" in verified.stderr
    assert launched("--name", "ana", image="saved")["platform"] == "linux/arm/v7"
    assert cli("image", "verify", V7).returncode == 0
    unknown = cli("image", "verify", "nosuch", check=False)
    assert unknown.returncode == 1 and "there is no image 'nosuch'" in unknown.stderr


def test_a_promise_that_is_not_kept(refused: Any, cli: Any, rootfs: bytes, tmp_path: Path) -> None:
    (tmp_path / "lab1.tar").write_bytes(rootfs)
    done = cli("image", "import", str(tmp_path / "lab1.tar"), "--platform", "linux/arm64", check=False)
    assert done.returncode == 1
    assert "was to be linux/arm64, but its programs are ARMv7" in done.stderr
    assert "use --platform linux/arm/v7" in done.stderr


# Every kind


@pytest.mark.parametrize(
    ("kind", "packing"),
    [
        *[("docker-archive", packing) for packing in ("plain", "gz", "xz", "zst")],
        *[("OCI archive", packing) for packing in ("plain", "zst")],
        *[("root file system", packing) for packing in ("plain", "gz", "xz")],
    ],
)
def test_every_kind(imported: Import, cli: Any, launched: Any, rootfs: bytes, kind: str, packing: str) -> None:
    if kind == "root file system":
        content = rootfs
    else:
        content = (docker_archive if kind == "docker-archive" else oci_archive)(rootfs, **TRUE)
    pack: dict[str, Callable[[bytes], bytes]] = {
        "plain": lambda data: data,
        "gz": lambda data: gzip.compress(data, 1),
        "xz": lambda data: lzma.compress(data, preset=0),
        "zst": lambda data: zstandard.compress(data, 1),
    }
    told = imported(pack[packing](content), "--name", "course/lab1:one", file="any.bin")
    assert (told["name"], told["platform"], told["isa"]) == ("course/lab1:one", "linux/arm/v7", "armv7")
    assert told["corrected"] is False and told["said"] == ""
    assert told["labelled"] == (None if kind == "root file system" else "linux/arm/v7")
    if packing == "gz":
        launched("--name", "ana", image="course/lab1:one", program=("/bin/sleep", "1000"))
        assert cli("exec", "ana", "--", "uname", "-m").stdout == "armv7l\n"


# Broken


def test_broken_archives(refused: Any, rootfs: bytes) -> None:
    saved = docker_archive(rootfs, **TRUE)
    refused(saved[: len(saved) // 2], "evil.tar", "get it again")
    refused(rootfs[: len(rootfs) // 2], "cut off", "get it again")
    packed = gzip.compress(rootfs, 1)
    refused(packed[: len(packed) // 2])
    refused(packed[:-4])
    packed = lzma.compress(rootfs, preset=0)
    refused(packed[: len(packed) // 2])
    packed = zstandard.compress(rootfs, 1)
    refused(packed[: len(packed) // 2])
    flipped = bytearray(saved)
    flipped[len(saved) // 2] ^= 0xFF
    refused(bytes(flipped))
    refused(b"")
    refused(b"this is no archive at all\n" * 1000)
    refused(b"PK\x03\x04" + bytes(1000), "zip", "give a tar archive")
    refused(tar_of({"manifest.json": b"[{"}), "not JSON")
    refused(tar_of({"manifest.json": b"[]"}))
    refused(tar_of({"etc/passwd": b"root:x:0:0::/root:/bin/sh\n"}), "no program")


def test_what_is_no_file(cli: Any, tmp_path: Path) -> None:
    for file in (tmp_path / "missing.tar", tmp_path):
        done = cli("image", "import", str(file), check=False)
        assert done.returncode == 1 and "there is no archive" in done.stderr
    done = cli("image", "import", str(tmp_path / "x"), "--name", "Bad Name", check=False)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr


# Hostile


def evil_layer(rootfs: bytes, *members: tarfile.TarInfo) -> bytes:
    """The root file system with something more in it."""
    packed = io.BytesIO(rootfs)
    with tarfile.open(fileobj=packed, mode="a") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return packed.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", device: tuple[int, int] = (0, 0)
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    made.size = 1 if kind == tarfile.REGTYPE else 0
    made.devmajor, made.devminor = device
    return made


HOSTILE = {
    "traversal": ([member("../../etc/cron.d/evil")], "leads out of the archive's root"),
    "inner traversal": ([member("usr/../../evil")], "leads out of the archive's root"),
    "absolute path": ([member("/etc/cron.d/evil")], "is an absolute path"),
    "through a link": (
        [member("out", tarfile.SYMTYPE, "/etc"), member("out/cron.d/evil")],
        "goes through the symbolic link",
    ),
    "hard link out": ([member("shadow", tarfile.LNKTYPE, "../../etc/shadow")], "leads outside"),
    "disk": ([member("dev/sda", tarfile.BLKTYPE, device=(8, 0))], "is a device node (8:0)"),
    "memory": ([member("tmp/mem", tarfile.CHRTYPE, device=(1, 1))], "is a device node (1:1)"),
    "whiteout of everything": ([member(".wh...")], "would delete"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives(refused: Any, rootfs: bytes, what: str) -> None:
    members, words = HOSTILE[what]
    layer = evil_layer(rootfs, *members)
    for content in (layer, docker_archive(layer, **TRUE)):
        said = refused(content, words)
        assert "do not use it" in said
    assert not Path("/etc/cron.d/evil").exists()


def bomb() -> bytes:
    """A small gzip file that unpacks to a root file system with one file of 8 GiB of zeros."""
    size = 8 * 1024**3
    header = tarfile.TarInfo("bin/zeros")
    header.size = size
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(tar_of({"bin/sh": b"x"})[:1024] + header.tobuf()), packer.flush(zlib.Z_FULL_FLUSH)]
    zeros = packer.compress(bytes(16 * 1024**2)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"".join([*parts, *[zeros] * (size // 1024**2 // 16), packer.flush()])


def test_decompression_bombs(refused: Any, rootfs: bytes) -> None:
    packed = bomb()
    assert len(packed) < 10 * 1024**2
    refused(packed, "decompression bomb")
    layer = gzip.compress(rootfs, 1)
    evil = docker_archive(layer, **TRUE).replace(
        layer, layer
    )  # the layer itself is packed, its digest that of the pack
    refused(evil)
    text = json.dumps({**TRUE, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    refused(tar_of({"manifest.json": manifest, "config.json": text, "layer.tar": packed}), "bomb")


# And back


def test_export_and_import(imported: Import, cli: Any, client: docker.DockerClient, tmp_path: Path) -> None:
    file = tmp_path / "tiny.tar"
    assert cli("image", "export", V7, str(file)).stdout == f"{file}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tar"], "something lies beside the archive"
    told = json.loads(cli("image", "import", str(file), "--name", "again", "--format", "json").stdout)
    assert (told["platform"], told["corrected"]) == ("linux/arm/v7", False)
    again, first = client.images.get("again").attrs, client.images.get(V7).attrs
    assert again["RootFS"] == first["RootFS"]
    assert again["Config"]["Cmd"] == first["Config"]["Cmd"] and again["Config"]["Env"] == first["Config"]["Env"]
    assert cli("image", "delete", "again").stdout == "again\n"
    loaded = client.images.load(file.read_bytes())
    assert V7 in loaded[0].tags
    for target, code in ((tmp_path / "no/such/dir/file.tar", 1), (tmp_path, 1)):
        done = cli("image", "export", V7, str(target), check=False)
        assert done.returncode == code and "cannot be written" in done.stderr and "Traceback" not in done.stderr
    unknown = cli("image", "export", "nosuch", str(tmp_path / "x.tar"), check=False)
    assert unknown.returncode == 1 and not (tmp_path / "x.tar").exists()


@pytest.mark.skipif(shutil.which("docker") is None, reason="Docker's own command is a package of its own on Debian 13")
def test_dockers_own_command(cli: Any, launched: Any, tmp_path: Path) -> None:
    cli("image", "export", V7, str(tmp_path / "ours.tar"))
    docker_("tag", V7, "kept:latest")
    loaded = docker_("load", "-i", str(tmp_path / "ours.tar"))
    assert V7 in loaded
    docker_("save", "-o", str(tmp_path / "theirs.tar"), "kept:latest")
    told = json.loads(cli("image", "import", str(tmp_path / "theirs.tar"), "--format", "json").stdout)
    assert (told["name"], told["platform"], told["corrected"]) == ("theirs:latest", "linux/arm/v7", False)
    launched("--name", "ana", image="theirs")
    assert cli("exec", "ana", "--", "uname", "-m").stdout == "armv7l\n"


def docker_(*args: str) -> str:
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout


def test_list_and_delete(imported: Import, cli: Any, launched: Any, rootfs: bytes) -> None:
    told = imported(rootfs, "--name", "lab1")
    rows = {name: row for row in json.loads(cli("image", "list", "--format", "json").stdout) for name in row["names"]}
    assert rows["lab1:latest"]["platform"] == "linux/arm/v7" and rows["lab1:latest"]["id"] == told["id"]
    assert rows[V7]["platform"] == "linux/arm/v7" and rows[V7]["true"] is True
    launched("--name", "ana", image="lab1")
    used = cli("image", "delete", "lab1", check=False)
    assert used.returncode == 1 and "delete the sandboxes" in used.stderr
    both = cli("image", "delete", "nosuch", "lab1", check=False)
    assert both.returncode != 0
    cli("delete", "ana")
    both = cli("image", "delete", "nosuch", "lab1", check=False)
    assert both.returncode == 4 and both.stdout == "lab1\n" and "nosuch" in both.stderr
    gone = cli("image", "delete", "lab1", check=False)
    assert gone.returncode == 1 and "lab1" in gone.stderr
