"""The terminal's table: one line a method, controls apart, the uniform map beneath."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from camaudit.report.view import Figure, ReportView, Row, report_view
from camaudit.types import Results

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["STYLES", "WIDE", "literal", "print_tables", "terminal_table", "with_bounds"]

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
WIDE = 100
_NARROWEST = 80
STYLES = {"lit": "red", "zero": "green", "undefined": "dim"}


def terminal_table(
    results: Results, *, check: str | None = None, width: int | None = None
) -> Table:
    """The figures as a rich table, legible from 80 columns on.

    From a `width` of 100 columns on a method takes one line; below that, or where `width` is
    None, intervals stand beneath their means. Methods go by their registry names, which are
    printed literally: neither rich's markup nor terminal escapes in them take effect.

    Raises
    ------
    UsageError
        if the results hold several checks and `check` names none of them.
    """
    view = report_view(results, check=check)
    wide = width is not None and width >= WIDE
    table = _frame(view, wide=wide)
    for row in view.methods:
        table.add_row(*_cells(row, wide=wide))
    if view.methods and view.controls:
        table.add_section()
    if view.controls:
        table.add_row(literal("controls", "italic dim"))
    for row in view.controls:
        table.add_row(*_cells(row, wide=wide))
    return table


def print_tables(tables: Callable[[int], Sequence[Table]]) -> None:
    """The tables of a given width on stdout; a terminal narrower than 80 columns wraps its lines.

    Raises BrokenPipeError where nobody reads stdout any more.
    """
    from rich.console import Console

    console = Console()
    console.width = max(console.width, _NARROWEST)
    with console.capture() as captured:
        for number, table in enumerate(tables(console.width)):
            if number:
                console.print()
            console.print(table)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def _frame(view: ReportView, *, wide: bool) -> Table:
    """The table without its rows."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        title=literal("Share of the map in the dead zone"),
        title_justify="left",
        caption=literal(_caption(view)),
        caption_justify="left",
        pad_edge=False,
        padding=0,
    )
    table.add_column(literal("method"), min_width=8, overflow="fold", vertical="top")
    glue = " " if wide else "\n"
    headings = (f"μ L1{glue}[95 % CI]", "μ L2", "μ\nmin-max", "unmasked\nμ L1")
    for heading in (*headings, f"difference{glue}[95 % CI]", "n", "degen-\nerate"):
        table.add_column(literal(heading), justify="right", no_wrap=True)
    return table


def _cells(row: Row, *, wide: bool) -> Sequence[Text]:
    style = "" if row.control else STYLES[row.finding.value]
    return (
        literal(row.name),
        with_bounds(row.mu_l1, style, wide=wide),
        literal(row.mu_l2.text),
        literal(row.mu_l1_minmax.text),
        literal(row.unmasked.text),
        with_bounds(row.difference, "", wide=wide),
        literal(str(row.n)),
        literal(str(row.degenerate), "" if row.degenerate else "dim"),
    )


def with_bounds(figure: Figure, style: str, *, wide: bool) -> Text:
    """A figure with its interval beside it or, in brackets no longer needed, beneath it."""
    text = literal(figure.text, style)
    if figure.bounds:
        bounds = figure.bounds.strip("[]").removesuffix(" %").removesuffix(" pp")
        text.append(f" [{bounds}]" if wide else f"\n{bounds}", style="dim")
    return text


def _caption(view: ReportView) -> str:
    """The uniform line, accuracy, and what is missing from the table."""
    lines = ["", f"A uniform map scores {view.uniform} (L1) and {view.uniform_l2} (L2)."]
    if not view.verified:
        lines.append("The dead zone is not verified.")
    lines.append(view.accuracy)
    missing = [
        f"{row.name} ({row.unscored})"
        for row in (*view.methods, *view.controls)
        if row.not_applicable or row.errors
    ]
    if missing:
        lines.append(f"Without a figure: {', '.join(missing)}.")
    return "\n".join(lines)


def literal(value: str, style: str = "") -> Text:
    """Literal text: control characters, bidirectional marks and lone surrogates replaced."""
    from rich.text import Text

    parts = (_UNPRINTABLE.sub("\ufffd", line) for line in value.split("\n"))
    return Text("\n".join(parts), style=style)
