"""What an evaluation by metrics is asked to do, checked before anything is computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from camaudit.errors import UsageError

__all__ = ["CHECKS", "Baseline", "Check", "Options"]

Check = Literal[
    "confidence",
    "adcc",
    "insertion-deletion",
    "localisation",
    "sparsity",
    "road",
    "infidelity",
    "sensitivity",
]
CHECKS: tuple[Check, ...] = get_args(Check)
Baseline = Literal["mean", "black"]


@dataclass(frozen=True)
class Options:
    """Options of :func:`camaudit.evaluation.run.evaluate`.

    checks: which metrics, see :data:`camaudit.metrics.registry.METRICS`.
    baseline: what a masked pixel becomes: the mean colour, where the standardised image is
        multiplied (what published code does), or black, where the raw one is.
    pixels_per_step: of insertion and deletion.
    tolerance: pixels around a region that still count as a hit of the pointing game.
    threshold: share of the maximum from which a pixel counts as lit, for IoU.
    samples: perturbed images of infidelity and of max-sensitivity, each.
    noise: standard deviation of infidelity's perturbations, in standardised units.
    radius: of max-sensitivity's ball (largest change of a value), in standardised units.
    rivals: groups of methods that compete for Win %, each by itself; none for all in one group.
    tie: percentage points of drop within which methods share a win; those of one formula differ by
        the rounding of their maps, which would else decide.
    seed: of ties, perturbations, seeded methods and intervals.
    """

    checks: tuple[Check, ...] = ("confidence",)
    baseline: Baseline = "mean"
    pixels_per_step: int = 224
    tolerance: int = 0
    threshold: float = 0.2
    samples: int = 10
    noise: float = 0.1
    radius: float = 0.02
    rivals: tuple[tuple[str, ...], ...] = ()
    tie: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [name for name in self.checks if name not in CHECKS]
        if wrong or not self.checks or len(set(self.checks)) < len(self.checks):
            raise UsageError(
                f"expected at least one check among {', '.join(CHECKS)}, each once; got "
                f"{', '.join(map(repr, self.checks)) or 'none'}"
            )
        if self.baseline not in get_args(Baseline):
            raise UsageError(
                f"baseline must be one of {', '.join(get_args(Baseline))}; got {self.baseline!r}"
            )
        for name in ("pixels_per_step", "samples"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("noise", "radius"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive; got {getattr(self, name)}")
        if self.tolerance < 0 or self.seed < 0:
            raise UsageError(
                f"tolerance and seed must be 0 or more; got {self.tolerance} and {self.seed}"
            )
        if not 0 <= self.tie < 100:
            raise UsageError(f"tie must lie in [0, 100) percentage points; got {self.tie}")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold must lie in (0, 1]; got {self.threshold}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self)
        plain["checks"] = list(self.checks)
        plain["rivals"] = [list(group) for group in self.rivals]
        return plain
