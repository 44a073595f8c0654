"""Whether an explainer is the method that it claims to be, and on which network it is not.

Its maps are compared with the float64 reference, our registered method, over drawn networks and on
the user's own model. What is only post-processing has a name, see
:mod:`camaudit.invariance.processing`; any other difference is shown on the smallest network found.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from camaudit.invariance.choice import Choice, Gap, chosen, widest
from camaudit.invariance.comparison import Case, Comparison
from camaudit.invariance.example import Example
from camaudit.invariance.explainer import Explain, registered
from camaudit.invariance.guard import FaultError
from camaudit.invariance.hunt import Enough, Shown, hunt
from camaudit.invariance.run import PATIENCE, Search
from camaudit.invariance.situation import Drawn, Situation

__all__ = ["Conformance", "Conformity", "Mismatch", "conformance"]

#: So many of the smallest examples are looked at for one that rounding alone does not move.
LOOKS = 20


class Conformity(StrEnum):
    """What became of a claim."""

    EQUAL = "equal"
    PROCESSED = "equal up to post-processing"
    DIFFERENT = "different"
    FAULT = "fault"
    NOT_APPLICABLE = "not applicable"
    UNDEFINED = "undefined"


@dataclass(frozen=True)
class Mismatch:
    """The smallest example found on which the explainer is not the method, or gives no maps.

    `gap` is None for a fault; `trace` is then the explainer's own traceback, where it raised.
    """

    example: Example
    gap: Gap | None
    message: str
    trace: str | None = None


@dataclass(frozen=True, kw_only=True)
class Conformance:
    """What was found of the claim that an explainer is the method `claim`.

    processing: the name of the first post-processing, in the order of
    :data:`camaudit.invariance.processing.PROCESSINGS`, under which all examples agree; where the
    outcome is Conformity.DIFFERENT, of the one under which most do ("" where nothing was compared).

    `examples` counts drawn networks that say something, of which `agreeing` agree. Not among them:
    references that are constant or not finite (`degenerate`), disagreements where rounding alone
    moves the reference (`unstable`), and networks that the method or the explainer does not apply
    to (`passed_over`). `gap` is the largest on any network, the user's own included, and `own` has
    one for each of the user's images.
    """

    claim: str
    outcome: Conformity
    processing: str = ""
    examples: int = 0
    agreeing: int = 0
    degenerate: int = 0
    unstable: int = 0
    passed_over: int = 0
    gap: Gap | None = None
    reason: str | None = None
    fault: str | None = None
    mismatch: Mismatch | None = None
    own: tuple[Gap, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the mismatch's example as :meth:`Example.to_dict` writes it."""
        values = asdict(self)
        if self.mismatch is not None:
            values["mismatch"]["example"] = self.mismatch.example.to_dict()
        return values


def conformance(
    explain: Explain,
    claim: str | Explain,
    *,
    search: Search | None = None,
    own: Situation | None = None,
    limits: Mapping[str, Any] | None = None,
    shrink: bool = True,
) -> Conformance:
    """Compare an explainer with the registered method that it claims to be.

    claim: the method with its options, as in `scorecam(score=probability)`, or another explainer
    to compare with. own: a model and images of the user's, on which the reference is the method on
    a float64 copy. limits: keyword arguments of
    :func:`camaudit.invariance.strategies.situations`. Without `shrink` the mismatch is the smallest
    of the networks that were drawn anyway.

    Raises :class:`camaudit.errors.UnknownNameError` and :class:`camaudit.errors.UsageError` for the
    claim, and UsageError for an own model that cannot be copied.
    """
    started = time.perf_counter()
    search = search or Search()
    reference = registered(claim) if isinstance(claim, str) else claim
    comparison = Comparison(explain, reference, own, search.budget)
    label = getattr(reference, "__name__", type(reference).__name__)
    trial = _Trial(label, comparison, search, dict(limits or {}), shrink)
    found = trial.run()
    return replace(
        found,
        degenerate=comparison.degenerate,
        unstable=trial.unstable,
        passed_over=comparison.passed_over,
        seconds=time.perf_counter() - started,
    )


