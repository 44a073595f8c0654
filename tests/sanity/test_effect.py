"""Distances from the null: an interval needs seeds and images on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from camaudit.sanity.effect import Baseline
from camaudit.sanity.null import null_pairs

SEEDS, IMAGES = 7, 8
PAIRS = null_pairs(SEEDS)


def table(rows: int, *, defined: np.ndarray | None = None) -> list[list[float | None]]:
    """Drawn similarities (rows × images), None where they are not defined."""
    values = np.random.default_rng(rows).uniform(0, 1, (rows, IMAGES))
    kept = np.ones(values.shape, dtype=bool) if defined is None else defined
    return [
        [float(v) if keep else None for v, keep in zip(row, keeps, strict=True)]
        for row, keeps in zip(values, kept, strict=True)
    ]


def pairs_of(seeds: int) -> np.ndarray:
    """Which pairs lie among the first `seeds` seeds (pairs × 1)."""
    return np.array([[second < seeds] for _, second in PAIRS])


@pytest.mark.parametrize(
    ("seeds", "images", "there"),
    [(7, 8, True), (6, 6, True), (6, 5, False), (5, 8, False), (2, 1, False)],
)
def test_an_interval_needs_six_seeds_and_images_in_the_null(
    seeds: int, images: int, there: bool
) -> None:
    defined = pairs_of(seeds) & (np.arange(IMAGES) < images)
    null = table(len(PAIRS), defined=defined)
    base = Baseline(null, PAIRS, seeds=SEEDS, seed=0)
    distance = base.distance(table(SEEDS))
    for found in (base.interval, distance):
        assert found.mean is not None
        assert (found.ci_low is not None) == (found.ci_high is not None) == there
    assert base.interval.n == int(defined.sum())


def test_without_a_null_there_is_no_distance() -> None:
    empty = table(len(PAIRS), defined=np.zeros((len(PAIRS), IMAGES), dtype=bool))
    base = Baseline(empty, PAIRS, seeds=SEEDS, seed=0)
    assert base.interval.mean is None
    assert base.distance(table(SEEDS)).mean is None
