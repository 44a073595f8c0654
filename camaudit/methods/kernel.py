"""KPCA-CAM: the first principal component of the cells in the feature space of a kernel."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.decomposition import agreeing
from camaudit.methods.options import one_of, positive
from camaudit.methods.rows import each_row

__all__ = ["kpcacam"]

Kernel = Literal["sigmoid", "rbf", "linear"]


@method(
    "kpcacam",
    MethodInfo(
        paper="Karmani et al. 2024, KPCA-CAM: Visual Explainability using Kernel PCA",
        equation="definition",
        formula="ReLU(√λ₁ u₁) of the centred kernel tanh(u·v/K + 1) between cells",
        family="decomposition",
        cost="1 eigenvector of (hw)²",
    ),
)
def kpcacam(capture: Capture, *, kernel: Kernel = "sigmoid", gamma: float | None = None) -> Tensor:
    """`L = ReLU(√λ₁ u₁)`, λ₁ the doubly centred kernel's largest eigenvalue, u₁ its eigenvector.

    Karmani et al. 2024, KPCA-CAM; the kernel compares the rows u, v (one a cell, in ℝᴷ) of the
    activations B with each channel's spatial mean subtracted. The sign makes
    `Σ_cells (√λ₁ u₁)·mean_k B ≥ 0`. In float64; returns N×h×w. Memory grows with (hw)², time with
    (hw)³.

    kernel: "sigmoid" `tanh(γ u·v + 1)`, "rbf" `exp(−γ ‖u − v‖²)` or "linear" `u·v`, which is
        EigenCAM.
    gamma: γ, 1/K where None; the linear kernel has none.

    A map is all zero where λ₁ ≤ 0 to rounding. Blind to the class. Raises
    :class:`camaudit.errors.UsageError` for other values of the options.
    """
    one_of("kernel", kernel, get_args(Kernel))
    if gamma is not None:
        positive("gamma", gamma)

    def one(row: int) -> Tensor:
        A = capture.activations[row]
        B = A.double().flatten(1).T
        B = B - B.mean(dim=0)
        matrix = _kernel_matrix(B, kernel, 1 / len(A) if gamma is None else gamma)
        projection = _first_kernel_component(matrix)
        signed = agreeing(projection[None], B.mean(dim=1)[None])[0]
        return signed.relu().to(A.dtype).reshape(A.shape[1:])

    return each_row(capture, one)


def _kernel_matrix(B: Tensor, kernel: Kernel, gamma: float) -> Tensor:
    """The kernel (hw×hw) between the rows of `B` (hw×K), up to a constant that centring removes.

    The constant is `k(0, 0)`: taken away before rounding, maps of any scale keep their figures.
    """
    products = B @ B.T
    if kernel == "linear":
        return products
    if kernel == "rbf":
        squares = products.diagonal()
        distances = (squares[:, None] + squares[None, :] - 2 * products).clamp_min(0)
        return torch.expm1(-gamma * distances)
    scaled = gamma * products  # tanh(z + 1) − tanh(1), by the difference formula of tanh
    return torch.tanh(scaled) * (1 - torch.tanh(scaled + 1) * math.tanh(1))


def _first_kernel_component(matrix: Tensor) -> Tensor:
    """`√λ₁ u₁` (hw) of a kernel matrix (hw×hw) after double centring; 0 where λ₁ ≤ 0."""
    rows = matrix.mean(dim=1, keepdim=True)
    centred = matrix - rows - rows.T + matrix.mean()
    values, vectors = torch.linalg.eigh((centred + centred.T) / 2)
    rounding = 8 * len(matrix) * torch.finfo(matrix.dtype).eps * matrix.abs().max()
    return torch.where(values[-1] > rounding, values[-1].clamp_min(0).sqrt() * vectors[:, -1], 0)
