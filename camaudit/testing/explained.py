"""Verdicts as the text of a test that did not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.gates.figures import FIGURES
from camaudit.gates.text import printable
from camaudit.report.gate import GateRow, GateView, gate_view

__all__ = ["causes", "ruling_text", "verdict_text", "whole_text"]

_MOST = 5  # of findings or problems that a text names
_COUNTED = {
    "invariance.bugs": ("bug",),
    "invariance.faults": ("fault",),
    "invariance.different": ("different", "fault"),
}


def ruling_text(
    place: str, row: GateRow | None, view: GateView, report: str, *, causes: Sequence[str] = ()
) -> str:
    """One ruling: condition, figure, interval, reason, what was found, worst images, report."""
    if row is None:
        lines = [f"{place}: no ruling", "  the verdict has none of that name", *_whole(view)]
    elif view.problems:
        lines = [f"{place}: not decided, for the run is another than the policy's", *_whole(view)]
    else:
        lines = [_said(row, place), *_row(row, causes)]
    return _text([*lines, *_report(report)])


def whole_text(place: str, view: GateView, report: str, *, other: Sequence[GateRow] = ()) -> str:
    """What keeps the gate shut beside its conditions."""
    lines = [f"{place}: {view.headline}", *_whole(view)]
    for row in other:
        lines += [_said(row, f"no test stands for {row.name}"), *_row(row, ())]
    return _text([*lines, *_report(report)])


def verdict_text(gate: Mapping[str, Any], found: Mapping[str, Sequence[str]]) -> str:
    """A verdict that is no pass: its problems, and every ruling that binds and did not pass.

    found: what was found, by the names of rulings (see :func:`causes`).
    """
    view = gate_view(gate)
    lines = [view.headline, *_whole(view)]
    for row in view.rows:
        if row.decision != "pass":
            lines += [_said(row, row.name), *_row(row, found.get(row.name, ()))]
    return _text(lines)


def causes(gate: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, list[str]]:
    """What was found wrong with an explainer, for every ruling on a count that did not pass."""
    part = results.get("invariance") or {}
    found = {}
    for ruling in gate["rulings"]:
        figure = ruling["condition"]["figure"]
        if figure in _COUNTED and ruling["decision"] != "pass":
            which = "conformance" if figure == "invariance.different" else "findings"
            said = [
                _finding(entry)
                for entry in part.get(which, ())
                if entry["explainer"] == ruling["explainer"]
                and entry["outcome"] in _COUNTED[figure]
            ]
            found[ruling["name"]] = list(dict.fromkeys(said))
    return found


def _finding(entry: Mapping[str, Any]) -> str:
    where = "drawn networks" if entry["on"] == "drawn" else "the model itself"
    shown = entry["counterexample"] or {}
    said = "; ".join(dict.fromkeys(t for t in (entry["reason"], shown.get("message")) if t))
    if "property" in entry:
        return f"{entry['property']}, on {where}: {said or entry['outcome']}"
    what = {"different": "its maps are not those of", "fault": "it could not be compared with"}
    difference = (
        "" if entry["difference"] is None else f" (they differ by {entry['difference']:.3g})"
    )
    text = f"{what[entry['outcome']]} {entry['claims']}, on {where}{difference}"
    return f"{text}: {said}" if said else text


def _said(row: GateRow, name: str) -> str:
    return f"{name}: {row.status}: {row.demanded}, came {row.measured}"


def _row(row: GateRow, found: Sequence[str]) -> list[str]:
    known = FIGURES.get(row.what)
    lines = [] if known is None else [f"  figure    {known.meaning}"]
    lines.append(f"  because   {row.reason}")
    lines += [f"  found     {text}" for text in found[:_MOST]]
    if len(found) > _MOST:
        lines.append(f"  found     and {len(found) - _MOST} more")
    return [*lines, *(f"            {text}" for text in row.details)]


def _whole(view: GateView) -> list[str]:
    lines = [f"  problem   {text}" for text in view.problems[:_MOST]]
    if len(view.problems) > _MOST:
        lines.append(f"  problem   and {len(view.problems) - _MOST} more")
    return lines


def _report(report: str) -> list[str]:
    return [f"  report    {report or 'none: --camaudit-report DIR writes one'}"]


def _text(lines: Sequence[str]) -> str:
    return printable("\n".join(lines))
