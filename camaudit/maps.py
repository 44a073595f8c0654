"""Saliency maps as tensors: bilinear upsampling and the separate, named min-max step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["minmax", "upsample"]


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
