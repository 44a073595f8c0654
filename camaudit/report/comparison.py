"""Two runs held against each other: what was done otherwise, and what became of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.names import title
from camaudit.report.origin import describe
from camaudit.report.verdict import verdict
from camaudit.report.view import select_check
from camaudit.types import Results

__all__ = ["ChangeRow", "ComparisonView", "DifferingRow", "comparison_view"]

_APART = ("papers", "masked_images")  # follow from the others
_ALIKE = ("identical", "no difference shown")
_FIGURES = {
    "dead_zone.mu_l1": "μ (L1)",
    "dead_zone.mu_l2": "μ (L2)",
    "dead_zone.mu_l1_minmax": "μ (min-max)",
    "dead_zone.unmasked": "unmasked μ (L1)",
    "dead_zone.difference": "difference, walled − unmasked",
}
_MU = "dead_zone.mu_l1"
_MEASURED = ("accuracy",)  # findings rather than settings


@dataclass(frozen=True)
class DifferingRow:
    """A setting that is not the same in both runs."""

    label: str
    this: str
    other: str


@dataclass(frozen=True)
class ChangeRow:
    """A figure of an explainer in both runs; `kind` is a word for the style sheet."""

    figure: str
    explainer: str
    other: str
    this: str
    difference: str
    bounds: str
    n: str
    change: str
    kind: str
    reason: str


@dataclass(frozen=True)
class ComparisonView:
    """This run against another one, over the images that both have."""

    name: str
    headline: str
    verdict: str
    other_verdict: str
    images: str
    settings: tuple[DifferingRow, ...]
    gained: str
    lost: str
    changes: tuple[ChangeRow, ...]
    notes: tuple[str, ...]

    @property
    def alike(self) -> tuple[ChangeRow, ...]:
        """The figures that are identical, or of which no difference is shown."""
        return tuple(row for row in self.changes if row.change in _ALIKE)

    @property
    def changed(self) -> tuple[ChangeRow, ...]:
        """The others."""
        return tuple(row for row in self.changes if row.change not in _ALIKE)


def comparison_view(
    this: Results, other: Results, compared: Mapping[str, Any], *, name: str
) -> ComparisonView:
    """`compared` is the plain form of a :class:`camaudit.gates.diff.Comparison`, this run second.

    `name` says which run the other one is.
    """
    methods, earlier = _methods(this), _methods(other)
    means = [{one.method: one.mu_l1.mean for one in run.summary} for run in (other, this)]
    changes = tuple(_change(one, means) for one in compared["differences"])
    return ComparisonView(
        name=name,
        headline=_headline(changes),
        verdict=verdict(this, select_check(this)).text,
        other_verdict=verdict(other, select_check(other)).text,
        images=_images(this, other),
        settings=tuple(_differing(this, other)),
        gained=figures.joined([title(one) for one in methods if one not in earlier]),
        lost=figures.joined([title(one) for one in earlier if one not in methods]),
        changes=changes,
        notes=tuple(map(str, compared["notes"])),
    )


def _methods(results: Results) -> list[str]:
    return [entry.method for entry in results.summary]


def _headline(changes: Sequence[ChangeRow]) -> str:
    counts = {kind: sum(one.change == kind for one in changes) for kind in ("worse", "better")}
    apart = [one for one in changes if one.change == "not comparable"]
    if apart and all(one.n == "–" for one in changes):
        return "These runs cannot be paired; where both have a mean μ, the two stand side by side."
    if not any(counts.values()):
        return "No figure is shown to have become worse or better."
    return f"{figures.counted(counts['worse'], 'figure')} worse, {counts['better']} better."


def _images(this: Results, other: Results) -> str:
    ours, theirs = (
        {(one.get("id"), one.get("sha256")) for one in results.provenance.images}
        for results in (this, other)
    )
    shared = figures.counted(len(ours & theirs), "image")
    alone = f"{len(ours - theirs)} in this one alone, {len(theirs - ours)} in the other alone"
    return f"{shared} in both runs; {alone}."


def _differing(this: Results, other: Results) -> list[DifferingRow]:
    ours, theirs = _settings(this), _settings(other)
    return [
        DifferingRow(label, _said(ours, label), _said(theirs, label))
        for label in dict.fromkeys([*ours, *theirs])
        if ours.get(label) != theirs.get(label)
    ]


def _said(values: Mapping[str, Any], label: str) -> str:
    return describe(values[label]) if label in values else "not recorded"


def _settings(results: Results) -> dict[str, Any]:
    """What was asked for and on what, by labels that say where it stands."""
    source = results.provenance
    parts = {
        "subject": {key: v for key, v in source.subject.items() if key not in _MEASURED},
        "zone": {"kind": source.zone.get("kind"), "scored": source.zone.get("scored_fraction")},
        "setting": {key: v for key, v in source.settings.items() if key not in _APART},
        "environment": {"camaudit": results.camaudit, **source.environment},
    }
    return {
        f"{part}: {key.replace('_', ' ')}": value
        for part, values in parts.items()
        for key, value in values.items()
    }


def _change(one: Mapping[str, Any], means: Sequence[Mapping[str, float | None]]) -> ChangeRow:
    """A row; where runs cannot be paired, each run's own mean μ stands in it."""
    first, second = one["first"], one["second"]
    if one["figure"] == _MU and first is None and second is None:
        first, second = (run.get(str(one["explainer"])) for run in means)
    ends = one["low"], one["high"]
    bounds = "" if None in ends else f"[{_number(ends[0])} to {_number(ends[1])}]"
    return ChangeRow(
        figure=_FIGURES.get(one["figure"], str(one["figure"])),
        explainer=title(str(one["explainer"])),
        other=_number(first),
        this=_number(second),
        difference=_number(one["difference"]),
        bounds=bounds,
        n=str(one["n"] or "–"),
        change=str(one["change"]),
        kind={"worse": "lit", "better": "zero"}.get(str(one["change"]), "plain"),
        reason=str(one["reason"]),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else figures.quantity(value)
