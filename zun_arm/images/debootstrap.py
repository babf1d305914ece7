"""Running mmdebstrap: Debian packages into the tar of a root file system."""

from __future__ import annotations

import os
import time
from pathlib import Path

from zun_arm.core.platforms import debian_architecture
from zun_arm.errors import HostNotReady, ZunArmError
from zun_arm.images.emulation import ensure_executable
from zun_arm.images.mirror import KEYRING, Mirror
from zun_arm.images.recipes import Recipe, Variant
from zun_arm.programs import ProgramFailed, find, run

# An emulated dev userland on a slow machine; a hang is what it guards against.
_DEADLINE_S = 3600
_MOUNTS = Path("/proc/self/mountinfo")
_SIGNS_OF_NO_MIRROR = ("Failed to fetch", "Could not resolve", "Could not connect", "404 ", "does not have a Release")


def ensure_tools(recipe: Recipe, platform: str) -> None:
    """:class:`HostNotReady` unless what building this takes is installed."""
    find("mmdebstrap")
    if not Path(KEYRING).is_file():
        raise HostNotReady("Debian's archive keys are not installed", hint="apt-get install debian-archive-keyring")
    if recipe.variant is not Variant.EXTRACT:
        ensure_executable(platform)


def bootstrap(recipe: Recipe, platform: str, mirror: Mirror, *, directory: Path) -> Path:
    """A tar with the recipe's packages, in ``directory``; mmdebstrap keeps its own temporary files there too.

    As root it works with chroot, otherwise in a user namespace. Only the main suite is used: it is what every
    mirror has for every architecture.
    """
    out = directory / "rootfs.tar"
    directory.chmod(0o755)  # apt's own user and a user namespace have to get through
    argv = [
        *_of_one_piece(),
        "mmdebstrap",
        f"--variant={recipe.variant}",
        f"--architectures={debian_architecture(platform)}",
        f"--include={','.join(recipe.packages)}",
        f"--keyring={KEYRING}",
        '--aptopt=Acquire::Languages "none"',
        *(f'--aptopt={key} "{value}"' for key, value in mirror.options.items()),
        "--format=tar",
        recipe.suite,
        str(out),
        f"deb [signed-by={KEYRING}] {mirror.uri} {recipe.suite} main",
    ]
    environment = {
        **os.environ,
        **mirror.environment,
        "SOURCE_DATE_EPOCH": str(int(recipe.date.timestamp())),
        "TMPDIR": str(directory),
        "LC_ALL": "C.UTF-8",
    }
    try:
        run(argv, timeout_s=_DEADLINE_S, env=environment)
    except ProgramFailed as err:
        raise _explained(err, recipe, platform) from err
    finally:
        _settle(directory)
    return out


def _of_one_piece() -> list[str]:
    """A prefix that makes mmdebstrap end with all its children and mounts when it is interrupted.

    A process and a mount namespace of its own do that; without the right to make them (a container without
    CAP_SYS_ADMIN, an ordinary user) there is no prefix, and :func:`_settle` does what it can.
    """
    prefix = ["unshare", "--mount-proc", "--pid", "--fork", "--kill-child", "--"]
    try:
        run([*prefix, "true"], package="util-linux", timeout_s=10)
    except ProgramFailed:
        return []
    return prefix


def _explained(err: ProgramFailed, recipe: Recipe, platform: str) -> ZunArmError:
    """mmdebstrap's own last words are about cleaning up; the reason is in its lines that begin with ``E:``."""
    reasons = [line for line in err.stderr.splitlines() if line.startswith("E:")]
    reason = reasons[0] if reasons else err.message
    if any(sign in err.stderr for sign in _SIGNS_OF_NO_MIRROR):
        return HostNotReady(
            f"the mirror did not give the packages of {recipe.name} for {platform}: {reason}",
            hint="check it with 'apt-get update', or name another in [images] mirror of zun-arm.conf",
        )
    return ZunArmError(f"{recipe.name} for {platform} could not be built: {reason}", hint="see the log for the rest")


def _settle(directory: Path) -> None:
    """After an interruption: nothing may stay mounted in what is about to be deleted (/dev of the host could be)."""
    for _ in range(20):
        mounted = _mounts_below(directory)
        if not mounted:
            return
        for point in mounted:
            try:
                run(["umount", "--lazy", point], package="mount", timeout_s=10)
            except ProgramFailed:
                time.sleep(0.1)
    raise ZunArmError(f"{_mounts_below(directory)} stayed mounted", hint=f"umount them, then remove {directory}")


def _mounts_below(directory: Path) -> list[str]:
    """Mount points below a directory, deepest first."""
    points = [line.split()[4] for line in _MOUNTS.read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{directory.resolve()}/")), reverse=True)
