"""Pairs of methods, their ranks, and whether metrics agree: by hand, by scipy, by simulation."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from camaudit.errors import UsageError
from camaudit.metrics import paired
from camaudit.metrics.comparison import PairedDifference, Ranking, agreement, compare, ranks
from camaudit.metrics.estimates import estimate, holm, resamples_for
from camaudit.metrics.registry import Direction

Array = np.ndarray[Any, np.dtype[np.float64]]
Values = dict[str, list[float | None]]


def named(table: Array) -> Values:
    """Methods m0, m1, … of the rows, None for NaN."""
    return {
        f"m{i}": [None if math.isnan(x) else x for x in row] for i, row in enumerate(table.tolist())
    }


def drawn(methods: int, images: int, *, gap: float = 0.0, seed: int = 0) -> Array:
    """Values that share the images' own part, neighbours `gap` apart, the last one greatest."""
    rng = np.random.default_rng([seed, methods, images])
    noise = rng.normal(size=(1, images)) + rng.normal(size=(methods, images))
    return np.asarray(noise + gap * np.arange(methods)[:, None])


def undefined(table: Array, share: float) -> Array:
    gone = np.random.default_rng(8).random(table.shape) < share
    return np.where(gone, np.nan, table)


TABLES = {
    "normal": drawn(4, 30, gap=0.3),
    "undefined": undefined(drawn(5, 40, gap=0.1), 0.2),
    "skewed": np.random.default_rng(1).exponential(size=(3, 25)) * 1e-3,
    "six images": drawn(3, 6),
    "one apart": np.array([[0.0] * 19 + [1.0], [0.07] * 20, [0.1] * 17 + [0.2, 0.3, 0.4]]),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_each_pair_is_the_estimate_of_its_differences(table: Array) -> None:
    found = compare(named(table), direction="higher", seed=3, resamples=999)
    assert len(found) == len(table) * (len(table) - 1) // 2
    for one in found:
        gaps = table[int(one.first[1])] - table[int(one.second[1])]
        expected = estimate(gaps, seed=3, resamples=999)
        differ = int((np.abs(gaps[np.isfinite(gaps)]) > 1e-12).sum())
        assert expected.p_below is not None
        assert expected.p_above is not None
        assert (one.n, one.n + one.excluded) == (expected.n, len(gaps))
        assert one.difference == pytest.approx(expected.mean, rel=1e-12)
        assert one.low == pytest.approx(expected.low, rel=1e-9, abs=1e-12)
        assert one.high == pytest.approx(expected.high, rel=1e-9, abs=1e-12)
        p = max(2 * min(expected.p_below, expected.p_above), 2 / 2**differ)
        assert one.p == pytest.approx(min(1, p), abs=1e-12)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = named(undefined(drawn(5, 30, gap=0.1), 0.1))
    whole = compare(values, direction="lower", seed=1, resamples=199)
    monkeypatch.setattr(paired, "_CHUNK", 400)
    parted = compare(values, direction="lower", seed=1, resamples=199)
    assert plain(parted) == plain(whole)


def plain(found: list[PairedDifference], *, turned: bool = False) -> dict[Any, Any]:
    """Of each pair what was found, in whichever order it was compared; rounded."""
    made = {}
    for one in found:
        figures = [one.difference, one.low, one.high]
        outcome: str = one.outcome
        key = (one.first, one.second)
        if turned or one.first > one.second:
            figures = [None if x is None else -x for x in (one.difference, one.high, one.low)]
        if one.first > one.second:
            key = (one.second, one.first)
            outcome = {"better": "worse", "worse": "better"}.get(outcome, outcome)
        rounded = [None if x is None else round(x, 9) + 0.0 for x in figures]
        made[key] = (one.n, rounded, one.p, one.adjusted, outcome)
    return made


def test_holm_is_over_all_pairs_and_so_are_the_outcomes() -> None:
    table = drawn(5, 40, gap=0.25)
    found = compare(named(table), direction="higher", seed=0)
    assert [one.adjusted for one in found] == holm([one.p or 0.0 for one in found])
    for one in found:
        assert one.adjusted is not None
        assert one.difference is not None
        shown = {True: "better", False: "worse"}[one.difference > 0]
        assert one.outcome == (shown if one.adjusted <= 0.05 else "inconclusive")
        if one.outcome == "inconclusive":
            assert ("not after Holm" in one.reason) == (one.p is not None and one.p <= 0.05)
    assert {one.outcome for one in found} == {"worse", "inconclusive"}
    assert any("not after Holm" in one.reason for one in found)


def pair(first: list[float | None], second: list[float | None], **options: Any) -> PairedDifference:
    settings = {"direction": "higher", "seed": 0} | options
    (found,) = compare({"a": first, "b": second}, **settings)
    return found


def test_the_direction_decides_what_is_better() -> None:
    low, high = drawn(2, 40, gap=2.0).tolist()
    assert pair(high, low).outcome == "better"
    assert pair(high, low, direction="lower").outcome == "worse"
    assert pair(low, high, direction="lower").outcome == "better"
    assert (pair(high, low).difference or 0) > 0
    assert (pair(high, low, direction="lower").difference or 0) > 0


def test_equal_on_every_image_is_equal() -> None:
    found = pair([0.1 + 0.2, 1e6, *drawn(1, 10)[0]], [0.3, 1e6, *drawn(1, 10)[0]])
    assert (found.outcome, found.difference, found.low, found.p) == ("equal", 0.0, None, 1.0)


def test_equal_on_the_average_is_not_equal() -> None:
    found = pair([1.0, -1.0] * 10, [0.0] * 20)
    assert (found.outcome, found.difference) == ("inconclusive", 0.0)
    assert found.low is not None
    assert found.low < 0


def test_resamples_as_far_out_as_the_sample_count_however_they_were_rounded() -> None:
    """Differences of 0.1 and −0.1 as often: resamples lie on both sides, or on neither."""
    values = [0.3, 0.1] * 15
    for shift in (0.0, 0.7, 1.9):
        found = pair([x + shift for x in values], [0.2 + shift] * 30, resamples=999)
        assert found.p == 1.0


def test_one_and_the_same_difference_is_a_sign_test() -> None:
    found = pair([0.5] * 8, [0.25] * 8)
    assert (found.difference, found.low, found.high) == (0.25, None, None)
    assert (found.p, found.outcome) == (2 / 2**8, "better")


@pytest.mark.parametrize(("hits", "outcome"), [(5, "inconclusive"), (6, "better")])
def test_few_images_on_which_two_differ_show_no_more_than_a_sign_test(
    hits: int, outcome: str
) -> None:
    """A hundred images, a handful of which one method gets right and the other does not."""
    found = pair([100.0] * hits + [0.0] * (100 - hits), [0.0] * 100)
    assert found.p == pytest.approx(2 / 2**hits)
    assert found.outcome == outcome


@pytest.mark.parametrize("n", range(6))
def test_few_common_images_decide_nothing(n: int) -> None:
    one = [float(i) for i in range(n)] + [None] * 9 + [1.0]
    other = [float(i) / 3 for i in range(n)] + [1.0] * 9 + [None]
    found = pair(one, other)
    assert (found.outcome, found.n, found.excluded) == ("not applicable", n, 10)
    assert (found.low, found.p, found.adjusted) == (None, None, None)
    assert (found.difference is None) == (n == 0)


def test_what_cannot_be_compared_is_no_test_for_holm() -> None:
    values = named(drawn(3, 12, gap=1.0)) | {"rare": [1.0] + [None] * 11}
    alone = compare(named(drawn(3, 12, gap=1.0)), direction="higher", seed=0, resamples=999)
    found = compare(values, direction="higher", seed=0, resamples=999)
    assert [one for one in found if one.p is not None] == alone


def test_one_method_has_no_pair() -> None:
    assert compare({"a": [1.0, 2.0]}, direction="higher", seed=0) == []


def test_the_seed_decides_and_many_pairs_ask_for_more_resamples() -> None:
    values = named(drawn(14, 8))
    one = compare(values, direction="higher", seed=0)
    assert one == compare(values, direction="higher", seed=0, resamples=resamples_for(91))
    assert one != compare(values, direction="higher", seed=1)
    assert resamples_for(91) > resamples_for(1)


SAMPLES = {
    "normal": lambda rng: rng.normal(size=(1, 30)) + rng.normal(size=(4, 30)),
    "skewed": lambda rng: rng.exponential(size=(4, 30)),
    "hits": lambda rng: 100.0 * (rng.random((4, 60)) < 0.3),
    "rare hits": lambda rng: 100.0 * (rng.random((4, 60)) < 0.05),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
def test_methods_that_do_not_differ_are_rarely_told_apart(sample: Any) -> None:
    """Four methods alike on all images to come: any pair in 5 % of 200 samples, 9 % at most."""
    wrong = 0
    for seed in range(200):
        values = named(sample(np.random.default_rng([11, seed])))
        found = compare(values, direction="higher", seed=seed, resamples=399)
        wrong += any(one.outcome in {"better", "worse"} for one in found)
    assert wrong <= 18


def test_methods_that_differ_are_told_apart() -> None:
    found = compare(named(drawn(4, 60, gap=1.5)), direction="higher", seed=0)
    assert {one.outcome for one in found} == {"worse"}


# ranks


def row(found: Ranking, figure: str) -> list[Any]:
    return [getattr(one, figure) for one in found.ranks]


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_ranks_are_scipys(direction: Direction) -> None:
    table = drawn(7, 30)
    table[3] = table[5][::-1]  # the same mean, summed in another order
    found = ranks(named(table), direction=direction, seed=0, resamples=99)
    means = [math.fsum(values) / 30 for values in table.tolist()]
    signed = [-mean for mean in means] if direction == "higher" else means
    assert row(found, "rank") == stats.rankdata(signed).tolist()
    assert row(found, "mean") == pytest.approx(means)
    assert (found.n, found.excluded, found.left_out, found.reason) == (30, 0, (), "")


def test_only_images_that_all_have_count_and_who_has_few_is_named() -> None:
    table = drawn(4, 20)
    table[0, :3] = table[1, 2:5] = np.nan
    table[3, :11] = np.nan
    found = ranks(named(table), direction="higher", seed=0)
    rest = ranks(named(table[:3, 5:]), direction="higher", seed=0)
    assert (found.n, found.excluded, found.left_out) == (15, 5, ("m3",))
    assert found.ranks == rest.ranks
    table[3, 10] = 0.0
    assert ranks(named(table), direction="higher", seed=0).left_out == ()


def test_images_without_a_label_are_nobodys_fault() -> None:
    table = drawn(3, 30)
    table[:, 10:] = np.nan
    found = ranks(named(table), direction="higher", seed=0)
    assert (found.n, found.excluded, found.left_out) == (10, 20, ())


def test_few_images_have_ranks_without_interval_and_none_have_nothing() -> None:
    found = ranks(named(drawn(3, 5)), direction="higher", seed=0)
    assert sorted(row(found, "rank")) == [1, 2, 3]
    assert row(found, "low") == row(found, "high") == row(found, "first") == [None] * 3
    assert "fewer than 6" in found.reason
    never = ranks({"a": [None] * 8, "b": [None] * 8}, direction="higher", seed=0)
    assert (never.n, never.ranks) == (0, ())
    assert "nothing to rank" in never.reason
    alone = ranks({"a": [1.0] * 8}, direction="higher", seed=0)
    assert (alone.ranks, alone.n) == ((), 8)


def test_equals_share_everything() -> None:
    values = drawn(1, 20)[0].tolist()
    found = ranks({"a": values, "b": values, "c": values}, direction="lower", seed=0)
    assert row(found, "rank") == [2, 2, 2]
    assert (row(found, "low"), row(found, "high")) == ([1] * 3, [3] * 3)
    assert row(found, "first") == pytest.approx([1 / 3] * 3)


def test_firsts_are_those_of_the_literal_resamples() -> None:
    table = drawn(3, 12, gap=0.1)
    found = ranks(named(table), direction="higher", seed=6, resamples=99)
    places = np.random.default_rng(6).integers(12, size=(99, 12))
    firsts = [int(np.argmax(table[:, draw].mean(axis=1))) for draw in places]
    assert row(found, "first") == pytest.approx([firsts.count(i) / 99 for i in range(3)])


def test_bounds_count_who_is_shown_better_or_worse() -> None:
    """With two methods Holm has nothing to correct; with more, over each method's own pairs."""
    table = drawn(5, 40, gap=0.3)
    found = ranks(named(table), direction="higher", seed=0, resamples=999)
    raw = compare(named(table), direction="higher", seed=0, resamples=999)
    for one in found.ranks:
        mine = [pair for pair in raw if one.method in (pair.first, pair.second)]
        adjusted = holm([pair.p or 0.0 for pair in mine])
        wins = [((p.difference or 0) > 0) == (p.first == one.method) for p in mine]
        shown = [won for won, p in zip(wins, adjusted, strict=True) if p <= 0.05]
        assert one.low == 1 + shown.count(False)
        assert one.high == 5 - shown.count(True)


@pytest.mark.parametrize("gap", [1e-6, 0.15, 0.6])
def test_intervals_hold_the_true_ranks(gap: float) -> None:
    """Six methods, equal for all that 40 images show, hard and easy to tell apart: 95 % each."""
    held = np.zeros(6)
    for seed in range(100):
        values = named(drawn(6, 40, gap=gap, seed=seed))
        found = ranks(values, direction="higher", seed=seed, resamples=399)
        held += [one.low <= 6 - i <= one.high for i, one in enumerate(found.ranks)]  # type: ignore[operator]
    assert held.min() >= 90
    assert held.mean() >= 95


def test_intervals_shrink_to_the_rank_where_methods_differ() -> None:
    found = ranks(named(drawn(5, 60, gap=2.0)), direction="higher", seed=0)
    assert row(found, "low") == row(found, "high") == row(found, "rank") == [5, 4, 3, 2, 1]
    assert row(found, "first") == [0, 0, 0, 0, 1]


# properties


shapes = st.tuples(st.integers(2, 4), st.integers(1, 12))


@st.composite
def values_of(draw: st.DrawFn) -> Values:
    methods, images = draw(shapes)
    cell = st.none() | st.integers(-8, 8).map(lambda x: x / 4)
    return {f"m{i}": draw(st.lists(cell, min_size=images, max_size=images)) for i in range(methods)}


def ranked(found: Ranking) -> dict[str, Any]:
    return {
        one.method: (round(one.mean, 9), one.rank, one.low, one.high,
                     None if one.first is None else round(one.first, 9))
        for one in found.ranks
    }  # fmt: skip


@settings(max_examples=50)
@given(values_of(), st.randoms(use_true_random=False))
def test_the_order_of_the_methods_changes_nothing(values: Values, random: Any) -> None:
    names = random.sample(list(values), len(values))
    other = {name: values[name] for name in names}
    options: dict[str, Any] = {"direction": "higher", "seed": 2, "resamples": 99}
    assert plain(compare(other, **options)) == plain(compare(values, **options))
    one, again = ranks(values, **options), ranks(other, **options)
    assert ranked(one) == ranked(again)
    assert set(one.left_out) == set(again.left_out)


@settings(max_examples=50)
@given(values_of())
def test_turning_values_and_direction_changes_nothing(values: Values) -> None:
    turned: Values = {
        name: [None if x is None else -x for x in row] for name, row in values.items()
    }
    options: dict[str, Any] = {"seed": 2, "resamples": 99}
    one = plain(compare(values, direction="higher", **options))
    other = plain(compare(turned, direction="lower", **options), turned=True)
    assert one == other
    first = ranks(values, direction="higher", **options)
    second = ranks(turned, direction="lower", **options)
    for a, b in zip(first.ranks, second.ranks, strict=True):
        assert (a.rank, a.low, a.high, a.first, a.mean) == (b.rank, b.low, b.high, b.first, -b.mean)


@settings(max_examples=50)
@given(values_of(), st.integers(-40, 40), st.booleans())
def test_a_constant_changes_no_difference(values: Values, constant: int, by_image: bool) -> None:
    shifted: Values = {
        name: [None if x is None else x + constant * (i if by_image else 1) for i, x in
               enumerate(row)]
        for name, row in values.items()
    }  # fmt: skip
    options: dict[str, Any] = {"direction": "higher", "seed": 2, "resamples": 99}
    assert plain(compare(shifted, **options)) == plain(compare(values, **options))
    places = [one.rank for one in ranks(values, **options).ranks]
    assert [one.rank for one in ranks(shifted, **options).ranks] == places


@settings(max_examples=50)
@given(values_of())
def test_what_is_found_is_within_its_range(values: Values) -> None:
    for one in compare(values, direction="lower", seed=0, resamples=99):
        assert one.adjusted is None or 0 < (one.p or 0) <= one.adjusted <= 1
        if one.low is not None:
            assert one.high is not None
            assert one.low <= one.high
    found = ranks(values, direction="lower", seed=0, resamples=99).ranks
    for place in found:
        assert place.low is None or 1 <= place.low <= place.rank <= (place.high or 0) <= len(found)
    if found and found[0].first is not None:
        assert sum(one.first or 0.0 for one in found) == pytest.approx(1)


# agreement


def metrics(*tables: Array) -> tuple[dict[str, Values], dict[str, Direction]]:
    names = [f"k{i}" for i in range(len(tables))]
    values = {name: named(table) for name, table in zip(names, tables, strict=True)}
    return values, dict.fromkeys(names, "higher")


def test_agreement_is_w_of_the_ranks_and_scipys_tau() -> None:
    tables = [drawn(5, 30, gap=0.1, seed=seed) for seed in range(3)]
    values, directions = metrics(*tables)
    found = agreement(values, directions=directions, seed=0, resamples=199)
    rows = [stats.rankdata(-table.mean(axis=1)).tolist() for table in tables]
    assert [list(row) for row in found.ranks] == rows
    chi2 = stats.friedmanchisquare(*np.array(rows).T).statistic
    assert found.w == pytest.approx(chi2 / (3 * 4))
    for one, (i, j) in zip(found.pairs, combinations(range(3), 2), strict=True):
        assert (one.first, one.second) == (f"k{i}", f"k{j}")
        assert one.tau == pytest.approx(stats.kendalltau(rows[i], rows[j]).statistic)
    assert (found.metrics, found.images, found.reason) == (("k0", "k1", "k2"), (30, 30, 30), "")


def test_the_interval_is_of_images_drawn_for_all_metrics_at_once() -> None:
    tables = [undefined(drawn(4, 15, gap=0.3, seed=seed), 0.05) for seed in range(2)]
    values, directions = metrics(*tables)
    found = agreement(values, directions=directions, seed=9, resamples=199)
    again = []
    for draw in np.random.default_rng(9).integers(15, size=(199, 15)):
        rows = []
        for table in tables:
            sample = table[:, draw]
            sample = sample[:, np.isfinite(sample).all(axis=0)]
            rows.append(stats.rankdata(-sample.mean(axis=1).round(12)))
        again.append(stats.friedmanchisquare(*np.array(rows).T).statistic / (2 * 3))
    low, high = np.quantile(again, [0.025, 0.975])
    assert found.w is not None
    assert found.low == pytest.approx(min(low, found.w))
    assert found.high == pytest.approx(max(high, found.w))


def test_the_interval_reaches_to_w() -> None:
    """Opposed by a hair, in noise that both metrics share: nearly every resample agrees."""
    noise = drawn(4, 20) - drawn(4, 20).mean(axis=1, keepdims=True)
    order = 1e-3 * np.arange(4)[:, None]
    values, directions = metrics(noise + order, noise - order)
    found = agreement(values, directions=directions, seed=0, resamples=199)
    assert (found.w, found.low) == (0, 0)
    assert (found.high or 0) > 0.95


def test_resamples_without_an_image_of_a_metric_are_left_out() -> None:
    """Six of sixty images are labelled: one resample in five hundred has none of them."""
    table = drawn(3, 60, gap=1.0)
    labelled = np.where(np.arange(60) < 6, table, np.nan)
    values, directions = metrics(table, labelled)
    found = agreement(values, directions=directions, seed=0, resamples=1999)
    draws = np.random.default_rng(0).integers(60, size=(1999, 60))
    assert ((draws < 6).sum(axis=1) == 0).any()
    assert (found.images, found.high) == ((60, 6), 1)
    assert found.low is not None


def test_directions_are_those_of_each_metric() -> None:
    table = drawn(4, 30, gap=1.0)
    values, directions = metrics(table, -table)
    opposed = agreement(values, directions=directions, seed=0, resamples=99)
    assert (opposed.w, opposed.pairs[0].tau) == (pytest.approx(0), pytest.approx(-1))
    agreed = agreement(values, directions={"k0": "higher", "k1": "lower"}, seed=0, resamples=99)
    assert (agreed.w, agreed.low, agreed.high) == (1, 1, 1)
    assert agreed.ranks == ((4, 3, 2, 1), (4, 3, 2, 1))


def test_methods_and_metrics_that_cannot_be_ranked_are_named() -> None:
    table = drawn(4, 20, gap=0.5)
    seldom = table.copy()
    seldom[1, 4:] = np.nan
    values, directions = metrics(table, seldom, np.full((4, 20), np.nan), drawn(3, 20))
    found = agreement(values, directions=directions, seed=0, resamples=99)
    assert found.methods == ("m0", "m2")
    assert set(found.left_out) == {"m1", "m3"}
    assert (found.metrics, found.metrics_left_out) == (("k0", "k1", "k3"), ("k2",))
    assert found.w is not None


@pytest.mark.parametrize("methods", [1, 2])
def test_one_metric_or_one_method_has_no_agreement(methods: int) -> None:
    values, directions = metrics(*[drawn(methods, 20)] * (3 - methods))
    found = agreement(values, directions=directions, seed=0)
    assert (found.w, found.low, found.p) == (None, None, None)
    assert "two of each" in found.reason


def test_few_images_give_no_interval_of_w() -> None:
    values, directions = metrics(drawn(3, 5), drawn(3, 5, seed=1))
    found = agreement(values, directions=directions, seed=0)
    assert found.w is not None
    assert (found.low, found.high) == (None, None)
    assert "fewer than 6" in found.reason


def test_the_interval_holds_w_of_all_images_where_methods_differ() -> None:
    truth = 1 - np.array([[0, 1, 2, 3, 4], [1, 0, 2, 4, 3], [4, 1, 2, 3, 0]]) / 2
    expected = stats.friedmanchisquare(*truth.T).statistic / (3 * 4)
    held = 0
    for seed in range(60):
        rng = np.random.default_rng([5, seed])
        tables = [row[:, None] + rng.normal(size=(5, 40)) for row in truth]
        values, directions = metrics(*tables)
        found = agreement(values, directions=directions, seed=seed, resamples=199)
        assert found.low is not None
        assert found.high is not None
        held += found.low - 1e-9 <= expected <= found.high + 1e-9
    assert held >= 54


# bad input


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "one or more methods"),
        ({"a": [], "b": []}, "one or more methods"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "'b': 2"),
        ({"a": [1.0], "b": [math.inf]}, "infinite one of b"),
        ({"a": ["x"], "b": [1.0]}, "numbers or None"),
    ],
)
def test_values_that_are_no_table_are_refused(values: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(values, direction="higher", seed=0)
    with pytest.raises(UsageError, match=message):
        ranks(values, direction="higher", seed=0)
    with pytest.raises(UsageError, match=message):
        agreement({"k": values}, directions={"k": "higher"}, seed=0)


def test_a_figure_without_direction_orders_nobody() -> None:
    values = named(drawn(2, 8))
    with pytest.raises(UsageError, match="neither direction"):
        compare(values, direction="none", seed=0)
    with pytest.raises(UsageError, match=r"direction of k .*neither"):
        agreement({"k": values}, directions={"k": "none"}, seed=0)
    with pytest.raises(UsageError, match="one for each"):
        agreement({"k": values}, directions={}, seed=0)


def test_metrics_of_other_images_and_too_few_resamples_are_refused() -> None:
    values, directions = metrics(drawn(2, 8), drawn(2, 9))
    with pytest.raises(UsageError, match="'k1': 9"):
        agreement(values, directions=directions, seed=0)
    with pytest.raises(UsageError, match="39 resamples or more, got 38"):
        compare(values["k0"], direction="higher", seed=0, resamples=38)


def test_not_a_number_is_undefined_too() -> None:
    values = named(undefined(drawn(3, 20), 0.2))
    nan = {name: [math.nan if x is None else x for x in row] for name, row in values.items()}
    options: dict[str, Any] = {"direction": "higher", "seed": 0, "resamples": 99}
    assert compare(nan, **options) == compare(values, **options)


def test_everything_found_is_plain_and_goes_to_json_and_back() -> None:
    values, directions = metrics(drawn(3, 12), drawn(3, 12, seed=1))
    for found in (
        compare(values["k0"], direction="higher", seed=0)[0],
        ranks(values["k0"], direction="higher", seed=0),
        agreement(values, directions=directions, seed=0, resamples=99),
    ):
        text = json.dumps(asdict(found), allow_nan=False)
        assert json.dumps(json.loads(text)) == text


def test_an_interval_ends_where_no_difference_can_be() -> None:
    values = {"a": [100.0, 100.0, 100.0] + [0.0] * 9, "b": [0.0] * 12}
    (free,) = compare(values, direction="higher", seed=0)
    (bounded,) = compare(values, direction="higher", seed=0, widest=30.0)
    assert free.high is not None
    assert free.high > 30
    assert bounded.high == 30
    assert (bounded.low, bounded.p, bounded.difference) == (free.low, free.p, free.difference)
