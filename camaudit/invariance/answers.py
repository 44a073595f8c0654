"""Properties of an answer: it stays, knows no other question, and needs a model that runs."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from camaudit.invariance.asking import asked
from camaudit.invariance.compare import raw
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import Fault, FaultError
from camaudit.invariance.hygiene import Failing
from camaudit.invariance.process import restored
from camaudit.invariance.property import EXACT, Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import after, copied

__all__: list[str] = []


@prop(
    "own-memory",
    Property(
        statement="maps stay what they were when other images are explained, and when the first "
        "ones are overwritten",
        source="an answer that a later call changes cannot be kept; every comparison keeps one",
        tolerance=EXACT,
        rounding=False,
    ),
)
def own_memory(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Maps before and after a call with other images, and zeros written into their own images."""
    images = given.images.clone()
    maps = asked(explain, given.changed(images=images, plan=given.plan))
    before = maps.clone()
    asked(explain, given.changed(images=given.images.flip(-1) / 2, plan=given.plan))
    images.zero_()
    return Verdict.of(raw(before, maps))


@prop(
    "call-history",
    Property(
        statement="other classes and other images explained first, on the same model: the same "
        "maps as of a fresh copy of it",
        source="a map answers one question; camaudit's metamorphic properties",
        limits={"min_classes": 2},
    ),
)
def call_history(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Maps of a copy of the model that was asked nothing before, and of the model after others."""
    ours = asked(explain, copied(given))
    others = (given.targets + 1) % given.logits().shape[1]
    asked(explain, given.changed(targets=others))
    asked(explain, given.changed(images=given.images.flip(-1) / 2))
    return Verdict.of(raw(ours, asked(explain, given)))


def _failures(_given: Situation) -> SearchStrategy[Parameters]:
    places = st.floats(0, 1, exclude_max=True)
    return st.fixed_dictionaries({"backward": st.booleans(), "place": places})


@prop(
    "failing-model",
    Property(
        statement="the model raises in the middle of a run: no maps are given",
        source="undefined is not zero: a map that was not computed must not look like one",
        tolerance=EXACT,
        parameters=_failures,
        rounding=False,
    ),
)
def failing_model(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """A run in which the pass at a `place`, a share of 1 of all, raises; it must raise as well.

    backward: count passes backward through the logits in place of forward ones. Says nothing where
    the explainer makes none.
    """
    failing = Failing(backward=parameters["backward"])
    changed = after(given, failing)
    with restored():
        asked(explain, changed)  # what the first run alone does is not counted
        failing.passes = 0
        asked(explain, changed)
        if not failing.passes:
            return Verdict(None)
        number = 1 + int(parameters["place"] * failing.passes)
        with failing.at_pass(number):
            try:
                asked(explain, changed)
            except FaultError as error:
                if error.fault is Fault.RAISED:
                    return Verdict(0.0)
                raise
    if failing.passes < number:
        return Verdict(None)
    return Verdict(None, "the model raised an error, and maps were given all the same")
