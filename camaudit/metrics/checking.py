"""What metrics are computed from: maps, and figures of images, checked before anything else."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.probability import Link, probabilities

__all__ = ["checked_figures", "checked_maps", "class_shares", "nan_unless"]


def checked_maps(maps: Tensor, name: str = "maps") -> Tensor:
    """Maps (N×H×W, any floating dtype) in float64, without their graph.

    Values are not looked at: a map that is not finite is an undefined figure of its own image.
    Raises :class:`UsageError` for another shape or dtype, and for no image or no pixel.
    """
    if maps.ndim != 3 or maps.numel() == 0 or not maps.is_floating_point():
        raise UsageError(
            f"expected {name} N×H×W of floating point, N ≥ 1; got {maps.dtype} "
            f"{tuple(maps.shape)}; a single map is map[None]"
        )
    return maps.detach().double()


def checked_figures(
    figures: dict[str, Tensor], *, low: float = -math.inf, high: float = math.inf, hint: str = ""
) -> list[Tensor]:
    """Figures of the same images (each N, any floating dtype) in float64, NaN where undefined.

    Raises :class:`UsageError` for another shape or dtype, another number of images, no image, and
    values outside [low, high]; `hint` ends the message of the last.
    """
    shapes = {name: tuple(values.shape) for name, values in figures.items()}
    named = ", ".join(f"{name} {values.dtype} {shapes[name]}" for name, values in figures.items())
    floating = all(values.is_floating_point() for values in figures.values())
    if len(set(shapes.values())) > 1 or not floating or any(
        len(shape) != 1 or shape[0] == 0 for shape in shapes.values()
    ):  # fmt: skip
        raise UsageError(f"expected one value of floating point for each of N ≥ 1 images: {named}")
    checked = [values.detach().double() for values in figures.values()]
    for name, values in zip(figures, checked, strict=True):
        outside = values[(values < low) | (values > high)]
        if len(outside):
            raise UsageError(
                f"expected {name} in [{low:g}, {high:g}], NaN where undefined; got "
                f"{float(outside[0]):g}{'; ' * bool(hint)}{hint}"
            )
    return [values.to(checked[0].device) for values in checked]


def nan_unless(defined: Tensor, figures: Tensor) -> Tensor:
    """The figures that are defined, NaN for the others."""
    return torch.where(defined, figures, torch.nan)


def class_shares(logits: Tensor, targets: Tensor, *, link: Link = "softmax") -> Tensor:
    """`p_c` (M, float64), the probability by `link` of logits (M×C), for classes (M, int64).

    NaN where logits are not finite, and for the softmax of a single class, whose 1 says nothing of
    any image.
    """
    wide = probabilities(logits, link, dtype=torch.float64)
    shares = wide.gather(1, targets[:, None]).squeeze(1)
    says = logits.shape[1] > 1 or link == "sigmoid"
    return nan_unless(torch.isfinite(logits).all(dim=1) & says, shares)
