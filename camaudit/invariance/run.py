"""Search for an example that violates a property: Hypothesis draws and shrinks, we name the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from camaudit.errors import NotApplicableError, UsageError
from camaudit.invariance.conditioning import moved_by_rounding
from camaudit.invariance.example import Example
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import FaultError, Guarded
from camaudit.invariance.property import PROPERTIES, Property, Verdict
from camaudit.invariance.situation import Situation
from camaudit.invariance.strategies import situations

#: Examples in a row that are passed over before a search without any other is given up.
PATIENCE = 40

__all__ = [
    "Counterexample",
    "Finding",
    "Outcome",
    "RefutedError",
    "Search",
    "Trial",
    "cases",
    "examine",
    "replayed",
]


class Outcome(StrEnum):
    """What became of one property of one explainer."""

    HOLDS = "holds"
    VIOLATED = "violated by definition"
    NOT_CONFIRMED = "not confirmed"
    BUG = "bug"
    NOT_APPLICABLE = "not applicable"
    UNDEFINED = "undefined"
    FAULT = "fault"


@dataclass(frozen=True)
class Counterexample:
    """The smallest example found that does not hold; `example` is None on a user's own model.

    `difference` is None where a fault is what was found; `trace` is the explainer's own traceback.
    """

    example: Example | None
    parameters: dict[str, Any]
    difference: float | None
    message: str
    trace: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found about one property of one explainer.

    `examples` counts those that say something. Not among them: degenerate maps (`degenerate`),
    those that rounding alone moves (`unstable`) and those where the explainer or the property does
    not apply (`passed_over`). `fault` names the fault where the outcome is Outcome.FAULT.
    """

    property: str
    outcome: Outcome
    examples: int
    degenerate: int
    unstable: int
    passed_over: int
    reason: str | None = None
    fault: str | None = None
    counterexample: Counterexample | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Search:
    """How long to look: `examples` examples that say something, `budget` seconds of the explainer.

    Ten times as many are drawn at most; a property that has not applied :data:`PATIENCE` times,
    and never has, is given up.

    `seed` draws them; None for `budget` sets no bound. Without `shrink` the counterexample is the
    first that was drawn, not the smallest that was found from there.
    """

    examples: int = 50
    seed: int = 0
    budget: float | None = None
    shrink: bool = True

    def __post_init__(self) -> None:
        if self.examples < 1 or self.seed < 0 or (self.budget is not None and self.budget <= 0):
            raise UsageError(
                "expected at least one example, a seed from 0 on and a budget above 0 s; got "
                f"{self}"
            )


class _GivenUp(BaseException):
    """No example will come that the property or the explainer applies to."""


class RefutedError(Exception):
    """An example that does not hold."""

    def __init__(self, found: Counterexample, fault: str | None = None) -> None:
        super().__init__(found.message)
        self.found = found
        self.fault = fault


@dataclass(eq=False)
class Trial:
    """Examples of one property put to one explainer, and what became of them."""

    name: str
    explain: Guarded
    examples: int = 0
    degenerate: int = 0
    unstable: int = 0
    passed_over: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def info(self) -> Property:
        return PROPERTIES[self.name].info

    def put(
        self, situation: Situation, parameters: dict[str, Any], example: Example | None
    ) -> bool:
        """Try one example: whether it says something; raises where it does not hold."""
        reason = self.info.needs(situation)
        if reason is not None:
            return self._pass_over(reason)
        try:
            verdict = PROPERTIES[self.name].function(self.explain, situation, parameters)
        except NotApplicableError as error:
            return self._pass_over(str(error))
        except FaultError as error:
            found = Counterexample(example, parameters, None, str(error), error.trace)
            raise RefutedError(found, error.fault.value) from error
        return self._judge(verdict, situation, parameters, example)

    @property
    def hopeless(self) -> bool:
        """Whether nothing but examples to pass over came, often enough to stop."""
        others = self.examples + self.degenerate + self.unstable
        return others == 0 and self.passed_over >= PATIENCE

    def _pass_over(self, reason: str) -> bool:
        self.passed_over += 1
        self.reasons.append(reason)
        return False

    def _judge(
        self,
        verdict: Verdict,
        situation: Situation,
        parameters: dict[str, Any],
        example: Example | None,
    ) -> bool:
        bound = self.info.tolerance.of(situation.images.dtype)
        if verdict.says_nothing:
            self.degenerate += 1
            return False
        if not verdict.holds(bound) and self._unstable(verdict, situation, bound):
            self.unstable += 1
            return False
        self.examples += 1
        if verdict.holds(bound):
            return True
        message = verdict.fault or f"differs by {verdict.difference:.3g}, allowed {bound:g}"
        raise RefutedError(Counterexample(example, parameters, verdict.difference, message))

    def _unstable(self, verdict: Verdict, situation: Situation, bound: float) -> bool:
        if verdict.fault is not None or not self.info.rounding:
            return False
        try:
            return moved_by_rounding(self.explain, situation, bound)
        except (NotApplicableError, FaultError):
            return False  # the property asked about another model than this one


