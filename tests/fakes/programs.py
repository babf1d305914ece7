"""Just enough of a shell for the programs of fake sandboxes: echo, exit, sleep, cat, and variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What a program writes, and its exit code: None when it stays."""

    stdout: bytes = b""
    stderr: bytes = b""
    code: int | None = 0


def run(command: tuple[str, ...], env: Mapping[str, str]) -> Outcome:
    program, *args = command
    name = program.rpartition("/")[2]
    if name == "sh" and args[:1] == ["-c"]:
        return _script(args[1], env)
    if name in ("sleep", "cat", "init"):
        return Outcome(code=None)
    if name == "echo":
        return Outcome(stdout=" ".join(args).encode() + b"\n")
    if name in ("true", "false"):
        return Outcome(code=0 if name == "true" else 1)
    return Outcome(stderr=f"{program}: not found\n".encode(), code=127)


def _script(script: str, env: Mapping[str, str]) -> Outcome:
    stdout = stderr = b""
    for part in script.split(";"):
        words = [re.sub(r"\$(\w+)", lambda match: env.get(match[1], ""), word) for word in part.split()]
        if not words:
            continue
        if words[0] == "exit":
            return Outcome(stdout, stderr, int(words[1]))
        to_stderr = words[-1] == ">&2"
        outcome = run(tuple(words[:-1] if to_stderr else words), env)
        if to_stderr:
            stderr += outcome.stdout
        else:
            stdout += outcome.stdout
        if outcome.code is None:
            return Outcome(stdout, stderr, None)
    return Outcome(stdout, stderr, 0)
