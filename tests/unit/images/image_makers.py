"""Makes what the image tests need: tiny real ELF files, layers, and archives of every kind, good and bad."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import struct
import tarfile
from pathlib import Path

import zstandard

ARM, X86_64, AARCH64, RISCV = 40, 62, 183, 243
EXEC, DYN = 2, 3
V5TE, V6, V6KZ, V7, V8 = 4, 6, 7, 10, 14


def elf(
    machine=ARM,
    *,
    kind=DYN,
    bits=None,
    flags=None,
    cpu_arch=None,
    profile=None,
    vfp_args=False,
    interpreter=None,
    dynamic=None,
    big_endian=False,
    attributes=None,
):
    """An ELF file with headers, program headers and (for ``cpu_arch``) an .ARM.attributes section."""
    bits = bits or (32 if machine == ARM else 64)
    order = ">" if big_endian else "<"
    flags = (0x5000400 if vfp_args else 0x5000200) if flags is None and machine == ARM else flags or 0
    header_size, segment_size, section_size = (52, 32, 40) if bits == 32 else (64, 56, 64)
    parts = []
    if interpreter:
        parts.append((3, interpreter.encode() + b"\0"))
    if dynamic is not None:
        word = "II" if bits == 32 else "QQ"
        parts.append((2, b"".join(struct.pack(order + word, tag, value) for tag, value in [*dynamic, (0, 0)])))
    position = header_size + segment_size * len(parts)
    segments, body = b"", b""
    for segment, data in parts:
        where, size = position + len(body), len(data)
        if bits == 32:
            segments += struct.pack(order + "8I", segment, where, 0, 0, size, size, 4, 1)
        else:
            segments += struct.pack(order + "IIQQQQQQ", segment, 4, where, 0, 0, size, size, 1)
        body += data
    if attributes is None and cpu_arch is not None:
        attributes = arm_attributes(cpu_arch, profile=profile, vfp_args=vfp_args)
    sections, section_offset, names = b"", 0, b"\0.ARM.attributes\0.shstrtab\0"
    count = 0
    if attributes is not None:
        where = position + len(body)
        body += attributes + names
        section_offset = position + len(body)
        sections = bytes(section_size)
        sections += struct.pack(order + "10I", 1, 0x70000003, 0, 0, where, len(attributes), 0, 0, 1, 0)
        sections += struct.pack(order + "10I", 17, 3, 0, 0, where + len(attributes), len(names), 0, 0, 1, 0)
        count = 3
    ident = b"\x7fELF" + bytes([1 if bits == 32 else 2, 2 if big_endian else 1, 1]) + bytes(9)
    words = "III" if bits == 32 else "QQQ"
    header = ident + struct.pack(
        order + "HHI" + words + "IHHHHHH",
        kind, machine, 1, 0, header_size if parts else 0, section_offset, flags,
        header_size, segment_size, len(parts), section_size, count, max(count - 1, 0),
    )  # fmt: skip
    return header + segments + body + sections


def arm_attributes(cpu_arch, *, profile=None, vfp_args=False):
    """An .ARM.attributes section as GNU as writes it, with a CPU name in it."""
    tags = b"\x05cpu name\0" + bytes([6, cpu_arch])
    tags += bytes([7, ord(profile)]) if profile else b""
    tags += bytes([28, 1]) if vfp_args else b""
    block = b"\x01" + struct.pack("<I", len(tags) + 5) + tags
    vendor = b"aeabi\0" + block
    return b"A" + struct.pack("<I", len(vendor) + 4) + vendor


def armv5(**more):
    return elf(cpu_arch=V5TE, **more)


def armv6(**more):
    return elf(cpu_arch=V6, vfp_args=True, **more)


def armv7(**more):
    return elf(cpu_arch=V7, profile="A", vfp_args=True, **more)


def arm64(**more):
    return elf(AARCH64, **more)


def x86_64(**more):
    return elf(X86_64, **more)


def member(name, kind=tarfile.REGTYPE, *, link="", mode=0o755, device=(0, 0), size=None):
    """A tar header with any name at all."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode = kind, link, mode
    header.devmajor, header.devminor = device
    if size is not None:
        header.size = size
    return header


