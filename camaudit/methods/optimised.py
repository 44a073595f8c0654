"""Opti-CAM: the mixture of channels under which the image scores highest, found by ascent."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.maps import minmax, upsample
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.options import count, positive
from camaudit.methods.rows import accumulating, each_row
from camaudit.methods.scores import varying_channels

__all__ = ["opticam"]


@method(
    "opticam",
    MethodInfo(
        paper="Zhang et al. 2024, Opti-CAM: Optimizing saliency maps for interpretability",
        equation="eqs. 7-10",
        formula="ReLU(Σ_k softmax(u)_k A_k), u the maximiser of s_c(x ⊙ minmax(Up(Σ_k …)))",
        family="perturbation",
        cost="101 model forwards and 100 gradients through the whole model",
        many_passes=True,
    ),
)
def opticam(capture: Capture, *, steps: int = 100, learning_rate: float = 0.1) -> Tensor:
    """`ReLU(L(u*))`, `L(u) = Σ_k softmax(u)_k A_k`, `u* = argmax_u s(x ⊙ minmax(Up(L(u))))`.

    Zhang et al. 2024 (Opti-CAM), eqs. 7-10; returns N×h×w. Adam goes `steps` steps of
    `learning_rate` from u = 0, and u* is the first u of the highest score that it met, u = 0
    included. Where no mask is defined (every channel constant) u* = 0. u has the dtype of the
    activations, float32 for half precision. Images are taken one by one, so that rounding, which
    the ascent enlarges, cannot depend on the batch. Raises :class:`UsageError` for other values
    of the options.
    """
    count("steps", steps)
    positive("learning_rate", learning_rate)

    def one(row: int) -> Tensor:
        A = capture.activations[row]
        u = torch.zeros(len(A), dtype=accumulating(A.dtype), device=A.device)
        if len(varying_channels(A)):
            u = _ascended(capture, row, u, steps, learning_rate)
        return _mixed(u, A.to(u.dtype)).relu().to(A.dtype)

    return each_row(capture, one)


def _ascended(
    capture: Capture, row: int, start: Tensor, steps: int, learning_rate: float
) -> Tensor:
    """The best u (K) met on the way from `start`."""
    with torch.inference_mode(False), torch.enable_grad():
        image = capture.images[row : row + 1].clone()
        A = capture.activations[row].to(start.dtype, copy=True)
        down, across = (
            _raising(cells, pixels, A)
            for cells, pixels in zip(A.shape[-2:], capture.size, strict=True)
        )
        u = start.clone().requires_grad_(True)
        adam = torch.optim.Adam([u], lr=learning_rate, maximize=True)
        best, found = -math.inf, start
        for step in range(steps + 1):
            mask = minmax(down @ _mixed(u, A) @ across.T).to(image.dtype)
            score = capture.score(capture.model(image * mask), row)[0]
            value = float(score.detach())
            if not math.isfinite(value):
                break  # the mixture became constant: no mask, and no way on
            if value > best:
                best, found = value, u.detach().clone()
            if step < steps:
                (u.grad,) = torch.autograd.grad(score, u)
                adam.step()
        return found


def _mixed(u: Tensor, A: Tensor) -> Tensor:
    """`L(u) = Σ_k softmax(u)_k A_k` (h×w)."""
    return torch.einsum("k,kij->ij", u.softmax(dim=0), A)


def _raising(cells: int, pixels: int, like: Tensor) -> Tensor:
    """Bilinear upsampling of one axis as a matrix (pixels×cells).

    A product of matrices has the same derivative in every run; that of `interpolate` is summed in
    no fixed order on a GPU.
    """
    units = torch.eye(cells).to(like)[:, :, None]
    return upsample(units, (pixels, 1))[:, :, 0].T
