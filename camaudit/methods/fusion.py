"""One map out of several: the same method at several layers, or several methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.methods.options import one_of

__all__ = ["How", "Scale", "fuse"]

How = Literal["mean", "max"]
Scale = Literal["max", "minmax", "none"]


def fuse(
    maps: Sequence[Tensor], *, size: tuple[int, int], how: How = "mean", scale: Scale = "max"
) -> Tensor:
    """Maps (each N×h×w, h and w their own) upsampled to `size`, scaled and joined; N×H×W.

    how: the "mean" or the maximum ("max") of the maps, pixel by pixel.
    scale: of every image's map, after upsampling: "max" divides it by its maximum, so that zeros
        stay zeros; "minmax" is `(m − min m) / (max m − min m)`, where a constant map, which has no
        such form, becomes all zero; "none" leaves it.

    An all-zero map stays all zero, and a map with a NaN makes the image's joined map NaN where it
    is. Raises :class:`UsageError` for other words, for no map at all, and for maps of different
    numbers of images.
    """
    one_of("how", how, get_args(How))
    one_of("scale", scale, get_args(Scale))
    if not maps:
        raise UsageError("expected at least one map to fuse; got none")
    shapes = [tuple(one.shape) for one in maps]
    if any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise UsageError(f"expected maps N×h×w of the same N images; got shapes {shapes}")
    stack = torch.stack([_scaled(upsample(one, size), scale) for one in maps])
    return stack.mean(dim=0) if how == "mean" else stack.amax(dim=0)


def _scaled(maps: Tensor, scale: Scale) -> Tensor:
    if scale == "none":
        return maps
    high = maps.amax(dim=(1, 2), keepdim=True)
    low = maps.amin(dim=(1, 2), keepdim=True) if scale == "minmax" else torch.zeros_like(high)
    flat = high == low
    return torch.where(flat, 0, (maps - low) / torch.where(flat, 1, high - low))
