"""What a class keeps of its confidence where only the map is shown, and loses where it is hidden.

`m` is the min-max map at the size of the image (:func:`camaudit.maps.minmax`), Y = p_c(x) and
O = p_c(x⊙m), probabilities of the class c. One pass of the masked images x⊙m gives O for
Average Drop, Increase in Confidence, Win and ADCC alike; Y is known from the capture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.errors import NotApplicableError, UsageError
from camaudit.metrics.checking import checked_figures, nan_unless
from camaudit.metrics.registry import MetricInfo, metric

__all__ = ["average_drop", "drop_in_logit", "increase_in_confidence", "masked_images", "win"]

_MASKED = "one pass of x⊙m, shared by average-drop, increase-in-confidence, win and adcc"
_PROBABILITIES = "turn the logits into probabilities first"


def masked_images(images: Tensor, weights: Tensor, *, baseline: Tensor | None = None) -> Tensor:
    """`x⊙w + (1 − w)⊙b`, what the model sees of x where the map w lets it.

    Parameters
    ----------
    images: standardised x (N×C×H×W), floating dtype.
    weights: w (N×H×W) in [0, 1]: m, or 1 − m for what is left without the map. NaN, which a
        constant map has for m, makes NaN pixels, and so undefined figures of that image.
    baseline: b (C), what a masked pixel becomes, in standardised units. None is 0, the mean
        colour: the standardised tensor is multiplied, as published code does. `−mean/std` is
        black: the same as multiplying the raw image and standardising it again.

    Returns N×C×H×W in the dtype of the images. Raises :class:`UsageError` for other shapes and
    dtypes, weights outside [0, 1], and a baseline that is not one finite number a channel.

    >>> masked_images(torch.ones(1, 1, 1, 2), torch.tensor([[[1.0, 0.25]]])).tolist()
    [[[[1.0, 0.25]]]]
    """
    _check_masking(images, weights)
    kept = weights.detach().to(images)[:, None]
    if baseline is None:
        return images.detach() * kept
    if baseline.shape != (images.shape[1],) or not bool(torch.isfinite(baseline).all()):
        raise UsageError(
            f"expected a baseline of {images.shape[1]} finite numbers, one a channel; got "
            f"{tuple(baseline.shape)}: {baseline.tolist()}"
        )
    return images.detach() * kept + (1 - kept) * baseline.to(images)[:, None, None]


@metric(
    "average-drop",
    MetricInfo(
        check="confidence",
        title="Average Drop",
        unit="%",
        direction="lower",
        paper="Chattopadhay et al. 2018, Grad-CAM++, section 4; ScoreCAM++, eq. 13",
        formula="100 · max(0, Y − O) / Y",
        cost=_MASKED,
        needs="masked",
        high=100.0,
    ),
)
def average_drop(full: Tensor, masked: Tensor) -> Tensor:
    """`100 · max(0, Y − O) / Y`, the percent of its confidence that the class loses (eq. 13).

    Grad-CAM++, section 4; ScoreCAM++, A.1. Its mean over the images is the Average Drop %.
    `full` is Y = p_c(x) and `masked` O = p_c(x⊙m), both N, any floating dtype.

    Returns float64 (N) in [0, 100]; NaN for Y = 0 (0/0: there was no confidence to lose) and
    where Y or O is NaN. Raises :class:`UsageError` for other shapes and dtypes and for values
    that are no probabilities.

    >>> average_drop(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.75, 0.1])).tolist()
    [50.0, 0.0, nan]
    """
    before, after = _probabilities(full, masked)
    return 100 * ((before - after).clamp(min=0) / before)  # 0/0 is NaN


@metric(
    "increase-in-confidence",
    MetricInfo(
        check="confidence",
        title="Increase in Confidence",
        unit="%",
        direction="higher",
        paper="Chattopadhay et al. 2018, Grad-CAM++, section 4; ScoreCAM++, eq. 14",
        formula="100 if Y < O, else 0",
        cost=_MASKED,
        needs="masked",
        high=100.0,
    ),
)
def increase_in_confidence(full: Tensor, masked: Tensor) -> Tensor:
    """`100 · 1[Y < O]`: whether the class is surer of the masked image (eq. 14).

    Grad-CAM++, section 4; ScoreCAM++, A.2. Its mean over the images is the Increase in
    Confidence %. `full` is Y = p_c(x) and `masked` O = p_c(x⊙m), both N, any floating dtype.

    Returns float64 (N), 100 or 0, which an equal confidence is; defined for Y = 0 too; NaN where Y
    or O is NaN. Raises :class:`UsageError` as :func:`average_drop` does.

    >>> increase_in_confidence(torch.tensor([0.5, 0.5]), torch.tensor([0.6, 0.5])).tolist()
    [100.0, 0.0]
    """
    before, after = _probabilities(full, masked)
    return nan_unless(~(before.isnan() | after.isnan()), 100 * (before < after).double())


@metric(
    "win",
    MetricInfo(
        check="confidence",
        title="Win",
        unit="%",
        direction="higher",
        paper="Chattopadhay et al. 2018, Grad-CAM++, section 4; ScoreCAM++, A.3",
        formula="100 / number of methods with the least drop if it is one of them, else 0",
        cost="none beyond average-drop of every method",
        needs="methods",
        high=100.0,
    ),
)
def win(drops: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Percent of each image that each method wins: the least drop takes it (ScoreCAM++, A.3).

    `drops` are :func:`average_drop` of M methods on N images (M×N), NaN where undefined. Methods
    whose drop is within `tolerance` (percentage points, ≥ 0) of the least share the image, as all
    do that lose nothing: what rounding alone tells apart is a tie. A method without a drop on an
    image does not compete there; an image on which fewer than two compete is nobody's.

    Returns float64 (M×N) in [0, 100], NaN for what does not compete. A column that has figures
    sums to 100, so over the images on which all methods compete their means do. Raises
    :class:`NotApplicableError` for fewer than two methods, and :class:`UsageError` for another
    shape or dtype, no image, and drops outside [0, 100].

    >>> win(torch.tensor([[10.0, 0.0], [20.0, 0.0]])).tolist()
    [[100.0, 50.0], [0.0, 50.0]]
    """
    if drops.ndim != 2:
        raise UsageError(f"expected drops of M methods on N images; got {tuple(drops.shape)}")
    if not 0 <= tolerance < 100:
        raise UsageError(f"tolerance must be 0 or more percentage points; got {tolerance}")
    if len(drops) < 2:
        raise NotApplicableError(
            f"Win % compares methods and got {len(drops)}; give two or more, or leave it out"
        )
    rows = checked_figures({f"drops of method {row}": drops[row] for row in range(len(drops))},
                           low=0, high=100, hint="drops are in percent")  # fmt: skip
    table = torch.stack(rows)
    competes = ~table.isnan()
    least = torch.where(competes, table, torch.inf).amin(dim=0)
    winners = competes & (table <= least + tolerance)
    shares = 100 * winners.double() / winners.sum(dim=0)
    return nan_unless(competes & (competes.sum(dim=0) >= 2), shares)


