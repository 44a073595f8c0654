"""Slow, literal float64 references of the methods that need activations and gradients.

The habits are those of :mod:`tests.references.cams`: loops over Python floats, one image, the raw
map after ReLU. Notation: ``A`` activations (K×h×w), ``G = d s / d A``, ``s`` the score of the
logits (the target's logit where no ``score`` is given), ``Up`` bilinear upsampling to H×W with
half-pixel centres.
"""

import math
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.methods import noise

from .cams import (
    Grid,
    Network,
    Volume,
    _cells,
    _relu,
    _relu_weighted_sum,
    _tensor,
    _upsample_grid,
    _volume,
    _zeros,
    gradcam,
    gradcam_plus_plus,
)
from .scoring import Score, chosen

At = Callable[[Tensor], tuple[Tensor, Tensor]]


def _mean(grid: Grid) -> float:
    """(1/(h w)) Σ_ij M_ij."""
    cells = _cells(grid)
    return math.fsum(cells) / len(cells)


def _rectified(grid: Grid) -> Tensor:
    """ReLU cell by cell."""
    return _tensor([[_relu(value) for value in row] for row in grid])


# ---------------------------------------------------------------------------------------------
# principal components


def _centred(volume: Volume) -> Grid:
    """B (cells×K): the channels as columns, each with its mean over the cells taken off."""
    columns = [_cells(grid) for grid in volume]
    means = [_mean(grid) for grid in volume]
    return [
        [column[n] - mean for column, mean in zip(columns, means, strict=True)]
        for n in range(len(columns[0]))
    ]


def _signed(projection: list[float], B: Grid) -> list[float]:
    """The projection with the sign that makes Σ_cells P·(mean over channels of B) ≥ 0."""
    agreement = math.fsum(
        value * math.fsum(row) / len(row) for value, row in zip(projection, B, strict=True)
    )
    return [-value for value in projection] if agreement < 0.0 else projection


def _first_component(volume: Volume) -> Grid:
    """B v₁ on the h×w grid, v₁ the eigenvector of BᵀB for its largest eigenvalue."""
    height, width = len(volume[0]), len(volume[0][0])
    B = _centred(volume)
    scale = max(abs(value) for value in _cells(B))
    if scale == 0.0:
        return _zeros(height, width)
    B = [[value / scale for value in row] for row in B]
    gram = np.zeros((len(volume), len(volume)), dtype=np.float64)
    for a in range(len(volume)):
        for b in range(len(volume)):
            gram[a, b] = math.fsum(row[a] * row[b] for row in B)
    v = np.linalg.eigh(gram)[1][:, -1].tolist()  # eigenvalues ascend: the last one is the largest
    projection = [math.fsum(value * v[k] for k, value in enumerate(row)) for row in B]
    signed = [value * scale for value in _signed(projection, B)]
    return [signed[i * width : (i + 1) * width] for i in range(height)]


def _products(G: Volume, A: Volume, absolute: bool) -> Volume:
    """G ⊙ A, or |G| ⊙ A."""
    return [
        [
            [(abs(g) if absolute else g) * a for g, a in zip(g_row, a_row, strict=True)]
            for g_row, a_row in zip(g_grid, a_grid, strict=True)
        ]
        for g_grid, a_grid in zip(G, A, strict=True)
    ]


