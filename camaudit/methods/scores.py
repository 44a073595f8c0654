"""ScoreCAM and its kin: channels weighted by the score of the image seen through their mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.capture import Capture
from camaudit.maps import blur, minmax, upsample
from camaudit.methods.base import MethodInfo, method, weighted_sum
from camaudit.methods.masking import Masks, black_logits, channel_logits
from camaudit.methods.options import count, one_of
from camaudit.methods.rows import each_row

__all__ = [
    "gscorecam",
    "minmax_logits",
    "minmax_masks",
    "scorecam",
    "scorecam_plus_plus",
    "varying_channels",
    "varying_sum",
]

Baseline = Literal["none", "black", "input", "blur"]
Normalise = Literal["after", "before"]
Scored = Literal["logit", "probability"]
Gate = Literal["tanh", "relu", "sigmoid", "mish", "swish", "shipped"]

_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "mish": F.mish,
    "swish": F.silu,
    "shipped": lambda raised: torch.sigmoid(torch.relu(raised / 2)),
}
_EMPTY_AT_ZERO = ("tanh", "relu", "mish", "swish")


@method(
    "scorecam",
    MethodInfo(
        paper="Wang et al. 2020, Score-CAM: Score-Weighted Visual Explanations",
        equation="eqs. 5-8; pytorch-grad-cam's form",
        formula="w = softmax_k s_c(x ⊙ minmax(Up(A_k)))",
        family="perturbation",
        cost="≤ K + 1 model forwards",
        many_passes=True,
    ),
)
def scorecam(
    capture: Capture,
    *,
    score: Scored = "logit",
    normalise: Normalise = "after",
    align_corners: bool = True,
    channel_softmax: bool = True,
    baseline: Baseline = "none",
) -> Tensor:
    """`w = softmax_k(s_c(x ⊙ M_k) − s_c(x_b))`, `M_k = minmax(Up(A_k))`, `L = ReLU(Σ_k w_k A_k)`.

    Wang et al. 2020, eqs. 5-8; returns N×h×w. The libraries differ, and all are here by name:
    the defaults are pytorch-grad-cam's form, which the walls paper used; torchcam's is
    `normalise="before", align_corners=False`; the authors' code is
    `score="probability", channel_softmax=False, align_corners=False`.

    score: what a masked image is scored by, the logit or the probability.
    normalise: min-max after or before upsampling.
    channel_softmax: softmax over channels; without it the weights are the differences themselves.
    baseline: the image that is subtracted: "none", "black" (zeros), "input" or "blur"; with the
        channel softmax it cancels, and is not run.

    A constant channel has no mask: it adds nothing to the map, and takes part in the softmax with
    the score of the empty image. Raises :class:`UsageError` for other values of the options.
    """
    for name, value, known in (
        ("score", score, get_args(Scored)),
        ("normalise", normalise, get_args(Normalise)),
        ("baseline", baseline, get_args(Baseline)),
    ):
        one_of(name, value, known)

    def one(row: int) -> Tensor:
        channels = torch.arange(capture.activations.shape[1], device=capture.activations.device)
        logits = minmax_logits(
            capture, row, channels, normalise=normalise, align_corners=align_corners
        )
        weights = _scored(capture, logits, row, score)
        if channel_softmax:
            weights = weights.softmax(dim=0)
        else:
            weights = weights - _baseline(capture, row, baseline, score)
        A = capture.activations[row]
        return varying_sum(weights.to(A.dtype), A)

    return each_row(capture, one)


@method(
    "gscorecam",
    MethodInfo(
        paper="Chen et al. 2022, gScoreCAM: What Objects is CLIP Looking At?",
        equation="section 3; eqs. 5-8 of Score-CAM",
        formula="ScoreCAM over the channels k of largest mean_ij G_kij",
        family="perturbation",
        cost="≤ min(K, 300) + 1 model forwards (those of scorecam)",
        needs_gradients=True,
        many_passes=True,
    ),
)
def gscorecam(capture: Capture, *, channels: int = 300) -> Tensor:
    """ScoreCAM over the channels of largest mean gradient alone (Chen et al. 2022, gScoreCAM).

    `w = softmax_k s(x ⊙ M_k)` over the `channels` (at most K) of largest `mean_ij G_kij`, of
    equal ones the lower index; `M_k = minmax(Up(A_k))` as in :func:`scorecam`, whose masked images
    serve here too; `L = ReLU(Σ_k w_k A_k)` over these channels. With `channels` ≥ K it is ScoreCAM
    and the gradients do not matter. Returns N×h×w. Raises :class:`UsageError` for `channels` < 1.
    """
    count("channels", channels)

    def one(row: int) -> Tensor:
        ranked = capture.gradients[row].mean(dim=(1, 2)).sort(descending=True, stable=True).indices
        chosen = ranked[:channels].sort().values
        weights = capture.score(minmax_logits(capture, row, chosen), row).softmax(dim=0)
        return varying_sum(weights, capture.activations[row, chosen])

    return each_row(capture, one)


def varying_channels(A: Tensor) -> Tensor:
    """Indices of the channels (of K×h×w) that have a min-max form: those that are not constant."""
    return (A.amax(dim=(1, 2)) > A.amin(dim=(1, 2))).nonzero().flatten()


def minmax_masks(
    capture: Capture, row: int, *, normalise: Normalise = "after", align_corners: bool = True
) -> Masks:
    """`M_k = minmax(Up(A_k))`, or `Up(minmax(A_k))` for `normalise="before"`; m×H×W in [0, 1]."""
    A, size = capture.activations[row], capture.size

    def masks(channels: Tensor) -> Tensor:
        if normalise == "before":
            return upsample(minmax(A[channels]), size, align_corners=align_corners)
        return minmax(upsample(A[channels], size, align_corners=align_corners))

    return masks


def minmax_logits(
    capture: Capture,
    row: int,
    channels: Tensor,
    *,
    normalise: Normalise = "after",
    align_corners: bool = True,
    scale: float = 1.0,
) -> Tensor:
    """Logits (len(channels)×C) of the image under `scale · M_k`; M_k of a constant channel is 0.

    The masks are those of :func:`minmax_masks`, and none is run twice (see `channel_logits`).
    """
    drawn = minmax_masks(capture, row, normalise=normalise, align_corners=align_corners)

    def masks(part: Tensor) -> Tensor:
        return drawn(part) if scale == 1 else scale * drawn(part)

    key = ("minmax", normalise, align_corners) + (() if scale == 1 else (scale,))
    logits = capture.logits.new_empty(len(channels), capture.logits.shape[1])
    varying = torch.isin(channels, varying_channels(capture.activations[row]))
    if not bool(varying.all()):
        logits[~varying] = black_logits(capture, row)
    logits[varying] = channel_logits(capture, row, channels[varying], masks, key=key)
    return logits


def varying_sum(weights: Tensor, A: Tensor) -> Tensor:
    """`ReLU(Σ_k w_k A_k)` (h×w) over the channels of A (K×h×w) that are not constant."""
    varying = varying_channels(A)
    return weighted_sum(weights[None, varying], A[None, varying])[0]


@method(
    "scorecam++",
    MethodInfo(
        paper="Mitra et al. 2024, Reliable or Deceptive? Gated Features (ScoreCAM++)",
        equation="eqs. 9, 12",
        formula="ReLU(Σ_k α_k tanh(Up(A_k))), α_k = p_c(x ⊙ tanh(Up(A_k)))",
        family="perturbation",
        cost="≤ K model forwards",
        many_passes=True,
    ),
)
def scorecam_plus_plus(
    capture: Capture,
    *,
    baseline: Baseline = "none",
    activation: Gate = "tanh",
    gate_map: bool = True,
) -> Tensor:
    """`L = ReLU(Σ_k α_k H_k)`, `H_k = tanh(Up(A_k))`, `α_k = p_c(x ⊙ H_k) − b` (eqs. 9, 12).

    `p_c` is the probability. Returns N×H×W.

    baseline: "none" is `b = 0` as in the authors' code; "input" is `b = p_c(x)` as printed,
        mostly negative, so the map is often empty; "black" is `b = p_c(0)` as in Score-CAM;
        "blur" that of the blurred image.
    activation: the gate in place of tanh (the paper's Table 5): "relu", "sigmoid", "mish",
        "swish", or "shipped", the `sigmoid(ReLU(Up(A)/2))` of the authors' file.
    gate_map: False gates the mask alone and sums `α_k Up(A_k)` (case 1 of Table 6).

    An all-zero channel with an empty mask adds nothing. Raises :class:`UsageError` for other
    values of the options.
    """
    one_of("baseline", baseline, get_args(Baseline))
    one_of("activation", activation, get_args(Gate))

    def one(row: int) -> Tensor:
        return _scorecam_plus_plus_one(capture, row, baseline, activation, gate_map)

    return each_row(capture, one, size=capture.size)


def _scorecam_plus_plus_one(
    capture: Capture, row: int, baseline: Baseline, activation: Gate, gate_map: bool
) -> Tensor:
    A = capture.activations[row]
    channels = torch.arange(len(A), device=A.device)
    if activation in _EMPTY_AT_ZERO:
        channels = (A != 0).any(dim=2).any(dim=1).nonzero().flatten()

    def gate(chosen: Tensor) -> Tensor:
        return _GATES[activation](upsample(A[chosen], capture.size))

    logits = channel_logits(capture, row, channels, gate, key=("gate", activation))
    alpha = _scored(capture, logits, row, "probability")
    alpha = (alpha - _baseline(capture, row, baseline, "probability")).to(A.dtype)
    if not gate_map:
        return upsample(torch.einsum("k,kij->ij", alpha, A[channels]), capture.size).relu()
    total = A.new_zeros(capture.size)
    for part in torch.split(torch.arange(len(channels), device=A.device), capture.batch_size):
        total += torch.einsum("k,kij->ij", alpha[part], gate(channels[part]))
    return total.relu()


def _scored(capture: Capture, logits: Tensor, row: int, score: Scored) -> Tensor:
    """Scores (M) of logits (M×C), or the same function of the probabilities."""
    return capture.score(logits, row) if score == "logit" else capture.probability(logits, row)


def _baseline(capture: Capture, row: int, baseline: Baseline, score: Scored) -> Tensor:
    if baseline == "none":
        return capture.scores.new_zeros(())
    logits = capture.logits[row]
    if baseline == "black":
        logits = black_logits(capture, row)
    if baseline == "blur":
        logits = capture.model(blur(capture.images[row : row + 1]))[0]
    return _scored(capture, logits[None], row, score)[0]
