"""The head that CAM needs: one Linear layer on a spatial mean of the maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import NotApplicableError

__all__ = ["pooled_linear_weight"]

_ROUNDINGS = 256  # units in the last place by which a mean over cells may differ
_HALF = 1e-4  # the unit of a format of 16 bits lies above this, those of wider ones below


def pooled_linear_weight(divided: Any, A: Tensor, rest: Tensor | None = None) -> Tensor:
    """Weight (C×K) of the Linear that reads a spatial mean of the maps (Zhou et al. 2016, eq. 1).

    The head must be `logits = W z + b` with `z_nk = Σ_ij m_ij A_nkij`, one pooling pattern `m`
    for all channels and images (global average pooling, or the mean over the live cells of a
    wall). `rest` are the prefix tokens of a token grid. Raises :class:`NotApplicableError` for any
    other head.
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            calls.append((module, args[0], output))

    handles = [m.register_forward_hook(hook) for m in divided.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.enable_grad():
            leaf = A.detach().requires_grad_(True)
            logits = divided.read(leaf) if rest is None else divided.read(leaf, rest)
    finally:
        for handle in handles:
            handle.remove()
    if calls:
        linear, pooled, given = calls[-1]
        weight = _class_weight(linear.weight.detach(), given, logits)
        if weight is not None and _is_spatial_mean(pooled, leaf):
            return weight
    raise NotApplicableError(
        "CAM needs a head that is global average pooling followed by one Linear layer; this head "
        "is something else (use gradcam, which equals CAM where CAM is defined)"
    )


def _class_weight(weight: Tensor, given: Tensor, logits: Tensor) -> Tensor | None:
    """Weight (C×K) of logits that are what the Linear gave; of (−z, z) where it gave z."""
    if given is logits:
        return weight
    if given.shape == (len(logits), 1) and torch.equal(torch.cat([-given, given], dim=1), logits):
        return torch.cat([-weight, weight])
    return None


def _is_spatial_mean(pooled: Tensor, A: Tensor) -> bool:
    """Whether pooled (N×K) is the mean of A over a set of cells, up to one factor above 0.

    `m_ij` of `Σ_ij m_ij A_nkij` must be the same for every image and channel, and the same on
    every cell that it does not leave out. (A factor below 0 would turn the sign of the map.)
    """
    if pooled.shape != A.shape[:2] or not pooled.requires_grad:
        return False
    with torch.enable_grad():
        (m,) = torch.autograd.grad(pooled.sum(), A)
    pattern = m[:1, :1]
    used = pattern[pattern != 0]
    if len(used) < min(2, pattern.numel()) or not bool((used > 0).all()):
        return False
    # A sum over cells is rounded. More is not: a GELU behind large means is linear but for 1e-6.
    eps = torch.finfo(A.dtype).eps
    allowed = _ROUNDINGS * eps if eps < _HALF else 4 * eps
    same = torch.allclose(m, pattern.expand_as(m), rtol=allowed, atol=0)
    same = same and torch.allclose(used, used[0].expand_as(used), rtol=allowed, atol=0)
    value = (pattern * A.detach()).sum(dim=(2, 3))
    scale = float((pattern * A.detach().abs()).sum(dim=(2, 3)).max())
    return same and bool((pooled.detach() - value).abs().max() <= allowed * scale)
