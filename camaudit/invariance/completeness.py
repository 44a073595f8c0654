"""Properties of sums: over the cells of a map, and over classes.

Both are of the map U before its rectification. What is seen of it are `ReLU(U)` for the score s
and `ReLU(−U)` for −s, so that `U = map(s) − map(−s)`; where a cell is above 0 in both there is no
such U. An explainer that shows signed maps has `U = (map(s) − map(−s))/2`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import CamauditError, NotApplicableError
from camaudit.invariance.asking import asked
from camaudit.invariance.compare import FLOOR
from camaudit.invariance.explainer import Explain
from camaudit.invariance.probe import captured, classes_of, gradients_of
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.reasons import (
    ADAM,
    CHANNELS,
    FIXED,
    PLUSPLUS,
    PROBABILITY,
    SCORES,
    because,
)
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import folds, rescored

__all__ = ["Parts", "parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The maps of a score and of its negative as one map.

    whole: U (N×h×w). overlap (N): the largest value that both maps have in one cell, as a share
    of the largest value of either (0/0 is 0): how far U is from being what they are parts of.
    blind: whether the maps are the same, so that the sign of the score does not matter.
    """

    whole: Tensor
    overlap: Tensor
    blind: bool


def parts(explain: Explain, given: Situation, matrix: Tensor, *, folded: bool = False) -> Parts:
    """What the explainer shows of logits `matrix · z` (matrix: C'×C) and of `−matrix · z`."""
    ours = asked(explain, rescored(given, matrix, folded=folded))
    theirs = asked(explain, rescored(given, -matrix, folded=folded))
    high = torch.maximum(_peaks(ours), _peaks(theirs))
    if bool((ours < 0).any() | (theirs < 0).any()):
        whole, both = (ours - theirs) / 2, (ours + theirs).abs() / 2
    else:
        whole, both = ours - theirs, torch.minimum(ours, theirs)
    overlap = torch.where(high > 0, _peaks(both) / torch.where(high > 0, high, 1), 0)
    return Parts(whole, overlap, torch.equal(ours, theirs) and bool((high > 0).any()))


def _peaks(maps: Tensor) -> Tensor:
    return maps.abs().flatten(1).amax(dim=1)


def _largest(values: Tensor, counted: Tensor) -> Verdict:
    """The largest of the values (N) that are `counted` (N)."""
    chosen = values[counted]
    return Verdict(float(chosen.max()) if len(chosen) else None)


def _complete(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """`|Σ_ij U_ij − s|` beside the larger of |s| and `Σ_ij |U_ij|`, or the overlap, if larger."""
    units = torch.eye(classes_of(given))
    found = parts(explain, given, units, folded=parameters["folded"])
    score = given.logits().gather(1, given.targets[:, None])[:, 0]
    cells = found.whole.flatten(1)
    size = torch.maximum(score.abs(), cells.abs().sum(dim=1))
    missing = (cells.sum(dim=1) - score).abs() / size
    return _largest(torch.maximum(missing, found.overlap), size > FLOOR[torch.float64])


def _folded(given: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"folded": folds(given)})


def _homogeneous(given: Situation) -> str | None:
    """Whether the explained logits are `s(tA) = t s(A)` for t > 0, tried for a few t."""
    if given.plan is not None:
        good = given.plan.homogeneous_head
    else:
        try:
            found = captured(given)
        except CamauditError as error:
            return f"the head cannot be looked at: {error}"
        good = all(_scales(found, t) for t in (0.0, 0.5, 0.999, 1.001, 2.0))
    return None if good else "the head is not positively homogeneous (a bias, or another bend)"


def _scales(found: Capture, t: float) -> bool:
    with torch.no_grad():
        logits = found.read(t * found.activations)
    scores = logits.gather(1, found.targets[:, None])[:, 0]
    allowed = 1e-9 if scores.dtype is torch.float64 else 1e-4
    return bool((scores - t * found.scores).abs().max() <= allowed * found.scores.abs().max())


#: Of one channel or one cell every map is like every other.
_LARGE = {"min_channels": 2, "min_cells": 2}

