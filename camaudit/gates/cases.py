"""One condition of one explainer, taken from the records and estimated, before it is decided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from camaudit.gates.figures import FIGURES
from camaudit.gates.pairs import Pair, paired
from camaudit.gates.policy import BASELINE, UNIFORM, Condition
from camaudit.gates.samples import Sample, sample, uniform
from camaudit.gates.verdict import Decision
from camaudit.metrics.estimates import Estimate, estimate

__all__ = ["WORST", "Case", "case", "estimated"]

WORST = 5  #: images with the worst figures that a ruling names

_BELOW = ("<=", "<")


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What there is to decide on.

    decision and reason: where nothing is left to decide. bound: the reference's mean, its factor
    and offset applied. pair: values and the bounds they are held against. found: the estimate of
    their mean difference. count: of a figure that is a count.
    """

    condition: Condition
    explainer: str
    decision: Decision | None = None
    reason: str = ""
    count: float | None = None
    bound: float | None = None
    pair: Pair | None = None
    found: Estimate | None = None
    undefined: int = 0
    crossed: bool = False
    remarks: tuple[str, ...] = field(default=())

    @property
    def below(self) -> bool:
        """Whether the figure passes below the bound."""
        return self.condition.relation in _BELOW

    @property
    def value(self) -> float | None:
        """The figure itself: a count, or the mean over the cells that are compared."""
        if self.count is not None:
            return self.count
        if self.found is None or self.found.mean is None or self.bound is None:
            return None
        return self.bound + self.found.mean

    @property
    def worst(self) -> tuple[tuple[str, float], ...]:
        """The images furthest on the wrong side of the bound, worst first, with their figures."""
        if self.pair is None:
            return ()
        gaps = self.pair.first - self.pair.second
        rated = []
        for place, image in enumerate(self.pair.images):
            known = np.isfinite(gaps[:, place])
            if known.any():
                gap = float(gaps[known, place].mean())
                figure = float(self.pair.first[known, place].mean())
                rated.append((-gap if self.below else gap, place, image, figure))
        return tuple((image, figure) for _, _, image, figure in sorted(rated)[:WORST])


def case(
    condition: Condition,
    explainer: str,
    results: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
) -> Case:
    """The condition of the explainer in a run, without its estimate."""
    made = Case(condition=condition, explainer=explainer)
    if condition.figure not in FIGURES:
        return _closed(made, Decision.ERROR, f"no figure is called {condition.figure!r}")
    if not FIGURES[condition.figure].count and condition.relation == "==":
        return _closed(made, Decision.ERROR, "== is for counts: ask for <= or >=")
    found = sample(results, condition.figure, explainer)
    made = replace(made, undefined=found.undefined, crossed=found.crossed, count=found.count,
                   remarks=(found.remark,) if found.remark else ())  # fmt: skip
    if found.state is not None and found.state is not Decision.INCONCLUSIVE:
        return _closed(made, found.state, found.reason)
    reference = _reference(condition, explainer, results, baseline)
    if isinstance(reference, Sample) and reference.state is not None:
        reason = f"the reference {condition.bound.reference}: {reference.reason}"
        return _closed(made, reference.state, reason)
    if found.count is not None:
        return _counted(made, found, reference)
    if found.state is not None:
        return _closed(made, found.state, found.reason)
    return _held(made, found, reference)


def estimated(made: Case, *, seed: int, resamples: int) -> Case:
    """The case with the estimate of its mean difference from the bound, where it has values."""
    if made.pair is None:
        return made
    gaps = made.pair.first - made.pair.second
    return replace(made, found=estimate(gaps, seed=seed, resamples=resamples))


def _closed(made: Case, decision: Decision, reason: str) -> Case:
    return replace(made, decision=decision, reason=reason)


def _reference(
    condition: Condition,
    explainer: str,
    results: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
) -> float | Sample:
    """What the bound refers to: a number, or another sample."""
    name, figure = condition.bound.reference, condition.figure
    if name is None:
        return 0.0
    if name == UNIFORM:
        flat = uniform(results, figure)
        if flat is not None:
            return flat
        return Sample(state=Decision.ERROR, reason=f"a flat map has no known {figure}")
    if name != BASELINE:
        if name == explainer:
            return Sample(state=Decision.ERROR, reason="it is the explainer itself")
        return sample(results, figure, name)
    if baseline is None:
        return Sample(
            state=Decision.ERROR, reason="there is none that can be read: give --baseline"
        )
    return sample(baseline, figure, explainer)


def _counted(made: Case, found: Sample, reference: float | Sample) -> Case:
    """A count against its bound, exactly; what could not be tested can only add to it."""
    bound = made.condition.bound
    base = reference.count if isinstance(reference, Sample) else reference
    if base is None or found.count is None:
        return _closed(made, Decision.ERROR, "the reference is no count")
    if isinstance(reference, Sample) and reference.context != found.context:
        return _closed(made, Decision.ERROR, "the reference is of other properties")
    limit = bound.factor * base + bound.offset if bound.reference else bound.offset
    made = replace(made, bound=limit)
    count, relation = found.count, made.condition.relation
    holds = {
        "<=": count <= limit, "<": count < limit, ">=": count >= limit, ">": count > limit,
        "==": count == limit,
    }[relation]  # fmt: skip
    text = f"{count:g}, asked for {relation} {limit:g}"
    if found.state is None:
        return _closed(made, Decision.PASS if holds else Decision.FAIL, text)
    surely = not holds and (made.below or (relation == "==" and count > limit))
    return _closed(
        made, Decision.FAIL if surely else Decision.INCONCLUSIVE, f"{text}; {found.reason}"
    )


def _held(made: Case, found: Sample, reference: float | Sample) -> Case:
    """The values beside what each is held against."""
    bound = made.condition.bound
    if found.values is None:
        return _closed(made, Decision.ERROR, "the run has no values of it")
    if isinstance(reference, Sample):
        pair = paired(found, reference)
        if isinstance(pair, str):
            return _closed(made, Decision.ERROR,
                           f"it cannot be compared with {bound.reference}: {pair}")  # fmt: skip
        limits = bound.factor * pair.second + bound.offset
        pair = Pair(pair.first, limits, pair.images)
        left = len(found.images) - len(pair.images)
        if left:
            made = replace(made, remarks=(*made.remarks, f"{left} images have no reference"))
    else:
        limit = bound.factor * reference + bound.offset if bound.reference else bound.offset
        pair = Pair(found.values, np.full_like(found.values, limit), found.images)
    both = np.isfinite(pair.first) & np.isfinite(pair.second)
    undefined = int(both.size - both.sum())
    made = replace(made, pair=pair, undefined=undefined)
    if 2 * undefined > both.size:
        return _closed(made, Decision.DEGENERATE,
                       f"{undefined} of {both.size} differences are undefined")  # fmt: skip
    return replace(made, bound=math.fsum(pair.second[both].tolist()) / int(both.sum()))
