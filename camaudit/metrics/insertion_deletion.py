"""Insertion and deletion: the class's probability as pixels come and go in the map's order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.errors import UsageError
from camaudit.metrics.checking import class_shares
from camaudit.metrics.registry import MetricInfo, metric
from camaudit.probability import Link

__all__ = [
    "PIXELS_PER_STEP",
    "Model",
    "check_order",
    "class_probabilities",
    "curve",
    "curve_auc",
    "deletion_curve",
    "insertion_canvas",
    "insertion_curve",
    "pixel_order",
    "pixel_sets",
]

Model = Callable[[Tensor], Tensor]  #: images M×C×H×W to logits M×classes

PIXELS_PER_STEP = 224  #: one row of an ImageNet image, as in RISE


def pixel_order(maps: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pixels from the most to the least salient, and how much of that order is chance.

    Descending and stable after one permutation of the pixels, drawn from PCG64(seed) and the same
    for every map: equal values keep the order of that permutation, so ties favour no corner of
    the image, and two methods break the same ties in the same way.

    maps: N×H×W, floating. Returns the order (int64, N×HW, flat indices) and the share of pixels
    whose value another pixel has too (float64, N, in [0, 1]). A constant map has no order and one
    that is not finite neither: −1 everywhere, with a tied share of 1 and NaN. Raises
    :class:`UsageError` for other shapes, an empty batch or a negative seed.
    """
    if maps.ndim != 3 or not maps.is_floating_point() or maps.numel() == 0:
        raise UsageError(
            f"expected floating maps N×H×W with at least one pixel, got {maps.dtype} "
            f"{tuple(maps.shape)}; upsample them to the images' size"
        )
    _at_least(0, seed=seed)
    flat = maps.detach().double().flatten(1)
    drawn = np.random.default_rng(seed).permutation(flat.shape[1])
    shuffled = torch.from_numpy(drawn).to(flat.device)
    values, places = flat[:, shuffled].sort(dim=1, descending=True, stable=True)
    same = values[:, 1:] == values[:, :-1]
    tied = (F.pad(same, (1, 0)) | F.pad(same, (0, 1))).double().mean(dim=1)
    finite = torch.isfinite(flat).all(dim=1)
    order = shuffled[places]
    order[~finite | (values[:, 0] == values[:, -1])] = -1
    return order, tied.masked_fill(~finite, torch.nan)


def check_order(order: Tensor, shape: tuple[int, int]) -> None:
    """Raise :class:`UsageError` unless rows of `order` are permutations, or -1 everywhere."""
    if order.shape != shape or order.dtype != torch.int64:
        raise UsageError(
            f"expected an order of int64 {shape}, got {order.dtype} {tuple(order.shape)}; "
            "pixel_order makes one from maps of the images' size"
        )
    known = order[(order != -1).any(dim=1)]
    inside = bool(((known >= 0) & (known < shape[1])).all())
    if not inside or not bool(torch.zeros_like(known).scatter_(1, known, 1).all()):
        raise UsageError("each row of an order holds every pixel once, or -1 everywhere")


def pixel_sets(order: Tensor, *, pixels_per_step: int = PIXELS_PER_STEP) -> Tensor:
    """Digests of the first 0, s, 2s, … pixels of an order: sets that are equal have equal ones.

    Every pixel has a number of 64 bits, drawn from PCG64(0), and a set the sum of them modulo 2⁶⁴,
    so that two different sets have one digest by a chance of 2⁻⁶⁴. On one image the points of both
    curves are one where two orders have the same set, and run once (`known` of :func:`curve`).

    order: int64 (N×HW) of :func:`pixel_order`. Returns int64 (N×(steps + 1)) on the CPU, 0 for rows
    of −1. Raises :class:`UsageError` for what is no order.
    """
    check_order(order, (len(order), order.shape[-1]))
    _at_least(1, pixels_per_step=pixels_per_step)
    count = order.shape[1]
    drawn = np.random.default_rng(0).integers(2**64, size=count, dtype=np.uint64).view(np.int64)
    places = order.cpu()
    sums = torch.from_numpy(drawn)[places.clamp(min=0)].cumsum(dim=1)
    ends = [*range(pixels_per_step, count, pixels_per_step), count]
    found = F.pad(sums[:, [end - 1 for end in ends]], (1, 0))
    return found.masked_fill(places[:, :1] < 0, 0)