def eigengradcam(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """EigenGradCAM: ReLU of the first component of G ⊙ A (pytorch-grad-cam)."""
    products = _products(_volume(gradients), _volume(activations), absolute=False)
    return _rectified(_first_component(products))


def segeigencam(*, activations: Tensor, gradients: Tensor, **_: object) -> Tensor:
    """Seg-Eigen-CAM (Chung and Ying 2025, equations 10-13).

    P = first component of |G| ⊙ A, turned over where |min P| > |max P|; L = ReLU(P). Where the
    two are equal P keeps the sign of the first component.
    """
    products = _products(_volume(gradients), _volume(activations), absolute=True)
    P = _first_component(products)
    low, high = min(_cells(P)), max(_cells(P))
    if abs(low) > abs(high):
        P = [[-value for value in row] for row in P]
    return _rectified(P)


def kpcacam(
    *,
    activations: Tensor,
    kernel: str = "sigmoid",
    gamma: float | None = None,
    **_: object,
) -> Tensor:
    """KPCA-CAM (Karmani et al. 2024).

    k(u, v) over the rows (cells) of the centred activations B: tanh(γ u·v + 1) ("sigmoid"),
    exp(-γ‖u - v‖²) ("rbf") or u·v ("linear"), γ = 1/K by default. Doubly centred:
    k_ab - mean_b k - mean_a k + mean k. P = √λ₁·e₁ of the largest eigenvalue, all zero where λ₁ is
    not above rounding; L = ReLU(P) with the sign that makes Σ_cells P·mean_k B ≥ 0.
    """
    A = _volume(activations)
    height, width = len(A[0]), len(A[0][0])
    B = _centred(A)
    rate = 1.0 / len(A) if gamma is None else gamma

    def value(u: list[float], v: list[float]) -> float:
        if kernel == "rbf":
            square = math.fsum((a - b) ** 2 for a, b in zip(u, v, strict=True))
            return math.exp(-rate * square)
        product = math.fsum(a * b for a, b in zip(u, v, strict=True))
        if kernel == "linear":
            return product
        if kernel == "sigmoid":
            return math.tanh(rate * product + 1.0)
        raise ValueError(f"unknown kernel {kernel!r}")

    cells = len(B)
    table = [[value(u, v) for v in B] for u in B]
    rows = [math.fsum(row) / cells for row in table]
    columns = [math.fsum(table[a][b] for a in range(cells)) / cells for b in range(cells)]
    whole = math.fsum(rows) / cells
    centred = np.zeros((cells, cells), dtype=np.float64)
    for a in range(cells):
        for b in range(cells):
            centred[a, b] = table[a][b] - rows[a] - columns[b] + whole
    values, vectors = np.linalg.eigh(centred)
    largest = float(values[-1])
    rounding = cells * sys.float_info.epsilon * max(abs(entry) for entry in _cells(table))
    if largest <= rounding:
        return _tensor(_zeros(height, width))
    projection = _signed([math.sqrt(largest) * float(entry) for entry in vectors[:, -1]], B)
    return _rectified([projection[i * width : (i + 1) * width] for i in range(height)])


# ---------------------------------------------------------------------------------------------
# activations alone


def fem(*, activations: Tensor, form: str = "paper", k: float = 2.0, **_: object) -> Tensor:
    """FEM (Fuad et al. 2020): B_q = 1 where A_q > μ_q + k·σ_q (population), else 0; k ≥ 0.

    "paper": L = ReLU(Σ_q μ_q B_q). "pytorch-grad-cam": w_q = mean_ij B_q, L = ReLU(Σ_q w_q A_q).
    The comparison is exact: A > μ + kσ where A - μ > 0 and (A - μ)² > k²σ², in rational numbers.
    """
    A = _volume(activations)
    flags, means = [], []
    for grid in A:
        cells = [Fraction(value) for value in _cells(grid)]
        mean = sum(cells, Fraction(0)) / len(cells)
        variance = sum(((value - mean) ** 2 for value in cells), Fraction(0)) / len(cells)
        means.append(float(mean))
        flag = _zeros(len(grid), len(grid[0]))
        for i in range(len(grid)):
            for j in range(len(grid[0])):
                above = Fraction(grid[i][j]) - mean
                if above > 0 and above**2 > Fraction(k) ** 2 * variance:
                    flag[i][j] = 1.0
        flags.append(flag)
    if form == "paper":
        return _relu_weighted_sum(means, flags)
    if form == "pytorch-grad-cam":
        return _relu_weighted_sum([_mean(flag) for flag in flags], A)
    raise ValueError(f"unknown form {form!r}")


def lafam(*, activations: Tensor, **_: object) -> Tensor:
    """LaFAM: L = ReLU((1/K) Σ_k A_k) (Karjauv and Albayrak 2024, arXiv 2407.06059)."""
    A = _volume(activations)
    return _relu_weighted_sum([1.0 / len(A)] * len(A), A)


# ---------------------------------------------------------------------------------------------
# derivatives of the head


def _pixels(image: Tensor) -> Tensor:
    """The image as float64."""
    return image.detach().to(torch.float64)


def smoothgradcam_plus_plus(
    *,
    image: Tensor,
    activations: Tensor,
    at: At,
    seed: int = 0,
    samples: int = 4,
    std: float = 0.3,
    **_: object,
) -> Tensor:
    """Smooth Grad-CAM++ (Omeiza et al. 2019, equations 9-11).

    G_i the gradient at A(x + std·ε_i), D1, D2, D3 the means over i of G_i, G_i² and G_i³;
    α_kij = D2 / (2·D2 + D3·Σ_ab A_kab), 0 where D2 = 0; w_k = Σ_ij α_kij·ReLU(D1_kij);
    L = ReLU(Σ_k w_k A_k), A of the clean image. Exact fractions, as in GradCAM++. Cells with
    D1 ≤ 0 are skipped; a denominator that is exactly 0 raises ZeroDivisionError.
    """
    A = _volume(activations)
    gradients = []
    for index in range(samples):
        epsilon = torch.from_numpy(noise.normal(seed, image, index, tuple(image.shape)))
        gradients.append(_volume(at(_pixels(image) + std * epsilon)[1]))
    weights = []
    for k in range(len(A)):
        total_activation = sum((Fraction(value) for value in _cells(A[k])), Fraction(0))
        weight = 0.0
        for i in range(len(A[0])):
            for j in range(len(A[0][0])):
                g = [Fraction(sample[k][i][j]) for sample in gradients]
                first = sum(g, Fraction(0)) / samples
                second = sum((value**2 for value in g), Fraction(0)) / samples
                third = sum((value**3 for value in g), Fraction(0)) / samples
                if second == 0 or first <= 0:
                    continue
                alpha = second / (2 * second + third * total_activation)
                weight += float(alpha * first)
        weights.append(weight)
    return _relu_weighted_sum(weights, A)


def shapleycam(
    *,
    activations: Tensor,
    gradients: Tensor,
    target: int,
    head: Network,
    score: Score | None = None,
    **_: object,
) -> Tensor:
    """ShapleyCAM: w_k = mean_ij (G - ½ H·A)_kij (Cai 2025, arXiv 2501.06261).

    H is the full Hessian of s in the K·h·w activations, H·A its product with them, entry by entry.
    """
    A = _pixels(activations)
    value = chosen(score, target)

    def function(flat: Tensor) -> Tensor:
        return value(head(flat.reshape(1, *A.shape)).to(torch.float64))[0]

    hessian = torch.autograd.functional.hessian(function, A.flatten()).tolist()
    flat, G = A.flatten().tolist(), gradients.to(torch.float64).flatten().tolist()
    corrected = []
    for row in range(len(flat)):
        product = math.fsum(hessian[row][column] * flat[column] for column in range(len(flat)))
        corrected.append(G[row] - 0.5 * product)
    cells = A.shape[1] * A.shape[2]
    weights = [math.fsum(corrected[k * cells : (k + 1) * cells]) / cells for k in range(len(A))]
    return _relu_weighted_sum(weights, _volume(A))


def finercam(
    *,
    activations: Tensor,
    target: int,
    head: Network,
    score: Score | None = None,
    strength: float = 0.6,
    references: int = 3,
    **_: object,
) -> Tensor:
    """Finer-CAM (Zhang et al. 2025, arXiv 2501.11309).

    GradCAM of s - γ·mean of the T logits nearest to s, the target's own left out; fewer where the
    model has fewer classes; of equally near ones those of the lower class.
    """
    A = _pixels(activations).requires_grad_()
    with torch.enable_grad():
        logits = head(A[None]).to(torch.float64)
        s = chosen(score, target)(logits)[0]
        distances = (logits[0] - s).detach().abs().tolist()
        others = [q for q in range(logits.shape[1]) if q != target]
        near = sorted(others, key=lambda q: (distances[q], q))[:references]
        contrast = s
        for q in near:
            contrast = contrast - strength / len(near) * logits[0, q]
        (gradients,) = torch.autograd.grad(contrast, A)
    return gradcam(activations=A, gradients=gradients)


# ---------------------------------------------------------------------------------------------
# DeepLIFT


def _normal_cdf(z: float) -> float:
    return 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))


