"""Faults in what is done to a right map: its layout, its values, its precision, its form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.invariance.literal import (
    LITERAL,
    Seen,
    bell,
    grey,
    masked_logits,
    masks,
    mean_gradient,
    minmax,
    of_varying,
    raised,
    row_by_row,
)
from tests.invariance.planting import looking, planted, shown, step


def resized(maps: Tensor, size: Any, **how: Any) -> Tensor:
    """Maps (N×h×w) at another size, bilinear unless `how` says otherwise."""
    return F.interpolate(maps[:, None], size=tuple(size), **{"mode": "bilinear", **how})[:, 0]


def halves(maps: Tensor) -> tuple[int, int]:
    """Half the height and width of maps, rounded up."""
    return (maps.shape[1] + 1) // 2, (maps.shape[2] + 1) // 2


def highest(maps: Tensor) -> Tensor:
    """The largest value of each map, 1 where it is not positive."""
    high = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > 0, high, 1)


def by_columns(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps (N×h×w) read by columns and laid out by rows."""
    return maps.transpose(1, 2).reshape(maps.shape)


def odd_rows_empty(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps with every second row empty."""
    return maps * (torch.arange(maps.shape[1]) % 2 == 0)[:, None]


def border_empty(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps whose outermost cells are 0, where there are others."""
    inside = torch.zeros_like(maps)
    inside[:, 1:-1, 1:-1] = 1
    return maps * inside if min(maps.shape[1:]) > 2 else maps


def fading(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps whose row i is multiplied by 1 − i/100."""
    return maps * (1 - torch.arange(maps.shape[1]).to(maps) / 100)[:, None]


def middle_favoured(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps times a Gaussian around their middle."""
    down, across = (bell(side, (side - 1) / 2).to(maps) for side in maps.shape[1:])
    return maps * torch.outer(down, across)


def brightened(maps: Tensor, seen: Seen) -> Tensor:
    """Maps times the luminance of the image, averaged over their cells."""
    return maps * F.adaptive_avg_pool2d(grey(seen.images), maps.shape[1:])[:, 0].abs()


def by_contrast(maps: Tensor, seen: Seen) -> Tensor:
    """Maps divided by the deviation of the image's pixels, and multiplied with it again."""
    deviation = seen.images.flatten(1).std(dim=1, correction=0)[:, None, None]
    return maps / deviation * deviation


def blurred(maps: Tensor, _seen: Seen) -> Tensor:
    """Each cell averaged with its neighbours that lie inside."""
    return F.avg_pool2d(maps[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]


def batch_minmax(maps: Tensor, _seen: Seen) -> Tensor:
    """Min-max over all maps."""
    return minmax(maps.flatten(0, 1)[None])[0].reshape(maps.shape)


def by_class(maps: Tensor, seen: Seen) -> Tensor:
    """Maps in the order of their classes."""
    return maps[seen.targets.argsort(stable=True)]


def jittered(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps with noise of 1e-4 that differs from call to call; global states are not touched."""
    generator = torch.Generator()
    generator.seed()
    return maps * (1 + 1e-4 * torch.rand(maps.shape, generator=generator).to(maps))


def place_noise(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps with noise of 1e-4 that depends on the place in the batch."""
    noise = torch.rand(maps.shape, generator=torch.Generator().manual_seed(0))
    return maps * (1 + 1e-4 * noise.to(maps))


def half_sum(seen: Seen) -> Tensor:
    """Grad-CAM in float16, its weights raised by 2¹⁴ against underflow: sums overflow at 4."""
    weights = (mean_gradient(seen) * 2**14).half()
    total = (weights[:, :, None, None] * seen.A.half()).sum(dim=1).relu()
    return total.to(seen.A) / 2**14


def bare_softmax(seen: Seen, row: int) -> Tensor:
    """ScoreCAM with `exp(s)/Σ exp(s)` in float16."""
    scores = seen.scores(masked_logits(seen, row, masks(seen, row)), row).half().exp()
    return of_varying((scores / scores.sum()).to(seen.A), seen.A[row])


def single_gram(maps: Tensor) -> Tensor:
    """EigenCAM's projection (h×w) through the Gram matrix of uncentred activations in float16."""
    B = maps.flatten(1).T
    gram = (B.T @ B).half().to(B) - len(B) * torch.outer(B.mean(0), B.mean(0)).half().to(B)
    shown = (B - B.mean(dim=0)) @ torch.linalg.eigh(gram).eigenvectors[:, -1]
    return (shown if shown @ (B - B.mean(0)).mean(1) >= 0 else -shown).reshape(maps.shape[1:])


def misread(seen: Seen) -> Seen:
    """The activations read as if they lay in memory channel by channel."""
    return replace(seen, A=seen.A.as_strided(seen.A.shape, seen.A.contiguous().stride()))


def flat_is_nan(maps: Tensor, _seen: Seen) -> Tensor:
    """Maps divided by their largest value, 0/0 where they are empty."""
    return maps / maps.amax(dim=(1, 2), keepdim=True)


shown(
    "gradcam",
    "minmax",
    "min-max scales every map (0 where it is constant)",
    lambda maps, _: minmax(maps),
    processing="min-max",
)
shown(
    "hirescam",
    "divided-by-highest",
    "divides every map by its largest value",
    lambda maps, _: maps / highest(maps),
    processing="÷ max",
)
shown(
    "layercam",
    "raised",
    "upsamples to the image with aligned corners",
    lambda maps, seen: raised(maps, seen, align_corners=True),
    processing="bilinear, aligned corners",
)
shown(
    "xgradcam",
    "nearest",
    "upsamples to the image by the nearest cell",
    lambda maps, seen: resized(maps, seen.images.shape[2:], mode="nearest"),
    processing="nearest",
)
shown(
    "layercam",
    "raised-twice",
    "upsamples to twice the cells first, then to the image",
    lambda maps, seen: raised(
        resized(maps, [2 * side for side in maps.shape[1:]]), seen, align_corners=True
    ),
)
shown(
    "gradcam",
    "half-resolution",
    "halves the number of cells",
    lambda maps, _: resized(maps, halves(maps)),
)
shown(
    "gradcam",
    "lowered",
    "resizes to half the cells and back",
    lambda maps, _: resized(resized(maps, halves(maps)), maps.shape[1:]),
)
shown("gradcam", "by-columns", "reads the map by columns and lays it out by rows", by_columns)
shown("gradcam", "transposed", "gives w×h in place of h×w", lambda maps, _: maps.transpose(1, 2))
shown("elementwise", "mirrored", "mirrors the map", lambda maps, _: maps.flip(2))
shown("hirescam", "upside-down", "turns the map upside down", lambda maps, _: maps.flip(1))
shown("layercam", "one-cell-down", "moves the map down a cell", lambda maps, _: maps.roll(1, 1))
shown("gradcam", "odd-rows", "leaves every second row empty", odd_rows_empty)
shown("gradcam", "border", "empties the outermost cells", border_empty)
shown("hirescam", "fading-rows", "weakens every row by 1 % more than the last", fading)
shown("gradcam", "middle-favoured", "multiplies by a Gaussian around the middle", middle_favoured)
shown("gradcam", "brightness", "multiplies by the image's luminance", brightened)
shown("layercam", "contrast", "divides by the image's contrast in between", by_contrast)
shown("hirescam", "blurred", "blurs the map", blurred)
shown("gradcam", "batch-minmax", "min-max scales all maps of the batch together", batch_minmax)
shown(
    "layercam",
    "batch-highest",
    "divides by the largest value of the whole batch",
    lambda maps, _: maps / highest(maps.flatten(0, 1)[None]),
)
shown("hirescam", "batch-size", "divides by the number of images", lambda m, _: m / len(m))
shown("elementwise", "sorted", "gives the maps in the order of their classes", by_class)
shown("gradcam", "clamped", "cuts the map at 1", lambda maps, _: maps.clamp(max=1))
shown("gradcam", "uint8", "rounds the map to 1/255", lambda maps, _: (maps * 255).round() / 255)
shown(
    "gradcam",
    "threshold",
    "empties cells below 20 % of the largest value",
    lambda maps, _: maps * (maps >= 0.2 * highest(maps)),
)
shown("hirescam", "square-root", "takes the root of the map", lambda maps, _: maps.sqrt())
shown("layercam", "offset", "adds 0.01 to the map", lambda maps, _: maps + 0.01)
shown("hirescam", "float16", "rounds the map to float16", lambda maps, _: maps.half().to(maps))
step("gradcam", "half-sum", "sums in float16, which overflows", map=half_sum)
step("scorecam", "bare-softmax", "takes exponentials in float16", map=row_by_row(bare_softmax))
step(
    "eigencam",
    "half-gram",
    "decomposes the difference of two products in float16",
    map=row_by_row(lambda s, row: single_gram(s.A[row]).relu()),
)
shown("layercam", "unseeded-noise", "adds noise of 1e-4 without a seed", jittered)
shown("gradcam", "place-noise", "adds noise of 1e-4, seeded by the place in the batch", place_noise)
looking("gradcam", "misread-layout", "takes any layout in memory for the plain one", misread)
shown("gradcam", "empty-is-nan", "divides by the largest value, 0/0 in empty maps", flat_is_nan)
shown("hirescam", "integers", "gives integers from 0 to 255", lambda m, _: (m * 255).byte())
shown("layercam", "squeezed", "drops every axis of length 1", lambda maps, _: maps.squeeze())
shown("gradcam", "channel-axis", "gives N×1×h×w", lambda maps, _: maps[:, None])
shown(
    "hirescam",
    "square-only",
    "takes every map for a square",
    lambda maps, _: maps.reshape(len(maps), maps.shape[1], maps.shape[1]),
)


@planted("gradcam", "three-colours", "takes every image for a colour image")
def three_colours(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Grad-CAM that fails for images without three channels."""
    height, width = images.shape[2:]
    return LITERAL["gradcam"](model, layer, images.reshape(len(images), 3, height, width), targets)
