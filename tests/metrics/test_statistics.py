"""The bootstrap against scipy's, its coverage, and its small samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from camaudit.metrics.statistics import bootstrap_mean, crossed_bootstrap_mean


def test_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    ours = bootstrap_mean(list(values), seed=0)
    peer = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.ci_low == pytest.approx(peer.low, abs=0.02)
    assert ours.ci_high == pytest.approx(peer.high, abs=0.02)
    assert ours.mean == pytest.approx(float(values.mean()), rel=1e-12)
    assert ours.std == pytest.approx(float(values.std(ddof=1)), rel=1e-12)


def test_coverage_is_near_the_nominal_level() -> None:
    """400 samples of 30 from a known mean: 95 % intervals cover it in 90-98 % of cases."""
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(400):
        interval = bootstrap_mean(list(rng.normal(1.0, 1.0, size=30)), seed=seed, resamples=1000)
        assert interval.ci_low is not None
        assert interval.ci_high is not None
        hits += interval.ci_low <= 1.0 <= interval.ci_high
    assert 0.90 <= hits / 400 <= 0.98


def test_the_seed_decides() -> None:
    values = [0.1, 0.5, 0.2, 0.9, 0.4, 0.3]
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1, resamples=50) != bootstrap_mean(
        values, seed=2, resamples=50
    )


@given(values=st.lists(st.floats(0, 1), min_size=6, max_size=14))
def test_the_interval_holds_the_mean_and_stays_in_the_range(values: list[float]) -> None:
    interval = bootstrap_mean(values, seed=0, resamples=200)
    assert interval.ci_low is not None
    assert interval.ci_high is not None
    assert interval.mean is not None
    assert interval.ci_low <= interval.mean <= interval.ci_high
    assert min(values) - 1e-12 <= interval.ci_low
    assert interval.ci_high <= max(values) + 1e-12


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_values_have_no_interval(n: int) -> None:
    """A 95 % percentile interval of 2 values would hold the mean in half of all samples."""
    interval = bootstrap_mean([0.1 * k for k in range(n)], seed=0)
    assert (interval.n, interval.ci_low, interval.ci_high) == (n, None, None)
    assert interval.mean == pytest.approx(0.05 * (n - 1))
    assert interval.std is not None
    assert bootstrap_mean([0.1 * k for k in range(6)], seed=0).ci_low is not None


def test_no_value_is_undefined_and_one_value_has_no_interval() -> None:
    empty = bootstrap_mean([], seed=0)
    assert (empty.n, empty.mean, empty.ci_low, empty.std) == (0, None, None, None)
    single = bootstrap_mean([0.3], seed=0)
    assert (single.n, single.mean, single.ci_low, single.ci_high) == (1, 0.3, None, None)


def test_all_zero_values_are_exactly_zero() -> None:
    interval = bootstrap_mean([0.0] * 6, seed=0)
    assert (interval.mean, interval.ci_low, interval.ci_high, interval.std) == (0, 0, 0, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_undefined_values_may_not_enter_a_mean(bad: float) -> None:
    with pytest.raises(ValueError, match="expected finite values"):
        bootstrap_mean([0.1, bad], seed=0)


# --- networks crossed with images -----------------------------------------------------------------


def literal_pigeonhole(table: np.ndarray, seed: int, resamples: int) -> list[float]:
    """Means of resamples, one loop a cell, from the same draws."""
    rng = np.random.default_rng(seed)
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), size=resamples) for n in table.shape)
    means = []
    for r, c in zip(rows, columns, strict=True):
        total = count = 0.0
        for i in range(table.shape[0]):
            for j in range(table.shape[1]):
                if not np.isnan(table[i, j]):
                    total += r[i] * c[j] * table[i, j]
                    count += r[i] * c[j]
        if count:
            means.append(total / count)
    return means


def test_the_crossed_bootstrap_is_the_literal_one() -> None:
    table = np.random.default_rng(3).random((7, 6))
    table[0, 0] = table[3, 4] = np.nan
    found = crossed_bootstrap_mean(table, seed=5, resamples=300)
    means = literal_pigeonhole(table, 5, 300)
    assert found.n == 40
    assert found.mean == pytest.approx(np.nanmean(table), rel=1e-12)
    assert found.std == pytest.approx(np.nanstd(table, ddof=1), rel=1e-12)
    assert (found.ci_low, found.ci_high) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), rel=1e-12
    )


def test_the_crossed_interval_tells_of_rows_and_of_columns() -> None:
    """A table whose cells differ by row alone is as uncertain as its rows are few."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=8)
    table = np.repeat(effects[:, None], 50, axis=1)
    crossed = crossed_bootstrap_mean(table, seed=0)
    alone = bootstrap_mean(effects.tolist(), seed=0)
    cells = bootstrap_mean(table.flatten().tolist(), seed=0)
    assert crossed.ci_low is not None and crossed.ci_high is not None  # noqa: PT018
    width = crossed.ci_high - crossed.ci_low
    assert width == pytest.approx((alone.ci_high or 0) - (alone.ci_low or 0), rel=0.1)
    assert width > 5 * ((cells.ci_high or 0) - (cells.ci_low or 0))


def test_the_crossed_interval_covers_the_mean() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        table = 3 + rng.normal(size=(10, 1)) + rng.normal(size=(1, 8)) + rng.normal(size=(10, 8))
        found = crossed_bootstrap_mean(table, seed=trial, resamples=1000)
        covered += (found.ci_low or 0) <= 3 <= (found.ci_high or 0)
    assert covered >= 0.87 * 200


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 1)])
def test_few_rows_or_columns_have_no_interval(shape: tuple[int, int]) -> None:
    found = crossed_bootstrap_mean(np.ones(shape), seed=0)
    assert (found.mean, found.ci_low, found.ci_high) == (1.0, None, None)


def test_a_crossed_table_without_values_has_no_mean() -> None:
    found = crossed_bootstrap_mean(np.full((8, 8), np.nan), seed=0)
    assert (found.n, found.mean, found.ci_low) == (0, None, None)
    with pytest.raises(ValueError, match="finite"):
        crossed_bootstrap_mean([[np.inf]], seed=0)
    with pytest.raises(ValueError, match="table"):
        crossed_bootstrap_mean([1.0], seed=0)


def test_draws_in_parts_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(77).tolist()
    whole = bootstrap_mean(values, seed=3)
    monkeypatch.setattr("camaudit.metrics.statistics._CHUNK", 1000)
    assert bootstrap_mean(values, seed=3) == whole
