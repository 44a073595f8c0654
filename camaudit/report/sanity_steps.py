"""The steps of a cascade: which layer is randomised when, and where the target layer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report.names import order_title

__all__ = ["Cascade", "cascades", "preferred", "stretches"]

_LEADS = {
    "top-down": "Layers lose their weights one after another, the one next to the logits first, "
    "and stay random.",
    "bottom-up": "Layers lose their weights one after another, the one next to the input first, "
    "and stay random.",
    "independent": "Each layer is random alone; all others keep their trained weights.",
    "all": "Every layer is random.",
}
_X_TITLES = {
    "top-down": "randomised from the logits down to",
    "bottom-up": "randomised from the input up to",
    "independent": "randomised alone",
    "all": "randomised",
}
_PREFERRED = ("top-down", "bottom-up", "all")


@dataclass(frozen=True)
class Cascade:
    """The layers of one order, a step each.

    `above`: whether every layer that is random at the step runs after the target layer. `target`:
    before which step the target layer stands, None where that is not known. `whole`: whether
    every layer has a step.
    """

    order: str
    layers: tuple[str, ...]
    above: tuple[bool, ...]
    target: int | None
    whole: bool = True

    @property
    def title(self) -> str:
        """The order in words."""
        return order_title(self.order)

    @property
    def lead(self) -> str:
        """What happens at a step."""
        return _LEADS.get(self.order, "")

    @property
    def x_title(self) -> str:
        """The title of the x axis."""
        return _X_TITLES.get(self.order, "layer")

    @property
    def cumulative(self) -> bool:
        """Whether the steps lead away from the trained model one by one."""
        return self.order in ("top-down", "bottom-up")

    @property
    def target_text(self) -> str:
        """Where the target layer stands, in words; empty where that is not known."""
        if self.target is None:
            return ""
        if self.order == "bottom-up":
            start = self.target if self.whole else self.target + 1
            return f"the target layer, whose weights and all before it are random from step " \
                   f"{start} on"  # fmt: skip
        if self.order == "independent":
            return f"the target layer: layers from step {self.target + 1} on run after it"
        return f"the target layer: only layers after it are random up to step {self.target}"


def cascades(sanity: Mapping[str, Any], check: str) -> dict[str, Cascade]:
    """The orders in which `check` was run, by name, as the curves come."""
    orders = dict.fromkeys(
        curve["order"] for curve in sanity.get("curves") or [] if curve["check"] == check
    )
    steps: dict[str, list[Mapping[str, Any]]] = {}
    for step in sanity.get("steps") or []:
        steps.setdefault(step["order"], []).append(step)
    below = _below(steps)
    return {order: _cascade(order, steps.get(order, []), below) for order in orders}


def preferred(orders: Sequence[str]) -> str:
    """The order whose last step is shown where there is room for one: all layers are random."""
    return next((order for order in _PREFERRED if order in orders), orders[0])


def stretches(steps: Sequence[int]) -> str:
    """Numbers of steps with runs drawn together.

    >>> stretches([1, 2, 3, 7]), stretches([4])
    ('Steps 1–3, 7', 'Step 4')
    """
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][1] + 1:
            runs[-1][1] = step
        else:
            runs.append([step, step])
    shown = [str(low) if low == high else f"{low}–{high}" for low, high in runs]
    return f"{'Step' if len(steps) == 1 else 'Steps'} {', '.join(shown)}"


def _cascade(order: str, steps: Sequence[Mapping[str, Any]], below: int | None) -> Cascade:
    ordered = sorted(steps, key=lambda step: int(step["number"]))
    above = tuple(bool(step["above"]) for step in ordered)
    layers = tuple(str(step["layer"]) for step in ordered)
    target: int | None = None
    if order == "top-down" and any(above):
        target = sum(above)
    elif order in ("independent", "bottom-up") and below is not None and 0 < below < len(layers):
        target = below
    whole = order == "independent" or [step.get("random") for step in ordered] == [
        *range(1, len(ordered) + 1)
    ]
    return Cascade(order, layers, above, target, whole)


def _below(steps: Mapping[str, Sequence[Mapping[str, Any]]]) -> int | None:
    """How many layers run before the target layer has ended; None where no order tells."""
    for order in ("top-down", "independent"):
        if order in steps:
            return sum(not step["above"] for step in steps[order])
    return None
