"""Methods compared on the same images: paired differences, ranks, and whether metrics agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from camaudit.metrics.concordance import (
    concordance,
    kendall_taus,
    kendalls_p,
    kendalls_w,
    placed,
)
from camaudit.metrics.estimates import ALPHA, LEVEL, MINIMUM, holm
from camaudit.metrics.paired import ALIKE, PairTests, draws_of, exact_means, tested
from camaudit.metrics.registry import Direction
from camaudit.metrics.tables import (
    Values,
    enough,
    often_defined,
    sign_of,
    table_of,
    tables_of,
)

__all__ = [
    "Agreement",
    "MetricPair",
    "Outcome",
    "PairedDifference",
    "Rank",
    "Ranking",
    "agreement",
    "compare",
    "kendall_taus",
    "kendalls_p",
    "kendalls_w",
    "ranks",
]

Outcome = Literal["better", "worse", "inconclusive", "equal", "not applicable"]
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Two methods on the images on which both have a value.

    n: how many these are; excluded: how many others there are. difference: the mean of `first` −
    `second`, with its 95 % interval low to high by itself. p: two-sided, raw; adjusted: by Holm
    over all pairs. outcome: whether `first` is better or worse than `second` at 5 % after the
    adjustment. What is undefined is None: all but n and excluded without an image, interval and
    p-values with fewer than MINIMUM, the interval where all differences are the same number.
    """

    first: str
    second: str
    n: int
    excluded: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a method by its mean, 1 for the best; equal means share the mean place.

    low, high: places that the images leave open at 95 %. first: share of the resamples in which
    its mean is the best, shared among equals; it is no probability that it is the best. All three
    are None with fewer than MINIMUM images.
    """

    method: str
    mean: float
    rank: float
    low: int | None = None
    high: int | None = None
    first: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The ranks of all methods on the same `n` images.

    excluded: images on which one of them has no value. left_out: methods with a value on fewer
    than half of the images on which any method has one. reason: what is undefined and why, or "".
    """

    n: int
    excluded: int
    left_out: tuple[str, ...]
    ranks: tuple[Rank, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class MetricPair:
    """How much two metrics agree on the order of the methods: Kendall's τ_b, in [−1, 1]."""

    first: str
    second: str
    tau: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Whether several metrics rank the methods alike: Kendall's W in [0, 1], with its interval.

    ranks: one row a metric, one column a method. images: of each metric, those on which all
    methods have a value. p: of the permutation test that the metrics rank independently of each
    other. left_out: methods as in :class:`Ranking` by any metric, or unknown to one;
    metrics_left_out: those without an image to rank on. reason: what is undefined and why, or "".
    """

    metrics: tuple[str, ...]
    methods: tuple[str, ...]
    images: tuple[int, ...]
    ranks: tuple[tuple[float, ...], ...]
    left_out: tuple[str, ...]
    metrics_left_out: tuple[str, ...]
    w: float | None
    p: float | None
    pairs: tuple[MetricPair, ...]
    low: float | None = None
    high: float | None = None
    reason: str = ""


def compare(
    values: Values,
    *,
    direction: Direction,
    seed: int,
    resamples: int | None = None,
    widest: float = math.inf,
) -> list[PairedDifference]:
    """Every pair of methods by the paired studentised bootstrap, with Holm's correction.

    `values` has one figure an image of each method, None where it is undefined; a pair is compared
    on the images on which both have one, by :func:`camaudit.metrics.estimates.estimate` on the
    differences (same seed, same resamples, same interval), and p = 2·min(p_below, p_above), but no
    less than the 2/2ᵏ of a sign test, with k images on which the two differ: on few of those a
    bootstrap finds too much. Where all differences are the same number there is nothing to
    resample: equal if it is 0, with p = 1, else p = 2/2ⁿ. Methods are paired in their order.
    `resamples` is by default as many as the number of pairs asks for. `widest` is the largest
    difference that can be, 1 for two shares: no mean lies beyond it, so intervals end there.

    One method gives no pair. Raises UsageError for values that are infinite or not of one length,
    no methods, no images, no direction, or fewer than 39 resamples.
    """
    methods, table = table_of(values, direction)
    pairs = list(combinations(range(len(methods)), 2))
    tests = tested(table, pairs, seed=seed, resamples=enough(resamples, len(pairs)))
    applicable = [place for place, p in enumerate(tests.p) if not math.isnan(p)]
    adjusted = dict(zip(applicable, holm([float(tests.p[i]) for i in applicable]), strict=True))
    tests = replace(tests, low=np.maximum(tests.low, -widest), high=np.minimum(tests.high, widest))
    return [
        _paired(methods[i], methods[j], tests, place, adjusted.get(place), direction=direction)
        for place, (i, j) in enumerate(pairs)
    ]


def ranks(
    values: Values, *, direction: Direction, seed: int, resamples: int | None = None
) -> Ranking:
    """The methods by their means over the images on which all of them have a value.

    The interval of a rank counts who is shown better or worse: 1 + #{better} … m − #{worse}, each
    by the paired studentised bootstrap of :func:`compare` at 5 %, with Holm's correction over the
    method's m − 1 comparisons (Klein, Wright & Wieczorek 2020; Mogstad, Romano, Shaikh & Wilhelm
    2024, *Inference for ranks*). It holds the true rank with 95 %, also among near equals, where
    quantiles of resampled ranks do not: with thirteen methods that hardly differ, these hold the
    rank of the best in half of all samples. `resamples` as in :func:`compare`.

    Raises UsageError as :func:`compare` does.
    """
    methods, table = table_of(values, direction)
    keep = often_defined(table)
    left_out = tuple(name for name, kept in zip(methods, keep, strict=True) if not kept)
    methods, table = [name for name in methods if name not in left_out], table[keep]
    common = np.isfinite(table).all(axis=0)
    n, excluded = int(common.sum()), int((~common).sum())
    made = Ranking(n=n, excluded=excluded, left_out=left_out, ranks=(), reason="")
    if len(methods) < 2 or not n:
        reason = f"{len(methods)} methods with {n} common images: there is nothing to rank"
        return replace(made, reason=reason)
    sign = sign_of(direction)
    table = sign * table[:, common]
    found = [
        Rank(method=name, mean=sign * mean + 0.0, rank=place)
        for name, mean, place in zip(methods, exact_means(table).tolist(), _row(table), strict=True)
    ]
    if n < MINIMUM:
        reason = f"{n} images: fewer than {MINIMUM} give no interval"
        return replace(made, ranks=tuple(found), reason=reason)
    resamples = enough(resamples, len(methods) - 1)
    bounds = _bounds(table, seed=seed, resamples=resamples)
    firsts = _firsts(table, seed=seed, resamples=resamples)
    return replace(
        made,
        ranks=tuple(
            replace(one, low=low, high=high, first=first)
            for one, (low, high), first in zip(found, bounds, firsts, strict=True)
        ),
    )


def agreement(
    values: Mapping[str, Values],
    *,
    directions: Mapping[str, Direction],
    seed: int,
    resamples: int | None = None,
) -> Agreement:
    """Whether the metrics rank the methods alike, and how sure the images make of it.

    `values` has the :func:`compare` values of each metric, of the same images in the same order.
    Each metric ranks the methods by their means over the images on which all of them have a value
    by it; W, its p-value and the τ_b are of these ranks. The interval of W is between the 2.5 % and
    97.5 % quantiles of the W of resamples, in which the images are drawn from PCG64(seed) for all
    metrics at once, and reaches to W itself. Where the methods are told apart it holds the W of all
    images with 95 % or more. Where they differ by less than the images can show it is too narrow,
    for noise moves W: by simulation it holds it in 87 % of samples where neighbours are 0.8
    standard errors apart, in half where they are 0.15. See whether :func:`compare` tells any apart.

    Raises UsageError as :func:`compare` does, or where metrics have other images.
    """
    tables, methods, left_out = tables_of(values, directions)
    commons = {name: np.isfinite(table).all(axis=0) for name, table in tables.items()}
    kept = [name for name in tables if methods and commons[name].any()]
    rows = [_row(tables[name][:, commons[name]]) for name in kept]
    made = Agreement(
        metrics=tuple(kept),
        methods=tuple(methods),
        images=tuple(int(commons[name].sum()) for name in kept),
        ranks=tuple(tuple(row) for row in rows),
        left_out=tuple(left_out),
        metrics_left_out=tuple(name for name in tables if name not in kept),
        w=kendalls_w(rows) if rows else None,
        p=kendalls_p(rows, seed=seed) if rows else None,
        pairs=_metric_pairs(kept, rows),
    )
    resamples = enough(resamples, 1)
    if made.w is None:
        reason = f"{len(kept)} metrics rank {len(methods)} methods: W needs two of each, and no tie"
        return replace(made, reason=f"{reason} of all")
    if min(made.images) < MINIMUM:
        reason = f"a metric has {min(made.images)} images: fewer than {MINIMUM} give no interval"
        return replace(made, reason=reason)
    again = _resampled([tables[name] for name in kept], seed=seed, resamples=resamples)
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return replace(made, low=min(float(low), made.w), high=max(float(high), made.w))


def _row(table: Array) -> list[float]:
    """The ranks of methods × images by their means, 1 for the greatest."""
    ranked: list[float] = placed(exact_means(table), _near(table)).tolist()
    return ranked


def _metric_pairs(metrics: Sequence[str], rows: list[list[float]]) -> tuple[MetricPair, ...]:
    taus = kendall_taus(rows) if rows else []
    return tuple(
        MetricPair(first=metrics[i], second=metrics[j], tau=taus[i][j])
        for i, j in combinations(range(len(metrics)), 2)
    )


def _paired(
    first: str, second: str, tests: PairTests, place: int, adjusted: float | None, *,
    direction: Direction,
) -> PairedDifference:  # fmt: skip
    n = int(tests.n[place])
    difference, low, high, p = (
        None if math.isnan(x[place]) else float(x[place])
        for x in (tests.difference, tests.low, tests.high, tests.p)
    )
    outcome: Outcome = "inconclusive"
    if difference is None or p is None or adjusted is None:
        outcome = "not applicable"
        reason = f"{n} common images: fewer than {MINIMUM} decide nothing"
    elif difference == 0 and low is None:
        outcome, reason = "equal", "alike on every image"
    elif adjusted <= 2 * ALPHA + ALIKE:
        outcome = "better" if sign_of(direction) * difference > 0 else "worse"
        reason = f"shown after Holm's correction (p = {adjusted:.2g})"
    elif p <= 2 * ALPHA + ALIKE:
        reason = "by itself it would be shown, but not after Holm's correction"
    else:
        reason = "the images do not tell which is better"
    return PairedDifference(
        first=first, second=second, n=n, excluded=tests.images - n, difference=difference,
        low=low, high=high, p=p, adjusted=adjusted, outcome=outcome, reason=reason,
    )  # fmt: skip


def _bounds(table: Array, *, seed: int, resamples: int) -> list[tuple[int, int]]:
    """The least and the greatest rank of each row that its comparisons leave open."""
    m = len(table)
    pairs = list(combinations(range(m), 2))
    tests = tested(table, pairs, seed=seed, resamples=resamples)
    found = []
    for i in range(m):
        mine = [place for place, pair in enumerate(pairs) if i in pair]
        shown = np.array(holm(tests.p[mine].tolist())) <= 2 * ALPHA + ALIKE
        ahead = [tests.difference[place] * (1 if pairs[place][0] == i else -1) for place in mine]
        better, worse = (int((shown & (sign * np.array(ahead) < 0)).sum()) for sign in (1, -1))
        found.append((1 + better, m - worse))
    return found


def _firsts(table: Array, *, seed: int, resamples: int) -> list[float]:
    """In which share of the resamples each row has the greatest mean, shared among equals."""
    tolerance = _near(table)
    totals = np.zeros(len(table))
    for drawn in draws_of(table.shape[1], seed=seed, resamples=resamples):
        means = _weighted(table, drawn)
        best = means >= means.max(axis=1, keepdims=True) - tolerance
        totals += (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
    shares: list[float] = (totals / resamples).tolist()
    return shares


def _resampled(tables: Sequence[Array], *, seed: int, resamples: int) -> Array:
    """W of the metrics' ranks in each resample of the images, but for those that define none."""
    methods, n = tables[0].shape
    commons = [np.isfinite(table).all(axis=0) for table in tables]
    known = [table[:, common] for table, common in zip(tables, commons, strict=True)]
    found: list[Array] = []
    for drawn in draws_of(n, seed=seed, resamples=resamples, each=len(tables) * methods**2):
        weights = [drawn[:, common] for common in commons]
        drawn_all = np.all([weight.any(axis=1) for weight in weights], axis=0)
        rows = [
            placed(
                weight[drawn_all] @ table.T / weight[drawn_all].sum(axis=1)[:, None], _near(table)
            )
            for weight, table in zip(weights, known, strict=True)
        ]
        again = concordance(np.stack(rows, axis=1))
        found.append(again[np.isfinite(again)])
    return np.concatenate(found)


def _weighted(table: Array, drawn: Array) -> Array:
    """The means of methods × images in resamples × images, resamples × methods."""
    means: Array = drawn @ table.T / drawn.sum(axis=1, keepdims=True)
    return means


def _near(table: Array) -> float:
    """By how much equal means of these values can differ by rounding."""
    return ALIKE * float(np.abs(table).max())
