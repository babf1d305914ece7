"""Packaging of zun-arm: metadata, extras, console script and the packages kept outside ``zun_arm/``."""

from pathlib import Path

from setuptools import find_packages, setup

RUNTIME = [
    "click>=8.1",
    "docker>=7.1",
    "oslo.concurrency>=5.0",
    "oslo.config>=9.0",
    "pyroute2>=0.8.1,!=0.9.1,!=0.9.2,!=0.9.3,!=0.9.4",
    "PyYAML>=6.0",
    "zstandard>=0.20",
]
TEST = [
    "hypothesis>=6.80",
    "import-linter>=2.0",
    "mypy>=1.8",
    "pyelftools>=0.29",
    "pytest>=7.4",
    "ruff>=0.4",
    "testcontainers>=4.0",
    "types-docker",
    "types-PyYAML",
]

setup(
    name="zun-arm",
    version="0.1.0",
    description="ARMv7 and ARMv8 userlands as containers, on boards without KVM and on x86 laptops",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    # The recipes live in images/ at the top level; installed, they are the data package zun_arm.recipes.
    packages=[*find_packages(include=["zun_arm", "zun_arm.*"]), "zun_arm.recipes"],
    package_dir={"zun_arm.recipes": "images"},
    package_data={"zun_arm": ["py.typed"], "zun_arm.recipes": ["*.yaml", "files/*"]},
    install_requires=RUNTIME,
    extras_require={"test": TEST, "dev": TEST},
    entry_points={"console_scripts": ["zun-arm = zun_arm.cli.main:main"]},
)
