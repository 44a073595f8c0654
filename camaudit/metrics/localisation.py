"""Whether a saliency map lies where the object is: the pointing games and the overlap of areas.

Regions are boolean masks N×H×W, of boxes (:func:`boxes_to_mask`) or of a segmentation. An image
whose region is empty has no figure: it is neither a hit nor a miss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.errors import UsageError
from camaudit.metrics.registry import MetricInfo, metric

__all__ = [
    "THRESHOLD",
    "box_iou",
    "boxes_to_mask",
    "energy_pointing_game",
    "iou",
    "largest_component",
    "pointing_game",
    "tight_boxes",
]

THRESHOLD = 0.2  #: share of the maximum from which on a pixel counts as marked (Zhou et al. 2016)


def boxes_to_mask(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> Tensor:
    """The union of one image's boxes as a boolean mask (H×W) of `size` = (H, W).

    A box (x0, y0, x1, y1) is in pixels from the upper left corner and half-open: of whole numbers,
    columns x0 … x1 − 1 and rows y0 … y1 − 1. Otherwise a pixel belongs to it if its centre does.
    No boxes make an empty mask. Raises :class:`UsageError` for a box that reaches outside the
    image, is empty or holds no pixel's centre, or is not four finite numbers.

    >>> boxes_to_mask([(1, 0, 3, 1)], (2, 4)).int().tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = size
    if height < 1 or width < 1:
        raise UsageError(f"expected an image size (height, width) of 1 or more; got {size}")
    mask = torch.zeros(height, width, dtype=torch.bool)
    for place, box in enumerate(boxes):
        named = f"box {place}, {tuple(box)},"
        if len(box) != 4 or not all(math.isfinite(end) for end in box):
            raise UsageError(f"{named} is not four finite numbers (x0, y0, x1, y1)")
        x0, y0, x1, y1 = box
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise UsageError(
                f"{named} reaches outside the image of {width}×{height} pixels (width × height); "
                "give (x0, y0, x1, y1) in pixels of the image as the model sees it, clipped to it"
            )
        left, top, right, bottom = (math.ceil(end - 0.5) for end in (x0, y0, x1, y1))
        if left >= right or top >= bottom:
            raise UsageError(
                f"{named} holds no pixel: expected x0 < x1 and y0 < y1, half-open; leave it out"
            )
        mask[top:bottom, left:right] = True
    return mask


@metric(
    "pointing-game",
    MetricInfo(
        check="localisation",
        title="Pointing game",
        unit="",
        direction="higher",
        paper="Zhang et al. 2018, Top-down neural attention by excitation backprop (pointing game)",
        formula="1 if the map's maximum lies in the region, else 0",
        cost="none",
        needs="regions",
        high=1.0,
    ),
)
def pointing_game(maps: Tensor, regions: Tensor, *, tolerance: float = 0) -> Tensor:
    """`1[argmax Λ ∈ R]`, a hit or a miss (Zhang et al. 2018, the pointing game).

    Parameters
    ----------
    maps: raw upsampled maps Λ (N×H×W), any floating dtype.
    regions: boolean R (N×H×W).
    tolerance: a maximum this many pixels from the region (Euclidean, between centres) still hits;
        the paper allows 15, of images in their own size.

    Returns float64 (N), 0 or 1; where several pixels share the maximum, the share of them that
    hits. NaN for an empty region and for a map that is constant or not finite. Raises
    :class:`UsageError` for other shapes and dtypes and a tolerance that is negative or not finite.
    """
    maps, regions = _checked(maps, regions)
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"the tolerance is a number of pixels, 0 or more; got {tolerance}")
    highest = maps == maps.amax(dim=(1, 2), keepdim=True)
    hits = (highest & _grown(regions, tolerance)).sum(dim=(1, 2)).double()
    return _where(_peaked(maps) & _any(regions), hits / highest.sum(dim=(1, 2)))


