"""Slow, literal float64 references of the confidence metrics, for tests.

Everything is of ONE image: an image is C×H×W, a map H×W, a region a boolean H×W mask. Only ``win``,
``adcc_of_means``, ``kendalls_w`` and ``holm`` see several images, methods or tests at once. Numbers
are plain floats or float64 arrays; a figure that is not defined is NaN. ``m`` is the min-max
normalised map, which a constant map and a map that is not finite do not have.

``model`` takes M×C×H×W float64 images to M×K logits. A model that returns probabilities p can be
handed in as log p, since softmax(log p) = p. It always gets one image at a time.

Every random number comes from outside, or from ``tie_break`` alone: noise and perturbations are
arguments.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Model = Callable[[Tensor], Tensor]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 lie outside

NAN = math.nan
BORDERS = ("zeros", "reflect", "replicate")
KERNELS = ("gaussian", "rise")
PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


# ---------------------------------------------------------------------------------------------
# what they have in common


def cells(map_: Array) -> list[float]:
    """The map's values in reading order."""
    return [float(map_[i, j]) for i in range(map_.shape[0]) for j in range(map_.shape[1])]


def says_nothing(map_: Array) -> bool:
    """Whether the map has no order of pixels: constant, or not finite somewhere."""
    values = cells(map_)
    return not all(math.isfinite(v) for v in values) or min(values) == max(values)


def minmax(map_: Array) -> Array:
    """m = (map − min) / (max − min), H×W; NaN everywhere where ``says_nothing``."""
    out = np.full(map_.shape, NAN)
    if says_nothing(map_):
        return out
    low, high = min(cells(map_)), max(cells(map_))
    for i in range(map_.shape[0]):
        for j in range(map_.shape[1]):
            out[i, j] = (float(map_[i, j]) - low) / (high - low)
    return out


def logits_of(model: Model, image: Array) -> list[float]:
    """The logits of one image, which is sent through the model alone."""
    with torch.no_grad():
        out = model(torch.from_numpy(np.array(image, dtype=np.float64))[None])
    return [float(v) for v in out[0]]


def probability_of(model: Model, image: Array, target: int) -> float:
    """p_c: exp(s_c) / Σ_k exp(s_k)."""
    logits = logits_of(model, image)
    powers = [math.exp(v - max(logits)) for v in logits]
    return powers[target] / math.fsum(powers)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if len(values) else NAN


# ---------------------------------------------------------------------------------------------
# confidence: Average Drop, Increase in Confidence, Win, Average Drop in Logit


def masked_images(
    images: Array, weights: Array, *, baseline: Sequence[float] | None = None
) -> Array:
    """x⊙w + (1 − w)⊙b of one standardised image; b is 0 (the mean colour), or one value a channel.

    Multiplying the raw image is b = −mean/std: (std·x + mean)·w, standardised again, is that.
    """
    out = np.empty(images.shape, dtype=np.float64)
    for c in range(images.shape[0]):
        b = 0.0 if baseline is None else float(baseline[c])
        for i in range(images.shape[1]):
            for j in range(images.shape[2]):
                w = float(weights[i, j])
                out[c, i, j] = float(images[c, i, j]) * w + (1.0 - w) * b
    return out


def average_drop(full: float, masked: float) -> float:
    """100 · max(0, Y − O) / Y in percent (ScoreCAM++, eq. 13); NaN for Y = 0.

    Eq. 13 has no 1/N as printed; the text below it averages over the images, which is for the
    caller to do.
    """
    if math.isnan(full) or math.isnan(masked) or full == 0:
        return NAN
    return 100.0 * max(0.0, full - masked) / full


def increase_in_confidence(full: float, masked: float) -> float:
    """100 if Y < O, else 0 (ScoreCAM++, eq. 14); equal confidences are no increase."""
    if math.isnan(full) or math.isnan(masked):
        return NAN
    return 100.0 if full < masked else 0.0


