"""Writing the one form every Docker from 20.10 on loads: a docker-archive (what ``docker save`` used to make).

``manifest.json`` names a configuration and uncompressed layers in order; Docker 25 and later with the containerd
store read it too. Source: moby, image/tarexport/load.go; containerd, images/archive/importer.go.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from zun_arm.images.members import BLOCK


class LayerSink:
    """Where one layer's bytes go; ``digest`` (its diff_id) and ``size`` are of what was written so far."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append a piece of the layer."""
        self._hash.update(data)
        self.size += len(data)
        return int(self._out.write(data))

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class DockerArchiveWriter:
    """Writes layers one after the other, then configuration and manifest. The same input gives the same bytes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self.diff_ids: list[str] = []
        self.size_bytes = 0

    def __enter__(self) -> DockerArchiveWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @contextmanager
    def layer(self) -> Iterator[LayerSink]:
        """A sink for the next layer; its name and size are put before it when it is complete."""
        start = self._file.tell()
        self._file.write(bytes(BLOCK))
        sink = LayerSink(self._file)
        yield sink
        known = sink.digest in self.diff_ids
        self.diff_ids.append(sink.digest)
        self.size_bytes += sink.size
        if known:  # the same layer twice: named twice, kept once
            self._file.seek(start)
            self._file.truncate()
            return
        self._pad(sink.size)
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_header(_layer_name(sink.digest), sink.size))
        self._file.seek(end)

    def finish(self, name: str, config: Mapping[str, Any]) -> str:
        """Write configuration and manifest; returns the configuration's digest, which Docker uses as image id."""
        text = _json({**config, "rootfs": {"type": "layers", "diff_ids": self.diff_ids}})
        digest = hashlib.sha256(text).hexdigest()
        manifest = {
            "Config": f"{digest}.json",
            "RepoTags": [name],
            "Layers": [_layer_name(diff_id) for diff_id in self.diff_ids],
        }
        self._add(f"{digest}.json", text)
        self._add("manifest.json", _json([manifest]))
        self._file.write(bytes(2 * BLOCK))
        self._file.flush()
        return f"sha256:{digest}"

    def _add(self, name: str, data: bytes) -> None:
        self._file.write(_header(name, len(data)))
        self._file.write(data)
        self._pad(len(data))

    def _pad(self, size: int) -> None:
        self._file.write(bytes(-size % BLOCK))


def _layer_name(diff_id: str) -> str:
    return f"{diff_id.partition(':')[2]}/layer.tar"


def _header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = size
    return header.tobuf(tarfile.GNU_FORMAT)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
