"""Controls: maps that know nothing of the model, to read every figure against."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.noise import generator

__all__ = ["gaussian", "random", "sobel", "uniform"]

_LUMINANCE = (0.299, 0.587, 0.114)


@method(
    "uniform",
    MethodInfo(
        paper="control",
        equation="-",
        formula="1 everywhere",
        family="control",
        cost="none",
    ),
)
def uniform(capture: Capture) -> Tensor:
    """1 everywhere: its μ is the area fraction of the scored zone. Returns N×H×W."""
    return capture.images.new_ones(len(capture), *capture.size)


@method(
    "random",
    MethodInfo(
        paper="control",
        equation="-",
        formula="i.i.d. U[0, 1) at the map's resolution",
        family="control",
        cost="none",
        seeded=True,
    ),
)
def random(capture: Capture, *, seed: int = 0) -> Tensor:
    """Independent uniform noise in [0, 1) on the target layer's grid. Returns N×h×w.

    The stream of an image depends on `seed` and on its pixels alone, not on its place in a batch.
    """
    h, w = capture.activations.shape[-2:]
    maps = [generator(seed, image).random((h, w)) for image in capture.images]
    return torch.as_tensor(np.stack(maps)).to(capture.activations)


@method(
    "gaussian",
    MethodInfo(
        paper="control",
        equation="-",
        formula="exp(−½(r² / (H/4)² + c² / (W/4)²)), r and c from the centre",
        family="control",
        cost="none",
    ),
)
def gaussian(capture: Capture) -> Tensor:
    """A centred Gaussian with standard deviations H/4 and W/4 pixels. Returns N×H×W."""
    axes = []
    for length in capture.size:
        centred = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        axes.append(torch.exp(-0.5 * (centred / (length / 4)).square()))
    bump = torch.outer(*axes).to(capture.images)
    return bump.expand(len(capture), -1, -1).clone()


@method(
    "sobel",
    MethodInfo(
        paper="control (edge detector; Adebayo et al. 2018, Sanity Checks for Saliency Maps)",
        equation="-",
        formula="√(gx² + gy²) of the mean-weighted luminance",
        family="control",
        cost="none",
    ),
)
def sobel(capture: Capture) -> Tensor:
    """Sobel gradient magnitude `√(g_x² + g_y²)` of the luminance, edges replicated. N×H×W.

    Luminance is 0.299 R + 0.587 G + 0.114 B for three channels, else the channels' mean.
    """
    images = capture.images
    weights = images.new_tensor(_LUMINANCE if images.shape[1] == 3 else ())
    if images.shape[1] != 3:
        weights = images.new_full((images.shape[1],), 1 / images.shape[1])
    grey = torch.einsum("c,ncij->nij", weights, images)[:, None]
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, :, 2:] - padded[:, :, :-2]  # differences first: exactly 0 on flat areas
    down = padded[:, 2:] - padded[:, :-2]
    horizontal = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    vertical = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return (horizontal.square() + vertical.square()).sqrt()
