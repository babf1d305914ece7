"""The one door to other programs: argument lists, never a shell, always a deadline."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from zun_arm.errors import HostNotReady, TimedOut, ZunArmError

# Where Debian keeps administration programs; a login shell's PATH may lack them.
_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProgramFailed(ZunArmError):
    """A program ended with another code than 0; ``code`` and ``stderr`` keep what it said."""

    def __init__(self, argv: Sequence[str], code: int, stderr: str) -> None:
        self.code = code
        self.stderr = stderr.strip()
        lines = self.stderr.splitlines() or ["it printed no reason"]
        told = next((line for line in lines if "error" in line.lower()), lines[-1])
        super().__init__(f"{argv[0]} ended with code {code}: {told}", hint=f"the command was: {' '.join(argv)}")


def find(program: str, *, package: str | None = None) -> str:
    """Path of a program; :class:`HostNotReady` names the Debian package that brings it."""
    path = shutil.which(program) or shutil.which(program, path=_SBIN)
    if path is None:
        raise HostNotReady(f"the program {program} is not installed", hint=f"apt-get install {package or program}")
    return path


def run(
    argv: Sequence[str],
    *,
    package: str | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return its stdout as text.

    ``package`` is the Debian package to name when the program is missing. Raises :class:`ProgramFailed` for a
    code other than 0, :class:`TimedOut` past ``timeout_s`` seconds, :class:`HostNotReady` when it is missing.
    """
    command = [find(argv[0], package=package), *argv[1:]]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s, env=env, check=False)
    except subprocess.TimeoutExpired as err:
        raise TimedOut(f"{argv[0]} did not end within {timeout_s:g} s") from err
    if done.returncode != 0:
        raise ProgramFailed(argv, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace")
