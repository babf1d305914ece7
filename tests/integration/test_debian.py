"""The recipe `debian`, built for the platform this host runs natively: its login, its sudo, its apt."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zun_arm.core.userlands import image_name


@pytest.fixture(scope="module")
def native_debian(cli: Any) -> tuple[str, str]:
    """The image's name, and the platform it was built for."""
    runs = json.loads(cli("board", "--format", "json").stdout)["runs"]
    platform = next(one for one, run in runs.items() if run["execution"] == "native")
    outside_the_lab = ["nsenter", f"--net={os.environ['ZUN_ARM_HOST_NETNS']}"]
    command = cli("--version").args[0]
    subprocess.run(
        [*outside_the_lab, command, "image", "build", "debian", "--platform", platform], check=True, timeout=900
    )
    return image_name("debian", platform), platform


def test_a_student_logs_in_and_may_use_sudo(
    native_debian: tuple[str, str], cli: Any, eventually: Any, tmp_path: Path
) -> None:
    image, platform = native_debian
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    options = ["--name", "ana", "--memory", "256M", "--ssh-key", f"{key}.pub", "--format", "json"]
    told = json.loads(cli("launch", image, *options).stdout)
    assert (told["platform"], told["execution"]) == (platform, "native")
    ssh = ["ssh", "-i", str(key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=5"]
    ssh += ["-o", f"UserKnownHostsFile={tmp_path}/known", f"student@{told['address']}"]

    def answers() -> str:
        done = subprocess.run([*ssh, "id -un; sudo -n id -un"], capture_output=True, text=True, timeout=30)
        return done.stdout

    eventually(lambda: answers() == "student\nroot\n", "the student to log in and become root")
    refused = subprocess.run([*ssh[:-1], f"root@{told['address']}", "true"], capture_output=True, timeout=30)
    assert refused.returncode == 255, "root has no key and no password"
    assert cli("exec", "ana", "--", "apt-cache", "--version").stdout.startswith("apt ")
    assert cli("shell", "ana", input="id -un\n").stdout == "student\n"
