"""Tests and intervals of a mean: the studentised bootstrap, Holm's correction, images to come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from camaudit.metrics.statistics import MINIMUM

__all__ = [
    "ALPHA",
    "LEVEL",
    "MINIMUM",
    "MOST_MORE",
    "POWER",
    "Estimate",
    "estimate",
    "holm",
    "more_images",
    "resamples_for",
]

LEVEL = 0.95  #: of the two-sided interval
ALPHA = 0.025  #: of each of the two one-sided tests, which is what lies beyond one end of it
POWER = 0.8  #: with which so many more images would decide
MOST_MORE = 10_000  #: beyond this many more images no number is given

_RESAMPLES = 9_999  # ALPHA · (resamples + 1) is whole, so that interval and test agree
_STEP = 40  # the fewest resamples + 1 for which it is
_SMALLEST = 0.2  # of the sample's standard error, below which no resample's is taken
_ALIKE = 1e-12  # values that differ by less, in units of the largest, are the same number
_CHUNK = 2**22  # drawn counts that are held at once

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, and p-values against 0 from the same resamples.

    units: the fewer of rows and columns with a value, a single row not counted; rows, columns: how
    many there are. p_below is the p-value of "the mean is 0 or more", so a small one shows a mean
    below 0; p_above the reverse. exact: all values are the same number, so that nothing is left to
    estimate. low, high and the p-values are None where it is exact or there are fewer than MINIMUM
    units. row_error and column_error are standard errors by rows and by columns.
    """

    n: int
    units: int
    columns: int
    mean: float | None
    rows: int = 1
    low: float | None = None
    high: float | None = None
    p_below: float | None = None
    p_above: float | None = None
    exact: bool = False
    row_error: float = 0.0
    column_error: float = 0.0


def resamples_for(tests: int) -> int:
    """How many resamples let the smallest p-value, times `tests`, stay well below ALPHA."""
    enough = max(_RESAMPLES + 1, 5 * _STEP * tests)
    return math.ceil(enough / _STEP) * _STEP - 1


