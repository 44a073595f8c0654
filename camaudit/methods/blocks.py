"""The attention of a transformer, block by block, as one pass of a model left it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from camaudit.attention import Recording
from camaudit.capture import Capture, Divided
from camaudit.errors import NotApplicableError
from camaudit.tokens import Grid

__all__ = ["Attended", "Transformer", "attended", "kept", "spread", "transformer_of"]


@dataclass(frozen=True, eq=False)
class Attended:
    """One attention: its weights, and what its block returned.

    `weights` (N×heads×S×S) and `hidden`, of the same shape or one that broadcasts to it: entries
    that a mask keeps at 0. `outputs` (N×S×K) are the tokens that the block returned, None where
    none were seen, and `block` its module. Where a wall has left tokens out, S < T.
    """

    weights: Tensor
    hidden: Tensor
    outputs: Tensor | None
    block: nn.Module | None


@dataclass(eq=False)
class _Blocks:
    """Hooks that tell, of each attention, the outermost module that holds no other and its tokens.

    A frame lists the attentions that have run within an open call.
    """

    frames: list[list[int]] = field(default_factory=list)
    found: dict[int, tuple[nn.Module, Tensor]] = field(default_factory=dict)

    def attention(self, place: int) -> None:
        for frame in self.frames:
            frame.append(place)

    def enter(self, _module: nn.Module, _args: Any) -> None:
        self.frames.append([])

    def leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        inside = self.frames.pop()
        first = output[0] if isinstance(output, tuple) and output else output
        if len(inside) == 1 and isinstance(first, Tensor) and first.ndim == 3:
            self.found[inside[0]] = (module, first)


class Transformer(Divided, Protocol):
    """A divided model of tokens. `keep` (T, boolean), of a walled one, are those the head reads."""

    grid: Grid
    model: nn.Module

    def whole(self, images: Tensor) -> Tensor:
        """Logits (N×C) by a pass in which every layer runs, up to a wall and after it."""

    def after(self, block: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        """Logits (M×C) of the tokens (M×T×K) that a block returns; `example` is 1×C×H×W."""


def transformer_of(capture: Capture) -> Transformer:
    """The capture's divided model. Raises :class:`NotApplicableError` where it has no tokens."""
    divided = capture.divided
    grid: Grid | None = getattr(divided, "grid", None)
    if grid is None or grid.layout != "tokens":
        raise NotApplicableError(
            "this method reads the patch tokens of a transformer; the target layer gives maps: use "
            "another method, or name a layer that returns tokens N×T×K"
        )
    return cast(Transformer, divided)


def attended(capture: Capture, *, leaf: bool = False) -> list[Attended]:
    """Every attention of one pass over the capture's images, in order.

    A walled model's own pass: up to the wall dead tokens are hidden as keys, after it they are
    left out. `leaf` makes the weights leaves that require a gradient.
    Raises :class:`NotApplicableError` unless all attention is that of all tokens to all tokens.
    """
    divided = transformer_of(capture)
    grid, blocks = divided.grid, _Blocks()
    handles = []
    for module in divided.model.modules():
        handles.append(module.register_forward_pre_hook(blocks.enter))
        handles.append(module.register_forward_hook(blocks.leave))
    try:
        with Recording(leaf=leaf, told=blocks.attention) as seen:
            divided.whole(capture.images)
    finally:
        for handle in handles:
            handle.remove()
    keep = kept(capture)
    sizes = {grid.tokens, int(keep.sum())}
    found = []
    for place, weights in enumerate(seen.weights):
        shape = tuple(weights.values.shape)
        if len(shape) != 4 or shape[0] != len(capture) or shape[2:] not in {(s, s) for s in sizes}:
            raise NotApplicableError(
                f"this method follows attention from all {grid.tokens} tokens to all; this model "
                f"has one whose weights are {shape} (windows, a coarser grid, or a pooling query)"
            )
        block, outputs = blocks.found.get(place, (None, None))
        found.append(Attended(weights.values, weights.hidden, outputs, block))
    if not found:
        raise NotApplicableError("this method reads attention, and none was seen in this model")
    return found


def kept(capture: Capture) -> Tensor:
    """Which of the T tokens (boolean) the head reads: all of them where there is no wall."""
    keep: Tensor | None = getattr(capture.divided, "keep", None)
    if keep is None:
        keep = torch.ones(transformer_of(capture).grid.tokens, dtype=torch.bool)
    return keep.to(capture.images.device)


def spread(entries: Tensor, keep: Tensor) -> Tensor:
    """N×S×S entries of the tokens that stayed as N×T×T ones, 0 for those left out."""
    if entries.shape[-1] == len(keep):
        return entries
    places = keep.nonzero().flatten()
    whole = entries.new_zeros(len(entries), len(keep), len(keep))
    whole[:, places[:, None], places] = entries
    return whole
