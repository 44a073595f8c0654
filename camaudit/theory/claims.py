"""The paper's theory put to the test: claims, each with the figure that it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from camaudit.theory.coefficients import coefficients
from camaudit.theory.design import Design
from camaudit.theory.expectation import Expectation, expected_gradcam
from camaudit.theory.simple_cnn import SimpleCNN
from camaudit.theory.simulation import Simulation, simulate
from camaudit.types import Claim, ClaimOutcome

__all__ = [
    "LIMIT",
    "agreement",
    "bound_below",
    "finds_wrong_constant",
    "positive_behind_wall",
    "proposition_2",
]

LIMIT = 4.0  #: standard errors that a simulated cell may lie from its expectation
_TAIL = math.erfc(LIMIT / math.sqrt(2))  # chance that one cell lies further away, 6.3e-5
_SECOND = 1_000_003  # added to a seed: an independent second sample
_PRECISION = 1e-10

Advance = Callable[[int], None]


def _silent(_count: int) -> None:
    """Nobody is told."""


def proposition_2(*, networks: int, seed: int) -> Claim:
    """Autograd's `mean_ij ∂s/∂B_vij` equals Proposition 2's closed form, float64.

    Over `networks` drawn designs: L = 1 … 4, both heads, one or three channels, kernels of 1 to
    3, any mask; every other image has few grey levels, so that pooling windows have ties.
    """
    generator = torch.Generator().manual_seed(seed)
    worst = 0.0
    for number in range(networks):
        design = _drawn_design(number, generator)
        model = SimpleCNN(design, seed=_integer(0, 2**31, generator)).double()
        images = torch.randn((2, design.channels, *design.size), generator=generator).double()
        if number % 2:
            images = images.round().clamp(-1, 1)
        target = _integer(0, design.classes, generator)
        gap = coefficients(model, images, target=target) - _by_autograd(model, images, target)
        worst = max(worst, float(gap.abs().max()))
    return _judged(
        "theory/proposition-2",
        "Autograd's GradCAM coefficients are those of Proposition 2, for L = 1 … 4",
        worst,
        "≤",
        _PRECISION,
        f"largest |difference| in float64 over {networks} random networks with two images each; "
        "flattening and pooled heads, ties in the pooling included",
    )


def _drawn_design(number: int, generator: torch.Generator) -> Design:
    kernel, pool = _integer(1, 4, generator), _integer(1, 4, generator)
    side = tuple(pool * _integer(2, 4, generator) + kernel - 1 for _ in range(2))
    head = "pooled" if number % 3 == 2 else "flatten"
    grid = tuple(s - kernel + 1 for s in side)
    if head == "flatten":
        grid = tuple(cells // pool for cells in grid)
    dead = torch.rand(grid, generator=generator) < 0.5
    dead[0, 0], dead[-1, -1] = False, True
    return Design(
        filters=_integer(2, 9, generator),
        kernel=kernel,
        channels=1 + 2 * _integer(0, 2, generator),
        size=(side[0], side[1]),
        pool=pool,
        hidden=tuple(_integer(2, 7, generator) for _ in range(number % 4)),
        classes=_integer(1, 4, generator),
        head="pooled" if head == "pooled" else "flatten",
        dead=dead,
    )


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))


def _by_autograd(model: SimpleCNN, images: Tensor, target: int) -> Tensor:
    with torch.enable_grad():
        B = model.relu(model.conv(images)).detach().requires_grad_(True)
        (G,) = torch.autograd.grad(model.head(B)[:, target].sum(), B)
    mean: Tensor = G.mean(dim=(2, 3))
    return mean


def agreement(
    design: Design,
    image: Tensor,
    *,
    draws: int,
    seed: int,
    factor: float = 1.0,
    advance: Advance = _silent,
) -> tuple[Claim, Simulation]:
    """Monte Carlo lies within 4 standard errors of the closed form in every cell.

    A sample that does not is judged by a second, independent one of the same size: by chance
    alone both fail with a probability of at most `(cells · 6.3e-5)²` (union bound over cells,
    normal means). `factor` multiplies the closed form, to see a wrong constant found. Also
    returns the (last) simulation. Raises as :func:`expected_gradcam` does.
    """
    expected = expected_gradcam(design, image)
    tested = int((expected.mean > 0).sum())
    samples: list[float] = []
    for number in range(2):
        sample = simulate(design, image, draws=draws, seed=seed + number * _SECOND, advance=advance)
        samples.append(_largest_z(sample, expected, factor))
        if samples[-1] <= LIMIT:
            break
    chance = min(1.0, tested * _TAIL)
    total = float(expected.mean.sum()) * factor
    ratio = f"{float(sample.mean.sum()) / total:.4f}" if total else "undefined (blank image)"
    first = f"; the first sample reached {samples[0]:.2f}" if len(samples) > 1 else ""
    claim = _judged(
        "theory/expectation",
        f"Simulation agrees with the closed form: {_named(design)}",
        samples[-1],
        "≤",
        LIMIT,
        f"largest distance of {tested} cells in standard errors, {draws} networks{first}; "
        f"simulated sum over closed form {ratio}; false alarms: at most {100 * chance:.2g} % a "
        f"sample, and a failure must repeat, so {100 * chance**2:.2g} % in all",
    )
    return claim, sample


def _largest_z(sample: Simulation, expected: Expectation, factor: float) -> float:
    mean = expected.mean * factor
    gap = ((sample.mean - mean).abs() - expected.slack * mean).clamp(min=0)
    z = torch.where(gap > 0, gap / sample.standard_error, 0.0)
    return float(z.max())


def _named(design: Design) -> str:
    colour = {1: "grey", 3: "RGB"}.get(design.channels, f"{design.channels} channels")
    head = "pooled head" if design.head == "pooled" else "flattening head"
    return (
        f"{head}, L = {design.layers}, V = {design.filters}, {design.kernel}×{design.kernel} "
        f"filters, {colour}, {design.initialisation} weights"
    )


def bound_below(image: Tensor, designs: Sequence[Design]) -> Claim:
    """The paper's lower bound never exceeds the closed form, over `designs`.

    Designs to which the bound does not apply are left out; with none left the claim does not
    apply either.
    """
    statement = "The paper's lower bound lies below the closed form everywhere"
    ratios, reasons = {}, []
    for design in designs:
        expected = expected_gradcam(design, image)
        if expected.bound is None:
            reasons.append(str(expected.no_bound))
            continue
        lit = expected.mean > 0
        if bool(lit.any()):
            ratios[design.filters] = float((expected.bound[lit] / expected.mean[lit]).max())
    if not ratios:
        why = "; ".join(dict.fromkeys(reasons)) or "the image is blank"
        return _not_applicable("theory/bound", statement, "≤", why)
    shown = ", ".join(f"V = {V}: {1 / ratio:.3g}" for V, ratio in sorted(ratios.items()))
    left_out = f"; left out: {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
    return _judged(
        "theory/bound",
        statement,
        max(ratios.values()),
        "≤",
        1.0,
        f"largest bound over closed form; closed form over bound is {shown}{left_out}",
    )


def positive_behind_wall(design: Design, image: Tensor, sample: Simulation) -> Claim:
    """GradCAM's simulated expectation is positive in every dead cell whose patch is not blank."""
    statement = "GradCAM is positive in expectation where the network sees nothing"
    expected = expected_gradcam(design, image)
    dead = design.feature_dead & (expected.mean > 0)
    if not bool(dead.any()):
        why = "no dead cell has a patch that is not blank: nothing is expected there"
        return _not_applicable("theory/dead-zone", statement, "≥", why)
    share = float(expected.mean[design.feature_dead].sum() / expected.mean.sum())
    seen = "undefined" if sample.share is None else f"{100 * sample.share:.1f} %"
    return _judged(
        "theory/dead-zone",
        statement,
        float((sample.mean[dead] / sample.standard_error[dead]).min()),
        "≥",
        LIMIT,
        f"smallest simulated mean over its standard error, of {int(dead.sum())} dead cells; the "
        f"expected map has {100 * share:.1f} % of its mass behind the wall, single maps have "
        f"{seen} on average",
    )


