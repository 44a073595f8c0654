"""Kendall's W and τ_b against scipy's, and the permutation test against all permutations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from camaudit.errors import UsageError
from camaudit.metrics import paired
from camaudit.metrics.concordance import kendall_taus, kendalls_p, kendalls_w, placed

Array = np.ndarray[Any, np.dtype[np.float64]]

tables = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 5), st.integers(2, 6)),
    elements=st.integers(0, 4).map(float),
)


def literal_w(rows: list[list[float]]) -> float | None:
    """As in the textbook: rank sums, and T over the groups of ties."""
    ranked = [stats.rankdata(row) for row in rows]
    k, n = len(rows), len(rows[0])
    sums = [sum(row[i] for row in ranked) for i in range(n)]
    s = sum((total - sum(sums) / n) ** 2 for total in sums)
    t = sum(row.count(value) ** 3 - row.count(value) for row in rows for value in set(row))
    below = k**2 * (n**3 - n) - k * t
    return 12 * s / below if below else None


@given(tables)
def test_w_is_the_textbooks(table: Array) -> None:
    found, expected = kendalls_w(table), literal_w(table.tolist())
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == pytest.approx(expected, abs=1e-12)
        assert 0 <= found <= 1


@given(tables)
def test_w_is_friedmans_statistic_over_its_greatest_value(table: Array) -> None:
    k, n = table.shape
    found = kendalls_w(table)
    if n < 3 or found is None:
        return
    chi2 = stats.friedmanchisquare(*table.T).statistic
    assert found == pytest.approx(chi2 / (k * (n - 1)), abs=1e-12)


@given(tables)
def test_tau_is_scipys(table: Array) -> None:
    found = kendall_taus(table)
    for i, j in itertools.product(range(len(table)), repeat=2):
        expected = stats.kendalltau(table[i], table[j]).statistic
        one = found[i][j]
        assert (one is None) == math.isnan(expected)
        if one is not None:
            assert one == pytest.approx(expected, abs=1e-12)


@given(tables)
def test_ranks_are_scipys(table: Array) -> None:
    assert placed(table, 0.0).tolist() == stats.rankdata(-table, axis=1).tolist()


def test_ranks_within_the_tolerance_are_shared() -> None:
    assert placed(np.array([0.3, 0.1 + 0.2, 1.0, -1.0]), 1e-12).tolist() == [2.5, 2.5, 1, 4]


@given(tables, st.randoms(use_true_random=False))
def test_order_of_raters_and_things_and_the_unit_change_nothing(table: Array, random: Any) -> None:
    rows, columns = (random.sample(range(size), size) for size in table.shape)
    found = kendalls_w(table)
    for other in (table[rows], table[:, columns], 3 * table - 7, -table):
        again = kendalls_w(other)
        assert (again is None) == (found is None)
        if found is not None:
            assert again == pytest.approx(found, abs=1e-12)


def test_full_agreement_and_none() -> None:
    assert kendalls_w([[1, 2, 3, 4]] * 3) == 1
    assert kendalls_w([[1, 2, 3], [3, 2, 1]]) == 0
    assert kendall_taus([[1, 2, 3], [3, 2, 1]]) == [[1, -1], [-1, 1]]


@pytest.mark.parametrize("rows", [[[1.0, 2.0, 3.0]], [[1.0], [2.0]], [[5.0, 5.0], [2.0, 2.0]]])
def test_one_rater_one_thing_or_one_tie_say_nothing(rows: list[list[float]]) -> None:
    assert kendalls_w(rows) is None
    assert kendalls_p(rows, seed=0) is None


def test_one_tie_takes_a_row_out_of_tau() -> None:
    assert kendall_taus([[1, 2, 3], [4, 4, 4]]) == [[1, None], [None, None]]


def test_p_is_the_share_of_all_permutations() -> None:
    rows = [[1.0, 2, 3, 4], [1.0, 3, 2, 4], [2.0, 1, 3, 4]]
    found = kendalls_w(rows)
    assert found is not None
    every = list(itertools.permutations(range(4)))
    as_much = [
        (kendalls_w([rows[0], [rows[1][i] for i in one], [rows[2][i] for i in other]]) or 0.0)
        >= found - 1e-9
        for one, other in itertools.product(every, repeat=2)
    ]
    assert kendalls_p(rows, seed=0) == pytest.approx(sum(as_much) / len(as_much), abs=0.01)


def test_p_is_seeded_and_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 5))
    one = kendalls_p(rows, seed=4, permutations=500)
    assert one != kendalls_p(rows, seed=5, permutations=500)
    monkeypatch.setattr(paired, "_CHUNK", 64)
    assert kendalls_p(rows, seed=4, permutations=500) == one


def test_raters_at_random_are_rarely_found_to_agree() -> None:
    rng = np.random.default_rng(1)
    found = [kendalls_p(rng.normal(size=(4, 6)), seed=i, permutations=199) for i in range(400)]
    below = sum(p is not None and p <= 0.05 for p in found)
    assert 6 <= below <= 36  # 20 of 400 are expected


@pytest.mark.parametrize("rows", [[1.0, 2.0], [[1.0, math.nan]], [[1.0, math.inf], [1.0, 2.0]]])
def test_what_is_not_ranked_is_refused(rows: Any) -> None:
    for function in (kendalls_w, kendall_taus):
        with pytest.raises(UsageError, match="finite numbers"):
            function(rows)
