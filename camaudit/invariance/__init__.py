"""Metamorphic tests of explainers: what must follow when model, image or score is changed."""

from camaudit.invariance import answers as _answers
from camaudit.invariance import channels as _channels
from camaudit.invariance import completeness as _completeness
from camaudit.invariance import dead as _dead
from camaudit.invariance import heads as _heads
from camaudit.invariance import hygiene as _hygiene
from camaudit.invariance import images as _images
from camaudit.invariance import runtime as _runtime
from camaudit.invariance import score as _score
from camaudit.invariance import space as _space
from camaudit.invariance.compare import Difference, raw, scaled
from camaudit.invariance.conformance import Conformance, Conformity
from camaudit.invariance.example import Example, checked
from camaudit.invariance.explainer import Explain, Registered, registered
from camaudit.invariance.guard import Fault, FaultError, Guarded
from camaudit.invariance.loading import ExplainerSpec, load_explainer
from camaudit.invariance.networks import LAYER, build, code_of
from camaudit.invariance.plan import Head, Plan, Stage
from camaudit.invariance.property import PROPERTIES, Property, Tolerance, Verdict, prop
from camaudit.invariance.run import Counterexample, Finding, Outcome, Search, examine, replayed
from camaudit.invariance.situation import Drawn, Situation
from camaudit.invariance.strategies import networks, situations

__all__ = [
    "LAYER",
    "PROPERTIES",
    "Conformance",
    "Conformity",
    "Counterexample",
    "Difference",
    "Drawn",
    "Example",
    "Explain",
    "ExplainerSpec",
    "Fault",
    "FaultError",
    "Finding",
    "Guarded",
    "Head",
    "Outcome",
    "Plan",
    "Property",
    "Registered",
    "Search",
    "Situation",
    "Stage",
    "Tolerance",
    "Verdict",
    "build",
    "checked",
    "code_of",
    "examine",
    "load_explainer",
    "networks",
    "prop",
    "raw",
    "registered",
    "replayed",
    "scaled",
    "situations",
]

_FAMILIES = (
    _answers,
    _score,
    _completeness,
    _channels,
    _heads,
    _space,
    _images,
    _dead,
    _runtime,
    _hygiene,
)  # importing them registers their properties
