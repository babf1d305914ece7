"""Commands that connect a terminal: exec, shell, console."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from zun_arm.cli.common import app, name_argument
from zun_arm.cli.output import say
from zun_arm.errors import WrongState

if TYPE_CHECKING:
    from zun_arm.core.model import Sandbox
    from zun_arm.core.seams import Streams

_DETACH = b"\x1d"  # Ctrl-], as in telnet and virsh
_CHUNK = 65536
# The first shell there is; `exec` so that it gets the signals.
_SHELL = [
    "/bin/sh",
    "-c",
    'for s in "$SHELL" /bin/bash /bin/ash; do [ -x "$s" ] && exec "$s" -l; done; exec /bin/sh -l',
]


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    epilog="\b\nExamples:\n  zun-arm exec ana -- uname -m\n  zun-arm exec -i ana -- sh < script.sh\n"
    "  zun-arm exec -it ana -- gdb ./lab",
)
@click.option("--interactive", "-i", is_flag=True, help="Pass on standard input.")
@click.option("--tty", "-t", "wants_tty", is_flag=True, help="Give the program a terminal.")
@click.option("--user", "-u", default="", help="User (and :group) inside. Default: the image's.")
@click.option("--env", "-e", multiple=True, metavar="KEY=VALUE", help="Environment variable; repeatable.")
@name_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(
    interactive: bool, wants_tty: bool, user: str, env: tuple[str, ...], name: str, command: tuple[str, ...]
) -> int:
    """Run COMMAND in a running sandbox; the exit code is the program's own."""
    from zun_arm.core.units import parse_env

    this = app()
    sandbox = _running(this.engine.sandbox(name))
    stream = this.engine.exec(
        sandbox.container_id, list(command), tty=wants_tty, stdin=interactive, user=user, env=parse_env(env)
    )
    _connect(stream, stdin=interactive)
    return stream.exit_code()


@click.command("shell", epilog="\b\nExamples:\n  zun-arm shell ana\n  zun-arm shell --user root ben")
@click.option("--user", "-u", default="", help="User inside. Default: the image's SSH user.")
@name_argument
def shell_command(user: str, name: str) -> int:
    """Open a login shell in a running sandbox."""
    this = app()
    sandbox = _running(this.engine.sandbox(name))
    env = {"TERM": os.environ.get("TERM", "linux")}
    terminal = sys.stdin.isatty()
    who = user or sandbox.ssh_user
    stream = this.engine.exec(sandbox.container_id, _SHELL, tty=terminal, stdin=True, user=who, env=env)
    _connect(stream, stdin=True)
    return stream.exit_code()


@click.command("console", epilog="\b\nExamples:\n  zun-arm console ana")
@name_argument
def console_command(name: str) -> None:
    """Connect to the first process's own terminal. Ctrl-] leaves it."""
    this = app()
    sandbox = _running(this.engine.sandbox(name))
    for piece in this.engine.logs(sandbox.container_id, tail=20, follow=False):
        _write(1, piece)
    stream = this.engine.attach(sandbox.container_id, tty=sandbox.record.tty)
    if not sandbox.record.tty:
        say(f"zun-arm: {name} was launched without --tty: its output only; Ctrl-C leaves")
    elif sys.stdin.isatty():
        say("zun-arm: connected; Ctrl-] leaves")
    _connect(stream, stdin=sandbox.record.tty, detach=True)


def _running(sandbox: Sandbox) -> Sandbox:
    from zun_arm.core.model import State

    if sandbox.state != State.RUNNING:
        verb = "unpause" if sandbox.state == State.PAUSED else "start"
        raise WrongState(f"sandbox {sandbox.name!r} is {sandbox.state}", hint=f"zun-arm {verb} {sandbox.name}")
    return sandbox


def _connect(stream: Streams, *, stdin: bool, detach: bool = False) -> None:
    """Copy input and output until the program's output ends, or the user detaches."""
    raw = stream.tty and stdin and sys.stdin.isatty()
    with _raw_terminal(stream) if raw else _nothing():
        if stdin:
            threading.Thread(target=_send_input, args=(stream, detach and raw), daemon=True).start()
        for number, piece in stream.output():
            _write(number, piece)
    if not stdin or detach:
        stream.close()


def _send_input(stream: Streams, detach: bool) -> None:
    while True:
        try:
            piece = os.read(0, _CHUNK)
        except OSError:
            return
        if detach and _DETACH in piece:
            stream.close()
            return
        try:
            if not piece:
                stream.end_input()
                return
            stream.send(piece)
        except OSError:
            return  # the program has ended


def _write(number: int, piece: bytes) -> None:
    out = sys.stderr.buffer if number == 2 else sys.stdout.buffer
    out.write(piece)
    out.flush()


@contextmanager
def _raw_terminal(stream: Streams) -> Iterator[None]:
    """Keys go to the sandbox as they are, and it knows how large the window is."""
    before = termios.tcgetattr(0)

    def tell_size(*_: object) -> None:
        rows, columns, _x, _y = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
        stream.resize(rows, columns)

    old_handler = signal.signal(signal.SIGWINCH, tell_size)
    try:
        tty.setraw(0, termios.TCSANOW)  # what was typed already is not thrown away
        tell_size()
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old_handler)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
