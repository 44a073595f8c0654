"""Whether a run keeps a policy: every condition of every explainer, and all together."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from camaudit.errors import AuditError, UsageError
from camaudit.gates.binding import bound
from camaudit.gates.cases import Case, case, estimated
from camaudit.gates.figures import FIGURES
from camaudit.gates.matching import mismatches
from camaudit.gates.names import COSTLY, DEAD_ZONE, INVARIANCE
from camaudit.gates.policy import BASELINE, Condition, Policy, Waiver
from camaudit.gates.records import defects
from camaudit.gates.samples import explainers_of
from camaudit.gates.verdict import Decision, Ruling, Verdict
from camaudit.metrics.estimates import (
    ALPHA,
    MINIMUM,
    MOST_MORE,
    Estimate,
    holm,
    more_images,
    resamples_for,
)
from camaudit.redaction import cleaner

__all__ = ["judge"]

_WAIVED = (Decision.FAIL, Decision.INCONCLUSIVE)  # what a waiver may cover
_ROUNDING = 1e-12


def judge(
    policy: Policy,
    results: Any,
    baseline: Any = None,
    *,
    today: datetime.date,
    live: bool = False,
) -> Verdict:
    """Decide every condition of `policy` on the object of a results.json.

    `baseline` is that of an earlier run, for conditions that refer to it. `live`: the run is one of
    objects that a program holds, which have no settings of their own: its subject and images are
    not compared with the policy's, but for the pin state_sha256. The same arguments give the same
    verdict: what is drawn follows from the run's seed. Raises :class:`UsageError` for a
    waiver that has expired on the day `today` or is of no condition; whatever is wrong with the
    run is a problem of the verdict.
    """
    _check_waivers(policy, today)
    clean = cleaner()
    name = clean(str(policy.path))
    wrong = defects(results)
    if wrong:
        return Verdict(policy=name, rulings=(), problems=tuple(clean(wrong)))
    problems = _problems(policy, results, live=live)
    if any(condition.bound.reference == BASELINE for condition in policy.conditions):
        lacking = ["there is none"] if baseline is None else defects(baseline)
        problems += [f"the baseline: {text}" for text in lacking]
        baseline = None if lacking else baseline
    cases = []
    for condition in policy.conditions:
        try:
            names = _bound(policy, condition, results, live=live)
        except AuditError as error:
            problems.append(f"condition {condition.name}: {error}")
            continue
        if not names:
            problems.append(
                f"condition {condition.name} binds no explainer: the run has none but controls"
            )
        cases += [case(condition, explainer, results, baseline) for explainer in names]
    seed: int = results["settings"]["seed"]
    open_cases = [made for made in cases if made.decision is None]
    resamples = resamples_for(len(open_cases))
    cases = [estimated(made, seed=seed, resamples=resamples) for made in cases]
    rulings = [_waived(policy, ruling) for ruling in _rulings(cases)]
    return Verdict(
        policy=name,
        rulings=tuple(rulings),
        problems=tuple(clean(problems)),
        notes=tuple(clean(_notes(policy, results, rulings, resamples, seed))),
    )


def _check_waivers(policy: Policy, today: datetime.date) -> None:
    names = {condition.name for condition in policy.conditions}
    for waiver in policy.waivers:
        place = f"{policy.path}:{waiver.line}"
        if waiver.condition not in names:
            raise UsageError(
                f"{place}: the waiver is of {waiver.condition!r}, which is no condition here"
            )
        if waiver.expires < today:
            raise UsageError(
                f"{place}: the waiver of {waiver.condition} expired on {waiver.expires}: remove "
                "it, or decide anew and set another day"
            )


def _problems(policy: Policy, results: Mapping[str, Any], *, live: bool) -> list[str]:
    found = mismatches(policy, results, live=live)
    if not policy.conditions:
        found.append("the policy has no condition, so nothing can pass")
    return found


def _bound(
    policy: Policy, condition: Condition, results: Mapping[str, Any], *, live: bool
) -> Sequence[str]:
    """The explainers that a condition binds: those that it names, else the policy's and the run's.

    Controls are left out, and in the sanity checks methods that the run leaves out there.
    """
    if condition.explainers:
        return list(dict.fromkeys(condition.explainers))
    figure = FIGURES.get(condition.figure)
    names = explainers_of(results, figure.check if figure else "")
    if figure is not None and figure.check not in (DEAD_ZONE, INVARIANCE):
        costly = not results["settings"].get("costly_cascades")
        names = [name for name in names if not (costly and name.partition("(")[0] in COSTLY)]
    asked = {"methods", "explainers"} & set(policy.settings) and not live and figure is not None
    return list(dict.fromkeys([*(bound(policy, condition) if asked else ()), *names]))


def _rulings(cases: Sequence[Case]) -> list[Ruling]:
    tested = [made for made in cases if _p_values(made) is not None]
    pairs = [_p_values(made) or (1.0, 1.0) for made in tested]
    passing = holm([pair[0] for pair in pairs])
    failing = holm([pair[1] for pair in pairs])
    adjusted = {
        id(made): (one, other)
        for made, one, other in zip(tested, passing, failing, strict=True)
    }  # fmt: skip
    return [_ruling(made, adjusted.get(id(made)), len(tested)) for made in cases]


def _p_values(made: Case) -> tuple[float, float] | None:
    """Unadjusted, for passing and for failing; None where statistics have nothing to decide."""
    found = made.found
    if made.decision is not None or found is None or found.p_below is None:
        return None
    if found.p_above is None:
        return None
    pair = (found.p_below, found.p_above)
    return pair if made.below else pair[::-1]


def _ruling(made: Case, adjusted: tuple[float, float] | None, tests: int) -> Ruling:
    decision, reason, more = made.decision, made.reason, None
    if decision is None:
        decision, reason, more = _decided(made, adjusted, tests)
    low, high = _ends(made)
    p_pass, p_fail = adjusted or (None, None)
    return Ruling(
        condition=made.condition, explainer=made.explainer, decision=decision,
        reason="; ".join([reason, *made.remarks]), value=made.value, low=low, high=high,
        bound=made.bound, n=0 if made.found is None else made.found.n, undefined=made.undefined,
        p_pass=p_pass, p_fail=p_fail, more=more, worst=made.worst,
    )  # fmt: skip


def _ends(made: Case) -> tuple[float | None, float | None]:
    """The interval of the difference, laid around the bound; within the figure's range."""
    found, bound = made.found, made.bound
    if made.count is not None or found is None or bound is None or found.mean is None:
        return None, None
    if found.exact:
        return made.value, made.value
    if found.low is None or found.high is None:
        return None, None
    low, high = bound + found.low, bound + found.high
    if made.condition.bound.reference is None:
        figure = FIGURES[made.condition.figure]
        low, high = max(low, figure.low), min(high, figure.high)
    return low, high


