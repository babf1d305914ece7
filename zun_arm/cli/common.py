"""What several commands share: names with completion, batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zun_arm.cli.output import say
from zun_arm.errors import PartlyFailed, ZunArmError

if TYPE_CHECKING:
    from zun_arm.wiring import App


def app() -> App:
    """The wired application, by the configuration."""
    from zun_arm.wiring import App

    return App()


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the sandboxes there are, for the shell's completion."""
    try:
        return [sandbox.name for sandbox in app().engine.sandboxes() if sandbox.name.startswith(incomplete)]
    except ZunArmError:
        return []


def complete_images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the images there are."""
    try:
        return [name for image in app().engine.images() for name in image.names if name.startswith(incomplete)]
    except ZunArmError:
        return []


def name_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """One sandbox."""
    return click.argument("name", shell_complete=complete_names)(command)


def names_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """One sandbox or more."""
    return click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_names)(command)


def for_each(items: Sequence[str], action: Callable[[str], object]) -> None:
    """Do something with each name; a failure does not keep the others from it.

    One name: its error is raised. Several: each error is told, and :class:`PartlyFailed` raised at the end, or, when
    all failed, the first error.
    """
    failures: list[tuple[str, ZunArmError]] = []
    for item in items:
        try:
            action(item)
        except ZunArmError as err:
            failures.append((item, err))
        else:
            click.echo(item)
    if not failures:
        return
    if len(failures) == len(items):
        for _item, failure in failures[1:]:
            say(f"zun-arm: error: {failure}")
        raise failures[0][1]
    for _item, failure in failures:
        say(f"zun-arm: error: {failure}")
    raise PartlyFailed(f"{len(failures)} of {len(items)} failed: {', '.join(item for item, _failure in failures)}")
