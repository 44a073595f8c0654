"""Slow, literal float64 references of the methods that read more than one layer.

The habits are those of :mod:`tests.references.cams`. ``stages`` are the layers from the earliest
to the target layer, each with its "activations" and "gradients" (K×h×w); ``Up`` is bilinear
upsampling with half-pixel centres.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .cams import (
    REFERENCES,
    Grid,
    Network,
    _cells,
    _masked,
    _minmax_grid,
    _relu_weighted_sum,
    _tensor,
    _upsample_grid,
    _volume,
    _zeros,
)
from .scoring import Score, chosen, probability_of

Stage = Mapping[str, Tensor]


# ---------------------------------------------------------------------------------------------
# Poly-CAM


def _pooled(grid: Grid, size: tuple[int, int]) -> Grid:
    """Adaptive average pooling: cell a of n is the mean over floor(a·N/n) … ceil((a+1)·N/n) - 1."""
    height, width = len(grid), len(grid[0])
    out = _zeros(*size)
    for a in range(size[0]):
        rows = range(a * height // size[0], -(-(a + 1) * height // size[0]))
        for b in range(size[1]):
            columns = range(b * width // size[1], -(-(b + 1) * width // size[1]))
            values = [grid[i][j] for i in rows for j in columns]
            out[a][b] = math.fsum(values) / len(values)
    return out


def _locally_normalised(grid: Grid, size: tuple[int, int]) -> Grid:
    """LNorm(A, P) = A / Up(Down(A)) where that is > 1e-12·max|A|, else 0; Down to ``size``."""
    shape = (len(grid), len(grid[0]))
    epsilon = 1e-12 * max(abs(value) for value in _cells(grid))
    if epsilon == 0.0:
        return _zeros(*shape)
    coarse = _upsample_grid(_pooled(grid, size), shape, False)
    return [
        [
            value / local if local > epsilon else 0.0
            for value, local in zip(row, coarse_row, strict=True)
        ]
        for row, coarse_row in zip(grid, coarse, strict=True)
    ]


def _channel_weights(
    image: Tensor,
    activations: Tensor,
    model: Network,
    target: int,
    score: Score | None,
    form: str,
) -> list[float]:
    """PCAM+, PCAM- or their sum (PCAM±) of every channel."""
    if form not in ("+", "-", "±"):
        raise ValueError(f"unknown form {form!r}")
    size = (image.shape[1], image.shape[2])

    def p(picture: Tensor) -> float:
        return probability_of(model, picture, target, score)

    black = p(torch.zeros(image.shape, dtype=torch.float64))
    whole = p(image.to(torch.float64))
    weights = []
    for grid in _volume(activations):
        constant = max(_cells(grid)) == min(_cells(grid))
        mask = _zeros(*size) if constant else _minmax_grid(_upsample_grid(grid, size, False))
        weight = 0.0
        if form in ("+", "±"):
            weight += p(_masked(image, mask)) - black
        if form in ("-", "±"):
            rest = [[1.0 - value for value in row] for row in mask]
            weight += whole - p(_masked(image, rest))
        weights.append(weight)
    return weights


def polycam(
    *,
    image: Tensor,
    target: int,
    model: Network,
    stages: Sequence[Stage],
    score: Score | None = None,
    form: str = "±",
    **_: object,
) -> Tensor:
    """Poly-CAM over all the given stages (Englebert et al. 2022, arXiv 2204.13359).

    P^n = ReLU(Σ_k w_k A_k) at the target layer; then, to ever earlier layers,
    P^l = ReLU(Σ_k w_k LNorm(A_k, P^{l+1}) ⊙ Up(P^{l+1})), P^{l+1} divided by its maximum where
    that is positive. The last one, P^1, is the map: it stays as it is, at its own resolution.
    """
    P: Grid | None = None
    for stage in reversed(stages):
        activations = stage["activations"]
        A = _volume(activations)
        weights = _channel_weights(image, activations, model, target, score, form)
        if P is None:
            P = _relu_weighted_sum(weights, A).tolist()
            continue
        top = max(_cells(P))
        P = [[value / top if top > 0.0 else value for value in row] for row in P]
        raised = _upsample_grid(P, (len(A[0]), len(A[0][0])), False)
        products = []
        for grid in A:
            local = _locally_normalised(grid, (len(P), len(P[0])))
            products.append(
                [
                    [a * b for a, b in zip(local_row, raised_row, strict=True)]
                    for local_row, raised_row in zip(local, raised, strict=True)
                ]
            )
        P = _relu_weighted_sum(weights, products).tolist()
    if P is None:
        raise ValueError("Poly-CAM needs a stage")
    return _tensor(P)


# ---------------------------------------------------------------------------------------------
# Refine-CAM


def refinecam(
    *, image: Tensor, stages: Sequence[Stage], base: str = "gradcam++", **_: object
) -> Tensor:
    """RefineCAM: R = Π_l Up(L^l) / max Up(L^l), L^l the raw map of ``base`` at stage l.

    Domeniconi et al. 2026, arXiv 2605.14641. A stage whose map is all zero makes R all zero.
    """
    height, width = image.shape[1], image.shape[2]
    R = [[1.0 for _ in range(width)] for _ in range(height)]
    for stage in stages:
        single = REFERENCES[base](
            activations=stage["activations"], gradients=stage["gradients"]
        ).tolist()
        raised = _upsample_grid(single, (height, width), False)
        top = max(_cells(raised))
        for i in range(height):
            for j in range(width):
                R[i][j] *= raised[i][j] / top if top > 0.0 else 0.0
    return _tensor(R)


# ---------------------------------------------------------------------------------------------
# FullGrad


@dataclass(frozen=True)
class FullGradient:
    """The parts of a score: x ⊙ ∂s/∂x, and b · ∂s/∂z of convolutions and norms, and of Linears."""

    pixels: Tensor
    spatial: list[Tensor]
    dense: list[Tensor]

    def total(self) -> float:
        """The sum of all parts: the score itself where the network is piecewise linear."""
        parts = [self.pixels, *self.spatial, *self.dense]
        return math.fsum(value for part in parts for value in part.flatten().tolist())


def _bias(layer: nn.Module) -> Tensor | None:
    """The bias of a layer, of BatchNorm2d the implicit one β - γ·mean/√(var + eps)."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return None if layer.bias is None else layer.bias.detach()
    if isinstance(layer, nn.BatchNorm2d):
        count = layer.num_features
        gamma = [1.0] * count if layer.weight is None else layer.weight.tolist()
        beta = [0.0] * count if layer.bias is None else layer.bias.tolist()
        mean, variance = layer.running_mean.tolist(), layer.running_var.tolist()
        values = []
        for k in range(count):
            values.append(beta[k] - gamma[k] * mean[k] / math.sqrt(variance[k] + layer.eps))
        return torch.tensor(values, dtype=torch.float64)
    return None


