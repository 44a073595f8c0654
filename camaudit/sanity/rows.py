"""The maps of one method as rows, one an image, and what two rows say of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from camaudit.maps import upsample
from camaudit.sanity.explain import Explained
from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.similarity import Prepared, SimilarityName, compare, prepare
from camaudit.sanity.smprt import averaged
from camaudit.sanity.unchanged import reads_images_alone

__all__ = [
    "Cell",
    "Row",
    "View",
    "cells_of",
    "in_parallel",
    "lost_view",
    "prepared",
    "row_of",
    "views_of",
]

#: A value, or None with its outcome and reason.
Cell = tuple[float | None, Outcome, str | None]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class View:
    """The map (h×w) of one view of an image, or None with `outcome` and `reason`.

    `excused`: why the map cannot have changed.
    """

    saliency: Tensor | None
    outcome: Outcome = Outcome.SCORED
    reason: str | None = None
    excused: str | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One image's map by one method: as returned (h×w), and as it is compared.

    Without a map, `outcome` and `reason` say why. `excused`: why the map cannot have changed.
    """

    native: Tensor | None
    prepared: Prepared | None
    outcome: Outcome = Outcome.SCORED
    reason: str | None = None
    excused: str | None = None


def views_of(
    found: Explained, count: int, excused: Sequence[str | None] | None = None
) -> list[View]:
    """What a method found of `count` views, and why the map of each cannot have changed."""
    if found.maps is None:
        return [View(None, found.outcome, found.message)] * count
    reasons = excused or [None] * count
    return [View(saliency, excused=why) for saliency, why in zip(found.maps, reasons, strict=True)]


def lost_view(original: Explained, count: int, row: int, why: View) -> View:
    """The map of row `row` of `count` on a model whose logits are not finite there: none, `why`.

    A method that reads the images alone has its original map on every model.
    """
    if original.maps is None or reads_images_alone(original):
        return views_of(original, count)[row]
    return why


def row_of(
    views: Sequence[View], *, size: tuple[int, int] | None, names: Sequence[SimilarityName]
) -> Row:
    """The row of one image, seen in `views`.

    Maps are averaged over the views and raised to `size` (None: compared as they are). There is
    no map where one of the views has none, and no excuse where one of them has none.
    """
    maps = [view.saliency for view in views if view.saliency is not None]
    if len(maps) < len(views):
        failed = next(view for view in views if view.saliency is None)
        return Row(None, None, failed.outcome, failed.reason)
    native = averaged(torch.stack(maps), len(maps))[0] if len(maps) > 1 else maps[0]
    excuses = [view.excused for view in views]
    excused = None if None in excuses else excuses[0]
    return prepared(Row(native, None, excused=excused), size=size, names=names)


def prepared(row: Row, *, size: tuple[int, int] | None, names: Sequence[SimilarityName]) -> Row:
    """The row with its map, if it has one, raised to `size` and ready to be compared."""
    if row.native is None or row.prepared is not None:
        return row
    compared = row.native if size is None else upsample(row.native[None], size)[0]
    return replace(row, prepared=prepare(compared, names))


def cells_of(before: Row, after: Row, names: Sequence[SimilarityName]) -> list[Cell]:
    """The similarities `names` of two rows of one image, each a value or why there is none."""
    for row in (before, after):
        if row.native is None:
            return [(None, row.outcome, row.reason)] * len(names)
    if after.excused is not None:
        return [(None, Outcome.UNCHANGED, after.excused)] * len(names)
    if before.prepared is None or after.prepared is None:
        return [(None, Outcome.UNDEFINED, "the map was not prepared")] * len(names)
    cells: list[Cell] = []
    for name in names:
        value, why = compare(name, before.prepared, after.prepared)
        cells.append((value, Outcome.SCORED if value is not None else Outcome.UNDEFINED, why))
    return cells


def in_parallel(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of each item, in order, in as many threads as torch uses."""
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
