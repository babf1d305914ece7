"""Commands that only look: list, show, logs, stats, wait."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from zun_arm.cli.common import app, complete_names, name_argument
from zun_arm.cli.output import format_option, print_one, print_rows

_LIST_COLUMNS = {
    "NAME": "name",
    "STATE": "state",
    "PLATFORM": "platform",
    "EXECUTION": "execution",
    "ADDRESS": "address",
    "IMAGE": "image",
    "MIB": "memory_mib",
    "CPUS": "vcpus",
    "PIDS": "pids",
    "EXIT": "exit_code",
    "AGE": "age",
}


@click.command("list", epilog="\b\nExamples:\n  zun-arm list\n  zun-arm list --format json")
@format_option
def list_command(form: str) -> None:
    """List all sandboxes, running or not."""
    from zun_arm.core.units import age

    sandboxes = app().engine.sandboxes()
    rows: list[dict[str, Any]] = [sandbox.as_dict() for sandbox in sandboxes]
    if form == "table":
        rows = [{**row, "age": age(sandbox.created_at)} for row, sandbox in zip(rows, sandboxes, strict=True)]
    print_rows(form, rows, _LIST_COLUMNS)


@click.command("show", epilog="\b\nExamples:\n  zun-arm show ana\n  zun-arm show ana --format json")
@name_argument
@format_option
def show_command(name: str, form: str) -> None:
    """Show all about one sandbox: platform, execution, address, limits."""
    print_one(form, app().engine.sandbox(name).as_dict())


@click.command("logs", epilog="\b\nExamples:\n  zun-arm logs ana\n  zun-arm logs --follow --tail 20 ana")
@name_argument
@click.option("--tail", "-n", type=click.IntRange(min=0), help="Only the last lines, so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on as more is written.")
def logs_command(name: str, tail: int | None, follow: bool) -> None:
    """Print what the sandbox's first process wrote."""
    this = app()
    for piece in this.engine.logs(this.engine.sandbox(name).container_id, tail=tail, follow=follow):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@click.command("stats", epilog="\b\nExamples:\n  zun-arm stats\n  zun-arm stats ana --format json")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option(
    "--interval", default=0.5, show_default=True, type=click.FloatRange(0.05, 60), help="Seconds to watch the CPU."
)
@format_option
def stats_command(names: tuple[str, ...], interval: float, form: str) -> None:
    """Show what running sandboxes use, against their limits. CPU percent is of one core."""
    from zun_arm.core.model import State

    engine = app().engine
    chosen = [engine.sandbox(name) for name in names] or engine.sandboxes()
    running = [sandbox for sandbox in chosen if names or sandbox.state in (State.RUNNING, State.PAUSED)]
    before = [(engine.usage(sandbox.container_id), time.monotonic_ns()) for sandbox in running]
    if running:
        time.sleep(interval)
    rows = []
    for sandbox, (first, since) in zip(running, before, strict=True):
        usage = engine.usage(sandbox.container_id)
        share = (usage.cpu_ns - first.cpu_ns) / (time.monotonic_ns() - since)
        rows.append(
            {
                "name": sandbox.name,
                "memory_mib": round(usage.memory_bytes / 1024**2, 1),
                "memory_limit_mib": sandbox.record.limits.memory_mib,
                "cpu_percent": round(100 * share, 1),
                "vcpus": sandbox.record.limits.vcpus,
                "cpu_seconds": round(usage.cpu_ns / 1e9, 2),
                "pids": usage.pids,
                "pids_limit": sandbox.record.limits.pids,
                "execution": sandbox.record.execution.value,
            }
        )
    columns = {
        "NAME": "name",
        "MIB": "memory_mib",
        "OF": "memory_limit_mib",
        "CPU%": "cpu_percent",
        "CPUS": "vcpus",
        "CPU S": "cpu_seconds",
        "PIDS": "pids",
        "OF PIDS": "pids_limit",
        "EXECUTION": "execution",
    }
    print_rows(form, rows, columns)


@click.command("wait", epilog="\b\nExamples:\n  zun-arm wait ana\n  zun-arm wait ana --timeout 10m --format json")
@name_argument
@click.option("--timeout", metavar="TIME", help="Give up after this time, as in 10m. Default: never.")
@format_option
def wait_command(name: str, timeout: str | None, form: str) -> None:
    """Wait until a sandbox's first process ends, and print its exit code."""
    from zun_arm.core.units import parse_seconds

    this = app()
    sandbox = this.engine.sandbox(name)
    code = this.engine.wait(sandbox.container_id, timeout_s=parse_seconds(timeout) if timeout else None)
    if form == "table":
        click.echo(str(code))
    else:
        print_one(form, {"name": sandbox.name, "exit_code": code})
