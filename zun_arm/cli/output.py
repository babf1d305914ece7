"""What commands print: results to stdout as a table, JSON or YAML; everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

FORMATS = ("table", "json", "yaml")


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--format table|json|yaml``."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def say(message: str) -> None:
    """Tell the user something that is no result."""
    click.echo(message, err=True)


def print_rows(form: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print many things; ``columns`` maps the headings of the table to keys of the rows."""
    if form == "table":
        click.echo(_table(rows, columns), nl=False)
    else:
        _dump(form, list(rows))


def print_one(form: str, row: Mapping[str, Any]) -> None:
    """Print one thing; its table has a line for each key."""
    if form == "table":
        width = max((len(key) for key in row), default=0)
        for key, value in row.items():
            click.echo(f"{key.replace('_', ' '):{width}}  {_cell(value)}")
    else:
        _dump(form, row)


def _dump(form: str, data: Any) -> None:
    if form == "json":
        click.echo(json.dumps(data, indent=2))
        return
    import yaml

    yaml.safe_dump(data, sys.stdout, sort_keys=False, allow_unicode=True)


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    lines = [list(columns), *([_cell(row.get(key)) for key in columns.values()] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return "".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(inner) for inner in value) or "-"
    return str(value)