@dataclass(eq=False)
class _Trial:
    """One claim put to the test."""

    claim: str
    comparison: Comparison
    search: Search
    limits: dict[str, Any]
    shrink: bool
    cases: list[Case] = field(default_factory=list)
    unstable: int = 0

    def run(self) -> Conformance:
        """Collect examples, choose a processing, and look for the smallest mismatch."""
        fault = hunt(self._collect, self.search, self.limits, shrink=self.shrink)
        if fault is not None and fault.error is not None:
            return self._faulty(fault.error, fault.drawn)
        try:
            own = self.comparison.own_case()
        except FaultError as error:
            return self._faulty(error, None)
        cases = [*self.cases, *([own] if own is not None else [])]
        choice = self._settled(cases)
        return self._unseen() if choice is None else self._seen(choice, cases, own)

    def _collect(self, drawn: Drawn) -> bool:
        case = self.comparison.put(drawn)
        if case is not None:
            self.cases.append(case)
        silent = self.comparison.degenerate + self.comparison.passed_over
        if not self.cases and silent >= PATIENCE:
            raise Enough
        return case is not None

    def _settled(self, cases: list[Case]) -> Choice | None:
        """The choice once all cases that rounding alone explains are out; None without cases."""
        steady: set[int] = set()
        while cases:
            choice = chosen(cases)
            doubtful = [case for case in choice.failing if id(case) not in steady]
            moved = {id(case) for case in doubtful if self.comparison.unstable(case)}
            if not moved:
                return choice
            steady |= {id(case) for case in doubtful}
            self.unstable += len(moved)
            cases[:] = [case for case in cases if id(case) not in moved]
        return None

    def _seen(self, choice: Choice, cases: list[Case], own: Case | None) -> Conformance:
        failing = [case for case in choice.failing if case.drawn is not None]
        examples = sum(case.drawn is not None for case in cases)
        same = Conformity.PROCESSED if choice.processing.steps else Conformity.EQUAL
        return Conformance(
            claim=self.claim,
            outcome=Conformity.DIFFERENT if choice.failing else same,
            processing=choice.processing.name,
            examples=examples,
            agreeing=examples - len(failing),
            gap=widest([gap for case in cases for gap in choice.gaps(case)]),
            reason=self._reason(choice, failing, own),
            mismatch=self._mismatch(choice) if failing else None,
            own=tuple(choice.gaps(own)) if own is not None else (),
        )

    def _reason(self, choice: Choice, failing: list[Case], own: Case | None) -> str | None:
        if choice.failing and not failing:
            return "the maps differ on the user's own model alone"
        if self.comparison.own is not None and own is None:
            why = self.comparison.reasons[-1:] or ["every reference map is degenerate"]
            return f"nothing to compare on the user's own model: {why[0]}"
        return None

    def _mismatch(self, choice: Choice) -> Mismatch:
        """The smallest of the failing cases, or a smaller one that rounding does not move."""
        steady = [(case.drawn, case) for case in choice.failing if case.drawn is not None]
        best = min(steady, key=lambda pair: pair[1].size)
        smaller = self._shrunk(choice, best[1].size) if self.shrink else []
        for drawn, case in sorted(smaller, key=lambda pair: pair[1].size)[:LOOKS]:
            if not self.comparison.unstable(case):
                best = drawn, case
                break
        drawn, case = best
        gap = widest(choice.gaps(case))
        message = f"the maps differ by {gap.difference:.3g}, processing: {choice.processing.name}"
        return Mismatch(Example(drawn=drawn), gap, message)

    def _shrunk(self, choice: Choice, size: int) -> list[tuple[Drawn, Case]]:
        """Cases below a size that the choice does not explain either."""
        found: list[tuple[Drawn, Case]] = []
        scout = replace(self.comparison, degenerate=0, passed_over=0, reasons=[])
        scout.guarded = self.comparison.guarded

        def see(drawn: Drawn) -> bool:
            try:
                case = scout.put(drawn)
            except Shown:
                return False  # a fault is no difference
            agrees = None if case is None else choice.processing.agrees(case.pair, choice.factor)
            if case is None or agrees is None:
                return False
            if agrees:
                return True
            found.extend([(drawn, case)] if case.size < size else [])
            raise Shown(drawn, case.size)

        hunt(see, self.search, self.limits)
        return found

    def _unseen(self) -> Conformance:
        nothing = self.comparison.degenerate + self.unstable
        reasons = list(dict.fromkeys(self.comparison.reasons))
        return Conformance(
            claim=self.claim,
            outcome=Conformity.UNDEFINED if nothing else Conformity.NOT_APPLICABLE,
            reason="; ".join(reasons[:3]) or None,
        )

    def _faulty(self, error: FaultError, drawn: Drawn | None) -> Conformance:
        where = "on the user's own model: " if drawn is None else ""
        shown = None
        if drawn is not None:
            shown = Mismatch(Example(drawn=drawn), None, str(error), error.trace)
        return Conformance(
            claim=self.claim,
            outcome=Conformity.FAULT,
            examples=len(self.cases),
            fault=error.fault.value,
            reason=f"{where}{error}",
            mismatch=shown,
        )
