"""Properties of the score: what a change of the logits alone may do to a map."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

from camaudit.invariance.compare import scaled
from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import after

_SECOND_ORDER = "its weights hold powers of the gradient that do not scale alike"


class Times(nn.Module):
    """`z ↦ factor · z`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        return logits * self.factor


def _factors(_situation: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"factor": st.sampled_from([2.0, 0.5, 8.0, 3.0])})


@prop(
    "logit-scale",
    Property(
        statement="all logits times λ > 0: the same map up to a factor",
        source="every gradient scales by λ; camaudit's definitions, metamorphic properties",
        violated={"gradcam++": _SECOND_ORDER},
        parameters=_factors,
    ),
)
def logit_scale(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of the model and of λ · model, each divided by its largest value."""
    changed = after(given, Times(parameters["factor"]))
    ours = explain(given.model, given.layer, given.images, given.targets)
    theirs = explain(changed.model, changed.layer, changed.images, changed.targets)
    return Verdict.of(scaled(ours, theirs))


_ = torch
