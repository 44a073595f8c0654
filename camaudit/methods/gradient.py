"""Methods that weigh the maps by the gradient G of the target logit: one capture serves all."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method, weighted_sum

__all__ = ["elementwise", "gradcam", "gradcam_plus_plus", "hirescam", "layercam", "xgradcam"]

_COST = "none (shares one forward and one head gradient)"


@method(
    "gradcam",
    MethodInfo(
        paper="Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks",
        equation="eqs. 1-2",
        formula="ReLU(Σ_k w_k A_k), w_k = mean_ij G_kij",
        family="gradient",
        cost=_COST,
        needs_gradients=True,
    ),
)
def gradcam(capture: Capture) -> Tensor:
    """`w_k = mean_ij G_kij`, `L = ReLU(Σ_k w_k A_k)` (Selvaraju 2017, eqs. 1-2). Returns N×h×w."""
    return weighted_sum(capture.gradients.mean(dim=(2, 3)), capture.activations)


@method(
    "gradcam++",
    MethodInfo(
        paper="Chattopadhay et al. 2018, Grad-CAM++: Generalized Gradient-Based Explanations",
        equation="eqs. 6, 19",
        formula="w_k = Σ_ij α_kij ReLU(G_kij), α = G²/(2G² + G³ Σ_ab A_kab)",
        family="gradient",
        cost=_COST,
        needs_gradients=True,
    ),
)
def gradcam_plus_plus(capture: Capture, *, epsilon: float = 0.0) -> Tensor:
    """`w_k = Σ_ij α_kij ReLU(G_kij)`, `α = G²/(2G² + G³ Σ_ab A_kab)`, 0 where G = 0.

    Chattopadhay et al. 2018, eqs. 6 and 19; returns N×h×w. Divided through by G² the weight is
    `1/(2 + G Σ A)`, which neither underflows for small gradients nor needs an epsilon. With
    `epsilon` > 0 it is added to the denominator before that division, as pytorch-grad-cam does
    (1e-6): the map then depends on the scale of the logits more than the formula does. At the
    formula's own pole (G > 0, G Σ A = −2) the map is not finite: undefined.
    """
    G = capture.gradients
    total = capture.activations.sum(dim=(2, 3), keepdim=True)
    alpha = 1 / (2 + G * total)
    if epsilon:
        alpha = G.square() / (2 * G.square() + G**3 * total + epsilon)
    rectified = torch.where(G > 0, alpha * G, 0)  # not α·ReLU(G): α may be infinite where G < 0
    return weighted_sum(rectified.sum(dim=(2, 3)), capture.activations)


@method(
    "xgradcam",
    MethodInfo(
        paper="Fu et al. 2020, Axiom-based Grad-CAM",
        equation="eq. 8",
        formula="w_k = Σ_ij G_kij A_kij / Σ_ij A_kij",
        family="gradient",
        cost=_COST,
        needs_gradients=True,
    ),
)
def xgradcam(capture: Capture) -> Tensor:
    """`w_k = Σ_ij G_kij A_kij / Σ_ij A_kij`, 0 where that sum is 0 (Fu 2020). Returns N×h×w."""
    A = capture.activations
    total = A.sum(dim=(2, 3))
    product = (capture.gradients * A).sum(dim=(2, 3))
    weights = torch.where(total == 0, 0, product / torch.where(total == 0, 1, total))
    return weighted_sum(weights, A)


@method(
    "hirescam",
    MethodInfo(
        paper="Draelos & Carin 2021, Use HiResCAM instead of Grad-CAM",
        equation="eq. 5",
        formula="ReLU(Σ_k G_k ⊙ A_k)",
        family="gradient",
        cost=_COST,
        needs_gradients=True,
    ),
)
def hirescam(capture: Capture) -> Tensor:
    """`L = ReLU(Σ_k G_k ⊙ A_k)` (Draelos & Carin 2021): exactly 0 where G is. Returns N×h×w."""
    return (capture.gradients * capture.activations).sum(dim=1).relu()


@method(
    "layercam",
    MethodInfo(
        paper="Jiang et al. 2021, LayerCAM: Exploring Hierarchical Class Activation Maps",
        equation="eqs. 6-7",
        formula="ReLU(Σ_k ReLU(G_k) ⊙ A_k)",
        family="gradient",
        cost=_COST,
        needs_gradients=True,
    ),
)
def layercam(capture: Capture) -> Tensor:
    """`L = ReLU(Σ_k ReLU(G_k) ⊙ A_k)` (Jiang 2021): exactly 0 where G is. Returns N×h×w."""
    return (capture.gradients.relu() * capture.activations).sum(dim=1).relu()


@method(
    "elementwise",
    MethodInfo(
        paper="Gildenblat et al. 2021, pytorch-grad-cam (GradCAMElementWise)",
        equation="definition in code",
        formula="Σ_k ReLU(G_k ⊙ A_k)",
        family="gradient",
        cost=_COST,
        needs_gradients=True,
    ),
)
def elementwise(capture: Capture) -> Tensor:
    """`L = Σ_k ReLU(G_k ⊙ A_k)`: exactly 0 where G is. Returns N×h×w."""
    return (capture.gradients * capture.activations).relu().sum(dim=1)
