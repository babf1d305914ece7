"""An archive of unknown kind and unsure label becomes a docker-archive that says what it really is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from zun_arm.core.platforms import ARM_V6, ARM_V7, Isa, in_words, oci_fields, parse_platform
from zun_arm.errors import BadImage
from zun_arm.images.container import Container, Kind, open_container
from zun_arm.images.layers import Inspection, Tee
from zun_arm.images.limits import ArchiveLimits, Budget
from zun_arm.images.manifests import Candidate, choose, digest_of_blob
from zun_arm.images.measure import Measurement, Tally
from zun_arm.images.result import LABEL_ISA, LABEL_PLATFORM, Converted, image_name, keep, scratch
from zun_arm.images.unpack import unpacked
from zun_arm.images.writer import DockerArchiveWriter

# A root file system has no date of its own; a fixed one keeps the result reproducible.
_NO_DATE = "1970-01-01T00:00:00Z"
_ISA_OF_32_BIT = {ARM_V6: Isa.ARMV6, ARM_V7: Isa.ARMV7}


@dataclass(frozen=True, slots=True)
class _Verdict:
    platform: str
    isa: Isa | None
    corrected: bool
    notes: tuple[str, ...]


def convert(
    source: Path,
    *,
    name: str,
    platform: str | None = None,
    work: Path,
    limits: ArchiveLimits | None = None,
) -> Converted:
    """Turn ``source`` into a docker-archive in ``work`` whose label is what its ELF files say.

    ``source``: a docker-archive, an OCI archive or the tar of a root file system, plain or packed with gzip, xz or
    zstd; told by content. ``platform``: which image of several, and a promise that is checked. Memory stays below
    25 MiB, disk use at about twice the unpacked size. Raises :class:`BadImage` for anything unsound, hostile or for
    another platform; then nothing is left in ``work``.
    """
    wanted = parse_platform(platform) if platform else None
    full_name = image_name(name)
    limits = limits or ArchiveLimits()
    with scratch(work) as directory, open_container(source, work=directory, limits=limits) as container:
        archive = directory / "image.tar"
        with DockerArchiveWriter(archive) as writer:
            if container.kind is Kind.ROOTFS:
                labelled, config = None, _take_rootfs(container, writer, directory)
            else:
                chosen = choose(container, wanted)
                labelled, config = chosen.labelled, _take_image(container, chosen, writer, directory)
            found = config.measurement
            verdict = _judge(found, wanted, config.spelled, labelled, container.label)
            labels = {LABEL_PLATFORM: verdict.platform} | ({LABEL_ISA: verdict.isa.value} if verdict.isa else {})
            digest = writer.finish(full_name, _labelled(config.config, verdict.platform, labels))
        return Converted(
            name=full_name,
            archive=keep(archive, work),
            labelled=labelled,
            platform=verdict.platform,
            isa=verdict.isa,
            corrected=verdict.corrected,
            notes=(*verdict.notes, *config.notes),
            config_digest=digest,
            layer_digests=tuple(writer.diff_ids),
            size_bytes=writer.size_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A userland now in the new archive: its configuration, what was measured, how it was labelled ("" = not)."""

    config: Mapping[str, Any]
    measurement: Measurement | None
    spelled: str
    notes: tuple[str, ...] = ()


def _take_rootfs(container: Container, writer: DockerArchiveWriter, directory: Path) -> _Taken:
    inspection = Inspection(Budget(container.limits), Tally(work=directory))
    with writer.layer() as sink:
        inspection.layer(Tee(container.rootfs(), sink), what=container.label, need_end=True)
    if not inspection.members:
        raise BadImage(f"{container.label} is an empty archive", hint="give the tar of a root file system")
    command = inspection.default_command()
    config: dict[str, Any] = {"created": _NO_DATE, "config": {"Cmd": command} if command else {}}
    notes = () if command else ("it has neither /bin/sh nor an init: give a command when you start a sandbox",)
    return _Taken(config=config, measurement=inspection.tally.result(), spelled="", notes=notes)


def _take_image(container: Container, chosen: Candidate, writer: DockerArchiveWriter, directory: Path) -> _Taken:
    tally = Tally(entrypoint=chosen.entrypoint, work=directory)
    inspection = Inspection(Budget(container.limits), tally)
    for number, (layer, diff_id) in enumerate(zip(chosen.layers, chosen.diff_ids, strict=True), start=1):
        what = f"layer {number} of {len(chosen.layers)} in {container.label}"
        blob_digest = digest_of_blob(layer)
        blob = Tee(container.open(layer), algorithm=(blob_digest or diff_id).partition(":")[0])
        with writer.layer() as sink:
            plain = Tee(
                unpacked(cast(BinaryIO, blob), what=what, limits=container.limits),
                sink,
                algorithm=diff_id.partition(":")[0],
            )
            inspection.layer(plain, what=what)
        blob.drain()
        if blob_digest:
            blob.check(blob_digest, what)
        plain.check(diff_id, what)
    return _Taken(config=chosen.config, measurement=tally.result(), spelled=chosen.spelled)


def _judge(found: Measurement | None, wanted: str | None, spelled: str, labelled: str | None, label: str) -> _Verdict:
    """What the userland is, from what was measured, asked for and claimed; :class:`BadImage` on contradiction."""
    if found is None or found.isa is Isa.UNKNOWN:
        return _judge_unmeasured(found, wanted, labelled, label)
    claimed = wanted or labelled
    if not found.certain and found.platform in _ISA_OF_32_BIT and claimed in _ISA_OF_32_BIT:
        note = f"its programs do not say for which ARM they were built: taken for {claimed}, as told"
        return _Verdict(claimed, _ISA_OF_32_BIT[claimed], bool(spelled) and labelled != claimed, (note,))
    words = in_words(found.isa)
    if found.platform is None:
        raise BadImage(f"the programs in {label} are {words}", hint="zun-arm runs ARM and x86-64 userlands only")
    if wanted is not None and wanted != found.platform:
        raise BadImage(
            f"{label} was to be {wanted}, but its programs are {words} ({found.platform}), see /{found.evidence}",
            hint=f"use --platform {found.platform}, or leave it out",
        )
    if spelled and labelled != found.platform:
        note = f"labelled {spelled}, its programs are {words}: label corrected"
        return _Verdict(found.platform, found.isa, True, (note,))
    return _Verdict(found.platform, found.isa, False, ())


def _judge_unmeasured(found: Measurement | None, wanted: str | None, labelled: str | None, label: str) -> _Verdict:
    """No program, or only programs of machines we do not know: the label is all there is."""
    if found is not None:
        raise BadImage(
            f"the programs in {label} are for an unknown machine, see /{found.evidence}",
            hint="zun-arm runs ARM and x86-64 userlands only",
        )
    platform = wanted or labelled
    if platform is None:
        raise BadImage(f"{label} holds no program, so nothing tells its platform", hint="say it with --platform")
    note = f"it holds no program: taken for {platform}, as told"
    return _Verdict(platform, None, labelled is not None and labelled != platform, (note,))


def _labelled(config: Mapping[str, Any], platform: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The configuration with the right platform and our labels, everything else as it was."""
    inner = dict(config.get("config") or {})
    old = inner.get("Labels")
    inner["Labels"] = {**(old if isinstance(old, dict) else {}), **labels}
    kept = {key: value for key, value in config.items() if key not in ("os", "architecture", "variant", "rootfs")}
    return {**kept, **oci_fields(platform), "config": inner}
