"""A slow, literal float64 reference of GradCAM's law at random initialisation, for tests.

The network: an image ``x`` (C×H×W), ``V`` filters (V×C×k×k, no padding, no bias), ReLU → ``B``
(V×h×w), and one of two heads that read only the live part of it:

* ``"flat"``: p×p max pooling → V×(h/p)×(w/p), every dead pooled cell times 0, flattened filter by
  filter and then row by row. ``live`` is a boolean (h/p)×(w/p) mask; p follows from its shape.
* ``"pooled"``: the mean of ``B_v`` over the live cells, V numbers. ``live`` is a boolean h×w mask.

Then Linear_1 → ReLU → … → Linear_L without biases, with one output ``s``. ``weights[l - 1]`` is
the matrix of Linear_l (M_l×M_(l-1), M_L = 1) and ``widths`` are the hidden ones, M_1 … M_(L-1).
At initialisation the filters are i.i.d. N(0, τ_f²) and the entries of Linear_l i.i.d. N(0, τ_l²).

Why the law below holds for any L. Σ_v α_v B_vij is 1/(h w) times the derivative of ``s`` along
``u`` = the live features' directions, each weighed by B_vij. Forward and tangent values of one
unit, a = w·c and b = w·u, are jointly Gaussian and symmetric, so b² says nothing about the sign of
a: the tangent that leaves a hidden layer has squared length τ_l²‖tangent‖² χ²_N, N ~ Bin(M_l, ½),
whatever the angle between c and u. Only c = 0 with u ≠ 0 escapes: every unit is off then. A live
cell cannot do that, as B_vij > 0 there makes a feature positive; a dead cell can.
"""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HEADS = ("flat", "pooled")


# ---------------------------------------------------------------------------------------------
# the network


def _pooling(cells: tuple[int, int], live: Mask, head: str) -> int:
    """The pooling size p that ``live`` implies (1 for the pooled head); ValueError if none does."""
    if head not in HEADS:
        raise ValueError(f"unknown head {head!r}")
    if not live.any():
        raise ValueError("no live cell")
    size = cells[0] // live.shape[0]
    if (live.shape[0] * size, live.shape[1] * size) != cells or (head == "pooled" and size != 1):
        raise ValueError(f"a {live.shape} mask does not fit {cells} cells of the {head} head")
    return size


