"""The invariance check on the terminal: a line an explainer, and every bug beneath it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from camaudit.report import figures
from camaudit.report.invariance import invariance_view
from camaudit.report.invariance_cases import Case
from camaudit.report.invariance_cells import (
    BUG,
    DIFFERENT,
    FAULT,
    HOLDS,
    NOT_APPLICABLE,
    NOT_CONFIRMED,
    UNDEFINED,
    VIOLATED,
)
from camaudit.report.invariance_verdict import counts, explainers_of
from camaudit.report.table import literal
from camaudit.report.theory_tables import frame
from camaudit.types import Results

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["invariance_tables"]

_HEADINGS = {
    HOLDS: "holds",
    VIOLATED: "by def-\ninition",
    NOT_CONFIRMED: "not con-\nfirmed",
    BUG: "bug",
    FAULT: "fault",
    UNDEFINED: "unde-\nfined",
    NOT_APPLICABLE: "not ap-\nplicable",
}
_STYLES = {BUG: "bold red", FAULT: "red", NOT_CONFIRMED: "yellow", DIFFERENT: "yellow"}


def invariance_tables(results: Results) -> list[Table]:
    """Rich tables, legible from 80 columns on; none where the invariance check was not run.

    The first counts the findings of each explainer by outcome: on drawn networks and, where it was
    tested, plus those on the audited model. Beneath it stand every bug and fault, then the
    comparisons with methods that explainers claim to be. Explainers go by their own names; text is
    printed literally.
    """
    view, invariance = invariance_view(results), results.invariance
    if view is None:
        return []
    compared = invariance.get("conformance")
    tables = []
    if invariance.get("findings") or not compared:
        tables.append(_counts_table(invariance, view.setting, own=view.own))
    if view.cases:
        tables.append(_cases_table(view.cases))
    if compared:
        tables.append(_conformance_table(compared))
    headline = view.verdict.sentences[:2]
    words = " ".join("".join(part.text for part in line) for line in headline)
    tables[-1].caption = literal("\n" + words)
    return tables


def _counts_table(invariance: Mapping[str, Any], setting: str, *, own: bool) -> Table:
    """How many properties hold, and what became of the others."""
    findings: Sequence[Mapping[str, Any]] = invariance.get("findings") or []
    note = f"{setting}\nproperties on drawn networks + on the audited model" if own else setting
    table = frame("Invariance", note)
    table.padding = (0, 1, 0, 0)
    table.add_column(literal("explainer"), min_width=8, overflow="fold", vertical="top")
    for heading in (*_HEADINGS.values(), "examples"):
        table.add_column(literal(heading), justify="right", no_wrap=True)
    for name in explainers_of(invariance):
        parts = [
            [entry for entry in findings if (entry["explainer"], entry["on"]) == (name, on)]
            for on in ("drawn", "own")
        ]
        examples = sum(int(entry["examples"]) for part in parts for entry in part)
        found = [counts(part) for part in parts]
        cells = (_count([one[outcome] for one in found], outcome) for outcome in _HEADINGS)
        table.add_row(literal(name), *cells, literal(figures.whole(examples)))
    return table


def _count(numbers: Sequence[int], outcome: str) -> Text:
    """`drawn+own` where there is anything on the audited model."""
    drawn, own = numbers
    if not drawn + own:
        return literal("–", "dim")
    return literal(f"{drawn}+{own}" if own else str(drawn), _STYLES.get(outcome, ""))


def _cases_table(cases: Sequence[Case]) -> Table:
    """What was found, with the file that a counterexample was saved as."""
    table = frame("Bugs and faults", "")
    table.add_column(literal("explainer"), min_width=8, overflow="fold", vertical="top")
    table.add_column(literal("what"), no_wrap=True)
    table.add_column(literal("property"), min_width=12, overflow="fold")
    table.add_column(literal("found"), min_width=20, overflow="fold")
    for case in cases:
        found = literal(case.headline)
        found.append_text(literal(f"\non {case.place}", "dim"))
        if case.file:
            found.append_text(literal(f"\nsaved as {case.file}", "dim"))
        what = literal(case.mark.outcome.upper(), _STYLES.get(case.mark.outcome, ""))
        table.add_row(literal(case.name), what, literal(case.subject), found)
    return table


def _conformance_table(conformance: Sequence[Mapping[str, Any]]) -> Table:
    """Each explainer against the method that it claims to be."""
    table = frame("Conformance", "maps against those of the method that is claimed")
    table.padding = (0, 1, 0, 0)
    table.add_column(literal("explainer"), min_width=8, overflow="fold", vertical="top")
    table.add_column(literal("claims"), min_width=8, overflow="fold", vertical="top")
    table.add_column(literal("on"), no_wrap=True)
    table.add_column(literal("outcome"), min_width=14)
    for heading in ("largest\ndifference", "corre-\nlation", "examples"):
        table.add_column(literal(heading), justify="right", no_wrap=True)
    for entry in conformance:
        outcome = literal(entry["outcome"], _STYLES.get(entry["outcome"], ""))
        if entry.get("processing"):
            outcome.append_text(literal(f"\n{entry['processing']}", "dim"))
        table.add_row(
            literal(entry["explainer"]),
            literal(entry["claims"]),
            literal(entry["on"]),
            outcome,
            _quantity(entry.get("difference")),
            _quantity(entry.get("correlation")),
            literal(figures.whole(entry["examples"])),
        )
    return table


def _quantity(value: float | None) -> Text:
    return literal("–", "dim") if value is None else literal(figures.quantity(value))
