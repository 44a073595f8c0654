"""How alike two maps of one image are: Spearman, SSIM and HOG, with what a map needs made once.

Adebayo et al. 2018, section 3.1. Each figure equals that of SciPy and scikit-image (rankdata,
structural_similarity, hog) to rounding; here a map is ranked, filtered and described once for
all the maps that it is compared with, which those libraries cannot do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from camaudit.errors import UsageError

__all__ = [
    "SIMILARITIES",
    "Prepared",
    "SimilarityName",
    "compare",
    "is_constant",
    "prepare",
    "similarity",
]

SimilarityName = Literal["spearman", "spearman-abs", "ssim", "hog"]
SIMILARITIES: tuple[SimilarityName, ...] = get_args(SimilarityName)

Array = np.ndarray[Any, np.dtype[np.float64]]

_ULPS = 16
_RADIUS = 5  #: the 11 taps of SSIM's Gaussian, σ = 1.5
_SIGMA = 1.5
_CELL = 16  #: pixels a side of a HOG cell
_BLOCK = 3  #: cells a side of a HOG block
_BINS = 9  #: orientations of 20°
_C1, _C2 = 0.01**2, 0.03**2  #: SSIM's constants for a data range of 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """One map (h×w) with what the asked-for similarities need; `why` it has none, or None.

    `ranks` and `abs_ranks` are centred average ranks of unit length; `unit` the min-max map with
    its Gaussian means and `variance`; `hog` the centred descriptor of unit length. A string says
    why that figure is undefined.
    """

    why: str | None
    ranks: Array | str | None = None
    abs_ranks: Array | str | None = None
    unit: tuple[Array, Array, Array] | str | None = None
    hog: Array | str | None = None


def similarity(name: SimilarityName, a: Tensor, b: Tensor) -> tuple[float | None, str | None]:
    """The similarity of two maps (h×w), and why it is undefined where it is; see :func:`compare`.

    >>> ramp = torch.arange(12.0).view(3, 4)
    >>> similarity("spearman", ramp, ramp.exp())
    (1.0, None)
    """
    return compare(name, prepare(a, (name,)), prepare(b, (name,)))


def prepare(saliency: Tensor, names: Sequence[SimilarityName] = SIMILARITIES) -> Prepared:
    """What `names` need of one map (h×w). Raises :class:`UsageError` for an unknown name."""
    for name in names:
        if name not in SIMILARITIES:
            raise UsageError(f"expected similarities among {', '.join(SIMILARITIES)}; got {name!r}")
    raw = saliency.detach().cpu()
    values = (raw if raw.dtype in (torch.float32, torch.float64) else raw.float()).numpy()
    if not np.isfinite(values).all():
        return Prepared("the map is not finite")
    if is_constant(values):
        return Prepared("the map is constant")
    low = values.min()
    ranks = (
        _ranks(values) if "spearman" in names or ("spearman-abs" in names and low >= 0) else None
    )
    absolute: Array | str | None = None
    if "spearman-abs" in names:
        absolute = ranks if low >= 0 else _absolute_ranks(np.abs(values))
    unit: Array | None = None
    if "ssim" in names or "hog" in names:
        unit = values.astype(np.float64)
        unit = (unit - unit.min()) / (unit.max() - unit.min())
    return Prepared(
        None,
        ranks,
        absolute,
        _filtered(unit) if unit is not None and "ssim" in names else None,
        _hog(unit) if unit is not None and "hog" in names else None,
    )


def compare(name: SimilarityName, a: Prepared, b: Prepared) -> tuple[float | None, str | None]:
    """One similarity of two prepared maps of one size, in [−1, 1], or None and the reason.

    "spearman": Pearson's correlation of average ranks of the raw values, "spearman-abs" of their
    absolute values. "ssim": the mean structural similarity of the min-max maps (Wang et al. 2004;
    data range 1, Gaussian weights of σ = 1.5, sample covariance). "hog": Pearson's correlation of
    histograms of oriented gradients of the min-max maps (9 orientations, cells of 16×16 pixels,
    blocks of 3×3 cells, L2-Hys). A map that is constant or not finite has none of them.
    """
    why = a.why or b.why
    if why is not None:
        return None, why
    left: Any
    right: Any
    field = {"spearman": "ranks", "spearman-abs": "abs_ranks", "ssim": "unit", "hog": "hog"}[name]
    left, right = getattr(a, field), getattr(b, field)
    for side in (left, right):
        if isinstance(side, str):
            return None, side
    if name == "ssim":
        return _ssim(left, right), None
    return float(np.clip(left @ right, -1.0, 1.0)), None


def is_constant(values: np.ndarray[Any, Any]) -> bool:
    """Whether finite values are one number, but for rounding in their own dtype.

    `max − min ≤ 16 ε max|x|`: a constant map that was averaged or upsampled differs by some ε, and
    the ranks of that noise would say something of nothing.
    """
    low, high = float(values.min()), float(values.max())
    return high - low <= _ULPS * float(np.finfo(values.dtype).eps) * max(-low, high)


def _absolute_ranks(values: np.ndarray[Any, Any]) -> Array | str:
    return "the map's absolute values are constant" if is_constant(values) else _ranks(values)


def _ranks(values: np.ndarray[Any, Any]) -> Array | str:
    """Average ranks, centred, of length 1; ties share the mean of their places."""
    flat = values.ravel()
    order = np.argsort(flat)
    sorted_ = flat[order]
    starts = np.flatnonzero(np.concatenate(([True], sorted_[1:] != sorted_[:-1])))
    ends = np.concatenate((starts[1:], [len(flat)]))
    ranks = np.empty(len(flat))
    ranks[order] = np.repeat((starts + ends - 1) / 2, ends - starts)
    return _unit_length(ranks, "the map's absolute values are constant")


def _unit_length(values: Array, why: str) -> Array | str:
    centred = values - values.mean()
    length = math.sqrt(float(centred @ centred))
    return centred / length if length > 1e-12 * max(1.0, float(np.abs(values).max())) else why


def _filtered(unit: Array) -> tuple[Array, Array, Array] | str:
    """The map, its Gaussian mean and (sample) variance on cells whose window fits."""
    if min(unit.shape) < 2 * _RADIUS + 1:
        return f"SSIM needs a map of at least {2 * _RADIUS + 1} pixels a side"
    mean = _gaussian(unit)
    return unit, mean, _NORM * (_gaussian(unit * unit) - mean * mean)


_NORM = (2 * _RADIUS + 1) ** 2 / ((2 * _RADIUS + 1) ** 2 - 1)
_OFFSETS = np.arange(-_RADIUS, _RADIUS + 1)
_TAPS = np.exp(-0.5 * (_OFFSETS / _SIGMA) ** 2)
_TAPS = _TAPS / _TAPS.sum()


def _gaussian(values: Array) -> Array:
    """Gaussian mean over 11×11 windows, where they fit: (h − 10)×(w − 10)."""
    for _axis in range(2):
        count = len(values) - 2 * _RADIUS
        total = values[_RADIUS : _RADIUS + count] * _TAPS[_RADIUS]
        for offset in range(_RADIUS):  # the taps are symmetric: pairs share a product
            mirrored = 2 * _RADIUS - offset
            pair = values[offset : offset + count] + values[mirrored : mirrored + count]
            pair *= _TAPS[offset]
            total += pair
        values = np.ascontiguousarray(total.T)
    return values


def _ssim(a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]) -> float:
    (x, mean_x, var_x), (y, mean_y, var_y) = a, b
    product = mean_x * mean_y
    covariance = _NORM * (_gaussian(x * y) - product)
    top = (2 * product + _C1) * (2 * covariance + _C2)
    bottom = (mean_x * mean_x + mean_y * mean_y + _C1) * (var_x + var_y + _C2)
    return float(np.clip((top / bottom).mean(), -1.0, 1.0))


def _hog(unit: Array) -> Array | str:
    """Histogram of oriented gradients (Dalal & Triggs 2005), centred, of length 1."""
    rows, columns = (length // _CELL for length in unit.shape)
    if min(rows, columns) < _BLOCK:
        return f"HOG needs a map of at least {_BLOCK * _CELL} pixels a side"
    down, across = np.zeros_like(unit), np.zeros_like(unit)
    down[1:-1] = unit[2:] - unit[:-2]
    across[:, 1:-1] = unit[:, 2:] - unit[:, :-2]
    down, across = (g[: rows * _CELL, : columns * _CELL] for g in (down, across))
    angles = torch.atan2(torch.from_numpy(down.copy()), torch.from_numpy(across.copy())).numpy()
    bins = (np.rad2deg(angles) % 180 / (180 / _BINS)).astype(np.int64)
    sizes = np.hypot(down, across)
    sizes[bins >= _BINS] = 0  # 180° after rounding belongs to no bin
    cells = (np.arange(rows * _CELL) // _CELL)[:, None] * columns
    cells = cells + np.arange(columns * _CELL) // _CELL
    places = cells * _BINS + np.minimum(bins, _BINS - 1)
    counts = np.bincount(places.ravel(), sizes.ravel(), minlength=rows * columns * _BINS)
    histogram = counts.reshape(rows, columns, _BINS) / _CELL**2
    blocks = np.lib.stride_tricks.sliding_window_view(histogram, (_BLOCK, _BLOCK), axis=(0, 1))
    flat = blocks.transpose(0, 1, 3, 4, 2).reshape(len(blocks), blocks.shape[1], -1)
    flat = np.minimum(_normalised(flat), 0.2)
    return _unit_length(_normalised(flat).ravel(), "the map's HOG descriptor is constant")


def _normalised(blocks: Array) -> Array:
    total = np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + 1e-5**2)
    return np.asarray(blocks / total)
