"""Verdicts of the sanity checks: one figure of a method against a bound, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from camaudit.metrics.statistics import MINIMUM
from camaudit.report.names import title
from camaudit.sanity import Outcome, SanityResult
from camaudit.types import Claim, ClaimOutcome, Interval, Summary

__all__ = ["ALIKE", "sanity_claims", "wall_claims"]

ALIKE = 0.5  #: Spearman's correlation above which two maps count as much the same

_SHARE = 0.5  # of the cells that must have a value for a verdict
_SAYS = {
    "mprt": "does not outlive the model's parameters",
    "smprt": "does not outlive the model's parameters, averaged over noisy inputs",
    "emprt": "becomes more complex when the parameters are random",
    "random-logit": "depends on the class that it explains",
    "data-randomisation": "depends on the labels that the model was trained on",
}
_SEEDS = "images and random models"
_NEEDS = {
    "mprt": _SEEDS,
    "smprt": _SEEDS,
    "emprt": _SEEDS,
    "random-logit": "images",
    "data-randomisation": "images",
}


def sanity_claims(found: SanityResult, families: Mapping[str, str]) -> list[Claim]:
    """One claim a check and method of `families`, controls included.

    MPRT, sMPRT: the mean Spearman correlation with the trained model's map at the last step of
    the first cascade that ends with every layer random is at most :data:`ALIKE`. Random logit and
    data randomisation: the mean correlation of the two maps is. eMPRT: the mean rise in
    complexity is above 0.

    The 95 % interval decides: PASS where it lies within the bound, FAIL where it lies beyond,
    else INCONCLUSIVE, as without an interval (fewer than six images, or random models where there
    are any) or where fewer than half of the cells have a value. NOT_APPLICABLE where no cell can
    have one or no cascade was run, ERROR where the method failed on any cell that counts.
    """
    similarity = found.settings["similarities"][0]
    claims = []
    for check in found.settings["checks"]:
        for method in families:
            figure = "complexity rise" if check == "emprt" else similarity
            last = _last(found, check, method, figure)
            claims.append(_claim(check, method, similarity, last))
    return claims


@dataclass(frozen=True)
class _Last:
    """The cells that decide on a check of a method, their mean, and why cells are missing.

    `n` of `cells` have a value; `null` is the mean similarity of two random models' maps.
    """

    mean: Interval
    n: int
    cells: int
    outcomes: Mapping[Outcome, str]
    null: float | None


def _last(found: SanityResult, check: str, method: str, figure: str) -> _Last | None:
    order: str | None = None
    step, null, wanted = 1, None, (check, method, figure)
    if check in ("mprt", "smprt"):
        curves = [c for c in found.curves if (c.check, c.method, c.similarity) == wanted]
        curve = next((c for c in curves if c.order != "independent"), None)
        if curve is None:
            return None
        order, step = curve.order, len(curve.values[0])
        place = (check, order, method, figure, step)
        effects = found.effects
        effect = next(e for e in effects if (e.check, e.order, e.method, e.figure, e.step) == place)
        rows = [steps[-1] for steps in curve.values]
        mean, null = effect.similarity, effect.null.mean
    else:
        table = next((t for t in found.tables if (t.check, t.method, t.figure) == wanted), None)
        if table is None:
            return None
        rows, mean = list(table.values), table.mean
    values = [value for row in rows for value in row]
    outcomes = {
        remark.outcome: remark.reason
        for remark in found.remarks
        if (remark.check, remark.order, remark.method) == (check, order, method)
        and remark.outcome is not None
        and figure in remark.similarities
        and step in (remark.steps or (1,))
    }
    scored = sum(value is not None for value in values)
    return _Last(mean, scored, len(values), outcomes, null)


def _claim(check: str, method: str, similarity: str, last: _Last | None) -> Claim:
    relation, bound = (">", 0.0) if check == "emprt" else ("≤", ALIKE)
    statement = f"{title(method)} {_SAYS[check]}"
    if last is None:
        why = "layers were randomised one at a time alone, which no bound is set to"
        return Claim(check, statement, ClaimOutcome.NOT_APPLICABLE, None, relation, None, why)
    outcome, why = _outcome(last, _above if check == "emprt" else _at_most, _NEEDS[check])
    what = "mean rise in complexity" if check == "emprt" else f"mean {similarity.capitalize()}"
    detail = [f"{what} of {last.n} of {last.cells} cells"]
    if last.mean.ci_low is not None and last.mean.ci_high is not None:
        detail.append(f"95 % interval {last.mean.ci_low:.3f} to {last.mean.ci_high:.3f}")
    if last.null is not None:
        detail.append(f"two random models: {last.null:.3f}")
    judged = outcome in (ClaimOutcome.PASS, ClaimOutcome.FAIL, ClaimOutcome.INCONCLUSIVE)
    return Claim(
        check=check,
        statement=statement,
        outcome=outcome,
        figure=last.mean.mean if judged else None,
        relation=relation,
        bound=bound if judged else None,
        detail="; ".join([*detail, *([why] if why else [])]),
    )


def _outcome(
    last: _Last, decide: Callable[[float, float], bool | None], needs: str
) -> tuple[ClaimOutcome, str]:
    """The outcome, and why it is not a verdict where it is none."""
    if Outcome.ERROR in last.outcomes:
        return ClaimOutcome.ERROR, last.outcomes[Outcome.ERROR]
    if last.n == 0:
        why = next(iter(last.outcomes.values()), "no cell has a value")
        return ClaimOutcome.NOT_APPLICABLE, why
    if last.mean.ci_low is None or last.mean.ci_high is None:
        return ClaimOutcome.INCONCLUSIVE, f"no interval: it takes {MINIMUM} {needs}"
    if last.n < _SHARE * last.cells:
        why = next(iter(last.outcomes.values()), "")
        return ClaimOutcome.INCONCLUSIVE, f"fewer than half of the cells have a value: {why}"
    holds = decide(last.mean.ci_low, last.mean.ci_high)
    if holds is None:
        return ClaimOutcome.INCONCLUSIVE, "the interval holds the bound"
    return (ClaimOutcome.PASS if holds else ClaimOutcome.FAIL), ""


def _at_most(low: float, high: float) -> bool | None:
    return True if high <= ALIKE else False if low > ALIKE else None


def _above(low: float, high: float) -> bool | None:
    return True if low > 0 else False if high <= 0 else None


def wall_claims(summary: Sequence[Summary]) -> list[Claim]:
    """The wall's own pair of controls: μ with the wall is below μ without it, same weights.

    The paired difference walled − unmasked decides by its 95 % interval. NOT_APPLICABLE without
    a twin or without a defined pair, ERROR where the method failed on any image.
    """
    return [_wall_claim(entry) for entry in summary]


def _wall_claim(entry: Summary) -> Claim:
    found = entry.difference
    detail = "mean μ (L1) with the wall less that without it, image by image"
    if entry.errors:
        outcome, detail = ClaimOutcome.ERROR, f"failed on {entry.errors} images"
    elif found is None or found.mean is None:
        outcome, detail = ClaimOutcome.NOT_APPLICABLE, "no image has both figures"
    elif found.ci_low is None or found.ci_high is None:
        outcome = ClaimOutcome.INCONCLUSIVE
        detail = f"{detail}; no interval: it takes {MINIMUM} images"
    else:
        holds = found.ci_high < 0
        fails = found.ci_low >= 0
        outcome = ClaimOutcome.PASS if holds else ClaimOutcome.FAIL
        if not holds and not fails:
            outcome = ClaimOutcome.INCONCLUSIVE
        detail = f"{detail}; 95 % interval {found.ci_low:.3f} to {found.ci_high:.3f}"
    judged = outcome not in (ClaimOutcome.ERROR, ClaimOutcome.NOT_APPLICABLE)
    return Claim(
        check=entry.check,
        statement=f"{title(entry.method)} gives the dead zone less when the wall stands",
        outcome=outcome,
        figure=found.mean if judged and found is not None else None,
        relation="<",
        bound=0.0 if judged else None,
        detail=detail,
    )
