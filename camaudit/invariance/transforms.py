"""Transformations of a model, exact in real arithmetic, whatever the model is.

A transformed model is a module around the old one, so that every explainer that hooks a layer of
a model can explain it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError
from camaudit.invariance.situation import Situation

__all__ = ["Rewired", "Seen", "after", "before", "copied", "rewired", "seen"]


def after(given: Situation, module: nn.Module) -> Situation:
    """`x ↦ module(model(x))`: the logits changed, the target layer the model's own."""
    model = nn.Sequential(OrderedDict(model=given.model, after=module)).eval()
    return given.changed(model=model, layer=f"model.{given.layer}")


def before(given: Situation, module: nn.Module) -> Situation:
    """`x ↦ model(module(x))`: the images changed before the model reads them."""
    model = nn.Sequential(OrderedDict(before=module, model=given.model)).eval()
    return given.changed(model=model, layer=f"model.{given.layer}")


class Rewired(nn.Module):
    """`x ↦ read(back(target(trunk(x))))` with `back(target(A)) = A`; target layer `target`.

    The same function of the image, with other channels or another layout at the target layer.
    """

    def __init__(
        self, trunk: nn.Module, target: nn.Module, back: nn.Module, read: nn.Module
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.target = target
        self.back = back
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.read(self.back(self.target(self.trunk(images))))
        return logits


def rewired(given: Situation, target: nn.Module, back: nn.Module) -> Situation:
    """The situation with a :class:`Rewired` model; raises the errors of cutting the model."""
    if given.plan is not None:
        trunk, head = given.model.get_submodule("trunk"), given.model.get_submodule("head")
    else:
        cut = cut_at(given.model, given.layer, given.images[:1])
        trunk, head = cut.trunk, cut.head
    return given.changed(model=Rewired(trunk, target, back, head).eval(), layer="target")


class Seen(nn.Module):
    """`x ↦ model(change(x))`.

    The change is a function and no module: methods that look for the model's own layers find no
    other ones than before.
    """

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(self.change(images))
        return logits


def seen(given: Situation, change: Callable[[Tensor], Tensor]) -> Situation:
    """`x ↦ model(change(x))`, see :class:`Seen`; the images stay what they are."""
    return given.changed(model=Seen(given.model, change).eval(), layer=f"model.{given.layer}")


def copied(given: Situation) -> Situation:
    """The situation with a deep copy of its model; NotApplicableError where there is none."""
    try:
        model = copy.deepcopy(given.model)
    except Exception as error:
        raise NotApplicableError(f"the model cannot be copied: {error}") from error
    walled = model if given.walled is given.model else given.walled
    return given.changed(model=model, plan=given.plan, walled=walled)