def insertion_canvas(
    images: Tensor,
    *,
    size: int = 11,
    sigma: float = 5.0,
    kernel: Literal["gaussian", "rise"] = "gaussian",
) -> Tensor:
    """The blurred images from which insertion starts: a size×size Gaussian, zeros outside.

    The kernel sums to 1; pixels outside the image count as 0, in standardised images the mean
    colour, as in RISE. "gaussian" is cut at the window. "rise" is the kernel of the RISE authors'
    program, whose tails (to 4σ) are reflected into the window: at the defaults nearly a box.

    images: N×C×H×W; returns the same shape and dtype. Raises :class:`UsageError` for an even size,
    a σ that is not positive or another kernel.
    """
    _check_images(images)
    if size < 1 or size % 2 == 0 or not 0 < sigma < math.inf or kernel not in ("gaussian", "rise"):
        raise UsageError(
            "expected an odd size, a σ above 0 and the kernel 'gaussian' or 'rise', got size "
            f"{size}, σ {sigma} and {kernel!r}"
        )
    reach = size // 2 if kernel == "gaussian" else int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    tails = torch.exp(-0.5 * (offsets.double() / sigma).square())
    # Reflected at both ends, a peak in the middle repeats itself every `size` pixels.
    line = tails.new_zeros(size).index_add_(0, (offsets + size // 2) % size, tails)
    line = (line / line.sum()).to(images)
    flat = images.detach().reshape(-1, 1, *images.shape[-2:])
    blurred = F.conv2d(flat, line[None, None, :, None], padding=(size // 2, 0))
    blurred = F.conv2d(blurred, line[None, None, None, :], padding=(0, size // 2))
    return blurred.reshape(images.shape).contiguous(memory_format=_layout(images))


def class_probabilities(
    model: Model, images: Tensor, targets: Tensor, *, batch_size: int = 32, link: Link = "softmax"
) -> Tensor:
    """`p_c(x)`, the logits' probability by `link` in float64: the ends that curves share.

    images: N×C×H×W; targets: int64 (N). Returns float64 (N) in [0, 1], NaN where the logits are
    not finite, or for the softmax of a single class. Raises :class:`UsageError` where logits are
    not M×classes or a target is no class.
    """
    _check_images(images)
    _check_targets(targets, len(images))
    _at_least(1, batch_size=batch_size)
    found = torch.empty(len(images), dtype=torch.float64, device=images.device)
    with torch.no_grad():
        for at in range(0, len(images), batch_size):
            chunk = slice(at, at + batch_size)
            found[chunk] = _shares_of(model, images[chunk], targets[chunk], link)
    return found


def curve(
    model: Model,
    start: Tensor,
    end: Tensor,
    order: Tensor,
    targets: Tensor,
    *,
    pixels_per_step: int = PIXELS_PER_STEP,
    batch_size: int = 32,
    first: Tensor | None = None,
    last: Tensor | None = None,
    known: Tensor | None = None,
    link: Link = "softmax",
) -> Tensor:
    """`p_c` of `start` with its first 0, s, 2s, … pixels in `order` replaced by those of `end`.

    With s = pixels_per_step there are `steps = ⌈HW/s⌉` steps; the last may be shorter.

    Parameters
    ----------
    start, end: N×C×H×W; expanded tensors are not copied, so that one image can stand for several
        methods' orders. Points are built in one buffer of batch_size images.
    order: int64 (N×HW) from :func:`pixel_order`; a row of −1 gives a row of NaN and no pass.
    first, last: float64 (N), `p_c` of start and of end where they are known: with both, a curve
        costs `steps − 1` passes, else one more for each that is missing.
    known: float64 (N×(steps + 1)), `p_c` of points that another order has in common with this one
        (:func:`pixel_sets`), which are not run again; NaN where it is not known.
    link: what turns the model's logits into probabilities.

    Returns float64 (N×(steps + 1)) in [0, 1]. Raises :class:`UsageError` for shapes that do not
    fit, targets that are no class, probabilities outside [0, 1] and steps of less than one pixel.
    """
    _check_curve(start, end, order, targets)
    _at_least(1, pixels_per_step=pixels_per_step, batch_size=batch_size)
    steps = math.ceil(order.shape[1] / pixels_per_step)
    found = torch.full((len(start), steps + 1), torch.nan, dtype=torch.float64, device=start.device)
    if known is not None:
        found = _checked_points(known, found.shape).to(found)
    for place, given in ((0, first), (steps, last)):
        if given is not None:
            found[:, place] = _checked_ends(given, len(start))
    order, targets = order.to(start.device), targets.to(start.device)
    rows = (order[:, 0] >= 0).nonzero().flatten().tolist()
    columns = range(int(first is not None), steps + int(last is None))
    unknown = found.isnan().tolist()
    points = [(row, column) for row in rows for column in columns if unknown[row][column]]
    shape = (min(batch_size, len(points)), *start.shape[1:])
    buffer = start.new_empty(shape).contiguous(memory_format=_layout(start))
    images = _perturbed(start, end, order, [(row, k * pixels_per_step) for row, k in points])
    with torch.no_grad():
        for at in range(0, len(points), batch_size):
            chunk = points[at : at + batch_size]
            batch = buffer[: len(chunk)]
            for place, image in enumerate(itertools.islice(images, len(chunk))):
                batch[place] = image
            at_rows, at_columns = torch.tensor(chunk, device=start.device).unbind(1)
            found[at_rows, at_columns] = _shares_of(model, batch, targets[at_rows], link)
    return found.masked_fill(order[:, :1] < 0, torch.nan)


def deletion_curve(
    model: Model,
    images: Tensor,
    order: Tensor,
    targets: Tensor,
    *,
    baseline: Tensor | None = None,
    pixels_per_step: int = PIXELS_PER_STEP,
    batch_size: int = 32,
    first: Tensor | None = None,
    last: Tensor | None = None,
    known: Tensor | None = None,
    link: Link = "softmax",
) -> Tensor:
    """`p_c` as the most salient pixels are deleted (RISE, Petsiuk et al. 2018).

    Deleted pixels get `baseline` (C, in the images' units); None is 0, which standardised images
    call the mean colour. The last point is then the same for every image: one pass for all.
    Otherwise as :func:`curve`.
    """
    _check_images(images)
    channels = images.shape[1]
    if baseline is None:
        baseline = images.new_zeros(channels)
    if baseline.shape != (channels,):
        raise UsageError(f"expected a baseline of {channels} values, got {tuple(baseline.shape)}")
    empty = baseline.to(images)[None, :, None, None].expand(images.shape)
    return curve(
        model, images, empty, order, targets,
        pixels_per_step=pixels_per_step, batch_size=batch_size, first=first, last=last,
        known=known, link=link,
    )  # fmt: skip


def insertion_curve(
    model: Model,
    images: Tensor,
    order: Tensor,
    targets: Tensor,
    *,
    canvas: Tensor | None = None,
    pixels_per_step: int = PIXELS_PER_STEP,
    batch_size: int = 32,
    first: Tensor | None = None,
    last: Tensor | None = None,
    known: Tensor | None = None,
    link: Link = "softmax",
) -> Tensor:
    """`p_c` as the most salient pixels appear on a blurred image (RISE, Petsiuk et al. 2018).

    `canvas` (N×C×H×W) is what they appear on; None is :func:`insertion_canvas` of the images.
    Otherwise as :func:`curve`.
    """
    return curve(
        model, insertion_canvas(images) if canvas is None else canvas, images, order, targets,
        pixels_per_step=pixels_per_step, batch_size=batch_size, first=first, last=last,
        known=known, link=link,
    )  # fmt: skip


_COST = "⌈HW/224⌉ − 1 (223 at 224×224); the ends of the curve are shared between methods"


@metric(
    "insertion-auc",
    MetricInfo(
        check="insertion-deletion",
        title="Insertion AUC",
        unit="",
        direction="higher",
        paper="RISE (Petsiuk et al. 2018), insertion",
        formula="mean of p_c as pixels appear on the blurred image, most salient first",
        cost=_COST,
        needs="curves",
        high=1.0,
    ),
)
@metric(
    "deletion-auc",
    MetricInfo(
        check="insertion-deletion",
        title="Deletion AUC",
        unit="",
        direction="lower",
        paper="RISE (Petsiuk et al. 2018), deletion",
        formula="mean of p_c as pixels are deleted, most salient first",
        cost=_COST,
        needs="curves",
        high=1.0,
    ),
)
def curve_auc(curve: Tensor) -> Tensor:
    """`(Σ_k s_k − s_0/2 − s_steps/2)/steps`: the trapezoidal area over the unit interval (RISE).

    Every step weighs the same, as in RISE, also a last one that is shorter.

    curve: N×(steps + 1) probabilities. Returns float64 (N) in [0, 1], NaN for a curve with a NaN.
    Raises :class:`UsageError` for fewer than two points, or one outside [0, 1].
    """
    if curve.ndim != 2 or len(curve) == 0 or curve.shape[1] < 2 or _outside(curve):
        raise UsageError(
            "expected curves N×(steps + 1) of at least two probabilities in [0, 1], got shape "
            f"{tuple(curve.shape)}" + (f" with values {_span(curve)}" if curve.numel() else "")
        )
    return torch.trapezoid(curve.double(), dim=1) / (curve.shape[1] - 1)


def _layout(images: Tensor) -> torch.memory_format:
    """The memory format of images, which need not be copies of each other."""
    last = images[:1].is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _perturbed(
    start: Tensor, end: Tensor, order: Tensor, points: list[tuple[int, int]]
) -> Iterator[Tensor]:
    """For each (row, count) that row's image with `count` pixels replaced, all in one tensor.

    Each is made of the one before by replacing the pixels that are new in it.
    """
    for row, group in itertools.groupby(points, key=lambda point: point[0]):
        old, new, done = start[row].flatten(1).clone(), end[row].flatten(1), 0
        image = old.view(start.shape[1:])
        for _, count in group:
            pixels = order[row, done:count]
            old[:, pixels] = new[:, pixels]
            done = count
            yield image


def _shares_of(model: Model, images: Tensor, targets: Tensor, link: Link) -> Tensor:
    logits = model(images)
    if logits.ndim != 2 or len(logits) != len(images):
        raise UsageError(
            f"expected logits {len(images)}×classes from the model, got {tuple(logits.shape)}"
        )
    if int(targets.max()) >= logits.shape[1]:
        raise UsageError(f"target {int(targets.max())} is none of {logits.shape[1]} classes")
    return class_shares(logits, targets.to(logits.device), link=link).to(images.device)


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point() or images.numel() == 0:
        raise UsageError(
            f"expected floating images N×C×H×W, got {images.dtype} {tuple(images.shape)}"
        )


def _check_targets(targets: Tensor, count: int) -> None:
    if targets.dtype != torch.int64 or targets.shape != (count,) or bool((targets < 0).any()):
        raise UsageError(
            f"expected {count} targets ≥ 0 of int64, got {targets.dtype} {tuple(targets.shape)}"
        )


def _check_curve(start: Tensor, end: Tensor, order: Tensor, targets: Tensor) -> None:
    _check_images(start)
    if end.shape != start.shape or end.dtype != start.dtype:
        raise UsageError(
            "expected images and canvas of one shape and dtype, got "
            f"{start.dtype} {tuple(start.shape)} and {end.dtype} {tuple(end.shape)}"
        )
    _check_targets(targets, len(start))
    check_order(order, (len(start), start.shape[2] * start.shape[3]))


def _checked_ends(given: Tensor, count: int) -> Tensor:
    if given.shape != (count,) or not given.is_floating_point() or _outside(given):
        raise UsageError(
            f"expected the ends of curves as {count} probabilities in [0, 1], got {given.dtype} "
            f"{tuple(given.shape)} with values {_span(given)}"
        )
    return given.double()


def _checked_points(given: Tensor, shape: torch.Size) -> Tensor:
    if given.shape != shape or not given.is_floating_point() or _outside(given):
        raise UsageError(
            f"expected known points as probabilities in [0, 1], {tuple(shape)}, NaN where they are "
            f"not known; got {given.dtype} {tuple(given.shape)} with values {_span(given)}"
        )
    return given.clone()


def _outside(values: Tensor) -> bool:
    return bool(((values < 0) | (values > 1)).any())


def _span(values: Tensor) -> str:
    return f"{float(values.min()):g} … {float(values.max()):g}" if values.numel() else "none"


def _at_least(least: int, **options: int) -> None:
    for name, value in options.items():
        if not isinstance(value, int) or value < least:
            raise UsageError(f"{name} is a whole number of at least {least}, got {value!r}")
