"""Curves over the share of the pixels, and scatters, as places on a page in per cent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from camaudit.report import figures
from camaudit.report.axis import share_scale
from camaudit.report.marks import Mark, y_mark
from camaudit.report.plots import Curve, Plot, Point, Style

__all__ = ["Dot", "Place", "Scatter", "labelled", "nice_scale", "scatter", "share_curves"]

_QUARTERS = ("0 %", "25 %", "50 %", "75 %", "100 %")
_MARKERS = 4  # on each curve
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MAX_MARKS = 6
_DIGITS = 6  # enough for any round mark
_AREA = (230.0, 230.0)  # pixels of the smallest drawing area that names must fit on
_LETTER = 6.6  # pixels that a character takes
_HEIGHT = 13.0  # pixels that a line takes
_MARKER = 6.0  # half the pixels that a marker takes
#: Where a name may stand beside its point: pixels to the right and down, and its anchor.
_ASIDE = (
    (9.0, 4.0, "start"), (-9.0, 4.0, "end"), (0.0, -9.0, "middle"), (0.0, 17.0, "middle"),
    (7.0, -6.0, "start"), (7.0, 14.0, "start"), (-7.0, -6.0, "end"), (-7.0, 14.0, "end"),
)  # fmt: skip

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Dot:
    """A point to be drawn: both values with the ends of their intervals, None without one."""

    label: str
    style: Style
    x: tuple[float, float | None, float | None]
    y: tuple[float, float | None, float | None]
    control: bool = False


@dataclass(frozen=True)
class Place:
    """A point in per cent of the area; `name` is empty where there is no room for it.

    `aside` is where the name stands: pixels to the right and down, and its anchor.
    """

    label: str
    style: Style
    control: bool
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None
    name: str = ""
    aside: tuple[float, float, str] = _ASIDE[0]


@dataclass(frozen=True)
class Scatter:
    """A scatter with its axes."""

    x_title: str
    y_title: str
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]
    places: tuple[Place, ...]


def share_curves(
    curves: Sequence[tuple[str, Style, Sequence[float]]], *, titles: tuple[str, str], most: int
) -> Plot:
    """Curves of shares over equal steps from 0 to 100 %, each drawn by at most `most` points.

    Both axes are in per cent; every curve has a few markers, which stand apart from the others'.
    """
    shares = [value for _, _, values in curves for value in values if math.isfinite(value)]
    top, marks = share_scale(shares)
    return Plot(
        x_title=titles[0],
        y_title=titles[1],
        x_marks=tuple(
            Mark(25.0 * number, text, "start" if not number else "end" if number == 4 else "middle")
            for number, text in enumerate(_QUARTERS)
        ),
        y_marks=tuple(
            y_mark(mark, round(100 * (1 - mark / top), 2), shares=True) for mark in marks
        ),
        curves=tuple(
            _curve(label, style, values, top, most, (number + 0.5) / len(curves))
            for number, (label, style, values) in enumerate(curves)
        ),
        spans=(),
        categories=False,
        level=None,
        edge=None,
    )


def _curve(
    label: str, style: Style, values: Sequence[float], top: float, most: int, shift: float
) -> Curve:
    last = max(len(values) - 1, 1)
    height = [round(100 * (1 - min(max(value / top, 0.0), 1.0)), 2) for value in values]
    points = [
        Point(round(100 * number / last, 2), y, None, None) for number, y in enumerate(height)
    ]
    stride = max(math.ceil(last / max(most - 1, 1)), 1)
    kept = [*points[:-1:stride], points[-1]] if points else []
    marked = {round((turn + shift) / _MARKERS * last) for turn in range(_MARKERS)}
    return Curve(
        label=label,
        style=style,
        path="M" + "L".join(f"{point.x:g} {point.y:g}" for point in kept) if kept else "",
        band="",
        points=tuple(points[number] for number in sorted(marked) if number < len(points)),
        whiskers=False,
        faint=False,
    )


def nice_scale(values: Sequence[float], least: float | None = None) -> tuple[float, ...]:
    """Round marks in equal steps, the first below and the last above all of `values`.

    Values that are equal to four digits have room around them, but none below the `least` that
    there can be.

    >>> nice_scale([0.7, 0.79]), nice_scale([5.0]), nice_scale([0.0], 0.0), nice_scale([])
    ((0.7, 0.72, 0.74, 0.76, 0.78, 0.8), (4.0, 6.0), (0.0, 0.5), (0.0, 1.0))
    """
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if high - low <= 1e-4 * max(abs(low), abs(high)):  # marks have six digits
        room = abs(low) / 5 or 0.5
        low, high = low - room, high + room
        low = low if least is None else max(low, least)
        return float(f"{low:.3g}"), float(f"{high:.3g}")
    power = math.floor(math.log10((high - low) / _MAX_MARKS))
    for step in (float(f"{size}e{power + extra}") for extra in (0, 1, 2) for size in _STEPS):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < _MAX_MARKS:
            return tuple(float(f"{number * step:.6g}") for number in range(first, last + 1))
    return low, high


def scatter(
    dots: Sequence[Dot],
    *,
    titles: tuple[str, str],
    shown: Sequence[str],
    least: float | None = None,
) -> Scatter:
    """The scatter of `dots`, x being shares from 0 on; `shown` are the names beside the points.

    `least` is the smallest y that there can be, None without one.
    """
    top, x_marks = share_scale(_numbers([dot.x for dot in dots]))
    y_marks = nice_scale(_numbers([dot.y for dot in dots]), least)
    low, high = y_marks[0], y_marks[-1]

    def across(value: float) -> float:
        return round(100 * min(max(value / top, 0.0), 1.0), 2)

    def down(value: float) -> float:
        return round(100 * (1 - (value - low) / (high - low)), 2)

    def ends(value: tuple[float, float | None, float | None]) -> tuple[float, float] | None:
        _, lower, upper = value
        return None if lower is None or upper is None else (lower, upper)

    placed = []
    for dot in dots:
        x_ends, y_ends = ends(dot.x), ends(dot.y)
        placed.append(
            Place(
                dot.label, dot.style, dot.control, across(dot.x[0]), down(dot.y[0]),
                None if x_ends is None else (across(x_ends[0]), across(x_ends[1])),
                None if y_ends is None else (down(y_ends[0]), down(y_ends[1])),
            )
        )  # fmt: skip
    return Scatter(
        x_title=titles[0],
        y_title=titles[1],
        x_marks=tuple(
            Mark(across(mark), f"{100 * mark:.0f} %", _anchor(across(mark))) for mark in x_marks
        ),
        y_marks=tuple(Mark(down(mark), figures.quantity(mark, _DIGITS)) for mark in y_marks),
        places=labelled(placed, shown),
    )


def _numbers(values: Sequence[tuple[float, float | None, float | None]]) -> list[float]:
    return [part for value in values for part in value if part is not None]


def _anchor(position: float) -> str:
    return "start" if position < 4 else "end" if position > 96 else "middle"


def labelled(places: Sequence[Place], names: Sequence[str]) -> tuple[Place, ...]:
    """The places with a name beside each, where there is room even on the smallest area.

    Names touch neither each other nor the points, nor leave the area; earlier ones go first.
    """
    width, height = _AREA
    taken: list[_Box] = []
    for place in places:
        x, y = place.x * width / 100, place.y * height / 100
        taken.append((x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER))
    found = []
    for place, name in zip(places, names, strict=True):
        aside = next((one for one in _ASIDE if _free(_box(place, name, one), taken)), None)
        if aside is None:
            found.append(place)
            continue
        taken.append(_box(place, name, aside))
        found.append(
            Place(place.label, place.style, place.control, place.x, place.y, place.x_ends,
                  place.y_ends, name, aside)
        )  # fmt: skip
    return tuple(found)


def _box(place: Place, name: str, aside: tuple[float, float, str]) -> _Box:
    """Left, top, right and bottom of a name in pixels of the smallest area."""
    width, height = _AREA
    right, down, anchor = aside
    x, y = place.x * width / 100 + right, place.y * height / 100 + down
    size = _LETTER * len(name)
    left = x - {"start": 0.0, "middle": size / 2, "end": size}[anchor]
    return left, y - 0.75 * _HEIGHT, left + size, y + 0.25 * _HEIGHT


def _free(box: _Box, taken: Sequence[_Box]) -> bool:
    width, height = _AREA
    inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
    return inside and all(
        box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]
        for other in taken
    )
