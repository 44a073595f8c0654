"""Slow, literal float64 references of the methods that score masked images or feature maps.

The habits are those of :mod:`tests.references.cams`: loops over Python floats, one image, one
picture a forward pass, the raw map after ReLU. ``s`` is the score of the logits (the target's
logit where no ``score`` is given), ``p`` the same score of softmax(logits), ``M_k`` a mask,
``Up`` bilinear upsampling to H×W with half-pixel centres unless it says otherwise.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from camaudit.methods.noise import generator, normal

from .cams import (
    Grid,
    Network,
    Volume,
    _cells,
    _masked,
    _minmax_grid,
    _relu,
    _relu_weighted_sum,
    _softmax,
    _taps,
    _tensor,
    _upsample_grid,
    _volume,
    _zeros,
)
from .scoring import Score, blurred, chosen, probability_of, reference_picture, score_of


def _is_constant(grid: Grid) -> bool:
    """A grid that has no min-max form."""
    return max(_cells(grid)) == min(_cells(grid))


def _channel_mask(grid: Grid, size: tuple[int, int], normalise: str, align_corners: bool) -> Grid:
    """minmax(Up(A_k)) ("after") or Up(minmax(A_k)) ("before"); all zeros for a constant channel."""
    if _is_constant(grid):
        return _zeros(*size)
    if normalise == "after":
        return _minmax_grid(_upsample_grid(grid, size, align_corners))
    if normalise == "before":
        return _upsample_grid(_minmax_grid(grid), size, align_corners)
    raise ValueError(f"unknown normalise {normalise!r}")


def _map_of(weights: list[float], A: Volume) -> Tensor:
    """ReLU(Σ_k w_k A_k) over the channels that are not constant."""
    kept = [0.0 if _is_constant(grid) else weight for weight, grid in zip(weights, A, strict=True)]
    return _relu_weighted_sum(kept, A)


def _rectified(grid: Grid) -> Tensor:
    """ReLU cell by cell."""
    return _tensor([[_relu(value) for value in row] for row in grid])


# ---------------------------------------------------------------------------------------------
# ScoreCAM and its relatives


def scorecam(
    *,
    image: Tensor,
    activations: Tensor,
    target: int,
    model: Network,
    score: str | Score | None = "logit",
    objective: Score | None = None,
    normalise: str = "after",
    align_corners: bool = True,
    channel_softmax: bool = True,
    baseline: str = "none",
    sigma: float = 10.0,
    **_: object,
) -> Tensor:
    """ScoreCAM in all its published forms (Wang et al. 2020).

    ``score`` is the form, "logit" (s of the logits) or "probability" (s of their softmax), or a
    callable like ``objective``, which then means "logit". v_k = s(x ⊙ M_k) - s(x_b), x_b the
    baseline "black", "input" or "blur", or nothing ("none"); w = softmax_k(v) or, without
    ``channel_softmax``, v itself. L = ReLU(Σ_k w_k A_k). A constant channel has an empty mask: it
    takes part in the softmax and adds nothing to the map.
    """
    if score is None or callable(score):
        form, own = "logit", score if objective is None else objective
    else:
        form, own = score, objective
    measure = {"logit": score_of, "probability": probability_of}[form]
    A = _volume(activations)
    size = (image.shape[1], image.shape[2])
    without = reference_picture(image, baseline, sigma)
    offset = 0.0 if without is None else measure(model, without, target, own)
    values = []
    for grid in A:
        mask = _channel_mask(grid, size, normalise, align_corners)
        values.append(measure(model, _masked(image, mask), target, own) - offset)
    return _map_of(_softmax(values) if channel_softmax else values, A)


def _gate(activation: str) -> Callable[[float], float]:
    """The elementwise gate f of ScoreCAM++'s masks."""

    def sigmoid(v: float) -> float:
        return 1 / (1 + math.exp(-v)) if v >= 0 else math.exp(v) / (1 + math.exp(v))

    def softplus(v: float) -> float:
        return max(v, 0.0) + math.log1p(math.exp(-abs(v)))

    return {
        "tanh": math.tanh,
        "relu": _relu,
        "sigmoid": sigmoid,
        "mish": lambda v: v * math.tanh(softplus(v)),
        "swish": lambda v: v * sigmoid(v),
        "shipped": lambda v: sigmoid(_relu(v / 2)),
    }[activation]


