"""Terminals: console, shell, exec with a terminal, and logs."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

Launch = Callable[..., dict[str, Any]]
DETACH = b"\x1d"


class Terminal:
    """A user at a terminal of 33 rows and 101 columns, in which a program runs."""

    def __init__(self, *command: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        self.seen = b""
        self.code: int | None = None

    def type(self, text: str | bytes) -> None:
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def read(self, seconds: float) -> bool:
        """Whether more came within the time."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the terminal any more
            return False
        self.seen += piece
        return bool(piece)

    def expect(self, text: str, within: float = 20) -> None:
        deadline = time.monotonic() + within
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.seen!r}"
            self.read(0.2)
        self.seen = self.seen.partition(text.encode())[2]

    def connected(self, within: float = 20) -> None:
        """Wait until keys go to the sandbox as they are."""
        deadline = time.monotonic() + within
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < deadline, f"the terminal never became raw; {self.seen!r}"
            time.sleep(0.01)

    def end(self, within: float = 20) -> int:
        """The program's exit code."""
        deadline = time.monotonic() + within
        while self.code is None:
            assert time.monotonic() < deadline, f"the program does not end; it said {self.seen!r}"
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(cli: Any) -> Iterator[Callable[..., Terminal]]:
    """Run ``zun-arm ARGS`` in a terminal."""
    opened: list[Terminal] = []
    command = cli("--version").args[0]

    def run(*args: str) -> Terminal:
        opened.append(Terminal(command, *args))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def test_console(launched: Launch, cli: Any, terminal: Any) -> None:
    launched("--name", "ana", "--tty", "--platform", "linux/arm/v7")
    for number in ("1", "2"):  # leaving it must not close the program's input
        console = terminal("console", "ana")
        console.expect("Ctrl-] leaves")
        console.connected()
        console.type("\n")
        console.expect("# ")
        console.type(f"echo $((6*7))-{number}; uname -m\n")
        console.expect(f"42-{number}")
        console.expect("armv7l")
        console.type(DETACH)
        assert console.end() == 0
    assert cli("exec", "ana", "--", "echo", "alive").stdout == "alive\n"
    assert "42-1" in cli("logs", "ana").stdout


@pytest.mark.parametrize("command", ["console", "shell"])
def test_what_is_typed_before_it_is_connected_is_not_lost(launched: Launch, terminal: Any, command: str) -> None:
    """People type ahead, and so do programs that drive terminals."""
    launched("--name", "ana", "--tty")
    typist = terminal(command, "ana")
    typist.type("echo typed-$((1+1))\n")
    typist.expect("typed-2", within=10)


def test_console_shows_what_was_written_and_ends_with_the_program(launched: Launch, cli: Any, terminal: Any) -> None:
    launched("--name", "ana", "--tty", program=("sh", "-c", "echo hello-$((2+3)); read line; echo got-$line; exit 3"))
    console = terminal("console", "ana")
    console.expect("hello-5")
    console.expect("Ctrl-] leaves")
    console.connected()
    console.type("words\n")
    console.expect("got-words")
    console.end()
    assert cli("wait", "ana", "--timeout", "10s").stdout == "3\n"
    stopped = cli("console", "ana", check=False)
    assert stopped.returncode == 1 and "zun-arm start ana" in stopped.stderr


def test_console_of_a_program_without_a_terminal(
    launched: Launch, cli: Any, client: docker.DockerClient, bystander: Any, terminal: Any
) -> None:
    made = client.api.commit(bystander.id, "noconsole", "latest", changes=["LABEL zun-arm.console=none"])
    try:
        launched("--name", "ana", image="noconsole", program=("sh", "-c", "while :; do echo tick; sleep 0.2; done"))
        console = terminal("console", "ana")
        console.expect("launched without --tty")
        console.expect("tick")
        console.expect("tick")
        console.type(b"\x03")
        console.end()
    finally:
        cli("delete", "--all")
        client.images.remove(made["Id"], force=True)


