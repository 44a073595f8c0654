"""Our own GradCAM, with hooks on the layer that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def ours(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """GradCAM: maps N×h×w of the layer, for the target of each image."""
    kept: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[-1]))
    try:
        with torch.enable_grad():
            scores = model(images.clone().requires_grad_())
            (slopes,) = torch.autograd.grad(scores.gather(1, targets[:, None]).sum(), kept[-1])
    finally:
        hook.remove()
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * kept[-1]).sum(dim=1).relu().detach()
