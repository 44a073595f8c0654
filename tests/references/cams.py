"""Slow, literal float64 references of the CAM saliency methods, for tests.

Every sum over channels ``k`` and cells ``i, j`` is an explicit loop over Python floats (float64),
written from the formulas alone. Nothing here is meant to be fast, and nothing here is shared with
the code under test. A reference takes keyword arguments for *one* image and returns the raw map
after ReLU, never min-max shifted.

Notation: ``A`` activations (K×h×w), ``G = d s_c / d A``, ``s_c`` the logit of class ``c``,
``p_c`` its softmax probability, ``Up`` bilinear upsampling to the image's H×W.
"""

import math
from collections.abc import Callable, Collection
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

Grid = list[list[float]]
Volume = list[Grid]
Network = Callable[[Tensor], Tensor]


# ---------------------------------------------------------------------------------------------
# small tools


def _volume(values: Tensor) -> Volume:
    """The (K, h, w) tensor as nested lists of Python floats."""
    return values.detach().to(dtype=torch.float64, device="cpu").tolist()


def _tensor(grid: Grid) -> Tensor:
    """A grid of Python floats as a float64 tensor."""
    return torch.tensor(grid, dtype=torch.float64)


def _zeros(height: int, width: int) -> Grid:
    """A height×width grid of zeros."""
    return [[0.0 for _ in range(width)] for _ in range(height)]


def _cells(grid: Grid) -> list[float]:
    """The cells of a grid in row order."""
    return [value for row in grid for value in row]


def _relu(value: float) -> float:
    """ReLU(v) = max(v, 0)."""
    return value if value > 0.0 else 0.0


def _relu_weighted_sum(weights: list[float], maps: Volume) -> Tensor:
    """L_ij = ReLU(Σ_k w_k M_kij)."""
    height, width = len(maps[0]), len(maps[0][0])
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for k in range(len(maps)):
                total += weights[k] * maps[k][i][j]
            out[i][j] = _relu(total)
    return _tensor(out)


def _softmax(values: list[float]) -> list[float]:
    """exp(v_k) / Σ_q exp(v_q), with the largest value taken off first."""
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    total = math.fsum(powers)
    return [power / total for power in powers]


def _logits(network: Network, single: Tensor) -> list[float]:
    """The logits of one input, which is sent through the network alone (n = 1)."""
    with torch.no_grad():
        return network(single.unsqueeze(0)).to(torch.float64)[0].tolist()


def _masked(image: Tensor, mask: Grid) -> Tensor:
    """x ⊙ M: every colour channel of the image times the mask."""
    channels, height, width = image.shape
    out = torch.zeros(channels, height, width, dtype=torch.float64)
    source = _volume(image)
    for q in range(channels):
        for i in range(height):
            for j in range(width):
                out[q, i, j] = source[q][i][j] * mask[i][j]
    return out


# ---------------------------------------------------------------------------------------------
# upsampling, normalisation, μ and the scored zone


def _position(index: int, small: int, large: int, align_corners: bool) -> Fraction:
    """Where output cell ``index`` of ``large`` lies on an input axis of ``small`` cells, exactly.

    Half-pixel centres: (index + 1/2)·small/large - 1/2, and not below 0.
    Aligned corners: index·(small - 1)/(large - 1), and 0 where large = 1.
    """
    if align_corners:
        return Fraction(index * (small - 1), large - 1) if large > 1 else Fraction(0)
    return max(Fraction(2 * index + 1, 2) * Fraction(small, large) - Fraction(1, 2), Fraction(0))


def _taps(index: int, small: int, large: int, align_corners: bool) -> list[tuple[int, Fraction]]:
    """The two (input cell, weight) pairs of one output cell: 1 - f at floor, f at the next.

    Past the last input cell the next cell is the last one itself.
    """
    position = _position(index, small, large, align_corners)
    low = min(math.floor(position), small - 1)
    high = min(low + 1, small - 1)
    part = position - low
    return [(low, 1 - part), (high, part)]


