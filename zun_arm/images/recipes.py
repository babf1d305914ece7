"""Recipes: what goes into a userland, as YAML files in ``images/`` (installed as ``zun_arm.recipes``)."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import zun_arm
from zun_arm.core.platforms import PLATFORMS
from zun_arm.errors import BadInput, NotFound

# Keys of an extended recipe that are said anew, not added to.
_REPLACED = {"platforms", "command", "user"}


class Variant(StrEnum):
    """How packages get in: only unpacked (``extract``, runs nothing), or installed by apt and dpkg (``minbase``)."""

    EXTRACT = "extract"
    MINBASE = "minbase"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file to put in: its path without a leading slash, its content, and octal ``mode`` of a root-owned file."""

    path: str
    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """A directory to put in, owned by root."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An ordinary user with a home made from ``/etc/skel`` and no password; ``id`` is uid and gid."""

    name: str
    id: int
    shell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A userland to build.

    ``date`` is the newest time any file of the image may carry, and the image's own. ``drop`` and ``keep`` are shell
    patterns for paths (``*`` matches ``/`` too); a dropped directory goes with all in it. ``links`` maps symbolic
    links to their targets. ``size`` is a note for people.
    """

    name: str
    description: str
    suite: str
    variant: Variant
    date: datetime
    platforms: tuple[str, ...]
    packages: tuple[str, ...]
    size: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[DirectoryEntry, ...] = ()
    files: tuple[FileEntry, ...] = ()
    user: User | None = None

    def __post_init__(self) -> None:
        unknown = [platform for platform in self.platforms if platform not in PLATFORMS]
        if unknown or not self.platforms:
            raise BadInput(
                f"recipe {self.name}: unknown platforms {unknown}", hint=f"use some of {', '.join(PLATFORMS)}"
            )
        if not self.packages:
            raise BadInput(f"recipe {self.name} names no packages", hint="list at least one under packages:")


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with zun-arm."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _home().iterdir() if file.name.endswith(".yaml")))


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of that name, or from a YAML file of one's own; :class:`NotFound` lists those there are."""
    home = _home()
    if str(name).endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise NotFound(f"there is no recipe file {path}", hint=f"or use one of: {', '.join(recipe_names())}")
        return _parse(_read(path, home), path.parent, str(path))
    if str(name) not in recipe_names():
        raise NotFound(f"there is no recipe {str(name)!r}", hint=f"use one of: {', '.join(recipe_names())}")
    return _parse(_read(home / f"{name}.yaml", home), home, str(name))


def _home() -> Traversable:
    """The recipe directory: the data package, or ``images/`` beside the package in a checkout not installed."""
    try:
        return importlib.resources.files("zun_arm.recipes")
    except ModuleNotFoundError:
        return Path(zun_arm.__file__).parent.parent / "images"


def _read(file: Traversable, home: Traversable) -> dict[str, Any]:
    """The mapping in a file, laid over the recipe it extends; lists are joined, mappings merged."""
    import yaml

    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise BadInput(f"{file.name} is not YAML: {err}", hint="compare it with images/tiny.yaml") from err
    if not isinstance(told, dict):
        raise BadInput(f"{file.name} is not a recipe", hint="compare it with images/tiny.yaml")
    parent = told.pop("extends", None)
    if parent is None:
        return told
    if parent == told.get("name") or parent not in recipe_names():
        raise BadInput(f"{file.name} extends {parent!r}", hint=f"extend one of: {', '.join(recipe_names())}")
    merged = _read(home / f"{parent}.yaml", home)
    for key, value in told.items():
        merged[key] = value if key in _REPLACED else _joined(merged.get(key), value)
    return merged


def _joined(old: Any, new: Any) -> Any:
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *new]
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **new}
    return new


def _parse(told: dict[str, Any], home: Traversable, source: str) -> Recipe:
    unknown = set(told) - {each.name for each in fields(Recipe)}
    if unknown:
        raise BadInput(f"recipe {source}: unknown keys {', '.join(sorted(map(str, unknown)))}", hint=_known_keys())
    try:
        user = told.get("user")
        return Recipe(
            name=str(told["name"]),
            description=str(told["description"]),
            suite=str(told["suite"]),
            variant=Variant(told["variant"]),
            date=_midnight(told["date"]),
            platforms=_texts(told["platforms"]),
            packages=tuple(sorted(_texts(told["packages"]))),
            size=str(told.get("size", "")),
            command=_texts(told["command"]),
            env=_pairs(told.get("env")),
            labels=_pairs(told.get("labels")),
            drop=_texts(told.get("drop")),
            keep=_texts(told.get("keep")),
            links=_links(told.get("links"), home),
            directories=tuple(
                DirectoryEntry(path=str(each["path"]), mode=_mode(each, 0o755))
                for each in told.get("directories") or ()
            ),
            files=tuple(_file(each, home) for each in told.get("files") or ()),
            user=User(name=str(user["name"]), id=int(user["id"]), shell=str(user["shell"])) if user else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise BadInput(f"recipe {source} is incomplete or wrong: {err!r}", hint=_known_keys()) from err
    except OSError as err:
        raise BadInput(f"recipe {source} needs a file it has not: {err}", hint="put it into files/ beside it") from err


def _known_keys() -> str:
    return f"the keys of a recipe are: extends, {', '.join(each.name for each in fields(Recipe))}"


def _midnight(value: Any) -> datetime:
    if type(value) is not date:
        raise ValueError(f"date is {value!r}, not a day as in 2025-01-01")
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | None):
        raise TypeError(f"{value!r} is not a list")
    return tuple(str(each) for each in value or ())


def _pairs(value: Any) -> dict[str, str]:
    return {str(key): str(each) for key, each in (value or {}).items()}


def _mode(entry: Mapping[str, Any], default: int) -> int:
    text = entry.get("mode")
    if text is not None and not isinstance(text, str):
        raise TypeError(f'the mode of {entry["path"]} needs quotes, as in "0755"')
    return default if text is None else int(text, 8)


def _found(home: Traversable, name: Any) -> Traversable:
    """A file of ``files/`` beside the recipe, or else of zun-arm's own (a recipe that extends one needs them)."""
    own = home / "files" / str(name)
    return own if own.is_file() else _home() / "files" / str(name)


def _file(entry: Mapping[str, Any], home: Traversable) -> FileEntry:
    data = _found(home, entry["from"]).read_bytes() if "from" in entry else str(entry["text"]).encode()
    return FileEntry(path=str(entry["path"]), data=data, mode=_mode(entry, 0o644))


def _links(value: Any, home: Traversable) -> dict[str, str]:
    """Links given one by one (``path``, ``target``), or a file with one path a line (``list``, ``target``)."""
    links: dict[str, str] = {}
    for entry in value or ():
        listed = _found(home, entry["list"]).read_text().split() if "list" in entry else [str(entry["path"])]
        links.update(dict.fromkeys(listed, str(entry["target"])))
    return links
