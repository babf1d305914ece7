"""Commands that change a sandbox's state: start, stop, restart, pause, unpause, rename, rebuild, delete."""

from __future__ import annotations

import click

from zun_arm.cli.common import app, complete_images, complete_names, for_each, name_argument, names_argument
from zun_arm.cli.output import format_option, print_one
from zun_arm.errors import NotFound

_timeout = click.option(
    "--timeout",
    "timeout_s",
    default=10,
    show_default=True,
    type=click.IntRange(0, 3600),
    help="Seconds to end by itself.",
)


@click.command("start", epilog="\b\nExamples:\n  zun-arm start ana\n  zun-arm start ana ben cho")
@names_argument
def start_command(names: tuple[str, ...]) -> None:
    """Let stopped sandboxes run again, with the addresses they had."""
    from zun_arm.core import launching

    this = app()
    find = this.engine.sandbox
    for_each(names, lambda name: launching.start(this.host, find(name)))


@click.command("stop", epilog="\b\nExamples:\n  zun-arm stop ana\n  zun-arm stop --timeout 0 ana ben")
@names_argument
@_timeout
def stop_command(names: tuple[str, ...], timeout_s: int) -> None:
    """End the processes of sandboxes; files, addresses and names stay."""
    from zun_arm.core import launching

    this = app()
    find = this.engine.sandbox
    for_each(names, lambda name: launching.stop(this.host, find(name), timeout_s=timeout_s))


@click.command("restart", epilog="\b\nExamples:\n  zun-arm restart ana")
@names_argument
@_timeout
def restart_command(names: tuple[str, ...], timeout_s: int) -> None:
    """Stop sandboxes and start them again."""
    from zun_arm.core import launching

    this = app()
    find = this.engine.sandbox
    for_each(names, lambda name: launching.restart(this.host, find(name), timeout_s=timeout_s))


@click.command("pause", epilog="\b\nExamples:\n  zun-arm pause ana")
@names_argument
def pause_command(names: tuple[str, ...]) -> None:
    """Freeze sandboxes: they keep their memory and use no CPU."""
    this = app()
    find = this.engine.sandbox
    for_each(names, lambda name: this.engine.pause(find(name).container_id))


@click.command("unpause", epilog="\b\nExamples:\n  zun-arm unpause ana")
@names_argument
def unpause_command(names: tuple[str, ...]) -> None:
    """Let paused sandboxes go on."""
    this = app()
    find = this.engine.sandbox
    for_each(names, lambda name: this.engine.unpause(find(name).container_id))


@click.command("rename", epilog="\b\nExamples:\n  zun-arm rename ana ana-os1")
@name_argument
@click.argument("new_name")
def rename_command(name: str, new_name: str) -> None:
    """Give a sandbox another name. Its host name inside changes with the next rebuild."""
    from zun_arm.core.naming import check_name

    this = app()
    this.engine.rename(this.engine.sandbox(name).container_id, check_name(new_name))
    click.echo(new_name)


@click.command("rebuild", epilog="\b\nExamples:\n  zun-arm rebuild ana\n  zun-arm rebuild ana --image debian")
@name_argument
@click.option("--image", shell_complete=complete_images, help="Another image. Default: the one it was launched from.")
@_timeout
@format_option
def rebuild_command(name: str, image: str | None, timeout_s: int, form: str) -> None:
    """Give a sandbox a fresh file system; its name, id, address and limits stay, its files are lost."""
    from zun_arm.core import launching

    this = app()
    sandbox = launching.rebuild(this.host, this.engine.sandbox(name), image, timeout_s=timeout_s)
    print_one(form, sandbox.as_dict())


@click.command(
    "delete", epilog="\b\nExamples:\n  zun-arm delete ana\n  zun-arm delete --all\n  zun-arm delete --if-exists ana"
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option("--all", "everything", is_flag=True, help="All sandboxes of this host.")
@click.option("--if-exists", is_flag=True, help="No error for a sandbox that is not there.")
def delete_command(names: tuple[str, ...], everything: bool, if_exists: bool) -> None:
    """Remove sandboxes with everything they had: processes, files, addresses."""
    from zun_arm.core import launching

    if bool(names) == everything:
        raise click.UsageError("name sandboxes, or say --all")
    this = app()
    if everything:
        names = tuple(sandbox.name for sandbox in this.engine.sandboxes())
    elif if_exists:
        names = tuple(name for name in names if _exists(this.engine, name))
    find = this.engine.sandbox
    for_each(names, lambda name: launching.delete(this.host, find(name)))


def _exists(engine: object, name: str) -> bool:
    try:
        engine.sandbox(name)  # type: ignore[attr-defined]
    except NotFound:
        return False
    return True