@metric(
    "drop-in-logit",
    MetricInfo(
        check="confidence",
        title="Average Drop in Logit",
        unit="logit",
        direction="higher",
        paper="ScoreCAM++, section 6.4 and Table 7",
        formula="s_c(x) − s_c(x⊙(1 − m))",
        cost="one pass of x⊙(1 − m)",
        needs="masked",
        low=-float("inf"),
    ),
)
def drop_in_logit(full: Tensor, without: Tensor) -> Tensor:
    """`s_c(x) − s_c(x⊙(1 − m))`, what the class's logit loses without the map (Table 7).

    ScoreCAM++, section 6.4. `full` is s_c(x) and `without` s_c(x⊙(1 − m)), both N, any floating
    dtype.

    Returns float64 (N), unbounded, in logits; NaN where a logit is not finite. Raises
    :class:`UsageError` for other shapes and dtypes.

    >>> drop_in_logit(torch.tensor([5.0, 2.0]), torch.tensor([1.5, 3.0])).tolist()
    [3.5, -1.0]
    """
    before, after = checked_figures({"full": full, "without": without})
    lost = before - after  # overflows in float64 where logits are near its end
    return nan_unless(torch.isfinite(lost), lost)


def _probabilities(full: Tensor, masked: Tensor) -> list[Tensor]:
    named = {"full": full, "masked": masked}
    return checked_figures(named, low=0, high=1, hint=_PROBABILITIES)


def _check_masking(images: Tensor, weights: Tensor) -> None:
    """Raise where images and weights do not fit each other; see :func:`masked_images`."""
    if images.ndim != 4 or images.numel() == 0 or not images.is_floating_point():
        raise UsageError(
            f"expected images N×C×H×W of floating point, N ≥ 1; got {images.dtype} "
            f"{tuple(images.shape)}; a single image is image[None]"
        )
    fitting = (len(images), *images.shape[2:])
    if weights.shape != fitting or not weights.is_floating_point():
        raise UsageError(
            f"expected weights of floating point N×H×W, {fitting} for these images; got "
            f"{weights.dtype} {tuple(weights.shape)}; upsample the maps first"
        )
    if bool(((weights < 0) | (weights > 1)).any()):
        raise UsageError(
            f"expected weights in [0, 1]; got {float(weights.amin()):g} to "
            f"{float(weights.amax()):g}; camaudit.maps.minmax brings maps there"
        )
