"""sMPRT: maps averaged over noisy copies of the image, the same for every model."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.methods.noise import normal

__all__ = ["NOISE", "SAMPLES", "averaged", "noisy_views"]

SAMPLES = 10
NOISE = 0.1  #: standard deviation of the noise as a share of the image's range


def noisy_views(
    images: Tensor, *, samples: int = SAMPLES, noise: float = NOISE, seed: int = 0
) -> Tensor:
    """`x + σ ε_j`, j = 0 … samples − 1, `σ = noise · (max x − min x)`: N·samples×C×H×W.

    Hedström et al. 2024, Sanity Checks Revisited, section 4.1. Copies of one image follow each
    other. The noise depends on the seed and the image alone, so that the original and every
    random model see the same copies. Raises :class:`UsageError` for other than positive options.
    """
    if samples < 1 or not noise > 0:
        raise UsageError(f"expected samples ≥ 1 and noise > 0; got {samples} and {noise}")
    views = []
    for image in images:
        sigma = noise * (image.max() - image.min())
        for sample in range(samples):
            drawn = torch.from_numpy(normal(seed, image, sample, tuple(image.shape)))
            views.append(image + sigma * drawn.to(image))
    layout = torch.channels_last
    stacked = torch.stack(views)
    last = images.is_contiguous(memory_format=layout) and not images.is_contiguous()
    return stacked.contiguous(memory_format=layout) if last else stacked


def averaged(maps: Tensor, samples: int) -> Tensor:
    """Mean over the copies of each image: N·samples×h×w to N×h×w."""
    return maps.reshape(-1, samples, *maps.shape[1:]).mean(dim=1)
