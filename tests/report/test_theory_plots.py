"""Line plots: every place is read back into the number that it stands for."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.report.plots import (
    MARKERS,
    Curve,
    Interval,
    Plot,
    Series,
    amount_scale,
    line_plot,
    places,
    spans,
    style,
)

TITLES = ("x", "y")


def top(plot: Plot) -> float:
    """The number at the upper end of the y axis, from its label."""
    (label,) = [mark.label for mark in plot.y_marks if mark.position == 0]
    return float(label.removesuffix(" %")) / (100 if label.endswith("%") else 1)


def numbers(path: str) -> list[list[tuple[float, float]]]:
    """The stretches of a path as lists of places."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", part)]
        for part in path.split("M")[1:]
    ]


def heights(curve: Curve, maximum: float) -> list[float]:
    return [maximum * (1 - point.y / 100) for point in curve.points]


def test_numbers_stand_by_size_or_by_logarithm() -> None:
    linear = np.array(places([1, 2, 4, 10]))
    np.testing.assert_allclose(np.diff(linear) / np.diff(linear)[0], [1, 2, 6], rtol=1e-3)
    logarithmic = np.array(places([1, 2, 4, 32], log=True))
    np.testing.assert_allclose(np.diff(logarithmic) / np.diff(logarithmic)[0], [1, 1, 3], rtol=1e-3)
    assert places([0, 1], log=True) == places([0, 1])
    assert places([7]) == places([7, 7])[:1] == (50.0,)
    assert places([]) == ()
    for found in (linear, logarithmic):
        assert found.min() > 0
        assert found.max() < 100


def test_points_and_lines_stand_for_their_values() -> None:
    values = [0.31, 0.30, 0.2, 0.0]
    plot = line_plot(
        [1, 2, 3, 4], [Series("a", values, style=style(0))], titles=TITLES, shares=True
    )
    (curve,) = plot.curves
    np.testing.assert_allclose(heights(curve, top(plot)), values, atol=1e-4)
    (stretch,) = numbers(curve.path)
    assert [(point.x, point.y) for point in curve.points] == stretch
    assert [mark.position for mark in plot.x_marks] == [x for x, _ in stretch]


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=6))
def test_the_axis_of_amounts_is_round_and_holds_everything(values: list[float]) -> None:
    maximum, marks = amount_scale(values)
    assert maximum == marks[-1] >= max(values) * (1 - 1e-9)
    assert maximum <= 2.5 * max(values)
    assert marks[0] == 0
    assert 2 <= len(marks) <= 7
    steps = np.diff(marks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
    leading = float(f"{steps[0]:.3e}".split("e")[0])
    assert min(abs(leading - round_) for round_ in (1, 2, 2.5, 5)) < 1e-3


def test_an_axis_without_numbers() -> None:
    assert amount_scale([]) == amount_scale([0.0]) == (1.0, (0.0, 1.0))
    plot = line_plot([1, 2], [Series("a", [None, None], style=style(0))], titles=TITLES)
    assert plot.curves[0].path == ""
    assert plot.curves[0].points == ()


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_undefined_values_leave_gaps(missing: float | None) -> None:
    values = [0.1, 0.2, missing, 0.4, missing, 0.3, 0.2]
    (curve,) = line_plot(
        range(7), [Series("a", values, style=style(0))], titles=TITLES, shares=True
    ).curves
    stretches = numbers(curve.path)
    assert [len(stretch) for stretch in stretches] == [2, 2]
    assert len(curve.points) == 5
    drawn = {x for stretch in stretches for x, _ in stretch}
    assert len([point for point in curve.points if point.x not in drawn]) == 1


def test_a_band_has_the_area_of_its_intervals() -> None:
    rows = range(5)
    low, high = [0.1, 0.2, 0.2, 0.1, 0.0], [0.2, 0.3, 0.5, 0.2, 0.1]
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    series = Series("a", middle, low, high, style=style(0), interval=Interval.BAND)
    plot = line_plot(rows, [series], titles=TITLES, columns=[False] * 5)
    (polygon,) = numbers(plot.curves[0].band)
    x, y = np.array(polygon).T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    width = np.array(high) - np.array(low)
    expected = np.trapezoid(width, dx=20) * 100 / top(plot)
    assert area == pytest.approx(expected, rel=1e-3)
    assert not plot.curves[0].whiskers


def test_intervals_have_both_ends_or_none() -> None:
    series = Series("a", [0.2, 0.2, 0.2], [0.1, None, 0.1], [0.3, 0.3, math.nan], style=style(0),
                    interval=Interval.WHISKERS)  # fmt: skip
    plot = line_plot([1, 2, 3], [series], titles=TITLES, shares=True)
    first, *others = plot.curves[0].points
    assert first.low is not None
    assert first.high is not None
    assert top(plot) * (1 - first.low / 100) == pytest.approx(0.1, abs=1e-4)
    assert top(plot) * (1 - first.high / 100) == pytest.approx(0.3, abs=1e-4)
    assert all(point.low is None and point.high is None for point in others)


@pytest.mark.parametrize("x", [[8, 16, 32, 64], ["gaussian", "he", "glorot"], [0.5]])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_curves_that_share_an_x_stand_beside_it_in_order(x: list[float | str], count: int) -> None:
    series = [Series(str(k), [0.3] * len(x), style=style(k)) for k in range(count)]
    plot = line_plot(x, [Series("uniform", [0.5] * len(x)), *series], titles=TITLES, shares=True)
    where = [mark.position for mark in plot.x_marks]
    gap = min((b - a for a, b in pairwise(where)), default=100)
    for number, middle in enumerate(where):
        beside = [curve.points[number].x for curve in plot.curves if curve.style]
        assert beside == sorted(set(beside))
        assert np.mean(beside) == pytest.approx(middle, abs=0.01)
        assert max(beside) - min(beside) < gap
        assert min(beside) >= 0
        assert max(beside) <= 100


def test_categories_have_no_lines_but_the_reference_has_a_level_for_each() -> None:
    plot = line_plot(
        ["a", "b"],
        [Series("uniform", [0.5, 0.25]), Series("m", [0.1, 0.2], style=style(0))],
        titles=TITLES,
        shares=True,
    )
    assert plot.categories
    reference, method = plot.curves
    assert (reference.points, method.path) == ((), "")
    levels = re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)", reference.path)
    assert [(float(a), float(b)) for a, _, b in levels] == [(0, 50), (50, 100)]
    assert [top(plot) * (1 - float(y) / 100) for _, y, _ in levels] == pytest.approx(
        [0.5, 0.25], abs=1e-3
    )


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_spans_cover_the_marked_columns_and_no_others(flags: list[bool]) -> None:
    found = spans(flags)
    assert sum(span.width for span in found) == pytest.approx(100 * np.mean(flags), abs=0.01 * 20)
    for number, flag in enumerate(flags):
        middle = 100 * (number + 0.5) / len(flags)
        assert any(span.start < middle < span.start + span.width for span in found) == flag


