"""The view of the checks without a cascade: a ranking with bars, one for every figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.axis import Tick, anchored
from camaudit.report.names import similarity_title, title
from camaudit.report.plots import amount_scale
from camaudit.report.sanity_cells import Reasons, counts_text, table_counts
from camaudit.report.sanity_figures import bounds, number_of, printer
from camaudit.report.verdict import CONTROL

__all__ = ["BarRow", "Ranking", "rankings"]

_LEADS = {
    "emprt": "How much more complex the map becomes when every layer is random, relative to the "
    "map of the trained model; complexity is the entropy of the map's histogram. Above 0 is as it "
    "should be: a random model has nothing orderly to show.",
    "random-logit": "Similarity of the maps for the explained class and for other classes of the "
    "same image. A map that is about the class should differ; 1 means the same map for both.",
    "data-randomisation": "Similarity of the maps of the model and of one that was trained on "
    "permuted labels. A map of what a model has learnt should differ; 1 means the same map for "
    "both.",
}


@dataclass(frozen=True)
class BarRow:
    """One method: places in per cent of the axis, None where undefined; `missing` in words."""

    method: str
    control: bool
    start: float
    width: float
    mean: float | None
    low: float | None
    high: float | None
    text: str
    bounds: str
    value: float | None
    n: int
    missing: str


@dataclass(frozen=True)
class Ranking:
    """All methods by one figure of a check; `zero` is the place of 0 on the axis."""

    check: str
    figure: str
    lead: str
    zero: float
    ticks: tuple[Tick, ...]
    methods: tuple[BarRow, ...]
    controls: tuple[BarRow, ...]

    @property
    def bounded(self) -> bool:
        """Whether any method has an interval."""
        return any(row.bounds for row in (*self.methods, *self.controls))


def rankings(sanity: Mapping[str, Any], check: str, reasons: Reasons) -> tuple[Ranking, ...]:
    """One ranking a figure of the check, in the order of the run; methods by falling mean."""
    tables = [table for table in sanity.get("tables") or [] if table["check"] == check]
    families = sanity.get("families") or {}
    names = dict.fromkeys(table["figure"] for table in tables)
    return tuple(
        _ranking(check, name, [one for one in tables if one["figure"] == name], families, reasons)
        for name in names
    )


def _ranking(
    check: str,
    figure: str,
    tables: Sequence[Mapping[str, Any]],
    families: Mapping[str, str],
    reasons: Reasons,
) -> Ranking:
    low, high, marks = _axis(figure, tables)
    rows = [_row(table, families, reasons, (low, high)) for table in tables]
    rows.sort(key=lambda row: (row.value is None, -(row.value or 0.0), row.method))
    shown = _tick_text(figure)
    return Ranking(
        check=check,
        figure=similarity_title(figure),
        lead=_LEADS.get(check, ""),
        zero=_place(0.0, (low, high)),
        ticks=tuple(anchored((mark - low) / (high - low), shown(mark)) for mark in marks),
        methods=tuple(row for row in rows if not row.control),
        controls=tuple(row for row in rows if row.control),
    )


def _axis(
    figure: str, tables: Sequence[Mapping[str, Any]]
) -> tuple[float, float, tuple[float, ...]]:
    """The ends of the axis and its marks; similarities reach to 1, and to −1 only if needed."""
    numbers = [
        value
        for table in tables
        for end in ("mean", "ci_low", "ci_high")
        if (value := number_of(table["mean"], end)) is not None
    ]
    least = min([*numbers, 0.0])
    if figure != "complexity rise":
        low = 0.0 if least >= 0 else -1.0
        return low, 1.0, tuple(low + (1.0 - low) * number / 4 for number in range(5))
    return _amounts(least, max([*numbers, 0.0]))


def _amounts(least: float, most: float) -> tuple[float, float, tuple[float, ...]]:
    """Round ends beyond two amounts around 0, and round marks in one step."""
    _, marks = amount_scale([max(most, -least)])
    step = marks[1]
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    last = max(last, first + 1)
    low, high = first * step, last * step
    stride = -(-(last - first) // 6)
    shown = [number for number in range(first, last + 1) if number % stride == 0]
    return low, high, tuple(float(f"{number * step:.6g}") for number in shown)


def _tick_text(figure: str) -> Callable[[float], str]:
    if figure == "complexity rise":
        return lambda mark: f"{100 * mark:+.4g} %".replace("-", "−") if mark else "0"
    return figures.quantity


def _row(
    table: Mapping[str, Any],
    families: Mapping[str, str],
    reasons: Reasons,
    ends: tuple[float, float],
) -> BarRow:
    shown, mean = printer(table["figure"]), table["mean"]
    value, low, high = (number_of(mean, name) for name in ("mean", "ci_low", "ci_high"))
    bounded = low is not None and high is not None
    zero = _place(0.0, ends)
    place = None if value is None else _place(value, ends)
    return BarRow(
        method=title(table["method"]),
        control=families.get(table["method"]) == CONTROL,
        start=min(zero, zero if place is None else place),
        width=0.0 if place is None else round(abs(place - zero), 2),
        mean=place,
        low=_place(low, ends) if bounded and low is not None else None,
        high=_place(high, ends) if bounded and high is not None else None,
        text="no score" if value is None else shown(value),
        bounds=bounds(mean, shown),
        value=value,
        n=int(mean.get("n") or 0),
        missing=counts_text(table_counts(table, reasons)),
    )


def _place(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)
