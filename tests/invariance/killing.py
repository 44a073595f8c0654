"""Whether a property, or conformance, tells a mutant from the method that it claims to be."""

from __future__ import annotations

import copy
from functools import cache

from camaudit.invariance import PROPERTIES, Explain, Outcome, Search, examine
from camaudit.invariance.conformance import Conformity, conformance
from camaudit.invariance.process import restored
from tests.invariance.literal import LITERAL
from tests.invariance.mutants import Mutant

CONFORMANCE = "conformance"

#: Six classes, so that Finer-CAM's three nearest ones are a choice.
_LIMITS = {"classes": 6}


def killers() -> tuple[str, ...]:
    """All that may kill a mutant: every property, and conformance."""
    return (*PROPERTIES, CONFORMANCE)


def killed(mutant: Mutant, name: str, search: Search) -> str | None:
    """Why the property `name`, or conformance, kills a mutant; None where it lets it live.

    A violation that the claimed method has by definition kills nothing. Conformance up to
    post-processing kills where the fault is just that post-processing. The process is put back as
    it was, whatever the mutant does to it.
    """
    # A copy: what a mutant remembers of one search must not reach the next.
    return _found(copy.deepcopy(mutant.explain), mutant.claims, name, search, mutant.processing)


@cache
def spared(claims: str, name: str, search: Search) -> str | None:
    """Why `name` would kill the right explainer of the method `claims`; None where it does not."""
    return _found(LITERAL[claims], claims, name, search, "")


def _found(explain: Explain, claims: str, name: str, search: Search, processing: str) -> str | None:
    with restored():
        if name == CONFORMANCE:
            return _unlike(explain, claims, search, processing)
        finding = examine(name, explain, method=claims, search=search)
    bad = finding.outcome in (Outcome.BUG, Outcome.FAULT)
    return f"{finding.outcome}: {finding.reason}" if bad else None


def _unlike(explain: Explain, claims: str, search: Search, processing: str) -> str | None:
    found = conformance(explain, claims, search=search, limits=_LIMITS, shrink=False)
    if found.outcome is Conformity.DIFFERENT:
        return f"different on {found.examples - found.agreeing} of {found.examples} networks"
    if found.outcome is Conformity.FAULT:
        return f"fault: {found.reason}"
    if found.outcome is Conformity.PROCESSED and found.processing == processing:
        return f"equal up to {processing}"
    return None
