"""How far similarities are from the null, with intervals over seeds crossed with images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from camaudit.metrics.statistics import (
    LEVEL,
    MINIMUM,
    RESAMPLES,
    bootstrap_mean,
    crossed_bootstrap_mean,
)
from camaudit.types import Interval

__all__ = ["Baseline", "mean_of"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Cells = Sequence[Sequence[float | None]]


def mean_of(cells: Cells, *, seed: int) -> Interval:
    """Mean of `cells` (rows × images) that are defined, with its interval.

    One row: a bootstrap over images. Several: rows crossed with images.
    """
    if len(cells) == 1:
        return bootstrap_mean([value for value in cells[0] if value is not None], seed=seed)
    return crossed_bootstrap_mean(_table(cells), seed=seed)


class Baseline:
    """The null of one method and similarity, from which the distances of steps are measured.

    cells: N, similarities of the maps of two random models, pairs × images; `pairs` are the
    places of the two models among `seeds`.

    Pigeonhole bootstrap (Owen 2007): seeds and images are drawn with replacement, from PCG64(seed)
    in this order, and a cell of a step counts `u_s w_i` times, a null pair `u_s u_t w_i` times;
    samples in which no two different seeds remain say nothing of the null and are left out. Six
    seeds and six images must have a defined pair: fewer give no interval, of the null or of a
    distance.
    """

    def __init__(
        self,
        cells: Cells,
        pairs: Sequence[tuple[int, int]],
        *,
        seeds: int,
        seed: int,
        resamples: int = RESAMPLES,
        level: float = LEVEL,
    ) -> None:
        self._table = _table(cells)
        self._mean = _mean(self._table)
        self._tails = [(1 - level) / 2, (1 + level) / 2]
        self._counts: tuple[Array, Array] | None = None
        if self._mean is None:  # with one seed there are no pairs
            return
        defined = np.isfinite(self._table)
        ends = np.array(pairs, dtype=np.int64)
        taking_part = len(np.unique(ends[defined.any(axis=1)]))
        if min(taking_part, defined.any(axis=0).sum()) >= MINIMUM:
            u, w = self._counts = _counts(seed, seeds, self._table.shape[1], resamples)
            first, second = ends.T
            self._means = _weighted(self._table, u[:, first] * u[:, second], w)

    @property
    def interval(self) -> Interval:
        """The null's own mean."""
        n = int(np.isfinite(self._table).sum())
        if self._counts is None or self._mean is None:
            return _interval(n, self._mean)
        good = self._means[np.isfinite(self._means)]
        return _interval(n, self._mean, np.quantile(good, self._tails))

    def distance(self, cells: Cells) -> Interval:
        """`mean S − mean N` of similarities S to the original map, seeds × images.

        None is an undefined cell, which is left out; `n` counts the others. With fewer than six
        seeds or images that have a defined cell there is no interval.
        """
        S = _table(cells)
        mean, n = _mean(S), int(np.isfinite(S).sum())
        if mean is None or self._mean is None:
            return _interval(n, None)
        defined = np.isfinite(S)
        if self._counts is None or min(defined.any(1).sum(), defined.any(0).sum()) < MINIMUM:
            return _interval(n, mean - self._mean)
        differences = _weighted(S, *self._counts) - self._means
        good = differences[np.isfinite(differences)]
        return _interval(n, mean - self._mean, np.quantile(good, self._tails))


@lru_cache(maxsize=4)
def _counts(seed: int, seeds: int, images: int, resamples: int) -> tuple[Array, Array]:
    """How often each seed and each image is drawn, resamples × seeds and resamples × images."""
    rng = np.random.default_rng(seed)
    u, w = (
        rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(np.float64)
        for size in (seeds, images)
    )
    return u, w


def _table(cells: Cells) -> Array:
    return np.array(
        [[math.nan if value is None else value for value in row] for row in cells],
        dtype=np.float64,
    )


def _mean(table: Array) -> float | None:
    defined = table[np.isfinite(table)]
    return math.fsum(defined.tolist()) / len(defined) if len(defined) else None


def _weighted(table: Array, rows: Array, columns: Array) -> Array:
    """Weighted means of the defined cells, one a resample; NaN where no cell is left."""
    defined = np.isfinite(table)
    totals = ((rows @ np.where(defined, table, 0.0)) * columns).sum(axis=1)
    counts = ((rows @ defined.astype(np.float64)) * columns).sum(axis=1)
    return np.where(counts > 0, totals / np.where(counts > 0, counts, 1), math.nan)


def _interval(count: int, mean: float | None, ends: Array | None = None) -> Interval:
    if mean is None or ends is None:
        return Interval(n=count, mean=mean, ci_low=None, ci_high=None, std=None)
    low, high = min(float(ends[0]), mean), max(float(ends[1]), mean)
    return Interval(n=count, mean=mean, ci_low=low, ci_high=high, std=None)
