"""AblationCAM: a channel weighs what its absence costs the score."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import NotApplicableError
from camaudit.first_linear import FirstLinear, first_linear
from camaudit.methods.base import MethodInfo, method, weighted_sum

__all__ = ["ablationcam"]

_HEAD_FLOATS = 2**24  # 64 MB of float32 activations in one chunk of head passes


@method(
    "ablationcam",
    MethodInfo(
        paper="Desai & Ramaswamy 2020, Ablation-CAM",
        equation="eqs. 3-4",
        formula="w_k = (s_c − s_c⁽ᵏ⁾)/|s_c|",
        family="perturbation",
        cost="≤ K passes of the head after its first Linear; none for pooled Linear heads",
        needs_gradients=True,
    ),
)
def ablationcam(capture: Capture) -> Tensor:
    """`w_k = (s_c − s_c⁽ᵏ⁾)/|s_c|`, `s_c⁽ᵏ⁾` with channel k set to 0; `L = ReLU(Σ_k w_k A_k)`.

    Desai & Ramaswamy 2020, eqs. 3-4, where the paper divides by `s_c`; the absolute value keeps
    the sign right for negative logits. Where `s_c` = 0 the map is undefined, NaN everywhere.
    Returns N×h×w.

    Three ways to the same drops `s_c − s_c⁽ᵏ⁾`, the first that applies: a pooled Linear head is
    linear, so the drop is `Σ_ij G_kij A_kij`; a head that flattens into a Linear loses a channel
    by subtraction (:mod:`camaudit.first_linear`); any other head runs once a channel.
    """
    drops = _linear_drops(capture)
    if drops is None:
        flat = _flat_head(capture)
        rows = [_row_drops(capture, row, flat) for row in range(len(capture))]
        drops = torch.stack(rows)
    maps = weighted_sum(drops / capture.scores[:, None].abs(), capture.activations)
    return torch.where(capture.scores[:, None, None] == 0, torch.nan, maps)


def _linear_drops(capture: Capture) -> Tensor | None:
    """`Σ_ij G_kij A_kij` (N×K) for a pooled Linear head and a linear score, else None."""
    try:
        capture.objective.coefficients(capture.logits)
        capture.linear_weight()
    except NotApplicableError:
        return None
    return (capture.gradients * capture.activations).sum(dim=(2, 3))


def _flat_head(capture: Capture) -> FirstLinear | None:
    if capture.head != capture.divided.read or not hasattr(capture.divided, "modules"):
        return None
    if capture.rest is not None or not bool(torch.isfinite(capture.activations).all()):
        return None
    return first_linear(capture.divided, capture.head, capture.activations, capture.logits)


def _row_drops(capture: Capture, row: int, flat: FirstLinear | None) -> Tensor:
    A = capture.activations[row]
    drops = torch.zeros_like(A[:, 0, 0])
    active = (A != 0).any(dim=2).any(dim=1).nonzero().flatten()
    if len(active) == 0:  # not every model takes a batch of no images
        return drops
    for chunk in torch.split(active, max(1, _HEAD_FLOATS // A.numel())):
        if flat is not None:
            logits = flat.logits_without(row, chunk)
        else:
            ablated = A.repeat(len(chunk), 1, 1, 1)
            ablated[torch.arange(len(chunk), device=A.device), chunk] = 0
            logits = capture.read(ablated, row)
        drops[chunk] = capture.scores[row] - capture.score(logits, row)
    return drops