def full_gradient(image: Tensor, layers: Sequence[nn.Module], score: Score) -> FullGradient:
    """The parts of the score of one image, by autograd through the layers one at a time."""
    x = image.detach().to(torch.float64).requires_grad_()
    outputs, biases = [], []
    with torch.enable_grad():
        flow = x[None]
        for layer in layers:
            flow = layer(flow.clone())  # a clone: the layer may work in place
            bias = _bias(layer)
            if bias is not None:
                outputs.append(flow)
                biases.append(bias)
        gradients = torch.autograd.grad(score(flow)[0], [x, *outputs])
    spatial, dense = [], []
    for bias, gradient in zip(biases, gradients[1:], strict=True):
        if gradient.dim() == 4:
            spatial.append(bias[:, None, None] * gradient[0])
        else:
            dense.append(bias * gradient[0])
    return FullGradient(x.detach() * gradients[0], spatial, dense)


def fullgrad(
    *,
    image: Tensor,
    target: int,
    layers: Sequence[nn.Module],
    score: Score | None = None,
    **_: object,
) -> Tensor:
    """FullGrad: Σ over channels of ψ(x ⊙ ∂s/∂x) and of every ψ(b·∂s/∂z), ψ(m) = Up(minmax(|m|)).

    Srinivas and Fleuret 2019, equations 5-6. z are the outputs of the Conv2d and BatchNorm2d with
    a bias; a channel whose |m| is constant adds nothing. H×W.
    """
    parts = full_gradient(image, layers, chosen(score, target))
    height, width = image.shape[1], image.shape[2]
    out = _zeros(height, width)
    for part in [parts.pixels, *parts.spatial]:
        for grid in _volume(part.abs()):
            raised = _upsample_grid(_minmax_grid(grid), (height, width), False)
            for i in range(height):
                for j in range(width):
                    out[i][j] += raised[i][j]
    return _tensor(out)


LAYERED_REFERENCES: dict[str, Callable[..., Tensor]] = {
    "polycam": polycam,
    "refinecam": refinecam,
    "fullgrad": fullgrad,
}