@metric(
    "energy-pointing-game",
    MetricInfo(
        check="localisation",
        title="Energy-based pointing game",
        unit="",
        direction="higher",
        paper="Wang et al. 2020, Score-CAM, section 4.3",
        formula="the map's sum over the region / its sum over the image",
        cost="none",
        needs="regions",
        high=1.0,
    ),
)
def energy_pointing_game(maps: Tensor, regions: Tensor) -> Tensor:
    """`Σ_R Λ / Σ Λ`, the share of the map's energy in the region (Wang et al. 2020, section 4.3).

    maps are raw upsampled maps Λ ≥ 0 (N×H×W), any floating dtype, and regions boolean (N×H×W).
    A constant map scores the area fraction of the region, which is what a map that says nothing
    gets; min-max first would move the share.

    Returns float64 (N) in [0, 1]; NaN for an empty region and for a map that is zero everywhere,
    not finite, or negative somewhere (a share of a signed sum is none). Raises
    :class:`UsageError` for other shapes and dtypes.
    """
    maps, regions = _checked(maps, regions)
    parts = maps / maps.amax(dim=(1, 2), keepdim=True)  # 0/0 is NaN for an all-zero map
    share = torch.where(regions, parts, 0.0).sum(dim=(1, 2)) / parts.sum(dim=(1, 2))
    positive = (maps >= 0).all(dim=2).all(dim=1)
    return _where(_finite(maps) & positive & _any(regions), share.clamp(max=1.0))


@metric(
    "iou",
    MetricInfo(
        check="localisation",
        title="IoU of the marked area",
        unit="",
        direction="higher",
        paper="Zhou et al. 2016, CAM, section 3.2 (its threshold)",
        formula="intersection over union of {map ≥ 20 % of its maximum} and the region",
        cost="none",
        needs="regions",
        high=1.0,
    ),
)
def iou(maps: Tensor, regions: Tensor, *, threshold: float = THRESHOLD) -> Tensor:
    """`|M ∩ R| / |M ∪ R|` with M = {Λ ≥ t·max Λ} (t = 0.2: Zhou et al. 2016, section 3.2).

    maps are raw upsampled maps Λ (N×H×W), any floating dtype, and regions boolean R (N×H×W).

    Returns float64 (N) in [0, 1]; NaN for an empty region and for a map that is constant, not
    finite, or nowhere positive. Raises :class:`UsageError` for other shapes and dtypes and a
    threshold outside [0, 1].
    """
    maps, regions = _checked(maps, regions)
    marked = _marked(maps, threshold)
    both = (marked & regions).sum(dim=(1, 2)).double()
    either = (marked | regions).sum(dim=(1, 2))
    return _where(_markable(maps) & _any(regions), both / either)


@metric(
    "box-iou",
    MetricInfo(
        check="localisation",
        title="IoU of boxes",
        unit="",
        direction="higher",
        paper="Zhou et al. 2016, CAM, section 3.2",
        formula="intersection over union of the box around the largest connected part of "
        "{map ≥ 20 % of its maximum} and the box around the region",
        cost="none",
        needs="regions",
        high=1.0,
    ),
)
def box_iou(maps: Tensor, regions: Tensor, *, threshold: float = THRESHOLD) -> Tensor:
    """IoU of the box of the map's largest component with that of the region (Zhou et al. 2016).

    The map's box is the tight one around :func:`largest_component` of {Λ ≥ t·max Λ}, the region's
    the tight one around all of it. maps are raw upsampled maps Λ (N×H×W), any floating dtype, and
    regions boolean (N×H×W).

    Returns float64 (N) in [0, 1]; NaN and errors as of :func:`iou`.
    """
    maps, regions = _checked(maps, regions)
    found = tight_boxes(largest_component(_marked(maps, threshold)))
    wanted = tight_boxes(regions)
    meeting = torch.cat(
        [torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])], 1
    )
    both = _area(meeting)
    shares = both.double() / (_area(found) + _area(wanted) - both)
    return _where(_markable(maps) & _any(regions), shares)


def largest_component(masks: Tensor) -> Tensor:
    """The largest 8-connected component of boolean masks (N×H×W), as masks again.

    Of components of equal size the one whose first pixel in reading order comes first; an empty
    mask stays empty.
    """
    count, height, width = masks.shape
    none = height * width  # the label of the background, above those of all pixels
    pixels = masks.flatten(1)
    rows = torch.arange(none, device=masks.device).expand(count, -1)
    ends = torch.full((count, 1), none, device=masks.device)
    labels = torch.where(pixels, rows, none)
    while True:
        # hooking the roots themselves, not just the pixels, ends a spiral in a few rounds
        lowest = torch.where(pixels, _lowest_around(labels.view(masks.shape)).flatten(1), none)
        merged = torch.cat([labels, ends], 1).scatter_reduce(1, labels, lowest, "amin")
        while not torch.equal(shorter := merged.gather(1, merged), merged):
            merged = shorter
        if torch.equal(merged[:, :-1], labels):
            break
        labels = merged[:, :-1]
    sizes = torch.zeros(count, none + 1, dtype=torch.int64, device=masks.device)
    sizes.scatter_add_(1, labels, pixels.long())
    largest = sizes.argmax(dim=1, keepdim=True)
    return ((labels == largest) & pixels).view(masks.shape)


