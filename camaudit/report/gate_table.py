"""A gate on the terminal: a line a ruling, gravest first, with the reason beneath it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from camaudit.report.gate import GateRow, gate_view
from camaudit.report.table import literal, print_tables
from camaudit.report.theory_tables import OUTCOMES, frame

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["gate_table", "print_gate"]

_STYLES = {outcome.value: style for outcome, style in OUTCOMES.items()} | {"degenerate": "yellow"}


def gate_table(gate: Mapping[str, Any]) -> Table:
    """What gate.json holds as a rich table, legible from 80 columns on.

    Text is printed literally: neither rich's markup, nor terminal escapes, nor the commands that a
    CI reads from a log (a line that begins with two colons) take effect in it.
    """
    view = gate_view(gate)
    table = frame("Gate", _tame(f"policy {view.policy}"))
    table.add_column(literal("outcome"), max_width=14)
    table.add_column(literal("figure [95 % interval]\nand demand"), max_width=34, overflow="fold")
    table.add_column(literal("ruling"), min_width=20, overflow="fold")
    for problem in view.problems:
        table.add_row(
            literal("ERROR", _STYLES["error"]), literal("–", "dim"), literal(_tame(problem))
        )
    for row in view.rows:
        table.add_row(_outcome(row), _numbers(row), _ruling(row))
    lines = ["", _tame(view.headline), *(_tame(f"Note: {text}") for text in view.notes)]
    table.caption = literal("\n".join(lines))
    return table


def print_gate(gate: Mapping[str, Any]) -> None:
    """The table of :func:`gate_table` on stdout; BrokenPipeError where nobody reads it."""
    print_tables(lambda _width: [gate_table(gate)])


def _outcome(row: GateRow) -> Text:
    decision, _, rest = row.status.partition(", ")
    text = literal(decision.upper(), _STYLES[row.decision] if row.binds else "dim")
    if rest:
        text.append_text(literal(f"\n{rest}", "dim"))
    return text


def _numbers(row: GateRow) -> Text:
    text = literal(row.measured)
    text.append_text(literal("\n" + _tame(row.demanded), "dim"))
    return text


def _ruling(row: GateRow) -> Text:
    text = literal(_tame(row.name))
    if row.decision != "pass":
        for line in (row.reason, *row.details):
            if line:
                text.append_text(literal("\n" + _tame(line), "dim"))
    return text


def _tame(text: str) -> str:
    """One line in which no CI finds a command of its own, however the table folds it."""
    return re.sub("([:#])(?=\\1)", r"\1 ", " ".join(text.split()))