def _decided(
    made: Case, adjusted: tuple[float, float] | None, tests: int
) -> tuple[Decision, str, int | None]:
    found = made.found
    if found is None or found.mean is None:
        return Decision.DEGENERATE, "no image has a value", None
    of = f"{found.n} images" if not made.crossed else f"{found.n} maps of random models and images"
    if found.units < MINIMUM:
        return _few(made, found)
    if found.exact:
        return _exact(made, found, of)
    figure = f"{_said(made)} over {of}"
    if adjusted is not None and adjusted[0] <= ALPHA + _ROUNDING:
        return Decision.PASS, f"{figure} clears the bound {made.bound:.4g}", None
    if adjusted is not None and adjusted[1] <= ALPHA + _ROUNDING:
        return Decision.FAIL, f"{figure} lies beyond the bound {made.bound:.4g}", None
    more = more_images(found, tests=tests)
    return Decision.INCONCLUSIVE, f"{figure}: {_open(made, found, tests)}; {_more(more)}", more


def _few(made: Case, found: Estimate) -> tuple[Decision, str, int | None]:
    """Fewer images, or random models, than statistics take; more of the former may not be all."""
    lacking = max(0, MINIMUM - found.columns)
    counts = [_counted(found.columns, "image")] if lacking else []
    models = made.crossed and found.rows < MINIMUM
    counts += [_counted(found.rows, "random model")] if models else []
    text = f"{' and '.join(counts)}: fewer than {MINIMUM} decide nothing"
    return Decision.INCONCLUSIVE, text, None if models else lacking


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _exact(made: Case, found: Estimate, of: str) -> tuple[Decision, str, int | None]:
    """Where all differences are the same number, that number decides."""
    gap = found.mean or 0.0
    holds = {"<=": gap <= 0, "<": gap < 0, ">=": gap >= 0, ">": gap > 0}[made.condition.relation]
    text = f"{made.value:.4g} on every one of {of}, bound {made.bound:.4g}"
    if made.condition.bound.reference is not None:
        text = f"{gap:.4g} from the bound on every one of {of}"
    return (Decision.PASS if holds else Decision.FAIL), text, None


def _said(made: Case) -> str:
    low, high = _ends(made)
    return f"{made.value:.4g} (95 % interval {low:.4g} to {high:.4g})"


def _open(made: Case, found: Estimate, tests: int) -> str:
    low, high = found.low or 0.0, found.high or 0.0
    if low <= 0 <= high:
        return f"the interval holds the bound {made.bound:.4g}"
    return (
        f"by itself it lies to one side of the bound {made.bound:.4g}, but not once the chance of "
        f"{tests} rulings is allowed for (Holm)"
    )


def _more(more: int | None) -> str:
    if more is None:
        return f"no number of images up to {MOST_MORE} more can be expected to decide"
    return (
        f"about {more} more images would decide, as an estimate (with 80 % probability if mean and "
        "spread stay as they are)"
    )


def _waived(policy: Policy, ruling: Ruling) -> Ruling:
    if ruling.decision not in _WAIVED:
        return ruling
    for waiver in policy.waivers:
        if _covers(waiver, ruling):
            return replace(ruling, waiver=waiver)
    return ruling


def _covers(waiver: Waiver, ruling: Ruling) -> bool:
    return waiver.condition == ruling.condition.name and waiver.explainer in (
        None,
        ruling.explainer,
    )


def _notes(
    policy: Policy,
    results: Mapping[str, Any],
    rulings: Sequence[Ruling],
    resamples: int,
    seed: int,
) -> list[str]:
    tests = sum(ruling.p_pass is not None for ruling in rulings)
    found = []
    if tests:
        found.append(
            f"95 % intervals by the studentised bootstrap ({resamples} resamples, seed {seed}); a "
            f"ruling passes or fails at 2.5 % on its side, with p-values adjusted by Holm over "
            f"{_counted(tests, 'ruling')} that statistics decide, for passing and for failing apart"
        )
    for waiver in policy.waivers:
        used = [ruling.name for ruling in rulings if ruling.waiver is waiver]
        who = f" for {waiver.explainer}" if waiver.explainer else ""
        if used:
            found.append(f"waived until {waiver.expires}: {', '.join(used)} ({waiver.reason})")
        else:
            found.append(f"the waiver of {waiver.condition}{who} is not needed: remove it")
    asked = policy.settings.get("num_images")
    sets = len(results.get("data") or ()) or 1
    if isinstance(asked, int) and len(results["images"]) < asked * sets:
        found.append(f"the run found {len(results['images'])} of {asked * sets} images asked for")
    return found