def _elementwise(layer: nn.Module, z: float) -> tuple[float, float]:
    """f(z) and f'(z) of an elementwise nonlinearity; ReLU and LeakyReLU have f'(0) of the left."""
    if isinstance(layer, nn.ReLU):
        return (z, 1.0) if z > 0 else (0.0, 0.0)
    if isinstance(layer, nn.LeakyReLU):
        return (z, 1.0) if z > 0 else (layer.negative_slope * z, layer.negative_slope)
    if isinstance(layer, nn.GELU) and layer.approximate == "none":
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        return z * _normal_cdf(z), _normal_cdf(z) + z * density
    if isinstance(layer, nn.SiLU):
        gate = _sigmoid(z)
        return z * gate, gate * (1.0 + z * (1.0 - gate))
    raise ValueError(f"no rescale rule for {layer}")


def _rescale(layer: nn.Module, z: float, z0: float) -> float:
    """(f(z) - f(z₀)) / (z - z₀); f'(z) where |z - z₀| ≤ 1e-7·max(|z|, |z₀|)."""
    if abs(z - z0) <= 1e-7 * max(abs(z), abs(z0)):
        return _elementwise(layer, z)[1]
    return (_elementwise(layer, z)[0] - _elementwise(layer, z0)[0]) / (z - z0)


