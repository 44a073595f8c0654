"""Settings of a policy's run that do not go together."""

from __future__ import annotations

from camaudit.gates.binding import explainers_of
from camaudit.gates.labels import Explainer
from camaudit.gates.names import DEAD_ZONE, INVARIANCE
from camaudit.gates.policy import Policy
from camaudit.gates.source import Source

__all__ = ["check_settings"]


def check_settings(source: Source, policy: Policy) -> None:
    """Note what `camaudit run` would refuse although each value by itself is one."""
    settings = policy.settings
    if "images" in settings and "data" in settings:
        source.problem(
            "images.folder and images.data both say what to audit on: keep one of them",
            "images",
            "data",
        )
    if "unmasked_weights" in settings and settings.get("wall") != "vgg16":
        source.problem(
            'subject.unmasked_weights belongs to wall = "vgg16": other models are their own twin',
            "subject",
            "unmasked_weights",
        )
    if policy.settings.get("model", "").startswith("trained:"):
        _check_trained(source, policy)
    _check_reading(source, policy)
    _check_invariance(source, policy)
    _check_permuted(source, policy)
    _check_sanity(source, policy, explainers_of(policy))
    if DEAD_ZONE not in settings["checks"]:
        _check_no_wall(source, policy)
    _check_escalation(source, policy)


def _check_trained(source: Source, policy: Policy) -> None:
    settings = policy.settings
    for key in ("wall", "weights", "layer", "live_rows"):
        if key in settings and not (key == "wall" and settings[key] == "auto"):
            source.problem(
                f"subject.{key}: a trained network brings its own wall, layer and weights; leave "
                "it out",
                "subject",
                key,
            )


def _check_reading(source: Source, policy: Policy) -> None:
    """What is read from a model's output: not of networks that are known to return logits."""
    settings = policy.settings
    known = settings.get("wall") == "vgg16" or settings.get("model", "").startswith("trained:")
    for key in ("output", "head"):
        if known and key in settings:
            source.problem(
                f"subject.{key}: the paper's VGG16 and trained networks return the logits of a "
                "softmax; leave it out",
                "subject",
                key,
            )


def _check_invariance(source: Source, policy: Policy) -> None:
    if INVARIANCE in policy.settings["checks"]:
        return
    if "properties" in policy.settings:
        source.problem(
            "run.properties is of the check invariance, which is not run: add it to run.checks, or "
            "a condition on one of its figures",
            "run",
            "properties",
        )


def _check_permuted(source: Source, policy: Policy) -> None:
    asked = "data-randomisation" in policy.settings["checks"]
    if asked and "permuted" not in policy.settings:
        source.problem(
            "the check data-randomisation needs subject.permuted, a model trained on permuted "
            "labels (camaudit train --permute-labels makes it)",
            *_place_of_check(policy, "data-randomisation"),
        )
    if "permuted" in policy.settings and not asked:
        source.problem(
            "subject.permuted is of the check data-randomisation, which is not run: add it to "
            "run.checks, or leave this out",
            "subject",
            "permuted",
        )


def _check_sanity(source: Source, policy: Policy, explainers: list[Explainer]) -> None:
    checks = [name for name in policy.settings["checks"] if name not in (DEAD_ZONE, INVARIANCE)]
    if not checks or policy.settings.get("costly_cascades"):
        return
    if all(one.costly for one in explainers):
        source.problem(
            f"the check {checks[0]} leaves out methods that run the model many times an image, and "
            "run.explainers has no other: add one, or write costly_cascades = true",
            "run",
            "explainers",
        )


def _check_no_wall(source: Source, policy: Policy) -> None:
    settings = policy.settings
    given = {
        ("subject", "wall"): settings.get("wall") in ("split", "insert"),
        ("subject", "live_rows"): "live_rows" in settings and settings.get("wall") != "vgg16",
        ("images", "perturbation_number"): "perturbation_images" in settings,
    }
    for keys, wrong in given.items():
        if wrong:
            source.problem(
                f"{'.'.join(keys)} is of the check dead-zone, which is not run: leave it out, or "
                "add dead-zone to run.checks",
                *keys,
            )


def _check_escalation(source: Source, policy: Policy) -> None:
    number = policy.settings.get("num_images")
    if policy.escalate is not None and number is not None and policy.escalate <= number:
        source.problem(
            f"run.escalate is the most images that may be run, and must be above images.number = "
            f"{number}; got {policy.escalate}",
            "run",
            "escalate",
        )


def _place_of_check(policy: Policy, check: str) -> tuple[str | int, ...]:
    """Where a check is asked for: among run.checks, or else by a condition on its figure."""
    for number, condition in enumerate(policy.conditions):
        if condition.figure.startswith(check.replace("-", "_")):
            return "condition", number, "require"
    return "run", "checks"
