"""The tables of the metrics: a row a method, a column a metric, nothing missing silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.metrics_best import Leading, leading
from camaudit.report.metrics_cells import (
    WIN,
    Cell,
    cells_of,
    is_control,
    methods_of,
    metrics_in,
    missing_text,
    rivals_of,
)
from camaudit.report.metrics_figures import Metric, check_name
from camaudit.report.names import title

__all__ = ["CheckTables", "Column", "Footnote", "MetricCell", "MetricRow", "MetricTable",
           "check_tables"]  # fmt: skip

_BY_FIGURE = "by figure"


@dataclass(frozen=True)
class Column:
    """A metric with the number of its footnote; `best` says who leads, in words."""

    metric: Metric
    note: int
    best: str

    @property
    def tooltip(self) -> str:
        """Formula and source."""
        return ". ".join(part for part in (self.metric.formula, self.metric.paper) if part)


@dataclass(frozen=True)
class MetricCell:
    """A mean ready to print; `note` is its n and what is missing, where the row says neither."""

    text: str
    bounds: str
    value: float | None
    best: bool
    note: str


@dataclass(frozen=True)
class MetricRow:
    """One method; `n` and `missing` are those of all its cells, or say that they differ."""

    method: str
    control: bool
    cells: tuple[MetricCell, ...]
    n: str
    missing: str


@dataclass(frozen=True)
class MetricTable:
    """Methods by metrics under a caption, which is empty where the heading says enough."""

    caption: str
    columns: tuple[Column, ...]
    methods: tuple[MetricRow, ...]
    controls: tuple[MetricRow, ...]

    @property
    def compared(self) -> bool:
        """Whether the methods were compared by any of the metrics."""
        return any(column.metric.name != WIN for column in self.columns)


@dataclass(frozen=True)
class Footnote:
    """What a metric is: its definition in a sentence, and where it comes from."""

    number: int
    name: str
    text: str


@dataclass(frozen=True)
class CheckTables:
    """The tables of one check with the footnotes to their columns."""

    check: str
    title: str
    tables: tuple[MetricTable, ...]
    footnotes: tuple[Footnote, ...]


def check_tables(metrics: Mapping[str, Any]) -> tuple[CheckTables, ...]:
    """One entry a check, in the order of the run; Win % has a table for each group of rivals."""
    listed = metrics_in(metrics)
    return tuple(
        _check(metrics, check, [metric for metric in listed if metric.check == check])
        for check in dict.fromkeys(metric.check for metric in listed)
    )


def _check(metrics: Mapping[str, Any], check: str, listed: Sequence[Metric]) -> CheckTables:
    notes = {metric.name: number for number, metric in enumerate(listed, start=1)}
    tables = []
    plain = [metric for metric in listed if metric.name != WIN]
    if plain:
        tables.append(_table(metrics, "", plain, methods_of(metrics), notes))
    win = next((metric for metric in listed if metric.name == WIN), None)
    if win is not None:
        tables += [
            _table(metrics, _rivals(group), [win], group, notes, number=number)
            for number, group in rivals_of(metrics).items()
        ]
    footnotes = tuple(
        Footnote(notes[metric.name], metric.title, _said(metric)) for metric in listed
    )
    return CheckTables(check, check_name(check), tuple(tables), footnotes)


def _rivals(group: Sequence[str]) -> str:
    names = figures.joined([title(name) for name in group], limit=len(group))
    return f"Win % among {figures.counted(len(group), 'rival')}: {names}"


def _said(metric: Metric) -> str:
    """What the metric is, its range, source and cost."""
    formula = f"{metric.formula}; " if metric.formula else ""
    parts = [f"{formula}{metric.span}, {metric.wish}", metric.paper]
    parts += [f"Cost an image and method: {metric.cost}"] if metric.cost else []
    return " ".join(f"{part}." for part in parts if part)


def _table(
    metrics: Mapping[str, Any],
    caption: str,
    listed: Sequence[Metric],
    methods: Sequence[str],
    notes: Mapping[str, int],
    *,
    number: int | None = None,
) -> MetricTable:
    """The table of those metrics; `number` is the group of rivals of Win %."""
    comparison = metrics.get("comparison") or {}
    leads = [leading(comparison, metric) for metric in listed]
    found = [cells_of(metrics, metric.name) for metric in listed]
    rows = [
        _row(metrics, method, listed, [cells.get((method, number)) for cells in found], leads)
        for method in methods
    ]
    return MetricTable(
        caption=caption,
        columns=tuple(
            Column(metric, notes[metric.name], lead.text)
            for metric, lead in zip(listed, leads, strict=True)
        ),
        methods=tuple(row for row in rows if not row.control),
        controls=tuple(row for row in rows if row.control),
    )


def _row(
    metrics: Mapping[str, Any],
    method: str,
    listed: Sequence[Metric],
    cells: Sequence[Cell | None],
    leads: Sequence[Leading],
) -> MetricRow:
    counts = {(cell.n, cell.missing) for cell in cells if cell is not None}
    alike = len(counts) <= 1 and None not in cells
    numbers = sorted({0 if cell is None else cell.n for cell in cells})
    return MetricRow(
        method=title(method),
        control=is_control(metrics, method),
        cells=tuple(
            _shown(metric, cell, best=lead.best == method, alike=alike)
            for metric, cell, lead in zip(listed, cells, leads, strict=True)
        ),
        n="–".join(dict.fromkeys(str(end) for end in (numbers[0], numbers[-1]))),
        missing=missing_text(next(iter(counts))[1]) or "none" if alike else _BY_FIGURE,
    )


def _shown(metric: Metric, cell: Cell | None, *, best: bool, alike: bool) -> MetricCell:
    if cell is None:
        return MetricCell("not run", "", None, best=False, note="")
    missing = missing_text(cell.missing)
    note = "" if alike else "; ".join(part for part in (f"n = {cell.n}", missing) if part)
    text = "no value" if cell.mean is None else metric.printed(cell.mean)
    return MetricCell(text, metric.bounds(cell.low, cell.high), cell.mean, best, note)
