"""Annotations: where the objects of photographs are, whatever file they are read from.

Reading is strict. Whatever is missing, of another type, doubled, empty or outside its photograph
is refused with its place, because a wrong region gives a wrong figure that looks right. The names
of photographs in annotations are only ever compared, never opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from camaudit.data.images import Box
from camaudit.errors import UsageError

__all__ = [
    "MAX_SIDE",
    "WANTED",
    "Annotated",
    "Kind",
    "Labelled",
    "Polygon",
    "Regions",
    "checked_box",
    "checked_side",
    "gathered",
    "some",
    "split_by_suffix",
]

MAX_SIDE = 2**31 - 1
#: Pixels that a sum of decimals (x + w) may be beyond an edge: rounding of floats, no more.
SLACK = 1e-6

#: What :func:`camaudit.data.regions.read_regions` takes; errors begin with it.
WANTED = (
    "expected a COCO JSON file, a folder of Pascal VOC XML files, or a folder of PNG masks that "
    "mirrors the folder of photographs"
)

Polygon = npt.NDArray[np.float64]
Kind = Literal["coco", "voc", "masks"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """One object: its half-open box (x0, y0, x1, y1) in pixels, and its class where it is named.

    `polygons` (n×2 each, pixels from the upper left corner) are its outline where one is given;
    the object is then their union and not the box.
    """

    box: Box
    label: str | None = None
    polygons: tuple[Polygon, ...] = ()


@dataclass(frozen=True, eq=False)
class Annotated:
    """What is known of one photograph: `objects` in pixels of `size` (width, height), or a `mask`.

    A mask's size is its own, so `size` is (1, 1) where there is one.

    `name` is the photograph's posix path, or, where `bare`, that path without its suffix. `where`
    says in errors which annotation it is.
    """

    name: str
    where: str
    bare: bool = False
    size: tuple[int, int] = (1, 1)
    objects: tuple[Labelled, ...] = ()
    mask: Path | None = None


@dataclass(frozen=True, eq=False)
class Regions:
    """The annotated photographs of one file or folder.

    `source` is its printable path, `named` whether its objects carry class names. `notes` tells
    what of it was not used.
    """

    source: str
    kind: Kind
    entries: tuple[Annotated, ...] = field(repr=False)
    named: bool = False
    notes: tuple[str, ...] = ()


def gathered(
    source: str,
    kind: Kind,
    entries: Iterable[Annotated],
    *,
    named: bool = False,
    notes: Iterable[str] = (),
) -> Regions:
    """The annotations; :class:`UsageError` if two of them name the same photograph."""
    seen: dict[tuple[bool, str], Annotated] = {}
    for entry in entries:
        other = seen.setdefault((entry.bare, entry.name), entry)
        if other is not entry:
            raise UsageError(
                f"{entry.where} and {other.where} are both of the photograph {entry.name}: "
                "keep one of them"
            )
    return Regions(source, kind, tuple(seen.values()), named, tuple(notes))


def checked_box(box: Box, size: tuple[int, int], where: str, hint: str = "") -> Box:
    """The box, if it is finite, not empty and inside its photograph of `size` (width, height).

    Raises :class:`UsageError` otherwise, which `where` opens and `hint` ends.
    """
    x0, y0, x1, y1 = box
    width, height = size
    came = f"{where}: the box from ({x0:.9g}, {y0:.9g}) to ({x1:.9g}, {y1:.9g})"
    if not all(math.isfinite(end) for end in box):
        raise UsageError(f"{came} is not finite")
    if x0 >= x1 or y0 >= y1:
        raise UsageError(f"{came} is empty: correct it, or leave the annotation out")
    if min(x0, y0) < -SLACK or x1 > width + SLACK or y1 > height + SLACK:
        raise UsageError(
            f"{came} reaches outside its photograph, declared as {width}×{height} pixels{hint}"
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def checked_side(value: int, where: str) -> int:
    """A width or height in pixels, if one can be of that many; :class:`UsageError` otherwise."""
    if not 1 <= value <= MAX_SIDE:
        came = str(value)[:40]
        raise UsageError(f"{where}: width and height must be 1 … {MAX_SIDE} pixels; got {came}")
    return value


def split_by_suffix(
    files: Sequence[tuple[str, Path]], suffix: str
) -> tuple[list[tuple[str, Path]], list[str]]:
    """The files with a suffix, and a note on the others, if there are any."""
    wanted = [(name, path) for name, path in files if name.lower().endswith(suffix)]
    other = [name for name, _ in files if not name.lower().endswith(suffix)]
    notes = [f"{len(other)} × no {suffix} file, not read ({some(other)})"] if other else []
    return wanted, notes


def some(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join([*names[:3], "…"] if len(names) > 3 else names)
