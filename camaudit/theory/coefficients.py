"""GradCAM's coefficients of a simple CNN in closed form: Proposition 2 of the walls paper."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.errors import UsageError
from camaudit.theory.simple_cnn import SimpleCNN

__all__ = ["coefficients"]


@torch.no_grad()
def coefficients(model: SimpleCNN, images: Tensor, *, target: int = 0) -> Tensor:
    """`α_v = mean_ij ∂s/∂B_vij` (N×V) of the logit `s` of class `target`, without autograd.

    Head "flatten" (CAM-Based Methods Can See through Walls, Proposition 2):
    `α_v = 1/(hw) Σ_cells [W¹ᵀ D₁ W²ᵀ D₂ … Wᴸᵀ]_v,cell` with `D_l = diag(1[pre-activation of
    layer l > 0])`, the sum over all pooled cells; the weights of dead ones are 0. Each pooling
    window passes its gradient to exactly one cell, so ties do not matter. Head "pooled":
    `α_v = 1/(hw) [W¹ᵀ D₁ … Wᴸᵀ]_v`, because the mean over n live cells spreads a gradient of 1/n
    over n cells. For L = 1 neither depends on the image.

    images: N×C×H×W of the model's dtype. Raises :class:`UsageError` for an unknown class.
    """
    design = model.design
    if not 0 <= target < design.classes:
        raise UsageError(f"target must be 0 to {design.classes - 1}; got {target}")
    weights = [linear.weight for linear in model.linears()]
    x = _features(model, images)
    active = []
    for weight in weights[:-1]:
        before = x @ weight.T
        active.append(before > 0)
        x = before.clamp(min=0)
    pulled = weights[-1][target].expand(len(images), -1)
    for weight, on in zip(reversed(weights[:-1]), reversed(active), strict=True):
        pulled = (pulled * on) @ weight
    h, w = design.cells
    return pulled.reshape(len(images), design.filters, -1).sum(dim=2) / (h * w)


def _features(model: SimpleCNN, images: Tensor) -> Tensor:
    """What the first Linear layer reads: N×(V·h'·w'), or N×V for a pooled head."""
    B = F.conv2d(images, model.conv.weight).clamp(min=0)
    design = model.design
    live = ~design.grid_dead if model.masked else torch.ones_like(design.grid_dead)
    if design.head == "pooled":
        return (B * live).sum(dim=(2, 3)) / live.sum()
    return (F.max_pool2d(B, design.pool) * live).flatten(1)
