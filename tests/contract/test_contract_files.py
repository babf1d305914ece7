"""The image book and the locks on real files keep the same contracts; neither needs root."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.contracts.files import BookContract, LocksContract
from fakes.contracts.tools import ask_in_another_process

from zun_arm.core.imagebook import FileImageBook
from zun_arm.core.platforms import ARM64, Isa
from zun_arm.locks import FileLocks


class TestFileImageBook(BookContract):
    @pytest.fixture
    def book(self, tmp_path: Path) -> FileImageBook:
        return FileImageBook(
            tmp_path / "images", lambda pieces: Isa(text) if (text := b"".join(pieces).decode()) else None
        )

    def test_another_process_knows_what_was_noted(self, book: FileImageBook, tmp_path: Path) -> None:
        book.note(self.IMAGE_ID, Isa.ARMV8)
        assert FileImageBook(tmp_path / "images", lambda pieces: None).measured(self.IMAGE_ID) == (ARM64, Isa.ARMV8)

    @pytest.mark.parametrize("rubbish", ["", "{", "[]", "null", '{"isa": 1}', '{"isa": "z80"}', '{"no": "isa"}'])
    def test_a_damaged_file_means_not_measured(self, book: FileImageBook, tmp_path: Path, rubbish: str) -> None:
        book.note(self.IMAGE_ID, Isa.ARMV8)
        (file,) = (tmp_path / "images").iterdir()
        file.write_text(rubbish)
        assert book.measured(self.IMAGE_ID) is None


HOLDER = """
import sys
from pathlib import Path
from zun_arm.locks import FileLocks
with FileLocks(Path(sys.argv[1])).hold("ana", blocking=sys.argv[2] == "wait") as got:
    print(got, flush=True)
    sys.stdin.readline()
"""


class TestFileLocks(LocksContract):
    @pytest.fixture
    def locks(self, tmp_path: Path) -> FileLocks:
        return FileLocks(tmp_path / "locks")

    def test_another_process_cannot_have_it_until_its_holder_dies(self, locks: FileLocks, tmp_path: Path) -> None:
        with ask_in_another_process(HOLDER, str(tmp_path / "locks"), "wait") as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "True\n"
            with locks.hold("ana", blocking=False) as got:
                assert got is False
            holder.kill()
            holder.wait(5)
        with locks.hold("ana", blocking=False) as got:
            assert got is True

    def test_another_process_is_told_that_we_have_it(self, locks: FileLocks, tmp_path: Path) -> None:
        with locks.hold("ana"), ask_in_another_process(HOLDER, str(tmp_path / "locks"), "ask") as other:
            assert other.communicate("\n", timeout=10)[0] == "False\n"
