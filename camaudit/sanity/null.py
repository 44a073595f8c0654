"""The null of a cascade: how alike the maps of two models are that are both wholly random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from camaudit.sanity.rows import Cell, Row, cells_of, in_parallel
from camaudit.sanity.similarity import SimilarityName

__all__ = ["null_cells", "null_pairs"]


def null_pairs(seeds: int) -> tuple[tuple[int, int], ...]:
    """All pairs s < t of the places of `seeds` models."""
    return tuple(combinations(range(seeds), 2))


def null_cells(
    models: Sequence[Sequence[Row]], names: Sequence[SimilarityName]
) -> list[list[list[Cell]]]:
    """Cells `[pair][image][name]` of the maps `models[seed][image]` of wholly random models.

    The random models share nothing but the architecture and the image, so a method whose
    similarity to the original's map falls to this has lost all that it knew of the weights.
    """
    pairs = null_pairs(len(models))
    jobs = [
        (replace(a, excused=None), replace(b, excused=None))
        for s, t in pairs
        for a, b in zip(models[s], models[t], strict=True)
    ]
    cells = in_parallel(lambda job: cells_of(*job, names), jobs)
    count = len(models[0]) if models else 1
    return [cells[start : start + count] for start in range(0, len(cells), count)]