def examine(
    name: str,
    explain: Explain,
    *,
    method: str | None = None,
    search: Search | None = None,
    own: Situation | None = None,
    known: Sequence[Example] = (),
) -> Finding:
    """Test the property `name` of an explainer.

    method: the registered method that the explainer is, or claims to be; its published violations
    are then expected, and a violation that is not found is "not confirmed". own: test it on this
    model and these images instead of drawn networks. known: examples to try first.

    Raises :class:`camaudit.errors.UnknownNameError` for an unknown property.
    """
    search = search or Search()
    info = PROPERTIES[name].info
    guarded = Guarded(explain, budget=search.budget)
    trial = Trial(name, guarded)
    started = time.perf_counter()
    refuted: RefutedError | None = None
    try:
        for example in known:
            trial.put(example.drawn.situation(), example.parameters, example)
        _search(trial, search, own)
    except RefutedError as error:
        refuted = error
    expected = info.violated.get(method) if method is not None else None
    return Finding(
        property=name,
        **_ended(trial, refuted, expected),
        examples=trial.examples,
        degenerate=trial.degenerate,
        unstable=trial.unstable,
        passed_over=trial.passed_over,
        seconds=time.perf_counter() - started,
    )


def replayed(name: str, explain: Explain, example: Example) -> Counterexample | None:
    """What is wrong with one example, or None where it holds, or says nothing."""
    try:
        Trial(name, Guarded(explain)).put(example.drawn.situation(), example.parameters, example)
    except RefutedError as error:
        return error.found
    return None


def _ended(trial: Trial, refuted: RefutedError | None, expected: str | None) -> dict[str, Any]:
    if refuted is not None and refuted.fault is not None:
        found = refuted.found
        return {
            "outcome": Outcome.FAULT, "fault": refuted.fault, "reason": found.message,
            "counterexample": found,
        }  # fmt: skip
    if refuted is not None:
        outcome = Outcome.BUG if expected is None else Outcome.VIOLATED
        reason = expected or refuted.found.message
        return {"outcome": outcome, "reason": reason, "counterexample": refuted.found}
    if trial.examples == 0:
        reasons = list(dict.fromkeys(trial.reasons))
        outcome = Outcome.UNDEFINED if trial.degenerate + trial.unstable else Outcome.NOT_APPLICABLE
        return {"outcome": outcome, "reason": "; ".join(reasons[:3]) or None}
    if expected is not None:
        return {"outcome": Outcome.NOT_CONFIRMED, "reason": expected}
    return {"outcome": Outcome.HOLDS}


def _search(trial: Trial, search: Search, own: Situation | None) -> None:
    """Draw examples until one is refuted, and shrink it; raises :class:`RefutedError`."""
    best: list[RefutedError] = []

    @seed(search.seed)
    @settings(
        max_examples=search.examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if search.shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(cases(trial.info, own))
    def run(case: tuple[Situation, dict[str, Any], Example | None]) -> None:
        try:
            if not trial.put(*case):
                if trial.hopeless:
                    raise _GivenUp
                reject()
        except RefutedError as error:
            best.append(error)
            raise

    try:
        run()
    except (_GivenUp, Unsatisfiable):
        return
    except Exception:
        # Hypothesis' own complaint (a flaky explainer, say) follows what was refuted first.
        if not best:
            raise
        raise best[-1] from None


@st.composite
def cases(
    draw: st.DrawFn, info: Property, own: Situation | None
) -> tuple[Situation, dict[str, Any], Example | None]:
    """Situations of the property's kind (or `own`), its parameters, and both as plain values."""
    if own is not None:
        return own, draw(info.parameters(own)), None
    drawn = draw(situations(**info.limits))
    situation = drawn.situation()
    parameters = draw(info.parameters(situation))
    return situation, parameters, Example(drawn=drawn, parameters=parameters)