def finds_wrong_constant(
    design: Design, image: Tensor, *, draws: int, seed: int, error: float = 0.05
) -> Claim:
    """A positive control: the test of the expectation fails where σ is wrong by `error`."""
    claim, _ = agreement(design, image, draws=draws, seed=seed, factor=1 + error)
    return _judged(
        "theory/control",
        f"A σ that is wrong by {100 * error:g} % is found",
        math.nan if claim.figure is None else claim.figure,
        ">",
        LIMIT,
        f"the same test with a closed form {100 * error:g} % too large must fail; {claim.detail}",
    )


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "≤": lambda figure, bound: figure <= bound,
    "≥": lambda figure, bound: figure >= bound,
    ">": lambda figure, bound: figure > bound,
}


def _judged(
    check: str, statement: str, figure: float, relation: str, bound: float, detail: str
) -> Claim:
    """PASS where `figure relation bound`, FAIL elsewhere; a NaN is an error, never a pass."""
    if math.isnan(figure):
        return Claim(check, statement, ClaimOutcome.ERROR, None, relation, bound, detail)
    holds = _HOLDS[relation](figure, bound)
    outcome = ClaimOutcome.PASS if holds else ClaimOutcome.FAIL
    return Claim(check, statement, outcome, figure, relation, bound, detail)


def _not_applicable(check: str, statement: str, relation: str, why: str) -> Claim:
    return Claim(check, statement, ClaimOutcome.NOT_APPLICABLE, None, relation, None, why)
