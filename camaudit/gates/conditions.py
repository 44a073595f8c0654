"""Conditions and waivers of a policy: from tables to values."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from camaudit.errors import UsageError
from camaudit.gates import kinds
from camaudit.gates.expression import Expression, parse
from camaudit.gates.figures import Figure, figure_named
from camaudit.gates.labels import Explainer, label_of
from camaudit.gates.names import near
from camaudit.gates.policy import BASELINE, UNIFORM, Bound, Condition, Severity, Waiver
from camaudit.gates.source import Source

__all__ = ["CONDITION", "WAIVER", "Names", "read_condition", "read_waiver"]

CONDITION: dict[str, kinds.Kind] = {
    "name": kinds.label,
    "require": kinds.text,
    "explainers": kinds.texts,
    "severity": kinds.choice(tuple(Severity)),
}
WAIVER: dict[str, kinds.Kind] = {
    "condition": kinds.text,
    "explainer": kinds.text,
    "reason": kinds.text,
    "expires": kinds.date,
}


class Names:
    """What conditions may refer to: the run's explainers, and names that are taken already."""

    def __init__(
        self, source: Source, explainers: Sequence[Explainer], written: Sequence[Any]
    ) -> None:
        self.source = source
        self.explainers = explainers
        self.written = [name for name in written if isinstance(name, str)]
        self.taken: dict[str, int] = {}  # condition → its line
        self.waived: set[tuple[str, str | None]] = set()

    def label(self, text: str) -> str:
        """The label of the run's explainer that `text` names; UsageError where there is none."""
        for one in self.explainers:
            if text.strip() in one.spellings:
                return one.label
        known = [one.label for one in self.explainers]
        made = label_of(text) if ":" not in text else text  # an unknown one has its own message
        if made not in known:
            raise UsageError(f"{made!r} is no explainer of the run: {near(made, known)}")
        return made


def read_condition(names: Names, entry: dict[str, Any], number: int) -> Condition | None:
    """A condition; None where it has a problem, which is noted."""
    place = ("condition", number)
    values = _values(names.source, entry, place, CONDITION, required=("require",))
    if "require" not in values:
        return None
    try:
        stated = parse(values["require"])
        figure = figure_named(stated.figure)
        bound = _bound(names, stated, figure)
    except UsageError as error:
        names.source.problem(f"condition: {error}", *place, "require")
        return None
    explainers = _labels(names, values.get("explainers", ()), place)
    made = Condition(
        name=values.get("name", figure.name),
        figure=figure.name,
        relation=stated.relation,
        bound=bound,
        explainers=explainers,
        severity=Severity(values.get("severity", Severity.FAIL)),
        text=values["require"],
        line=names.source.line(*place, "require"),
    )
    _take_name(names, made.name, place, given="name" in entry)
    return made


def read_waiver(
    names: Names,
    entry: dict[str, Any],
    number: int,
    conditions: Sequence[Condition],
    today: datetime.date,
) -> Waiver | None:
    """A waiver; None where it has a problem, which is noted."""
    place = ("waiver", number)
    source = names.source
    values = _values(source, entry, place, WAIVER, required=("condition", "reason", "expires"))
    known = [*names.taken, *names.written]
    if "condition" in values and values["condition"] not in known:
        hint = near(values["condition"], [one.name for one in conditions] or ["none"])
        source.problem(
            f"waiver of no condition: {values['condition']!r}; {hint}", *place, "condition"
        )
    if "expires" in values and values["expires"] < today:
        source.problem(
            f"the waiver of {values.get('condition', 'a condition')!r} expired on "
            f"{values['expires']}: repair what it covers, or decide anew and write a later day",
            *place,
            "expires",
        )
    if "explainer" in values:
        labels = _labels(names, (values["explainer"],), place, key="explainer")
        values["explainer"] = labels[0] if labels else None
    if not {"condition", "reason", "expires"} <= set(values):
        return None
    made = Waiver(**values, line=source.line(*place))
    if (made.condition, made.explainer) in names.waived:
        source.problem(f"{made.condition!r} is waived twice: keep one of the waivers", *place)
    names.waived.add((made.condition, made.explainer))
    return made


def _values(
    source: Source,
    entry: dict[str, Any],
    place: tuple[str, int],
    known: dict[str, kinds.Kind],
    *,
    required: Sequence[str],
) -> dict[str, Any]:
    """The values of one table, by its keys; problems are noted, and their keys left out."""
    found = {}
    for key, value in entry.items():
        if key not in known:
            source.problem(
                f"unknown key {kinds.shown(key)} in {place[0]}: {near(key, known)}", *place, key
            )
            continue
        try:
            found[key] = known[key](value)
        except UsageError as error:
            source.problem(f"{place[0]}.{key} {error}", *place, key)
    for key in required:
        if key not in entry:
            source.problem(f"{place[0]} has no {key}: every {place[0]} needs one", *place)
    return found


def _bound(names: Names, stated: Expression, figure: Figure) -> Bound:
    """The bound, with the label of what it refers to; UsageError where there is no such thing."""
    if stated.relation == "==" and not figure.count:
        raise UsageError(
            f"== is for counts, and {figure.name} is a mean, which is never exactly a number: "
            "write <= or >="
        )
    reference = stated.bound.reference
    if reference is None or reference == BASELINE:
        return stated.bound
    if reference == UNIFORM:
        if not figure.uniform:
            raise UsageError(
                f"{figure.name} has no value of a flat map, so its bound cannot be uniform"
            )
        return stated.bound
    try:
        return replace(stated.bound, reference=names.label(reference))
    except UsageError as error:
        raise UsageError(
            f"unknown reference {reference!r} ({error}); a bound refers to baseline, uniform or an "
            "explainer of the run"
        ) from error


def _labels(
    names: Names, written: Sequence[str], place: tuple[str, int], *, key: str = "explainers"
) -> tuple[str, ...]:
    found: list[str] = []
    for number, text in enumerate(written):
        where = (*place, key, number) if key == "explainers" else (*place, key)
        try:
            label = names.label(text)
        except UsageError as error:
            names.source.problem(f"{place[0]}.{key}: {error}", *where)
            continue
        if label in found:
            names.source.problem(f"{place[0]}.{key} names {label!r} twice", *where)
        found.append(label)
    return tuple(found)


def _take_name(names: Names, name: str, place: tuple[str, int], *, given: bool) -> None:
    line = names.source.line(*place, "name" if given else "require")
    if name in names.taken:
        hint = "choose another" if given else "give them names"
        names.source.problem(
            f"two conditions are called {name!r}, the other in line {names.taken[name]}: {hint}",
            *place,
            "name" if given else "require",
        )
    names.taken.setdefault(name, line)