def cell_is_live(live: Mask, cells: tuple[int, int], head: str) -> Mask:
    """Which of the h×w cells of B the head can read."""
    size = _pooling(cells, live, head)
    out = np.zeros(cells, dtype=bool)
    for i in range(cells[0]):
        for j in range(cells[1]):
            out[i, j] = live[i // size, j // size]
    return out


def convolution(x: Array, filters: Array) -> Array:
    """B_vij = max(0, Σ_qab f_vqab · x_q,i+a,j+b)."""
    count, colours, k, _ = filters.shape
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    out = np.zeros((count, height, width))
    for v in range(count):
        for i in range(height):
            for j in range(width):
                total = 0.0
                for q in range(colours):
                    for a in range(k):
                        for b in range(k):
                            total += float(filters[v, q, a, b]) * float(x[q, i + a, j + b])
                out[v, i, j] = max(total, 0.0)
    return out


def features(B: Array, live: Mask, head: str) -> Array:
    """What the head reads: masked window maxima (V×h/p×w/p), or live means (V)."""
    count, height, width = B.shape
    size = _pooling((height, width), live, head)
    if head == "pooled":
        means = np.zeros(count)
        for v in range(count):
            values = [B[v, i, j] for i in range(height) for j in range(width) if live[i, j]]
            means[v] = math.fsum(values) / len(values)
        return means
    out = np.zeros((count, height // size, width // size))
    for v in range(count):
        for i in range(height // size):
            for j in range(width // size):
                if live[i, j]:
                    rows, columns = i * size, j * size
                    window = [B[v, rows + a, columns + b] for a in range(size) for b in range(size)]
                    out[v, i, j] = max(window)
    return out


def pre_activations(read: Array, weights: Sequence[Array]) -> list[list[float]]:
    """a_1 = W¹ c, a_l = Wˡ ReLU(a_(l-1)): the values before each ReLU; the last is [s]."""
    values = [float(value) for value in read.reshape(-1)]
    out = []
    for matrix in weights:
        before = []
        for row in matrix.tolist():
            if len(row) != len(values):
                raise ValueError(f"a row of {len(row)} weights reads {len(values)} values")
            before.append(math.fsum(w * value for w, value in zip(row, values, strict=True)))
        out.append(before)
        values = [max(value, 0.0) for value in before]
    return out


def score(B: Array, weights: Sequence[Array], live: Mask, head: str) -> float:
    """s as a function of B."""
    return pre_activations(features(B, live, head), weights)[-1][0]


def forward(
    x: Array, filters: Array, weights: Sequence[Array], live: Mask, head: str
) -> tuple[Array, Array, float]:
    """B (V×h×w), what the head reads of it (see ``features``) and the output s."""
    B = convolution(x, filters)
    return B, features(B, live, head), score(B, weights, live, head)


# ---------------------------------------------------------------------------------------------
# GradCAM of one network


def separated(B: Array, gap: float = 1e-3) -> Array:
    """B with gap·((r + 1)/(h w) + 1) added to cell r of every filter, which ends its exact ties.

    A window in which every filter response is negative holds nothing but zeros. Its maximum is
    not differentiable there, while back-propagation picks one cell; so does the last cell here.
    """
    count, height, width = B.shape
    out = np.zeros_like(B)
    for v in range(count):
        for i in range(height):
            for j in range(width):
                rank = (i * width + j + 1) / (height * width)
                out[v, i, j] = B[v, i, j] + gap * (1.0 + rank)
    return out


def alpha_by_differences(
    B: Array, weights: Sequence[Array], live: Mask, head: str, step: float = 1e-6
) -> Array:
    """α_v = mean_ij (s(B + step·e_vij) - s(B - step·e_vij)) / (2 step).

    s is piecewise linear in B, so only rounding is left. ValueError where the two one-sided
    differences disagree: B lies on a tie of a window or on a kink of a ReLU.
    """
    count, height, width = B.shape
    centre = score(B, weights, live, head)
    out = np.zeros(count)
    for v in range(count):
        total = 0.0
        for i in range(height):
            for j in range(width):
                above, below = B.copy(), B.copy()
                above[v, i, j] += step
                below[v, i, j] -= step
                right = (score(above, weights, live, head) - centre) / step
                left = (centre - score(below, weights, live, head)) / step
                if abs(right - left) > 1e-6 * max(1.0, abs(right), abs(left)):
                    raise ValueError(f"s has a kink at filter {v}, cell {i}, {j}")
                total += (right + left) / 2
        out[v] = total / (height * width)
    return out


def alpha_proposition_2(B: Array, weights: Sequence[Array], live: Mask, head: str) -> Array:
    """α_v = (1/(h w)) Σ_cells [W¹ᵀ D₁ W²ᵀ D₂ … Wᴸᵀ]_(v, cell), D_l = diag(1[a_l > 0]).

    The columns of W¹ that read dead cells are 0. Pooled head: each of the n live cells of filter
    v carries 1/n of the product's entry v.
    """
    count, height, width = B.shape
    read = features(B, live, head)
    before = pre_activations(read, weights)
    first = weights[0].copy()
    if head == "flat":
        alive = [bool(live[i, j]) for i in range(live.shape[0]) for j in range(live.shape[1])]
        for column in range(first.shape[1]):
            if not alive[column % len(alive)]:
                first[:, column] = 0.0
    product = first.T
    for layer in range(1, len(weights)):
        on = np.diag([1.0 if value > 0.0 else 0.0 for value in before[layer - 1]])
        product = product @ on @ weights[layer].T
    out = np.zeros(count)
    for v in range(count):
        if head == "flat":
            terms = [float(product[v * live.size + cell, 0]) for cell in range(live.size)]
        else:
            terms = [float(product[v, 0]) / int(live.sum())] * int(live.sum())
        out[v] = math.fsum(terms) / (height * width)
    return out


def gradcam(B: Array, alpha: Array) -> Array:
    """GradCAM_ij = max(0, Σ_v α_v B_vij)."""
    count, height, width = B.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            total = math.fsum(float(alpha[v]) * float(B[v, i, j]) for v in range(count))
            out[i, j] = max(total, 0.0)
    return out


# ---------------------------------------------------------------------------------------------
# the law over random networks


@functools.cache
def _quadrature() -> list[tuple[float, float]]:
    """The points and weights of the 200-point Gauss-Legendre rule on [-1, 1]."""
    points, masses = np.polynomial.legendre.leggauss(200)
    return list(zip(points.tolist(), masses.tolist(), strict=True))


def chi_mean(n: int) -> float:
    """E[χ_n] = ∫ r·rⁿ⁻¹ e^(-r²/2) dr / ∫ rⁿ⁻¹ e^(-r²/2) dr by 200-point Gauss-Legendre; E[χ_0] = 0.

    χ_n has its mode at √(n - 1) and a variance below 1/2, so 12 either side hold all of it.
    """
    if n == 0:
        return 0.0
    mode = math.sqrt(n - 1)
    low, high = max(0.0, mode - 12.0), mode + 12.0
    above, below = [], []
    for point, mass in _quadrature():
        r = low + (high - low) * (point + 1.0) / 2.0
        log_density = (n - 1) * math.log(r) - r * r / 2.0
        log_peak = (n - 1) * math.log(mode) - mode * mode / 2.0 if n > 1 else 0.0
        density = math.exp(log_density - log_peak)
        above.append(mass * r * density)
        below.append(mass * density)
    return math.fsum(above) / math.fsum(below)


def kappa(V: int) -> float:
    """κ(V) = E[χ_N], N ~ Bin(V, ½): Σ_n C(V, n) 2⁻ⱽ E[χ_n] with exact integer binomials."""
    terms = [float(Fraction(math.comb(V, n), 2**V)) * chi_mean(n) for n in range(1, V + 1)]
    return math.fsum(terms)


def patch_norms(x: Array, k: int) -> Array:
    """‖ξ_ij‖, the Euclidean length of the C×k×k patch under cell (i, j)."""
    colours, height, width = x.shape
    out = np.zeros((height - k + 1, width - k + 1))
    for i in range(height - k + 1):
        for j in range(width - k + 1):
            squares = [
                float(x[q, i + a, j + b]) ** 2
                for q in range(colours)
                for a in range(k)
                for b in range(k)
            ]
            out[i, j] = math.sqrt(math.fsum(squares))
    return out


def _spread(norms: Array, live: Mask, head: str) -> float:
    """√n_live/(h w) for n_live live pooled cells of a filter; 1/(h w) for the pooled head."""
    _pooling(norms.shape, live, head)
    root = math.sqrt(int(live.sum())) if head == "flat" else 1.0
    return root / (norms.shape[0] * norms.shape[1])


def _never_lit(norms: Array, live: Mask, taus: Sequence[float], head: str) -> bool:
    """Whether hidden ReLUs see only zeros in every network: each live patch is blank (L ≥ 2)."""
    readable = cell_is_live(live, norms.shape, head)
    return len(taus) > 1 and not bool((norms[readable] > 0.0).any())


def _check_depth(taus: Sequence[float], widths: Sequence[int]) -> None:
    """ValueError unless there is one τ for each Linear and one width for each hidden layer."""
    if not taus or len(widths) != len(taus) - 1:
        raise ValueError(f"{len(taus)} standard deviations for {len(widths)} hidden widths")


def expected_gradcam(
    x: Array,
    V: int,
    k: int,
    live: Mask,
    tau_f: float,
    taus: Sequence[float],
    widths: Sequence[int],
    head: str,
) -> Array:
    """E[GradCAM_ij] = τ_L · Π_(l<L) τ_l κ(M_l) · spread · τ_f ‖ξ_ij‖ κ(V) / √(2π).

    spread = √n_live/(h w), or 1/(h w) for the pooled head. Exact for L = 1 and for live cells. In
    dead cells with L ≥ 2 it is too high by at most the fraction ``dead_excess(V)``, and 0 is
    exact where every live patch is blank.
    """
    _check_depth(taus, widths)
    norms = patch_norms(x, k)
    if _never_lit(norms, live, taus, head):
        return np.zeros_like(norms)
    factor = taus[-1] * _spread(norms, live, head) * tau_f * kappa(V) / math.sqrt(2.0 * math.pi)
    for tau, width in zip(taus[:-1], widths, strict=True):
        factor *= tau * kappa(width)
    return factor * norms


def expected_square(
    x: Array,
    V: int,
    k: int,
    live: Mask,
    tau_f: float,
    taus: Sequence[float],
    widths: Sequence[int],
    head: str,
) -> Array:
    """E[GradCAM_ij²] = ½ τ_L² · Π_(l<L) τ_l² M_l/2 · spread² · τ_f² ‖ξ_ij‖² V/2.

    Exact where ``expected_gradcam`` is; elsewhere too high by a fraction of at most 2·2⁻ⱽ.
    """
    _check_depth(taus, widths)
    norms = patch_norms(x, k)
    if _never_lit(norms, live, taus, head):
        return np.zeros_like(norms)
    factor = 0.5 * taus[-1] ** 2 * _spread(norms, live, head) ** 2 * tau_f**2 * V / 2.0
    for tau, width in zip(taus[:-1], widths, strict=True):
        factor *= tau**2 * width / 2.0
    return factor * norms**2


def dead_excess(V: int) -> float:
    """2⁻ⱽ E[χ_V] / κ(V): the largest share by which ``expected_gradcam`` is too high when L ≥ 2.

    What is missing is E[√(Σ_v B_v²); every live feature is 0]. One lit live patch ζ suffices:
    all V responses <f_v, ζ> must be ≤ 0, which has probability 2⁻ⱽ and does not depend on the
    squares <f_v, ξ>², whose root has the mean τ_f ‖ξ‖ E[χ_V]. Reached where ξ = -ζ alone.
    """
    return 2.0**-V * chi_mean(V) / kappa(V)


def lower_bound(x: Array, V: int, k: int, live: Mask, tau: float, head: str = "flat") -> Array:
    """E[GradCAM_ij] ≥ σ τ ‖ξ_ij‖/√(2π) · (√V/2)(1 - 20/V), σ = τ·spread; L = 1, V > 20."""
    if V <= 20:
        raise ValueError("the bound needs more than 20 filters")
    norms = patch_norms(x, k)
    sigma = tau * _spread(norms, live, head)
    height = sigma * tau / math.sqrt(2.0 * math.pi) * math.sqrt(V) / 2.0 * (1.0 - 20.0 / V)
    return height * norms


# ---------------------------------------------------------------------------------------------
# the same by simulation


def draw_networks(
    x: Array,
    V: int,
    k: int,
    live: Mask,
    tau_f: float,
    taus: Sequence[float],
    widths: Sequence[int],
    head: str,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Array, list[Array]]:
    """Filters (draws×V×C×k×k) and the matrices of each Linear (draws×M_l×M_(l-1)), all Gaussian."""
    _check_depth(taus, widths)
    filters = tau_f * rng.standard_normal((draws, V, x.shape[0], k, k))
    sizes = [V * live.size if head == "flat" else V, *widths, 1]
    weights = [
        tau * rng.standard_normal((draws, sizes[layer + 1], sizes[layer]))
        for layer, tau in enumerate(taus)
    ]
    return filters, weights


def gradcam_of_draws(
    x: Array, filters: Array, weights: Sequence[Array], live: Mask, head: str
) -> Array:
    """GradCAM (draws×h×w) of many networks: loops over cells and layers, arrays over draws."""
    draws, count, _, k, _ = filters.shape
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    size = _pooling((height, width), live, head)
    B = np.zeros((draws, count, height, width))
    for i in range(height):
        for j in range(width):
            patch = x[:, i : i + k, j : j + k]
            B[:, :, i, j] = np.maximum(np.einsum("nvqab,qab->nv", filters, patch), 0.0)
    if head == "flat":
        read = np.zeros((draws, count, *live.shape))
        for i in range(live.shape[0]):
            for j in range(live.shape[1]):
                window = B[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size]
                read[:, :, i, j] = window.max(axis=(2, 3)) * live[i, j]
    else:
        read = B[:, :, live].mean(axis=2)
    values, states = read.reshape(draws, -1, 1), []
    for matrix in weights[:-1]:
        values = matrix @ values
        states.append(values > 0.0)
        values = np.maximum(values, 0.0)
    slope = np.swapaxes(weights[-1], 1, 2)
    for matrix, state in zip(reversed(weights[:-1]), reversed(states), strict=True):
        slope = np.swapaxes(matrix, 1, 2) @ (slope * state)
    if head == "flat":
        slope = (slope.reshape(draws, count, *live.shape) * live).sum(axis=(2, 3))
    alpha = slope.reshape(draws, count) / (height * width)
    return np.maximum(np.einsum("nv,nvij->nij", alpha, B), 0.0)


def monte_carlo_maps(
    x: Array,
    V: int,
    k: int,
    live: Mask,
    tau_f: float,
    taus: Sequence[float],
    widths: Sequence[int],
    head: str,
    draws: int,
    seed: int,
) -> Array:
    """GradCAM (draws×h×w) of ``draws`` random networks, drawn 500 at a time."""
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, 500):
        amount = min(500, draws - start)
        drawn = draw_networks(x, V, k, live, tau_f, taus, widths, head, amount, rng)
        parts.append(gradcam_of_draws(x, *drawn, live, head))
    return np.concatenate(parts)


def mean_and_error(values: Array) -> tuple[Array, Array]:
    """The mean over the first axis and its standard error, √(Σ (v - mean)²/(n - 1)/n)."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(len(values))


def monte_carlo(
    x: Array,
    V: int,
    k: int,
    live: Mask,
    tau_f: float,
    taus: Sequence[float],
    widths: Sequence[int],
    head: str,
    draws: int,
    seed: int,
) -> tuple[Array, Array]:
    """The mean GradCAM (h×w) over random networks and its standard error in each cell."""
    return mean_and_error(monte_carlo_maps(x, V, k, live, tau_f, taus, widths, head, draws, seed))
