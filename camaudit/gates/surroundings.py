"""What a repository has that a policy could be about; nothing of it is imported or run."""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camaudit.gates.source import PYPROJECT, parsed

__all__ = ["Surroundings", "look_around"]

_FACTORY = re.compile(
    r"build|(?:(?:build|make|create|get|load)_)?(?:\w+_)?(?:model|net|network|classifier)",
    re.ASCII,
)
_LIKELY = ("models", "model", "network", "networks", "net", "classifier", "factory", "__init__")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_FOLDERS = ("photos", "images", "data/images", "data/photos", "tests/images", "tests/photos")
_PASSED_OVER = {"node_modules", "venv", "env", "build", "dist", "site-packages", "__pycache__"}
_MOST_FILES = 50_000
_FEWEST_PICTURES = 6  # statistics need as many
_LARGEST_SOURCE = 10**6


@dataclass(frozen=True)
class Surroundings:
    """What was found in a folder; None for what was not.

    module, factory: a function without required arguments whose name sounds like a model's.
    weights, sha256: the only safetensors file, and its hash. images, pictures: a folder of at
    least six pictures, and how many. extra: the project's extra that its tests need.
    """

    folder: Path
    package: str | None = None
    module: str | None = None
    factory: str | None = None
    weights: str | None = None
    sha256: str | None = None
    images: str | None = None
    pictures: int = 0
    extra: str | None = None
    installable: bool = False
    github: bool = False


def look_around(folder: Path) -> Surroundings:
    """What `folder` has; raises :class:`camaudit.errors.UsageError` for a broken pyproject.toml."""
    project = folder / PYPROJECT
    known: dict[str, Any] = parsed(project)[1] if project.is_file() else {}
    named = _table(known, "project").get("name") or _table(known, "tool", "poetry").get("name")
    package = _package(folder, named if isinstance(named, str) else "")
    module, factory = _found_factory(package)
    weights = _only_weights(folder)
    images, pictures = _pictures(folder)
    extras = _table(known, "project", "optional-dependencies")
    return Surroundings(
        folder=folder,
        package=None if package is None else package.name,
        module=module,
        factory=factory,
        weights=None if weights is None else weights.relative_to(folder).as_posix(),
        sha256=None if weights is None else _sha256(weights),
        images=images,
        pictures=pictures,
        extra=next((name for name in ("test", "tests", "dev") if name in extras), None),
        installable=project.is_file() or (folder / "setup.py").is_file(),
        github=(folder / ".github").is_dir(),
    )


def _table(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A table below `document`; empty where there is none."""
    found: Any = document
    for key in keys:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _package(folder: Path, project: str) -> Path | None:
    """The package that the project is called after, or else the only one there is."""
    name = re.sub(r"[-.]+", "_", project).lower()
    packages = [
        path.parent
        for place in (folder / "src", folder)
        for path in sorted(place.glob("*/__init__.py"))
        if path.parent.name not in ("tests", "test", "docs") and path.parent.name.isidentifier()
    ]
    own = [path for path in packages if path.name.lower() == name]
    if own or len(packages) == 1:
        return (own or packages)[0]
    return None


def _found_factory(package: Path | None) -> tuple[str | None, str | None]:
    """Module and name of the likeliest model factory, by names alone."""
    if package is None:
        return None, None
    found: list[tuple[int, int, str, str]] = []
    for path in _files(package):
        if path.suffix != ".py" or path.stat().st_size > _LARGEST_SOURCE:
            continue
        parts = path.relative_to(package.parent).with_suffix("").parts
        if not all(part.isidentifier() for part in parts):
            continue
        place = _LIKELY.index(path.stem) if path.stem in _LIKELY else len(_LIKELY)
        module = ".".join(part for part in parts if part != "__init__")
        found += [(place, len(parts), module, name) for name in _factories(path)]
    return min(found)[2:] if found else (None, None)


def _factories(path: Path) -> list[str]:
    """Functions of a file that sound like a model's and can be called without arguments."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return []
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and _FACTORY.fullmatch(node.name)
        and len(node.args.posonlyargs + node.args.args) == len(node.args.defaults)
        and None not in node.args.kw_defaults
    ]


def _only_weights(folder: Path) -> Path | None:
    found = [path for path in _files(folder) if path.suffix == ".safetensors"]
    return found[0] if len(found) == 1 else None


def _pictures(folder: Path) -> tuple[str | None, int]:
    for name in _FOLDERS:
        number = sum(path.suffix.lower() in _PICTURES for path in _files(folder / name))
        if number >= _FEWEST_PICTURES:
            return name, number
    return None, 0


def _files(folder: Path) -> Iterator[Path]:
    """Files below `folder`, without hidden folders and such that tools make; not without end."""
    left = _MOST_FILES
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in _PASSED_OVER and not name.startswith(".")
        )
        left -= len(files)
        if left < 0:
            return
        yield from (
            path for path in (Path(place, name) for name in sorted(files)) if path.is_file()
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
