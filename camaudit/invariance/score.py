"""Properties of the score: what a change of the logits alone may do to a map."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

from camaudit.errors import NotApplicableError
from camaudit.invariance.asking import asked
from camaudit.invariance.compare import raw, scaled
from camaudit.invariance.explainer import Explain
from camaudit.invariance.probe import classes_of
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.reasons import ADAM, PLUSPLUS, PROBABILITY, SCORES, because
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import after, folds, rescored
from camaudit.probability import link_of

__all__ = ["Increasing", "increasing"]

_SCALE = because(
    {
        PLUSPLUS: "Grad-CAM++'s weight G/(2 + G ΣA) is no multiple of G: it depends on G's size",
        SCORES: "a softmax over channels sharpens as the logits grow",
        PROBABILITY: "the softmax probabilities of the classes sharpen as the logits grow",
        ADAM: "Adam adds ε = 1e-8 to the root of the squared gradient: its step depends on the "
        "gradient's size",
    }
)


def _factors(given: Situation) -> SearchStrategy[Parameters]:
    factors = st.sampled_from([2.0, 0.5, 8.0, 3.0, 2.0**-16])
    return st.fixed_dictionaries({"factor": factors, "folded": folds(given)})


@prop(
    "logit-scale",
    Property(
        statement="all logits times λ > 0: the same map up to a factor",
        source="∂(λs)/∂A = λ ∂s/∂A; a class has no scale of its own",
        violated=_SCALE,
        parameters=_factors,
    ),
)
def logit_scale(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of the model and of λ · model, each divided by its largest value.

    Maps that shrink with λ are enlarged by 1/λ first, so that none counts as empty for that.
    """
    factor = parameters["factor"]
    changed = rescored(given, factor * torch.eye(classes_of(given)), folded=parameters["folded"])
    return Verdict.of(scaled(asked(explain, given), asked(explain, changed) / min(factor, 1.0)))


def _shifts(given: Situation) -> SearchStrategy[Parameters]:
    shifts = st.sampled_from([1.0, -1.0, 0.25, 4.0])
    return st.fixed_dictionaries({"shift": shifts, "folded": folds(given)})


@prop(
    "logit-shift",
    Property(
        statement="all logits plus c: the same map up to a factor",
        source="∂(s + c)/∂A = ∂s/∂A; softmax probabilities of the classes stay what they are",
        parameters=_shifts,
    ),
)
def logit_shift(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of the model and of model + c, each divided by its largest value.

    Raises :class:`NotApplicableError` for a model of sigmoids, which a shift changes.
    """
    if link_of(given.model) == "sigmoid":
        raise NotApplicableError("each class has a sigmoid of its own, which a shift changes")
    count = classes_of(given)
    offset = torch.full((count,), parameters["shift"])
    changed = rescored(given, torch.eye(count), offset, folded=parameters["folded"])
    ours, theirs = asked(explain, given), asked(explain, changed)
    defined = torch.isfinite(ours + theirs).flatten(1).all(dim=1)  # a score of 0 may have no map
    return Verdict.of(scaled(ours[defined], theirs[defined]))


class Increasing(nn.Module):
    """`z_c ↦ f((z_c − middle)/reach)` for one class c; the other logits stay what they are."""

    def __init__(self, target: int, function: nn.Module, middle: float, reach: float) -> None:
        super().__init__()
        self.target = target
        self.function = function
        self.middle = middle
        self.reach = reach

    def forward(self, logits: Tensor) -> Tensor:
        chosen = torch.arange(logits.shape[1], device=logits.device) == self.target
        return torch.where(chosen, self.function((logits - self.middle) / self.reach), logits)


#: Smooth and increasing, and modules, so that rules that go module by module know them.
_FUNCTIONS: dict[str, type[nn.Module]] = {"softplus": nn.Softplus, "logistic": nn.Sigmoid}


def increasing(given: Situation, function: str) -> Situation:
    """The first image's target explained for all images, its logit under a smooth function.

    "softplus" or "logistic" of `(s − m)/r`: m is the images' mean logit and r, at least 1, its
    largest distance from one, so that the slope is never small.
    """
    target = int(given.targets[0])
    scores = given.logits()[:, target]
    middle = float(scores.mean())
    reach = max(1.0, float((scores - middle).abs().max()))
    module = Increasing(target, _FUNCTIONS[function](), middle, reach)
    return after(given.changed(targets=torch.full_like(given.targets, target)), module)


_CURVED = because(
    {
        PLUSPLUS: "Grad-CAM++'s weight G/(2 + G ΣA) is no multiple of G: it depends on G's size",
        ("finercam",): "the contrast weighs the class's own logit against others that stay",
        ("shapleycam",): "the function's own curvature enters its second derivative",
        (
            "ablationcam",
        ): "the function bends: large drops of the score shrink more than small ones",
        ("reciprocam", "reciprocam-gaussian"): "the function bends: the scores of single cells are "
        "far from that of the whole map",
        SCORES: "masked images score differently far from the image's own score, where the "
        "function has another slope",
        PROBABILITY: "the softmax compares the class's logit with others that stay",
        ADAM: "the slope at each step's score weighs that step's gradient in Adam's averages",
    }
)


def _functions(_given: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"function": st.sampled_from(sorted(_FUNCTIONS))})


@prop(
    "increasing-score",
    Property(
        statement="a smooth increasing function of the explained logit alone: the same map up to "
        "a factor",
        source="∂f(s)/∂A = f′(s) ∂s/∂A, one factor f′(s) > 0 an image",
        violated=_CURVED,
        parameters=_functions,
        limits={"one_target": True},
    ),
)
def increasing_score(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps for s and for f(s), each divided by its largest value, see :func:`increasing`."""
    changed = increasing(given, parameters["function"])
    ours = asked(explain, given.changed(targets=changed.targets))
    return Verdict.of(scaled(ours, asked(explain, changed)))


def _orders(given: Situation) -> SearchStrategy[Parameters]:
    rolls = st.integers(1, classes_of(given) - 1)
    return st.fixed_dictionaries({"roll": rolls, "reverse": st.booleans(), "folded": folds(given)})


def _two_classes(given: Situation) -> str | None:
    return None if classes_of(given) > 1 else "one class has no order"


@prop(
    "class-permutation",
    Property(
        statement="the classes in another order, targets with them: the same map",
        source="a class is a name; no method reads its number",
        needs=_two_classes,
        parameters=_orders,
        limits={"min_classes": 2},
    ),
)
def class_permutation(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with its logits, and targets, in another order."""
    order = torch.arange(classes_of(given)).roll(parameters["roll"])
    order = order.flip(0) if parameters["reverse"] else order
    changed = rescored(given, torch.eye(len(order))[order], folded=parameters["folded"])
    places = order.argsort().to(given.targets)
    theirs = asked(explain, changed.changed(targets=places[given.targets]))
    return Verdict.of(raw(asked(explain, given), theirs))
