"""Properties of the layers: the same function of the image by other modules gives the same map."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import nn

from camaudit.invariance.asking import agreement
from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.invariance.structure import (
    associated,
    flat,
    functional,
    merged,
    nested,
    norms_folded,
    split,
)
from camaudit.invariance.transforms import head_of

__all__: list[str] = []

#: A single channel behind Linear layers is CAM's pooled head too, but for a factor in its weight.
_SEVERAL = {"min_channels": 2}


def _drawn(given: Situation) -> str | None:
    return None if given.plan is not None else "the head's layers are known in drawn networks alone"


def _places(given: Situation) -> SearchStrategy[Parameters]:
    layers = [] if given.plan is None else head_of(given)
    count = sum(isinstance(layer, nn.Linear) for layer in layers)
    sides = st.sampled_from(["output", "input"])
    return st.fixed_dictionaries({"index": st.integers(0, max(count - 1, 0)), "side": sides})


@prop(
    "linear-split",
    Property(
        statement="a Linear layer above the target as two that follow each other: the same map",
        source="W = V U is the same function; Sundararajan et al. 2017, implementation invariance",
        needs=_drawn,
        parameters=_places,
        limits=_SEVERAL,
        own=False,
    ),
)
def linear_split(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with one Linear layer of its head split."""
    changed = split(given, parameters["index"], parameters["side"])
    return agreement(explain, given, changed)


def _mergeable(given: Situation) -> str | None:
    if given.plan is None:
        return _drawn(given)
    head = given.plan.head
    linear = head.hidden and head.activation is None
    return None if linear else "no two Linear layers follow each other"


@prop(
    "linear-merge",
    Property(
        statement="Linear layers above the target that follow each other made one: the same map",
        source="V U = W is the same function; Sundararajan et al. 2017, implementation invariance",
        needs=_mergeable,
        limits={**_SEVERAL, "min_hidden": 1, "head_activations": (None,)},
        own=False,
    ),
)
def linear_merge(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with the Linear layers of its head merged."""
    return agreement(explain, given, merged(given))


def _operations(given: Situation) -> SearchStrategy[Parameters]:
    operations = ["maxima"] if given.plan is None else ["maxima", "functional"]
    return st.fixed_dictionaries(
        {"operation": st.sampled_from(operations), "level": st.sampled_from([0.5, 0.25, 1.0])}
    )


@prop(
    "implementation",
    Property(
        statement="the same function of the target layer by other operations: the same map",
        source="Sundararajan et al. 2017, Axiomatic Attribution, section 2.2: implementation "
        "invariance",
        violated={
            "liftcam": "DeepLIFT's multipliers go layer by layer: two orders of the same maxima "
            "have different ones (Sundararajan et al. 2017, section 2.2)",
        },
        parameters=_operations,
        limits={"min_classes": 2},
    ),
)
def implementation(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of one that computes the same logits otherwise.

    operation: "functional" is a head without modules; "maxima" adds two equal maxima's difference
    to the logits, at `level` times their mean (see :class:`structure.Associated`).
    """
    if parameters["operation"] == "functional":
        return agreement(explain, given, functional(given))
    level = parameters["level"] * float(given.logits().mean())
    return agreement(explain, given, associated(given, level))


def _containers(given: Situation) -> SearchStrategy[Parameters]:
    forms = ["nested"] if given.plan is None else ["nested", "flat"]
    return st.fixed_dictionaries({"form": st.sampled_from(forms)})


_STAGES = "its earlier layers are modules of the model: containers decide which there are"


@prop(
    "containers",
    Property(
        statement="layers in more containers, or fewer: the same map",
        source="a Sequential computes nothing of its own",
        violated={"polycam": _STAGES, "refinecam": _STAGES},
        parameters=_containers,
    ),
)
def containers(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the same layers "nested" deeper, or "flat" side by side."""
    changed = nested(given) if parameters["form"] == "nested" else flat(given)
    return agreement(explain, given, changed)


def _normed(given: Situation) -> str | None:
    if given.plan is not None and any(stage.norm for stage in given.plan.stages):
        return None
    return "no drawn network with a BatchNorm"


@prop(
    "folded-norm",
    Property(
        statement="every BatchNorm multiplied into the convolution before it: the same map",
        source="in eval mode it is one affine map a channel, as the convolution before it is",
        violated={
            "fullgrad": "ψ of each bias alone: a folded norm leaves one bias where there were two",
        },
        needs=_normed,
        own=False,
    ),
)
def folded_norm(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model without its BatchNorms."""
    return agreement(explain, given, norms_folded(given))
