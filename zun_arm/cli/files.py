"""Commands about a sandbox's files: cp, snapshot."""

from __future__ import annotations

from pathlib import Path

import click

from zun_arm.cli.common import app, name_argument
from zun_arm.cli.output import format_option, print_one


@click.command("cp", epilog="\b\nExamples:\n  zun-arm cp lab1.c ana:/root/\n  zun-arm cp ana:/root/result.txt .")
@click.argument("source")
@click.argument("target")
def cp_command(source: str, target: str) -> None:
    """Copy a file or directory into a sandbox (NAME:PATH) or out of one."""
    from zun_arm.core.copying import copy_in, copy_out

    inside, outside = _split(source), _split(target)
    if (inside is None) == (outside is None):
        raise click.UsageError("one of the two must be in a sandbox, as in ana:/root/file")
    engine = app().engine
    if outside is not None:
        copy_in(engine, engine.sandbox(outside[0]), Path(source), outside[1])
    elif inside is not None:
        copy_out(engine, engine.sandbox(inside[0]), inside[1], Path(target))


def _split(text: str) -> tuple[str, str] | None:
    """``NAME:PATH`` in two; None for a path of this host (write ./a:b for a file with a colon)."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name or not name:
        return None
    return name, path if path.startswith("/") else f"/{path}"


@click.command(
    "snapshot", epilog="\b\nExamples:\n  zun-arm snapshot ana ana-monday\n  zun-arm launch ana-monday --name ana2"
)
@name_argument
@click.argument("image")
@format_option
def snapshot_command(name: str, image: str, form: str) -> None:
    """Keep a sandbox's file system as IMAGE, to launch others from. It is paused for a moment."""
    from zun_arm.core.userlands import take_snapshot

    this = app()
    print_one(form, take_snapshot(this.host, this.engine.sandbox(name), image))
