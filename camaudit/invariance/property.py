"""What must hold between two answers of an explainer, as a named value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.invariance.compare import Difference
from camaudit.invariance.explainer import Explain
from camaudit.invariance.situation import Situation
from camaudit.registry import Registry

__all__ = ["PROPERTIES", "Check", "Parameters", "Property", "Tolerance", "Verdict", "prop"]

Parameters = dict[str, Any]
Check = Callable[[Explain, Situation, Parameters], "Verdict"]


@dataclass(frozen=True)
class Tolerance:
    """The largest difference that counts as none, for float64 and for float32, and why."""

    double: float
    single: float
    reason: str

    def of(self, dtype: torch.dtype) -> float:
        """The bound for images of `dtype`."""
        return self.double if dtype is torch.float64 else self.single


EXACT = Tolerance(0.0, 0.0, "the same operations on the same numbers, in the same order")
ROUNDING = Tolerance(
    1e-6, 2e-3,
    "rounding, enlarged by sums that cancel; an example that rounding of the image alone moves "
    "as far is not counted",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """How far one example is from holding.

    `difference` is None where the example says nothing (degenerate maps); a `fault` is a violation
    whatever the difference: something that must not have changed has.
    """

    difference: float | None
    fault: str | None = None

    @staticmethod
    def of(difference: Difference) -> Verdict:
        """The verdict of a comparison."""
        return Verdict(difference.value)

    @property
    def says_nothing(self) -> bool:
        """Whether the example neither holds nor is violated."""
        return self.fault is None and self.difference is None

    def holds(self, bound: float) -> bool:
        """Whether the example is no violation."""
        return self.fault is None and not (self.difference is not None and self.difference > bound)


def _nothing(_situation: Situation) -> SearchStrategy[Parameters]:
    return st.just({})


@dataclass(frozen=True, kw_only=True)
class Property:
    """A relation that an explainer must satisfy, see :data:`PROPERTIES`.

    statement: what is changed and what must follow, in one sentence. source: paper or derivation.
    tolerance: the largest difference that counts as none. violated: registered methods, by name,
    that violate it by their definition, each with the reason; all other methods satisfy it.
    needs: why it cannot be tested in a situation, or None. parameters: what else is drawn.
    limits: keyword arguments of :func:`camaudit.invariance.strategies.situations`, which then
    draws situations that meet the precondition. rounding: whether an example is only counted where
    rounding alone moves its map by less than the tolerance. own: whether it is tested on a user's
    own model too.
    """

    statement: str
    source: str
    tolerance: Tolerance = ROUNDING
    violated: Mapping[str, str] = field(default_factory=dict)
    needs: Callable[[Situation], str | None] = lambda _situation: None
    parameters: Callable[[Situation], SearchStrategy[Parameters]] = _nothing
    limits: Mapping[str, Any] = field(default_factory=dict)
    rounding: bool = True
    own: bool = True


#: Every property by name: its function is the check, its info a :class:`Property`.
PROPERTIES: Registry[Check, Property] = Registry(
    "property", duplicate=DuplicateNameError, unknown=UnknownNameError
)


def prop(name: str, info: Property) -> Callable[[Check], Check]:
    """Register the check of a property: (explain, situation, parameters) → :class:`Verdict`."""
    return PROPERTIES.register(name, info)
