"""The studentised bootstrap, Holm's correction and the number of images to come."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.metrics.estimates import (
    ALPHA,
    MINIMUM,
    MOST_MORE,
    Estimate,
    estimate,
    holm,
    more_images,
    resamples_for,
)


def drawn(count: int, *, mean: float = 0.0, seed: int = 0) -> list[float]:
    return (np.random.default_rng(seed).normal(size=count) + mean).tolist()


def literal(values: list[float], *, seed: int, resamples: int) -> tuple[float, float, float]:
    """The interval and the p-value of "0 or more", sample by sample, as the book has it."""
    n = len(values)
    mean = sum(values) / n
    error = math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1) / n)
    rng = np.random.default_rng(seed)
    rng.integers(1, size=(resamples, 1))  # the one row, which is drawn first
    ratios = []
    for draw in rng.integers(n, size=(resamples, n)):
        again = [values[place] for place in draw]
        m = sum(again) / n
        e = math.sqrt(sum((x - m) ** 2 for x in again) / (n - 1) / n)
        ratios.append((m - mean) / max(e, error / 5))
    ratios.sort()
    tail = round(ALPHA * (resamples + 1))
    p = (1 + sum(ratio <= mean / error for ratio in ratios)) / (resamples + 1)
    return mean - ratios[-tail] * error, mean - ratios[tail - 1] * error, p


@pytest.mark.parametrize(
    "values", [drawn(12, mean=-0.4), [x**2 for x in drawn(20)], [0.0] * 9 + [1]]
)
def test_it_is_the_literal_studentised_bootstrap(values: list[float]) -> None:
    found = estimate(values, seed=5, resamples=399)
    low, high, p = literal(values, seed=5, resamples=399)
    assert found.low == pytest.approx(low, rel=1e-9)
    assert found.high == pytest.approx(high, rel=1e-9)
    assert found.p_below == pytest.approx(p)
    assert found.mean == pytest.approx(sum(values) / len(values))


def literal_crossed_error(table: list[list[float | None]]) -> float:
    """The standard error of a crossed mean, by rows and by columns."""
    cells = {(i, j): x for i, row in enumerate(table) for j, x in enumerate(row) if x is not None}
    mean, total = sum(cells.values()) / len(cells), 0.0
    for axis, size in ((0, len(table)), (1, len(table[0]))):
        lost = [
            sum(x - mean for place, x in cells.items() if place[axis] == one) for one in range(size)
        ]
        total += size / (size - 1) * sum(x**2 for x in lost) / len(cells) ** 2
    return math.sqrt(total)


def test_the_error_of_a_table_is_of_its_rows_and_its_columns() -> None:
    rng = np.random.default_rng(3)
    table = (rng.normal(size=(7, 1)) + rng.normal(size=(1, 9)) + rng.normal(size=(7, 9))).tolist()
    table[2][3] = table[4][4] = None
    found = estimate(np.array(table, dtype=float), seed=0)
    assert math.hypot(found.row_error, found.column_error) == pytest.approx(
        literal_crossed_error(table)
    )
    assert (found.n, found.units, found.columns) == (61, 7, 9)


def test_rows_that_all_say_the_same_add_nothing() -> None:
    values = drawn(30, mean=0.5)
    one, many = estimate(values, seed=0), estimate([values] * 8, seed=0)
    assert many.row_error == pytest.approx(0, abs=1e-12)
    assert many.column_error == pytest.approx(one.column_error)
    assert many.low == pytest.approx(one.low, abs=0.05)


def test_few_random_models_are_not_taken_for_many() -> None:
    """Where models differ and images do not, six of them decide as six values."""
    six = drawn(6, mean=1.5)
    noise = np.random.default_rng(1).normal(0, 1e-3, (6, 40))
    found = estimate(np.array(six)[:, None] + noise, seed=0)
    alone = estimate(six, seed=0)
    assert found.low == pytest.approx(alone.low, abs=0.3)
    assert found.high == pytest.approx(alone.high, abs=0.3)
    assert found.units == 6


@pytest.mark.long
def test_few_random_models_rarely_mislead() -> None:
    """Six models that differ much, images that do not: each side errs in at most 5 %."""
    wrong = [0, 0]
    for seed in range(400):
        rng = np.random.default_rng([7, seed])
        table = rng.normal(size=(6, 1)) + rng.normal(0, 0.3, (6, 12))
        found = estimate(table, seed=seed, resamples=799)
        assert found.low is not None
        assert found.high is not None
        wrong[0] += found.high < 0
        wrong[1] += found.low > 0
    assert max(wrong) <= 0.05 * 400


@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=20),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.25, -0.5]),
)
def test_interval_and_test_agree(values: list[float], seed: int, bound: float) -> None:
    gaps = [value - bound for value in values]
    found = estimate(gaps, seed=seed, resamples=199)
    if found.exact:
        assert found.p_below is None
        assert np.ptp(gaps) <= 1e-11
        return
    assert found.low is not None
    assert found.high is not None
    assert found.p_below is not None
    assert found.p_above is not None
    assert found.low <= found.high
    # a hair's breadth from 0, rounding decides
    if abs(found.high) > 1e-9:
        assert (found.high < 0) == (found.p_below <= ALPHA)
    if abs(found.low) > 1e-9:
        assert (found.low > 0) == (found.p_above <= ALPHA)
    assert not (found.p_below <= ALPHA and found.p_above <= ALPHA)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=12), st.floats(0.1, 10), st.booleans())
def test_a_change_of_unit_changes_nothing(values: list[float], unit: float, turned: bool) -> None:
    factor = -unit if turned else unit
    one = estimate(values, seed=1, resamples=199)
    other = estimate([factor * value for value in values], seed=1, resamples=199)
    if one.exact or other.exact or one.low is None or other.low is None or one.high is None:
        return
    end = one.high if turned else one.low
    spread = max(abs(value) for value in values)
    assert other.low == pytest.approx(factor * end, rel=1e-6, abs=1e-6 * unit * spread)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    values = drawn(20)
    assert estimate(values, seed=3) == estimate(values, seed=3)
    assert estimate(values, seed=3) != estimate(values, seed=4)


def test_large_samples_are_drawn_in_parts_and_agree_with_students_t() -> None:
    values = drawn(600, mean=0.1)
    found = estimate(values, seed=0)
    error = np.std(values, ddof=1) / math.sqrt(600)
    assert found.low == pytest.approx(np.mean(values) - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(np.mean(values) + 1.96 * error, abs=0.1 * error)


def test_identical_values_are_exact() -> None:
    found = estimate([0.25] * 6, seed=0)
    assert (found.exact, found.mean, found.low, found.p_below) == (True, 0.25, None, None)
    rounding = estimate([0.1 + 0.2 - 0.3] * 3 + [0.0] * 3, seed=0)
    assert (rounding.exact, rounding.mean) == (True, 0.0)


def test_one_image_apart_from_the_others_still_has_an_end() -> None:
    found = estimate([-0.05] * 49 + [-0.0499], seed=0)
    assert found.high is not None
    assert found.high < -0.0499


def test_a_checkerboard_is_not_taken_for_exact() -> None:
    table = np.where(np.indices((6, 6)).sum(axis=0) % 2, 1.0, -1.0)
    found = estimate(table, seed=0)
    assert not found.exact
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


@pytest.mark.parametrize("count", range(MINIMUM))
def test_few_values_have_no_interval(count: int) -> None:
    found = estimate(drawn(count), seed=0)
    assert found.units == found.n == count
    assert found.low is found.high is found.p_below is found.p_above is None
    assert (found.mean is None) == (count == 0)


def test_undefined_values_are_left_out_and_infinite_ones_refused() -> None:
    values = drawn(10)
    assert estimate([*values, math.nan], seed=0) == estimate(values, seed=0)
    assert estimate([math.nan] * 9, seed=0).mean is None
    with pytest.raises(ValueError, match="finite"):
        estimate([*values, math.inf], seed=0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.7]) == [0.7]


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    """Rejected at α: every set of hypotheses that holds it has a p-value of at most α/size."""
    places = range(len(p_values))
    sets = [s for k in places for s in itertools.combinations(places, k + 1)]
    for place, adjusted in enumerate(holm(p_values)):
        closed = max(len(s) * min(p_values[i] for i in s) for s in sets if place in s)
        assert adjusted == pytest.approx(min(1.0, closed))


@pytest.mark.parametrize("tests", [1, 20, 250, 1000])
def test_p_values_can_get_below_what_holm_asks_for(tests: int) -> None:
    resamples = resamples_for(tests)
    assert resamples >= 9_999
    assert tests / (resamples + 1) <= ALPHA / 4
    assert ALPHA * (resamples + 1) == pytest.approx(round(ALPHA * (resamples + 1)))


def made(**changes: float) -> Estimate:
    values = {"n": 50, "units": 50, "columns": 50, "mean": 0.01, "low": -0.01, "high": 0.03,
              "p_below": 0.8, "p_above": 0.1, "column_error": 0.01}  # fmt: skip
    return Estimate(**(values | changes))  # type: ignore[arg-type]


def test_more_images_by_hand() -> None:
    # (1.960 + 0.842)² · 50 · (0.01/0.01)² = 392.4 images in all
    assert more_images(made(), tests=1) == 343
    assert (more_images(made(), tests=10) or 0) > 343
    assert more_images(made(mean=-0.01), tests=1) == 343
    assert more_images(made(mean=0.5), tests=1) == 1


def test_more_images_where_none_would_help() -> None:
    assert more_images(made(mean=0.0), tests=1) is None
    assert more_images(made(mean=1e-5), tests=1) is None
    assert more_images(made(row_error=0.01), tests=1) is None
    assert (more_images(made(row_error=0.001), tests=1) or 0) > 343
    assert 9_000 < (more_images(made(mean=0.002), tests=1) or 0) <= MOST_MORE


def test_so_many_more_images_decide_in_four_of_five() -> None:
    values = np.array(drawn(20, mean=0.3))
    values = (values - values.mean()) / values.std(ddof=1) + 0.3
    total = 20 + (more_images(estimate(values, seed=0), tests=1) or 0)
    decided = 0
    for seed in range(200):
        sample = np.random.default_rng(seed).normal(0.3, 1, total)
        found = estimate(sample, seed=seed, resamples=399)
        decided += (found.p_above or 1) <= ALPHA
    assert 0.7 <= decided / 200 <= 0.9
