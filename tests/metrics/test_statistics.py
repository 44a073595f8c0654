"""The bootstrap against scipy's, its coverage, and its small samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from camaudit.metrics.statistics import bootstrap_mean


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
