"""From a docker-archive's or an OCI archive's manifests to one image: its configuration and its layers.

Sources: OCI image specification (image-layout.md, image-index.md, manifest.md, config.md); moby, image/tarexport.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zun_arm.core.platforms import platform_from_label
from zun_arm.errors import BadImage
from zun_arm.images.container import Container, Kind

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_DOCKER_CONFIG = re.compile(r"([0-9a-f]{64})\.json")
_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
_MOST_NESTING = 4
_MOST_DESCRIPTORS = 500
_MOST_LAYERS = 1000
_HINT = "make it again with 'docker save' or 'skopeo copy ... oci-archive:FILE'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One image of an archive. ``labelled`` None: a platform that is none of ours, spelled out in ``spelled``."""

    tags: tuple[str, ...]
    labelled: str | None
    spelled: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """Entrypoint and command in a row, as far as the configuration has them."""
        inner = self.config.get("config") or {}
        return tuple(str(word) for key in ("Entrypoint", "Cmd") for word in _items(inner.get(key)))


def choose(container: Container, platform: str | None) -> Candidate:
    """The image for ``platform``, or the only one; :class:`BadImage` lists what there is if that is not clear."""
    candidates = list(_docker(container) if container.kind is Kind.DOCKER else _oci(container))
    if not candidates:
        raise BadImage(f"{container.label} holds no image", hint=_HINT)
    if len(candidates) == 1:
        return candidates[0]
    fitting = [each for each in candidates if platform is not None and each.labelled == platform]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(sorted(each.spelled + (f" ({each.tags[0]})" if each.tags else "") for each in candidates))
    if platform is None:
        raise BadImage(f"{container.label} holds {len(candidates)} images: {there}", hint="choose one with --platform")
    what = f"{len(fitting)} images" if fitting else "no image"
    raise BadImage(f"{container.label} holds {what} for {platform}; there are: {there}", hint="choose another platform")


def digest_of_blob(name: str) -> str | None:
    """The digest a blob's path in an archive claims, if it is such a path."""
    match = _BLOB.fullmatch(name)
    return f"{match[1]}:{match[2]}" if match else None


def _docker(container: Container) -> Iterator[Candidate]:
    manifests = container.json("manifest.json")
    for manifest in _checked_list(manifests, "manifest.json", container):
        config_name = _text(manifest, "Config", container)
        match = _DOCKER_CONFIG.fullmatch(config_name)
        digest = f"sha256:{match[1]}" if match else digest_of_blob(config_name)
        config = container.json(config_name, digest=digest)
        layers = _items(manifest.get("Layers"))
        yield _candidate(container, config, layers, _items(manifest.get("RepoTags")))


def _oci(container: Container) -> Iterator[Candidate]:
    seen: set[str] = set()
    waiting = [(each, 0) for each in _descriptors(container.json("index.json"), container)]
    while waiting:
        descriptor, depth = waiting.pop(0)
        digest = _digest(descriptor, container)
        if digest in seen or _is_attestation(descriptor) or _blob_name(digest) not in container:
            continue
        seen.add(digest)
        if len(seen) > _MOST_DESCRIPTORS or depth > _MOST_NESTING:
            raise BadImage(f"the indexes in {container.label} are nested without end", hint=_HINT)
        manifest = container.json(_blob_name(digest), digest=digest)
        if isinstance(manifest, dict) and "manifests" in manifest:
            waiting += [(each, depth + 1) for each in _descriptors(manifest, container)]
            continue
        if not isinstance(manifest, dict) or not isinstance(manifest.get("config"), dict):
            raise BadImage(f"the manifest {digest} in {container.label} names no configuration", hint=_HINT)
        config_digest = _digest(manifest["config"], container)
        config = container.json(_blob_name(config_digest), digest=config_digest)
        layers = [
            _blob_name(_digest(each, container)) for each in _checked_list(manifest.get("layers"), digest, container)
        ]
        tag = (descriptor.get("annotations") or {}).get("org.opencontainers.image.ref.name")
        yield _candidate(container, config, layers, [tag] if isinstance(tag, str) else [])


def _candidate(container: Container, config: Any, layers: Sequence[Any], tags: Sequence[Any]) -> Candidate:
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    inner = config.get("config") if isinstance(config, dict) else None
    if not isinstance(rootfs, dict) or not isinstance(inner, dict | None):
        raise BadImage(f"an image configuration in {container.label} is not one", hint=_HINT)
    diff_ids = _items(rootfs.get("diff_ids"))
    if not layers or len(layers) > _MOST_LAYERS or len(layers) != len(diff_ids):
        raise BadImage(
            f"an image in {container.label} has {len(layers)} layers, its configuration names {len(diff_ids)}",
            hint=_HINT,
        )
    if not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in diff_ids):
        raise BadImage(f"an image configuration in {container.label} has a layer digest that is none", hint=_HINT)
    os, architecture, variant = (str(config.get(key) or "") for key in ("os", "architecture", "variant"))
    return Candidate(
        tags=tuple(str(tag) for tag in tags),
        labelled=platform_from_label(os, architecture, variant or None),
        spelled="/".join(part for part in (os, architecture, variant) if part)[:80] or "no platform",
        config=config,
        layers=tuple(str(each) for each in layers),
        diff_ids=tuple(diff_ids),
    )


def _descriptors(index: Any, container: Container) -> list[dict[str, Any]]:
    manifests = index.get("manifests") if isinstance(index, dict) else None
    return _checked_list(manifests, "the index", container)


def _is_attestation(descriptor: Mapping[str, Any]) -> bool:
    """BuildKit stores provenance beside images as manifests for the platform unknown/unknown."""
    platform = descriptor.get("platform")
    return isinstance(platform, dict) and platform.get("os") == "unknown"


def _digest(descriptor: Any, container: Container) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadImage(f"a manifest in {container.label} has a digest that is none: {str(digest)[:80]!r}", hint=_HINT)
    return digest


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _checked_list(value: Any, name: str, container: Container) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise BadImage(f"{name} in {container.label} is not a list of objects", hint=_HINT)
    return value


def _text(manifest: Mapping[str, Any], key: str, container: Container) -> str:
    value = manifest.get(key)
    if not isinstance(value, str):
        raise BadImage(f"manifest.json in {container.label} has no {key}", hint=_HINT)
    return value


def _items(value: Any) -> list[Any]:
    """A list as it is, None as an empty one, and a single value as a list of one."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
