"""The ``zun-arm`` command. Commands are imported when they are run: most people wait for one, not for all."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from typing import Any

import click

from zun_arm import __version__
from zun_arm.cli.output import say
from zun_arm.errors import ExitCode, ZunArmError

#: Command -> module below zun_arm.cli; the function has the command's name, with ``_command`` behind it.
_COMMANDS = {
    "board": "host",
    "completion": "host",
    "console": "terminal",
    "cp": "files",
    "delete": "lifecycle",
    "doctor": "host",
    "exec": "terminal",
    "image": "images",
    "launch": "launch",
    "list": "looking",
    "logs": "looking",
    "pause": "lifecycle",
    "rebuild": "lifecycle",
    "reconcile": "host",
    "rename": "lifecycle",
    "restart": "lifecycle",
    "shell": "terminal",
    "show": "looking",
    "snapshot": "files",
    "start": "lifecycle",
    "stats": "looking",
    "stop": "lifecycle",
    "teardown": "host",
    "unpause": "lifecycle",
    "wait": "looking",
}


class _Commands(click.Group):
    """A group whose commands' modules are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        found: click.Command = getattr(importlib.import_module(f"zun_arm.cli.{module}"), f"{cmd_name}_command")
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. That its reader has gone, as in `zun-arm list | head`, is no error of ours."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.OK


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="zun-arm")
@click.option("-v", "--verbose", count=True, help="Tell what is done, on stderr; twice: in detail.")
def cli(verbose: int) -> None:
    """Real ARMv7 and ARMv8 sandboxes, as containers, on boards without KVM and on x86 laptops.

    \b
    zun-arm doctor                       is this host ready?
    zun-arm image build tiny             make a small userland
    zun-arm launch tiny --name ana       run it
    zun-arm shell ana                    be in it
    zun-arm delete ana                   and away

    Exit codes: 0 ok, 1 failed, 2 usage, 3 host not ready, 4 part of a batch failed.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="zun-arm: %(message)s")
    if verbose < 2:
        for noisy in ("urllib3", "docker", "oslo_concurrency", "pyroute2"):
            logging.getLogger(noisy).setLevel(logging.WARNING)


def main() -> None:
    """Run the command and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        result: Any = cli.main(standalone_mode=False)
        code = result if isinstance(result, int) else ExitCode.OK
    except ZunArmError as err:
        say(f"zun-arm: error: {err.message}")
        if err.hint:
            say(f"zun-arm: hint: {err.hint}")
        code = err.exit_code
    except click.ClickException as err:
        err.show()
        code = err.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("zun-arm: interrupted")
        code = ExitCode.FAILED
    except PermissionError as err:
        say(f"zun-arm: error: {err.filename or 'a file'}: {err.strerror}")
        say("zun-arm: hint: run as root, as in sudo zun-arm")
        code = ExitCode.HOST_NOT_READY
    sys.exit(int(code))


def _terminated(signum: int, frame: object) -> None:
    """SIGTERM undoes what was begun, as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
