"""Which explainers a run has, and which of them a condition binds: known before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camaudit.gates.figures import FIGURES, Figure
from camaudit.gates.labels import Explainer, explainer
from camaudit.gates.names import DEAD_ZONE, INVARIANCE, METHODS, STANDARD
from camaudit.gates.policy import Condition, Policy

__all__ = ["bound", "expanded", "explainers_of", "has_figure"]

_LISTS = {"standard": STANDARD, "all": tuple(METHODS)}


def expanded(names: Sequence[str] | None) -> list[Explainer]:
    """The explainers that a policy lists: `standard` (also None) and `all` are lists of methods.

    Raises :class:`camaudit.errors.UsageError` for one that does not exist.
    """
    listed: list[str] = []
    for name in ("standard",) if names is None else names:
        listed += _LISTS.get(name.strip(), (name,))
    return list({made.spec: made for made in map(explainer, listed)}.values())


def explainers_of(policy: Policy) -> list[Explainer]:
    """The explainers of the policy's run, in order."""
    settings = policy.settings
    return [*expanded(settings.get("methods")), *map(explainer, settings.get("explainers", ()))]


def has_figure(one: Explainer, figure: Figure, settings: dict[str, Any]) -> bool:
    """Whether a run with these settings puts the figure's check to the explainer.

    Methods that run the model many times an image take part in the sanity checks only with
    `costly_cascades`; precomputed maps have the figures of the dead zone alone.
    """
    if one.fixed and figure.check != DEAD_ZONE:
        return False
    sanity = figure.check not in (DEAD_ZONE, INVARIANCE)
    return not (sanity and one.costly and not settings.get("costly_cascades"))


def bound(policy: Policy, condition: Condition) -> tuple[str, ...]:
    """Labels of the explainers that the condition binds.

    Those that it names; without names all of the run that have the figure and are no controls.

    >>> from pathlib import Path
    >>> from camaudit.gates.policy import Bound
    >>> low = Condition(
    ...     name="a", figure="mprt.effect", relation="<=", bound=Bound(offset=0.1)
    ... )
    >>> run = {"methods": ("gradcam", "scorecam", "uniform"), "checks": ("mprt",)}
    >>> bound(Policy(path=Path("camaudit.toml"), conditions=(low,), settings=run), low)
    ('gradcam',)
    """
    if condition.explainers:
        return condition.explainers
    figure = FIGURES[condition.figure]
    return tuple(
        one.label
        for one in explainers_of(policy)
        if not one.control and has_figure(one, figure, policy.settings)
    )
