"""The documentation tells the truth: commands and options it shows exist, files it names are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from zun_arm.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown_commands() -> list[tuple[str, str]]:
    """(file, command line) for every `zun-arm ...` in the docs, in code blocks and in running text."""
    found = []
    for file in DOCS:
        text = file.read_text().replace("\\\n", " ")
        blocks = "\n".join(re.findall(r"^```\w*$(.+?)^```$", text, re.MULTILINE | re.DOTALL))
        for line in re.findall(r"^ *(zun-arm .+)$", blocks, re.MULTILINE):
            found.append((file.name, line.partition("#")[0].partition(";")[0].partition("&&")[0].strip()))
        for line in re.findall(r"`(zun-arm [^`]+)`", text):
            found += [(file.name, part.strip()) for part in line.split("&&")]
    return found


def find(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command of a command line, and what follows it."""
    command: click.Command = cli
    words = words[1:]
    while words and words[0] in ("-v", "-vv"):
        words = words[1:]
    while isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0])
        if inner is None:
            break
        command, words = inner, words[1:]
    return command, words


@pytest.mark.parametrize(("file", "line"), shown_commands())
def test_a_shown_command_exists_with_its_options(file: str, line: str) -> None:
    words = shlex.split(re.sub(r"\[[^\]]*\]", "", line))
    if words[1:2] == ["COMMAND"] or words[1:3] in (["-v", "COMMAND"], ["-vv", "COMMAND"]):
        return
    command, rest = find(words)
    if not (len(words) == 2 and words[1].startswith("-")):
        assert command is not cli, f"{file}: there is no such command: {line}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    before_program = rest[: rest.index("--")] if "--" in rest else rest
    for word in before_program:
        if word.startswith("-"):
            assert word.partition("=")[0] in known | {"--help", "--version"}, f"{file}: {word} of {line}"


def test_enough_is_shown() -> None:
    readme = [line for file, line in shown_commands() if file == "README.md"]
    assert len(readme) >= 10


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
        assert (file.parent / target).exists(), f"{file.name} links to {target}"


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_named_files_are_there(file: Path) -> None:
    for name in re.findall(r"(?<![\w/])((?:\./)?(?:tools|etc|docs|tests|images|zun_arm)/[\w./-]+)", file.read_text()):
        assert (ROOT / name.rstrip(".")).exists(), f"{file.name} names {name}"


def test_every_command_is_told_of_with_examples() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None and command.help, name
        assert "Examples:" in (command.epilog or ""), name
