"""Random verdicts for the properties that every output has to keep."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from camaudit.gates.policy import Severity
from camaudit.gates.verdict import Decision, Ruling, Verdict
from tests.gates.verdicts import HOSTILE, condition, passed, verdict, waiver

TEXTS = st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE[:-1]))
NAMES = TEXTS.filter(lambda text: text != "")
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def rulings(draw: st.DrawFn) -> Ruling:
    """A ruling of any decision; one that passes or fails has figures."""
    decision = draw(st.sampled_from(Decision))
    waived = decision in (Decision.FAIL, Decision.INCONCLUSIVE) and draw(st.booleans())
    severity = draw(st.sampled_from(Severity))
    which = condition(
        draw(NAMES), figure=draw(NAMES), severity=severity, line=draw(st.integers(0, 99))
    )
    found = passed(
        condition=which, explainer=draw(NAMES), decision=decision, reason=draw(TEXTS),
        waiver=waiver(reason=draw(TEXTS)) if waived else None,
        worst=tuple(draw(st.lists(st.tuples(TEXTS, st.floats(0, 1)), max_size=3))),
        more=draw(st.one_of(st.none(), st.integers(0, 10**6))),
    )  # fmt: skip
    if decision in (Decision.PASS, Decision.FAIL):
        return found
    return dataclasses.replace(found, value=draw(NUMBERS), low=draw(NUMBERS), bound=draw(NUMBERS))


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    """A verdict of any rulings, problems and notes; also of none."""
    return verdict(
        *draw(st.lists(rulings(), max_size=5)),
        policy=draw(NAMES),
        problems=tuple(draw(st.lists(TEXTS, max_size=2))),
        notes=tuple(draw(st.lists(TEXTS, max_size=2))),
    )
