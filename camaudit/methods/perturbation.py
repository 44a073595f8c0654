"""Methods that weigh a channel by what a masked image or its own absence does to the score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import UsageError
from camaudit.maps import minmax, upsample
from camaudit.methods.base import METHODS, MethodInfo, weighted_sum

__all__ = ["ablationcam", "scorecam", "scorecam_plus_plus"]

Baseline = Literal["none", "input", "black"]
_BASELINES = ("none", "input", "black")
_HEAD_FLOATS = 2**24  # 64 MB of float32 activations in one chunk of head passes


@METHODS.register(
    "scorecam",
    MethodInfo(
        paper="Wang et al. 2020, Score-CAM: Score-Weighted Visual Explanations",
        equation="eqs. 5-8; pytorch-grad-cam's form",
        formula="w = softmax_k s_c(x ⊙ minmax(Up(A_k)))",
        family="perturbation",
        cost="≤ K + 1 model forwards",
    ),
)
def scorecam(capture: Capture) -> Tensor:
    """`w = softmax_k s_c(x ⊙ M_k)`, `M_k = minmax(Up(A_k))`, `L = ReLU(Σ_k w_k A_k)`.

    The form of pytorch-grad-cam, which the walls paper used: logits, upsampling with
    align_corners, min-max after upsampling (Wang 2020, eqs. 5-8; any baseline cancels in the
    softmax). A constant channel has no mask: it adds nothing to the map, and takes part in the
    softmax with the score of the empty image. Returns N×h×w.
    """
    return torch.stack([_scorecam_one(capture, row) for row in range(len(capture))])


def _scorecam_one(capture: Capture, row: int) -> Tensor:
    A = capture.activations[row]
    if not bool(torch.isfinite(A).all()):
        return torch.full_like(A[0], torch.nan)
    varying = (A.amax(dim=(1, 2)) > A.amin(dim=(1, 2))).nonzero().flatten()

    def mask(channels: Tensor) -> Tensor:
        return minmax(upsample(A[channels], capture.size, align_corners=True))

    target = int(capture.targets[row])
    scores = torch.empty_like(A[:, 0, 0])
    if len(varying) < len(A):
        empty = torch.zeros_like(capture.images[row : row + 1])
        scores[:] = capture.model(empty)[0, target]
    for channels, logits in _masked_logits(capture, row, varying, mask):
        scores[channels] = logits[:, target]
    weights = scores.softmax(dim=0)
    return weighted_sum(weights[None, varying], A[None, varying])[0]


@METHODS.register(
    "scorecam++",
    MethodInfo(
        paper="Mitra et al. 2024, Reliable or Deceptive? Gated Features (ScoreCAM++)",
        equation="eqs. 9, 12",
        formula="ReLU(Σ_k α_k tanh(Up(A_k))), α_k = p_c(x ⊙ tanh(Up(A_k)))",
        family="perturbation",
        cost="≤ K model forwards",
    ),
)
def scorecam_plus_plus(capture: Capture, *, baseline: Baseline = "none") -> Tensor:
    """`L = ReLU(Σ_k α_k H_k)`, `H_k = tanh(Up(A_k))`, `α_k = p_c(x ⊙ H_k) − b` (eqs. 9, 12).

    `p_c` is the softmax probability. `baseline`: "none" is `b = 0` as in the authors' code;
    "input" is `b = p_c(x)` as printed, mostly negative, so the map is often empty; "black" is
    `b = p_c(0)` as in Score-CAM. An all-zero channel has an empty mask and adds nothing.
    Returns N×H×W. Raises :class:`UsageError` for another baseline.
    """
    if baseline not in _BASELINES:
        raise UsageError(f"baseline must be one of {', '.join(_BASELINES)}; got {baseline!r}")
    rows = range(len(capture))
    return torch.stack([_scorecam_plus_plus_one(capture, row, baseline) for row in rows])


def _scorecam_plus_plus_one(capture: Capture, row: int, baseline: Baseline) -> Tensor:
    A = capture.activations[row]
    if not bool(torch.isfinite(A).all()):
        return A.new_full(capture.size, torch.nan)
    target = int(capture.targets[row])
    active = (A != 0).any(dim=2).any(dim=1).nonzero().flatten()

    def gate(channels: Tensor) -> Tensor:
        return upsample(A[channels], capture.size).tanh()

    subtracted = _baseline_probability(capture, row, baseline)
    total = A.new_zeros(capture.size)
    for channels, logits in _masked_logits(capture, row, active, gate):
        alpha = logits.softmax(dim=1)[:, target] - subtracted
        total += torch.einsum("k,kij->ij", alpha, gate(channels))
    return total.relu()


def _baseline_probability(capture: Capture, row: int, baseline: Baseline) -> Tensor:
    if baseline == "none":
        return capture.scores.new_zeros(())
    logits = capture.logits[row : row + 1]
    if baseline == "black":
        logits = capture.model(torch.zeros_like(capture.images[row : row + 1]))
    return logits.softmax(dim=1)[0, capture.targets[row]]


def _masked_logits(
    capture: Capture, row: int, channels: Tensor, mask: Callable[[Tensor], Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """(channels, logits of x ⊙ mask(channels)) in chunks of the capture's batch size."""
    image = capture.images[row]
    last = capture.images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    scored = []
    for chunk in torch.split(channels, capture.batch_size):
        if len(chunk):
            masked = (image * mask(chunk)[:, None]).contiguous(memory_format=layout)
            scored.append((chunk, capture.model(masked)))
    return scored


@METHODS.register(
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
    target = int(capture.targets[row])
    drops = torch.zeros_like(A[:, 0, 0])
    active = (A != 0).any(dim=2).any(dim=1).nonzero().flatten()
    for chunk in torch.split(active, max(1, _HEAD_FLOATS // A.numel())):
        ablated = A.repeat(len(chunk), 1, 1, 1)
        ablated[torch.arange(len(chunk), device=A.device), chunk] = 0
        drops[chunk] = capture.scores[row] - capture.head(ablated)[:, target]
    return drops / capture.scores[row].abs()
