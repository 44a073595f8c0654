"""Methods that show the maps' first principal component."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method

__all__ = ["eigencam", "eigengradcam", "first_component", "segeigencam"]


@method(
    "eigencam",
    MethodInfo(
        paper="Bany Muhammad & Yeasin 2021, Eigen-CAM",
        equation="eqs. 3-4",
        formula="ReLU(B v₁), B = centred hw×K activations, v₁ its first right singular vector",
        family="decomposition",
        cost="1 eigenvector of min(hw, K)²",
    ),
)
def eigencam(capture: Capture) -> Tensor:
    """`L = ReLU(B v₁)` with `B` from :func:`first_component` (Eigen-CAM 2021). Returns N×h×w."""
    return first_component(capture.activations).relu()


@method(
    "eigengradcam",
    MethodInfo(
        paper="Gildenblat et al. 2021, pytorch-grad-cam (EigenGradCAM)",
        equation="definition in code",
        formula="ReLU(B v₁), B = centred hw×K matrix of G ⊙ A, v₁ its first right singular vector",
        family="decomposition",
        cost="1 eigenvector of min(hw, K)²",
        needs_gradients=True,
    ),
)
def eigengradcam(capture: Capture) -> Tensor:
    """`L = ReLU(B v₁)` with `B` from :func:`first_component` of `G ⊙ A`. Returns N×h×w."""
    return first_component(capture.gradients * capture.activations).relu()


@method(
    "segeigencam",
    MethodInfo(
        paper="Chung & Ying 2025, Seg-Eigen-CAM",
        equation="eqs. 10-13",
        formula="ReLU(±B v₁), B = centred hw×K matrix of |G| ⊙ A, the larger peak positive",
        family="decomposition",
        cost="1 eigenvector of min(hw, K)²",
        needs_gradients=True,
    ),
)
def segeigencam(capture: Capture) -> Tensor:
    """`L = ReLU(±P)`, `P = B v₁` of `|G| ⊙ A`, signed so that `max |P|` is positive.

    Chung & Ying 2025, eqs. 10-13; returns N×h×w. Where `|min P| = |max P|` to rounding, as on
    every map of two cells, the sign is that of :func:`first_component`.
    """
    P = first_component(capture.gradients.abs() * capture.activations)
    low, high = P.amin(dim=(1, 2), keepdim=True), P.amax(dim=(1, 2), keepdim=True)
    rounding = min(1e3 * torch.finfo(P.dtype).eps, 0.03)  # half precision: a few of its own steps
    return torch.where(low.abs() > (1 + rounding) * high.abs(), -P, P).relu()


def first_component(A: Tensor) -> Tensor:
    """Projection `B v₁` of centred maps on their first right singular vector, signed.

    `B` (hw×K) holds the activations with each channel's spatial mean subtracted. A singular
    vector has no sign of its own; the one taken makes `Σ_cells (B v₁)·mean_k B ≥ 0`, so that
    cells where channels are active on the whole score positive. N×K×h×w to N×h×w; all NaN for an
    image whose activations are not finite.
    """
    flat = A.flatten(2).transpose(1, 2)
    finite = torch.isfinite(flat).all(dim=(1, 2), keepdim=True)
    B = torch.where(finite, flat, 0).double()
    B = B - B.mean(dim=1, keepdim=True)
    projection = (B @ _first_right_singular_vector(B))[:, :, 0]
    signed = agreeing(projection, B.mean(dim=2))
    signed = torch.where(finite[:, :, 0], signed, torch.nan)
    return signed.to(A.dtype).reshape(len(A), *A.shape[2:])


def agreeing(projection: Tensor, mean: Tensor) -> Tensor:
    """`projection` (N×hw) with the sign that makes its product with `mean` (N×hw) ≥ 0."""
    agreement = (projection * mean).sum(dim=1, keepdim=True)
    return torch.where(agreement < 0, -projection, projection)


def _first_right_singular_vector(B: Tensor) -> Tensor:
    """`v₁` (N×K×1) of `B` (N×hw×K), through the smaller of `B Bᵀ` and `Bᵀ B`.

    Only the gap between the first two singular values limits the accuracy, as for the singular
    value decomposition itself; `v₁` is 0 where B is.
    """
    largest = B.abs().amax(dim=(1, 2), keepdim=True)
    B = B / torch.where(largest > 0, largest, 1)  # squares neither overflow nor vanish
    transposed = B.transpose(1, 2)
    if B.shape[1] > B.shape[2]:
        _, vectors = torch.linalg.eigh(transposed @ B)
        return torch.where(largest > 0, vectors[:, :, -1:], 0)
    _, vectors = torch.linalg.eigh(B @ transposed)
    v1: Tensor = transposed @ vectors[:, :, -1:]
    length = torch.linalg.vector_norm(v1, dim=1, keepdim=True)
    return v1 / torch.where(length > 0, length, 1)
