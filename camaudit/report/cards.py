"""A card for each method: its figure, interval and rank, what that means, and its paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.names import title
from camaudit.report.verdict import CONTROL, Finding, finding
from camaudit.report.view import ranked
from camaudit.types import Results, Summary

__all__ = ["Card", "cards"]


@dataclass(frozen=True)
class Card:
    """One method; `paper` and `formula` are empty where results.json does not hold them."""

    method: str
    family: str
    finding: Finding
    figure: str
    bounds: str
    rank: str
    meaning: str
    paper: str
    formula: str


def cards(results: Results, summary: Sequence[Summary]) -> tuple[Card, ...]:
    """The methods in the order of the tables; controls are none of them."""
    methods = [entry for entry in ranked(summary) if entry.family != CONTROL]
    papers = results.provenance.settings.get("papers")
    known: Mapping[str, Any] = papers if isinstance(papers, Mapping) else {}
    return tuple(_card(entry, methods, known.get(entry.method) or {}) for entry in methods)


def _card(entry: Summary, methods: Sequence[Summary], paper: Mapping[str, Any]) -> Card:
    source = [str(paper.get(name, "-")) for name in ("paper", "equation")]
    return Card(
        method=title(entry.method),
        family=entry.family,
        finding=finding(entry),
        figure=figures.percent(entry.mu_l1.mean),
        bounds=figures.interval(entry.mu_l1),
        rank=_rank(entry, methods),
        meaning=_meaning(entry),
        paper=", ".join(part for part in source if part != "-"),
        formula=str(paper.get("formula", "")),
    )


def _rank(entry: Summary, methods: Sequence[Summary]) -> str:
    """The place by mean μ, the lowest first; equals share their places."""
    shares = [
        other.mu_l1.mean
        for other in methods
        if other.mu_l1.mean is not None and finding(other) is not Finding.UNDEFINED
    ]
    mean = entry.mu_l1.mean
    if mean is None or finding(entry) is Finding.UNDEFINED:
        return "no rank"
    first = 1 + sum(share < mean for share in shares)
    last = first + shares.count(mean) - 1
    place = str(first) if first == last else f"{first}–{last}"
    return f"rank {place} of {len(shares)}, lowest μ first"


def _meaning(entry: Summary) -> str:
    which = finding(entry)
    missing = entry.degenerate + entry.not_applicable + entry.errors
    if which is Finding.UNDEFINED and not missing:
        return "Nothing can be said: it was run on no image."
    if which is Finding.UNDEFINED:
        return (
            f"Nothing can be said: {entry.degenerate} degenerate, {entry.not_applicable} not "
            f"applicable, {entry.errors} failed of "
            f"{figures.counted(missing, 'map')}."
        )
    over = figures.counted(entry.n, "image")
    if which is Finding.ZERO:
        text = f"On {over} no part of its map lies where the network cannot see."
    else:
        text = f"On {over} it claims evidence where there can be none: {_compared(entry)}."
    if missing:
        text += f" {figures.counted(missing, 'map')} without a figure do not count in its favour."
    if entry.difference is not None and figures.defined(entry.difference.mean):
        text += f" The wall changes its share by {figures.points(entry.difference.mean)}."
    return text


def _compared(entry: Summary) -> str:
    """μ beside that of a uniform map."""
    uniform = figures.percent(entry.uniform)
    if (entry.mu_l1.mean or 0.0) >= entry.uniform:
        return f"as much as a map that points nowhere ({uniform}), or more"
    share = (entry.mu_l1.mean or 0.0) / entry.uniform if entry.uniform else 0.0
    size = f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
    return f"{size} of what a map that points nowhere would put there ({uniform})"
