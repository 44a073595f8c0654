"""Two runs compared image by image: what became worse, better, or cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from camaudit.errors import AuditError
from camaudit.gates.figures import FIGURES
from camaudit.gates.pairs import Pair, paired
from camaudit.gates.sample import MALFORMED, malformed
from camaudit.gates.samples import Sample, explainers_of, sample
from camaudit.gates.verdict import Decision
from camaudit.metrics.estimates import ALPHA, MINIMUM, estimate, holm, resamples_for

__all__ = ["Change", "Comparison", "Difference", "compare"]

_ROUNDING = 1e-12


class Change(StrEnum):
    """What became of a figure of an explainer from one run to the other."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "identical"
    OPEN = "no difference shown"
    INCOMPARABLE = "not comparable"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of one explainer in both runs.

    first, second: means over the cells that are defined in both. difference: second − first, with
    its 95 % interval low to high. p_worse, p_better: Holm-adjusted. All None where undefined, the
    interval and the p-values also of counts and identical values, which are decided as they are.
    """

    figure: str
    explainer: str
    change: Change
    reason: str
    n: int = 0
    first: float | None = None
    second: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_worse: float | None = None
    p_better: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All differences of two runs; `notes` are for the reader."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 where something became worse, 4 where something could not be compared, else 0."""
        found = {one.change for one in self.differences}
        if Change.WORSE in found:
            return 1
        return 4 if Change.INCOMPARABLE in found or not found else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "differences": [
                {**asdict(one), "change": one.change.value} for one in self.differences
            ],
            "notes": list(self.notes),
        }


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Every figure of every explainer that either run has, the second against the first.

    Both must be free of :func:`camaudit.gates.records.defects`. Worse and better are shown by the
    paired studentised bootstrap, at 2.5 % each after Holm's correction over all that is tested.
    That no difference is shown does not show that there is none. Raises :class:`AuditError` where
    a run is not as its schema has it.
    """
    seed: int = second["settings"]["seed"]
    pairs = [
        (figure, explainer, sample(first, figure, explainer), sample(second, figure, explainer))
        for figure in FIGURES
        for explainer in _explainers(first, second, figure)
    ]
    resamples = resamples_for(len(pairs))
    found = [
        _difference(figure, explainer, one, other, seed=seed, resamples=resamples)
        for figure, explainer, one, other in pairs
    ]
    adjusted = _adjusted(found)
    tests = sum(one.p_worse is not None for one in adjusted)
    notes = [_note(name, first, second) for name in ("model", "state_sha256", "images_sha256")]
    if tests:
        notes.append(
            f"95 % intervals by the paired studentised bootstrap ({resamples} resamples, seed "
            f"{seed}); worse and better at 2.5 % each, with p-values adjusted by Holm over {tests} "
            "comparisons; no difference shown does not mean that there is none"
        )
    return Comparison(differences=tuple(adjusted), notes=tuple(note for note in notes if note))


def _explainers(first: Mapping[str, Any], second: Mapping[str, Any], figure: str) -> Sequence[str]:
    """Those of either run, where either has the check."""
    check = FIGURES[figure].check
    try:
        made = [results for results in (first, second) if _made(results, check)]
    except MALFORMED as error:
        raise AuditError(malformed(error)) from error
    listed = [name for results in made for name in explainers_of(results, check)]
    return list(dict.fromkeys(listed))


def _made(results: Mapping[str, Any], check: str) -> bool:
    if check == "dead-zone":
        return any(record["check"] == check for record in results["records"])
    if check == "invariance":
        return bool(results.get("invariance"))
    return bool(results.get("sanity")) and check in results["sanity"]["settings"]["checks"]


def _difference(
    figure: str, explainer: str, first: Sample, second: Sample, *, seed: int, resamples: int
) -> Difference:
    made = Difference(figure=figure, explainer=explainer, change=Change.INCOMPARABLE, reason="")
    states = {first.state, second.state}
    if states == {Decision.NOT_APPLICABLE}:
        return replace(made, change=Change.SAME, reason=f"in both runs {second.reason}")
    for which, one in (("first", first), ("second", second)):
        if one.state is not None:
            return replace(made, reason=f"in the {which} run ({one.state}): {one.reason}")
    if first.count is not None and second.count is not None:
        return _counts(made, first, second)
    pair = paired(first, second)
    if isinstance(pair, str):
        return replace(made, reason=pair)
    return _estimated(made, pair, seed=seed, resamples=resamples)


def _counts(made: Difference, first: Sample, second: Sample) -> Difference:
    if first.context != second.context:
        return replace(made, reason="other properties were tested")
    gap = (second.count or 0.0) - (first.count or 0.0)
    return replace(
        made, change=_sign(made.figure, gap), reason="counted", first=first.count,
        second=second.count, difference=gap,
    )  # fmt: skip


def _estimated(made: Difference, pair: Pair, *, seed: int, resamples: int) -> Difference:
    gaps = pair.second - pair.first
    both = gaps == gaps
    found = estimate(gaps, seed=seed, resamples=resamples)
    if found.mean is None or 2 * int(both.sum()) < gaps.size:
        return replace(made, reason=f"{int(both.sum())} of {gaps.size} cases have both values")
    made = replace(
        made, n=found.n, first=float(pair.first[both].mean()),
        second=float(pair.second[both].mean()), difference=found.mean, low=found.low,
        high=found.high,
    )  # fmt: skip
    if found.units < MINIMUM:
        return replace(made, reason=f"{found.units} units: fewer than {MINIMUM} decide nothing")
    if found.exact or found.p_below is None or found.p_above is None:
        return replace(made, change=_sign(made.figure, found.mean), reason="alike in every case")
    worse, better = found.p_above, found.p_below
    if FIGURES[made.figure].better == "higher":
        worse, better = better, worse
    return replace(made, change=Change.OPEN, p_worse=worse, p_better=better)


def _sign(figure: str, gap: float) -> Change:
    """What an exact difference amounts to."""
    if gap == 0:
        return Change.SAME
    return Change.BETTER if (gap < 0) == (FIGURES[figure].better == "lower") else Change.WORSE


def _adjusted(found: Sequence[Difference]) -> list[Difference]:
    tested = [one for one in found if one.p_worse is not None]
    worse = iter(holm([one.p_worse or 0.0 for one in tested]))
    better = iter(holm([one.p_better or 0.0 for one in tested]))
    return [one if one.p_worse is None else _shown(one, next(worse), next(better)) for one in found]


def _shown(one: Difference, worse: float, better: float) -> Difference:
    change, reason = Change.OPEN, "the interval holds 0"
    if worse <= ALPHA + _ROUNDING:
        change, reason = Change.WORSE, "the interval lies on the worse side of 0"
    elif better <= ALPHA + _ROUNDING:
        change, reason = Change.BETTER, "the interval lies on the better side of 0"
    elif one.low is not None and one.high is not None and not one.low <= 0 <= one.high:
        reason = "by itself the interval leaves 0 out, but not after Holm's correction"
    return replace(one, change=change, reason=reason, p_worse=worse, p_better=better)


def _note(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    one, other = first["subject"].get(name), second["subject"].get(name)
    return "" if one == other else f"{name} is {one} in the first run and {other} in the second"
