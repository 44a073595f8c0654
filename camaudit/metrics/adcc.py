"""ADCC: whether a map is coherent, small, and enough for the class to keep its confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.maps import minmax
from camaudit.metrics.checking import checked_figures, checked_maps
from camaudit.metrics.registry import MetricInfo, metric

__all__ = ["adcc", "adcc_of_means", "coherency", "map_complexity"]

_PAPER = "Poppi et al. 2021, Revisiting the evaluation of class activation mapping"
_AGAIN = (
    "one pass of x⊙m (shared with average-drop) with its map, which a gradient or more may need"
)


@metric(
    "coherency",
    MetricInfo(
        check="adcc",
        title="Coherency",
        unit="",
        direction="higher",
        paper=_PAPER,
        formula="(Pearson(CAM(x⊙m), m) + 1) / 2",
        cost=_AGAIN,
        needs="explainer",
        high=1.0,
    ),
)
def coherency(again: Tensor, maps: Tensor) -> Tensor:
    """`(r(CAM(x⊙m), CAM(x)) + 1) / 2`, r Pearson's correlation over the pixels (Poppi et al. 2021).

    `again` are the raw maps of the masked images x⊙m for the same class and `maps` those of the
    images, both upsampled (N×H×W), any floating dtype. No scale or shift of either changes r, so
    raw and min-max maps score the same.

    Returns float64 (N) in [0, 1], ½ for maps that have nothing to do with each other; NaN where
    one of the two is constant (an all-zero map of x⊙m is) or not finite. Raises
    :class:`UsageError` for other shapes and dtypes.
    """
    if again.shape != maps.shape:
        raise UsageError(
            f"expected a map of x⊙m for each map, {tuple(maps.shape)} in all; got "
            f"{tuple(again.shape)}; upsample both to the size of the images"
        )
    one, other = (_unit(checked_maps(raw)) for raw in (again, maps))
    correlation = (one * other).sum(dim=1).clamp(-1, 1)
    return (correlation + 1) / 2


@metric(
    "map-complexity",
    MetricInfo(
        check="adcc",
        title="Complexity",
        unit="",
        direction="lower",
        paper=_PAPER,
        formula="‖m‖₁ / (HW), the mean of the min-max map",
        cost="none",
        needs="maps",
        high=1.0,
    ),
)
def map_complexity(maps: Tensor) -> Tensor:
    """`‖m‖₁ / (HW)`, the mean of the min-max map: how much of the image it lets through.

    Poppi et al. 2021. `maps` are upsampled (N×H×W), any floating dtype.

    Returns float64 (N) in (0, 1); NaN for a map that is constant or not finite. Raises
    :class:`UsageError` for other shapes and dtypes.

    >>> map_complexity(torch.tensor([[[1.0, 3.0], [1.0, 2.0]]])).tolist()
    [0.375]
    """
    return minmax(checked_maps(maps)).flatten(1).mean(dim=1)


@metric(
    "adcc",
    MetricInfo(
        check="adcc",
        title="ADCC",
        unit="",
        direction="higher",
        paper=_PAPER,
        formula="3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)), drop as a share",
        cost=_AGAIN,
        needs="explainer",
        high=1.0,
    ),
)
def adcc(coherency: Tensor, complexity: Tensor, drop: Tensor) -> Tensor:
    """`3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop))`, a harmonic mean (Poppi et al. 2021).

    Average DCC of each image, to be averaged over the images; :func:`adcc_of_means` is the other
    reading. :func:`coherency`, :func:`map_complexity` and the drop as a share in [0, 1]
    (:func:`camaudit.metrics.confidence.average_drop` / 100), each N, any floating dtype.

    Returns float64 (N) in [0, 1]; 0, the limit, where a part is 0 (coherency 0, complexity 1 or
    drop 1); NaN where a part is, also beside a 0. Raises :class:`UsageError` for other shapes and
    dtypes and for values outside [0, 1].

    >>> adcc(*torch.tensor([[0.5, 1.0], [0.5, 0.0], [0.5, 1.0]])).tolist()
    [0.5, 0.0]
    """
    return _harmonic(_parts(coherency, complexity, drop))


def adcc_of_means(coherency: Tensor, complexity: Tensor, drop: Tensor) -> Tensor:
    """ADCC of a whole data set from the means of its parts, which some published tables print.

    `3 / (1/C̄ + 1/(1 − K̄) + 1/(1 − D̄))` with the means over the images on which all three parts are
    defined. Arguments and errors are those of :func:`adcc`. It is never below the mean of
    :func:`adcc` over these images, since the harmonic mean is concave.

    Returns one float64 number (no axis) in [0, 1]; NaN where no image has all three.
    """
    parts = _parts(coherency, complexity, drop)
    known = ~parts.isnan().any(dim=0)
    return _harmonic(parts[:, known].mean(dim=1))  # a mean of nothing is NaN


def _parts(coherency: Tensor, complexity: Tensor, drop: Tensor) -> Tensor:
    """The three parts, each the better the higher (3×N, float64)."""
    named = {"coherency": coherency, "complexity": complexity, "drop": drop}
    hint = "average_drop is in percent: divide it by 100"
    one, shown, lost = checked_figures(named, low=0, high=1, hint=hint)
    return torch.stack([one, 1 - shown, 1 - lost])


def _harmonic(parts: Tensor) -> Tensor:
    """The harmonic mean over the first axis: 0 where one is 0, for 1/0 is infinite."""
    return (len(parts) / (1 / parts).sum(dim=0)).clamp(max=1)


def _unit(maps: Tensor) -> Tensor:
    """Flat maps (N×HW) of mean 0 and norm 1; min-max first, so that nothing overflows."""
    flat = minmax(maps).flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    return centred / centred.square().sum(dim=1, keepdim=True).sqrt()
