"""Hypothesis strategies: tiny networks, images, targets and walls.

They shrink toward one convolution, one channel, one pixel, one image and the first class.
"""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from camaudit.invariance.plan import Activation, Block, Head, PaddingMode, Plan, Pool, Stage
from camaudit.invariance.situation import IMAGE_KINDS, Drawn, ImageKind

__all__ = ["networks", "situations"]

_SEEDS = st.integers(0, 2**16)


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    stages: int = 3,
    channels: int = 3,
    cells: int = 4,
    min_cells: int = 1,
    min_channels: int = 1,
    activations: tuple[Activation, ...] = get_args(Activation),
    blocks: tuple[Block, ...] = get_args(Block),
    pooled: bool | None = None,
    hidden: int = 2,
    min_hidden: int = 0,
    head_activations: tuple[Activation | None, ...] = ("relu", None, "leaky_relu", "silu", "gelu"),
    bias: bool | None = None,
    circular: bool = False,
    whole: bool = False,
    square: bool = False,
    classes: int = 4,
    min_classes: int = 1,
) -> Plan:
    """Plans of tiny networks; `camaudit.invariance.build(plan)` makes the module.

    At most `stages` convolutions of `channels` channels (at least `min_channels` at the target
    layer), whose target layer has `min_cells` to `cells` cells a side (`square`: as many both
    ways), and a head of at most `hidden` + 1 Linear layers, or at least `min_hidden` + 1.
    `activations`, `blocks` and `head_activations` are those to choose from; `pooled` and `bias`
    (of the head) fix what is drawn otherwise. `circular`: translations by the stride commute with
    the trunk. `whole`: every window fits, so that flipping kernels is exact. `classes` are
    `min_classes` to `classes`.
    """
    count = draw(st.integers(1, stages))
    drawn = [
        draw(_stages(channels if place < count - 1 else max(channels, min_channels),
                     activations, blocks, circular,
                     min_channels if place == count - 1 else 1))
        for place in range(count)
    ]  # fmt: skip
    sides = [draw(st.integers(min_cells, cells))]
    sides.append(sides[0] if square else draw(st.integers(min_cells, cells)))
    extra = 0 if whole or circular else draw(st.integers(0, 1))
    height, width = (_pixels(drawn, side, circular) + extra for side in sides)
    widths = draw(st.lists(st.integers(1, 4), min_size=min_hidden, max_size=hidden))
    head = Head(
        pooled=draw(st.booleans()) if pooled is None else pooled,
        hidden=tuple(widths),
        activation=draw(st.sampled_from(head_activations)) if widths else "relu",
        bias=draw(st.booleans()) if bias is None else bias,
    )
    return Plan(
        stages=_possible(drawn, height, width),
        head=head,
        classes=draw(st.integers(min_classes, max(classes, min_classes))),
        channels=draw(st.integers(1, 3)),
        height=height,
        width=width,
        seed=draw(_SEEDS),
    )


@st.composite
def _stages(
    draw: st.DrawFn,
    channels: int,
    activations: tuple[Activation, ...],
    blocks: tuple[Block, ...],
    circular: bool,
    min_channels: int,
) -> Stage:
    kernel = draw(st.sampled_from((1, 3) if circular else (1, 2, 3)))
    padding = (kernel - 1) // 2
    if not circular and padding:
        padding = draw(st.integers(0, padding))
    mode: PaddingMode = "zeros"
    if padding:
        mode = "circular" if circular else draw(st.sampled_from(get_args(PaddingMode)))
    return Stage(
        channels=draw(st.integers(min_channels, channels)),
        kernel=kernel,
        stride=draw(st.integers(1, 2)),
        padding=padding,
        padding_mode=mode,
        bias=draw(st.booleans()),
        norm=draw(st.booleans()),
        activation=draw(st.sampled_from(activations)),
        block=draw(st.sampled_from(blocks)),
        pool=draw(st.sampled_from(get_args(Pool))),
    )


def _pixels(stages: list[Stage], cells: int, circular: bool) -> int:
    """The fewest pixels a side that give `cells` cells; windows then fit exactly."""
    for stage in reversed(stages):
        cells *= 2 if stage.pool != "none" else 1
        if circular:
            cells *= stage.stride
        else:
            cells = max((cells - 1) * stage.stride + stage.kernel - 2 * stage.padding, 1)
    return cells


def _possible(stages: list[Stage], height: int, width: int) -> tuple[Stage, ...]:
    """The stages, with zeros for padding where there is too little to reflect."""
    made = []
    for stage in stages:
        if stage.padding_mode == "reflect" and stage.padding >= min(height, width):
            values: dict[str, Any] = {**vars(stage), "padding_mode": "zeros"}
            stage = Stage(**values)
        made.append(stage)
        height, width = stage.size(height), stage.size(width)
    return tuple(made)


@st.composite
def situations(
    draw: st.DrawFn,
    /,
    *,
    images: int = 2,
    min_images: int = 1,
    kinds: tuple[ImageKind, ...] = IMAGE_KINDS[:2],
    one_target: bool = False,
    walled: bool = False,
    **limits: Any,
) -> Drawn:
    """Networks with images and targets; `.situation()` builds them.

    `min_images` to `images` images of one of `kinds`, all explained for the same class with
    `one_target`. `walled` puts a wall behind some rows of the target layer (two rows at least).
    `limits` are those of :func:`networks`.
    """
    if walled:
        limits = {"pooled": None, **limits, "min_cells": max(2, limits.get("min_cells", 2))}
    plan = draw(networks(**limits))
    count = draw(st.integers(min_images, images))
    classes = st.integers(0, plan.classes - 1)
    targets = [draw(classes)] * count if one_target else [draw(classes) for _ in range(count)]
    return Drawn(
        plan=plan,
        targets=tuple(targets),
        kind=draw(st.sampled_from(kinds)),
        seed=draw(_SEEDS),
        live_rows=draw(st.integers(1, plan.map_size[0] - 1)) if walled else None,
    )
