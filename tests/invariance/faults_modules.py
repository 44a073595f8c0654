"""Faults of explainers that go by the model's modules in place of what they compute."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tests.invariance.faults_look import elsewhere
from tests.invariance.literal import Score, Seen, look
from tests.invariance.planting import step


def positive(model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score) -> Seen:
    """The gradient through Linear layers whose negative weights are set to 0."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for module in other.modules():
            if isinstance(module, nn.Linear):
                module.weight.clamp_(min=0)
    return look(other, layer, images, targets, score)


def first_child(model: nn.Module, layer: str, *_: Any) -> str:
    """The first module of the layer; the layer itself where it holds none."""
    names = [name for name, _ in model.get_submodule(layer).named_children()]
    return f"{layer}.{names[0]}" if names else layer


step("gradcam", "positive-weights", "negative weights of Linear layers left out", look=positive)
elsewhere("gradcam", "first-child", "hook on the first module of the target layer", first_child)