def win(drops: Sequence[Sequence[float]]) -> list[list[float]]:
    """Percent of each image that each method wins, M×N (ScoreCAM++, A.3): the least drop takes it.

    Methods of exactly the same least drop share the 100. A method whose drop is NaN does not take
    part and gets NaN; an image with fewer than two that do is NaN for all.
    """
    if len(drops) < 2:
        raise ValueError(f"a win is one among several methods, not {len(drops)}")
    out = [[NAN] * len(row) for row in drops]
    for n in range(len(drops[0])):
        taking_part = [k for k in range(len(drops)) if not math.isnan(drops[k][n])]
        if len(taking_part) < 2:
            continue
        least = min(drops[k][n] for k in taking_part)
        winners = [k for k in taking_part if drops[k][n] == least]
        for k in taking_part:
            out[k][n] = 100.0 / len(winners) if k in winners else 0.0
    return out


def drop_in_logit(full: float, without: float) -> float:
    """s_c(x) − s_c(x⊙(1 − m)) (ScoreCAM++, section 6.4 and Table 7)."""
    return full - without


# ---------------------------------------------------------------------------------------------
# ADCC


def pearson(first: Array, second: Array) -> float:
    """Σ(a − ā)(b − b̄) / √(Σ(a − ā)² Σ(b − b̄)²) over the pixels; NaN if one says nothing."""
    if says_nothing(first) or says_nothing(second):
        return NAN
    a, b = cells(minmax(first)), cells(minmax(second))  # no square of theirs is too small to see
    a = [v - _mean(a) for v in a]
    b = [v - _mean(b) for v in b]
    together = math.fsum(v * w for v, w in zip(a, b, strict=True))
    alone = math.sqrt(math.fsum(v * v for v in a)) * math.sqrt(math.fsum(w * w for w in b))
    return together / alone


def coherency(again: Array, maps: Array) -> float:
    """(Pearson(CAM(x⊙m), m) + 1) / 2 (Poppi et al. 2021); no scaling of either map changes it."""
    return (pearson(again, maps) + 1.0) / 2.0


def map_complexity(maps: Array) -> float:
    """‖m‖₁ / (HW) (Poppi et al. 2021)."""
    return NAN if says_nothing(maps) else _mean([abs(v) for v in cells(minmax(maps))])


def adcc(coherency: float, complexity: float, drop: float) -> float:
    """3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)), drop as a share (Poppi et al. 2021).

    A part of 0 gives 0, the limit; a part that is NaN gives NaN, also beside a 0.
    """
    parts = [coherency, 1.0 - complexity, 1.0 - drop]
    if any(math.isnan(part) for part in parts):
        return NAN
    if any(part == 0 for part in parts):
        return 0.0
    return 3.0 / math.fsum(1.0 / part for part in parts)


def adcc_of_means(
    coherency: Sequence[float], complexity: Sequence[float], drop: Sequence[float]
) -> float:
    """``adcc`` of the three means, over the images on which all three are defined."""
    rows = [
        row
        for row in zip(coherency, complexity, drop, strict=True)
        if not any(math.isnan(value) for value in row)
    ]
    return adcc(
        _mean([r[0] for r in rows]), _mean([r[1] for r in rows]), _mean([r[2] for r in rows])
    )


# ---------------------------------------------------------------------------------------------
# sparsity


def sparseness(maps: Array) -> float:
    """The Gini index (Chalasani et al. 2020) of the raw map, v_1 ≤ … ≤ v_d its values:

    1 − 2 Σ_k v_k/‖v‖₁ · (d − k + ½)/d, in [0, 1 − 1/d]; 0 for equal values, NaN for an empty map.
    """
    values = sorted(abs(v) for v in cells(maps))
    total = math.fsum(values)
    if not math.isfinite(total) or total == 0:
        return NAN
    d = len(values)
    return 1.0 - 2.0 * math.fsum(values[k - 1] / total * (d - k + 0.5) / d for k in range(1, d + 1))


def entropy(maps: Array) -> float:
    """−Σ_i P_i ln P_i, P_i = |v_i|/‖v‖₁, in nats (Bhatt et al. 2020, complexity); 0 ln 0 = 0."""
    values = [abs(v) for v in cells(maps)]
    total = math.fsum(values)
    if not math.isfinite(total) or total == 0:
        return NAN
    return -math.fsum(v / total * math.log(v / total) for v in values if v > 0)


# ---------------------------------------------------------------------------------------------
# insertion and deletion


