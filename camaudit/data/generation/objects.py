"""Where the object of a photograph lies, without a network: what differs from the rim.

A photograph of an animal mostly shows it off the rim and in other colours than the rim's. The
score of a pixel is the product of

* its squared distance to the colours of the rim: to the nearest of the mean colours of the left,
  right, upper and lower edge strips, in standard deviations of the strip;
* its detail: the smoothed magnitude of the brightness's gradient, plus its mean;
* a Gaussian around the centre, a third of each side wide.

This is a prior, not a segmentation: it places windows, and nothing else depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from camaudit.data.images import Pixels

__all__ = ["Extent", "extent", "score"]

Plane = npt.NDArray[np.float64]

_SIDE = 64  # the score is computed on a small copy
_RIM = 0.06  # thickness of the edge strips, as a share of the side
_TAIL = 0.03  # share of the score that may lie above and below, or left and right, of the object
_WIDE = 0.33  # width of the central prior, as a share of the side


@dataclass(frozen=True)
class Extent:
    """Rows and columns that hold 94 % of the score each, as fractions of height and width."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> float:
        """Middle of the columns."""
        return (self.left + self.right) / 2


def score(pixels: Pixels) -> Plane:
    """How much each pixel looks like the object; (64, 64), non-negative, sum 1."""
    small = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (_SIDE, _SIDE), Image.Resampling.BOX
    )
    colours = np.asarray(small, dtype=np.float64)
    detail = _blurred(_gradient(colours.mean(axis=2)))
    away = _blurred(_from_rim(colours))
    place = (np.arange(_SIDE) + 0.5) / _SIDE - 0.5
    bell = np.exp(-0.5 * (place / _WIDE) ** 2)
    whole = away**2 * (detail + detail.mean()) * np.outer(bell, bell) + 1e-12
    return np.asarray(whole / whole.sum())


def extent(plane: Plane) -> Extent:
    """The rows and columns between which the score lies, but for 3 % on either side."""
    left, right = _between(plane.sum(axis=0))
    top, bottom = _between(plane.sum(axis=1))
    return Extent(left, top, right, bottom)


def _between(profile: Plane) -> tuple[float, float]:
    shares = np.concatenate([[0.0], np.cumsum(profile / profile.sum())])
    edges = np.interp([_TAIL, 1 - _TAIL], shares, np.linspace(0, 1, len(shares)))
    return float(edges[0]), float(edges[1])


def _from_rim(colours: Plane) -> Plane:
    """Distance of every pixel's colour to the nearest of the four edge strips."""
    thick = max(2, round(_RIM * _SIDE))
    strips = (
        colours[:thick],
        colours[-thick:],
        colours[:, :thick],
        colours[:, -thick:],
    )
    distances = []
    for strip in strips:
        flat = strip.reshape(-1, 3)
        spread = flat.std(axis=0) + 12.0  # camera noise counts for little
        distances.append(np.sqrt((((colours - flat.mean(axis=0)) / spread) ** 2).sum(axis=2)))
    return np.asarray(np.minimum(np.min(distances, axis=0), 4.0))


def _gradient(grey: Plane) -> Plane:
    down, across = np.gradient(grey)
    return np.asarray(np.hypot(down, across))


def _blurred(plane: Plane) -> Plane:
    """Smoothed by a Gaussian of two pixels in both directions."""
    reach = np.arange(-6, 7)
    kernel = np.exp(-0.5 * (reach / 2.0) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(plane, 6, mode="reflect")
    down = np.apply_along_axis(np.convolve, 0, padded, kernel, mode="valid")
    return np.asarray(np.apply_along_axis(np.convolve, 1, down, kernel, mode="valid"))
