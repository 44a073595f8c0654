"""How few pixels a map needs: the Gini index and the entropy of its energy.

Neither says that a map is right. A map that lights one pixel is as sparse as can be, and sparser
maps are not more faithful ones (ScoreCAM++, section 5.3), so no direction is better.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.metrics.checking import checked_maps
from camaudit.metrics.registry import MetricInfo, metric

__all__ = ["entropy", "sparseness"]


@metric(
    "sparseness",
    MetricInfo(
        check="sparsity",
        title="Sparseness (Gini index)",
        unit="",
        direction="none",
        paper="Chalasani et al. 2020, Concise explanations of neural networks (Gini index)",
        formula="1 − 2 Σ_k v_(k)/‖v‖₁ · (d − k + ½)/d, v_(1) ≤ … ≤ v_(d) the map's values",
        cost="none",
        needs="maps",
        high=1.0,
    ),
)
def sparseness(maps: Tensor) -> Tensor:
    """`1 − 2 Σ_k v_(k)/‖v‖₁ · (d − k + ½)/d`, the Gini index of a map (Chalasani et al. 2020).

    v_(1) ≤ … ≤ v_(d) are the absolute values of the d = HW pixels. `maps` are raw and upsampled
    (N×H×W), any floating dtype: a scale does not change the index, a shift (min-max) does.

    Returns float64 (N) in [0, 1 − 1/d]: 0 for a map that is the same everywhere, 1 − 1/d for one
    pixel; NaN for a map that is zero everywhere or not finite. Raises :class:`UsageError` for
    other shapes and dtypes.

    >>> sparseness(torch.tensor([[[0.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]])).tolist()
    [0.75, 0.0]
    """
    values = _scaled(maps).sort(dim=1).values
    count = values.shape[1]
    weights = 2 * torch.arange(1, count + 1, device=values.device).double() - count - 1
    # the same sum with the total drawn in, which is exactly 0 for equal values
    index = (values * weights).sum(dim=1) / (count * values.sum(dim=1))
    return index.clamp(min=0)


@metric(
    "entropy",
    MetricInfo(
        check="sparsity",
        title="Entropy",
        unit="",
        direction="none",
        paper="Bhatt et al. 2020, Evaluating and aggregating feature-based model explanations, "
        "complexity",
        formula="−Σ_i P_i ln P_i with P_i = v_i/‖v‖₁, in nats",
        cost="none",
        needs="maps",
    ),
)
def entropy(maps: Tensor) -> Tensor:
    """`−Σ_i P_i ln P_i` with `P_i = |v_i|/‖v‖₁`: over how much a map is spread (Bhatt et al. 2020).

    v are the pixels of raw upsampled maps (N×H×W), any floating dtype, and 0 ln 0 = 0. e to the
    entropy is the number of pixels over which an even map would be spread as far.

    Returns float64 (N) in nats, from 0 for one pixel to ln(HW) for a map that is the same
    everywhere; NaN for a map that is zero everywhere or not finite. Raises :class:`UsageError`
    for other shapes and dtypes.

    >>> entropy(torch.tensor([[[0.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]])).exp().tolist()
    [1.0, 4.0]
    """
    values = _scaled(maps)
    shares = values / values.sum(dim=1, keepdim=True)
    return torch.xlogy(shares, shares).sum(dim=1).abs()  # the sum is never above 0


def _scaled(maps: Tensor) -> Tensor:
    """|v| / max |v| (N×HW, float64), whose sum cannot overflow; NaN for what has no figure."""
    values = checked_maps(maps).abs().flatten(1)
    return values / values.amax(dim=1, keepdim=True)  # 0/0, and inf/inf for an infinite one
