"""The maps of one method as rows, one an image, and what two rows say of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from camaudit.maps import upsample
from camaudit.sanity.explain import Explained
from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.similarity import Prepared, SimilarityName, compare, prepare
from camaudit.sanity.smprt import averaged

__all__ = ["Cell", "Row", "cells_of", "in_parallel", "rows_of"]

#: A value, or None with its outcome and reason.
Cell = tuple[float | None, Outcome, str | None]

T = TypeVar("T")
R = TypeVar("R")


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


def rows_of(
    parts: Sequence[tuple[int, Explained]],
    *,
    samples: int,
    size: tuple[int, int] | None,
    names: Sequence[SimilarityName],
    excused: str | None = None,
) -> list[Row]:
    """Rows of a batch of `samples` views an image, explained in `parts` of so many views each.

    Maps are averaged over the views of an image and raised to `size` (None: compared as they
    are). An image has no map where one of its views has none.
    """
    views: list[tuple[Tensor | None, Explained]] = []
    for count, found in parts:
        maps: Iterable[Tensor | None] = [None] * count if found.maps is None else found.maps
        views += [(saliency, found) for saliency in maps]
    return [
        _row(views[start : start + samples], size, names, excused)
        for start in range(0, len(views), samples)
    ]


def _row(
    views: list[tuple[Tensor | None, Explained]],
    size: tuple[int, int] | None,
    names: Sequence[SimilarityName],
    excused: str | None,
) -> Row:
    maps = [saliency for saliency, _ in views if saliency is not None]
    if len(maps) < len(views):
        failed = next(found for saliency, found in views if saliency is None)
        return Row(None, None, failed.outcome, failed.message)
    native = averaged(torch.stack(maps), len(maps))[0] if len(maps) > 1 else maps[0]
    compared = native if size is None else upsample(native[None], size)[0]
    return Row(native, prepare(compared, names), excused=excused)


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