def test_shell(launched: Launch, cli: Any, terminal: Any) -> None:
    launched("--name", "ana", "--platform", "linux/arm64")
    shell = terminal("shell", "ana")
    shell.expect("# ")
    shell.type("stty size; uname -m; tty\n")
    shell.expect("33 101")
    shell.expect("aarch64")
    shell.expect("/dev/pts/")
    fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 155, 0, 0))
    shell.type("while stty size | grep -qv '44 155'; do sleep 0.1; done; echo resized-$((1+1))\n")
    shell.expect("resized-2")
    shell.type("echo begin-$((1+1)); sleep 1000\n")
    shell.expect("begin-2")
    shell.type(b"\x03")  # Ctrl-C ends sleep, not the shell
    shell.type("echo still-$((1+1))\n")
    shell.expect("still-2")
    shell.type("exit 5\n")
    assert shell.end() == 5
    assert cli("shell", "ana", input="echo $((6*7)); exit 4\n", check=False).returncode == 4
    assert cli("shell", "ana", input="id -u; whoami\n").stdout == "0\nroot\n"
    nobody = cli("shell", "--user", "65534", "ana", input="id -u\n")
    assert nobody.stdout == "65534\n"


def test_exec_with_a_terminal(launched: Launch, terminal: Any) -> None:
    launched("--name", "ana")
    program = terminal("exec", "-it", "ana", "--", "sh", "-c", "stty size; read x; echo got-$x; exit 7")
    program.expect("33 101")
    program.type("this\n")
    program.expect("got-this")
    assert program.end() == 7


def test_exec_passes_much_through(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    text = "0123456789abcdef" * 65536
    assert cli("exec", "-i", "ana", "--", "cat", input=text).stdout == text
    assert cli("exec", "ana", "--", "sh", "-c", "yes | head -c 3000000 | wc -c").stdout.strip() == "3000000"
    assert len(cli("exec", "ana", "--", "sh", "-c", "yes | head -c 3000000").stdout) == 3000000


def test_exec_of_what_is_not_there(launched: Launch, cli: Any) -> None:
    launched("--name", "ana")
    done = cli("exec", "ana", "--", "no-such-program", check=False)
    assert done.returncode in (1, 126, 127)
    assert "no-such-program" in done.stderr + done.stdout
    assert cli("exec", "ana", "--", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert cli("exec", "--user", "65534", "ana", "--", "id", "-u").stdout == "65534\n"


def test_logs(launched: Launch, cli: Any) -> None:
    launched("--name", "ana", program=("sh", "-c", "echo one; echo two >&2; echo three; sleep 1; echo four"))
    followed = cli("logs", "--follow", "ana", timeout=30).stdout.replace("\r", "")
    assert followed == "one\ntwo\nthree\nfour\n", "following did not go on to the program's end"
    assert cli("logs", "ana").stdout.replace("\r", "") == "one\ntwo\nthree\nfour\n"
    assert cli("logs", "--tail", "1", "ana").stdout.replace("\r", "") == "four\n"
    assert cli("logs", "--tail", "0", "ana").stdout == ""
    assert cli("logs", "--tail", "-1", "ana", check=False).returncode == 2
    assert cli("logs", "nobody", check=False).returncode == 1


def test_a_reader_that_leaves(launched: Launch, cli: Any) -> None:
    """`zun-arm logs NAME | head -1` ends, and is no error."""
    launched("--name", "ana", program=("sh", "-c", "while :; do echo tick; done"))
    command = cli("--version").args[0]
    with subprocess.Popen(
        [command, "logs", "--follow", "ana"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as logs:
        assert logs.stdout is not None and logs.stderr is not None
        assert logs.stdout.readline().strip() == "tick"
        logs.stdout.close()
        assert logs.wait(timeout=20) == 0
        assert logs.stderr.read() == ""
