"""Recipes: those that come along, and what is wrong with those that do not work."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
from image_makers import armv7, member, tar

from zun_arm.core.platforms import PLATFORMS
from zun_arm.errors import BadInput, NotFound
from zun_arm.images import build, load_recipe, recipe_names
from zun_arm.images.dress import dress
from zun_arm.images.tree import Tree

HOME = Path(__file__).parents[3] / "images"


def test_the_recipes_that_come_along():
    assert recipe_names() == ("debian", "dev", "tiny")
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.platforms == PLATFORMS
        assert recipe.labels["zun-arm.ssh-user"] in ("root", "student")
        assert recipe.labels["zun-arm.console"] == "tty"
        assert recipe.description
        assert recipe.size


def test_dev_is_debian_and_more():
    debian, dev = load_recipe("debian"), load_recipe("dev")
    assert set(dev.packages) == {*debian.packages, "gcc", "gdb", "libc6-dev", "make", "python3"}
    assert (dev.user, dev.files, dev.labels) == (debian.user, debian.files, debian.labels)
    assert dev.labels["zun-arm.no-new-privileges"] == "false"


def test_no_recipe_or_file_names_a_mirror():
    for file in [*HOME.glob("*.yaml"), *(HOME / "files").iterdir()]:
        assert not re.search(r"https?://", file.read_text()), file


def test_start_scripts_never_contain_keys_and_are_executable():
    for name in ("tiny", "debian"):
        recipe = load_recipe(name)
        [start] = [file for file in recipe.files if f"/{file.path}" == recipe.command[0]]
        assert start.mode == 0o755
        assert start.data.startswith(b"#!/bin/sh\n")


def test_an_unknown_recipe_lists_the_known():
    with pytest.raises(NotFound, match="debian, dev, tiny"):
        load_recipe("ubuntu")
    with pytest.raises(NotFound, match="no recipe file"):
        load_recipe("my/own.yaml")


OWN = """
extends: tiny
name: mine
description: tiny and a file
packages: [strace]
platforms: [linux/arm64]
env: {LANG: C}
files:
  - {path: etc/motd, from: motd, mode: "0600"}
  - {path: etc/issue, text: hello}
links:
  - {path: bin/edit, target: vi}
"""


def test_a_recipe_of_ones_own_extends_another(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "motd").write_text("good morning")
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert recipe.platforms == ("linux/arm64",)
    assert recipe.packages == (*load_recipe("tiny").packages, "strace")
    assert recipe.env == {**load_recipe("tiny").env, "LANG": "C"}
    assert recipe.links["bin/edit"] == "vi"
    assert recipe.links["bin/ls"] == "/bin/busybox"
    assert {file.path: (file.data, file.mode) for file in recipe.files}["etc/motd"] == (b"good morning", 0o600)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[1]", "not a recipe"),
        ("a: [", "not YAML"),
        ("name: x", "incomplete or wrong"),
        ("extends: none\nname: x", "extends 'none'"),
        ("extends: tiny\nname: x\ncolour: red", "unknown keys colour"),
        ("extends: tiny\nname: x\nplatforms: [linux/vax]", "unknown platforms"),
        ("extends: tiny\nname: x\nvariant: huge", "huge"),
        ("extends: tiny\nname: x\ndate: yesterday", "yesterday"),
        ("extends: debian\nname: x\nfiles: [{path: a, text: b, mode: 0755}]", "needs quotes"),
        ("extends: debian\nname: x\nfiles: [{path: a, from: nowhere}]", "nowhere"),
        ("extends: debian\nname: x\npackages: gcc", "is not a list"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(tmp_path, text, word):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(BadInput, match=re.escape(word)):
        load_recipe(tmp_path / "bad.yaml")


def test_a_platform_the_recipe_is_not_made_for(tmp_path):
    (tmp_path / "arm.yaml").write_text("extends: debian\nname: arm\nplatforms: [linux/arm64]\nfiles: []")
    with pytest.raises(BadInput, match=r"not made for linux/arm/v7 \(use one of: linux/arm64\)"):
        build(load_recipe(tmp_path / "arm.yaml"), "armhf", work=tmp_path / "work")


def dressed(recipe, *entries):
    tree = Tree(io.BytesIO(tar(*entries)))
    dress(tree, load_recipe(recipe))
    out = io.BytesIO()
    tree.write(out, newest=0)
    out.seek(0)
    return tarfile.open(fileobj=out)


def test_dressing_removes_what_belongs_to_the_building_machine():
    left = (
        "etc/hostname", "etc/resolv.conf", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "etc/passwd-",
        "var/log/dpkg.log", "var/cache/ldconfig/aux-cache", "var/lib/apt/lists/some", "tmp/x", "run/x", "dev/null",
    )  # fmt: skip
    accounts = [(f"etc/{name}", b"root:x\n") for name in ("passwd", "group", "shadow", "gshadow")]
    opened = dressed(
        "debian",
        *accounts,
        *((name, b"x") for name in left),
        ("etc/machine-id", b"1234\n"),
        ("etc/skel/.profile", b"p"),
    )
    assert not set(left) & set(opened.getnames())
    assert opened.getmember("etc/machine-id").size == 0
    assert opened.getmember("tmp").mode == 0o1777


def test_dressing_adds_the_student():
    accounts = [(f"etc/{name}", b"root:x\n") for name in ("passwd", "group", "shadow", "gshadow")]
    opened = dressed("debian", *accounts, ("etc/skel/.profile", b"p"))
    assert b"\nstudent:x:1000:1000::/home/student:/bin/bash\n" in opened.extractfile("etc/passwd").read()
    assert b"\nstudent:*:20089:" in opened.extractfile("etc/shadow").read()
    ssh = opened.getmember("home/student/.ssh")
    assert (ssh.mode, ssh.uid, ssh.gid) == (0o700, 1000, 1000)
    sudoers = opened.getmember("etc/sudoers.d/student")
    assert (sudoers.mode, sudoers.uid) == (0o440, 0)
    assert opened.extractfile("etc/sudoers.d/student").read() == b"student ALL=(ALL:ALL) NOPASSWD: ALL\n"


def test_dressing_links_the_applets_but_replaces_nothing():
    opened = dressed(
        "tiny", ("bin/busybox", armv7()), ("usr/bin/wget", b"real"), member("bin/ash", tarfile.SYMTYPE, link="x")
    )
    assert opened.getmember("bin/ls").linkname == "/bin/busybox"
    assert opened.getmember("bin/ash").linkname == "x"
    assert opened.extractfile("usr/bin/wget").read() == b"real"
    assert opened.getmember("etc/shadow").mode == 0o600
    assert opened.getmember("root/.ssh").mode == 0o700
