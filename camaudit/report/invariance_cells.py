"""What the invariance check found as marks, and the matrix explainer × property."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.names import title

__all__ = [
    "BUG",
    "DIFFERENT",
    "FAULT",
    "HOLDS",
    "MARKS",
    "NOT_APPLICABLE",
    "NOT_CONFIRMED",
    "UNDEFINED",
    "VIOLATED",
    "Cell",
    "Column",
    "Key",
    "Mark",
    "Matrix",
    "MatrixRow",
    "examples_text",
    "key_of",
    "mark_of",
    "matrices",
    "place",
    "seconds_text",
]

HOLDS = "holds"
VIOLATED = "violated by definition"
NOT_CONFIRMED = "not confirmed"
BUG = "bug"
FAULT = "fault"
UNDEFINED = "undefined"
NOT_APPLICABLE = "not applicable"
DIFFERENT = "different"

Key = tuple[str, str, str]  # explainer, on, property

_PLACES = {"drawn": "drawn networks", "own": "the audited model"}
_KINDS = {"registered": "Registered methods", "callable": "Callables"}


@dataclass(frozen=True)
class Mark:
    """How an outcome is shown: its `text`, or else the drawn `sign` of that name."""

    outcome: str
    meaning: str
    sign: str = ""
    text: str = ""

    @property
    def wordy(self) -> bool:
        """Whether the mark itself is the outcome in letters."""
        return self.text.lower() == self.outcome

    @property
    def slug(self) -> str:
        """The outcome as a single word without spaces."""
        return self.outcome.replace(" ", "-")


#: The marks of properties and of conformance by their outcome, in the order of the legend.
MARKS = {
    mark.outcome: mark
    for mark in (
        Mark(HOLDS, "no example violates it", "pass"),
        Mark(VIOLATED, "published of the method, and an example of it was found", "fail"),
        Mark(NOT_CONFIRMED, "published of the method, but no example of it came", "inconclusive"),
        Mark(BUG, "an example violates what must hold", text="BUG"),
        Mark(FAULT, "the explainer gave no maps that can be compared", text="fault"),
        Mark(UNDEFINED, "no example says anything", text="?"),
        Mark(NOT_APPLICABLE, "the property or the explainer applies to no example", text="–"),
        Mark("equal", "the same maps within rounding", text="="),
        Mark("equal up to post-processing", "the same maps after the processing named", text="≈"),
        Mark(DIFFERENT, "neither the same nor explained by a processing", text="≠"),
    )
}


@dataclass(frozen=True)
class Cell:
    """One property of one explainer; `mark` is None where it was not run.

    `words` say what the mark says, `tooltip` also which cell it is; `target` names the place on
    the page where the finding is told in full, empty where there is none.
    """

    mark: Mark | None
    words: str
    tooltip: str
    target: str = ""


@dataclass(frozen=True)
class Column:
    """A property; `target` names its place on the page."""

    name: str
    target: str


@dataclass(frozen=True)
class MatrixRow:
    """One explainer with its cells, its examples over all of them, and what they cost."""

    explainer: str
    note: str
    cells: tuple[Cell, ...]
    examples: str
    seconds: str


@dataclass(frozen=True)
class Matrix:
    """Every explainer that was run on drawn networks, or on the audited model.

    `groups` are the rows under the title of their kind; `marks` those that occur.
    """

    place: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[MatrixRow, ...]], ...]
    marks: tuple[Mark, ...]

    @property
    def timed(self) -> bool:
        """Whether it is known what any explainer took."""
        return any(row.seconds for _, rows in self.groups for row in rows)


def place(on: str) -> str:
    """`drawn` and `own` in words; any other name as it is."""
    return _PLACES.get(on, on)


def key_of(finding: Mapping[str, Any]) -> Key:
    """What a finding is about."""
    return finding["explainer"], finding["on"], finding["property"]


def mark_of(entry: Mapping[str, Any]) -> Mark:
    """The mark of a finding or a conformance; an outcome that is not known is undefined."""
    return MARKS.get(entry["outcome"], MARKS[UNDEFINED])


def examples_text(entry: Mapping[str, Any]) -> str:
    """How many examples say something and, where there are any, how many do not.

    >>> examples_text({"examples": 50, "degenerate": 3, "unstable": 0, "passed_over": 1})
    '50 examples; 3 degenerate, 1 passed over'
    """
    number = int(entry["examples"])
    rest = [
        f"{figures.whole(entry[name])} {word}"
        for name, word in (
            ("degenerate", "degenerate"),
            ("unstable", "moved by rounding"),
            ("passed_over", "passed over"),
        )
        if entry.get(name)
    ]
    said = f"{figures.whole(number)} {'example' if number == 1 else 'examples'}"
    return "; ".join([said, ", ".join(rest)] if rest else [said])


def matrices(
    invariance: Mapping[str, Any],
    targets: Mapping[Key, str],
    *,
    seconds: Mapping[str, float] | None = None,
) -> tuple[Matrix, ...]:
    """The findings on drawn networks, then those on the audited model, as far as there are any.

    `targets`: the place on the page where a finding is told in full. `seconds`: what each
    explainer took over both, shown in the first matrix.
    """
    findings = invariance.get("findings") or []
    known = {key_of(finding): finding for finding in findings}
    places = list(dict.fromkeys(finding["on"] for finding in findings))
    places.sort(key=lambda on: list(_PLACES).index(on) if on in _PLACES else len(_PLACES))
    return tuple(
        _matrix(invariance, on, known, targets, (seconds or {}) if number == 0 else {})
        for number, on in enumerate(places)
    )


def seconds_text(seconds: float | None) -> str:
    """A duration to one place below ten seconds, in minutes from two on.

    >>> seconds_text(0.04), seconds_text(8.26), seconds_text(61), seconds_text(600), \
            seconds_text(None)
    ('<0.1 s', '8.3 s', '61 s', '10 min', '')
    """
    if seconds is None:
        return ""
    if seconds < 0.1:
        return "<0.1 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{figures.whole(round(seconds / 60))} min"


def _matrix(
    invariance: Mapping[str, Any],
    on: str,
    known: Mapping[Key, Mapping[str, Any]],
    targets: Mapping[Key, str],
    seconds: Mapping[str, float],
) -> Matrix:
    here = [key for key in known if key[1] == on]
    columns = _columns(invariance, {name for _, _, name in here})
    run = {explainer for explainer, _, _ in here}
    rows: dict[str, list[MatrixRow]] = {}
    for entry in _explainers(invariance, here):
        name = entry["name"]
        if name not in run:
            continue
        keys = [(name, on, column.name) for column in columns]
        examples = sum(int(known[key]["examples"]) for key in keys if key in known)
        rows.setdefault(_KINDS.get(entry["kind"], _KINDS["callable"]), []).append(
            MatrixRow(
                title(name),
                _note(entry),
                tuple(_cell(key, known.get(key), targets.get(key, "")) for key in keys),
                figures.whole(examples),
                seconds_text(seconds.get(name)),
            )
        )
    found = Counter(cell.mark for group in rows.values() for row in group for cell in row.cells)
    return Matrix(
        place(on),
        columns,
        tuple((kind, tuple(listed)) for kind, listed in rows.items()),
        tuple(mark for mark in MARKS.values() if found[mark]),
    )


def _columns(invariance: Mapping[str, Any], found: set[str]) -> tuple[Column, ...]:
    """The properties in their order, then any that is not described."""
    listed = [entry["name"] for entry in invariance.get("properties") or []]
    described = {name: f"property-{number}" for number, name in enumerate(listed, start=1)}
    names = [*dict.fromkeys(listed), *sorted(found - set(listed))]
    return tuple(Column(name, described.get(name, "")) for name in names if name in found)


def _explainers(invariance: Mapping[str, Any], keys: Sequence[Key]) -> list[Mapping[str, Any]]:
    """The explainers in their order, then any that is not described."""
    listed: list[Mapping[str, Any]] = list(invariance.get("explainers") or [])
    names = {entry["name"] for entry in listed}
    others = dict.fromkeys(explainer for explainer, _, _ in keys if explainer not in names)
    return [*listed, *({"name": name, "kind": "callable"} for name in others)]


def _note(entry: Mapping[str, Any]) -> str:
    """What an explainer claims to be, where its name does not say it, and what else is known."""
    claims = entry.get("claims") if entry["kind"] != "registered" else None
    claimed = [f"claims {title(claims)}"] if claims else []
    return "; ".join([*claimed, *([entry["note"]] if entry.get("note") else [])])


def _cell(key: Key, finding: Mapping[str, Any] | None, target: str) -> Cell:
    named = f"{title(key[0])}, {key[2]}"
    if finding is None:
        return Cell(None, "not run", f"{named}: not run")
    mark = mark_of(finding)
    words = f"{mark.outcome}, {examples_text(finding)}"
    reason = f"; {finding['reason']}" if finding.get("reason") else ""
    return Cell(mark, words, f"{named}: {words}{reason}", target)
