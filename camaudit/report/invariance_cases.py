"""Single findings of the invariance check in full: bugs, faults, and published violations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.invariance_cells import (
    BUG,
    FAULT,
    NOT_APPLICABLE,
    NOT_CONFIRMED,
    UNDEFINED,
    VIOLATED,
    Key,
    Mark,
    examples_text,
    key_of,
    mark_of,
    place,
)
from camaudit.report.names import title
from camaudit.report.origin import OriginLine
from camaudit.report.view import Unscored

Entry = Mapping[str, Any]

__all__ = [
    "Case",
    "Violations",
    "Violator",
    "cases",
    "conformance_case",
    "targets",
    "untested",
    "violators",
]


@dataclass(frozen=True)
class Case:
    """One finding in full.

    `name` is the explainer's own, `subject` that of a property where `named`. `headline` says
    what was found; `trace` is the explainer's own traceback, `code` repeats the counterexample
    and `file` is where that was saved; each empty where there is none.
    """

    identifier: str
    name: str
    explainer: str
    subject: str
    named: bool
    place: str
    mark: Mark
    headline: str
    lines: tuple[OriginLine, ...]
    trace: str
    code: str
    file: str

    @property
    def confirmed(self) -> bool:
        """Whether an example was found, of a violation that is published."""
        return self.mark.outcome != NOT_CONFIRMED


@dataclass(frozen=True)
class Violations:
    """Findings that one published reason explains."""

    reason: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Violator:
    """A method with the published violations that were looked for, by their reason."""

    explainer: str
    violations: tuple[Violations, ...]


def cases(invariance: Mapping[str, Any]) -> tuple[Case, ...]:
    """Every bug, then every fault; faults of an explainer that say the same are drawn together."""
    properties = invariance.get("properties") or []
    statements = {entry["name"]: entry["statement"] for entry in properties}
    return tuple(
        _case(identifier, entries, statements) for identifier, entries in _troubles(invariance)
    )


def violators(invariance: Mapping[str, Any]) -> tuple[Violator, ...]:
    """The published violations that were looked for, confirmed or not, by explainer and reason."""
    grouped: dict[str, dict[str, list[Case]]] = {}
    for identifier, entry in _expected(invariance):
        reason = str(entry.get("reason") or "no reason was recorded")
        by_reason = grouped.setdefault(entry["explainer"], {})
        by_reason.setdefault(reason, []).append(_case(identifier, [entry], {}))
    return tuple(
        Violator(
            title(explainer),
            tuple(Violations(reason, tuple(found)) for reason, found in by_reason.items()),
        )
        for explainer, by_reason in grouped.items()
    )


def targets(invariance: Mapping[str, Any]) -> dict[Key, str]:
    """The identifier of every finding that is told in full."""
    expected = ((identifier, [entry]) for identifier, entry in _expected(invariance))
    told = (*_troubles(invariance), *expected)
    return {key_of(entry): identifier for identifier, entries in told for entry in entries}


def untested(invariance: Mapping[str, Any]) -> tuple[Unscored, ...]:
    """What says nothing, and why; properties with equal reasons are drawn together."""
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for entry in invariance.get("findings") or []:
        outcome = mark_of(entry).outcome
        if outcome in (NOT_APPLICABLE, UNDEFINED):
            reason = str(entry.get("reason") or _silent(entry))
            key = (entry["explainer"], outcome, entry["on"], reason)
            grouped.setdefault(key, []).append(entry["property"])
    return tuple(
        Unscored(
            title(explainer),
            outcome,
            f"{reason} ({', '.join(names)})",
            f"{figures.counted(len(names), 'property', 'properties')} on {place(on)}",
        )
        for (explainer, outcome, on, reason), names in grouped.items()
    )


def conformance_case(entry: Mapping[str, Any], number: int) -> Case:
    """A comparison with the method that an explainer claims to be, in full."""
    found: Mapping[str, Any] = entry.get("counterexample") or {}
    mark = mark_of(entry)
    lines = [
        ("Compared with", title(entry["claims"])),
        ("Post-processing", entry.get("processing") or ""),
        ("Reason", _unlike(entry.get("reason"), found.get("message"))),
        ("Largest difference", figures.quantity(entry.get("difference"))),
        ("Correlation there", figures.quantity(entry.get("correlation"))),
        ("Compared", examples_text(entry)),
    ]
    return Case(
        identifier=f"conformance-{number}",
        name=entry["explainer"],
        explainer=title(entry["explainer"]),
        subject=f"against {title(entry['claims'])}",
        named=False,
        place=place(entry["on"]),
        mark=mark,
        headline=str(found.get("message") or entry.get("reason") or mark.meaning),
        lines=_lines(lines),
        **_evidence(found),
    )


def _troubles(invariance: Mapping[str, Any]) -> list[tuple[str, list[Entry]]]:
    """Every bug by itself and the faults by what they say, each with its identifier."""
    findings: Sequence[Entry] = invariance.get("findings") or []
    bugs = [[entry] for entry in findings if entry["outcome"] == BUG]
    faults: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in findings:
        if entry["outcome"] == FAULT:
            message = (entry.get("counterexample") or {}).get("message") or entry.get("reason")
            key = (entry["explainer"], entry["on"], entry.get("fault"), message)
            faults.setdefault(key, []).append(entry)
    listed = enumerate([*bugs, *faults.values()], start=1)
    return [(f"case-{number}", entries) for number, entries in listed]


def _expected(invariance: Mapping[str, Any]) -> list[tuple[str, Entry]]:
    """The published violations that were looked for, each with its identifier."""
    findings: Sequence[Entry] = invariance.get("findings") or []
    chosen = [entry for entry in findings if entry["outcome"] in (VIOLATED, NOT_CONFIRMED)]
    return [(f"violation-{number}", entry) for number, entry in enumerate(chosen, start=1)]


def _case(identifier: str, entries: Sequence[Entry], statements: Mapping[str, str]) -> Case:
    """The first of findings that say the same, with the properties of all."""
    entry, names = entries[0], [str(each["property"]) for each in entries]
    found: Entry = entry.get("counterexample") or {}
    mark, message = mark_of(entry), found.get("message")
    reason = _unlike(entry.get("reason"), message) if mark.outcome in (BUG, FAULT) else ""
    lines = [
        ("What must hold", statements.get(names[0], "") if len(names) == 1 else ""),
        ("Properties", ", ".join(names) if len(names) > 1 else ""),
        ("Fault", entry.get("fault") or ""),
        ("Reason", reason),
        ("Difference", figures.quantity(found["difference"]) if _given(found) else ""),
        ("Tried", examples_text(entry) if len(names) == 1 else ""),
    ]
    return Case(
        identifier=identifier,
        name=entry["explainer"],
        explainer=title(entry["explainer"]),
        subject=names[0] if len(names) == 1 else f"{len(names)} properties",
        named=len(names) == 1,
        place=place(entry["on"]),
        mark=mark,
        headline=str(message or mark.meaning),
        lines=_lines(lines),
        **_evidence(found),
    )


def _given(found: Mapping[str, Any]) -> bool:
    return found.get("difference") is not None


def _evidence(found: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(found.get(name) or "").rstrip() for name in ("trace", "code", "file")}


def _unlike(text: str | None, other: str | None) -> str:
    """`text`, unless it says the same as `other`."""
    return text if text and text != other else ""


def _lines(pairs: Sequence[tuple[str, str]]) -> tuple[OriginLine, ...]:
    return tuple(OriginLine(label, value) for label, value in pairs if value)


def _silent(entry: Mapping[str, Any]) -> str:
    """Why no example said anything, where no reason is recorded."""
    if entry.get("degenerate") or entry.get("unstable"):
        return f"no example counts: {examples_text(entry).partition('; ')[2]}"
    return "no reason was recorded"