def test_columns_are_equal_and_hold_their_values_in_the_middle() -> None:
    plot = line_plot(range(4), [Series("a", [1.0] * 4, style=style(0))], titles=TITLES,
                     columns=[False, True, True, False])  # fmt: skip
    assert [point.x for point in plot.curves[0].points] == [12.5, 37.5, 62.5, 87.5]
    assert [(span.start, span.width) for span in plot.spans] == [(25.0, 50.0)]
    assert [mark.label for mark in plot.x_marks] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("count", "labels"), [(8, "01234567"), (28, "0 5 10 15 20 25"), (900, "0 200 400 600 800")]
)
def test_columns_are_labelled_at_round_numbers(count: int, labels: str) -> None:
    plot = line_plot(range(count), [], titles=TITLES, columns=[False] * count)
    shown = [mark.label for mark in plot.x_marks if mark.label]
    assert shown == (labels.split() if " " in labels else list(labels))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True), st.booleans())
def test_labels_never_touch_and_the_last_is_there(x: list[int], log: bool) -> None:
    plot = line_plot(sorted(x), [Series("a", [0.1] * len(x))], titles=TITLES, log=log)
    shown = [mark for mark in plot.x_marks if mark.label]
    assert plot.x_marks[-1].label
    for left, right in pairwise(shown):
        letters = (len(left.label) + len(right.label)) / 2
        assert right.position - left.position >= 2.3 * letters


def test_no_two_styles_are_alike() -> None:
    styles = [style(number) for number in range(64)]
    assert len(set(styles)) == 64
    assert {one.marker for one in styles[:8]} == set(MARKERS)
    assert len({one.colour for one in styles[:8]}) == 8


def _luminance(colour: str) -> float:
    values = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _variables(name: str) -> list[dict[str, str]]:
    """The colours of a style sheet: in light mode, and in dark mode."""
    text = files("camaudit.report").joinpath("templates", name).read_text(encoding="utf-8")
    light, dark = text.split("prefers-color-scheme: dark", 1)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part)) for part in (light, dark)]
    return [found[0], found[0] | found[1]]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_curves_stand_out_from_the_paper(mode: int) -> None:
    paper = _luminance(_variables("report.css")[mode]["paper"])
    colours = {k: v for k, v in _variables("theory.css")[mode].items() if k.startswith("curve")}
    assert len(set(colours.values())) == 8
    for colour in colours.values():
        darker, lighter = sorted((paper, _luminance(colour)))
        assert (lighter + 0.05) / (darker + 0.05) >= 3.5


# Linear RGB as a dichromat sees it (Viénot, Brettel and Mollon 1999).
PROTANOPE = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPE = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


@pytest.mark.parametrize("matrix", [np.eye(3), PROTANOPE, DEUTERANOPE])
@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_curves_of_like_colour_differ_in_marker_and_dash(mode: int, matrix: np.ndarray) -> None:
    colours = _variables("theory.css")[mode]
    seen = []
    for number in range(8):
        values = np.array([int(colours[f"curve-{number}"][k : k + 2], 16) for k in (1, 3, 5)]) / 255
        seen.append(np.clip(matrix @ values**2.2, 0, 1) ** (1 / 2.2))
    for a, b in combinations(range(8), 2):
        assert style(a).marker != style(b).marker
        if np.linalg.norm(seen[a] - seen[b]) < 0.1:
            assert style(a).dash != style(b).dash
