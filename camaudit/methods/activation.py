"""CAM: the maps weighted by the classifier's own row."""

from __future__ import annotations

from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method, weighted_sum

__all__ = ["cam"]


@method(
    "cam",
    MethodInfo(
        paper="Zhou et al. 2016, Learning Deep Features for Discriminative Localization",
        equation="eq. 2",
        formula="ReLU(Σ_k W_ck A_k)",
        family="activation",
        cost="1 head forward",
    ),
)
def cam(capture: Capture) -> Tensor:
    """`L = ReLU(Σ_k W_ck A_k)`, `W` the Linear after global average pooling (Zhou 2016, eq. 2).

    For a contrastive or counterfactual score the row `W_c` becomes `v W`, `v` the score's
    coefficients. Returns N×h×w. Raises :class:`camaudit.errors.NotApplicableError` for any other
    head and for a custom score.
    """
    v = capture.objective.coefficients(capture.logits)
    return weighted_sum(v @ capture.linear_weight(), capture.activations)
