"""μ: the share of a saliency map's norm that lies where the network provably cannot see."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.maps import constant, minmax
from camaudit.types import DeadZoneFigures, Status

__all__ = ["dead_zone_figures", "dead_zone_mass"]


def dead_zone_mass(maps: Tensor, scored: Tensor, *, p: float = 1.0) -> Tensor:
    """`μ_p(Λ) = ‖Λ over the scored zone‖_p / ‖Λ‖_p` (CAM-Based Methods Can See through Walls, 3.3).

    Parameters
    ----------
    maps: raw upsampled maps Λ (N×H×W), any floating dtype; computed in float64.
    scored: boolean (H×W), at least one pixel True.
    p: order of the norm, > 0; the headline is p = 1, the authors' notebook computes p = 2.

    Returns float64 (N) in [0, 1], NaN where μ is undefined: an all-zero map (0/0) or one that is
    not finite. Raises :class:`UsageError` for masks of another size, without pixels, or p ≤ 0.
    """
    if maps.ndim != 3 or scored.dtype != torch.bool or maps.shape[1:] != scored.shape:
        raise UsageError(
            f"expected maps N×H×W and a boolean zone H×W; got {tuple(maps.shape)} and "
            f"{scored.dtype} {tuple(scored.shape)}"
        )
    if not bool(scored.any()) or not p > 0:
        raise UsageError("the scored zone is empty, or p is not positive: μ is not defined")
    maps = maps.double().abs()
    peak = maps.amax(dim=(1, 2), keepdim=True)
    powers = (maps / peak).pow(p)  # 0/0 is NaN for an all-zero map, inf/inf for an infinite one
    total = powers.sum(dim=(1, 2))
    inside = torch.where(scored.to(maps.device), powers, 0).sum(dim=(1, 2))
    return (inside / total).pow(1 / p)


def dead_zone_figures(maps: Tensor, scored: Tensor) -> list[DeadZoneFigures]:
    """μ of N×H×W maps: raw L1 and L2, and L1 after min-max; degenerate maps have no figure.

    The min-max figure is also undefined on its own for a constant map.
    """
    finite = torch.isfinite(maps).all(dim=2).all(dim=1)
    columns = (
        dead_zone_mass(maps, scored),
        dead_zone_mass(maps, scored, p=2),
        dead_zone_mass(minmax(maps), scored).masked_fill(constant(maps), torch.nan),
    )
    figures = []
    for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        l1, l2, l1_minmax = (None if math.isnan(value) else float(value) for value in values)
        if l1 is None or not bool(finite[row]):
            figures.append(DeadZoneFigures(None, None, None, Status.DEGENERATE))
        else:
            figures.append(DeadZoneFigures(l1, l2, l1_minmax, Status.OK))
    return figures
