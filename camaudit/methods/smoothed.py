"""SS-CAM and IS-CAM: ScoreCAM's weights averaged over noise, or along a path of scaled masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.masking import mask_logits
from camaudit.methods.noise import normal
from camaudit.methods.options import count, not_negative, one_of
from camaudit.methods.rows import accumulating, each_row
from camaudit.methods.scores import minmax_logits, minmax_masks, varying_channels, varying_sum

__all__ = ["iscam", "sscam"]

Noisy = Literal["mask", "input"]


@method(
    "sscam",
    MethodInfo(
        paper="Wang et al. 2020, SS-CAM: Smoothed Score-CAM for Sharper Feature Localization",
        equation="eqs. 6-9",
        formula="w = softmax_k mean_i s_c(x ⊙ (Up(minmax(A_k)) + 2 ε_ki))",
        family="perturbation",
        cost="35 K model forwards",
        seeded=True,
        many_passes=True,
    ),
)
def sscam(
    capture: Capture,
    *,
    seed: int = 0,
    samples: int = 35,
    std: float = 2.0,
    noise: Noisy = "mask",
) -> Tensor:
    """`w = softmax_k(mean_i s(x ⊙ (M_k + std·ε_ki)))`, `M_k = Up(minmax(A_k))`.

    `L = ReLU(Σ_k w_k A_k)`. Wang et al. 2020 (SS-CAM), eqs. 6-9; returns N×h×w.

    samples: noise draws i = 1 … n of every channel; std: standard deviation of the noise.
    noise: "mask" adds H×W noise to every mask; "input" adds noise to the image (the same for all
        channels): `s((x + std·ε_i) ⊙ M_k)`, and then equal channels are run once.

    A constant channel has an empty mask (plus noise): it takes part in the softmax and adds
    nothing to the map. Raises :class:`UsageError` for other values of the options.
    """
    count("samples", samples)
    not_negative("std", std)
    one_of("noise", noise, get_args(Noisy))
    draw = _noisy_masks if noise == "mask" else _noisy_image

    def one(row: int) -> Tensor:
        A = capture.activations[row]
        pixels = capture.images[row].float().cpu()  # every draw hashes them: fetched once
        total = torch.zeros(len(A), dtype=accumulating(A.dtype), device=A.device)
        for sample in range(samples):
            total += draw(capture, row, pixels, seed, sample, std)
        return varying_sum((total / samples).softmax(dim=0).to(A.dtype), A)

    return each_row(capture, one)


def _noisy_masks(
    capture: Capture, row: int, pixels: Tensor, seed: int, sample: int, std: float
) -> Tensor:
    """Scores (K) of the image under one noisy mask a channel."""
    A = capture.activations[row]
    clean = minmax_masks(capture, row, normalise="before", align_corners=False)
    constant = torch.ones(len(A), dtype=torch.bool, device=A.device)
    constant[varying_channels(A)] = False

    def masks(start: int, stop: int) -> Tensor:
        channels = torch.arange(start, stop, device=A.device)
        empty = constant[channels][:, None, None]
        drawn = [
            normal(seed, pixels, (sample, channel), capture.size) for channel in range(start, stop)
        ]
        noise = torch.from_numpy(np.stack(drawn)).to(capture.images)
        return torch.where(empty, 0, clean(channels)) + std * noise

    return capture.score(mask_logits(capture, row, len(A), masks), row)


def _noisy_image(
    capture: Capture, row: int, pixels: Tensor, seed: int, sample: int, std: float
) -> Tensor:
    """Scores (K) of one noisy image under the mask of every channel."""
    image = capture.images[row]
    noise = torch.from_numpy(normal(seed, pixels, sample, tuple(image.shape))).to(image)
    part = replace(capture.rows(row, row + 1), images=(image + std * noise)[None])
    channels = torch.arange(capture.activations.shape[1], device=image.device)
    logits = minmax_logits(part, 0, channels, normalise="before", align_corners=False)
    return part.score(logits, 0)


@method(
    "iscam",
    MethodInfo(
        paper="Naidu et al. 2020, IS-CAM: Integrated Score-CAM for axiomatic-based explanations",
        equation="eqs. 5-7",
        formula="w = softmax_k (1/n) Σ_i s_c(x ⊙ (i/n) Up(minmax(A_k)))",
        family="perturbation",
        cost="≤ 10 K + 1 model forwards",
        many_passes=True,
    ),
)
def iscam(capture: Capture, *, steps: int = 10) -> Tensor:
    """`w = softmax_k((1/n) Σ_i s(x ⊙ (i/n)·M_k))`, `M_k = Up(minmax(A_k))`, `ReLU(Σ_k w_k A_k)`.

    Naidu et al. 2020 (IS-CAM), i = 1 … n = `steps`; returns N×h×w. The last step has the masks of
    `scorecam(normalise="before", align_corners=False)`, and no mask is run twice. A constant
    channel has an empty mask: it takes part in the softmax and adds nothing to the map. Raises
    :class:`UsageError` for `steps` < 1.
    """
    count("steps", steps)

    def one(row: int) -> Tensor:
        A = capture.activations[row]
        channels = torch.arange(len(A), device=A.device)
        total = torch.zeros(len(A), dtype=accumulating(A.dtype), device=A.device)
        for step in range(1, steps + 1):
            logits = minmax_logits(
                capture, row, channels, normalise="before", align_corners=False, scale=step / steps
            )
            total += capture.score(logits, row)
        return varying_sum((total / steps).softmax(dim=0).to(A.dtype), A)

    return each_row(capture, one)