def _upsample_grid(grid: Grid, size: tuple[int, int], align_corners: bool) -> Grid:
    """Bilinear interpolation: Σ over the 2×2 taps of row weight · column weight · cell."""
    height, width = size
    rows = [_taps(i, len(grid), height, align_corners) for i in range(height)]
    columns = [_taps(j, len(grid[0]), width, align_corners) for j in range(width)]
    row_taps = [[(cell, float(weight)) for cell, weight in pair] for pair in rows]
    column_taps = [[(cell, float(weight)) for cell, weight in pair] for pair in columns]
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for a, row_weight in row_taps[i]:
                for b, column_weight in column_taps[j]:
                    total += row_weight * column_weight * grid[a][b]
            out[i][j] = total
    return out


def reference_upsample(map2d: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear upsampling of an (h, w) map to ``size``, from the formula."""
    grid = map2d.detach().to(torch.float64).tolist()
    return _tensor(_upsample_grid(grid, size, align_corners))


def _minmax_grid(grid: Grid) -> Grid:
    """(v - min) / (max - min); all zeros where max = min."""
    cells = _cells(grid)
    low, high = min(cells), max(cells)
    if low == high:
        return _zeros(len(grid), len(grid[0]))
    return [[(value - low) / (high - low) for value in row] for row in grid]


def reference_minmax(map2d: Tensor) -> Tensor:
    """(Λ - min Λ) / (max Λ - min Λ); a constant map becomes all zeros."""
    return _tensor(_minmax_grid(map2d.detach().to(torch.float64).tolist()))


def reference_mu(map2d: Tensor, zone_mask: Tensor, p: float) -> float | None:
    """μ_p = ‖Λ over the zone‖_p / ‖Λ‖_p; None for an all-zero or a non-finite map.

    See-through-walls paper, arXiv 2404.01964. The map is first divided by its largest magnitude,
    which cancels in the ratio and keeps the powers in range.
    """
    values = _cells(map2d.detach().to(torch.float64).tolist())
    inside = [bool(flag) for row in zone_mask.tolist() for flag in row]
    if len(values) != len(inside):
        raise ValueError("the map and the zone have different sizes")
    if not all(math.isfinite(value) for value in values):
        return None
    top = max(abs(value) for value in values)
    if top == 0.0:
        return None
    powers = [(abs(value) / top) ** p for value in values]
    part = math.fsum(power for power, flag in zip(powers, inside, strict=True) if flag)
    return part ** (1.0 / p) / math.fsum(powers) ** (1.0 / p)


def reference_bilinear_support(h: int, H: int) -> list[set[int]]:
    """For each of H output rows, the input rows (of h) with a non-zero half-pixel weight."""
    support = []
    for i in range(H):
        support.append({row for row, weight in _taps(i, h, H, align_corners=False) if weight != 0})
    return support


def reference_scored_rows(
    h: int, H: int, dead_cell_rows: Collection[int], dead_pixel_rows: Collection[int]
) -> list[int]:
    """The pixel rows that are dead *and* whose bilinear support lies wholly in dead cell rows."""
    support = reference_bilinear_support(h, H)
    scored = []
    for i in range(H):
        if i in dead_pixel_rows and all(row in dead_cell_rows for row in support[i]):
            scored.append(i)
    return scored


# ---------------------------------------------------------------------------------------------
# methods that need activations and gradients only


def cam(
    *, activations: Tensor, target: int, classifier_weight: Tensor | None, **_: object
) -> Tensor:
    """CAM: L = ReLU(Σ_k W_ck A_k), W the Linear after global average pooling (Zhou et al. 2016)."""
    if classifier_weight is None:
        raise ValueError("CAM needs the Linear that follows global average pooling")
    A = _volume(activations)
    weights = [float(classifier_weight[target, k]) for k in range(len(A))]
    return _relu_weighted_sum(weights, A)


def gradcam(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """GradCAM: w_k = (1/(h w)) Σ_ij G_kij, L = ReLU(Σ_k w_k A_k) (Selvaraju et al. 2017)."""
    A, G = _volume(activations), _volume(gradients)
    height, width = len(A[0]), len(A[0][0])
    weights = []
    for k in range(len(A)):
        total = 0.0
        for i in range(height):
            for j in range(width):
                total += G[k][i][j]
        weights.append(total / (height * width))
    return _relu_weighted_sum(weights, A)


def gradcam_plus_plus(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """GradCAM++ (Chattopadhyay et al. 2018).

    α_kij = G² / (2G² + G³·Σ_ab A_kab), 0 where G = 0; w_k = Σ_ij α_kij·ReLU(G_kij);
    L = ReLU(Σ_k w_k A_k). The quotient is taken in exact rational arithmetic, so the cube can
    neither underflow nor overflow. Cells with G < 0 are skipped: ReLU(G) = 0 there. A denominator
    that is exactly 0 (G·ΣA = -2) has no value and raises ZeroDivisionError.
    """
    A, G = _volume(activations), _volume(gradients)
    height, width = len(A[0]), len(A[0][0])
    weights = []
    for k in range(len(A)):
        total_activation = Fraction(0)
        for i in range(height):
            for j in range(width):
                total_activation += Fraction(A[k][i][j])
        weight = 0.0
        for i in range(height):
            for j in range(width):
                if G[k][i][j] <= 0.0:
                    continue
                g = Fraction(G[k][i][j])
                alpha = g**2 / (2 * g**2 + g**3 * total_activation)
                weight += float(alpha * g)
        weights.append(weight)
    return _relu_weighted_sum(weights, A)


def xgradcam(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """XGradCAM: w_k = Σ_ij G_kij A_kij / Σ_ij A_kij, 0 where that sum is 0 (Fu et al. 2020)."""
    A, G = _volume(activations), _volume(gradients)
    height, width = len(A[0]), len(A[0][0])
    weights = []
    for k in range(len(A)):
        products, values = [], []
        for i in range(height):
            for j in range(width):
                products.append(G[k][i][j] * A[k][i][j])
                values.append(A[k][i][j])
        denominator = math.fsum(values)
        weights.append(0.0 if denominator == 0.0 else math.fsum(products) / denominator)
    return _relu_weighted_sum(weights, A)


def hirescam(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """HiResCAM: L = ReLU(Σ_k G_k ⊙ A_k) (Draelos and Carin 2020)."""
    A, G = _volume(activations), _volume(gradients)
    height, width = len(A[0]), len(A[0][0])
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for k in range(len(A)):
                total += G[k][i][j] * A[k][i][j]
            out[i][j] = _relu(total)
    return _tensor(out)


def layercam(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """LayerCAM: L = ReLU(Σ_k ReLU(G_k) ⊙ A_k) (Jiang et al. 2021)."""
    A, G = _volume(activations), _volume(gradients)
    height, width = len(A[0]), len(A[0][0])
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for k in range(len(A)):
                total += _relu(G[k][i][j]) * A[k][i][j]
            out[i][j] = _relu(total)
    return _tensor(out)


def elementwise(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """GradCAM-ElementWise: L = Σ_k ReLU(G_k ⊙ A_k)."""
    A, G = _volume(activations), _volume(gradients)
    height, width = len(A[0]), len(A[0][0])
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for k in range(len(A)):
                total += _relu(G[k][i][j] * A[k][i][j])
            out[i][j] = total
    return _tensor(out)


def eigencam(*, activations: Tensor, **_: object) -> Tensor:
    """EigenCAM: ReLU of X v, X the centred (h w)×K activations (Bany Muhammad and Yeasin 2021).

    Each column (channel) of X has its mean taken off; v is the first right singular vector of X,
    that is the eigenvector of XᵀX for its largest eigenvalue. Sign: the one that makes
    Σ_cells (X v)·(mean over channels of X) non-negative. (That sum is λ·Σ_k v_k / K, so the sign
    is undefined where Σ_k v_k = 0, and v itself where the largest eigenvalue is not single.)
    """
    A = _volume(activations)
    channels, height, width = len(A), len(A[0]), len(A[0][0])
    cells = height * width
    X = _zeros(cells, channels)
    for k in range(channels):
        column = _cells(A[k])
        mean = math.fsum(column) / cells
        for n in range(cells):
            X[n][k] = column[n] - mean
    scale = max(abs(value) for value in _cells(X))
    if scale == 0.0:
        return _tensor(_zeros(height, width))
    gram = np.zeros((channels, channels), dtype=np.float64)
    for a in range(channels):
        for b in range(channels):
            gram[a, b] = math.fsum((X[n][a] / scale) * (X[n][b] / scale) for n in range(cells))
    _, vectors = np.linalg.eigh(gram)  # eigenvalues ascend: the last vector is the first
    v = [float(vectors[k, channels - 1]) for k in range(channels)]
    projection = [math.fsum(X[n][k] * v[k] for k in range(channels)) for n in range(cells)]
    agreement = math.fsum(
        (projection[n] / scale) * (math.fsum(X[n]) / channels / scale) for n in range(cells)
    )
    sign = -1.0 if agreement < 0.0 else 1.0
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            out[i][j] = _relu(sign * projection[i * width + j])
    return _tensor(out)


# ---------------------------------------------------------------------------------------------
# methods that call the network


def scorecam(
    *, image: Tensor, activations: Tensor, target: int, model: Network, **_: object
) -> Tensor:
    """ScoreCAM, default form (Wang et al. 2020).

    M_k = minmax(Up(A_k)) with aligned corners, w = softmax_k(s_c(x ⊙ M_k)),
    L = ReLU(Σ_k w_k A_k). A constant channel has an all-zero mask: it takes part in the softmax
    with the score of the all-zero image and adds nothing to the map.
    """
    A = _volume(activations)
    size = (image.shape[1], image.shape[2])
    scores, kept = [], []
    for grid in A:
        constant = max(_cells(grid)) == min(_cells(grid))
        mask = _zeros(*size) if constant else _minmax_grid(_upsample_grid(grid, size, True))
        scores.append(_logits(model, _masked(image, mask))[target])
        kept.append(0.0 if constant else 1.0)
    weights = [weight * flag for weight, flag in zip(_softmax(scores), kept, strict=True)]
    return _relu_weighted_sum(weights, A)


def scorecam_plus_plus(
    *,
    image: Tensor,
    activations: Tensor,
    target: int,
    model: Network,
    baseline: str = "none",
    **_: object,
) -> Tensor:
    """ScoreCAM++ at image resolution (arXiv 2404.19341, equations 9 and 12).

    H_k = tanh(Up(A_k)) with half-pixel centres, α_k = p_c(x ⊙ H_k) - b,
    L = ReLU(Σ_k α_k H_k). ``baseline``: b = 0 ("none"), p_c(x) ("input") or p_c of the all-zero
    tensor ("black").
    """

    def probability(picture: Tensor) -> float:
        return _softmax(_logits(model, picture))[target]

    if baseline == "none":
        offset = 0.0
    elif baseline == "input":
        offset = probability(image.to(torch.float64))
    elif baseline == "black":
        offset = probability(torch.zeros(image.shape, dtype=torch.float64))
    else:
        raise ValueError(f"unknown baseline {baseline!r}")

    size = (image.shape[1], image.shape[2])
    masks, weights = [], []
    for grid in _volume(activations):
        raised = _upsample_grid(grid, size, False)
        mask = [[math.tanh(value) for value in row] for row in raised]
        masks.append(mask)
        weights.append(probability(_masked(image, mask)) - offset)
    return _relu_weighted_sum(weights, masks)


def ablationcam(*, activations: Tensor, target: int, head: Network, **_: object) -> Tensor:
    """AblationCAM: w_k = (s_c - s_c^(k)) / |s_c|, channel k set to 0 (Desai and Ramaswamy 2020).

    A target logit of exactly 0 has no weights and raises ZeroDivisionError.
    """
    A = _volume(activations)
    full = activations.detach().to(torch.float64)
    score = _logits(head, full)[target]
    weights = []
    for k in range(len(A)):
        without = full.clone()
        without[k] = 0.0
        weights.append((score - _logits(head, without)[target]) / abs(score))
    return _relu_weighted_sum(weights, A)


REFERENCES: dict[str, Callable[..., Tensor]] = {
    "cam": cam,
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "hirescam": hirescam,
    "layercam": layercam,
    "elementwise": elementwise,
    "eigencam": eigencam,
    "scorecam": scorecam,
    "scorecam++": scorecam_plus_plus,
    "ablationcam": ablationcam,
}
