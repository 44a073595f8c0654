"""What a journal knows of explainers' properties and claims, and what it is told of them.

A finding with a counterexample or a fault, or whose search may have met the end of its budget, is
not kept: it is looked for again, with the counterexamples that are known first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import hypothesis

from camaudit.invariance.choice import Gap
from camaudit.invariance.conformance import Conformance, Conformity
from camaudit.invariance.run import Finding, Outcome, Search
from camaudit.journal import Journal, Kept

__all__ = ["Key", "Recall"]

Key = Mapping[str, Any]

_KEPT = (Outcome.HOLDS, Outcome.NOT_CONFIRMED, Outcome.NOT_APPLICABLE, Outcome.UNDEFINED)
_CLAIMS = (
    Conformity.EQUAL, Conformity.PROCESSED, Conformity.NOT_APPLICABLE, Conformity.UNDEFINED,
)  # fmt: skip


class Recall:
    """Findings by explainer, its code, property and search; without a journal, nothing.

    The journal's images are those of the user's own model. Its keys hold that model for drawn
    networks too, although these have nothing to do with it.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal

    def key(self, name: str, part: str, search: Search, *, own: bool, **known: Any) -> Key | None:
        """What a finding of the explainer `name` depends on; None where it is not kept.

        `own` says whether the user's model and images take part.
        """
        if self._journal is None:
            return None
        explainer = self._journal.explainer(name)
        if explainer is None:
            return None
        return {
            "part": part, "explainer": explainer, "examples": search.examples,
            "seed": search.seed, "images": list(self._journal.images) if own else None,
            "hypothesis": hypothesis.__version__, **known,
        }  # fmt: skip

    def findings(self, keys: Sequence[Key | None]) -> list[Finding | None]:
        """What is known by each key; `seconds` are what it took when it was looked for."""
        return [None if kept is None else _finding(kept.value) for kept in self._find(keys)]

    def keep_finding(self, name: str, key: Key | None, found: Finding, search: Search) -> None:
        """Keep a finding of the explainer `name`, where it may be."""
        if key is not None and found.outcome in _KEPT and _in_time(found.seconds, search):
            self._keep(name, key, {**asdict(found), "outcome": found.outcome.value})

    def conformance(self, key: Key | None) -> Conformance | None:
        """What is known of a claim."""
        (kept,) = self._find([key])
        return None if kept is None else _conformance(kept.value)

    def keep_conformance(
        self, name: str, key: Key | None, found: Conformance, search: Search
    ) -> None:
        """Keep what was found of the claim of the explainer `name`, where it may be."""
        gaps = [*found.own, *([] if found.gap is None else [found.gap])]
        sound = found.outcome in _CLAIMS and all(map(_finite, gaps))
        if key is not None and sound and _in_time(found.seconds, search):
            self._keep(name, key, {**found.to_dict(), "outcome": found.outcome.value})

    def _find(self, keys: Sequence[Key | None]) -> list[Kept | None]:
        asked = [key for key in keys if key is not None]
        found = iter(self._journal.find(asked) if self._journal is not None and asked else ())
        return [None if key is None else next(found) for key in keys]

    def _keep(self, name: str, key: Key, value: Any) -> None:
        if self._journal is not None:
            self._journal.keep(key, value, method=name)


def _in_time(seconds: float, search: Search) -> bool:
    """Whether a search cannot have met its end: the budget is of the explainer's time alone."""
    return search.budget is None or seconds < search.budget


def _finite(gap: Gap) -> bool:
    values = (gap.difference, gap.pearson, gap.spearman)
    return all(value is None or math.isfinite(value) for value in values)


def _finding(value: Mapping[str, Any]) -> Finding:
    return Finding(**{**value, "outcome": Outcome(value["outcome"])})


def _conformance(value: Mapping[str, Any]) -> Conformance:
    found = Conformance(**{**value, "outcome": Conformity(value["outcome"])})
    gap = None if value["gap"] is None else Gap(**value["gap"])
    return replace(found, gap=gap, own=tuple(Gap(**one) for one in value["own"]))
