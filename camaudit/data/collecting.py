"""Photographs from wherever they lie: a folder, tar shards, a data set of Hugging Face."""

from __future__ import annotations

from pathlib import Path

from camaudit.data.folders import Collection, scan
from camaudit.data.rows import PREFIX, open_rows
from camaudit.data.shards import named_shards, open_shards

__all__ = ["collect", "placed_in"]


def collect(place: Path | str) -> Collection:
    """List the photographs at a place; none is opened.

    `hf:FOLDER` is a data set of Hugging Face (:mod:`camaudit.data.rows`); a file `….tar`, a folder
    of them, or a range `name-{000..049}.tar` are shards (:mod:`camaudit.data.shards`); anything
    else is a folder of images (:func:`camaudit.data.folders.scan`). Raises as these do.
    """
    if str(place).startswith(PREFIX):
        return open_rows(str(place))
    root = Path(place)
    shards = named_shards(root)
    return open_shards(shards, root) if shards else scan(root)


def placed_in(folder: Path, place: Path | str) -> Path:
    """The place, taken from `folder` where it is relative.

    >>> print(placed_in(Path("/repo"), "hf:rows(split=test)"), placed_in(Path("/repo"), "photos"))
    hf:/repo/rows(split=test) /repo/photos
    """
    given = str(place)
    if given.startswith(PREFIX):
        return Path(f"{PREFIX}{folder / given.removeprefix(PREFIX)}")
    return folder / given
