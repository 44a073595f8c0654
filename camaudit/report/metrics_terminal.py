"""The metrics on the terminal: methods by metrics, and the claims of a protocol, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camaudit.report.metrics_best import leading
from camaudit.report.metrics_cells import (
    WIN,
    cells_of,
    is_control,
    measured,
    methods_of,
    metrics_in,
    rivals_of,
)
from camaudit.report.metrics_figures import Metric
from camaudit.report.metrics_protocol import VERDICTS, claim_counts
from camaudit.report.metrics_ranks import agreement_text
from camaudit.report.metrics_verdict import metrics_verdict
from camaudit.report.table import literal
from camaudit.report.theory_tables import frame
from camaudit.types import Results

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["metrics_tables"]

_NARROWEST = 80
_NAME = 24  # columns that names of methods may take before they are folded
_BETWEEN = 2
_MARK = "*"


@dataclass(frozen=True)
class _Column:
    """A metric: the lines of its head, and a cell of each method by its label."""

    head: tuple[str, ...]
    cells: Mapping[str, str]

    @property
    def width(self) -> int:
        return max(len(text) for text in (*self.head, *self.cells.values()))


def metrics_tables(results: Results, *, width: int | None = None) -> list[Table]:
    """The means of all methods by all metrics, in as many tables as the `width` needs.

    A star marks the best where the paired comparison shows it. A table of the claims of the
    protocol follows where one was run. Text is printed literally: neither rich's markup nor
    terminal escapes in it take effect. None without either.
    """
    room = max(width or _NARROWEST, _NARROWEST)
    tables = _means(results.metrics, room) if measured(results.metrics) else []
    protocol = results.protocol
    if isinstance(protocol.get("tables"), (list, tuple)):
        tables.append(_claims(protocol))
    return tables


def _means(metrics: Mapping[str, Any], room: int) -> list[Table]:
    methods = methods_of(metrics)
    names = min(max(map(len, methods)), _NAME)
    columns = [column for metric in metrics_in(metrics) for column in _columns(metrics, metric)]
    tables = []
    for number, part in enumerate(_packed(columns, room - names - _BETWEEN)):
        note = "means over images; ↑ higher, ↓ lower is better; * shown best by paired comparison"
        table = frame("Metrics" if not number else "Metrics, continued", note if not number else "")
        table.add_column(literal("method"), min_width=names, max_width=_NAME, overflow="fold")
        for column in part:
            table.add_column(literal("\n".join(column.head)), justify="right", no_wrap=True)
        for place, method in enumerate(methods):
            control = is_control(metrics, method)
            if control and place and not is_control(metrics, methods[place - 1]):
                table.add_section()
            cells = (literal(column.cells.get(method, "–")) for column in part)
            table.add_row(literal(method, "dim" if control else ""), *cells)
        tables.append(table)
    tables[-1].caption = literal("\n" + _caption(metrics))
    return tables


def _caption(metrics: Mapping[str, Any]) -> str:
    """The headline, the agreement of the metrics, and what is missing, by method."""
    headline = metrics_verdict(metrics, None).sentences[0]
    lines = ["".join(part.text for part in headline)]
    agreement = (metrics.get("comparison") or {}).get("agreement")
    lines += [agreement_text(agreement)] if isinstance(agreement, Mapping) else []
    missing = _missing(metrics)
    lines += [f"Without a value on some images: {missing}."] if missing else []
    return "\n".join(lines)


def _missing(metrics: Mapping[str, Any]) -> str:
    """Methods with the most images that any metric lacks, by reason."""
    most: dict[str, dict[str, int]] = {}
    for metric in metrics_in(metrics):
        for cell in cells_of(metrics, metric.name).values():
            own = most.setdefault(cell.method, {})
            for reason, count in cell.missing:
                own[reason] = max(own.get(reason, 0), count)
    return "; ".join(
        f"{method} ({', '.join(f'{count} {reason}' for reason, count in counts.items())})"
        for method, counts in most.items()
        if counts
    )


def _columns(metrics: Mapping[str, Any], metric: Metric) -> list[_Column]:
    """One column; of Win % one for each group of rivals."""
    found = cells_of(metrics, metric.name)
    best = leading(metrics.get("comparison") or {}, metric).best
    groups: list[tuple[int | None, list[str]]] = [(None, methods_of(metrics))]
    if metric.name == WIN:
        groups = list(rivals_of(metrics).items())
    columns = []
    for number, group in groups:
        cells = {}
        for method in group:
            cell = found.get((method, number))
            if cell is not None and cell.mean is not None:
                cells[method] = metric.printed(cell.mean) + (_MARK if best == method else "")
        among = () if number is None else (f"of {len(group)}",)
        head = (*metric.title.split(), *among, f"{metric.unit} {metric.arrow}".strip())
        columns.append(_Column(head, cells))
    return columns


def _packed(columns: Sequence[_Column], room: int) -> list[list[_Column]]:
    """The columns in order, as many in each part as fit."""
    parts: list[list[_Column]] = [[]]
    left = room
    for column in columns:
        needed = column.width + _BETWEEN
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= needed
    return parts


def _claims(protocol: Mapping[str, Any]) -> Table:
    """The claims of each table by verdict."""
    note = "published claims, judged by paired differences on these images"
    table = frame(f"Protocol: {protocol['title']}", note)
    table.add_column(literal("table"), overflow="fold")
    for verdict in VERDICTS:
        table.add_column(literal(verdict.replace(" ", "\n")), justify="right", no_wrap=True)
    for part in protocol["tables"]:
        counts = claim_counts(part["claims"])
        shown = (literal(str(counts[name]), "" if counts[name] else "dim") for name in VERDICTS)
        table.add_row(literal(str(part["title"])), *shown)
    return table
