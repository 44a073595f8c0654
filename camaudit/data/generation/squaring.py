"""The paper's post-processing: a 1:1 crop that puts the boundary of two subjects at the wall.

A picture of h×w pixels shows one subject above row b and one below it. Of an image of H rows the
last d are dead, δ = d/H. A square of side s whose top is row t has its wall at row t + (1 − δ)s.
The largest square that lies in the picture and has its wall at row b is

    s = min(w, b/(1 − δ), (h − b)/δ),    t = b − (1 − δ)s,

and every pixel of the image is cut out of it at once, bilinear with antialiasing. The authors
keep larger squares and load them by Resize(256) and CenterCrop(224); what counts is the boundary
in the 224 rows that the model sees, so these are what is cut out here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from camaudit.data.images import Pixels
from camaudit.errors import ImageError, UsageError

__all__ = ["Square", "found_boundary", "square_around", "squared"]

_LEAST = 0.5  # smallest side, as a share of the image's: a cut is enlarged twice at most
_BAND = (0.3, 0.7)  # where a boundary is looked for, as fractions of the height
_REACH, _COLUMNS = 0.04, 48  # of a step: rows as a fraction of the height, and columns
_PRIOR = 0.12  # standard deviation of the boundary's place, as a fraction of the height
_CLEAR = 1.2  # least step at a boundary, in mean steps
_FLAT = 2.0  # standard deviation of the brightness below which a picture shows nothing


@dataclass(frozen=True)
class Square:
    """A square part of a picture: left, top and side in pixels, not rounded."""

    left: float
    top: float
    side: float


def found_boundary(pixels: Pixels) -> float | None:
    """Where the upper subject ends and the lower one begins, as a fraction of the height.

    The step at row y is how much colours change there: the mean, over 48 columns and three
    colours, of the absolute difference between the mean of the rows above (4 % of the height)
    and that of the rows below. The boundary is the row between 30 % and 70 % of the height with
    the largest

        step(y) · exp(−(y/h − 1/2)² / 2·0.12²),

    for a prompt puts it near the middle. None if that is below 1.2 times the mean step: then no
    row stands out. (Of photographs of one class stacked near the middle, the row is met within
    6 % of the height in nine of ten with a hard seam, in eight of ten with a soft one, and by
    the middle itself in two of three.)
    """
    height = pixels.shape[0]
    reach = max(1, round(_REACH * height))
    if height < 4 * reach:
        return None
    columns = min(_COLUMNS, pixels.shape[1])
    narrow = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (columns, height), Image.Resampling.BOX
    )
    sums = np.cumsum(np.asarray(narrow, dtype=np.float64), axis=0)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    rows = np.arange(reach, height - reach)
    above, below = sums[rows] - sums[rows - reach], sums[rows + reach] - sums[rows]
    step = np.abs(above - below).mean(axis=(1, 2)) / reach
    place = rows / height
    inside = (place >= _BAND[0]) & (place <= _BAND[1])
    weighed = step * np.exp(-0.5 * ((place - 0.5) / _PRIOR) ** 2) * inside
    best = int(np.argmax(weighed))
    if weighed[best] < max(_CLEAR * float(step.mean()), 1e-9):
        return None
    return float(place[best])


def square_around(pixels: Pixels, boundary: float, dead: float) -> Square:
    """The largest square whose wall lies at `boundary`, by the module's formula.

    From left to right it is placed where it holds most detail, as near to the middle as that
    allows.

    Args:
        pixels: uint8 (h, w, 3).
        boundary: fraction of the height above it, 0 < b/h < 1.
        dead: fraction δ of dead rows, 0 < δ < 1.

    Raises:
        UsageError: if one of the fractions is out of range.
    """
    for name, value in (("boundary", boundary), ("dead fraction", dead)):
        if not 0 < value < 1:
            raise UsageError(f"the {name} must lie between 0 and 1, got {value:g}")
    height, width = pixels.shape[:2]
    row = boundary * height
    side = min(float(width), row / (1 - dead), (height - row) / dead)
    top = min(max(0.0, row - (1 - dead) * side), height - side)
    return Square(_left(pixels, top, side), top, side)


def squared(pixels: Pixels, square: Square, size: tuple[int, int]) -> Pixels:
    """The square at `size` (H, W), bilinear with antialiasing; uint8 (H, W, 3).

    Raises:
        ImageError: if it would be enlarged more than twice, or shows a single colour.
    """
    height, width = size
    if square.side < _LEAST * max(size):
        raise ImageError(
            f"the square around the boundary has {square.side:.0f} pixels a side, too few for "
            f"{height}×{width}: a larger picture, or another boundary, is needed"
        )
    box = (
        square.left,
        square.top,
        min(square.left + square.side, pixels.shape[1]),
        min(square.top + square.side, pixels.shape[0]),
    )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    cut = np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    if float(_brightness(cut).std()) < _FLAT:
        raise ImageError("the picture shows a single colour")
    return cut


def _left(pixels: Pixels, top: float, side: float) -> float:
    """Left edge of the window that holds most detail; a centred one wins ties."""
    width = pixels.shape[1]
    room = width - side
    if room < 1:
        return float(max(0.0, room / 2))
    rows = pixels[int(top) : max(int(top) + 2, int(top + side))]
    grey = _brightness(rows)
    detail = np.abs(np.diff(grey, axis=1, append=grey[:, -1:])).sum(axis=0)
    total = np.concatenate([[0.0], np.cumsum(detail)])
    starts = np.arange(int(room) + 1)
    held = total[np.minimum(starts + int(side), width)] - total[starts]
    # being a quarter of the width off centre costs a tenth of the detail: a picture is composed
    # around its middle, and detail at its rim is mostly background
    off = np.abs(starts - room / 2) / (width / 4)
    return float(starts[int(np.argmax(held - 0.1 * max(float(total[-1]), 1.0) * off))])


def _brightness(pixels: Pixels) -> npt.NDArray[np.float64]:
    """(h, w) luma by ITU-R 601, 0 to 255."""
    weights = np.array([0.299, 0.587, 0.114])
    return np.asarray(pixels.astype(np.float64) @ weights)
