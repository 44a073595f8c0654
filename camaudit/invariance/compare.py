"""How two stacks of maps differ, as one number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FLOOR", "Difference", "differences", "raw", "scaled"]

#: Share of 1 below which a map of O(1) activations is rounding alone, by mantissa: float64, float32
FLOOR = {torch.float64: 1e-9, torch.float32: 1e-6}


@dataclass(frozen=True)
class Difference:
    """The largest difference between the maps of an image, over all images.

    `value` is None where no image has two maps to compare (all are zero, or not finite alike);
    `degenerate` counts such images. It is infinite where shapes differ or one map alone is not
    finite.
    """

    value: float | None
    degenerate: int
    images: int

    @property
    def defined(self) -> bool:
        """Whether any image counted."""
        return self.value is not None


def raw(maps: Tensor, others: Tensor) -> Difference:
    """`max |a − b| / max(max |a|, max |b|)` of each image; the largest over images."""
    return differences(maps, others, norm=False)


def scaled(maps: Tensor, others: Tensor) -> Difference:
    """`max |a / max |a| − b / max |b||` of each image; the largest over images."""
    return differences(maps, others, norm=True)


def differences(maps: Tensor, others: Tensor, *, norm: bool) -> Difference:
    """The comparison of :func:`raw`, or with `norm` of :func:`scaled`.

    maps and others: N×h×w. A pair is degenerate where both are at most :data:`FLOOR`, or both not
    finite. With `norm` a map that is zero beside one that is not is a difference of 1.
    """
    if maps.shape != others.shape:
        return Difference(math.inf, 0, len(maps))
    floor = max(FLOOR.get(each.dtype, 1e-3) for each in (maps, others))
    values: list[float] = []
    for one, other in zip(maps.double(), others.double(), strict=True):
        found = _pair(one, other, floor, norm)
        values += [] if found is None else [found]
    return Difference(max(values, default=None), len(maps) - len(values), len(maps))


def _pair(one: Tensor, other: Tensor, floor: float, norm: bool) -> float | None:
    finite = [bool(torch.isfinite(each).all()) for each in (one, other)]
    if not all(finite):
        return math.inf if any(finite) else None
    high, other_high = one.abs().max().item(), other.abs().max().item()
    if max(high, other_high) <= floor:
        return None
    if norm:
        one, other = one / max(high, floor), other / max(other_high, floor)
        high = other_high = 1.0
    return (one - other).abs().max().item() / max(high, other_high)
