"""Commands about this host: doctor, board, reconcile, teardown, completion."""

from __future__ import annotations

import time
from pathlib import Path

import click

from zun_arm.cli.common import app
from zun_arm.cli.output import format_option, print_one, print_rows, say
from zun_arm.errors import ExitCode, WrongState, ZunArmError


@click.command("doctor", epilog="\b\nExamples:\n  zun-arm doctor\n  zun-arm doctor --format json")
@format_option
def doctor_command(form: str) -> int:
    """Examine this host and print the cure for what it lacks. Exit code 3: no sandbox can run."""
    from zun_arm.core.doctor import Verdict, examine

    this = app()
    checks = examine(this.host, this.tools())
    print_rows(form, [check.as_dict() for check in checks], {"CHECK": "name", "": "verdict", "FOUND": "found"})
    if form == "table":
        for check in checks:
            if check.verdict is not Verdict.OK and check.cure:
                say(f"zun-arm: {check.name}: {check.cure}")
    return ExitCode.HOST_NOT_READY if any(check.verdict is Verdict.FAIL for check in checks) else ExitCode.OK


@click.command(
    "board",
    epilog="\b\nExamples:\n  zun-arm board\n  zun-arm board --save my-pi      (on the board)\n"
    "  zun-arm board --root my-pi --format json      (anywhere)",
)
@click.option("--save", type=Path, metavar="DIR", help="Copy what is read of this machine to DIR.")
@click.option("--root", type=Path, metavar="DIR", help="Describe the machine saved in DIR instead of this one.")
@format_option
def board_command(save: Path | None, root: Path | None, form: str) -> None:
    """Describe this machine: model, cores, instruction set, and which platforms it runs, and why not others."""
    from zun_arm import board

    if save is not None:
        if root is not None:
            raise click.UsageError("--save copies this machine: it goes without --root")
        for path in board.save(save):
            say(f"saved {path}")
        return
    if root is not None and not root.is_dir():
        raise click.UsageError(f"there is no directory {root}")
    told = board.as_dict(board.describe(root if root is not None else app().settings.board_root))
    if form != "table":
        print_one(form, told)
        return
    runs = told.pop("runs")
    print_one(form, {key: value for key, value in told.items() if not isinstance(value, list) or key == "cores"})
    click.echo()
    rows = [{"platform": platform, **run} for platform, run in runs.items()]
    print_rows(form, rows, {"PLATFORM": "platform", "EXECUTION": "execution", "WHY": "why"})


@click.command(
    "reconcile",
    epilog="\b\nExamples:\n  zun-arm reconcile\n  zun-arm reconcile --dry-run\n  zun-arm reconcile --every 1m",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--every", metavar="TIME", help="Do it again and again, as in 1m; for hosts without systemd.")
@format_option
def reconcile_command(dry_run: bool, every: str | None, form: str) -> int:
    """Repair what a crash or reboot left: half-made or expired sandboxes, missing networks, leftovers."""
    from zun_arm.core.reconcile import reconcile
    from zun_arm.core.units import parse_seconds

    host = app().host
    pause_s = parse_seconds(every) if every else None
    while True:
        try:
            findings = reconcile(host, repair=not dry_run)
        except ZunArmError as err:
            if pause_s is None:
                raise
            say(f"zun-arm: error: {err}; trying again in {every}")
            time.sleep(pause_s)
            continue
        rows = [finding.as_dict() for finding in findings]
        if rows or form != "table":
            print_rows(form, rows, {"FOUND": "kind", "WHAT": "what", "ACTION": "action", "ERROR": "error"})
        elif pause_s is None:
            say("zun-arm: nothing to repair")
        if pause_s is None:
            return ExitCode.FAILED if any(finding.error for finding in findings) else ExitCode.OK
        time.sleep(pause_s)


@click.command("teardown", epilog="\b\nExamples:\n  zun-arm delete --all && zun-arm teardown")
def teardown_command() -> None:
    """Remove bridge, rules and state of zun-arm from this host, once no sandbox is left."""
    import shutil

    this = app()
    sandboxes = this.engine.sandboxes()
    if sandboxes:
        names = ", ".join(sandbox.name for sandbox in sandboxes)
        raise WrongState(f"sandboxes are still there: {names}", hint="zun-arm delete --all")
    this.network.teardown()
    for part in ("leases", "sandboxes", "images", "locks", "work", "shared"):
        shutil.rmtree(this.settings.state_dir / part, ignore_errors=True)
    if this.settings.state_dir.is_dir() and not any(this.settings.state_dir.iterdir()):
        this.settings.state_dir.rmdir()


@click.command("completion", epilog="\b\nExamples:\n  source <(zun-arm completion bash)")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that completes commands and the names of live sandboxes in SHELL."""
    from click.shell_completion import get_completion_class

    from zun_arm.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None, "click knows the three shells"
    click.echo(found(cli, {}, "zun-arm", "_ZUN_ARM_COMPLETE").source())
