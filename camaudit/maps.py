"""Maps and images as tensors: upsampling, blurring, and the separate, named min-max step."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blur", "constant", "minmax", "upsample"]

_ULPS = 16  # by so many roundings one number may differ from itself


def upsample(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Bilinear upsampling `Up` of maps (…×h×w) to (…×H×W), half-pixel centres by default.

    A map that has the size already is returned as it is.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    raised = F.interpolate(flat, size=size, mode="bilinear", align_corners=align_corners)
    return raised.reshape(*maps.shape[:-2], *size)


def minmax(maps: Tensor) -> Tensor:
    """`(m − min m) / (max m − min m)` over the last two axes, in [0, 1].

    A constant map has no min-max form: it becomes NaN everywhere (undefined, not zero).
    """
    low = maps.amin(dim=(-2, -1), keepdim=True)
    span = maps.amax(dim=(-2, -1), keepdim=True) - low
    undefined = torch.full_like(span, torch.nan)
    return (maps - low) / torch.where(span > 0, span, undefined)


def constant(maps: Tensor) -> Tensor:
    """Whether each map (N×H×W) is one number everywhere, but for rounding in its own dtype; N.

    `max − min ≤ 16 ε max|x|`: upsampling a constant map makes values that differ by some ε, and
    min-max would stretch that noise to [0, 1]. False for a map that is not finite.
    """
    low, high = maps.amin(dim=(1, 2)), maps.amax(dim=(1, 2))
    largest = torch.maximum(low.abs(), high.abs())
    found: Tensor = high - low <= _ULPS * torch.finfo(maps.dtype).eps * largest
    return found & torch.isfinite(largest)


def blur(images: Tensor, *, sigma: float = 10.0) -> Tensor:
    """Gaussian blur of images (N×C×H×W), standard deviation in pixels, edges replicated.

    The kernel reaches 3 sigma and sums to 1, so a constant image stays as it is.
    """
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).to(images)
    flat = images.reshape(-1, 1, *images.shape[-2:])
    padded = F.pad(flat, (radius,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel[None, None, None, :]), kernel[None, None, :, None])
    return blurred.reshape(images.shape)
