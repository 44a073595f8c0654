"""What a run of the sanity checks is asked to do, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from camaudit.errors import UsageError
from camaudit.sanity.cascade import ORDERS, OrderName
from camaudit.sanity.logit import DRAWS
from camaudit.sanity.randomise import SCHEMES, Scheme
from camaudit.sanity.similarity import SIMILARITIES, SimilarityName
from camaudit.sanity.smprt import NOISE, SAMPLES

__all__ = ["CHECKS", "Check", "Options", "Resolution"]

Check = Literal["mprt", "emprt", "smprt", "random-logit", "data-randomisation"]
CHECKS: tuple[Check, ...] = get_args(Check)
Resolution = Literal["image", "native"]


@dataclass(frozen=True)
class Options:
    """Options of :func:`camaudit.sanity.run_sanity`.

    checks: what to run. orders: cascades of MPRT and sMPRT. seeds: those of the random weights;
    six are the fewest that give intervals. scheme: how weights are drawn. similarities: how maps
    are compared. most_steps: at how many layers of a cascade, evenly spaced, the first and the
    last among them; None for all. resolution: "image" compares maps upsampled to the image,
    "native" as returned. samples, noise: of sMPRT. draws: other classes an image for random
    logit. batch_size: images at a time (views count). seed: of seeded methods, noise, draws and
    intervals. exact: random models run by direct convolutions alone; False lets wide 3×3 ones on a
    CPU run by Winograd's algorithm, equal to rounding (1e-5 to 3e-5 of the largest value).
    """

    checks: tuple[Check, ...] = ("mprt",)
    orders: tuple[OrderName, ...] = ("top-down",)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    scheme: Scheme = "he"
    similarities: tuple[SimilarityName, ...] = SIMILARITIES
    most_steps: int | None = None
    resolution: Resolution = "image"
    samples: int = SAMPLES
    noise: float = NOISE
    draws: int = DRAWS
    batch_size: int = 8
    seed: int = 0
    exact: bool = True

    def __post_init__(self) -> None:
        _among("check", self.checks, CHECKS)
        _among("order", self.orders, ORDERS[:-1])
        _among("similarity", self.similarities, SIMILARITIES)
        _among("scheme", (self.scheme,), SCHEMES)
        _among("resolution", (self.resolution,), get_args(Resolution))
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"expected at least one seed, each once; got {self.seeds}")
        for name in ("samples", "draws", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.most_steps is not None and self.most_steps < 2:
            raise UsageError(f"most_steps must be at least 2; got {self.most_steps}")
        if self.seed < 0:  # NumPy's generators take no other
            raise UsageError(f"seed must be 0 or more; got {self.seed}")
        if not self.noise > 0:
            raise UsageError(f"noise must be positive; got {self.noise}")

    @property
    def families(self) -> tuple[str, ...]:
        """The checks, of MPRT and eMPRT, which share their captures, one name."""
        plain = next((name for name in ("mprt", "emprt") if name in self.checks), None)
        others = ("smprt", "random-logit", "data-randomisation")
        found = (plain, *(name for name in others if name in self.checks))
        return tuple(name for name in found if name is not None)

    @property
    def randomises(self) -> bool:
        """Whether any check makes layers random."""
        return bool({"mprt", "emprt", "smprt"} & set(self.checks))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def _among(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    wrong = [name for name in given if name not in known]
    if wrong or not given or len(set(given)) < len(given):
        raise UsageError(
            f"expected at least one {what} among {', '.join(known)}, each once; got "
            f"{', '.join(map(repr, given)) or 'none'}"
        )