def tar(*entries, form=tarfile.PAX_FORMAT):
    """A tar of (name, bytes) pairs, names ending in ``/``, and ready headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            elif isinstance(entry, str):
                archive.addfile(member(entry.rstrip("/"), tarfile.DIRTYPE))
            else:
                name, data = entry
                archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    return out.getvalue()


def rootfs(program, *more):
    """The tar of a small userland whose programs are all ``program``."""
    return tar(
        "bin/", ("bin/busybox", program), member("bin/sh", tarfile.SYMTYPE, link="busybox"), ("etc/os", b"x"), *more
    )


def sha(data):
    return hashlib.sha256(data).hexdigest()


def config(layers, architecture="arm", variant="v7", **inner):
    """An image configuration for uncompressed ``layers``."""
    told = {
        "os": "linux",
        "architecture": architecture,
        "created": "2024-01-01T00:00:00Z",
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}" for layer in layers]},
        "history": [{"created_by": "a test"}],
    }
    if variant:
        told["variant"] = variant
    return json.dumps(told).encode()


def docker_archive(layers, configuration=None, *, tag="lab:1", extra=(), **platform):
    """What ``docker save`` of Docker up to 24 writes."""
    configuration = configuration or config(layers, **platform)
    manifest = [
        {
            "Config": f"{sha(configuration)}.json",
            "RepoTags": [tag],
            "Layers": [f"{number}/layer.tar" for number in range(len(layers))],
        }
    ]
    entries = []
    for number, layer in enumerate(layers):
        entries += [f"{number}/", (f"{number}/VERSION", b"1.0"), (f"{number}/layer.tar", layer)]
    entries += [(f"{sha(configuration)}.json", configuration), ("manifest.json", json.dumps(manifest).encode())]
    return tar(*entries, *extra)


def oci_blobs(layers, configuration, pack=lambda layer: layer, media="tar"):
    """Blobs of one image by digest, and the descriptor of its manifest."""
    packed = [pack(layer) for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{sha(configuration)}"},
        "layers": [
            {"mediaType": f"application/vnd.oci.image.layer.v1.{media}", "digest": f"sha256:{sha(layer)}"}
            for layer in packed
        ],
    }
    text = json.dumps(manifest).encode()
    blobs = {sha(data): data for data in (*packed, configuration, text)}
    told = json.loads(configuration)
    platform = {key: told[key] for key in ("os", "architecture", "variant") if key in told}
    return blobs, {"mediaType": manifest["mediaType"], "digest": f"sha256:{sha(text)}", "platform": platform}


def oci_archive(images, *, pack=lambda layer: layer, nested=False, docker=False, attest=False):
    """An OCI archive of images, each (layers, configuration); ``docker``: with a manifest.json, as Docker 25 writes."""
    blobs, descriptors = {}, []
    for layers, configuration in images:
        more, descriptor = oci_blobs(layers, configuration, pack)
        blobs.update(more)
        descriptors.append(descriptor)
    if attest:
        blobs["0" * 64] = b"{}"
        descriptors.append({"digest": f"sha256:{'0' * 64}", "platform": {"os": "unknown", "architecture": "unknown"}})
    if nested:
        inner = json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()
        blobs[sha(inner)] = inner
        descriptors = [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{sha(inner)}"}]
    entries = ["blobs/", "blobs/sha256/", *((f"blobs/sha256/{digest}", data) for digest, data in sorted(blobs.items()))]
    entries.append(("index.json", json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()))
    entries.append(("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'))
    if docker:
        layers, configuration = images[0]
        manifest = {
            "Config": f"blobs/sha256/{sha(configuration)}",
            "RepoTags": ["lab:1"],
            "Layers": [f"blobs/sha256/{sha(pack(layer))}" for layer in layers],
        }
        entries.append(("manifest.json", json.dumps([manifest]).encode()))
    return tar(*entries)


def zst(data):
    return zstandard.ZstdCompressor(level=3).compress(data)


PACKERS = {
    "plain": lambda data: data,
    "gz": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=6),
    "zst": zst,
}


def layers_of(archive: Path):
    """The layers, the configuration and the manifest of a docker-archive, as Docker reads them."""
    with tarfile.open(archive) as opened:
        manifest = json.load(opened.extractfile("manifest.json"))[0]
        configuration = opened.extractfile(manifest["Config"]).read()
        assert manifest["Config"] == f"{sha(configuration)}.json"
        layers = [opened.extractfile(name).read() for name in manifest["Layers"]]
    told = json.loads(configuration)
    assert told["rootfs"]["diff_ids"] == [f"sha256:{sha(layer)}" for layer in layers]
    return layers, told, manifest
