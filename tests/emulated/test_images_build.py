"""Building the recipes for real: packages from the host's mirror, programs of foreign machines executed."""

from __future__ import annotations

import io
import json
import signal
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from zun_arm.core.platforms import PLATFORMS, Isa
from zun_arm.images import build, convert, load_recipe, measure_saved, read_elf

MB = 1_000_000
ISA_OF = {
    "linux/arm/v6": Isa.ARMV5,  # Debian armel
    "linux/arm/v7": Isa.ARMV7,
    "linux/arm64": Isa.ARMV8,
    "linux/amd64": Isa.X86_64,
}


class Userland:
    """A built archive, opened: its configuration and its only layer."""

    def __init__(self, archive: Path):
        with tarfile.open(archive) as outer:
            [self.manifest] = json.load(outer.extractfile("manifest.json"))
            self.config = json.load(outer.extractfile(self.manifest["Config"]))
            [layer] = self.manifest["Layers"]
            self._layer = tarfile.TarFile(fileobj=io.BytesIO(outer.extractfile(layer).read()))
        self.names = set(self._layer.getnames())

    def __getitem__(self, path):
        return self._layer.getmember(path)

    def read(self, path):
        return self._layer.extractfile(path).read()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_tiny(work, platform):
    said = []
    started = time.monotonic()
    done = build(load_recipe("tiny"), platform, work=work, progress=said.append)
    took_s = time.monotonic() - started
    assert took_s < 15
    assert done.size_bytes < 15 * MB
    assert done.archive.stat().st_size < 15 * MB
    assert (done.platform, done.isa, done.corrected) == (platform, ISA_OF[platform], False)
    assert said
    with done.archive.open("rb") as stream:
        assert measure_saved(stream).isa is ISA_OF[platform]

    userland = Userland(done.archive)
    assert read_elf(userland.read("usr/sbin/dropbear")).isa is ISA_OF[platform]
    assert read_elf(userland.read("bin/busybox")).static
    assert userland["bin/sh"].linkname == "/bin/busybox"
    assert userland["sbin/start"].mode == 0o755
    assert userland["tmp"].mode == 0o1777
    assert userland.read("etc/shadow").startswith(b"root:*:")
    assert not [name for name in userland.names if "host_key" in name or "gconv" in name or name.startswith("etc/apt")]
    assert userland.config["config"]["Cmd"] == ["/sbin/start"]
    labels = userland.config["config"]["Labels"]
    assert labels["zun-arm.ssh-user"] == "root"
    assert labels["zun-arm.console"] == "tty"
    assert labels["zun-arm.platform"] == platform

    again = build(load_recipe("tiny"), platform, work=work)
    assert again.layer_digests == done.layer_digests
    assert again.config_digest == done.config_digest
    assert again.archive.read_bytes() == done.archive.read_bytes()
    assert set(work.glob("*")) == {done.archive, again.archive}  # no temporary file stayed
    done.archive.unlink()
    again.archive.unlink()


def test_a_built_archive_converts_to_itself(work):
    done = build(load_recipe("tiny"), "linux/arm/v7", work=work)
    converted = convert(done.archive, name=done.name, work=work)
    assert converted.layer_digests == done.layer_digests
    assert not converted.corrected
    done.archive.unlink()
    converted.archive.unlink()


def test_debian(work):
    done = build(load_recipe("debian"), "linux/arm/v7", work=work)
    assert (done.platform, done.isa, done.name) == ("linux/arm/v7", Isa.ARMV7, "zun-arm/debian:arm-v7")
    assert list(work.iterdir()) == [done.archive]
    userland = Userland(done.archive)

    assert b"\nstudent:x:1000:1000::/home/student:/bin/bash\n" in userland.read("etc/passwd")
    assert b"\nstudent:*:" in userland.read("etc/shadow")
    assert (userland["home/student"].uid, userland["home/student"].gid) == (1000, 1000)
    assert userland["home/student/.ssh"].mode == 0o700
    assert userland.read("etc/sudoers.d/student") == b"student ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert userland["etc/sudoers.d/student"].mode == 0o440
    assert userland["usr/bin/sudo"].mode & stat.S_ISUID
    settings = userland.read("etc/ssh/sshd_config.d/zun-arm.conf")
    assert b"PasswordAuthentication no" in settings
    assert b"PermitRootLogin no" in settings
    for program in (
        "usr/bin/apt-get",
        "usr/sbin/sshd",
        "usr/bin/ps",
        "usr/bin/less",
        "usr/bin/nano",
        "usr/bin/vim.tiny",
    ):
        assert program in userland.names, program

    assert not [name for name in userland.names if "ssh_host_" in name]
    assert userland["etc/machine-id"].size == 0
    assert not {"etc/hostname", "etc/resolv.conf", "etc/passwd-", "var/cache/ldconfig/aux-cache"} & userland.names
    left = [
        name
        for name in userland.names
        if name.startswith(("var/log/", "var/lib/apt/lists/")) and userland[name].isfile()
    ]
    assert left == []
    assert max(userland[name].mtime for name in userland.names) <= load_recipe("debian").date.timestamp()
    labels = userland.config["config"]["Labels"]
    assert labels["zun-arm.ssh-user"] == "student"
    assert labels["zun-arm.no-new-privileges"] == "false"
    done.archive.unlink()


INTERRUPTED = """
import signal, sys
from pathlib import Path
from zun_arm.images import build, load_recipe
signal.signal(signal.SIGINT, signal.default_int_handler)
build(load_recipe("debian"), "linux/arm/v7", work=Path(sys.argv[1]), progress=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("after_s", [0.2, 4])
def test_ctrl_c_leaves_no_file_no_mount_and_no_process(tmp_path, after_s):
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        time.sleep(after_s)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in processes()


def processes():
    return subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
