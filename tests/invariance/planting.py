"""A planted fault as a named value, and the table that all of them are in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from camaudit.invariance import Explain
from tests.invariance.literal import LITERAL, Seen


@dataclass(frozen=True)
class Mutant:
    """An explainer that claims to be the registered method `claims` and has exactly one fault.

    processing: the post-processing, by conformance's name, that the fault is and that should not
    be there; conformance then finds the fault where it says "equal up to" just that.
    """

    name: str
    claims: str
    fault: str
    explain: Explain
    processing: str = ""


#: Every mutant by name.
MUTANTS: dict[str, Mutant] = {}


def plant(claims: str, name: str, fault: str, explain: Explain, processing: str = "") -> None:
    """Add the mutant `claims-name`."""
    full = f"{claims}-{name}"
    assert full not in MUTANTS, f"there is a mutant {full} already"
    MUTANTS[full] = Mutant(full, claims, fault, explain, processing)


def planted(claims: str, name: str, fault: str) -> Callable[[Explain], Explain]:
    """Add a whole explainer as a mutant."""

    def add(explain: Explain) -> Explain:
        plant(claims, name, fault, explain)
        return explain

    return add


def step(claims: str, name: str, fault: str, *, processing: str = "", **steps: Any) -> None:
    """Add the right explainer of `claims` with one step replaced: map, score or look."""
    assert len(steps) == 1
    plant(claims, name, fault, replace(LITERAL[claims], **steps), processing)


def looking(claims: str, name: str, fault: str, change: Callable[[Seen], Seen]) -> None:
    """Add the right explainer with what it has seen changed."""
    right = LITERAL[claims].look
    step(claims, name, fault, look=lambda *asked: change(right(*asked)))


def shown(
    claims: str,
    name: str,
    fault: str,
    change: Callable[[Tensor, Seen], Any],
    *,
    processing: str = "",
) -> None:
    """Add the right explainer with its maps changed at the end: `change(maps, seen)`."""
    right = LITERAL[claims].map
    step(claims, name, fault, processing=processing, map=lambda seen: change(right(seen), seen))