def scorecam_plus_plus(
    *,
    image: Tensor,
    activations: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    baseline: str = "none",
    activation: str = "tanh",
    gate_map: bool = True,
    sigma: float = 10.0,
    **_: object,
) -> Tensor:
    """ScoreCAM++ at image resolution in all its published forms (arXiv 2404.19341).

    H_k = f(Up(A_k)), α_k = p(x ⊙ H_k) - p(x_b), x_b as in ScoreCAM. L = ReLU(Σ_k α_k H_k), or
    ReLU(Up(Σ_k α_k A_k)) where the gate is in the mask alone (``gate_map=False``, Table 6).
    """
    A = _volume(activations)
    size = (image.shape[1], image.shape[2])
    without = reference_picture(image, baseline, sigma)
    offset = 0.0 if without is None else probability_of(model, without, target, score)
    gate = _gate(activation)
    masks, weights = [], []
    for grid in A:
        mask = [[gate(value) for value in row] for row in _upsample_grid(grid, size, False)]
        masks.append(mask)
        weights.append(probability_of(model, _masked(image, mask), target, score) - offset)
    if gate_map:
        return _relu_weighted_sum(weights, masks)
    total = _zeros(len(A[0]), len(A[0][0]))
    for i in range(len(total)):
        for j in range(len(total[0])):
            total[i][j] = math.fsum(w * grid[i][j] for w, grid in zip(weights, A, strict=True))
    return _rectified(_upsample_grid(total, size, False))


def sscam(
    *,
    image: Tensor,
    activations: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    seed: int = 0,
    samples: int = 35,
    std: float = 2.0,
    noise: str = "mask",
    **_: object,
) -> Tensor:
    """SS-CAM (Wang et al. 2020, arXiv 2006.14255, equations 6-9).

    M_k = Up(minmax(A_k)); w = softmax_k of the mean over i = 0…n-1 of s(x ⊙ (M_k + std·ε_ki)),
    ε_ki (H×W) drawn at index (i, k) (noise "mask"), or of s((x + std·ε_i) ⊙ M_k), ε_i of the
    image's shape drawn at index i (noise "input").
    """
    if noise not in ("mask", "input"):
        raise ValueError(f"unknown noise {noise!r}")
    A = _volume(activations)
    height, width = image.shape[1], image.shape[2]
    pixels = image.to(torch.float64)
    means = []
    for k in range(len(A)):
        mask = _channel_mask(A[k], (height, width), "before", False)
        values = []
        for i in range(samples):
            if noise == "mask":
                epsilon = normal(seed, image, (i, k), (height, width)).tolist()
                rough = [
                    [mask[r][c] + std * epsilon[r][c] for c in range(width)] for r in range(height)
                ]
                picture = _masked(pixels, rough)
            else:
                epsilon = torch.from_numpy(normal(seed, image, i, tuple(image.shape)))
                picture = _masked(pixels + std * epsilon, mask)
            values.append(score_of(model, picture, target, score))
        means.append(math.fsum(values) / samples)
    return _map_of(_softmax(means), A)


def iscam(
    *,
    image: Tensor,
    activations: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    steps: int = 10,
    **_: object,
) -> Tensor:
    """IS-CAM: w = softmax_k((1/n) Σ_{i=1…n} s(x ⊙ (i/n)·M_k)), M_k = Up(minmax(A_k)).

    Naidu et al. 2020, arXiv 2010.03023. L = ReLU(Σ_k w_k A_k), constant channels as in ScoreCAM.
    """
    A = _volume(activations)
    means = []
    for grid in A:
        mask = _channel_mask(grid, (image.shape[1], image.shape[2]), "before", False)
        values = []
        for i in range(1, steps + 1):
            part = [[i / steps * value for value in row] for row in mask]
            values.append(score_of(model, _masked(image, part), target, score))
        means.append(math.fsum(values) / steps)
    return _map_of(_softmax(means), A)


def gscorecam(
    *,
    image: Tensor,
    activations: Tensor,
    gradients: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    channels: int = 300,
    **_: object,
) -> Tensor:
    """gScoreCAM: ScoreCAM over the channels of the largest mean gradient (Chen et al. 2022).

    Of equal means the lower channel comes first. The softmax is over the chosen channels alone;
    M_k = minmax(Up(A_k)) with aligned corners.
    """
    G = _volume(gradients)
    means = [math.fsum(_cells(grid)) / len(_cells(grid)) for grid in G]
    order = sorted(range(len(G)), key=lambda k: (-means[k], k))
    picked = sorted(order[:channels])
    return scorecam(
        image=image,
        activations=activations[picked],
        target=target,
        model=model,
        objective=score,
    )


