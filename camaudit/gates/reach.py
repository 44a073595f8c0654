"""Conditions that could never fail, never pass or never be decided: they are mistakes."""

from __future__ import annotations

from camaudit.gates.binding import bound, explainers_of, has_figure
from camaudit.gates.figures import FIGURES, Figure
from camaudit.gates.labels import Explainer
from camaudit.gates.names import DEAD_ZONE
from camaudit.gates.policy import BASELINE, UNIFORM, Condition, Policy, Severity
from camaudit.gates.source import Source
from camaudit.metrics.estimates import MINIMUM

__all__ = ["check_reach"]


def check_reach(source: Source, policy: Policy) -> None:
    """Note conditions that cannot be reached, waivers of nothing, and a policy that binds nothing.

    The numbers of the conditions in `policy` are those in the file.
    """
    if not policy.conditions:
        source.problem(
            "no condition: a policy without [[condition]] could not fail, and is no gate",
            "condition",
        )
        return
    for number, condition in enumerate(policy.conditions):
        for key, message in (
            _check_is_run(policy, condition),
            _range(condition),
            _explainers(policy, condition),
            _reference(policy, condition),
            _units(policy, condition),
        ):
            if message:
                source.problem(f"condition {condition.name!r}: {message}", "condition", number, key)
    if all(condition.severity is Severity.WARN for condition in policy.conditions):
        source.problem(
            'every condition has severity = "warn", so that nothing could fail: let at least one '
            "of them fail",
            "condition",
            0,
            "severity",
        )
    for number, waiver in enumerate(policy.waivers):
        covered = [one for one in policy.conditions if one.name == waiver.condition]
        if waiver.explainer and waiver.explainer not in bound(policy, covered[0]):
            source.problem(
                f"the condition {waiver.condition!r} does not bind {waiver.explainer!r}, so that "
                "there is nothing to waive",
                "waiver",
                number,
                "explainer",
            )


_Found = tuple[str, str]  # the key that is wrong, and why; an empty reason for nothing


def _check_is_run(policy: Policy, condition: Condition) -> _Found:
    check = FIGURES[condition.figure].check
    checks = policy.settings["checks"]
    if check not in checks:
        return "require", (
            f"{condition.figure} comes from the check {check}, which run.checks leaves out "
            f"({', '.join(checks)}): add it"
        )
    orders = policy.settings.get("orders", ())
    if check in ("mprt", "smprt") and orders == ("independent",):
        return "require", (
            f"{condition.figure} is of a cascade that ends in a wholly random model, and "
            "run.orders has independent alone: add top-down or bottom-up"
        )
    return "require", ""


def _range(condition: Condition) -> _Found:
    """Whether the bound lies where the figure could be on both sides of it."""
    figure = FIGURES[condition.figure]
    stated = condition.bound
    if stated.reference is not None and stated.factor == 0:
        return "require", f"{stated.reference} * 0 is no reference: write the number alone"
    low, high = _bounds(condition, figure)
    always, never = _extremes(condition, figure, low, high)
    where = f"{figure.name} lies between {figure.low:g} and {figure.high:g}"
    if always:
        return "require", f"it can never fail, for {where}: lower what it allows"
    if never:
        return "require", f"it can never pass, for {where}: choose a bound in that range"
    whole = stated.reference is not None or stated.offset == int(stated.offset)
    if figure.count and condition.relation == "==" and not whole:
        return "require", "it can never pass, for a count is a whole number"
    return "require", ""


def _bounds(condition: Condition, figure: Figure) -> tuple[float, float]:
    """The least and the greatest that the bound could be."""
    stated = condition.bound
    if stated.reference is None:
        return stated.offset, stated.offset
    known = (0.0, 1.0) if stated.reference == UNIFORM else (figure.low, figure.high)
    ends = sorted(stated.factor * end for end in known)
    return ends[0] + stated.offset, ends[1] + stated.offset


def _extremes(condition: Condition, figure: Figure, low: float, high: float) -> tuple[bool, bool]:
    """Whether any figure meets any such bound, and whether none meets any."""
    relation = condition.relation
    if relation == "==":
        return False, high < figure.low or low > figure.high
    if relation in (">=", ">"):  # mirrored: x >= b is -x <= -b
        low, high, least, most = -high, -low, -figure.high, -figure.low
    else:
        least, most = figure.low, figure.high
    if relation in ("<=", ">="):
        return low >= most, high < least
    return low > most, high <= least


def _explainers(policy: Policy, condition: Condition) -> _Found:
    figure = FIGURES[condition.figure]
    known = {one.label: one for one in explainers_of(policy)}
    for label in condition.explainers:
        if not has_figure(known[label], figure, policy.settings):
            return "explainers", _why_not(known[label], figure)
    if not bound(policy, condition):
        return "require", (
            f"no explainer of the run has {figure.name} besides controls, which are bound only "
            "where a condition names them: add one to run.explainers"
        )
    return "require", ""


def _why_not(one: Explainer, figure: Figure) -> str:
    if one.fixed:
        return (
            f"{one.label!r} is a folder of maps, which cannot be made again, and takes no part in "
            f"{figure.check}: name another"
        )
    return (
        f"{one.label!r} runs the model many times an image and takes no part in {figure.check}: "
        "write costly_cascades = true in [run], or name another"
    )


def _reference(policy: Policy, condition: Condition) -> _Found:
    label = condition.bound.reference
    if label in (None, BASELINE, UNIFORM):
        return "require", ""
    figure = FIGURES[condition.figure]
    (one,) = [one for one in explainers_of(policy) if one.label == label]
    if not has_figure(one, figure, policy.settings):
        return "require", f"as a reference {_why_not(one, figure)}"
    if label in bound(policy, condition):
        named = " explainers names it too" if condition.explainers else " it is one of all"
        return "require", (
            f"{label!r} would be held against itself, for{named}: name the others alone in "
            "explainers"
        )
    return "require", ""


def _units(policy: Policy, condition: Condition) -> _Found:
    """Whether there are enough images and random models for statistics to decide anything."""
    figure = FIGURES[condition.figure]
    if figure.count or policy.escalate is not None:
        return "require", ""
    settings = policy.settings
    sets = max(len(settings.get("data", ())), 1)
    if "num_images" in settings and settings["num_images"] * sets < MINIMUM:
        return "require", (
            f"images.number = {settings['num_images']} can decide nothing: statistics need at "
            f"least {MINIMUM} images"
        )
    if figure.unit == "seed × image" and settings.get("sanity_seeds", MINIMUM) < MINIMUM:
        return "require", (
            f"run.sanity_seeds = {settings['sanity_seeds']} can decide nothing: statistics need at "
            f"least {MINIMUM} random models"
        )
    if figure.check == DEAD_ZONE:
        return _perturbed(policy, condition, sets)
    return "require", ""


def _perturbed(policy: Policy, condition: Condition, sets: int) -> _Found:
    """The same for methods that take fewer images."""
    settings = policy.settings
    embedded = "images" not in settings and "data" not in settings
    number = settings.get("perturbation_images", 2 if embedded else 8)
    costly = {one.label for one in explainers_of(policy) if one.costly}
    held = [label for label in bound(policy, condition) if label in costly]
    if not held or number * sets >= MINIMUM:
        return "require", ""
    return "explainers" if condition.explainers else "require", (
        f"{', '.join(held)} would see {number} images, because that runs the model many times an "
        f"image, and statistics need at least {MINIMUM}: raise images.perturbation_number, or name "
        "other explainers"
    )
