"""The verdict of the invariance check: which explainers have a bug, and in which property."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camaudit.report import figures
from camaudit.report.claims import ClaimsKind, ClaimsVerdict
from camaudit.report.invariance_cells import (
    BUG,
    DIFFERENT,
    FAULT,
    HOLDS,
    MARKS,
    NOT_CONFIRMED,
    VIOLATED,
    mark_of,
    place,
)
from camaudit.report.names import INVARIANCE, title
from camaudit.report.verdict import Segment
from camaudit.types import Claim

__all__ = ["RULE", "counts", "explainers_of", "invariance_claims", "invariance_verdict"]

RULE = (
    "A bug is an example on which an explainer breaks what must hold of it by its own definition. "
    "Where the definition itself breaks the property, that is published with its reason, expected, "
    "and no bug. A fault, such as an exception or NaN, is told apart from both. What does not "
    "apply or says nothing is never a pass, and no bug found is no proof that there is none."
)

_ANSWERS = (HOLDS, VIOLATED, NOT_CONFIRMED, BUG)
_MOST_NAMED = 8  # explainers with a sentence of their own
_COUNTED = {
    HOLDS: ("holds", "hold"),
    VIOLATED: ("is violated by definition", "are violated by definition"),
    NOT_CONFIRMED: ("is published as violated, but not confirmed",
                    "are published as violated, but not confirmed"),
    BUG: ("is a bug", "are bugs"),
    FAULT: ("is a fault", "are faults"),
    "undefined": ("is undefined", "are undefined"),
    "not applicable": ("does not apply", "do not apply"),
}  # fmt: skip

Line = tuple[Segment, ...]
Entry = Mapping[str, Any]


def invariance_claims(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that belong to the invariance check."""
    return [claim for claim in claims if claim.check == INVARIANCE]


def explainers_of(invariance: Mapping[str, Any]) -> list[str]:
    """Every explainer by name, in the order of the run."""
    parts = [*(invariance.get("findings") or []), *(invariance.get("conformance") or [])]
    listed = [entry["name"] for entry in invariance.get("explainers") or []]
    return list(dict.fromkeys([*listed, *(part["explainer"] for part in parts)]))


def counts(findings: Iterable[Entry]) -> Counter[str]:
    """Findings by outcome."""
    return Counter(mark_of(finding).outcome for finding in findings)


def invariance_verdict(invariance: Mapping[str, Any]) -> ClaimsVerdict:
    """How many explainers have a bug, each bug by name, and what else was found."""
    findings: Sequence[Entry] = invariance.get("findings") or []
    compared: Sequence[Entry] = invariance.get("conformance") or []
    by_explainer = {
        name: [finding for finding in findings if finding["explainer"] == name]
        for name in explainers_of(invariance)
    }
    kind = _kind(findings, compared)
    lines = [_headline(kind, by_explainer), (Segment(_counts(findings)),)]
    lines += _named("Bug", BUG, by_explainer)
    lines += _named("Fault", FAULT, by_explainer)
    lines += _named("Published as violated, but not confirmed", NOT_CONFIRMED, by_explainer)
    lines += _conformance(compared)
    return ClaimsVerdict(kind, tuple(lines), RULE)


def _kind(findings: Sequence[Entry], compared: Sequence[Entry]) -> ClaimsKind:
    found, unlike = counts(findings), counts(compared)
    if found[BUG]:
        return ClaimsKind.FAIL
    if not any(found[outcome] for outcome in _ANSWERS):
        return ClaimsKind.NONE
    if found[FAULT] or found[NOT_CONFIRMED] or unlike[DIFFERENT] or unlike[FAULT]:
        return ClaimsKind.OPEN
    return ClaimsKind.PASS


def _headline(kind: ClaimsKind, by_explainer: Mapping[str, Sequence[Entry]]) -> Line:
    """How many explainers have a bug, of those that any property was answered for."""
    if kind is ClaimsKind.NONE:
        return (Segment("No verdict."),)
    found = {name: counts(own) for name, own in by_explainer.items()}
    tested = [name for name in found if any(found[name][outcome] for outcome in _ANSWERS)]
    buggy = sum(found[name][BUG] > 0 for name in tested)
    who = figures.counted(len(tested), "explainer") if len(tested) > 1 else title(tested[0])
    if kind is not ClaimsKind.FAIL:
        return (Segment("No bug found in "), Segment(who, "figure"), Segment("."))
    subject = f"{buggy} of {who}" if len(tested) > 1 else who
    return (Segment(subject, "figure"), Segment(f" {'has' if buggy == 1 else 'have'} a bug."))


def _counts(findings: Sequence[Entry]) -> str:
    """All findings by outcome."""
    found = counts(findings)
    if not found:
        return "No property was put to the test."
    number = sum(found.values())
    parts = [
        f"{figures.whole(found[outcome])} {one if found[outcome] == 1 else many}"
        for outcome, (one, many) in _COUNTED.items()
        if found[outcome]
    ]
    said = f"{figures.whole(number)} {'finding' if number == 1 else 'findings'}"
    return f"{said}, one for each property of each explainer: {', '.join(parts)}."


def _named(label: str, outcome: str, by_explainer: Mapping[str, Sequence[Entry]]) -> list[Line]:
    """A sentence for each explainer with such findings, which names their properties."""
    lines: list[Line] = []
    for name, findings in by_explainer.items():
        own = [finding for finding in findings if mark_of(finding).outcome == outcome]
        if own:
            many = "s" if len(own) > 1 and label in ("Bug", "Fault") else ""
            lines.append(
                (
                    Segment(f"{label}{many}: "),
                    Segment(title(name), "name"),
                    Segment(f" in {_properties(own)}."),
                )
            )
    return _shortened(lines, "explainer")


def _properties(findings: Sequence[Entry]) -> str:
    """The properties of the findings, with the networks that they were found on."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        key = (finding.get("fault") or "", finding["on"])
        grouped.setdefault(key, []).append(finding["property"])
    parts = []
    for (fault, on), names in grouped.items():
        listed = f"{len(names)} properties" if fault and len(names) > 3 else figures.joined(names)
        parts.append(f"{listed}{f' ({fault})' if fault else ''} on {place(on)}")
    return "; ".join(parts)


def _conformance(compared: Sequence[Entry]) -> list[Line]:
    """Which explainers are what they claim to be, and by name which are not."""
    lines: list[Line] = []
    for entry in compared:
        mark = mark_of(entry)
        if mark.outcome in (DIFFERENT, FAULT):
            verb = "differs from" if mark.outcome == DIFFERENT else "could not be compared with"
            lines.append(
                (
                    Segment(title(entry["explainer"]), "name"),
                    Segment(f" {verb} {title(entry['claims'])} on {place(entry['on'])}."),
                )
            )
    found = counts(compared)
    same = [
        f"{figures.whole(found[outcome])} {outcome}"
        for outcome in list(MARKS)
        if outcome.startswith("equal") and found[outcome]
    ]
    lines = _shortened(lines, "comparison")
    if same:
        total = f"{figures.counted(len(compared), 'comparison')} with a method that is claimed"
        lines.append((Segment(f"Of {total}: {', '.join(same)}."),))
    return lines


def _shortened(lines: list[Line], noun: str) -> list[Line]:
    """The first lines; the rest is counted."""
    rest = len(lines) - _MOST_NAMED
    if rest <= 0:
        return lines
    more = f"And {figures.counted(rest, f'more {noun}')}; all stand below."
    return [*lines[:_MOST_NAMED], (Segment(more),)]