def tie_break(pixels: int, seed: int) -> list[int]:
    """The pixels in the order in which equal ones come, the same for every map of that size."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return [int(pixel) for pixel in generator.permutation(pixels)]


def pixel_order(
    maps: Array, *, seed: int = 0, permutation: Sequence[int] | None = None
) -> tuple[list[int], float]:
    """Pixels (i·W + j) by falling value, and the share of pixels that share theirs with another.

    Equal ones come in the order of ``permutation``, ``tie_break(HW, seed)`` if there is none.
    """
    values = cells(maps)
    if not all(math.isfinite(v) for v in values):
        raise ValueError("a map that is not finite has no order")
    drawn = tie_break(len(values), seed) if permutation is None else list(permutation)
    place = {pixel: turn for turn, pixel in enumerate(drawn)}
    order = sorted(range(len(values)), key=lambda pixel: (-values[pixel], place[pixel]))
    tied = [v for v in values if values.count(v) > 1]
    return order, len(tied) / len(values)


def gaussian_kernel(size: int, sigma: float, kernel: str = "gaussian") -> list[float]:
    """One axis of the blur.

    ``"gaussian"`` is exp(−t²/(2σ²)) cut to ``size`` and divided by its sum. ``"rise"`` is what
    RISE's program uses: a unit impulse in the middle of ``size`` cells, filtered with a Gaussian
    that is cut at 4σ and mirrored at both ends, so that the tails are folded back.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}")
    half = size // 2
    reach = half if kernel == "gaussian" else int(4 * sigma + 0.5)
    tail = [math.exp(-(t * t) / (2 * sigma * sigma)) for t in range(-reach, reach + 1)]
    total = math.fsum(tail)
    out = [0.0] * size
    for t in range(-reach, reach + 1):
        cell = (half + t) % (2 * size)  # … c b a | a b c | c b a …
        out[cell if cell < size else 2 * size - 1 - cell] += tail[t + reach] / total
    return out


def _outside(index: int, length: int, border: str) -> int | None:
    """The cell that stands for ``index``; None where there is only a 0."""
    if 0 <= index < length:
        return index
    if border == "zeros":
        return None
    if border == "replicate":
        return 0 if index < 0 else length - 1
    if border != "reflect":
        raise ValueError(f"unknown border {border!r}")
    if length == 1:
        return 0
    index = abs(index) % (2 * length - 2)  # … c b | a b c | b a …
    return index if index < length else 2 * length - 2 - index


