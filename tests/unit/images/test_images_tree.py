"""Editing a root file system as tar members, and writing it the same way every time."""

from __future__ import annotations

import io
import tarfile

import pytest
from image_makers import member, tar

from zun_arm.images.tree import Tree

CAPABILITY = "SCHILY.xattr.security.capability"
VALUE = b"\x01\x00\x00\x02\x00\x20\x00\x00\xff".decode("utf-8", "surrogateescape")


def tree_of(*entries):
    return Tree(io.BytesIO(tar(*entries)))


def written(tree, newest=1000):
    out = io.BytesIO()
    tree.write(out, newest=newest)
    out.seek(0)
    return tarfile.open(fileobj=out)


def names(tree):
    return written(tree).getnames()


def test_written_sorted_with_numeric_owners_and_clamped_times():
    old, new = member("./b", size=0), member("./a", size=0)
    old.mtime, new.mtime, new.uid, new.uname = 10, 99999.5, 42, "somebody"
    opened = written(tree_of(old, new))
    assert opened.getnames() == ["a", "b"]
    assert [each.mtime for each in opened] == [1000, 10]
    assert (opened.getmember("a").uid, opened.getmember("a").uname) == (42, "")
    assert all("mtime" not in each.pax_headers for each in opened)


def test_capabilities_survive_byte_for_byte():
    program = member("bin/ping", size=0)
    program.pax_headers = {CAPABILITY: VALUE, "atime": "12.5", "ctime": "13.5"}
    [kept] = written(tree_of(program))
    assert kept.pax_headers[CAPABILITY].encode("utf-8", "surrogateescape") == VALUE.encode("utf-8", "surrogateescape")
    assert not kept.pax_headers.keys() & {"atime", "ctime"}


def test_hard_links_stay_links_and_the_content_comes_first():
    tree = tree_of(("z", b"content"), member("a", tarfile.LNKTYPE, link="./z"), member("m", tarfile.LNKTYPE, link="a"))
    opened = written(tree)
    assert [(each.name, each.type, each.linkname) for each in opened] == [
        ("a", tarfile.REGTYPE, ""),
        ("m", tarfile.LNKTYPE, "a"),
        ("z", tarfile.LNKTYPE, "a"),
    ]
    assert opened.extractfile("z").read() == b"content"


def test_a_hard_link_outlives_its_target():
    tree = tree_of(("a", b"content"), member("b", tarfile.LNKTYPE, link="a"))
    tree.drop(["a"])
    assert written(tree).extractfile("b").read() == b"content"


def test_drop_takes_what_is_below_but_spares_keep_and_its_parents():
    tree = tree_of(
        "usr/", "usr/doc/", "usr/doc/libc/", ("usr/doc/libc/copyright", b"c"), ("usr/doc/libc/news", b"n"), ("x", b"")
    )
    tree.drop(["usr/doc"], keep=["usr/doc/*/copyright"])
    assert names(tree) == ["usr", "usr/doc", "usr/doc/libc", "usr/doc/libc/copyright", "x"]


def test_drop_files_leaves_directories():
    tree = tree_of("var/log/", "var/log/apt/", ("var/log/apt/history", b"h"), ("var/log/dpkg", b"d"))
    tree.drop_files(["var/log"])
    assert names(tree) == ["var/log", "var/log/apt"]


def test_putting_goes_through_links_to_directories():
    tree = tree_of("usr/", "usr/sbin/", member("sbin", tarfile.SYMTYPE, link="usr/sbin"))
    tree.put_file("sbin/start", b"#!/bin/sh\n", mode=0o755)
    tree.put_link("sbin/start", "/not/this")
    tree.put_directory("var/spool")
    opened = written(tree)
    assert opened.getnames() == ["sbin", "usr", "usr/sbin", "usr/sbin/start", "var", "var/spool"]
    assert opened.getmember("usr/sbin/start").mode == 0o755
    assert opened.getmember("var").isdir()


def test_append_and_copy():
    tree = tree_of(
        ("etc/passwd", b"root\n"), member("etc/link", tarfile.LNKTYPE, link="etc/passwd"), ("etc/skel/.rc", b"rc")
    )
    tree.append("etc/passwd", "ana")
    tree.copy("etc/skel", "home/ana", owner=1000)
    opened = written(tree)
    assert opened.extractfile("etc/passwd").read() == b"root\nana\n"
    assert opened.extractfile("etc/link").read() == b"root\n"
    assert (opened.getmember("home/ana/.rc").uid, opened.getmember("home/ana/.rc").gid) == (1000, 1000)
    assert tree.text("home/ana/.rc") == "rc"


def test_long_and_odd_names_survive():
    name = "d/" + "x" * 150 + "-\udcff"
    assert written(tree_of((name, b"1"))).getnames() == [name]


def test_a_link_in_a_circle_does_not_hang():
    tree = tree_of(member("a", tarfile.SYMTYPE, link="b"), member("b", tarfile.SYMTYPE, link="a"))
    assert "a/x" not in tree


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_source_does_not_matter(order):
    entries = [("b", b"2"), ("a", b"1"), ("c/d", b"3")][::order]
    out = io.BytesIO()
    tree_of(*entries).write(out, newest=0)
    other = io.BytesIO()
    tree_of(*entries[::-1]).write(other, newest=0)
    assert out.getvalue() == other.getvalue()
