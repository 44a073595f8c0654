"""Means with seeded bootstrap intervals; the unit is the image, or networks crossed with images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from camaudit.types import Interval

__all__ = ["LEVEL", "MINIMUM", "RESAMPLES", "bootstrap_mean", "crossed_bootstrap_mean"]

RESAMPLES = 10_000
LEVEL = 0.95
MINIMUM = 6  #: values below which no interval is given

_CHUNK = 2**21  # draws that are held at once; the stream is the same however it is parted


def bootstrap_mean(
    values: Sequence[float], *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Mean with a percentile bootstrap interval (Efron 1979) over `values`.

    `resamples` samples of the same size are drawn with replacement from PCG64(seed); the ends are
    the (1 ∓ level)/2 quantiles of their means. Such intervals are too narrow for few values: on
    normal data a 95 % one covers the mean in 52 % of samples of 2, 87 % of 6, 91 % of 20. Below
    :data:`MINIMUM` values there is therefore no interval, below 2 no deviation, and without values
    no mean either: None. A value that is not finite raises ValueError, for undefined figures must
    be counted before they get here.
    """
    n = len(values)
    sample = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sample).all():
        raise ValueError(f"expected finite values, got {values!r}: count undefined ones apart")
    if n == 0:
        return Interval(n=0, mean=None, ci_low=None, ci_high=None, std=None)
    mean = math.fsum(values) / n
    std = float(sample.std(ddof=1)) if n > 1 else None
    if n < MINIMUM:
        return Interval(n=n, mean=mean, ci_low=None, ci_high=None, std=std)
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // n)
    means = np.concatenate(
        [
            sample[rng.integers(n, size=(min(step, resamples - start), n))].mean(axis=1)
            for start in range(0, resamples, step)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        n=n,
        mean=mean,
        ci_low=min(float(low), mean),
        ci_high=max(float(high), mean),
        std=std,
    )


def crossed_bootstrap_mean(
    values: ArrayLike, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Mean over random networks (rows) crossed with images (columns), with its interval.

    The pigeonhole bootstrap (Owen 2007, *The pigeonhole bootstrap*): rows and columns are drawn
    with replacement independently of each other from PCG64(seed), and a cell counts as often as
    its row times its column. The interval then tells of other networks *and* other images; for
    one crossed mean it is not too narrow. NaN marks an undefined cell, which is left out; `n` and
    `std` are of the defined ones. With fewer than :data:`MINIMUM` rows or columns there is no
    interval. Raises ValueError for infinite values or anything but a table.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or np.isinf(table).any():
        raise ValueError(f"expected a table of finite values or NaN, got shape {table.shape}")
    defined = np.isfinite(table)
    sample = table[defined]
    n = len(sample)
    if n == 0:
        return Interval(n=0, mean=None, ci_low=None, ci_high=None, std=None)
    mean = math.fsum(sample.tolist()) / n
    std = float(sample.std(ddof=1)) if n > 1 else None
    if min(defined.any(axis=1).sum(), defined.any(axis=0).sum()) < MINIMUM:
        return Interval(n=n, mean=mean, ci_low=None, ci_high=None, std=std)
    rng = np.random.default_rng(seed)
    rows, columns = (
        rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        for count in table.shape
    )
    totals = np.einsum("ri,ij,rj->r", rows, np.where(defined, table, 0.0), columns, optimize=True)
    counts = np.einsum("ri,ij,rj->r", rows, defined.astype(np.float64), columns, optimize=True)
    means = totals[counts > 0] / counts[counts > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        n=n, mean=mean, ci_low=min(float(low), mean), ci_high=max(float(high), mean), std=std
    )
