"""The view model of the invariance check: verdict, matrix, bugs, violations and conformance.

Pure functions from :class:`~camaudit.types.Results` to frozen dataclasses, as for the audit's
report. What `Results.invariance` holds is described in the schema of results.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures, invariance_prose
from camaudit.report.claims import ClaimGroup, ClaimsVerdict, claim_groups
from camaudit.report.invariance_cases import (
    Case,
    Violator,
    cases,
    conformance_case,
    targets,
    untested,
    violators,
)
from camaudit.report.invariance_cells import (
    BUG,
    FAULT,
    MARKS,
    NOT_CONFIRMED,
    VIOLATED,
    Mark,
    Matrix,
    mark_of,
    matrices,
    place,
    seconds_text,
)
from camaudit.report.invariance_verdict import (
    counts,
    explainers_of,
    invariance_claims,
    invariance_verdict,
)
from camaudit.report.names import INVARIANCE, title
from camaudit.report.prose import Paragraph
from camaudit.report.view import Fact, Unscored
from camaudit.types import Results

__all__ = ["Comparison", "InvarianceView", "PropertyView", "invariance_view"]


@dataclass(frozen=True)
class PropertyView:
    """What must hold, with where that comes from and what counts as equal."""

    identifier: str
    name: str
    statement: str
    source: str
    tolerance: str


@dataclass(frozen=True)
class Comparison:
    """An explainer against the method that it claims to be; `case` where there is more to say."""

    explainer: str
    claims: str
    place: str
    mark: Mark
    processing: str
    difference: str
    correlation: str
    examples: str
    case: Case | None


@dataclass(frozen=True)
class InvarianceView:
    """Everything that the page says of the invariance check; `own`: also of the audited model."""

    verdict: ClaimsVerdict
    facts: tuple[Fact, ...]
    setting: str
    own: bool
    claims: tuple[ClaimGroup, ...]
    matrices: tuple[Matrix, ...]
    legend: tuple[Mark, ...]
    cases: tuple[Case, ...]
    violators: tuple[Violator, ...]
    comparisons: tuple[Comparison, ...]
    properties: tuple[PropertyView, ...]
    untested: tuple[Unscored, ...]
    reading: tuple[Paragraph, ...]
    limits: tuple[Paragraph, ...]


def invariance_view(results: Results) -> InvarianceView | None:
    """The view model; None where the invariance check was not run."""
    invariance = results.invariance
    if not any(invariance.get(part) for part in ("settings", "findings", "conformance")):
        return None
    compared = bool(invariance.get("conformance"))
    own = _own(invariance)
    seconds = {
        name: float(took)
        for name, took in (results.timing.get(INVARIANCE) or {}).items()
        if isinstance(took, int | float)
    }
    shown = matrices(invariance, targets(invariance), seconds=seconds)
    marks = {mark for matrix in shown for mark in matrix.marks}
    return InvarianceView(
        verdict=invariance_verdict(invariance),
        facts=_facts(invariance, seconds),
        setting=_setting(invariance),
        own=own,
        claims=claim_groups(invariance_claims(results.claims)),
        matrices=shown,
        legend=tuple(mark for mark in MARKS.values() if mark in marks),
        cases=cases(invariance),
        violators=violators(invariance),
        comparisons=_comparisons(invariance),
        properties=_properties(invariance),
        untested=untested(invariance),
        reading=invariance_prose.reading(conformance=compared),
        limits=invariance_prose.limits(own=own, conformance=compared),
    )


def _own(invariance: Mapping[str, Any]) -> bool:
    """Whether anything was tested on the audited model."""
    parts = [*(invariance.get("findings") or []), *(invariance.get("conformance") or [])]
    return any(part["on"] == "own" for part in parts)


def _setting(invariance: Mapping[str, Any]) -> str:
    """How long was looked, on a line."""
    settings: Mapping[str, Any] = invariance.get("settings") or {}
    parts = []
    if settings.get("examples"):
        parts.append(f"{_many(settings['examples'], 'example')} a property on drawn networks")
    if settings.get("own_examples") and _own(invariance):
        parts.append(f"{_many(settings['own_examples'], 'example')} on the audited model")
    if settings.get("seed") is not None:
        parts.append(f"seed {settings['seed']}")
    if settings.get("budget") is not None:
        parts.append(f"time budget {seconds_text(settings['budget'])}")
    return "; ".join(parts)


def _facts(invariance: Mapping[str, Any], seconds: Mapping[str, float]) -> tuple[Fact, ...]:
    findings: Sequence[Mapping[str, Any]] = invariance.get("findings") or []
    found = counts(findings)
    kinds = [entry["kind"] for entry in invariance.get("explainers") or []]
    registered = kinds.count("registered")
    callables = len(kinds) - registered
    looked_for = found[VIOLATED] + found[NOT_CONFIRMED]
    bugs = {finding["explainer"] for finding in findings if finding["outcome"] == BUG}
    trouble = [f"in {_many(len(bugs), 'explainer')}"] if bugs else ["found"]
    trouble += [f"and {_many(found[FAULT], 'fault')}"] if found[FAULT] else []
    examples = sum(int(finding["examples"]) for finding in findings)
    aside = sum(int(finding["degenerate"]) + int(finding["unstable"]) for finding in findings)
    took = f", in {seconds_text(sum(seconds.values()))}" if seconds else ""
    return (
        Fact(
            "Explainers",
            str(len(explainers_of(invariance))),
            f"{registered} registered, {_many(callables, 'callable')}"
            if callables
            else "all of them registered methods",
        ),
        Fact(
            "Properties",
            str(len({finding["property"] for finding in findings})),
            "each with its source and its tolerance",
        ),
        Fact(
            "Examples",
            figures.whole(examples),
            f"that say something{took}; {figures.whole(aside)} more say nothing",
        ),
        Fact("Bugs", str(found[BUG]), "; ".join(trouble)),
        Fact(
            "Published violations",
            f"{found[VIOLATED]} of {looked_for}" if looked_for else "none",
            "confirmed by an example" if looked_for else "is known of these explainers",
        ),
    )


def _comparisons(invariance: Mapping[str, Any]) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(
            explainer=title(entry["explainer"]),
            claims=title(entry["claims"]),
            place=place(entry["on"]),
            mark=mark_of(entry),
            processing=entry.get("processing") or "–",
            difference=figures.quantity(entry.get("difference")),
            correlation=figures.quantity(entry.get("correlation")),
            examples=figures.whole(entry["examples"]),
            case=conformance_case(entry, number)
            if entry.get("counterexample") or entry.get("reason")
            else None,
        )
        for number, entry in enumerate(invariance.get("conformance") or [], start=1)
    )


def _properties(invariance: Mapping[str, Any]) -> tuple[PropertyView, ...]:
    return tuple(
        PropertyView(
            identifier=f"property-{number}",
            name=entry["name"],
            statement=entry["statement"],
            source=entry["source"],
            tolerance=_tolerance(entry["tolerance"]),
        )
        for number, entry in enumerate(invariance.get("properties") or [], start=1)
    )


def _tolerance(tolerance: Mapping[str, Any]) -> str:
    """Both bounds with their reason; one where they are equal.

    >>> _tolerance({"float64": 1e-9, "float32": 0.002, "reason": "rounding"})
    '10⁻⁹ in float64, 0.002 in float32: rounding'
    """
    double, single = tolerance["float64"], tolerance["float32"]
    if double == single == 0:
        bounds = "0, equal to the last bit"
    elif double == single:
        bounds = figures.quantity(double)
    else:
        bounds = f"{figures.quantity(double)} in float64, {figures.quantity(single)} in float32"
    return f"{bounds}: {tolerance['reason']}"


def _many(number: int, noun: str) -> str:
    return f"{figures.whole(number)} {noun if number == 1 else noun + 's'}"