def estimate(values: ArrayLike, *, seed: int, resamples: int = _RESAMPLES) -> Estimate:
    """The mean of `values` by the studentised bootstrap (Efron 1981; Hall 1988).

    `values` is a list of one value an image, or a table of random models (rows) crossed with
    images (columns); NaN is an undefined one and is left out. Images, and rows where there are
    several, are drawn with replacement independently of each other from PCG64(seed). With m the
    mean and e its standard error, t* = (m* − m)/e* is computed in each resample, and the interval
    is m − t*₍₀.₉₇₅₎·e … m − t*₍₀.₀₂₅₎·e. The p-values are (1 + #{t* ≤ m/e})/(resamples + 1) and the
    same with ≥, so that an end of the interval and its test always agree.

    e* is never taken smaller than a fifth of e: where nearly all values are alike a resample can
    miss the others, and its e* = 0 would make the interval endless. A fifth is what a Poisson
    count of one asks for. Raises ValueError for infinite values.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or np.isinf(table).any():
        raise ValueError(f"expected a table of finite values or NaN, got shape {table.shape}")
    defined = np.isfinite(table)
    table = table[defined.any(axis=1)][:, defined.any(axis=0)]
    sample = table[np.isfinite(table)]
    if not len(sample):
        return Estimate(n=0, units=0, columns=0, mean=None)
    mean = math.fsum(sample.tolist()) / len(sample)
    rows, columns = table.shape
    units = columns if len(defined) == 1 else min(rows, columns)
    known = {"n": len(sample), "units": units, "columns": columns, "rows": rows}
    if np.ptp(sample) <= _ALIKE * max(1.0, float(np.abs(sample).max())):
        return Estimate(**known, mean=0.0 if abs(mean) <= _ALIKE else mean, exact=True)
    if units < MINIMUM:
        return Estimate(**known, mean=mean)
    crossed = _Crossed(table, mean)
    ratios = crossed.ratios(np.random.default_rng(seed), resamples)
    count = len(ratios)
    tail = max(1, int(ALPHA * (count + 1) + 1e-9))
    ratios.sort()
    ratio = mean / crossed.error
    return Estimate(
        **known,
        mean=mean,
        low=mean - float(ratios[count - tail]) * crossed.error,
        high=mean - float(ratios[tail - 1]) * crossed.error,
        p_below=(1 + int((ratios <= ratio).sum())) / (count + 1),
        p_above=(1 + int((ratios >= ratio).sum())) / (count + 1),
        row_error=crossed.errors[0],
        column_error=crossed.errors[1],
    )


class _Crossed:
    """A table with the standard error of its mean, and the t* of resamples of it."""

    def __init__(self, table: Array, mean: float) -> None:
        self._defined = np.isfinite(table).astype(np.float64)
        self._table = np.where(np.isfinite(table), table - mean, 0.0)
        self._shape = table.shape
        _, total, by_row, by_column = self._parts(*(np.ones((1, size)) for size in table.shape))
        self.error = float(total[0])
        self.errors = (math.sqrt(by_row[0]), math.sqrt(by_column[0]))

    def ratios(self, rng: np.random.Generator, resamples: int) -> Array:
        """t* of each resample; those that hold no defined cell say nothing and are left out."""
        step = max(1, _CHUNK // max(self._shape))
        found: list[Array] = []
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            u, w = (_counts(rng, count, size) for count in self._shape)
            means, errors, *_ = self._parts(u, w)
            errors = np.maximum(errors, _SMALLEST * self.error)
            found.append((means / errors)[np.isfinite(means)])
        return np.concatenate(found)

    def _parts(self, u: Array, w: Array) -> tuple[Array, Array, Array, Array]:
        """Means less the sample's mean, their standard errors, variances by rows and by columns.

        The variances are of the linearised ratio (sum of cells)/(number of cells), which matters
        where cells are undefined. Effects of rows and of columns that cancel out leave the
        variance that the cells by themselves give the mean.
        """
        row_sums, row_counts = w @ self._table.T, w @ self._defined.T
        number = (u * row_counts).sum(axis=1)
        squares = (u * (w @ (self._table**2).T)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (u * row_sums).sum(axis=1) / number
            by_cell = np.maximum(squares / number - means**2, 0.0) / number
            if len(self._table) == 1:  # the same as below, without its tables
                by_column = _corrected(self._shape[1]) * by_cell
                return means, np.sqrt(by_column), np.zeros_like(means), by_column
            lost = row_sums - means[:, None] * row_counts
            by_row = _corrected(len(self._table)) * (u * lost**2).sum(axis=1) / number**2
            lost = u @ self._table - means[:, None] * (u @ self._defined)
            by_column = _corrected(self._shape[1]) * (w * lost**2).sum(axis=1) / number**2
            errors = np.sqrt(np.maximum(by_row + by_column, by_cell))
        return means, errors, by_row, by_column


def _counts(rng: np.random.Generator, size: int, resamples: int) -> Array:
    """How often each of `size` is drawn in as many draws with replacement, resamples × size."""
    draws = rng.integers(size, size=(resamples, size))
    draws += size * np.arange(resamples)[:, None]
    counts = np.bincount(draws.ravel(), minlength=resamples * size)
    return counts.reshape(resamples, size).astype(np.float64)


def _corrected(size: int) -> float:
    """Bessel's correction of a variance."""
    return size / (size - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (1979), in the order given.

    Rejecting those at most α keeps the chance of any false rejection at most α, whatever the
    tests have to do with each other.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = running
    return adjusted


def more_images(found: Estimate, *, tests: int) -> int | None:
    """About how many more images would decide at 80 % power, if mean and deviation stay as found.

    (m / (z₁₋α′ + z₀.₈))² is the variance of the mean that is needed, with α′ = ALPHA/`tests`; only
    the part between images falls with their number. None where more than MOST_MORE would be
    needed, or where the random models alone spread too far.
    """
    if found.mean is None or found.low is None or found.mean == 0.0:
        return None
    normal = NormalDist()
    reach = normal.inv_cdf(1 - ALPHA / max(1, tests)) + normal.inv_cdf(POWER)
    allowed = (found.mean / reach) ** 2 - found.row_error**2
    if allowed <= 0:
        return None
    needed = found.columns * found.column_error**2 / allowed
    more = max(1, math.ceil(needed) - found.columns) if needed < 1e9 else MOST_MORE + 1
    return more if more <= MOST_MORE else None
