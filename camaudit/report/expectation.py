"""The view of the expectation: along a column through the wall, and over the whole map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camaudit.report import figures
from camaudit.report.datatable import DataTable, require_equal
from camaudit.report.heatmaps import HeatMap, grey_map, heat_map, matrix, unread
from camaudit.report.plots import Interval, Plot, Series, line_plot, style

__all__ = ["ColumnView", "DigitPicture", "DigitsView", "column_view", "digits_view"]

STANDARD_ERRORS = 2


@dataclass(frozen=True)
class ColumnView:
    """The expectation along one column of cells."""

    plot: Plot
    alternative: str
    table: DataTable
    column: int
    finding: str
    exact: bool
    bound: bool


@dataclass(frozen=True)
class DigitPicture:
    """One map of a digit with what it shows and its μ; `share` is empty for the digit itself."""

    title: str
    map: HeatMap
    share: str


@dataclass(frozen=True)
class DigitsView:
    """The figure of the digits: a column of pictures for each."""

    digits: tuple[tuple[str, tuple[DigitPicture, ...]], ...]
    table: DataTable
    uniform: str


def column_view(theory: Mapping[str, Any]) -> ColumnView | None:
    """The plot of the expectation along a column; None where there is none.

    Raises
    ------
    AuditError
        if its lists differ in length.
    """
    part = theory.get("column")
    if not part or not part["rows"]:
        return None
    rows, dead = list(part["rows"]), [bool(flag) for flag in part["dead"]]
    known = {
        name: list(part[name])
        for name in ("bound", "exact", "simulated", "standard_error")
        if part.get(name) is not None
    }
    require_equal("theory.column", {"rows": rows, "dead": dead, **known})
    series = _column_series(known, len(rows))
    titles = ("Row of cells, from the top", "Expected GradCAM")
    plot = line_plot(rows, series, titles=titles, columns=dead)
    return ColumnView(
        plot=plot,
        alternative=_column_text(part["column"], rows, dead, known),
        table=_column_table(rows, dead, known),
        column=int(part["column"]),
        finding=_column_finding(dead, known),
        exact="exact" in known,
        bound="bound" in known,
    )


def digits_view(theory: Mapping[str, Any]) -> DigitsView | None:
    """The pictures of every digit; None where there are none."""
    parts = theory.get("digits") or []
    if not parts:
        return None
    table = DataTable(
        "μ (L1) of the digits' maps, and the mean of the expectation over live and dead cells",
        ("Image", "One random network", "Expectation", "Live cells", "Dead cells"),
        tuple(_digit_row(part) for part in parts),
    )
    dead = np.asarray(parts[0]["dead"], dtype=bool)
    uniform = float(dead.mean()) if dead.size else None
    shown = tuple((str(part["name"]), _digit_pictures(part)) for part in parts)
    return DigitsView(shown, table, figures.percent(uniform))


def _column_series(known: Mapping[str, Sequence[float | None]], count: int) -> list[Series]:
    """Bound and closed form as lines, the simulation as markers with its band."""
    series = []
    if "bound" in known:
        series.append(Series("Lower bound", known["bound"], style=style(1), points=False))
    if "exact" in known:
        series.append(Series("Closed form", known["exact"], style=style(0), points=False))
    if "simulated" in known:
        errors = known.get("standard_error", [None] * count)
        low, high = _around(known["simulated"], errors)
        series.append(
            Series(
                f"Simulated, ±{STANDARD_ERRORS} standard errors",
                known["simulated"],
                low,
                high,
                style=style(4),
                interval=Interval.BAND,
                line="exact" not in known,
            )
        )
    return series


def _around(
    values: Sequence[float | None], errors: Sequence[float | None]
) -> tuple[list[float | None], list[float | None]]:
    low: list[float | None] = []
    high: list[float | None] = []
    for value, error in zip(values, errors, strict=True):
        if value is None or error is None:
            low.append(None)
            high.append(None)
        else:
            low.append(value - STANDARD_ERRORS * error)
            high.append(value + STANDARD_ERRORS * error)
    return low, high


def _peak(values: Sequence[float | None], among: Sequence[bool]) -> float | None:
    shown = [
        value
        for value, flag in zip(values, among, strict=True)
        if flag and value is not None and math.isfinite(value)
    ]
    return max(shown, default=None)


def _column_finding(dead: Sequence[bool], known: Mapping[str, Sequence[float | None]]) -> str:
    """What the dead rows show, in a sentence."""
    name = "exact" if "exact" in known else "simulated"
    values = known.get(name)
    if values is None or not any(dead):
        return ""
    live = [not flag for flag in dead]
    inside, outside = _peak(values, dead), _peak(values, live)
    if inside is None:
        return "In the dead rows the expectation is undefined."
    if inside == 0:
        return "In the dead rows the expectation is exactly 0."
    share = (
        f", {100 * inside / outside:.0f}\u00a0% of its peak in the live ones"
        if outside is not None and outside > 0
        else ""
    )
    return f"In the dead rows the expectation still reaches {figures.quantity(inside)}{share}."


def _column_text(
    column: int,
    rows: Sequence[int],
    dead: Sequence[bool],
    known: Mapping[str, Sequence[float | None]],
) -> str:
    """The plot in words."""
    blind = [row for row, flag in zip(rows, dead, strict=True) if flag]
    stretch = f"rows {blind[0]} to {blind[-1]} are dead" if blind else "no row is dead"
    words = {
        "bound": "lower bound",
        "exact": "closed form",
        "simulated": "simulated mean",
    }
    live = [not flag for flag in dead]
    curves = [
        f"{word} up to {figures.quantity(_peak(known[name], live))} in live rows and "
        f"{figures.quantity(_peak(known[name], dead))} in dead ones"
        for name, word in words.items()
        if name in known
    ]
    return (
        f"Line plot of the expected GradCAM in column {column} over {len(rows)} rows of cells; "
        f"{stretch}. {'; '.join(curves).capitalize()}."
    )


def _column_table(
    rows: Sequence[int], dead: Sequence[bool], known: Mapping[str, Sequence[float | None]]
) -> DataTable:
    titles = {
        "bound": "Lower bound",
        "exact": "Closed form",
        "simulated": "Simulated",
        "standard_error": "Standard error",
    }
    shown = [name for name in titles if name in known]
    return DataTable(
        "The expectation row by row",
        ("Row", "Zone", *(titles[name] for name in shown)),
        tuple(
            (
                str(row),
                "dead" if dead[number] else "live",
                *(figures.quantity(known[name][number], 4) for name in shown),
            )
            for number, row in enumerate(rows)
        ),
    )


def _expected(part: Mapping[str, Any]) -> tuple[str, Any]:
    """The expectation that μ belongs to, with its name: the closed form before the simulation."""
    if part.get("exact") is not None:
        return "Expectation", part["exact"]
    return "Simulated mean", part.get("simulated")


def _digit_pictures(part: Mapping[str, Any]) -> tuple[DigitPicture, ...]:
    name, dead, image = str(part["name"]), part["dead"], part["image"]
    size = (len(image), len(image[0]) if image else 0)
    single, expected = (figures.percent(part.get(key)) for key in ("mu_single", "mu_expected"))
    title, values = _expected(part)
    pictures = [
        DigitPicture("Image", grey_map(image, unread(dead, size), f"The image: {name}"), ""),
        DigitPicture(
            "One network",
            heat_map(
                part["single"],
                dead,
                f"GradCAM of one random network on {name}, {single} of it in the dead cells",
            ),
            single,
        ),
    ]
    if values is not None:
        words = f"{title} of GradCAM over random networks on {name}, {expected} in the dead cells"
        pictures.append(DigitPicture(title, heat_map(values, dead, words), expected))
    return tuple(pictures)


def _digit_row(part: Mapping[str, Any]) -> tuple[str, ...]:
    dead = np.asarray(part["dead"], dtype=bool)
    _, values = _expected(part)
    means: list[float | None] = [None, None]
    if values is not None:
        cells = matrix(values, "a map")
        means = [_mean(cells[~dead]), _mean(cells[dead])]
    return (
        str(part["name"]),
        figures.percent(part.get("mu_single")),
        figures.percent(part.get("mu_expected")),
        *(figures.quantity(mean) for mean in means),
    )


def _mean(cells: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    return float(cells.mean()) if cells.size and np.isfinite(cells).all() else None
