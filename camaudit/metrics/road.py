"""ROAD: remove and debias. The class's probability once pixels are imputed from those around."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.metrics.insertion_deletion import Model, check_order, class_probabilities
from camaudit.metrics.registry import MetricInfo, metric
from camaudit.probability import Link

__all__ = [
    "NOISE",
    "PERCENTILES",
    "imputation_noise",
    "imputed_images",
    "removed_pixels",
    "road",
    "road_average",
    "road_curve",
]

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)  #: of the pixels that are removed
NOISE = 0.01  #: standard deviation, in the images' units

Array = np.ndarray[Any, np.dtype[np.float64]]
Removed = Literal["most", "least"]

_DIRECT, _DIAGONAL = 1 / 6, 1 / 12
_LEAF = 3  # pixels along a side of a block that is not halved any more


def imputed_images(
    images: Tensor, removed: Tensor, *, noise: float = NOISE, seed: int = 0
) -> Tensor:
    """Noisy linear imputation (Rong et al. 2022): a removed pixel is its neighbours' mean.

    `x_i = Σ_j w_ij x_j / Σ_j w_ij + ε_i` with w = 1/6 for the four direct neighbours, 1/12 for the
    four diagonal ones and none outside the image. The x_j on the right are themselves imputed where
    they were removed (before noise), so that all removed pixels of an image are one linear system,
    which is solved in float64. ε is `noise` times :func:`imputation_noise`.

    images: N×C×H×W; removed: boolean (N×H×W). Returns the images' shape and dtype; pixels that were
    not removed stay as they are. Raises :class:`UsageError` for other shapes, noise below 0 or an
    image without a pixel left.
    """
    _check(images, removed)
    if not 0 <= noise < float("inf") or seed < 0:
        raise UsageError(f"expected a noise and a seed of at least 0, got {noise} and {seed}")
    flat = images.detach().double().flatten(2).cpu().numpy()
    gone = removed.flatten(1).cpu().numpy()
    grid = _grid(*images.shape[-2:]) if gone.any() else None
    filled = images.detach().clone(memory_format=torch.preserve_format)
    for row, mask in enumerate(gone):
        if grid is None or not mask.any():
            continue
        pixels, values = grid.imputed(flat[row].T, mask)
        if noise:
            drawn = imputation_noise(images[row], seed=seed)
            values += noise * drawn.reshape(len(drawn), -1).T[pixels]
        places = torch.from_numpy(pixels).to(images.device)
        image = filled[row].flatten(1).clone()
        image[:, places] = torch.from_numpy(values.T).to(images)
        filled[row] = image.view(filled[row].shape)
    return filled


def imputation_noise(image: Tensor, *, seed: int = 0) -> Array:
    """Standard normal numbers of an image's shape (C×H×W), drawn from the seed and its pixels.

    They are the same for every method, percentile and order of removal, so that methods are
    compared on one noise, and for an image alone or in a batch. Pixels are read as float32.
    """
    pixels = image.detach().float().contiguous().cpu().numpy().tobytes()
    return np.random.default_rng([seed, zlib.crc32(pixels)]).standard_normal(tuple(image.shape))


def removed_pixels(
    order: Tensor, percentile: float, size: tuple[int, int], *, most: bool
) -> Tensor:
    """The first (`most`) or the last ⌊percentile·HW/100⌋ pixels in `order`, as masks N×H×W.

    order: int64 (N×HW) from :func:`pixel_order`; a row of −1 removes nothing. Raises
    :class:`UsageError` for another shape or a percentile outside (0, 100).
    """
    check_order(order, (len(order), size[0] * size[1]))
    if not 0 < percentile < 100:
        raise UsageError(f"expected percentiles between 0 and 100, got {percentile}")
    count = int(percentile * order.shape[1] // 100)
    chosen = order[:, :count] if most else order[:, order.shape[1] - count :]
    undefined = order[:, :1] < 0
    masks = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
    masks.scatter_(1, chosen.clamp(min=0), ~undefined.expand(chosen.shape))
    return masks.view(-1, *size)


def road_curve(
    model: Model,
    images: Tensor,
    order: Tensor,
    targets: Tensor,
    *,
    first: Removed,
    percentiles: Sequence[float] = PERCENTILES,
    noise: float = NOISE,
    seed: int = 0,
    batch_size: int = 32,
    link: Link = "softmax",
) -> Tensor:
    """`p_c` (by `link`) of each image with a percentage of its pixels imputed (Rong et al. 2022).

    first: "most" removes the most salient pixels (MoRF), "least" the least salient (LeRF). A model
    pass and a sparse solve for each percentile; a row of `order` that is −1 costs none.

    images: N×C×H×W; order: int64 (N×HW) from :func:`pixel_order`; targets: int64 (N). Returns
    float64 (N×percentiles) in [0, 1], NaN where there is no order. Raises :class:`UsageError` for
    shapes that do not fit, percentiles outside (0, 100) and targets that are no class.
    """
    if first not in ("most", "least") or not len(percentiles) or batch_size < 1:
        raise UsageError(
            "expected first='most' or 'least', at least one percentile and a batch_size of at "
            f"least 1, got {first!r}, {percentiles!r} and {batch_size!r}"
        )
    if images.ndim != 4 or len(order) != len(images) or len(targets) != len(images):
        raise UsageError(
            f"expected images N×C×H×W with an order and a target each, got {tuple(images.shape)}, "
            f"{tuple(order.shape)} and {tuple(targets.shape)}"
        )
    size = (images.shape[2], images.shape[3])
    masks = [removed_pixels(order, p, size, most=first == "most") for p in percentiles]
    removed = torch.stack(masks, dim=1).to(images.device)
    shape = (len(images), len(percentiles))
    found = torch.full(shape, torch.nan, dtype=torch.float64, device=images.device)
    rows = (order[:, 0] >= 0).nonzero().flatten().tolist()
    jobs = [(row, at) for row in rows for at in range(shape[1])]
    for start in range(0, len(jobs), batch_size):
        row, at = torch.tensor(jobs[start : start + batch_size], device=images.device).unbind(1)
        imputed = imputed_images(images[row], removed[row, at], noise=noise, seed=seed)
        classes = targets.to(images.device)[row]
        found[row, at] = class_probabilities(
            model, imputed, classes, batch_size=batch_size, link=link
        )
    return found


_PAPER = "ROAD (Rong et al. 2022), noisy linear imputation"
_COST = "9 passes and 9 sparse solves, at 10 % … 90 % of the pixels"


@metric(
    "road-morf",
    MetricInfo(
        check="road",
        title="ROAD, most relevant first",
        unit="",
        direction="lower",
        paper=_PAPER,
        formula="mean of p_c over percentages of the most salient pixels that are imputed",
        cost=_COST,
        needs="imputed",
        high=1.0,
    ),
)
@metric(
    "road-lerf",
    MetricInfo(
        check="road",
        title="ROAD, least relevant first",
        unit="",
        direction="higher",
        paper=_PAPER,
        formula="mean of p_c over percentages of the least salient pixels that are imputed",
        cost=_COST,
        needs="imputed",
        high=1.0,
    ),
)
def road_average(curve: Tensor) -> Tensor:
    """The mean of `p_c` over the percentiles of one order of removal.

    The paper reports accuracy, a figure of a data set; this is the probability behind it, image by
    image. curve: N×percentiles from :func:`road_curve`. Returns float64 (N) in [0, 1], NaN for a
    row with a NaN. Raises :class:`UsageError` for another shape, or a value outside [0, 1].
    """
    outside = bool(((curve < 0) | (curve > 1)).any())
    if curve.ndim != 2 or curve.numel() == 0 or outside:
        raise UsageError(
            f"expected probabilities N×percentiles in [0, 1], got shape {tuple(curve.shape)}"
        )
    return curve.double().mean(dim=1)


@metric(
    "road",
    MetricInfo(
        check="road",
        title="ROAD",
        unit="",
        direction="higher",
        paper=f"{_PAPER}; both orders as pytorch-grad-cam's ROADCombined",
        formula="(LeRF − MoRF)/2",
        cost="18 passes and 18 sparse solves, at 10 % … 90 % of the pixels in both orders",
        needs="imputed",
        low=-0.5,
        high=0.5,
    ),
)
def road(morf: Tensor, lerf: Tensor) -> Tensor:
    """`(LeRF − MoRF)/2`, each the mean of `p_c` over the percentiles.

    morf, lerf: N×percentiles from :func:`road_curve` with first="most" and "least". Returns float64
    (N) in [−1/2, 1/2], NaN for a row with a NaN. Raises :class:`UsageError` for other shapes.
    """
    if morf.shape != lerf.shape:
        raise UsageError(
            "expected the two orders at the same percentiles, got shapes "
            f"{tuple(morf.shape)} and {tuple(lerf.shape)}"
        )
    difference: Tensor = road_average(lerf) - road_average(morf)
    return difference / 2


@dataclass(frozen=True)
class _Grid:
    """The equations of all pixels of one image size: `Σ_j w_ij (x_i − x_j) = 0`.

    system: sparse (HW×HW), symmetric. nested: the pixels in an order in which elimination leaves
    few entries.
    """

    system: Any
    nested: np.ndarray[Any, np.dtype[np.int64]]

    def imputed(
        self, image: Array, removed: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Array]:
        """The removed pixels of an image (HW×C), and what they are imputed with."""
        unknown, known = self.nested[removed[self.nested]], np.flatnonzero(~removed)
        rows = self.system[unknown]
        # Symmetric and diagonally dominant: no pivoting, which would undo the order.
        factors = linalg.splu(
            rows[:, unknown].tocsc(),
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        return unknown, factors.solve(-(rows[:, known] @ image[known]))


@functools.lru_cache(maxsize=4)
def _grid(height: int, width: int) -> _Grid:
    places = np.arange(height * width).reshape(height, width)
    pairs = (
        (places[:, 1:], places[:, :-1], _DIRECT),
        (places[1:], places[:-1], _DIRECT),
        (places[1:, 1:], places[:-1, :-1], _DIAGONAL),
        (places[1:, :-1], places[:-1, 1:], _DIAGONAL),
    )
    one = np.concatenate([pair[0].ravel() for pair in pairs])
    other = np.concatenate([pair[1].ravel() for pair in pairs])
    weights = np.concatenate([np.full(pair[0].size, pair[2]) for pair in pairs])
    half = sparse.coo_array((weights, (one, other)), shape=(places.size, places.size))
    linked = (half + half.T).tocsr()
    total = sparse.diags_array(np.asarray(linked.sum(axis=1)).ravel())
    return _Grid((total - linked).tocsr(), np.concatenate(list(_nested(places))))


def _nested(places: np.ndarray[Any, Any]) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Nested dissection (George 1973): both halves of a block first, then the line between."""
    height, width = places.shape
    if max(height, width) <= _LEAF:
        return [places.ravel()]
    if height < width:
        return _nested(places.T)
    middle = height // 2
    return [*_nested(places[:middle]), *_nested(places[middle + 1 :]), places[middle]]


def _check(images: Tensor, removed: Tensor) -> None:
    fits = images.ndim == 4 and images.is_floating_point() and images.numel() > 0
    if not fits or removed.dtype != torch.bool or removed.shape != (len(images), *images.shape[2:]):
        raise UsageError(
            "expected floating images N×C×H×W and boolean masks N×H×W, got "
            f"{images.dtype} {tuple(images.shape)} and {removed.dtype} {tuple(removed.shape)}"
        )
    full = removed.flatten(1).all(dim=1)
    if bool(full.any()):
        raise UsageError(
            f"image {int(full.nonzero()[0])} has no pixel left to impute the others from; "
            "remove fewer"
        )
