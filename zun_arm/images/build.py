"""From a recipe to a docker-archive: packages, dressing, one layer, always the same bytes for the same input."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zun_arm.core import userlands
from zun_arm.core.platforms import in_words, oci_fields, parse_platform
from zun_arm.errors import BadImage, BadInput
from zun_arm.images.debootstrap import bootstrap, ensure_tools
from zun_arm.images.dress import dress
from zun_arm.images.layers import Inspection, Tee
from zun_arm.images.limits import ArchiveLimits, Budget
from zun_arm.images.measure import Measurement, Tally
from zun_arm.images.mirror import host_mirror
from zun_arm.images.recipes import Recipe
from zun_arm.images.result import LABEL_ISA, LABEL_PLATFORM, Converted, image_name, keep, scratch
from zun_arm.images.tree import Tree
from zun_arm.images.writer import DockerArchiveWriter

LABEL_RECIPE = "zun-arm.recipe"

_log = logging.getLogger(__name__)


def build(
    recipe: Recipe,
    platform: str,
    *,
    work: Path,
    name: str | None = None,
    mirror: str | None = None,
    progress: Callable[[str], None] = _log.info,
) -> Converted:
    """Build a recipe for a platform; the docker-archive is a file in ``work``, everything else there is removed.

    ``name`` defaults to that of :func:`zun_arm.core.userlands.image_name`; ``mirror`` to the one of the host's apt.
    ``progress`` gets a line for each step. The same recipe and the same packages give the same digests.
    Raises :class:`HostNotReady` if a
    program, an emulator or a mirror is missing.
    """
    platform = parse_platform(platform)
    full_name = image_name(name or userlands.image_name(recipe.name, platform))
    if platform not in recipe.platforms:
        raise BadInput(f"{recipe.name} is not made for {platform}", hint=f"use one of: {', '.join(recipe.platforms)}")
    ensure_tools(recipe, platform)
    source = host_mirror(recipe.suite, uri=mirror)
    with scratch(work) as directory:
        progress(f"getting {len(recipe.packages)} packages of {recipe.suite} for {platform}, and what they need")
        rootfs = bootstrap(recipe, platform, source, directory=directory)
        progress("putting the userland together")
        layer = directory / "layer.tar"
        with rootfs.open("rb") as packed, layer.open("wb") as out:
            tree = Tree(packed)
            dress(tree, recipe)
            tree.write(out, newest=int(recipe.date.timestamp()))
        rootfs.unlink()
        archive = directory / "image.tar"
        with DockerArchiveWriter(archive) as writer:
            found = _copy_measured(layer, writer, directory)
            if found.platform != platform:
                raise BadImage(
                    f"{recipe.name} was built for {platform}, but its programs are {in_words(found.isa)}",
                    hint="does the mirror serve the architecture it names?",
                )
            digest = writer.finish(full_name, _config(recipe, platform, found))
        progress(f"{full_name}: {writer.size_bytes / 1e6:.0f} MB, {in_words(found.isa)}")
        return Converted(
            name=full_name,
            archive=keep(archive, work),
            labelled=platform,
            platform=platform,
            isa=found.isa,
            corrected=False,
            notes=(),
            config_digest=digest,
            layer_digests=tuple(writer.diff_ids),
            size_bytes=writer.size_bytes,
        )


def _copy_measured(layer: Path, writer: DockerArchiveWriter, directory: Path) -> Measurement:
    """Put the layer into the archive, through the same checks as a foreign one."""
    inspection = Inspection(Budget(ArchiveLimits()), Tally(work=directory))
    with layer.open("rb") as stream, writer.layer() as sink:
        inspection.layer(Tee(stream, sink), what="the built layer", need_end=True)
    layer.unlink()
    found = inspection.tally.result()
    if found is None:
        raise BadImage("the built userland holds no program", hint="add packages to the recipe")
    return found


def _config(recipe: Recipe, platform: str, found: Measurement) -> dict[str, Any]:
    created = recipe.date.strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        **recipe.labels,
        LABEL_RECIPE: recipe.name,
        LABEL_PLATFORM: platform,
        LABEL_ISA: found.isa.value,
    }
    return {
        **oci_fields(platform),
        "created": created,
        "config": {
            "Cmd": list(recipe.command),
            "Env": [f"{key}={value}" for key, value in sorted(recipe.env.items())],
            "Labels": labels,
        },
        "history": [{"created": created, "created_by": f"zun-arm: recipe {recipe.name}"}],
    }
