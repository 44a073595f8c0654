"""The table of the paper's Table 1: methods by data sets, with the wall and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camaudit.report import figures
from camaudit.report.names import title
from camaudit.report.table import WIDE, literal
from camaudit.report.verdict import CONTROL
from camaudit.types import DataSummary, Interval, Results, Summary

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["DataColumns", "DataRow", "DataView", "data_tables", "data_view"]

_KINDS = {"stack-mix": "STACK-MIX", "stack-gen": "STACK-GEN"}
_HEADINGS = ("masked L1", "masked L2", "unmasked L1", "unmasked L2")
_LABEL, _CELL = 22, 15  # characters of a terminal's columns


@dataclass(frozen=True)
class DataColumns:
    """A data set at the head of its columns."""

    name: str
    note: str


@dataclass(frozen=True)
class DataRow:
    """A method: for every data set μ as mean ± standard deviation, in the order of `headings`."""

    name: str
    method: str
    control: bool
    cells: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class DataView:
    """The whole table; `headings` are those of each data set."""

    sets: tuple[DataColumns, ...]
    headings: tuple[str, ...]
    rows: tuple[DataRow, ...]
    uniform: str


def data_view(results: Results) -> DataView | None:
    """Methods by data sets, in the order of the settings; None where no data set was audited.

    A cell is the mean of μ over the images of a set and its sample standard deviation; the
    interval of the mean stands in the other tables and in results.json.
    """
    if not results.data:
        return None
    by_set = [{entry.method: entry for entry in one.summary} for one in results.data]
    first = results.data[0].summary
    return DataView(
        tuple(_columns(one) for one in results.data),
        _HEADINGS,
        tuple(_row(entry, by_set) for entry in first),
        f"{figures.percent(first[0].uniform)} (L1) and {figures.percent(first[0].uniform_l2)} (L2)"
        if first
        else figures.UNDEFINED,
    )


def data_tables(results: Results, *, width: int | None = None) -> list[Table]:
    """The table for a terminal: one for all data sets where they fit in `width`, else one each."""
    from rich.cells import cell_len

    view = data_view(results)
    if view is None:
        return []
    room = WIDE if width is None else width
    cells = [max(_CELL, cell_len(one.name) + 1) for one in view.sets]
    together = _LABEL + len(_HEADINGS) * sum(cells) <= room
    places = range(len(view.sets))
    groups = [list(places)] if together else [[place] for place in places]
    return [_table(view, group) for group in groups]


def _table(view: DataView, group: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table

    names = "; ".join(f"{view.sets[place].name}, {view.sets[place].note}" for place in group)
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        title=literal(f"μ in the dead zone, mean ± standard deviation over images\n{names}"),
        title_justify="left",
        caption=literal(f"\nA uniform map scores {view.uniform}."),
        caption_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(literal("method"), min_width=8, overflow="fold")
    for place in group:
        over = f"{view.sets[place].name}\n" if len(group) > 1 else ""
        for heading in view.headings:
            table.add_column(literal(over + heading), justify="right", no_wrap=True)
    for row in view.rows:
        cells = [literal(text) for place in group for text in row.cells[place]]
        table.add_row(literal(row.name, "dim" if row.control else ""), *cells)
    return table


def _row(entry: Summary, by_set: Sequence[Mapping[str, Summary]]) -> DataRow:
    found = [methods.get(entry.method) for methods in by_set]
    return DataRow(
        entry.method,
        title(entry.method),
        entry.family == CONTROL,
        tuple(_cells(summary) for summary in found),
    )


def _cells(entry: Summary | None) -> tuple[str, ...]:
    if entry is None:
        return ("not run",) * len(_HEADINGS)
    return tuple(map(_spread, (entry.mu_l1, entry.mu_l2, entry.unmasked, entry.unmasked_l2)))


def _spread(value: Interval | None) -> str:
    return "not run" if value is None else figures.spread(value)


def _columns(one: DataSummary) -> DataColumns:
    # a set is named by its folder where another is of the same kind
    name = _KINDS[one.name] if one.name in _KINDS and one.name == one.kind else one.name
    return DataColumns(name, figures.counted(one.images, "image"))