# ---------------------------------------------------------------------------------------------
# masked feature maps


def _reciprocal(
    activations: Tensor,
    head: Network,
    target: int,
    score: Score | None,
    baseline: str,
    window: Callable[[int, int], float],
) -> Tensor:
    """ReLU(s(head(A ⊙ window at (i, j))) - offset) for every cell (i, j)."""
    A = activations.detach().to(torch.float64)
    channels, height, width = A.shape
    if baseline not in ("zero", "none"):
        raise ValueError(f"unknown baseline {baseline!r}")
    offset = 0.0
    if baseline == "zero":
        offset = score_of(head, torch.zeros_like(A), target, score)
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            part = torch.zeros_like(A)
            for a in range(height):
                for b in range(width):
                    for k in range(channels):
                        part[k, a, b] = A[k, a, b] * window(a - i, b - j)
            out[i][j] = _relu(score_of(head, part, target, score) - offset)
    return _tensor(out)


def reciprocam(
    *,
    activations: Tensor,
    target: int,
    head: Network,
    score: Score | None = None,
    baseline: str = "zero",
    **_: object,
) -> Tensor:
    """Recipro-CAM: the score of each cell's feature vector alone (Byun and Lee, arXiv 2209.14074).

    L_ij = ReLU(s(A kept at (i, j) only) - s(0)), or without the second term ("none").
    """

    def window(down: int, right: int) -> float:
        return 1.0 if (down, right) == (0, 0) else 0.0

    return _reciprocal(activations, head, target, score, baseline, window)


def reciprocam_gaussian(
    *,
    activations: Tensor,
    target: int,
    head: Network,
    score: Score | None = None,
    baseline: str = "zero",
    **_: object,
) -> Tensor:
    """Recipro-CAM with the features multiplied by [[1, 2, 1], [2, 4, 2], [1, 2, 1]]/4 at (i, j)."""

    def window(down: int, right: int) -> float:
        steps = {-1: 1.0, 0: 2.0, 1: 1.0}
        return steps.get(down, 0.0) * steps.get(right, 0.0) / 4.0

    return _reciprocal(activations, head, target, score, baseline, window)


# ---------------------------------------------------------------------------------------------
# RISE


def rise_mask(image: Tensor, *, seed: int, index: int, cells: int = 7, keep: float = 0.5) -> Grid:
    """Mask ``index``: a random cells×cells grid, upsampled, cropped to H×W at a random offset."""
    height, width = image.shape[1], image.shape[2]
    rows, columns = math.ceil(height / cells), math.ceil(width / cells)
    stream = generator(seed, image, index)
    draws = stream.random((cells, cells)).tolist()
    top, left = int(stream.integers(0, rows)), int(stream.integers(0, columns))
    grid = [[1.0 if value < keep else 0.0 for value in row] for row in draws]
    raised = _upsample_grid(grid, ((cells + 1) * rows, (cells + 1) * columns), False)
    return [row[left : left + width] for row in raised[top : top + height]]


def rise(
    *,
    image: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    seed: int = 0,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    **_: object,
) -> Tensor:
    """RISE: L = ReLU((1/(n·keep)) Σ_i p(x ⊙ M_i)·M_i) (Petsiuk et al. 2018, equations 4-6)."""
    height, width = image.shape[1], image.shape[2]
    total = _zeros(height, width)
    for index in range(masks):
        mask = rise_mask(image, seed=seed, index=index, cells=cells, keep=keep)
        p = probability_of(model, _masked(image, mask), target, score)
        for i in range(height):
            for j in range(width):
                total[i][j] += p * mask[i][j]
    return _rectified([[value / (masks * keep) for value in row] for row in total])


# ---------------------------------------------------------------------------------------------
# Opti-CAM


def _matrix(small: int, large: int) -> Tensor:
    """The large×small matrix of half-pixel bilinear upsampling along one axis."""
    matrix = torch.zeros(large, small, dtype=torch.float64)
    for index in range(large):
        for cell, weight in _taps(index, small, large, False):
            matrix[index, cell] += float(weight)
    return matrix


