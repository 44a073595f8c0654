"""Augmented Grad-CAM++: maps of moved and rotated copies, warped back and averaged."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.capture import Capture
from camaudit.maps import upsample
from camaudit.methods.base import MethodInfo, defined, method
from camaudit.methods.gradient import gradcam_plus_plus
from camaudit.methods.noise import uniform
from camaudit.methods.options import between, count

__all__ = ["augmentedgradcam_plus_plus"]


@method(
    "augmentedgradcam++",
    MethodInfo(
        paper="Morbidelli et al. 2020, Augmented Grad-CAM: Heat-Maps Super Resolution",
        equation="averaged in place of super-resolved",
        formula="Σ_j back_j(Up(GradCAM++(T_j x))) / Σ_j back_j(1), T_j rotate and move",
        family="augmentation",
        cost="8 model forwards and head gradients",
        needs_gradients=True,
        seeded=True,
    ),
)
def augmentedgradcam_plus_plus(
    capture: Capture,
    *,
    samples: int = 8,
    degrees: float = 15.0,
    shift: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """`L = Σ_j back_j(Up(L_j)) / Σ_j back_j(1)`, `L_j` Grad-CAM++ of the copy `T_j x`, raw.

    Morbidelli et al. 2020, Augmented Grad-CAM, with the average in place of their
    super-resolution. `T_j` rotates about the centre and moves, `back_j` is the inverse, both
    bilinear with zeros outside; copy 0 is the image itself. Every pixel is averaged over the
    copies that show it. One capture of the batch a copy. Returns N×H×W.

    samples: copies besides the image itself.
    degrees: largest angle of rotation, either way.
    shift: largest move, either way, as a share of the height and of the width.

    Raises :class:`camaudit.errors.UsageError` for other values of the options.
    """
    count("samples", samples)
    between("degrees", degrees, 0, 180)
    between("shift", shift, 0, 1)
    total = upsample(gradcam_plus_plus(capture), capture.size)
    seen = torch.ones_like(total)
    for index in range(1, samples + 1):
        there, back = _transformations(capture, degrees, shift, seed, index)
        copies = capture.again(_warp(capture.images, there))
        maps = upsample(gradcam_plus_plus(copies), capture.size)[:, None]
        warped = _warp(torch.cat([maps, torch.ones_like(maps)], dim=1), back)
        total, seen = total + warped[:, 0], seen + warped[:, 1]
    return defined(total / seen, capture.activations)


def _transformations(
    capture: Capture, degrees: float, shift: float, seed: int, index: int
) -> tuple[Tensor, Tensor]:
    """Where the pixels of copy `index` come from, and those of its map warped back: 2 of N×2×3.

    The copy shows at p what the image shows at `R p + t` (in pixels from the centre, x and y), so
    its map is warped back by `R⁻¹ (p − t)`.
    """
    H, W = capture.size
    there, back = [], []
    for image in capture.images:
        turn, right, down = uniform(seed, image, index, 3).tolist()
        cos, sin = math.cos(turn * math.radians(degrees)), math.sin(turn * math.radians(degrees))
        R = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        t = torch.tensor([[shift * right * W], [shift * down * H]], dtype=torch.float64)
        there.append(_normalised(torch.cat([R, t], dim=1), H, W))
        back.append(_normalised(torch.cat([R.T, -R.T @ t], dim=1), H, W))
    return torch.stack(there), torch.stack(back)


def _normalised(pixels: Tensor, height: int, width: int) -> Tensor:
    """An affine map (2×3) of pixels from the centre, in units of half the width and height."""
    half = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    return pixels * torch.cat([half, half.new_ones(1)]) / half[:, None]


def _warp(images: Tensor, theta: Tensor) -> Tensor:
    """Images (N×C×H×W) resampled at `theta` (N×2×3): bilinear, half-pixel centres, 0 outside."""
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    # Half precision is too coarse for coordinates: between pixels it knows a few steps.
    wide = images if images.dtype == torch.float64 else images.float()
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(wide)
    warped = F.grid_sample(wide, grid, padding_mode="zeros", align_corners=False)
    return warped.to(images.dtype).contiguous(memory_format=layout)
