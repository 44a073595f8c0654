"""The labels of an axis: both ends, then evenly, and never two in one place."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.report.marks import named_ends, shortened
from camaudit.report.plots import Series, line_plot, places, style

LETTER = 2.7


def extent(position: float, label: str, anchor: str) -> tuple[float, float]:
    width = LETTER * len(label)
    left = {"start": position, "middle": position - width / 2, "end": position - width}[anchor]
    return left, left + width


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=120))
def test_labels_stay_inside_and_apart(names: list[str]) -> None:
    marks = named_ends(places([""] * len(names)), names)
    assert len(marks) == len(names)
    shown = [(number, mark) for number, mark in enumerate(marks) if mark.label]
    assert shown[0][0] == 0
    assert all(mark.label == shortened(names[number]) for number, mark in shown)
    spans = [extent(mark.position, mark.label, mark.anchor) for _, mark in shown]
    assert all(left[1] < right[0] for left, right in pairwise(spans))
    if len(names) > 1:
        assert spans[0][0] >= 0
        assert spans[-1][1] <= 100


def test_both_ends_and_the_middle_are_named() -> None:
    marks = named_ends(places([""] * 55), [f"layer {number}" for number in range(55)])
    assert [mark.label for mark in marks if mark.label] == ["layer 0", "layer 27", "layer 54"]
    assert [mark.anchor for mark in marks if mark.label] == ["start", "middle", "end"]


def test_few_short_names_are_all_shown() -> None:
    marks = named_ends(places([""] * 4), ["fc", "b", "c", "d"])
    assert [mark.label for mark in marks] == ["fc", "b", "c", "d"]


def test_a_fixed_scale_a_level_and_an_edge() -> None:
    series = Series("a", [-1.0, 0.0, 2.0], style=style(0))
    plot = line_plot(
        [0, 1, 2], [series], titles=("x", "y"), columns=[False] * 3, names=["a", "b", "c"],
        scale=(-1.0, 1.0), level=(0.5, 0.25, 0.75), edge=1,
    )  # fmt: skip
    assert [point.y for point in plot.curves[0].points] == [100.0, 50.0, 0.0]
    assert [mark.label for mark in plot.y_marks] == ["−1", "−0.5", "0", "0.5", "1"]
    assert plot.level is not None
    assert (plot.level.y, plot.level.low, plot.level.high) == (25.0, 37.5, 12.5)
    assert plot.edge == pytest.approx(33.33)


def test_an_unknown_level_is_not_drawn() -> None:
    series = Series("a", [0.5, 0.5], style=style(0))
    plot = line_plot([0, 1], [series], titles=("x", "y"), scale=(0, 1), level=(None, 0.1, None))
    assert plot.level is not None
    assert (plot.level.y, plot.level.low, plot.level.high) == (None, None, None)
    assert line_plot([0, 1], [series], titles=("x", "y")).level is None
