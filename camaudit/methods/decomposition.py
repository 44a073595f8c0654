"""EigenCAM: the maps' first principal component, blind to the class."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method

__all__ = ["eigencam", "first_component"]


@method(
    "eigencam",
    MethodInfo(
        paper="Bany Muhammad & Yeasin 2021, Eigen-CAM",
        equation="eqs. 3-4",
        formula="ReLU(B v₁), B = centred hw×K activations, v₁ its first right singular vector",
        family="decomposition",
        cost="1 singular value decomposition of hw×K",
    ),
)
def eigencam(capture: Capture) -> Tensor:
    """`L = ReLU(B v₁)` with `B` from :func:`first_component` (Eigen-CAM 2021). Returns N×h×w."""
    return first_component(capture.activations).relu()


def first_component(A: Tensor) -> Tensor:
    """Projection `B v₁` of centred maps on their first right singular vector, signed.

    `B` (hw×K) holds the activations with each channel's spatial mean subtracted. A singular
    vector has no sign of its own; the one taken makes `Σ_cells (B v₁)·mean_k B ≥ 0`, so that
    cells where channels are active on the whole score positive. N×K×h×w to N×h×w.
    """
    flat = A.flatten(2).transpose(1, 2)
    finite = torch.isfinite(flat).all(dim=(1, 2), keepdim=True)
    B = torch.where(finite, flat, 0).double()
    B = B - B.mean(dim=1, keepdim=True)
    v1 = torch.linalg.svd(B, full_matrices=False).Vh[:, 0]
    projection = torch.einsum("nck,nk->nc", B, v1)
    agreement = (projection * B.mean(dim=2)).sum(dim=1, keepdim=True)
    signed = torch.where(agreement < 0, -projection, projection)
    signed = torch.where(finite[:, :, 0], signed, torch.nan)
    return signed.to(A.dtype).reshape(len(A), *A.shape[2:])
