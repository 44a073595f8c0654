"""From an attribution for every channel to one map."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

from torch import Tensor

from camaudit.errors import UsageError

__all__ = ["REDUCTIONS", "Reduction", "reduced", "reduction"]

Reduction = Literal["abs-sum", "sum", "positive-sum"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)

#: What each does, in a few words.
WORDS: dict[Reduction, str] = {
    "abs-sum": "sum over channels of absolute values",
    "sum": "signed sum over channels",
    "positive-sum": "sum over channels of positive parts",
}


def reduction(given: Any) -> Reduction:
    """`given`, if it is one of :data:`REDUCTIONS`; UsageError otherwise."""
    if given not in REDUCTIONS:
        raise UsageError(f"reduce must be one of {', '.join(REDUCTIONS)}; got {given!r}")
    return cast(Reduction, given)


def reduced(attribution: Tensor, how: Reduction) -> Tensor:
    """Maps (…×h×w) of an attribution (…×C×h×w): `Σ_c |a_c|`, `Σ_c a_c` or `Σ_c max(a_c, 0)`."""
    if how == "abs-sum":
        attribution = attribution.abs()
    elif how == "positive-sum":
        attribution = attribution.clamp(min=0)
    return attribution.sum(dim=-3)
