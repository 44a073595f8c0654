"""Line plots with their intervals as places on a page: geometry without any drawing.

Every place is in per cent of the plotting area, x from the left and y from the top, so that a
plot keeps its type size and its line widths at any width of the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from camaudit.report import figures
from camaudit.report.axis import share_scale
from camaudit.report.marks import Mark, every, named_ends, roomy, round_ones, y_mark

__all__ = [
    "MARKERS",
    "PAIRED",
    "Curve",
    "Interval",
    "Level",
    "Mark",
    "Plot",
    "Point",
    "Series",
    "Span",
    "Style",
    "amount_scale",
    "line_plot",
    "places",
    "spans",
    "style",
]

COLOURS = 8
DASHES = 4
MARKERS = ("disc", "square", "triangle", "diamond", "ring", "cross", "wedge", "plus")
PAIRED = 1.1  # per cent between curves that share an x, so that none hides another
_INSET = 4.0  # per cent left free at both ends of a numeric axis
_CATEGORY_SHARE = 0.62  # of a category's width that its points are spread over
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MAX_MARKS = 6
_COARSE = 1.5  # the length of a fixed y axis from which every second quarter is marked

#: The values at the lower and the upper end of the y axis.
_Scale = tuple[float, float]


class Interval(StrEnum):
    """How the interval of a curve is drawn."""

    NONE = "none"
    BAND = "band"
    WHISKERS = "whiskers"


@dataclass(frozen=True)
class Style:
    """What tells a curve from the others: a colour, a marker and a dash, each by its number."""

    colour: int
    marker: str
    dash: int


@dataclass(frozen=True)
class Series:
    """A curve to be drawn: a value for every x, None where undefined.

    `low` and `high` are the ends of its intervals. `style` is None for a reference line, which
    has neither markers nor a place beside the others. A `faint` curve stands behind the others.
    """

    label: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    style: Style | None = None
    interval: Interval = Interval.NONE
    line: bool = True
    points: bool = True
    faint: bool = False


@dataclass(frozen=True)
class Point:
    """A marker; `low` and `high` are the ends of its interval, None where it has none."""

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Curve:
    """A curve as SVG path data in per cent, broken where it is undefined."""

    label: str
    style: Style | None
    path: str
    band: str
    points: tuple[Point, ...]
    whiskers: bool
    faint: bool


@dataclass(frozen=True)
class Level:
    """A height across the whole plot with its interval; None where it has none."""

    y: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Span:
    """A stretch of the x axis."""

    start: float
    width: float


@dataclass(frozen=True)
class Plot:
    """A line plot; with `categories`, its x marks stand in the middle of equal columns.

    `level` and the vertical line `edge` are None where there is none.
    """

    x_title: str
    y_title: str
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]
    curves: tuple[Curve, ...]
    spans: tuple[Span, ...]
    categories: bool
    level: Level | None
    edge: float | None


def style(number: int) -> Style:
    """The style of the curve of that number; no two of the first 64 are alike.

    >>> style(0), style(8)
    (Style(colour=0, marker='disc', dash=0), Style(colour=0, marker='square', dash=1))
    """
    turn, place = divmod(number, COLOURS)
    return Style(place, MARKERS[(place + turn) % len(MARKERS)], (place + turn) % DASHES)


def places(x: Sequence[float | str], *, log: bool = False) -> tuple[float, ...]:
    """Where the values of x stand on their axis, in per cent.

    Names stand in the middle of equal columns, numbers by their size or, with `log`, by its
    logarithm where all are positive; a single number stands in the middle.

    >>> places([8, 16, 32], log=True), places(["he", "glorot"])
    ((4.0, 50.0, 96.0), (25.0, 75.0))
    """
    if _named(x):
        return tuple(round(100 * (number + 0.5) / len(x), 2) for number in range(len(x)))
    values = [float(value) for value in x]
    if log and all(value > 0 for value in values):
        values = [math.log(value) for value in values]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high <= low:
        return tuple(50.0 for _ in values)
    room = 100 - 2 * _INSET
    return tuple(round(_INSET + room * (value - low) / (high - low), 2) for value in values)


def spans(flags: Sequence[bool]) -> tuple[Span, ...]:
    """The runs of True among equal columns.

    >>> spans([False, True, True, False])
    (Span(start=25.0, width=50.0),)
    """
    found: list[Span] = []
    start: int | None = None
    for number, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = number
        elif not flag and start is not None:
            width = round(100 * (number - start) / len(flags), 2)
            found.append(Span(round(100 * start / len(flags), 2), width))
            start = None
    return tuple(found)


def amount_scale(values: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """A round maximum beyond all of `values` (≥ 0), and the marks from 0 on up to it.

    >>> amount_scale([0.031, 0.078])
    (0.08, (0.0, 0.02, 0.04, 0.06, 0.08))
    """
    reach = max([*values, 0.0])
    if reach <= 0:
        return 1.0, (0.0, 1.0)
    power = math.floor(math.log10(reach / _MAX_MARKS))
    steps = (float(f"{size}e{power + extra}") for extra in (0, 1) for size in _STEPS)
    step = next(step for step in steps if reach <= step * (_MAX_MARKS - 1) * (1 + 1e-9))
    count = max(math.ceil(reach / step - 1e-9), 1)
    marks = tuple(float(f"{number * step:.6g}") for number in range(count + 1))
    return marks[-1], marks


def line_plot(
    x: Sequence[float | str],
    series: Sequence[Series],
    *,
    titles: tuple[str, str],
    log: bool = False,
    shares: bool = False,
    columns: Sequence[bool] = (),
    names: Sequence[str] = (),
    scale: tuple[float, float] | None = None,
    level: tuple[float | None, float | None, float | None] | None = None,
    edge: int | None = None,
) -> Plot:
    """The plot of `series` over `x`; `titles` are those of x and y.

    The y axis runs from 0 on, or over `scale` (quarters, at most from −1 to 1); with `shares` it
    is one of percentages. `columns` puts each x, now a whole number, in the middle of equal columns
    and marks those of them that are True; `names` label them then, and a line stands before the
    column of number `edge`. `level` is a mean with the ends of its interval, drawn over the whole
    width.
    """
    categories = _named(x)
    where = places([""] * len(x)) if columns else places(x, log=log)
    (low, high), marks = _y_axis(series, scale, shares=shares)
    return Plot(
        x_title=titles[0],
        y_title=titles[1],
        x_marks=_x_marks(x, where, columns=bool(columns), names=names),
        y_marks=tuple(y_mark(mark, _height(mark, (low, high)), shares=shares) for mark in marks),
        curves=_curves(series, where, (low, high), categories=categories, beside=not columns),
        spans=spans(columns),
        categories=categories,
        level=None if level is None else _level(level, (low, high)),
        edge=None if edge is None else round(100 * edge / len(x), 2),
    )


def _y_axis(
    series: Sequence[Series], scale: tuple[float, float] | None, *, shares: bool
) -> tuple[tuple[float, float], tuple[float, ...]]:
    """The ends of the y axis and the values that are marked on it."""
    if scale is not None:
        low, high = scale
        step = 0.25 if high - low < _COARSE else 0.5
        return scale, tuple(low + step * number for number in range(round((high - low) / step) + 1))
    maximum, marks = (share_scale if shares else amount_scale)(_heights(series))
    return (0.0, maximum), marks


def _x_marks(
    x: Sequence[float | str], where: Sequence[float], *, columns: bool, names: Sequence[str]
) -> tuple[Mark, ...]:
    labels = [value if isinstance(value, str) else figures.quantity(value, 4) for value in x]
    if names:
        return named_ends(where, names)
    if columns:
        labels = round_ones(x, labels)
    return every(where, labels) if _named(x) else roomy(where, labels)


def _level(level: tuple[float | None, float | None, float | None], scale: _Scale) -> Level:
    mean, low, high = level
    known = mean is not None and math.isfinite(mean)
    return Level(_height(mean or 0.0, scale) if known else None, *_ends(low, high, scale))


def _curves(
    series: Sequence[Series],
    where: Sequence[float],
    scale: _Scale,
    *,
    categories: bool,
    beside: bool,
) -> tuple[Curve, ...]:
    """The curves, those that share an x `beside` one another."""
    styled = sum(entry.style is not None for entry in series)
    shifts = iter(_shifts(where, styled, categories=categories) if beside else [0.0] * styled)
    return tuple(
        _curve(
            entry,
            where,
            scale,
            shift=0.0 if entry.style is None else next(shifts),
            categories=categories,
        )
        for entry in series
    )


def _named(x: Sequence[float | str]) -> bool:
    return any(isinstance(value, str) for value in x)


def _heights(series: Sequence[Series]) -> list[float]:
    """Every number that must fit on the y axis."""
    parts = [part for entry in series for part in (entry.values, entry.low, entry.high)]
    return [value for part in parts for value in part if value is not None and math.isfinite(value)]


def _height(value: float, scale: _Scale) -> float:
    """The place of a value, from the top."""
    low, high = scale
    return round(100 * (1 - min(max((value - low) / (high - low), 0.0), 1.0)), 2)


def _shifts(where: Sequence[float], count: int, *, categories: bool) -> list[float]:
    """How far each of `count` curves is moved aside from the x that they share."""
    ordered = sorted(where)
    gap = min((b - a for a, b in pairwise(ordered)), default=100.0)
    step = _CATEGORY_SHARE * gap if categories else min(PAIRED * count, 0.5 * gap)
    step /= max(count, 1)
    return [round(step * (number - (count - 1) / 2), 3) for number in range(count)]


def _curve(
    series: Series, where: Sequence[float], scale: _Scale, *, shift: float, categories: bool
) -> Curve:
    shown = range(len(where))
    low, high = (part or [None] * len(where) for part in (series.low, series.high))
    ends = [_ends(low[number], high[number], scale) for number in shown]
    points = [
        None
        if (value := series.values[number]) is None or not math.isfinite(value)
        else Point(round(where[number] + shift, 2), _height(value, scale), *ends[number])
        for number in shown
    ]
    reference = series.style is None
    path = _steps(points) if reference and categories else _path(points)
    drawn = series.line and (reference or not categories)
    return Curve(
        label=series.label,
        style=series.style,
        path=path if drawn else "",
        band=_band(points) if series.interval is Interval.BAND else "",
        points=() if reference or not series.points else tuple(p for p in points if p is not None),
        whiskers=series.interval is Interval.WHISKERS,
        faint=series.faint,
    )


def _ends(
    low: float | None, high: float | None, scale: _Scale
) -> tuple[float | None, float | None]:
    """The ends of an interval, both or none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None, None
    return _height(low, scale), _height(high, scale)


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """Stretches of neighbouring points that are all defined."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is not None:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _path(points: Sequence[Point | None]) -> str:
    """Line segments between neighbours; a point on its own has none."""
    return "".join(
        "M" + "L".join(f"{point.x:g} {point.y:g}" for point in run)
        for run in _runs(points)
        if len(run) > 1
    )


def _steps(points: Sequence[Point | None]) -> str:
    """A level stretch over the width of each category."""
    half = 50 / len(points) if points else 0.0
    return "".join(
        f"M{max(point.x - half, 0):g} {point.y:g}H{min(point.x + half, 100):g}"
        for point in points
        if point is not None
    )


def _band(points: Sequence[Point | None]) -> str:
    """The area between the ends of the intervals."""
    bounded = [None if point is None or point.low is None else point for point in points]
    parts = []
    for run in _runs(bounded):
        if len(run) > 1:
            upper = [f"{point.x:g} {point.high:g}" for point in run]
            lower = [f"{point.x:g} {point.low:g}" for point in reversed(run)]
            parts.append("M" + "L".join(upper + lower) + "Z")
    return "".join(parts)
