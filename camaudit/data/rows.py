"""Photographs in a data set of Hugging Face, on disk as `save_to_disk` writes it (extra datasets).

The rows stay on disk, mapped into memory by Arrow; an image is read when it is wanted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from camaudit.data.folders import Collection, Photo, printable
from camaudit.data.images import read_file
from camaudit.errors import ImageError, MissingExtraError, UsageError

__all__ = ["PREFIX", "RowPhoto", "open_rows"]

PREFIX = "hf:"
_SPEC = re.compile(r"hf:(.+?)(?:\(([^()]*)\))?", re.DOTALL)
_OPTIONS = ("split", "image", "label")
_WRITTEN = "hf:FOLDER or hf:FOLDER(split=NAME,image=COLUMN,label=COLUMN)"


@dataclass(frozen=True)
class RowPhoto(Photo):
    """The image in one row of a column; `column` gives bytes or a path by the row's number."""

    column: Any = field(default=None, repr=False, compare=False)
    row: int = 0

    def read(self) -> bytes:
        """Its bytes. Raises :class:`ImageError` where there are none, or they cannot be read."""
        try:
            held = self.column[self.row]
        except Exception as error:  # of Arrow's many types: the files were changed
            raise ImageError(f"its row cannot be read: {error}") from error
        if held is None:
            raise ImageError("its row has no image")
        if held["bytes"] is not None:
            return bytes(held["bytes"])
        return read_file(Path(held["path"] or ""))


def open_rows(spec: str) -> Collection:
    """List the photographs of `hf:FOLDER(split=…,image=…,label=…)`; none is opened.

    The image column is the only one there is, the label column the only one of class labels, unless
    they are named. A label gives the class its name in the data set; a label without a class, such
    as -1, gives none, and those rows are left out where others have one. Raises
    :class:`UsageError` for a spec or a column that cannot be, :class:`ImageError` for a folder that
    is none, and :class:`MissingExtraError` without the library.
    """
    folder, options = _parsed(spec)
    table = _loaded(folder, options.get("split"))
    image = _column(table, "Image", options.get("image"), what="image")
    if image is None:
        raise UsageError(
            f"{folder} has no column of images: it has {', '.join(table.features)}; name one as in "
            f"{_WRITTEN}"
        )
    label = _column(table, "ClassLabel", options.get("label"), what="label")
    labels = [None] * len(table) if label is None else _labels(table, label)
    column = _Column(table, image)
    digits = len(str(max(len(table) - 1, 0)))
    photos: list[Photo] = [
        RowPhoto(f"row-{row:0{digits}d}", folder / f"row-{row}", name, None, column, row)
        for row, name in enumerate(labels)
    ]
    named = [photo for photo in photos if photo.label_name is not None]
    skipped = []
    if named and len(named) < len(photos):
        skipped.append(("*", f"{len(photos) - len(named)} × no class, where other rows have one"))
        photos = named
    return Collection.of(folder, photos, skipped)


class _Column:
    """Images of a table as they are stored, not decoded."""

    def __init__(self, table: Any, name: str) -> None:
        stored = _library().Image(decode=False)
        self._rows = table.select_columns([name]).cast_column(name, stored)
        self._name = name

    def __getitem__(self, row: int) -> Any:
        return self._rows[row][self._name]


def _parsed(spec: str) -> tuple[Path, dict[str, str]]:
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise UsageError(f"{spec!r} names no folder: expected {_WRITTEN}")
    options: dict[str, str] = {}
    for part in filter(None, map(str.strip, (found[2] or "").split(","))):
        key, mark, value = (piece.strip() for piece in part.partition("="))
        if not mark or not value or key not in _OPTIONS or key in options:
            raise UsageError(
                f"{spec!r}: expected the options {', '.join(_OPTIONS)}, each once, written "
                f"option=value; got {part!r}"
            )
        options[key] = value
    return Path(found[1].strip()), options


def _library() -> Any:
    missing = "data sets of Hugging Face need the library: pip install 'camaudit[datasets]'"
    try:
        found = import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(missing) from error
    if not hasattr(found, "load_from_disk"):  # a folder of that name where camaudit runs
        raise MissingExtraError(missing)
    return found


def _loaded(folder: Path, split: str | None) -> Any:
    datasets = _library()
    shown = printable(str(folder))
    if not folder.is_dir():
        raise ImageError(
            f"expected the folder of a data set that Dataset.save_to_disk wrote; {shown} does not "
            "exist: camaudit downloads nothing, load_dataset(NAME).save_to_disk(FOLDER) does"
        )
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # of Arrow's and of JSON's many types
        raise ImageError(
            f"{shown} is no data set that Dataset.save_to_disk wrote: {error}"
        ) from error
    if not isinstance(found, datasets.DatasetDict):
        if split is not None:
            raise UsageError(f"{shown} has no splits: leave split={split} out")
        return found
    names = ", ".join(found)
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split is None or split not in found:
        raise UsageError(f"{shown} has the splits {names}: name one, hf:{folder}(split=NAME)")
    return found[split]


def _column(table: Any, kind: str, given: str | None, *, what: str) -> str | None:
    """The column that is named, or the only one of a kind; None for no such one."""
    if given is not None:
        if given not in table.features:
            raise UsageError(
                f"no column {given!r} for {what}: the data set has {', '.join(table.features)}"
            )
        if what == "image" and type(table.features[given]).__name__ != kind:
            raise UsageError(
                f"the column {given!r} holds no images, but {table.features[given]}: expected a "
                "column of the type Image"
            )
        return given
    found = [name for name, type_ in table.features.items() if type(type_).__name__ == kind]
    if len(found) > 1:
        raise UsageError(
            f"several columns could be the {what}: {', '.join(found)}; name one, {what}=COLUMN"
        )
    return found[0] if found else None


def _labels(table: Any, column: str) -> list[str | None]:
    """The classes of all rows, by the names that the data set gives them."""
    names = getattr(table.features[column], "names", None)
    found: list[str | None] = []
    for value in table[column]:
        if isinstance(value, int) and names is not None:
            name = names[value] if 0 <= value < len(names) else None
        else:
            name = None if value is None else str(value)
        found.append(None if name is None else printable(name) or None)
    return found
