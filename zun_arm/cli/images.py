"""``zun-arm image``: build, list, import, verify, export, delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zun_arm.cli.common import app, complete_images, for_each
from zun_arm.cli.output import format_option, print_one, print_rows, say
from zun_arm.errors import ExitCode, ZunArmError

if TYPE_CHECKING:
    from zun_arm.wiring import App

_COLUMNS = {
    "NAME": "names",
    "PLATFORM": "platform",
    "ISA": "isa",
    "LABELLED": "labelled",
    "MIB": "size_mib",
    "ID": "id",
}


@click.group(
    "image", epilog="\b\nExamples:\n  zun-arm image build tiny\n  zun-arm image import rootfs.tar.xz --name lab1"
)
def image_command() -> None:
    """Userlands: build them from Debian's packages, import, verify, export, delete."""


@image_command.command(
    "build",
    epilog="\b\nExamples:\n  zun-arm image build tiny\n  zun-arm image build debian --platform linux/arm/v7\n"
    "  zun-arm image build dev --platform linux/arm64 --name gcc-lab",
)
@click.argument("recipe")
@click.option(
    "--platform", "platforms", multiple=True, help="Platform; repeatable. Default: linux/arm/v7 and linux/arm64."
)
@click.option("--name", help="Name of the image. Default: zun-arm/RECIPE with the platform as its tag.")
@format_option
def build(recipe: str, platforms: tuple[str, ...], name: str | None, form: str) -> None:
    """Build RECIPE (tiny, debian, dev) from the Debian mirror this host's apt uses."""
    from zun_arm import images
    from zun_arm.core import library
    from zun_arm.core.platforms import ARM64, ARM_V7, parse_platform

    this = app()
    wanted = tuple(dict.fromkeys(parse_platform(platform) for platform in platforms)) or (ARM_V7, ARM64)
    if name and len(wanted) > 1:
        raise click.UsageError("--name names one image: say one --platform too")
    this.engine.facts()
    chosen = images.load_recipe(recipe)
    rows = []
    for platform in wanted:
        say(f"zun-arm: building {recipe} for {platform}")
        made = images.build(
            chosen,
            platform,
            work=this.work_dir,
            name=name,
            mirror=this.settings.mirror,
            progress=lambda line: say(f"zun-arm:   {line}"),
        )
        rows.append(library.store(this.host, this.book, made))
    _print_made(form, rows)


@image_command.command("list", epilog="\b\nExamples:\n  zun-arm image list\n  zun-arm image list --format json")
@format_option
def list_images(form: str) -> None:
    """List the engine's images; platform and ISA are what was measured, LABELLED what the image claims."""
    from zun_arm.core import library

    this = app()
    rows = [library.told(this.host, image, measure=False) for image in this.engine.images()]
    if form == "table":
        rows = [{**row, "id": row["id"].removeprefix("sha256:")[:12]} for row in rows]
    print_rows(form, rows, _COLUMNS)


@image_command.command(
    "import",
    epilog="\b\nExamples:\n  zun-arm image import rootfs.tar.xz --name lab1 --platform linux/arm/v7\n"
    "  zun-arm image import saved.tar",
)
@click.argument("file", type=Path)
@click.option("--name", help="Name of the image. Default: the archive's file name.")
@click.option("--platform", help="Refuse the archive when it is for another platform; choose among several in it.")
@format_option
def import_image(file: Path, name: str | None, platform: str | None, form: str) -> None:
    """Import FILE: a docker-archive, an OCI archive or a tar of a root file system; gz, xz and zst are unpacked.

    The instruction set is read from its programs; a label that lies is corrected, and told.
    """
    from zun_arm import images
    from zun_arm.core import library
    from zun_arm.core.platforms import parse_platform

    this = app()
    this.engine.facts()
    made = images.convert(
        file,
        name=name or file.name.partition(".")[0].lower(),
        platform=parse_platform(platform) if platform else None,
        work=this.work_dir,
    )
    _print_made(form, [library.store(this.host, this.book, made)])


@image_command.command("verify", epilog="\b\nExamples:\n  zun-arm image verify lab1\n  zun-arm image verify saved.tar")
@click.argument("image", shell_complete=complete_images)
@format_option
def verify(image: str, form: str) -> int:
    """Compare what IMAGE (a name, or an archive's path) claims with what its programs are; exit code 1: a lie."""
    this = app()
    row = _verify_file(this, Path(image)) if Path(image).is_file() else _verify_image(this, image)
    print_one(form, row)
    if not row["true"]:
        claimed, found = row["labelled"] or "no platform", row["platform"] or "none that zun-arm knows"
        say(f"zun-arm: {image} claims {claimed}; its programs are for {found}")
    return ExitCode.OK if row["true"] else ExitCode.FAILED


def _verify_file(this: App, file: Path) -> dict[str, Any]:
    from zun_arm import images

    made = images.convert(file, name="verify", platform=None, work=this.work_dir)
    made.archive.unlink(missing_ok=True)
    true = made.isa is not None and made.labelled == made.platform
    isa = made.isa.value if made.isa else None
    return {"labelled": made.labelled, "platform": made.platform, "isa": isa, "true": true, "notes": list(made.notes)}


def _verify_image(this: App, reference: str) -> dict[str, Any]:
    from zun_arm.core import library, userlands

    try:
        found = userlands.find_image(this.host, reference, None)[0]
    except ZunArmError:
        found = this.engine.image(reference)
    return library.told(this.host, found, measure=True)


@image_command.command("export", epilog="\b\nExamples:\n  zun-arm image export lab1 lab1.tar")
@click.argument("image", shell_complete=complete_images)
@click.argument("file", type=Path)
def export(image: str, file: Path) -> None:
    """Write IMAGE to FILE as a docker-archive, for `docker load` or `zun-arm image import` elsewhere."""
    from zun_arm.core import userlands

    this = app()
    found = userlands.find_image(this.host, image, None)[0]
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("wb") as out:
            for piece in this.engine.save_image(found.names[0] if found.names else found.id):
                out.write(piece)
        os.replace(part, file)  # noqa: PTH105
    except OSError as err:
        raise ZunArmError(f"{file} cannot be written: {err.strerror}", hint="choose another place") from err
    finally:
        part.unlink(missing_ok=True)
    click.echo(str(file))


@image_command.command(
    "delete", epilog="\b\nExamples:\n  zun-arm image delete lab1\n  zun-arm image delete zun-arm/tiny:arm64"
)
@click.argument("images", nargs=-1, required=True, shell_complete=complete_images)
def delete_images(images: tuple[str, ...]) -> None:
    """Remove images from the engine."""
    for_each(images, app().engine.remove_image)


def _print_made(form: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for note in row["notes"]:
            say(f"zun-arm: {row['name']}: {note}")
    if form == "table" or len(rows) > 1:
        columns = {"NAME": "name", "PLATFORM": "platform", "ISA": "isa", "LABELLED": "labelled", "ID": "id"}
        print_rows(form, rows, columns)
    else:
        print_one(form, rows[0])
