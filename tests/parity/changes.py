"""Our maps with one thing changed: what a difference from a library comes down to.

Each function takes a capture and returns maps (N×h×w or N×H×W), raw and, unless it says so,
rectified. They are written from the stated difference alone, with no part of the method changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.maps import minmax, upsample
from camaudit.methods import compute
from camaudit.methods.noise import normal
from camaudit.objective import custom
from tests.parity.held import SEED, channel_draws
from tests.parity.libraries import Maps

__all__ = [
    "ablated",
    "cumulated",
    "drawn_weights",
    "gradient_times_activation",
    "last_sample",
    "probability_weighted",
    "refined",
    "signed_cam",
    "undivided",
    "with_constant_channels",
    "with_epsilon",
]


def combined(weights: Tensor, A: Tensor) -> Tensor:
    """`Σ_k w_k A_k` (N×h×w) of weights (N×K), not rectified."""
    return torch.einsum("nk,nkij->nij", weights, A)


def signed_cam(capture: Capture) -> Tensor:
    """CAM without ReLU: `Σ_k W_ck A_k`."""
    return combined(capture.linear_weight()[capture.targets], capture.activations)


def undivided(capture: Capture) -> Tensor:
    """Grad-CAM++ with `α = G²`, its denominator left out: `w_k = Σ_ij G²·ReLU(G)`."""
    G = capture.gradients
    return combined((G.square() * G.relu()).sum(dim=(2, 3)), capture.activations).relu()


def with_epsilon(capture: Capture) -> Tensor:
    """Grad-CAM++ with 1e-6 in α's denominator."""
    return compute("gradcam++(epsilon=1e-6)", capture)


def last_sample(capture: Capture, *, samples: int, std: float) -> Tensor:
    """Smooth Grad-CAM++ whose map is of the last noisy image: its A, and its G in place of D1.

    The denominator of α has `Σ_ab D3_ab A_ab` for `D3·Σ_ab A_ab`, with A of the clean image.
    """
    A, noisy = capture.activations, []
    for i in range(samples):
        noise = [normal(SEED, image, i, tuple(image.shape)) for image in capture.images]
        images = capture.images + std * torch.as_tensor(np.stack(noise)).to(capture.images)
        noisy.append(capture.again(images))
    G = torch.stack([sample.gradients for sample in noisy])
    D2, D3 = G.square().mean(dim=0), (G**3).mean(dim=0)
    alpha = D2 / (2 * D2 + (D3 * A).sum(dim=(2, 3), keepdim=True) + 1e-8)
    weights = (alpha * noisy[-1].gradients.relu()).sum(dim=(2, 3))
    return combined(weights, noisy[-1].activations).relu()


def probability_weighted(capture: Capture) -> Tensor:
    """GradCAM of `Σ_t p_t (s_c − s_t) / Σ_t p_t` over the three classes of nearest logit.

    p is the softmax probability, and its own derivative is part of the gradient.
    """
    maps = []
    for row in range(len(capture)):
        single = capture.rows(row, row + 1)
        target, logits = int(single.targets[0]), single.logits[0]
        distances = (logits - logits[target]).abs()
        distances[target] = torch.inf
        nearest = distances.argsort()[:3]

        def contrast(given: Tensor, target: int = target, nearest: Tensor = nearest) -> Tensor:
            p = given.softmax(dim=1)[:, nearest]
            gaps = given[:, target, None] - given[:, nearest]
            return cast(Tensor, (p * gaps).sum(dim=1) / (p.sum(dim=1) + 1e-9))

        maps.append(compute("gradcam", single.explaining(custom(contrast)))[0])
    return torch.stack(maps)


def ablated(capture: Capture, *, far_below: bool = False) -> Tensor:
    """AblationCAM with `w_k = (s_c − s_c⁽ᵏ⁾)/s_c`, the score's sign kept.

    `far_below` puts channel k at `min A − (k mod 32 + 1)·1e7` instead of at 0: one step of 1e7 a
    channel, as the minimum is taken again with the channels before it in their batch of 32.
    """
    maps = []
    for row, A in enumerate(capture.activations):
        scores = []
        for k in range(len(A)):
            without = A.clone()
            without[k] = A.min() - (k % 32 + 1) * 1e7 if far_below else 0
            scores.append(capture.score(capture.head(without[None]), row)[0])
        own = capture.scores[row]
        weights = (own - torch.stack(scores)) / own
        maps.append(combined(weights[None], A[None])[0].relu())
    return torch.stack(maps)


def gradient_times_activation(capture: Capture) -> Tensor:
    """LIFT-CAM with derivatives for secants: `w_k = Σ_ij G_kij A_kij`."""
    A = capture.activations
    return combined((capture.gradients * A).sum(dim=(2, 3)), A).relu()


def masked_scores(capture: Capture, row: int, *, scale: float) -> Tensor:
    """Scores (K) of image `row` through `scale · Up(minmax(A_k))`, 0 for a constant channel."""
    masks = upsample(minmax(capture.activations[row]).nan_to_num(0), capture.size)
    return capture.score(capture.model(capture.images[row] * (scale * masks)[:, None]), row)


def with_constant_channels(capture: Capture) -> Tensor:
    """ScoreCAM in torchcam's form, the constant channels in the sum as well."""
    weights = [masked_scores(capture, n, scale=1).softmax(dim=0) for n in range(len(capture))]
    return combined(torch.stack(weights), capture.activations).relu()


def cumulated(capture: Capture, *, steps: int) -> Tensor:
    """IS-CAM with the scales summed up: 1/n, (1 + 2)/n, (1 + 2 + 3)/n, … for 1/n, 2/n, 3/n, …"""
    scales = np.cumsum(np.arange(1, steps + 1)) / steps
    weights = []
    for row in range(len(capture)):
        scores = [masked_scores(capture, row, scale=float(scale)) for scale in scales]
        weights.append(torch.stack(scores).mean(dim=0).softmax(dim=0))
    return combined(torch.stack(weights), capture.activations).relu()


def refined(
    capture: Capture, *, base: Callable[[Capture], Tensor], scaled: Callable[[Tensor], Maps]
) -> Tensor:
    """RefineCAM as `Π_l Up(scaled(L^l))`: every stage min-maxed by the library's own rule."""
    product = torch.ones_like(capture.images[:, 0])
    for name in capture.stages(3):
        stage = torch.as_tensor(scaled(base(capture.at(name)))).to(product)
        product = product * upsample(stage, capture.size)
    return product


def drawn_weights(capture: Capture) -> Tensor:
    """`ReLU(Σ_k u_k A_k)`, `u_k` uniform in [−1, 1)."""
    A = capture.activations
    return combined(torch.as_tensor(channel_draws((len(A), A.shape[1]))).to(A), A).relu()
