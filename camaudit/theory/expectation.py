"""GradCAM in expectation over the initialisation: the paper's bound, and a closed form.

*CAM-Based Methods Can See through Walls* (2024), Theorem 3. The closed form goes past it, for any
depth of the head; `docs/theory.md` derives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.errors import NotApplicableError
from camaudit.theory.design import Design

__all__ = ["Expectation", "expected_gradcam", "expected_root", "patch_norms"]

_VACUOUS = 20  #: filters up to which the paper's bound is not positive


@dataclass(frozen=True, eq=False)
class Expectation:
    """`E[GradCAM_ij]` of every cell of B (h×w, float64), and how far single networks scatter.

    mean: the closed form. deviation: the standard deviation of GradCAM_ij over networks.
    bound: the paper's lower bound, None where it does not apply; `no_bound` then says why.
    slack: the closed form may be too large by at most this share in dead cells: 0 for L = 1,
        else `2^(−V) E[χ_V]/κ(V)`, for no filter may respond to anything live, and GradCAM is
        then 0.
    """

    mean: Tensor
    deviation: Tensor
    bound: Tensor | None
    no_bound: str | None
    slack: float


def expected_root(count: int) -> float:
    """`κ(n) = E[√(Σ_{i≤n} ReLU(g_i)²)]` for standard normal g_i, i.e. `E[χ_N]`, N ~ Bin(n, ½).

    `κ(n) = Σ_{m=1..n} C(n,m) 2⁻ⁿ √2 Γ((m+1)/2)/Γ(m/2)`, summed in float64 from logarithms;
    κ(n) ≈ √(n/2) for large n. `count` is at least 1.
    """
    total = []
    for m in range(1, count + 1):
        chance = math.lgamma(count + 1) - math.lgamma(m + 1) - math.lgamma(count - m + 1)
        total.append(math.exp(chance - count * math.log(2)) * _chi_mean(m))
    return math.fsum(total)


def _chi_mean(freedom: int) -> float:
    """`E[χ_m] = √2 Γ((m+1)/2)/Γ(m/2)`."""
    return math.sqrt(2) * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))


def patch_norms(image: Tensor, kernel: int) -> Tensor:
    """`‖ξ_ij‖` (h×w, float64): norms of the C×k×k patches of an image (C×H×W)."""
    height, width = image.shape[1] - kernel + 1, image.shape[2] - kernel + 1
    patches = F.unfold(image[None].double(), kernel)
    norms: Tensor = torch.linalg.vector_norm(patches[0], dim=0)
    return norms.view(height, width)


def expected_gradcam(design: Design, image: Tensor) -> Expectation:
    """`E[GradCAM_ij]` for Gaussian weights, in closed form and as the paper's lower bound.

    With filters of variance τ_f², Linear layer l (M_l outputs, M_L the explained one alone) of
    variance τ_l², n live cells (1 for the pooled head) and κ of :func:`expected_root`:

    `E[GradCAM_ij] = 1/√(2π) · √n/(hw) · τ_L Π_{l<L} τ_l κ(M_l) · τ_f ‖ξ_ij‖ κ(V)`

    and `E[GradCAM²_ij] = ½ · n/(hw)² · τ_L² Π_{l<L} τ_l² M_l/2 · τ_f² ‖ξ_ij‖² V/2`. For L = 1 it
    is exact; for L ≥ 2 it is exact in live cells, see :class:`Expectation` for dead ones (and 0
    everywhere if the live part of the image is blank). The bound (Theorem 3, L = 1, V > 20) has
    `√V/2 · (1 − 20/V)` in the place of κ(V).

    image: C×H×W. Raises :class:`NotApplicableError` unless all weights are Gaussian.
    """
    design.check_image(image)
    if not all(one.normal for one in design.laws):
        raise NotApplicableError(
            f"the closed form is for Gaussian weights; {design.initialisation!r} draws uniform "
            "ones: choose gaussian, he or glorot, or simulate"
        )
    h, w = design.cells
    filters, *linears = (one.scale for one in design.laws)
    spread = 1 if design.head == "pooled" else design.live_count
    scale = math.sqrt(spread) / (h * w) * math.prod(linears)
    roots = math.prod(expected_root(width) for width in design.hidden)
    squares = math.prod(width / 2 for width in design.hidden)
    norms = filters * patch_norms(image, design.kernel)
    if design.layers > 1 and not bool(norms[~design.feature_dead].any()):
        norms = torch.zeros_like(norms)  # every ReLU of the head is closed
    V = design.filters
    first = scale / math.sqrt(2 * math.pi) * norms
    mean = first * roots * expected_root(V)
    second = 0.5 * scale**2 * squares * norms.square() * V / 2
    bound, why = _bound(design, first)
    slack = 0.0 if design.layers == 1 else 2.0**-V * _chi_mean(V) / expected_root(V)
    return Expectation(mean, (second - mean.square()).clamp(min=0).sqrt(), bound, why, slack)


def _bound(design: Design, first: Tensor) -> tuple[Tensor | None, str | None]:
    V = design.filters
    if design.layers > 1:
        return None, f"the paper's bound is for one Linear layer; this head has {design.layers}"
    if V <= _VACUOUS:
        return None, f"the paper's bound is vacuous (not positive) for V ≤ {_VACUOUS}; V is {V}"
    return first * (math.sqrt(V) / 2 * (1 - _VACUOUS / V)), None
