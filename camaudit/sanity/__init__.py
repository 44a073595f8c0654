"""Sanity checks: does a map depend on what the model has learned, on its data, on the class?

MPRT, eMPRT and sMPRT replace weights by random ones; random logit changes the explained class;
data randomisation compares with a model trained on permuted labels. All are necessary, none is
sufficient for a map to be right.
"""

from camaudit.sanity.cascade import ORDERS, Cascade, OrderName, State, prepare_cascade
from camaudit.sanity.emprt import complexity, complexity_rise
from camaudit.sanity.explain import Explained, Explainer, explain
from camaudit.sanity.options import CHECKS, Check, Options
from camaudit.sanity.order import Layer, Order, execution_order
from camaudit.sanity.outcomes import (
    Curve,
    Effect,
    Null,
    Outcome,
    Remark,
    SanityResult,
    Step,
    Table,
)
from camaudit.sanity.randomise import SCHEMES, Randomiser, Scheme
from camaudit.sanity.run import Progress, run_sanity
from camaudit.sanity.similarity import SIMILARITIES, SimilarityName, similarity
from camaudit.sanity.smprt import noisy_views

__all__ = [
    "CHECKS",
    "ORDERS",
    "SCHEMES",
    "SIMILARITIES",
    "Cascade",
    "Check",
    "Curve",
    "Effect",
    "Explained",
    "Explainer",
    "Layer",
    "Null",
    "Options",
    "Order",
    "OrderName",
    "Outcome",
    "Progress",
    "Randomiser",
    "Remark",
    "SanityResult",
    "Scheme",
    "SimilarityName",
    "State",
    "Step",
    "Table",
    "complexity",
    "complexity_rise",
    "execution_order",
    "explain",
    "noisy_views",
    "prepare_cascade",
    "run_sanity",
    "similarity",
]
