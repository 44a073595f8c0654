"""Properties of the channels: the same function of the image, its channels in another form.

Each change is undone by what reads the target layer (its consumer), so that logits stay the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

from camaudit.invariance.asking import agreement
from camaudit.invariance.compare import Difference, raw, scaled
from camaudit.invariance.explainer import Explain
from camaudit.invariance.probe import channels_of, gradients_of
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.reasons import CHANNELS, MASKS, PLUSPLUS, because
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import Added, Mixed, folds, rewired

__all__: list[str] = []

_GROUPS = "its groups are runs of channels in their order, which other channels shift"


def _compared(
    explain: Explain,
    given: Situation,
    target: Tensor | nn.Module,
    back: Tensor,
    folded: bool,
    compare: Callable[[Tensor, Tensor], Difference] = raw,
) -> Verdict:
    """Maps of the model and of the model with channels `target(A)`, read through `back` (K×L).

    target: a module, or the matrix (L×K) of a :class:`Mixed` one.
    """
    if isinstance(target, Tensor):
        target = Mixed(target.to(given.images))
    return agreement(explain, given, rewired(given, target, back, folded=folded), compare=compare)


def _orders(given: Situation) -> SearchStrategy[Parameters]:
    rolls = st.integers(0, channels_of(given) - 1)
    return st.fixed_dictionaries({"roll": rolls, "reverse": st.booleans(), "folded": folds(given)})


def _told_apart(given: Situation) -> str | None:
    """gScoreCAM chooses among channels without any gradient by their number."""
    dead = (gradients_of(given) == 0).flatten(1).all(dim=1)
    return "a dead head does not tell its channels apart" if bool(dead.any()) else None


@prop(
    "channel-permutation",
    Property(
        statement="channels in another order, their consumer with them: the same map",
        source="a channel is a summand; no method reads its number",
        violated={
            "sscam": "the noise on a channel's mask is drawn by the channel's number",
            "groupcam": _GROUPS,
        },
        needs=_told_apart,
        parameters=_orders,
    ),
)
def channel_permutation(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with its channels rolled, and maybe reversed."""
    order = torch.arange(channels_of(given)).roll(parameters["roll"])
    order = order.flip(0) if parameters["reverse"] else order
    matrix = torch.eye(len(order))[order]
    return _compared(explain, given, matrix, matrix.T, parameters["folded"])


def _factors(given: Situation) -> SearchStrategy[Parameters]:
    factors = st.lists(st.sampled_from([2.0, 4.0, 0.5]), min_size=1, max_size=3)
    return st.fixed_dictionaries({"factors": factors, "folded": folds(given)})


def _two_channels(given: Situation) -> str | None:
    return None if channels_of(given) > 1 else "one channel has no scale beside another"


@prop(
    "channel-scale",
    Property(
        statement="channel × s, its consumer ÷ s, for powers of two: the same map",
        source="G/s ⊙ sA = G ⊙ A: a layer's unit is arbitrary (non-negative homogeneity of ReLU)",
        violated=because(
            {
                CHANNELS: "the maps themselves are its measure",
                MASKS: "the weights stay, as min-max masks do, or depend otherwise on the size of "
                "A, which they multiply",
                ("ablationcam", "liftcam"): "the weight is the channel's share of the score, which "
                "stays, and A is multiplied by it",
            }
        ),
        needs=_two_channels,
        parameters=_factors,
        limits={"min_channels": 2},
    ),
)
def channel_scale(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with its channels times factors, in turn.

    The first channel stays, so that no common factor of all is a matter of the pooling's scale.
    """
    factors, count = parameters["factors"], channels_of(given)
    scales = torch.tensor([1.0, *(factors[k % len(factors)] for k in range(count - 1))])
    return _compared(explain, given, scales.diag(), (1 / scales).diag(), parameters["folded"])


def _channel(given: Situation) -> SearchStrategy[Parameters]:
    places = st.integers(0, channels_of(given) - 1)
    return st.fixed_dictionaries({"channel": places, "folded": folds(given)})


@prop(
    "channel-duplicate",
    Property(
        statement="a channel twice, the consumer of both halved: the same map",
        source="Σ_k G_k ⊙ A_k is a sum over what the consumer reads, however it is stored",
        violated=because(
            {
                PLUSPLUS: "the weight of each half, G/2/(2 + G/2 ΣA), is more than half the weight",
                CHANNELS: "the channel counts twice",
                MASKS: "the copy is masked and scored like the channel, and counts twice",
                ("eigengradcam", "segeigencam"): "two halves of a column have half its variance",
                ("ablationcam",): "without one copy the head loses half a channel; with bent "
                "layers that is not half of what it costs to lose it whole",
                ("groupcam",): _GROUPS,
            }
        ),
        parameters=_channel,
        limits={"head_activations": ("silu", "gelu", "relu")},
    ),
)
def channel_duplicate(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with a copy of one channel as its last."""
    units = torch.eye(channels_of(given))
    copied = units[parameters["channel"]]
    halved = units * (1 - copied / 2)
    back = torch.cat([halved, copied[:, None] / 2], dim=1)
    return _compared(explain, given, torch.cat([units, copied[None]]), back, parameters["folded"])


def _sizes(given: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"size": st.sampled_from([1.0, 0.25]), "folded": folds(given)})


@prop(
    "channel-added",
    Property(
        statement="an active channel added that nothing reads: the same map",
        source="Sundararajan et al. 2017, dummy: what the function does not depend on gets nothing",
        violated=because(
            {
                CHANNELS: "it never asks what is read",
                MASKS: "the channel's mask is scored like any other",
                ("groupcam",): _GROUPS,
            }
        ),
        parameters=_sizes,
    ),
)
def channel_added(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Raw maps of the model and of the model with an :class:`Added` channel without a reader."""
    units = torch.eye(channels_of(given))
    back = torch.cat([units, torch.zeros(len(units), 1)], dim=1)
    return _compared(explain, given, Added(parameters["size"]), back, parameters["folded"])


def _readers(given: Situation) -> SearchStrategy[Parameters]:
    readers = st.sampled_from([1.0, 0.0, -1.0])
    return st.fixed_dictionaries({"reader": readers, "folded": folds(given)})


@prop(
    "dead-channel",
    Property(
        statement="a channel added that is always zero, whatever reads it: the same map up to a "
        "factor",
        source="0 · w = 0, and 0/0 must be 0: pytorch-grad-cam #173, #214 and #404 are NaN here",
        violated={
            "kpcacam": "its γ = 1/K counts the channel",
            "groupcam": _GROUPS,
            "gscorecam": "the channel may take one of the places of largest mean gradient",
        },
        parameters=_readers,
    ),
)
def dead_channel(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of the model and of the model with a zero channel, divided by their largest values.

    The new channel is read like the first one, times `reader`.
    """
    units = torch.eye(channels_of(given))
    zero = torch.zeros(1, len(units))
    back = torch.cat([units, parameters["reader"] * units[:, :1]], dim=1)
    return _compared(explain, given, torch.cat([units, zero]), back, parameters["folded"], scaled)
