"""Methods that weigh a channel by what its absence does to the score."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
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
        cost="≤ K head forwards",
    ),
)
def ablationcam(capture: Capture) -> Tensor:
    """`w_k = (s_c − s_c⁽ᵏ⁾)/|s_c|`, `s_c⁽ᵏ⁾` with channel k set to 0; `L = ReLU(Σ_k w_k A_k)`.

    Desai & Ramaswamy 2020, eqs. 3-4, where the paper divides by `s_c`; the absolute value keeps
    the sign right for negative logits. Where `s_c` = 0 the map is not finite: undefined.
    Returns N×h×w.
    """
    rows = [_ablation_weights(capture, row) for row in range(len(capture))]
    return weighted_sum(torch.stack(rows), capture.activations)


def _ablation_weights(capture: Capture, row: int) -> Tensor:
    A = capture.activations[row]
    drops = torch.zeros_like(A[:, 0, 0])
    active = (A != 0).any(dim=2).any(dim=1).nonzero().flatten()
    for chunk in torch.split(active, max(1, _HEAD_FLOATS // A.numel())):
        ablated = A.repeat(len(chunk), 1, 1, 1)
        ablated[torch.arange(len(chunk), device=A.device), chunk] = 0
        drops[chunk] = capture.scores[row] - capture.score(capture.head(ablated), row)
    return drops / capture.scores[row].abs()
