"""Whether raters order things alike: ranks with ties, Kendall's W and Kendall's τ_b."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from camaudit.errors import UsageError
from camaudit.metrics.paired import parts

__all__ = ["concordance", "kendall_taus", "kendalls_p", "kendalls_w", "placed"]

_CLOSE = 1e-9  # what rounding can do to W
_PERMUTATIONS = 9_999

Array = np.ndarray[Any, np.dtype[np.float64]]


def kendalls_w(rows: ArrayLike) -> float | None:
    """Kendall's coefficient of concordance, corrected for ties (Kendall & Babington Smith 1939).

    W = 12·S / (k²(n³ − n) − k·ΣT), for k raters (rows) of n things (columns): S is the sum of
    squares of the columns' rank sums about their mean, T the sum of t³ − t over a row's groups of
    t ties. In [0, 1]; 1 where all rank alike. Rows may hold ranks or values, which are ranked.
    None for fewer than two rows or columns, or where every row is one tie. Raises UsageError for
    anything but a table of finite numbers.
    """
    table = _finite(rows)
    if min(table.shape) < 2:
        return None
    found = float(concordance(placed(-table, 0.0)))
    return None if math.isnan(found) else found


def kendalls_p(rows: ArrayLike, *, seed: int, permutations: int = _PERMUTATIONS) -> float | None:
    """How often raters that rank independently of each other agree as much: permutation test.

    Every row is permuted by itself, from PCG64(seed): p = (1 + #{W* ≥ W})/(permutations + 1). None
    where :func:`kendalls_w` is. Metrics of the same images share their noise, so that a small p
    shows agreement on these images rather than on all images.
    """
    found = kendalls_w(rows)
    if found is None:
        return None
    orders = placed(-_finite(rows), 0.0)
    rng, as_much = np.random.default_rng(seed), 0
    for size in parts(permutations, orders.size):
        drawn = rng.permuted(np.broadcast_to(orders, (size, *orders.shape)), axis=2)
        as_much += int((concordance(drawn) >= found - _CLOSE).sum())
    return (1 + as_much) / (permutations + 1)


def kendall_taus(rows: ArrayLike) -> list[list[float | None]]:
    """Kendall's τ_b between every two rows (Kendall 1945), as a symmetric table.

    τ_b = Σ sgn(xᵢ − xⱼ)·sgn(yᵢ − yⱼ) / √(#{xᵢ ≠ xⱼ}·#{yᵢ ≠ yⱼ}) over the pairs i < j, in [−1, 1];
    None where one of the rows is one tie. Raises UsageError as :func:`kendalls_w` does.
    """
    table = _finite(rows)
    one, other = np.triu_indices(table.shape[1], k=1)
    signs = np.sign(table[:, one] - table[:, other])
    untied = (signs != 0).sum(axis=1)
    lengths = np.sqrt(np.outer(untied, untied))
    products = signs @ signs.T
    return [
        [float(p / length) if length else None for p, length in zip(*row, strict=True)]
        for row in zip(products, lengths, strict=True)
    ]


def _finite(rows: ArrayLike) -> Array:
    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise UsageError(
            f"expected a table of finite numbers, raters by things, got shape {table.shape}: leave "
            "out what some rater does not rank"
        )
    return table


def placed(scores: Array, tolerance: float | Array) -> Array:
    """Ranks along the last axis, 1 for the greatest; those within `tolerance` share the mean."""
    gaps = scores[..., None, :] - scores[..., :, None]
    above, below = (gaps > tolerance).sum(axis=-1), (gaps < -np.asarray(tolerance)).sum(axis=-1)
    middle: Array = (above - below + scores.shape[-1] + 1) / 2
    return middle


def concordance(orders: Array) -> Array:
    """W of ranks, ... × raters × things; NaN where every rater's row is one tie."""
    k, n = orders.shape[-2:]
    sums = ((orders.sum(axis=-2) - k * (n + 1) / 2) ** 2).sum(axis=-1)
    # n³ − n − T of a row is twelve times its ranks' squares about their mean
    spread = ((orders - (n + 1) / 2) ** 2).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(sums / (k * spread), 0.0, 1.0))
