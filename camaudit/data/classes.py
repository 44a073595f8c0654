"""Which classes a data set is made of: a range, a list or a file, and their seeded order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camaudit.data.folders import printable
from camaudit.data.images import read_file
from camaudit.data.labels import imagenet_index
from camaudit.errors import ImageError, UsageError

__all__ = ["ANIMALS", "Choice", "Key", "choose_classes", "class_key", "drawn", "parse_classes"]

ANIMALS = "0-397"  #: the walls paper's classes: ImageNet's first 398 labels

Key = int | str
"""An ImageNet-1k index, or the name of a class that is none of ImageNet's."""

_RANGE = re.compile(r"([0-9]+)\s*-\s*([0-9]+)")
_LAST = 999


@dataclass(frozen=True)
class Choice:
    """Class folders in the order in which they are to be used, and how they were chosen.

    `wanted` is what was asked for, as a manifest records it; `notes` say what a user must know.
    """

    names: tuple[str, ...]
    wanted: str | list[Key]
    notes: tuple[str, ...] = ()


def parse_classes(text: str) -> tuple[Key, ...]:
    """The classes that a text stands for, sorted, each once.

    A list with commas, or the path of a text file with one entry a line (`#` starts a comment).
    An entry is a range of ImageNet-1k indices (`0-397`, both ends included), an index, a WordNet
    id, or a name; names that ImageNet does not know stand for class folders of that name.

    Raises :class:`UsageError` for an empty list, a range that runs backwards or beyond 999, and
    a file that is no text.

    >>> parse_classes("2-4, n01440764")
    (0, 2, 3, 4)
    """
    keys = {key for entry in _entries(text) for key in _keys(entry)}
    if not keys:
        raise UsageError(
            f"no class in {text!r}: expected a range such as {ANIMALS}, a list such as 0,5,17 or "
            "tench,jay, or a text file with one of them a line"
        )
    return _sorted(keys)


def drawn(keys: Sequence[Key], seed: int) -> tuple[Key, ...]:
    """`keys` in seeded random order (PCG64); the order in which they come makes no difference.

    The first hundred of ``drawn(parse_classes("0-397"), seed)`` are the classes of a data set,
    whatever it is made from.
    """
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    ordered = _sorted(keys)
    turn = np.random.Generator(np.random.PCG64(seed)).permutation(len(ordered))
    return tuple(ordered[index] for index in turn)


def class_key(name: str) -> Key:
    """The ImageNet-1k index that a class folder's name stands for, else the name."""
    index = imagenet_index(name)
    return name if index is None else index


def choose_classes(available: Iterable[str], *, wanted: str | None, seed: int) -> Choice:
    """Class folders that `wanted` asks for (see :func:`parse_classes`), in seeded order.

    Without `wanted`: ImageNet's first 398 classes if every folder is a class of ImageNet's, else
    all folders; `all` asks for all. Classes of a range may be missing, those named one by one may
    not.

    Raises :class:`UsageError` if two folders stand for one class, if a named class is missing, or
    if no class is left.
    """
    folders = _by_key(available)
    imagenet = all(isinstance(key, int) for key in folders)
    if wanted is None:
        wanted = ANIMALS if imagenet else "all"
    keys = _sorted(folders) if wanted.strip() == "all" else parse_classes(wanted)
    missing = [key for key in keys if key not in folders]
    named = set() if wanted.strip() == "all" else _named(wanted)
    if not named.isdisjoint(missing):
        raise UsageError(_not_there([key for key in missing if key in named], folders))
    names = tuple(folders[key] for key in drawn(keys, seed) if key in folders)
    if not names:
        raise UsageError(
            f"none of the {len(folders)} classes of the source is among {wanted!r}: ask for "
            "others with --classes, or for all of them with --classes all"
        )
    notes = []
    if missing:
        notes.append(f"{len(missing)} of the {len(keys)} classes asked for are not in the source")
    return Choice(names, list(keys) if named else wanted.strip(), tuple(notes))


def _by_key(available: Iterable[str]) -> dict[Key, str]:
    folders: dict[Key, str] = {}
    for name in sorted(available):
        key = class_key(name)
        if key in folders:
            raise UsageError(
                f"the class folders {folders[key]!r} and {name!r} both stand for class {key}: "
                "merge them"
            )
        folders[key] = name
    return folders


def _entries(text: str) -> list[str]:
    """The entries of a list or a file, stripped, without empty ones."""
    entries = _file_lines(Path(text)) if _is_file(text) else text.split(",")
    return [entry.strip() for entry in entries if entry.strip()]


def _named(text: str) -> set[Key]:
    """The classes that are named one by one, not by a range."""
    return {
        key for entry in _entries(text) if _RANGE.fullmatch(entry) is None for key in _keys(entry)
    }


def _keys(entry: str) -> Iterable[Key]:
    found = _RANGE.fullmatch(entry)
    if found is None:
        return (class_key(entry),)
    first, last = int(found[1]), int(found[2])
    if not first <= last <= _LAST:
        raise UsageError(
            f"{entry!r} is no range of ImageNet's classes: expected FIRST-LAST with "
            f"0 ≤ FIRST ≤ LAST ≤ {_LAST}"
        )
    return range(first, last + 1)


def _sorted(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Indices in ascending order, then names."""
    return tuple(sorted(keys, key=lambda key: (isinstance(key, str), key)))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a file name, or a NUL
        return False


def _file_lines(path: Path) -> list[str]:
    try:
        text = read_file(path).decode("utf-8")
    except (ImageError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{printable(str(path))} is no text file with one class a line: {error}"
        ) from error
    return [line.partition("#")[0] for line in text.splitlines()]


def _not_there(missing: Sequence[Key], folders: dict[Key, str]) -> str:
    known = {str(value): None for pair in folders.items() for value in pair}
    near = difflib.get_close_matches(str(missing[0]), known, n=3)
    hint = f"near names: {', '.join(near)}" if near else f"it has {len(folders)} classes"
    shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
    return f"the source has no class {shown} ({hint}), and no file of that name lists classes"
