"""Properties of space: flipped, transposed and moved images, for a network changed with them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.errors import NotApplicableError
from camaudit.invariance.asking import PIXEL_NOISE, agreement, asked, cells_of
from camaudit.invariance.compare import raw
from camaudit.invariance.explainer import Explain
from camaudit.invariance.plan import Axis, Plan
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import before, rewired

__all__ = [
    "Layout", "conjugated", "flip_horizontal", "flip_vertical", "mirrored", "transpose",
]  # fmt: skip

Move = Callable[[Tensor], Tensor]


def flip_horizontal(x: Tensor) -> Tensor:
    """…×h×w, left and right exchanged."""
    return x.flip(-1)


def flip_vertical(x: Tensor) -> Tensor:
    """…×h×w, top and bottom exchanged."""
    return x.flip(-2)


def transpose(x: Tensor) -> Tensor:
    """…×h×w to …×w×h."""
    return x.transpose(-1, -2).contiguous()


#: Each is its own inverse. The axis is the one along which windows must fit.
_MOVES: dict[str, tuple[Move, Axis | None]] = {
    "flip-horizontal": (flip_horizontal, "horizontal"),
    "flip-vertical": (flip_vertical, "vertical"),
    "transpose": (transpose, None),
}
_EARLIER = "it also reads layers before the target layer, whose layout stays as it was"
_FLIPPED = {
    "flip-horizontal": "left and right exchanged",
    "flip-vertical": "top and bottom exchanged",
    "transpose": "rows and columns exchanged",
}


class Layout(nn.Module):
    """A move of the cells as a layer."""

    def __init__(self, move: Move) -> None:
        super().__init__()
        self.move = move

    def forward(self, x: Tensor) -> Tensor:
        return self.move(x)


def _register_conjugated(name: str) -> None:
    move, _ = _MOVES[name]

    @prop(
        name,
        Property(
            statement=f"image and target layer with {_FLIPPED[name]}, the same function: so the "
            "map",
            source="conjugation: no definition knows left from right, or rows from columns",
            violated={
                **PIXEL_NOISE,
                **dict.fromkeys(("polycam", "refinecam", "fullgrad"), _EARLIER),
            },
        ),
    )
    def moved(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
        """Maps of net on x, and of net ∘ move on move(x) with a moved target layer."""
        return agreement(explain, given, conjugated(given, move), back=move)


def _register_mirrored(name: str) -> None:
    move, axis = _MOVES[name]

    def needs(given: Situation) -> str | None:
        if given.plan is None:
            return "only the kernels of drawn networks can be moved"
        if axis is not None and not given.plan.flips(axis):
            return "the windows do not cover the image evenly"
        return _tied(given)

    @prop(
        f"{name}-kernels",
        Property(
            statement=f"image, kernels and head with {_FLIPPED[name]}: so the map, whatever layers "
            "a method reads",
            source="conjugation; exact where (size + 2·padding − kernel) is a multiple of the "
            "stride at every stage",
            violated=PIXEL_NOISE,
            needs=needs,
            limits={} if axis is None else {"whole": True},
            own=False,
        ),
    )
    def moved(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
        """Maps of a network on x, and of the network of moved kernels on move(x)."""
        return agreement(explain, given, mirrored(given, move), back=move)


for _name in _MOVES:
    _register_conjugated(_name)
    _register_mirrored(_name)


def conjugated(given: Situation, move: Move) -> Situation:
    """Any model behind `move`, whose target layer is moved, on moved images: the same logits."""
    changed = before(rewired(given, Layout(move), Layout(move)), Layout(move))
    return changed.changed(images=move(given.images))


def mirrored(given: Situation, move: Move) -> Situation:
    """A drawn network whose kernels, and head where it reads cells, are moved like its images.

    It gives the moved images the logits of the images, and its maps are moved. Raises
    :class:`camaudit.errors.NotApplicableError` for a network that was not drawn.
    """
    plan, model = _plan_of(given), copy.deepcopy(given.model)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(move(module.weight))
        if not plan.head.pooled:
            _move_columns(model, plan, move)
    return given.changed(model=model, images=move(given.images))


def _plan_of(given: Situation) -> Plan:
    if given.plan is None:
        raise NotApplicableError("only drawn networks can be moved with their images")
    return given.plan


def _move_columns(model: nn.Module, plan: Plan, move: Move) -> None:
    """Reorder what the head's first Linear reads, cells row by row, in place."""
    linear = next(m for m in model.get_submodule("head").modules() if isinstance(m, nn.Linear))
    columns = linear.weight.view(len(linear.weight), plan.map_channels, *plan.map_size)
    linear.weight.copy_(move(columns).flatten(1))


