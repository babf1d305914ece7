"""The wheel holds what the checkout has: the command, the recipes, the types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the checkout, so that the build leaves nothing in it."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(place), str(source)]
    subprocess.run(command, check=True, timeout=300)
    return next(place.glob("zun_arm-*.whl"))


def test_the_wheel_is_whole(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"zun_arm/py.typed", "zun_arm/cli/main.py", "zun_arm/recipes/tiny.yaml", "zun_arm/recipes/dev.yaml"} <= names
    assert any(name.startswith("zun_arm/recipes/files/") for name in names)
    assert not any(name.startswith(("tests/", "images/")) for name in names)
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "zun-arm = zun_arm.cli.main:main" in zipfile.ZipFile(wheel).read(entry).decode()


def test_recipes_are_found_in_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "\n".join(
        (
            "import sys",
            "sys.path.insert(0, sys.argv[1])",
            "from zun_arm import images",
            "print(images.__file__, sorted(images.recipe_names()))",
        )
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert str(tmp_path) in done.stdout
    assert "['debian', 'dev', 'tiny']" in done.stdout
