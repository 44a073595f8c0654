"""What properties ask of a model themselves, drawn or not."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.invariance.networks import LAYER
from camaudit.invariance.situation import Situation

__all__ = ["captured", "channels_of", "classes_of", "gradients_of"]


def classes_of(given: Situation) -> int:
    """How many logits C the model gives."""
    return int(given.logits().shape[1]) if given.plan is None else given.plan.classes


def channels_of(given: Situation) -> int:
    """How many channels K the target layer has; raises the errors of cutting the model."""
    if given.plan is not None:
        return given.plan.map_channels
    with torch.no_grad():
        maps = cut_at(given.model, given.layer, given.images[:1]).trunk(given.images[:1])
    return int(maps.shape[1])


def gradients_of(given: Situation) -> Tensor:
    """`∂s/∂A` (N×K×h×w) of the explained logits; raises the errors of cutting the model."""
    if given.plan is None:
        return captured(given).gradients
    trunk, head = given.model.get_submodule(LAYER), given.model.get_submodule("head")
    with torch.enable_grad():
        maps = trunk(given.images).detach().requires_grad_(True)
        scores = head(maps).gather(1, given.targets[:, None])
        gradients: Tensor = torch.autograd.grad(scores.sum(), maps)[0]
    return gradients


def captured(given: Situation) -> Capture:
    """A capture of the images; raises the errors of cutting the model."""
    cut = cut_at(given.model, given.layer, given.images[:1])
    return capture(cut, given.images, targets=given.targets)