def _back(layer: nn.Module, before: Tensor, before0: Tensor, above: Tensor) -> Tensor:
    """Multipliers of a layer's input (without batch) from those of its output."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        if layer.output_size not in (1, (1, 1)):
            raise ValueError(f"only global average pooling, not {layer}")
        return above.expand(before.shape) / (before.shape[1] * before.shape[2])
    if isinstance(layer, nn.Flatten):
        return above.reshape(before.shape)
    if isinstance(layer, nn.Linear):
        weight, multipliers = layer.weight.detach().tolist(), above.tolist()
        inputs = [
            math.fsum(multipliers[o] * weight[o][q] for o in range(len(multipliers)))
            for q in range(len(weight[0]))
        ]
        return torch.tensor(inputs, dtype=torch.float64)
    flat, flat0 = before.flatten().tolist(), before0.flatten().tolist()
    slopes = [_rescale(layer, z, z0) for z, z0 in zip(flat, flat0, strict=True)]
    return above * torch.tensor(slopes, dtype=torch.float64).reshape(before.shape)


def lift_contributions(
    activations: Tensor, head_layers: Sequence[nn.Module], score: Score
) -> tuple[Tensor, float]:
    """The DeepLIFT contributions (K×h×w) of A to s against A = 0, and s(A) - s(0)."""
    here, zero = [_pixels(activations)], [torch.zeros(activations.shape, dtype=torch.float64)]
    with torch.no_grad():
        for layer in head_layers:
            here.append(layer(here[-1][None])[0])
            zero.append(layer(zero[-1][None])[0])
    logits = here[-1].clone().requires_grad_()
    with torch.enable_grad():
        (multipliers,) = torch.autograd.grad(score(logits[None])[0], logits)
    for index in reversed(range(len(head_layers))):
        multipliers = _back(head_layers[index], here[index], zero[index], multipliers)
    difference = (score(here[-1][None])[0] - score(zero[-1][None])[0]).item()
    return multipliers * here[0], difference


def liftcam(
    *,
    activations: Tensor,
    target: int,
    head_layers: Sequence[nn.Module],
    score: Score | None = None,
    **_: object,
) -> Tensor:
    """LIFT-CAM: w_k = Σ_ij of the DeepLIFT contributions of A_kij to s, reference A = 0.

    Jung and Oh 2021, arXiv 2102.05228. Rescale rule: linear layers pass multipliers on by their
    weights, an elementwise nonlinearity multiplies them by Δf/Δz; L = ReLU(Σ_k w_k A_k). Raises
    ValueError where the contributions do not add up to s(A) - s(0).
    """
    contributions, difference = lift_contributions(activations, head_layers, chosen(score, target))
    values = contributions.flatten().tolist()
    scale = math.fsum(abs(value) for value in values) + abs(difference)
    if abs(math.fsum(values) - difference) > 1e-9 * scale:
        raise ValueError("the contributions do not add up to s(A) - s(0)")
    weights = [math.fsum(_cells(grid)) for grid in _volume(contributions)]
    return _relu_weighted_sum(weights, _volume(activations))


# ---------------------------------------------------------------------------------------------
# augmentation

Affine = tuple[tuple[float, float, float], tuple[float, float, float]]


def _inverse(theta: Affine) -> Affine:
    """The affine map that undoes ``theta``."""
    (a, b, tx), (c, d, ty) = theta
    det = a * d - b * c
    return (
        (d / det, -b / det, (b * ty - d * tx) / det),
        (-c / det, a / det, (c * tx - a * ty) / det),
    )


def _warp(grid: Grid, theta: Affine) -> Grid:
    """Bilinear resampling, zeros outside.

    The output pixel (i, j) has its centre at x = (2j + 1)/W - 1, y = (2i + 1)/H - 1; it reads the
    input at theta·(x, y, 1), that is at column ((x' + 1)·W - 1)/2 and row ((y' + 1)·H - 1)/2.
    """
    height, width = len(grid), len(grid[0])
    out = _zeros(height, width)
    for i in range(height):
        for j in range(width):
            x, y = (2 * j + 1) / width - 1, (2 * i + 1) / height - 1
            source_x = theta[0][0] * x + theta[0][1] * y + theta[0][2]
            source_y = theta[1][0] * x + theta[1][1] * y + theta[1][2]
            column, row = ((source_x + 1) * width - 1) / 2, ((source_y + 1) * height - 1) / 2
            left, top = math.floor(column), math.floor(row)
            total = 0.0
            for r in (top, top + 1):
                for c in (left, left + 1):
                    if 0 <= r < height and 0 <= c < width:
                        total += (1 - abs(row - r)) * (1 - abs(column - c)) * grid[r][c]
            out[i][j] = total
    return out


def augmented_gradcam_plus_plus(
    *,
    image: Tensor,
    activations: Tensor,
    gradients: Tensor,
    at: At,
    seed: int = 0,
    samples: int = 8,
    degrees: float = 15.0,
    shift: float = 0.1,
    **_: object,
) -> Tensor:
    """Augmented Grad-CAM with GradCAM++ (Morbidelli et al. 2020), at image resolution.

    Copies j = 1…n, rotated and moved by uniform draws; GradCAM++ of each, Up to H×W, back by the
    inverse map; Σ_j back(map_j) / Σ_j back(1), with the clean image as copy 0 of weight 1.
    """
    size = (image.shape[1], image.shape[2])
    clean = gradcam_plus_plus(activations=activations, gradients=gradients)
    total = _upsample_grid(clean.tolist(), size, False)
    weight = [[1.0 for _ in range(size[1])] for _ in range(size[0])]
    ones = [[1.0 for _ in range(size[1])] for _ in range(size[0])]
    for j in range(1, samples + 1):
        turn, right, down = noise.uniform(seed, image, j, 3).tolist()
        angle = math.radians(degrees * turn)
        tall, wide = size[0] / size[1], size[1] / size[0]  # a rotation of pixels, not of sides
        theta = (
            (math.cos(angle), -math.sin(angle) * tall, 2 * shift * right),
            (math.sin(angle) * wide, math.cos(angle), 2 * shift * down),
        )
        copy = torch.stack([_tensor(_warp(colour, theta)) for colour in _volume(image)])
        its_activations, its_gradients = at(copy)
        its_map = gradcam_plus_plus(activations=its_activations, gradients=its_gradients)
        back = _warp(_upsample_grid(its_map.tolist(), size, False), _inverse(theta))
        seen = _warp(ones, _inverse(theta))
        for r in range(size[0]):
            for c in range(size[1]):
                total[r][c] += back[r][c]
                weight[r][c] += seen[r][c]
    return _rectified(
        [[total[r][c] / weight[r][c] for c in range(size[1])] for r in range(size[0])]
    )


GRADIENT_REFERENCES: dict[str, Callable[..., Tensor]] = {
    "smoothgradcam++": smoothgradcam_plus_plus,
    "shapleycam": shapleycam,
    "finercam": finercam,
    "eigengradcam": eigengradcam,
    "segeigencam": segeigencam,
    "kpcacam": kpcacam,
    "fem": fem,
    "lafam": lafam,
    "liftcam": liftcam,
    "augmentedgradcam++": augmented_gradcam_plus_plus,
}
