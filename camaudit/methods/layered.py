"""Poly-CAM and RefineCAM: maps of several layers joined, the fine ones guided by the deep one."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.capture import Capture
from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.methods.base import MethodInfo, method, weighted_sum
from camaudit.methods.calls import method_call
from camaudit.methods.masking import black_logits, channel_logits
from camaudit.methods.options import count, one_of
from camaudit.methods.rows import each_row
from camaudit.methods.scores import minmax_logits, minmax_masks, varying_channels

__all__ = ["polycam", "refinecam", "stages_of"]

Form = Literal["±", "+", "-"]


def stages_of(capture: Capture, layers: int) -> list[Capture]:
    """Captures at the last `layers` natural stages, earliest first and `capture` itself last.

    There are fewer where the model has fewer. Raises :class:`UsageError` for `layers` < 1 and
    :class:`camaudit.errors.NotApplicableError` where earlier layers cannot be captured.
    """
    count("layers", layers)
    return [capture.at(name) for name in capture.stages(layers)]


@method(
    "polycam",
    MethodInfo(
        paper="Englebert et al. 2024, Poly-CAM: High Resolution Class Activation Map for CNNs",
        equation="PCAM±; definition",
        formula="P^l = ReLU(Σ_k w_k LNorm(A_k^l) ⊙ Up(P^{l+1})), P^n = ReLU(Σ_k w_k A_k^n)",
        family="multi-layer",
        cost="≤ 2K + 1 model forwards a layer, K its channels; 1 forward a further layer",
        many_passes=True,
    ),
)
def polycam(capture: Capture, *, layers: int = 2, form: Form = "±") -> Tensor:
    """`P^l = ReLU(Σ_k w_k^l LNorm(A_k^l, P^{l+1}) ⊙ Up(P^{l+1}))` from the target layer upwards.

    Englebert et al. 2024. The deepest map is `P^n = ReLU(Σ_k w_k^n A_k^n)`, and each is divided by
    its maximum before it goes on. `LNorm(A, P) = A / max(ε, Up(Down(A)))` with Down the average
    pooling to the size of P and `ε = 1e-12 max |A|` (0/0 is 0). The weights are
    `w_k = [s(x ⊙ M_k) − s(0)] + [s(x) − s(x ⊙ (1 − M_k))]`, s the score of the
    probabilities and `M_k = minmax(Up(A_k))`; a constant channel has no mask and weight 0.

    layers: how many stages, counted from the target layer; fewer where the model has fewer.
    form: "±" takes both brackets, "+" the first and "-" the second alone.

    Returns N×h×w, the size of the earliest of these layers. Raises :class:`UsageError` for other
    values of the options and :class:`camaudit.errors.NotApplicableError` where earlier layers
    cannot be captured.
    """
    one_of("form", form, get_args(Form))
    stages = stages_of(capture, layers)
    finest = stages[0]

    def one(row: int) -> Tensor:
        if not all(bool(torch.isfinite(stage.activations[row]).all()) for stage in stages):
            return finest.activations.new_full(finest.activations.shape[-2:], torch.nan)
        return _descend(stages, row, form)

    return each_row(finest, one)


def _descend(stages: list[Capture], row: int, form: Form) -> Tensor:
    """The map of image `row` at the earliest stage, from the deepest one on."""
    *earlier, deepest = stages
    A = deepest.activations[row]
    raw = weighted_sum(_effects(deepest, row, form)[None], A[None])[0]
    for stage in reversed(earlier):
        A = stage.activations[row]
        coarse = (int(raw.shape[0]), int(raw.shape[1]))
        guide = upsample(_peaked(raw), (int(A.shape[1]), int(A.shape[2])))
        normalised = _locally_normalised(A, coarse)
        raw = weighted_sum(_effects(stage, row, form)[None], (normalised * guide)[None])[0]
    return raw


def _effects(capture: Capture, row: int, form: Form) -> Tensor:
    """`w_k` (K): what the channel's mask alone brings and what leaving it out takes away."""
    A = capture.activations[row]
    varying = varying_channels(A)
    effects = []
    if form != "-":
        shown = minmax_logits(capture, row, varying, align_corners=False)
        black = black_logits(capture, row)[None]
        effects.append(capture.probability(shown, row) - capture.probability(black, row))
    if form != "+":
        drawn = minmax_masks(capture, row, align_corners=False)
        hidden = channel_logits(
            capture, row, varying, lambda part: 1 - drawn(part), key=("inverse", False)
        )
        own = capture.logits[row : row + 1]
        effects.append(capture.probability(own, row) - capture.probability(hidden, row))
    weights = A.new_zeros(len(A))
    weights[varying] = torch.stack(effects).sum(dim=0).to(A.dtype)
    return weights


def _locally_normalised(A: Tensor, coarse: tuple[int, int]) -> Tensor:
    """`A / Up(Down(A))` (K×h×w): each channel against its mean around every cell.

    0 where that mean is not positive (1e-12 of the channel's largest magnitude): nothing there to
    compare with, and where activations are negative a quotient would mean nothing.
    """
    mean = upsample(F.adaptive_avg_pool2d(A, coarse), (int(A.shape[1]), int(A.shape[2])))
    least = 1e-12 * A.abs().amax(dim=(1, 2), keepdim=True)
    positive = mean > least
    return torch.where(positive, A / torch.where(positive, mean, 1), 0)


@method(
    "refinecam",
    MethodInfo(
        paper="Domeniconi et al. 2026, How to Evaluate and Refine your CAM",
        equation="definition",
        formula="Π_l Up(L^l) / max Up(L^l), L^l = GradCAM++ at stage l",
        family="multi-layer",
        cost="1 model forward and backward an earlier layer",
        needs_gradients=True,
    ),
)
def refinecam(
    capture: Capture, *, base: str = "gradcam++", layers: int = 3, seed: int = 0
) -> Tensor:
    """`R = Π_l Up(L^l) / max Up(L^l)` over the target layer and earlier stages; returns N×H×W.

    Domeniconi et al. 2026; a stage whose map is all zero makes all of R zero.

    base: the method of the gradient family that gives `L^l`; `seed` reaches a seeded one.
    layers: how many stages, counted from the target layer; fewer where the model has fewer.

    Raises :class:`UsageError` for other values of the options and
    :class:`camaudit.errors.NotApplicableError` where earlier layers cannot be captured.
    """
    call = method_call(base)
    if call.info.family != "gradient":
        raise UsageError(f"base must be a gradient method; {base!r} is a {call.info.family} one")
    product = torch.ones_like(capture.images[:, 0])
    for stage in stages_of(capture, layers):
        product = product * _peaked(upsample(call(stage, seed=seed), capture.size))
    return product


def _peaked(maps: Tensor) -> Tensor:
    """Maps (…×h×w) divided by their maximum; a map that is all zero stays as it is."""
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    return torch.where(peak > 0, maps / torch.where(peak > 0, peak, 1), maps)