def _lowest_around(labels: Tensor) -> Tensor:
    """The least label of the 3×3 pixels around each (N×H×W)."""
    for axis in (1, 2):
        size = labels.shape[axis]
        least = labels.clone()
        if size > 1:
            before, after = labels.narrow(axis, 0, size - 1), labels.narrow(axis, 1, size - 1)
            first, last = least.narrow(axis, 0, size - 1), least.narrow(axis, 1, size - 1)
            first.copy_(torch.minimum(first, after))
            last.copy_(torch.minimum(last, before))
        labels = least
    return labels


def tight_boxes(masks: Tensor) -> Tensor:
    """The smallest boxes (N×4, int64: x0, y0, x1, y1, half-open) around boolean masks (N×H×W).

    An empty mask has the box (0, 0, 0, 0).
    """
    ends = []
    for axis in (1, 2):  # the columns that hold a pixel, then the rows
        held = masks.any(dim=axis).long()
        first = held.argmax(dim=1)
        last = held.shape[1] - held.flip(1).argmax(dim=1)
        ends.append((first, torch.where(held.any(dim=1), last, 0)))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], dim=1)


def _area(boxes: Tensor) -> Tensor:
    """Pixels in boxes (N×4); 0 where an end comes before its beginning."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def _marked(maps: Tensor, threshold: float) -> Tensor:
    if not 0 <= threshold <= 1:
        raise UsageError(f"the threshold is a share of the maximum, 0 to 1; got {threshold}")
    return maps >= threshold * maps.amax(dim=(1, 2), keepdim=True)


def _grown(regions: Tensor, tolerance: float) -> Tensor:
    """The pixels (N×H×W) at most `tolerance` from a pixel of the region."""
    _, height, width = regions.shape
    square = math.floor(min(tolerance, height + width) ** 2)  # squared distances are whole numbers
    columns = torch.arange(width, device=regions.device)
    sums = F.pad(regions.cumsum(dim=2), (1, 0))  # a row of the disk is a difference of two sums
    grown = regions.clone()
    for away in range(min(math.isqrt(square), height - 1) + 1):
        reach = min(math.isqrt(square - away**2), width)
        right, left = (columns + reach + 1).clamp(max=width), (columns - reach).clamp(min=0)
        wide = sums[:, :, right] > sums[:, :, left]
        grown[:, away:] |= wide[:, : height - away]
        grown[:, : height - away] |= wide[:, away:]
    return grown


def _checked(maps: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Maps in float64 and regions on their device, of shapes that fit."""
    if maps.ndim != 3 or 0 in maps.shape or not maps.is_floating_point():
        raise UsageError(
            f"expected maps N×H×W of floating point, N ≥ 1; got {maps.dtype} {tuple(maps.shape)}"
        )
    if regions.dtype != torch.bool or regions.shape != maps.shape:
        raise UsageError(
            f"expected a boolean region for each map, {tuple(maps.shape)} in all; got "
            f"{regions.dtype} {tuple(regions.shape)}; boxes_to_mask makes them of boxes"
        )
    return maps.detach().double(), regions.to(maps.device)


def _any(regions: Tensor) -> Tensor:
    return regions.flatten(1).any(dim=1)


def _finite(maps: Tensor) -> Tensor:
    return torch.isfinite(maps).all(dim=2).all(dim=1)


def _peaked(maps: Tensor) -> Tensor:
    """Finite and not constant, so that there is a maximum to speak of."""
    return _finite(maps) & (maps.amax(dim=(1, 2)) > maps.amin(dim=(1, 2)))


def _markable(maps: Tensor) -> Tensor:
    """Peaked and somewhere positive, so that a share of the maximum lies below it."""
    return _peaked(maps) & (maps.amax(dim=(1, 2)) > 0)


def _where(defined: Tensor, figures: Tensor) -> Tensor:
    """The figures (float64) that are defined; NaN for the others."""
    return torch.where(defined, figures, torch.nan)
