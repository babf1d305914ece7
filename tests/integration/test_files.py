"""Files into and out of sandboxes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Launch = Callable[..., dict[str, Any]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with what directories have."""
    top = tmp_path / "lab1"
    (top / "src/deep").mkdir(parents=True)
    (top / "src/main.c").write_text("int main(void) { return 0; }\n")
    (top / "src/deep/data").write_bytes(os.urandom(300_000))
    (top / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (top / "run.sh").chmod(0o755)
    (top / "link").symlink_to("src/main.c")
    (top / "empty").mkdir()
    (top / "名前").write_text("unicode\n")
    return top


def contents(top: Path) -> dict[str, Any]:
    """Path -> what is there."""
    return {
        str(path.relative_to(top)): path.readlink()
        if path.is_symlink()
        else None
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(top.rglob("*"))
    }


def test_directories_there_and_back(launched: Launch, cli: Any, tree: Path, tmp_path: Path) -> None:
    launched("--name", "ana")
    cli("cp", str(tree), "ana:/root/")
    assert cli("exec", "ana", "--", "/root/lab1/run.sh").stdout == "ran\n"
    assert cli("exec", "ana", "--", "stat", "-c", "%u:%g %a", "/root/lab1/run.sh").stdout == "0:0 755\n"
    assert cli("exec", "ana", "--", "cat", "/root/lab1/link").stdout.startswith("int main")
    cli("cp", "ana:/root/lab1", str(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(tree)
    assert os.access(tmp_path / "back/run.sh", os.X_OK)
    (tmp_path / "into").mkdir()
    cli("cp", "ana:/root/lab1", str(tmp_path / "into"))
    assert contents(tmp_path / "into/lab1") == contents(tree)
    cli("cp", str(tree), "ana:/root/other")
    assert cli("exec", "ana", "--", "cat", "/root/other/run.sh").stdout == (tree / "run.sh").read_text()


def test_files_there_and_back(launched: Launch, cli: Any, tree: Path, tmp_path: Path) -> None:
    launched("--name", "ana")
    big = tree / "src/deep/data"
    cli("cp", str(big), "ana:/root")
    cli("cp", str(big), "ana:/root/renamed")
    for name in ("data", "renamed"):
        cli("cp", f"ana:/root/{name}", str(tmp_path))
        assert (tmp_path / name).read_bytes() == big.read_bytes()
    cli("cp", "ana:/root/data", str(tmp_path / "as-this"))
    assert (tmp_path / "as-this").read_bytes() == big.read_bytes()
    cli("cp", "ana:etc/issue", str(tmp_path))
    assert "tiny" in (tmp_path / "issue").read_text()
    cli("cp", "ana:/root/data", str(tmp_path / "as-this"))  # over an existing file


def test_a_stopped_sandbox(launched: Launch, cli: Any, tree: Path, tmp_path: Path) -> None:
    launched("--name", "ana")
    cli("stop", "--timeout", "0", "ana")
    cli("cp", str(tree / "run.sh"), "ana:/root/")
    cli("cp", "ana:/root/run.sh", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == (tree / "run.sh").read_text()


def test_what_cannot_be_copied(launched: Launch, cli: Any, tree: Path, tmp_path: Path) -> None:
    launched("--name", "ana")
    cases = {
        (str(tmp_path / "missing"), "ana:/root"): (1, "there is no file"),
        (str(tree), "ana:/no/such/dir"): (1, "/no/such"),
        (str(tree / "run.sh"), "ana:/nodir/"): (1, "there is no directory /nodir/"),
        ("ana:/no/such/file", str(tmp_path)): (1, "/no/such/file"),
        ("ana:/root", str(tmp_path / "no/such/dir")): (1, "there is no directory"),
        (str(tree), str(tmp_path)): (2, "must be in a sandbox"),
        ("ana:/root", "ana:/tmp"): (2, "must be in a sandbox"),
        ("nobody:/root", str(tmp_path)): (1, "there is no sandbox 'nobody'"),
        (str(tree / "run.sh"), "ana:/etc/hosts"): (1, "/etc"),
    }
    for (source, target), (code, words) in cases.items():
        done = cli("cp", source, target, check=False)
        assert done.returncode == code, f"{source} {target}: {done.stderr}"
        assert words in done.stderr and "Traceback" not in done.stderr


def test_what_a_sandbox_sends_cannot_leave_the_directory(launched: Launch, cli: Any, tmp_path: Path) -> None:
    launched("--name", "ana")
    script = (
        "mkdir /root/evil && cd /root/evil && ln -s /etc/passwd out && ln -s ../../.. up && mkfifo pipe && echo x >file"
    )
    cli("exec", "ana", "--", "sh", "-c", script)
    done = cli("cp", "ana:/root/evil", str(tmp_path))
    assert contents(tmp_path / "evil") == {"file": b"x\n"}
    assert "out" in done.stderr and "pipe" in done.stderr
