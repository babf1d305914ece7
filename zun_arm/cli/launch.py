"""``zun-arm launch``."""

from __future__ import annotations

from pathlib import Path

import click

from zun_arm.cli.common import app, complete_images
from zun_arm.cli.output import format_option, print_one, say


@click.command(
    "launch",
    epilog="""\b
Examples:
  zun-arm launch tiny --name ana --platform linux/arm/v7
  zun-arm launch debian --name ben --memory 256M --cpus 0.5 --ssh-key ~/.ssh/id_ed25519.pub --publish 2222:22
  zun-arm launch tiny --ttl 8h --env COURSE=os1 -- /bin/sh -c 'uname -m; sleep 60'
""",
)
@click.argument("image", shell_complete=complete_images)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--name", help="Name of the sandbox; one is made up when none is given.")
@click.option(
    "--platform", help="linux/arm/v6, linux/arm/v7, linux/arm64 or linux/amd64. Default: what runs best here."
)
@click.option("--memory", metavar="SIZE", help="Memory limit, as in 128M. Default: [limits] memory.")
@click.option("--cpus", type=float, metavar="N", help="CPU limit, as in 0.5. Default: [limits] vcpus.")
@click.option("--pids", type=int, metavar="N", help="Limit of processes and threads. Default: [limits] pids.")
@click.option("--disk", metavar="SIZE", help="Disk limit, as in 1G; refused where the storage driver has none.")
@click.option(
    "--ssh-key", "ssh_keys", type=Path, multiple=True, metavar="FILE", help="Public keys for SSH; repeatable."
)
@click.option(
    "--publish", multiple=True, metavar="PORT:PORT", help="Board's port to the sandbox's, as in 2222:22; repeatable."
)
@click.option("--ttl", metavar="TIME", help="Lifetime, as in 8h; `zun-arm reconcile` deletes it afterwards.")
@click.option("--env", "-e", multiple=True, metavar="KEY=VALUE", help="Environment variable; repeatable.")
@click.option("--tty", "-t", is_flag=True, help="Give the first process a terminal, for `zun-arm console`.")
@format_option
def launch_command(
    image: str,
    command: tuple[str, ...],
    name: str | None,
    platform: str | None,
    memory: str | None,
    cpus: float | None,
    pids: int | None,
    disk: str | None,
    ssh_keys: tuple[Path, ...],
    publish: tuple[str, ...],
    ttl: str | None,
    env: tuple[str, ...],
    tty: bool,
    form: str,
) -> None:
    """Create a sandbox of IMAGE and run it, its network complete before its first process.

    IMAGE is a name or id from `zun-arm image list`, or a recipe that was built. COMMAND replaces the image's own.
    """
    from zun_arm.core import launching, units
    from zun_arm.core.keys import read_keys
    from zun_arm.core.model import LaunchRequest, Limits
    from zun_arm.core.naming import check_name
    from zun_arm.core.platforms import parse_platform

    this = app()
    settings = this.settings
    request = LaunchRequest(
        image=image,
        name=check_name(name) if name is not None else None,
        platform=None if platform is None else parse_platform(platform),
        limits=Limits(
            memory_mib=settings.memory_mib if memory is None else units.parse_mib(memory),
            vcpus=settings.vcpus if cpus is None else cpus,
            pids=settings.pids if pids is None else pids,
            disk_mib=None if disk is None else units.parse_mib(disk),
        ),
        ssh_keys=tuple(key for file in ssh_keys for key in read_keys(file)),
        publish=tuple(units.parse_publish(item) for item in publish),
        ttl_s=None if ttl is None else units.parse_seconds(ttl),
        env=units.parse_env(env),
        command=command,
        tty=tty,
    )
    try:
        sandbox = launching.launch(this.host, request)
    except KeyboardInterrupt:
        say("zun-arm: what was begun is undone")
        raise
    print_one(form, sandbox.as_dict())
