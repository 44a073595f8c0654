"""Smooth Grad-CAM++: Grad-CAM++'s weights from the gradients' moments under noise on the image."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, defined, method, weighted_sum
from camaudit.methods.noise import normal
from camaudit.methods.options import count, not_negative

__all__ = ["smoothgradcam_plus_plus"]


@method(
    "smoothgradcam++",
    MethodInfo(
        paper="Omeiza et al. 2019, Smooth Grad-CAM++",
        equation="eqs. 9-11",
        formula="w_k = Σ_ij α_kij ReLU(D1_kij), α = D2/(2 D2 + D3 Σ_ab A_kab), D = moments of G",
        family="gradient",
        cost="4 model forwards and head gradients",
        seeded=True,
    ),
)
def smoothgradcam_plus_plus(
    capture: Capture, *, samples: int = 4, std: float = 0.3, seed: int = 0
) -> Tensor:
    """`w_k = Σ_ij α_kij ReLU(D1_kij)`, `α = D2/(2 D2 + D3 Σ_ab A_kab)`, 0 where D2 = 0.

    Omeiza et al. 2019, eqs. 9-11: `D1, D2, D3` are the means over the samples of `G_i`, `G_i²` and
    `G_i³`, `G_i` the gradient at the activations of `x + std·ε_i`; A is the clean image's. One
    capture of the batch a sample. Returns N×h×w; `std=0` gives Grad-CAM++.

    samples: noisy images.
    std: standard deviation of the noise, in units of the standardised image.

    At the formula's own pole (D1 > 0, D3 Σ A = −2 D2) the map is not finite: undefined. Raises
    :class:`camaudit.errors.UsageError` for other values of the options.
    """
    count("samples", samples)
    not_negative("std", std)
    A = capture.activations
    moments = [torch.zeros_like(A, dtype=torch.float64) for _ in range(3)]
    for index in range(samples):
        # Float64: the cube of a small float32 gradient is 0 in float32.
        G = capture.again(_noisy(capture.images, std, seed, index)).gradients.double()
        for power, moment in enumerate(moments, start=1):
            moment += G**power / samples
    D1, D2, D3 = moments
    total = A.double().sum(dim=(2, 3), keepdim=True)
    alpha = 1 / (2 + D3 / torch.where(D2 == 0, 1, D2) * total)
    rectified = torch.where(D1 <= 0, 0, alpha * D1)  # α may be infinite where D1 < 0
    return defined(weighted_sum(rectified.sum(dim=(2, 3)).to(A.dtype), A), A)


def _noisy(images: Tensor, std: float, seed: int, index: int) -> Tensor:
    """`x + std·ε` of every image (N×C×H×W), in its memory layout."""
    noisy = images.clone()
    for row, image in enumerate(images):
        noise = torch.from_numpy(normal(seed, image, index, tuple(image.shape)))
        noisy[row] += std * noise.to(images)
    return noisy
