"""Methods that read the maps alone, or the classifier's own row: no gradient is taken."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, defined, method, weighted_sum
from camaudit.methods.options import not_negative, one_of

__all__ = ["cam", "fem", "lafam"]

Form = Literal["paper", "pytorch-grad-cam"]


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


@method(
    "fem",
    MethodInfo(
        paper="Fuad et al. 2020, Features Understanding in 3D CNNs for Actions Recognition (FEM)",
        equation="K-sigma rule",
        formula="ReLU(Σ_k μ_k 1[A_k > μ_k + 2 σ_k]), μ_k, σ_k over the cells of A_k",
        family="activation",
        cost="none",
    ),
)
def fem(capture: Capture, *, k: float = 2.0, form: Form = "paper") -> Tensor:
    """`L = ReLU(Σ_k μ_k B_k)`, `B_k = 1[A_k > μ_k + k σ_k]`: where channels peak. Returns N×h×w.

    Fuad et al. 2020, Feature Explanation Method; `μ_k` and `σ_k` are the mean and the (population)
    standard deviation of channel k over its cells. A constant channel has no peak.

    k: standard deviations above the mean at which a peak begins.
    form: "paper", or "pytorch-grad-cam" for that library's `ReLU(Σ_k (mean_ij B_kij) A_k)`.

    Blind to the class. Raises :class:`camaudit.errors.UsageError` for other values of the options.
    """
    not_negative("k", k)
    one_of("form", form, get_args(Form))
    A = capture.activations
    sigma, mu = torch.std_mean(A, dim=(2, 3), correction=0, keepdim=True)
    # The mean of equal numbers need not be that number: rounding is no peak.
    constant = A.amax(dim=(2, 3), keepdim=True) == A.amin(dim=(2, 3), keepdim=True)
    peaks = ((mu + k * sigma < A) & ~constant).to(A.dtype)
    if form == "paper":
        return defined(weighted_sum(mu[:, :, 0, 0], peaks), A)
    return defined(weighted_sum(peaks.mean(dim=(2, 3)), A), A)


@method(
    "lafam",
    MethodInfo(
        paper="Karjauv & Albayrak 2024, LaFAM: Feature Attribution with Label-free Activation Maps",
        equation="definition",
        formula="ReLU(mean_k A_k)",
        family="activation",
        cost="none",
    ),
)
def lafam(capture: Capture) -> Tensor:
    """`L = ReLU(mean_k A_k)` (Karjauv & Albayrak 2024, LaFAM): blind to the class. N×h×w."""
    return defined(capture.activations.mean(dim=1).relu(), capture.activations)