def _tied(given: Situation) -> str | None:
    """Why a max pooling has no derivative at these images, or None.

    Of equal cells the first is given the whole gradient, and which one is first is not moved with
    them. Where the equal cells are 0 they lie behind a ReLU, whose derivative there is 0.
    """
    ties: list[bool] = []

    def look(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        windows = F.unfold(args[0].flatten(0, 1)[:, None], 2, stride=2)
        highest = output.flatten(0, 1).flatten(1)[:, None]
        ties.append(bool((((windows == highest).sum(1) > 1) & (highest[:, 0] != 0)).any()))

    handles = [
        module.register_forward_hook(look)
        for module in given.model.modules()
        if isinstance(module, nn.MaxPool2d)
    ]
    try:
        given.logits()
    finally:
        for handle in handles:
            handle.remove()
    return "cells of a max pooling are equal, so that it has no derivative" if any(ties) else None


def _steps(given: Situation) -> SearchStrategy[Parameters]:
    height, width = cells_of(given)
    whole = st.fixed_dictionaries(
        {"down": st.integers(0, height - 1), "across": st.integers(0, width - 1)}
    )
    return whole.filter(lambda steps: any(steps.values())) if height * width > 1 else whole


def _translates(given: Situation) -> str | None:
    if given.plan is None:
        return "only drawn networks are known to commute with translations"
    if not (given.plan.circular and given.plan.head.pooled):
        return "translations commute only with circular padding and a pooled head"
    return None if max(given.plan.map_size) > 1 else "the map has a single cell"


_CLAMPED = (
    "it masks the image with maps upsampled bilinearly, which is clamped at the borders (unless "
    "the stride is 1)"
)


@prop(
    "translation",
    Property(
        statement="the image rolled by whole strides, circular padding, pooled head: the map is "
        "rolled by as many cells; finer maps are compared where bilinear upsampling mixes the "
        "same cells",
        source="convolutions commute with translations; camaudit's metamorphic properties",
        violated={
            **PIXEL_NOISE,
            **dict.fromkeys(
                ("scorecam", "gscorecam", "scorecam++", "groupcam", "opticam", "iscam", "polycam"),
                _CLAMPED,
            ),
            "refinecam": "it divides by maxima of upsampled maps, which are clamped at the borders",
            "reciprocam-gaussian": "its 3×3 window is cut at the borders",
            "gaussian": "a control: its centre stays where it is",
            "sobel": "a control: it replicates the image's edges",
        },
        needs=_translates,
        parameters=_steps,
        limits={"circular": True, "pooled": True, "min_cells": 2},
        own=False,
    ),
)
def translation(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of x rolled, and of rolled x, without cells that only an edge has."""
    cells = _plan_of(given).map_size
    steps = parameters["down"], parameters["across"]
    images = _rolled(given.images, steps, cells)
    ours = asked(explain, given)
    theirs = asked(explain, given.changed(images=images))
    if ours.shape != theirs.shape:
        return Verdict.of(raw(ours, theirs))
    inner = _inner(ours, cells)
    ours, kept = _rolled(ours, steps, cells), inner & _rolled(inner, steps, cells)
    if not bool(kept.any()):
        return Verdict(None)
    return Verdict.of(raw(ours[:, kept][:, None], theirs[:, kept][:, None]))


def _rolled(x: Tensor, steps: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """`x` (…×H×W), a multiple of `cells` each way, rolled by whole cells down and across."""
    by = [steps[axis] * int(x.shape[axis - 2]) // cells[axis] for axis in (0, 1)]
    return x.roll(by, dims=(-2, -1))


def _inner(maps: Tensor, cells: tuple[int, int]) -> Tensor:
    """Where maps (N×H×W) upsampled from `cells` mix two cells, boolean (H×W); all of them else."""
    axes = []
    for axis in (0, 1):
        pixels = int(maps.shape[1 + axis])
        place = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells[axis] / pixels - 0.5
        axes.append((place >= 0) & (place <= cells[axis] - 1))
    return (axes[0][:, None] & axes[1]).to(maps.device)
