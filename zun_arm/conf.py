"""Every option of zun-arm in one table, with units, ranges and examples; read into one frozen object.

Values come, later ones winning, from the defaults here, the configuration file and environment variables in
oslo.config's spelling (``OS_<GROUP>__<OPTION>``, as in ``OS_DEFAULT__STATE_DIR``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zun_arm.errors import BadInput

CONF_FILE = Path("/etc/zun-arm/zun-arm.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one process; the meaning of each is the help text in :func:`option_table`."""

    state_dir: Path
    docker_host: str
    docker_timeout_s: int
    bridge: str
    subnet: str | None
    mtu: int
    dns: tuple[str, ...]
    plug_timeout_s: float
    memory_mib: int
    vcpus: float
    pids: int
    unenforced: str
    reserved_memory_mib: int
    reserved_disk_mib: int
    log_max_mib: int
    mirror: str | None
    board_root: Path | None


def option_table() -> dict[str, list[Any]]:
    """The options as oslo.config objects, by group; the sample file is made from it."""
    from oslo_config import cfg

    return {
        "DEFAULT": [
            cfg.StrOpt(
                "state_dir",
                default="/var/lib/zun-arm",
                help="Directory for address leases, gates and what was measured of images. Losing it loses no sandbox.",
            ),
        ],
        "docker": [
            cfg.StrOpt(
                "host",
                default=os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
                sample_default="unix:///var/run/docker.sock",
                help="Docker Engine's socket. The environment variable DOCKER_HOST sets the default.",
            ),
            cfg.IntOpt(
                "timeout",
                default=120,
                min=5,
                max=3600,
                help="Seconds to wait for one answer of the engine.",
            ),
        ],
        "network": [
            cfg.StrOpt(
                "bridge",
                default="zunarm0",
                max_length=15,
                help="Name of the bridge zun-arm makes for its sandboxes, at most 15 bytes.",
            ),
            cfg.StrOpt(
                "subnet",
                help="IPv4 subnet of the sandboxes, as in 10.203.0.0/20; the board takes its first address. Unset: the "
                "first of 10.203.0.0/20, 10.219.0.0/20, 172.29.0.0/20, 192.168.208.0/20 that overlaps no route here.",
            ),
            cfg.IntOpt("mtu", default=1500, min=576, max=65535, help="Bytes in the largest packet of the bridge."),
            cfg.ListOpt(
                "dns",
                default=[],
                help="Name servers for the sandboxes, as in 192.0.2.53,198.51.100.53. Empty: those of this host.",
            ),
            cfg.FloatOpt(
                "plug_timeout",
                default=15.0,
                min=1.0,
                max=300.0,
                help="Seconds a sandbox may take to reach its gate before a launch is given up.",
            ),
        ],
        "limits": [
            cfg.IntOpt("memory", default=128, min=6, help="MiB of memory for a sandbox when its launch names none."),
            cfg.FloatOpt("vcpus", default=1.0, min=0.01, help="CPUs for a sandbox when its launch names none."),
            cfg.IntOpt("pids", default=256, min=4, help="Processes in a sandbox when its launch names no number."),
            cfg.StrOpt(
                "unenforced",
                default="refuse",
                choices=["refuse", "warn"],
                help="What to do when this kernel would ignore a limit: refuse the launch, or warn and launch.",
            ),
            cfg.IntOpt("reserved_memory", default=64, min=0, help="MiB of memory to leave free for the board itself."),
            cfg.IntOpt(
                "reserved_disk", default=256, min=0, help="MiB of Docker's disk to leave free for the board itself."
            ),
            cfg.IntOpt(
                "log_max", default=2, min=1, help="MiB of log kept for each sandbox; SD cards wear out and fill up."
            ),
        ],
        "images": [
            cfg.StrOpt(
                "mirror",
                help="Debian mirror for `zun-arm image build`, a URL. Unset: the one this host's apt uses.",
            ),
        ],
        "board": [
            cfg.StrOpt(
                "root",
                help="Directory written by `zun-arm board --save` to take for this machine's identity. For tests.",
            ),
        ],
    }


def load(files: list[Path] | None = None) -> Settings:
    """Read the configuration; ``files`` None means the usual one, if it is there.

    :class:`BadInput` names the option and its range when a value is refused.
    """
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    for group, options in option_table().items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    named = os.environ.get("ZUN_ARM_CONF")
    if files is None:
        usual = Path(named) if named else CONF_FILE
        files = [usual] if named or usual.exists() else []
    try:
        conf([], project="zun-arm", default_config_files=[str(file) for file in files], default_config_dirs=[])
        return _settings(conf)
    except (cfg.Error, ValueError) as err:
        where = ", ".join(str(file) for file in files) or "the environment (OS_* variables)"
        raise BadInput(f"the configuration is refused: {err}", hint=f"correct it in {where}") from err


def _settings(conf: Any) -> Settings:
    return Settings(
        state_dir=Path(conf.state_dir).absolute(),
        docker_host=conf.docker.host,
        docker_timeout_s=conf.docker.timeout,
        bridge=conf.network.bridge,
        subnet=conf.network.subnet,
        mtu=conf.network.mtu,
        dns=tuple(conf.network.dns),
        plug_timeout_s=conf.network.plug_timeout,
        memory_mib=conf.limits.memory,
        vcpus=conf.limits.vcpus,
        pids=conf.limits.pids,
        unenforced=conf.limits.unenforced,
        reserved_memory_mib=conf.limits.reserved_memory,
        reserved_disk_mib=conf.limits.reserved_disk,
        log_max_mib=conf.limits.log_max,
        mirror=conf.images.mirror,
        board_root=Path(conf.board.root) if conf.board.root else None,
    )


def sample() -> str:
    """The text of ``etc/zun-arm.conf.sample``: every option with its help, range and default, commented out."""
    lines = [
        "# Configuration of zun-arm: /etc/zun-arm/zun-arm.conf",
        "# Made by `python -m zun_arm.conf`; a test compares it with the option table.",
    ]
    for group, options in option_table().items():
        lines += ["", f"[{group}]"]
        for option in options:
            lines += ["", *_sample_lines(option)]
    return "\n".join(lines) + "\n"


def _sample_lines(option: Any) -> list[str]:
    import textwrap

    lines = [f"# {line}" for line in textwrap.wrap(option.help, 110)]
    lowest, highest = getattr(option.type, "min", None), getattr(option.type, "max", None)
    if lowest is not None and highest is not None:
        lines.append(f"# Range: {lowest} to {highest}")
    elif lowest is not None:
        lines.append(f"# Range: from {lowest}")
    choices = getattr(option.type, "choices", None)
    if choices:
        lines.append(f"# One of: {', '.join(choices)}")
    default = option.sample_default if option.sample_default is not None else option.default
    shown = "" if default is None else ",".join(default) if isinstance(default, list) else default
    lines.append(f"#{option.name} = {shown}".rstrip())
    return lines


if __name__ == "__main__":
    import sys

    sys.stdout.write(sample())