def opticam(
    *,
    image: Tensor,
    activations: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    steps: int = 100,
    learning_rate: float = 0.1,
    **_: object,
) -> Tensor:
    """Opti-CAM (Zhang et al. 2024, arXiv 2301.07002, equations 7-10).

    L(u) = Σ_k softmax(u)_k A_k; Adam (torch's defaults) raises s(x ⊙ minmax(Up(L(u)))) from u = 0.
    The map is ReLU(L(u*)), u* the first best of u_0 … u_n, n = ``steps``, every one of which is
    scored. A constant L(0) has no min-max form: ReLU(L(0)); a constant later L(u) ends the search.
    """
    A, x = activations.detach().to(torch.float64), image.detach().to(torch.float64)
    rows, columns = _matrix(A.shape[1], x.shape[1]), _matrix(A.shape[2], x.shape[2])
    u = torch.zeros(len(A), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([u], lr=learning_rate)

    def combined(vector: Tensor) -> Tensor:
        total = torch.zeros(A.shape[1:], dtype=torch.float64)
        for weight, channel in zip(vector.softmax(0), A, strict=True):
            total = total + weight * channel
        return total

    best, best_map = -math.inf, combined(u).detach()
    with torch.enable_grad():
        for step in range(steps + 1):
            L = combined(u)
            if bool(L.max() == L.min()):
                break
            raised = rows @ L @ columns.T
            mask = (raised - raised.min()) / (raised.max() - raised.min())
            objective = chosen(score, target)(model((x * mask)[None]).to(torch.float64))[0]
            if objective.item() > best:
                best, best_map = objective.item(), L.detach()
            if step < steps:
                (gradient,) = torch.autograd.grad(-objective, u)
                u.grad = gradient
                optimiser.step()
    return _rectified(best_map.tolist())


# ---------------------------------------------------------------------------------------------
# Group-CAM


def _denoised(grid: Grid, percentile: float) -> Grid:
    """Values below the percentile (linear interpolation between order statistics) set to 0."""
    ordered = sorted(Fraction(value) for value in _cells(grid))
    position = Fraction(percentile) / 100 * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    threshold = ordered[low] + (position - low) * (ordered[high] - ordered[low])
    return [[value if Fraction(value) >= threshold else 0.0 for value in row] for row in grid]


def _groups(count: int, groups: int) -> list[list[int]]:
    """0…count-1 in ``groups`` runs in order; the first (count mod groups) are one longer."""
    sizes = [count // groups + (1 if g < count % groups else 0) for g in range(groups)]
    starts = [sum(sizes[:g]) for g in range(groups)]
    return [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]


def groupcam(
    *,
    image: Tensor,
    activations: Tensor,
    gradients: Tensor,
    target: int,
    model: Network,
    score: Score | None = None,
    groups: int = 32,
    percentile: float = 70,
    sigma: float = 10.0,
    **_: object,
) -> Tensor:
    """Group-CAM at image resolution (Zhang, Rao and Yang 2021, arXiv 2103.13859).

    w_k = mean_ij G_kij; the mask of a group of neighbouring channels is minmax(Up(·)) of
    ReLU(Σ_{k∈g} w_k A_k) without what lies below the percentile; x' = blur(x);
    r_g = p(x ⊙ M_g + x' ⊙ (1 - M_g)) - p(x'); L = ReLU(Σ_g ReLU(r_g)·M_g).
    """
    A, G = _volume(activations), _volume(gradients)
    size = (image.shape[1], image.shape[2])
    smooth = blurred(image, sigma)
    floor = probability_of(model, smooth, target, score)
    weights, masks = [], []
    for members in _groups(len(A), min(groups, len(A))):
        means = [math.fsum(_cells(G[k])) / len(_cells(G[k])) for k in members]
        part = _relu_weighted_sum(means, [A[k] for k in members]).tolist()
        denoised = _denoised(part, percentile)
        if _is_constant(denoised):
            continue
        mask = _minmax_grid(_upsample_grid(denoised, size, False))
        rest = [[1.0 - value for value in row] for row in mask]
        picture = _masked(image, mask) + _masked(smooth, rest)
        weights.append(_relu(probability_of(model, picture, target, score) - floor))
        masks.append(mask)
    return _relu_weighted_sum(weights, masks) if masks else _tensor(_zeros(*size))


PERTURBATION_REFERENCES: dict[str, Callable[..., Tensor]] = {
    "scorecam": scorecam,
    "scorecam++": scorecam_plus_plus,
    "sscam": sscam,
    "iscam": iscam,
    "gscorecam": gscorecam,
    "reciprocam": reciprocam,
    "reciprocam-gaussian": reciprocam_gaussian,
    "rise": rise,
    "opticam": opticam,
    "groupcam": groupcam,
}
