"""The terminal's table of explainers beside the methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camaudit.report.explainers import explainer_lines
from camaudit.report.table import literal
from camaudit.report.theory_tables import frame
from camaudit.types import Results

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["explainers_table"]


def explainers_table(results: Results) -> list[Table]:
    """The lines as a table for the terminal, printed literally; none where there are none."""
    lines = explainer_lines(results)
    if not lines:
        return []
    table = frame(
        "Explainers beside the methods",
        "Min-max subtracts a constant, which moves mass wherever a map does not touch 0.",
    )
    for heading in ("explainer", "from", "done to the map"):
        table.add_column(literal(heading), overflow="fold", vertical="top")
    for line in lines:
        done = f"{line.processing}\n{line.maps}" if line.maps else line.processing
        table.add_row(literal(line.name), literal(line.origin), literal(done))
    return [table]