def insertion_canvas(
    images: Array,
    *,
    size: int = 11,
    sigma: float = 5.0,
    border: str = "zeros",
    kernel: str = "gaussian",
) -> Array:
    """The image blurred by a size×size Gaussian (Petsiuk et al. 2018: 11×11, σ = 5, 0 outside)."""
    line = gaussian_kernel(size, sigma, kernel)
    channels, height, width = images.shape
    out = np.empty(images.shape, dtype=np.float64)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                terms = []
                for a in range(size):
                    for b in range(size):
                        y = _outside(i + a - size // 2, height, border)
                        x = _outside(j + b - size // 2, width, border)
                        if y is not None and x is not None:
                            terms.append(line[a] * line[b] * float(images[c, y, x]))
                out[c, i, j] = math.fsum(terms)
    return out


def curve(
    model: Model, start: Array, finish: Array, order: Sequence[int], target: int, per_step: int
) -> list[float]:
    """p_c after 0, 1, … ⌈HW / per_step⌉ steps, each taking the next pixels over from ``finish``."""
    width = start.shape[2]
    steps = math.ceil(len(order) / per_step)
    out = []
    for step in range(steps + 1):
        picture = np.array(start, dtype=np.float64)
        for pixel in order[: step * per_step]:
            picture[:, pixel // width, pixel % width] = finish[:, pixel // width, pixel % width]
        out.append(probability_of(model, picture, target))
    return out


def deletion_curve(
    model: Model,
    images: Array,
    maps: Array,
    target: int,
    *,
    seed: int = 0,
    pixels_per_step: int = 224,
    end: Array | None = None,
    permutation: Sequence[int] | None = None,
) -> list[float]:
    """RISE's deletion: from the image to ``end`` (0), the highest pixels first.

    A map that says nothing has no order of pixels: NaN all along.
    """
    if says_nothing(maps):
        return [NAN] * (math.ceil(maps.size / pixels_per_step) + 1)
    finish = np.zeros(images.shape) if end is None else end
    order, _ = pixel_order(maps, seed=seed, permutation=permutation)
    return curve(model, images, finish, order, target, pixels_per_step)


def insertion_curve(
    model: Model,
    images: Array,
    maps: Array,
    target: int,
    *,
    seed: int = 0,
    pixels_per_step: int = 224,
    start: Array | None = None,
    permutation: Sequence[int] | None = None,
) -> list[float]:
    """RISE's insertion: from ``start`` (the blurred image) to the image, the highest pixels first.

    A map that says nothing has no order of pixels: NaN all along.
    """
    if says_nothing(maps):
        return [NAN] * (math.ceil(maps.size / pixels_per_step) + 1)
    canvas = insertion_canvas(images) if start is None else start
    order, _ = pixel_order(maps, seed=seed, permutation=permutation)
    return curve(model, canvas, images, order, target, pixels_per_step)


def curve_auc(curve: Sequence[float]) -> float:
    """(Σ p − p_first/2 − p_last/2) / steps (RISE): a last, shorter step weighs as much as any."""
    terms = [(curve[k] + curve[k + 1]) / 2 for k in range(len(curve) - 1)]
    return _mean(terms)


# ---------------------------------------------------------------------------------------------
# ROAD


def road_impute(image: Array, removed: Mask, *, noise: Array | None = None) -> Array:
    """Noisy linear imputation (Rong et al. 2022): every removed pixel is its neighbours' mean.

    The four direct neighbours weigh 1/6 and the four diagonal ones 1/12, removed or not; what lies
    outside the image has no weight, and the others' are divided by their sum. ``noise`` (C×H×W) is
    added where a pixel was removed, after all of them are solved for.
    """
    channels, height, width = image.shape
    unknown = [(i, j) for i in range(height) for j in range(width) if removed[i, j]]
    if len(unknown) == height * width:
        raise ValueError("no pixel is left to impute from")
    out = np.array(image, dtype=np.float64)
    for c in range(channels):
        system = np.zeros((len(unknown), len(unknown)))
        known = np.zeros(len(unknown))
        for row, (i, j) in enumerate(unknown):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    y, x = i + di, j + dj
                    if (di, dj) == (0, 0) or not (0 <= y < height and 0 <= x < width):
                        continue
                    weight = 1 / 6 if di == 0 or dj == 0 else 1 / 12
                    system[row, row] += weight
                    if removed[y, x]:
                        system[row, unknown.index((y, x))] -= weight
                    else:
                        known[row] += weight * float(image[c, y, x])
        solved = np.linalg.solve(system, known) if unknown else known
        for row, (i, j) in enumerate(unknown):
            out[c, i, j] = float(solved[row]) + (0.0 if noise is None else float(noise[c, i, j]))
    return out


def road_removed(
    order: Sequence[int], percentile: int, size: tuple[int, int], *, most: bool
) -> Mask:
    """The ⌊percentile·HW/100⌋ pixels that go: the first of the order (MoRF), or its last (LeRF)."""
    count = percentile * len(order) // 100
    gone = order[:count] if most else order[len(order) - count :]
    out = np.zeros(size, dtype=bool)
    for pixel in gone:
        out[pixel // size[1], pixel % size[1]] = True
    return out


def road_scores(
    model: Model,
    images: Array,
    maps: Array,
    target: int,
    *,
    most: bool,
    percentiles: Sequence[int] = PERCENTILES,
    seed: int = 0,
    noise: Sequence[Array] | None = None,
    permutation: Sequence[int] | None = None,
) -> list[float]:
    """p_c of the imputed image at each percentile; ``noise`` is one C×H×W array for each."""
    if says_nothing(maps):
        return [NAN] * len(percentiles)
    order, _ = pixel_order(maps, seed=seed, permutation=permutation)
    out = []
    for turn, percentile in enumerate(percentiles):
        removed = road_removed(order, percentile, (maps.shape[0], maps.shape[1]), most=most)
        added = None if noise is None else noise[turn]
        out.append(probability_of(model, road_impute(images, removed, noise=added), target))
    return out


def road_morf(scores: Sequence[float]) -> float:
    """The mean of ``road_scores(most=True)`` over the percentiles: the faithful map's is low."""
    return _mean(scores)


def road_lerf(scores: Sequence[float]) -> float:
    """The mean of ``road_scores(most=False)`` over the percentiles: the faithful map's is high."""
    return _mean(scores)


def road(morf: Sequence[float], lerf: Sequence[float]) -> float:
    """(LeRF − MoRF) / 2, both averaged over the percentiles."""
    return (road_lerf(lerf) - road_morf(morf)) / 2.0


# ---------------------------------------------------------------------------------------------
# localisation


def boxes_to_mask(boxes: Sequence[Box], size: tuple[int, int]) -> Mask:
    """The pixels in any of the boxes: x0 ≤ j < x1 and y0 ≤ i < y1; ``size`` is (H, W)."""
    out = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        if not (0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0]):
            raise ValueError(f"box {(x0, y0, x1, y1)} is empty or reaches out of {size}")
        for i in range(size[0]):
            for j in range(size[1]):
                if x0 <= j < x1 and y0 <= i < y1:
                    out[i, j] = True
    return out


def pixels_of(mask: Mask) -> list[tuple[int, int]]:
    """(row, column) of every pixel of a mask in reading order."""
    return [(i, j) for i in range(mask.shape[0]) for j in range(mask.shape[1]) if mask[i, j]]


def pointing_game(maps: Array, regions: Mask, *, tolerance: float = 0) -> float:
    """Share of the map's highest pixels that hit the region (Zhang et al. 2018); 1 or 0 for one.

    A hit lies at most ``tolerance`` from a pixel of the region, √(di² + dj²) between centres.
    """
    region = pixels_of(regions)
    if says_nothing(maps) or not region:
        return NAN
    highest = max(cells(maps))
    hits = []
    for i, j in pixels_of(np.array(maps == highest)):
        near = any((i - y) ** 2 + (j - x) ** 2 <= tolerance**2 for y, x in region)
        hits.append(1.0 if near else 0.0)
    return _mean(hits)


def energy_pointing_game(maps: Array, regions: Mask) -> float:
    """Σ map in the region / Σ map (Score-CAM, Wang et al. 2020), of the raw map."""
    total = math.fsum(cells(maps))
    region = pixels_of(regions)
    if not math.isfinite(total) or total == 0 or not region:
        return NAN
    return math.fsum(float(maps[i, j]) for i, j in region) / total


def overlap(first: Mask, second: Mask) -> float:
    """Pixels in both / pixels in either."""
    one, other = set(pixels_of(first)), set(pixels_of(second))
    return len(one & other) / len(one | other)


def above(maps: Array, threshold: float) -> Mask:
    """{map ≥ threshold · max} of the raw map (Zhou et al. 2016: 20 %)."""
    return np.array(maps >= threshold * max(cells(maps)), dtype=bool)


def iou(maps: Array, regions: Mask, *, threshold: float = 0.2) -> float:
    """Intersection over union of {map ≥ threshold · max} and the region."""
    if says_nothing(maps) or not pixels_of(regions):
        return NAN
    return overlap(above(maps, threshold), regions)


def largest_component(mask: Mask, *, connectivity: int = 4) -> Mask:
    """The connected part with the most pixels; of equal ones the first in reading order."""
    if connectivity not in (4, 8):
        raise ValueError(f"pixels touch 4 or 8 others, not {connectivity}")
    left = pixels_of(mask)
    best: list[tuple[int, int]] = []
    while left:
        part = [left.pop(0)]
        for i, j in part:  # it grows while it is walked
            for y, x in list(left):
                dy, dx = abs(i - y), abs(j - x)
                if max(dy, dx) == 1 and (connectivity == 8 or dy + dx == 1):
                    left.remove((y, x))
                    part.append((y, x))
        if len(part) > len(best):
            best = part
    out = np.zeros(mask.shape, dtype=bool)
    for i, j in best:
        out[i, j] = True
    return out


def tight_box(mask: Mask) -> Mask:
    """The smallest box around a mask that is not empty, filled."""
    pixels = pixels_of(mask)
    rows, columns = [i for i, _ in pixels], [j for _, j in pixels]
    box = (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
    return boxes_to_mask([box], (mask.shape[0], mask.shape[1]))


def box_iou(maps: Array, regions: Mask, *, threshold: float = 0.2, connectivity: int = 4) -> float:
    """The same of two boxes (Zhou et al. 2016): around the largest part above, and the region."""
    if says_nothing(maps) or not pixels_of(regions):
        return NAN
    part = largest_component(above(maps, threshold), connectivity=connectivity)
    return overlap(tight_box(part), tight_box(regions))


# ---------------------------------------------------------------------------------------------
# infidelity and sensitivity


def infidelity(
    model: Model,
    image: Array,
    maps: Array,
    target: int,
    perturbations: Sequence[Array],
    *,
    normalise: bool = False,
) -> float:
    """E_I[(IᵀΦ − (f(x) − f(x − I)))²] (Yeh et al. 2019, eq. 1), the mean over ``perturbations``.

    Φ is the raw map in every channel, so IᵀΦ = Σ_cij I_cij·map_ij; f is the target's logit.
    ``normalise`` multiplies Φ by β = E[IᵀΦ·Δ] / E[(IᵀΦ)²], the scale that makes the figure least
    (any β is, where IᵀΦ is always 0).
    """
    if not all(math.isfinite(v) for v in cells(maps)):
        return NAN
    whole = logits_of(model, image)[target]
    told, changed = [], []
    for step in perturbations:
        told.append(math.fsum(v for c in step for v in cells(c * maps)))
        changed.append(whole - logits_of(model, image - step)[target])
    beta = 1.0
    if normalise and any(t != 0 for t in told):
        both = math.fsum(t * d for t, d in zip(told, changed, strict=True))
        beta = both / math.fsum(t * t for t in told)
    return _mean([(beta * t - d) ** 2 for t, d in zip(told, changed, strict=True)])


def max_sensitivity(
    explainer: Callable[[Tensor], Tensor],
    image: Array,
    perturbations: Sequence[Array],
    *,
    relative: bool = True,
) -> float:
    """max_δ ‖Φ(x + δ) − Φ(x)‖₂ over ``perturbations`` (Yeh et al. 2019, eq. 2–3).

    ``relative`` divides by ‖Φ(x)‖₂, which an empty map does not allow: NaN. The explainer takes
    N×C×H×W images to N×H×W raw maps; it gets one image at a time.
    """

    def explained(picture: Array) -> list[float]:
        got = explainer(torch.from_numpy(np.array(picture, dtype=np.float64))[None])[0]
        return cells(np.array(got.detach().numpy(), dtype=np.float64))

    def norm(values: list[float]) -> float:
        return math.sqrt(math.fsum(v * v for v in values))

    before = explained(image)
    all_maps = [explained(image + step) for step in perturbations]
    if not all(math.isfinite(v) for one in [before, *all_maps] for v in one):
        return NAN
    if relative and norm(before) == 0:
        return NAN
    most = max(norm([b - a for a, b in zip(before, one, strict=True)]) for one in all_maps)
    return most / norm(before) if relative else most


# ---------------------------------------------------------------------------------------------
# comparisons


def kendalls_w(rank_rows: Sequence[Sequence[float]]) -> float:
    """Kendall's coefficient of concordance of m rows of n ranks (ties have their average rank).

    W = (12 Σ_i R_i² − 3 m² n (n + 1)²) / (m² n (n² − 1) − m Σ_j T_j), R_i the sum of column i and
    T_j = Σ (t³ − t) over row j's groups of t equal ranks. NaN for fewer than two rows or columns,
    and where every row ties all of its columns.
    """
    m = len(rank_rows)
    n = len(rank_rows[0]) if m else 0
    if m < 2 or n < 2:
        return NAN
    squares = math.fsum(math.fsum(row[i] for row in rank_rows) ** 2 for i in range(n))
    ties = math.fsum(
        list(row).count(value) ** 3 - list(row).count(value)
        for row in rank_rows
        for value in set(row)
    )
    below = m * m * n * (n * n - 1) - m * ties
    return NAN if below == 0 else (12 * squares - 3 * m * m * n * (n + 1) ** 2) / below


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): max over j ≤ k of min(1, (m − j + 1)·p_(j)).

    p_(1) ≤ … ≤ p_(m) are the p-values in order. A test without one (NaN) stays without, and
    does not count among the m.
    """
    tested = [k for k in range(len(p_values)) if not math.isnan(p_values[k])]
    ordered = sorted(tested, key=lambda k: p_values[k])
    out = [NAN] * len(p_values)
    for turn, k in enumerate(ordered):
        steps = [(len(ordered) - j) * p_values[ordered[j]] for j in range(turn + 1)]
        out[k] = min(1.0, max(steps))
    return out
