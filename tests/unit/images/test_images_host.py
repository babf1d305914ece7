"""What building asks of the host: a mirror, an emulator, programs. The programs here are small scripts."""

from __future__ import annotations

import os

import pytest

from zun_arm.errors import HostNotReady, ZunArmError
from zun_arm.images import build, load_recipe
from zun_arm.images.emulation import ensure_executable
from zun_arm.images.mirror import host_mirror

BOOKWORM = "http://mirror.example/debian/|bookworm|Debian|main"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose programs say what they are told to; ``host.says(program, text, code, error)``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    class Host:
        def says(self, program, text="", *, code=0, error=""):
            script = programs / program
            answer, complaint = tmp_path / f"{program}.out", tmp_path / f"{program}.err"
            answer.write_text(text)
            complaint.write_text(error)
            script.write_text(f"#!/bin/sh\ncat {answer}\ncat {complaint} >&2\nexit {code}\n")
            script.chmod(0o755)

    told = Host()
    told.says("apt-config")
    told.says("apt-get", BOOKWORM)
    return told


@pytest.mark.parametrize(
    "listing",
    [
        [BOOKWORM],
        ["http://mirror.example/debian/|bookworm-updates|Debian|main", BOOKWORM],
        ["http://security.example/|bookworm-security|Debian|main", "http://x.example/|trixie|Debian|main", BOOKWORM],
        ["https://docker.example/|bookworm|Docker|main", BOOKWORM],
        ["http://mirror.example/debian/|trixie|Debian|main"],
    ],
)
def test_the_mirror_of_the_suite_is_preferred(host, listing):
    host.says("apt-get", "\n".join(listing) + "\n")
    assert host_mirror("bookworm").uri == "http://mirror.example/debian/"


@pytest.mark.parametrize(
    "listing",
    [
        [],
        ["http://security.example/|bookworm-security|Debian|main"],
        ["http://raspbian.example/|bookworm|Raspbian|main"],
        ["cdrom://x|bookworm|Debian|main"],
        ["http://mirror.example/debian/|||"],
    ],
)
def test_without_a_debian_mirror_the_cure_is_said(host, listing):
    host.says("apt-get", "\n".join(listing) + "\n")
    with pytest.raises(HostNotReady, match="apt-get update"):
        host_mirror("bookworm")
    assert host_mirror("bookworm", uri="http://own.example/").uri == "http://own.example/"


def test_settings_the_mirror_needs_are_passed_on_and_no_others(host):
    host.says(
        "apt-config",
        'APT::Architecture "amd64";\nAcquire::Check-Valid-Until "false";\nAcquire::Languages:: "none";\n'
        'Acquire::http::Proxy "http://proxy.example:3142";\nAcquire::https::Proxy "DIRECT";\n',
    )
    mirror = host_mirror("bookworm")
    assert mirror.options == {"Acquire::Check-Valid-Until": "false"}
    assert mirror.environment == {"http_proxy": "http://proxy.example:3142"}


def entry(machine, *, flags="POF", state="enabled"):
    return f"{state}\ninterpreter /usr/libexec/qemu\nflags: {flags}\noffset 0\nmagic 7f454c46010101{'00' * 9}0200{machine}\n"


def test_native_platforms_need_no_emulator(tmp_path):
    for machine, platform in [("x86_64", "linux/amd64"), ("aarch64", "linux/arm/v7"), ("armv7l", "linux/arm/v6")]:
        ensure_executable(platform, binfmt=tmp_path / "none", machine=machine)


def test_an_emulator_is_found_by_what_it_takes_not_by_its_name(tmp_path):
    (tmp_path / "register").write_text("")
    (tmp_path / "any-name").write_text(entry("2800"))
    ensure_executable("linux/arm/v7", binfmt=tmp_path, machine="x86_64")
    with pytest.raises(HostNotReady, match="qemu-user-static"):
        ensure_executable("linux/arm64", binfmt=tmp_path, machine="x86_64")


@pytest.mark.parametrize("bad", [entry("2800", state="disabled"), entry("b700"), "enabled\n"])
def test_other_entries_do_not_count(tmp_path, bad):
    (tmp_path / "qemu-arm").write_text(bad)
    with pytest.raises(HostNotReady, match="cannot run linux/arm/v6"):
        ensure_executable("linux/arm/v6", binfmt=tmp_path, machine="x86_64")


def test_an_emulator_that_works_only_outside_is_refused(tmp_path):
    (tmp_path / "qemu-arm").write_text(entry("2800", flags="P"))
    with pytest.raises(HostNotReady, match="lack F"):
        ensure_executable("linux/arm/v7", binfmt=tmp_path, machine="x86_64")


def test_a_mirror_that_does_not_answer_is_said_and_nothing_is_left(host, tmp_path):
    error = "I: running apt-get update...\nE: Failed to fetch http://mirror.example/x  404  Not Found\nI: removing tempdir\n"
    host.says("mmdebstrap", code=1, error=error)
    work = tmp_path / "work"
    with pytest.raises(HostNotReady, match="did not give the packages of tiny for linux/arm64: E: Failed to fetch"):
        build(load_recipe("tiny"), "linux/arm64", work=work)
    assert list(work.iterdir()) == []


def test_another_failure_gives_its_reason(host, tmp_path):
    host.says("mmdebstrap", code=25, error="E: unable to mount\nI: cleaning up\n")
    with pytest.raises(ZunArmError, match="tiny for linux/arm64 could not be built: E: unable to mount"):
        build(load_recipe("tiny"), "linux/arm64", work=tmp_path / "work")


def test_an_interruption_leaves_nothing(host, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("zun_arm.images.debootstrap.run", interrupted)
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        build(load_recipe("tiny"), "linux/arm64", work=work)
    assert list(work.iterdir()) == []
