"""Properties of a run: batches, repetition, memory layout and precision must not matter."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from camaudit.invariance.asking import agreement, asked
from camaudit.invariance.compare import raw
from camaudit.invariance.conditioning import moved_by, moved_by_rounding
from camaudit.invariance.explainer import Explain
from camaudit.invariance.process import restored, seeded
from camaudit.invariance.property import (
    EXACT,
    ROUNDING,
    Parameters,
    Property,
    Tolerance,
    Verdict,
    prop,
)
from camaudit.invariance.reasons import ADAM, because
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import copied

__all__: list[str] = []

_SOURCE = "a map explains one image; camaudit's metamorphic properties"
_PRECISIONS = (torch.float32, torch.float64)
_DIGITS = 2e-3


def _several(given: Situation) -> str | None:
    return "there is one image" if len(given.images) < 2 else None


def _orders(given: Situation) -> SearchStrategy[Parameters]:
    count = len(given.images)
    moved = st.permutations(range(count)).filter(lambda order: order != list(range(count)))
    return st.fixed_dictionaries({"order": moved if count > 1 else st.just([0])})


@prop(
    "batch-order",
    Property(
        statement="images and targets in another order: the same maps in that order",
        source=_SOURCE,
        needs=_several,
        parameters=_orders,
        limits={"min_images": 2, "images": 3},
    ),
)
def batch_order(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of a batch, and of the batch in another order."""
    order: list[int] = parameters["order"]
    back = torch.tensor(order).argsort()
    return agreement(explain, given, given.rows(order), back=lambda maps: maps[back])


@prop(
    "batch-size",
    Property(
        statement="each image alone: the map that it has in the batch",
        source=_SOURCE,
        needs=_several,
        limits={"min_images": 2, "images": 3},
    ),
)
def batch_size(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Maps of a batch, and of its images one by one."""
    together = asked(explain, given)
    alone = [asked(explain, given.rows([row])) for row in range(len(given.images))]
    if any(maps.shape[1:] != together.shape[1:] for maps in alone):
        return Verdict(None, "maps of single images have another size than those of the batch")
    return Verdict.of(raw(together, torch.cat(alone)))


@prop(
    "determinism",
    Property(
        statement="asked twice, with other global random states: the very same maps",
        source="a result that cannot be repeated cannot be audited",
        tolerance=EXACT,
        rounding=False,
    ),
)
def determinism(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Maps of two runs; torch's, NumPy's and Python's generators are seeded otherwise between.

    Kernels of accelerators may add in no fixed order: only there rounding is allowed for.
    """
    with restored():
        seeded(1)
        ours = asked(explain, given)
        seeded(2)
        theirs = asked(explain, given)
    found = raw(ours, theirs).value
    accelerated = given.images.device.type != "cpu"
    if accelerated and found is not None and found <= ROUNDING.of(given.images.dtype):
        return Verdict(0.0)
    return Verdict(found)


@prop(
    "memory-format",
    Property(
        statement="images and model with the channels last in memory: the same maps",
        source="a layout in memory is no number",
    ),
)
def memory_format(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Maps of the contiguous and of the channels-last form of the model and the images."""
    other = copied(given)
    return agreement(
        explain,
        given,
        other.changed(
            model=other.model.to(memory_format=torch.channels_last),
            images=given.images.contiguous(memory_format=torch.channels_last),
        ),
    )


def _precise(given: Situation) -> str | None:
    floating = [p.dtype for p in given.model.parameters() if p.is_floating_point()]
    known = all(dtype in _PRECISIONS for dtype in [given.images.dtype, *floating])
    return None if known else "the model is neither in float32 nor in float64"


@prop(
    "dtype",
    Property(
        statement="model and images in float32 and, the same numbers, in float64: the same maps",
        source="a definition is a function of numbers, not of their format",
        tolerance=Tolerance(
            _DIGITS, _DIGITS,
            "float32 has 7 digits, of which sums that cancel lose some; an example that float32's "
            "rounding of the image alone moves as far is not counted",
        ),
        violated=because({
            ADAM: "Adam's first step is as long for the slightest gradient as for any: where "
            "float32 has the other sign of a gradient of about 0, the ascent goes the other way",
            ("fullgrad",): "its min-max stretches a bias gradient that hardly varies, by less than "
            "float32 can tell from a constant one, to [0, 1]",
        }),
        needs=_precise,
        # Far below 0 GELU is 0 in float32 and 1e-9 in float64: no channel, or one with a form.
        limits={
            "activations": ("relu", "leaky_relu", "silu"),
            "head_activations": ("relu", None, "leaky_relu", "silu"),
        },
        rounding=False,
    ),
)  # fmt: skip
def dtype(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """Maps of the model rounded to float32, and of the same weights in float64."""
    single = _as(given, torch.float32)
    wide = _as(single, torch.float64)
    verdict = Verdict.of(raw(asked(explain, single), asked(explain, wide)))
    if verdict.holds(_DIGITS) or not _unstable_in_float32(explain, single, wide):
        return verdict
    return Verdict(None)


def _unstable_in_float32(explain: Explain, single: Situation, wide: Situation) -> bool:
    """Whether the map jumps at these images, within what float32 can tell apart.

    Where a method decides between two cases (a peak or none, a channel that is constant or not),
    it allows for rounding of up to a thousand of float32's steps: the images are moved by twice
    as much, in float64, where nothing but a jump moves a map by more than the tolerance.
    """
    step = 2e3 * torch.finfo(torch.float32).eps
    return moved_by_rounding(explain, single, _DIGITS) or moved_by(
        explain, wide, step=step, bound=_DIGITS, tries=8
    )


def _as(given: Situation, precision: torch.dtype) -> Situation:
    other = copied(given)
    return other.changed(model=other.model.to(precision), images=given.images.to(precision))