_CLASSLESS = "it is the same for every score"
_OWN_SIGNS = "it rectifies channel by channel: cells are above 0 for the score and its negative"
_MASKED = "its weights are those of masked images, positive or not for reasons of their own"
_INCOMPLETE = because(
    {
        ("cam",): "Zhou's weights are those of the mean: the map sums to the score times h·w",
        PLUSPLUS: "Grad-CAM++'s weights are no derivatives of the score",
        ("layercam", "elementwise"): _OWN_SIGNS,
        ("finercam",): "it explains a contrast of logits, which is another number",
        ("ablationcam", "liftcam"): "the weights are shares of the score already, by channel, and "
        "A multiplies them",
        ("eigengradcam",): "the principal component is of centred columns: it sums to 0",
        ("segeigencam", "fullgrad"): "it reads the size of the gradient alone, not its sign",
        ("reciprocam", "reciprocam-gaussian"): "a head with ReLU layers sees another score in each "
        "cell alone than in all together",
        (*SCORES, *PROBABILITY, *ADAM): _MASKED,
        (*CHANNELS, *FIXED): _CLASSLESS,
    }
)
_NOT_POOLED = {
    "gradcam": "its weight is the mean of G: for a G that varies in space another sum",
    "shapleycam": "where the head is piecewise linear it is Grad-CAM",
}


@prop(
    "completeness",
    Property(
        statement="a bias-free positively homogeneous head: the map before its ReLU sums to the "
        "score",
        source="Euler: Σ G ⊙ A = s; Draelos & Carin 2021; Fu et al. 2020, conservation; "
        "Sundararajan et al. 2017, completeness",
        violated={**_INCOMPLETE, **_NOT_POOLED},
        needs=_homogeneous,
        parameters=_folded,
        limits={
            **_LARGE,
            "bias": False,
            "head_activations": ("relu", "leaky_relu", None),
        },
    ),
)
def completeness(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """The sum of U beside the score, and whether there is a U, see :class:`Parts`."""
    return _complete(explain, given, parameters)


def _even(given: Situation) -> str | None:
    """Whether besides the gradient at the target layer is the same in all cells."""
    reason = _homogeneous(given)
    if reason is None:
        if given.plan is not None:
            even = given.plan.head.pooled
        else:
            gradients = gradients_of(given)
            spread = gradients.amax(dim=(2, 3)) - gradients.amin(dim=(2, 3))
            even = bool(spread.max() <= 1e-6 * gradients.abs().max())
        reason = None if even else "the gradient varies in space: the head is not a pooled one"
    return reason


@prop(
    "completeness-pooled",
    Property(
        statement="the same head behind global average pooling, where the gradient is constant in "
        "space: Grad-CAM's map before its ReLU sums to the score too",
        source="mean_ij G_k · Σ_ij A_kij = Σ_ij G_kij A_kij where G_k is constant, and Euler",
        violated=_INCOMPLETE,
        needs=_even,
        parameters=_folded,
        limits={
            **_LARGE,
            "bias": False,
            "head_activations": ("relu", "leaky_relu"),
            "pooled": True,
        },
    ),
)
def completeness_pooled(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """The sum of U beside the score, and whether there is a U, see :class:`Parts`."""
    return _complete(explain, given, parameters)


@prop(
    "score-linearity",
    Property(
        statement="the sum of two logits as a score: before the ReLU, the sum of both maps",
        source="Sundararajan et al. 2017, linearity: ∂(s_a + s_b)/∂A = ∂s_a/∂A + ∂s_b/∂A",
        violated=because(
            {
                PLUSPLUS: "Grad-CAM++'s weights are no linear function of the gradient",
                ("layercam", "elementwise"): _OWN_SIGNS,
                ("finercam",): "every class has references of its own",
                ("eigengradcam",): "a principal component of a sum is not the sum of components",
                ("ablationcam",): "the weights are divided by the score, each by its own",
                (*SCORES, *PROBABILITY, *ADAM): _MASKED,
            }
        ),
        parameters=_folded,
        limits={**_LARGE, "min_classes": 2},
    ),
)
def score_linearity(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """U of the score `s_c + s_{c+1}` beside the sum of both U, and whether there is a U.

    Raises :class:`NotApplicableError` where the map does not turn with the score's sign.
    """
    count = classes_of(given)
    units = torch.eye(count)
    matrix = torch.cat([units, units + units.roll(-1, dims=0)])
    targets = (given.targets, (given.targets + 1) % count, given.targets + count)
    found = [
        parts(explain, given.changed(targets=each), matrix, folded=parameters["folded"])
        for each in targets
    ]
    if any(each.blind for each in found):
        raise NotApplicableError(
            "the map is the same for the score and its negative: it has no sign to be linear in"
        )
    one, other, both = (each.whole for each in found)
    size = torch.stack([_peaks(each.whole) for each in found]).amax(dim=0)
    apart = _peaks(both - one - other) / size
    overlap = torch.stack([each.overlap for each in found]).amax(dim=0)
    return _largest(torch.maximum(apart, overlap), size > FLOOR[torch.float64])
