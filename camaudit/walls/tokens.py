"""Walls among patch tokens: dead tokens are hidden from every attention, and then left out.

Before the layer the prefix and live tokens come from the image with its dead pixels set to 0 (the
mean colour of a standardised image), in a pass in which no attention gives a dead token any
weight: what they become is what they would be if the dead tokens were not there. After the layer
the head is given the live tokens alone, on a shorter sequence, where it takes one.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from camaudit.attention import Hiding
from camaudit.cut import Cut, Trunk, looked_at
from camaudit.errors import CamauditError, NotApplicableError, WallError

__all__ = ["HidingHead", "LeftOut", "TokenSplit", "droppable", "hides", "kept_tokens"]


def kept_tokens(prefix: int, live: Tensor) -> Tensor:
    """Which tokens (p + h·w, boolean) a wall keeps: the prefix, and live cells (h×w)."""
    return torch.cat([live.new_ones(prefix), live.flatten()])


class LeftOut(nn.Module):
    """`A ↦ scale · A` of the live cells alone: M×K×h×w to M×K×n, the rest of a shorter sequence."""

    live: Tensor

    def __init__(self, live: Tensor, *, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("live", live, persistent=False)
        self.scale = scale

    def forward(self, activations: Tensor) -> Tensor:
        if activations.shape[-2:] != self.live.shape:
            raise WallError(
                f"the wall is built for grids of {tuple(self.live.shape)} tokens, the layer gave "
                f"{tuple(activations.shape[-2:])}: build it for images of this size"
            )
        return activations[:, :, self.live] * self.scale


class HidingHead(nn.Module):
    """A head in which no attention over all tokens gives weight to those outside `keep` (T)."""

    keep: Tensor

    def __init__(self, head: nn.Module, keep: Tensor) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("keep", keep, persistent=False)

    def forward(self, activations: Tensor, rest: Tensor | None = None) -> Tensor:
        with Hiding(self.keep, len(activations)):
            logits: Tensor = self.head(activations, rest)
        return logits


class TokenSplit(nn.Module):
    """`forward(images) → activations` whose live tokens depend on live pixels alone.

    `live` (h×w) and `seen` (H×W) are boolean. Dead tokens come from the whole image and are for
    looking at; prefix and live ones from the image with unseen pixels set to 0, with dead tokens
    hidden from attention where that is `masked`.
    """

    live: Tensor
    seen: Tensor
    keep: Tensor
    frame = None

    def __init__(self, trunk: Trunk, live: Tensor, seen: Tensor, *, masked: bool) -> None:
        super().__init__()
        self.trunk = trunk
        self.masked = masked
        self.rests: list[Tensor | None] | None = None
        self.register_buffer("live", live, persistent=False)
        self.register_buffer("seen", seen, persistent=False)
        keep = kept_tokens(trunk.grid.prefix, live)
        self.register_buffer("keep", keep, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        cells = self._live_cells(images)
        return torch.where(self.live, cells, self.trunk(images))

    def live_only(self, images: Tensor) -> Tensor:
        """The same live cells with 0 in the dead ones, at the cost of one pass."""
        cells = self._live_cells(images)
        return torch.where(self.live, cells, cells.new_zeros(()))

    def before(self, early: Cut, example: Tensor) -> tuple[nn.Module, nn.Module]:  # noqa: ARG002
        """Raises :class:`NotApplicableError`: between two layers go prefix tokens too."""
        raise NotApplicableError(
            "behind a wall among tokens no earlier layer can be looked at: its prefix tokens "
            "would have to come with its maps"
        )

    def _live_cells(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != self.seen.shape:
            raise WallError(
                f"the wall is built for images of {tuple(self.seen.shape)} pixels; got "
                f"{tuple(images.shape[-2:])}"
            )
        shown = torch.where(self.seen, images, images.new_zeros(()))
        with Hiding(self.keep, len(images)) if self.masked else nullcontext():
            cells, rest = looked_at(self.trunk, shown)
        if self.rests is not None:
            self.rests.append(rest)
        return cells


def droppable(cut: Cut, activations: Tensor, rest: Tensor | None, live: Tensor) -> bool:
    """Whether the head reads a set of tokens, so that it can be given the live ones alone.

    It is asked itself: it takes a shorter sequence, and the order of random patch tokens does not
    matter to it. `activations` (2×K×h×w) and `rest` are of two images.
    """
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(live.numel(), generator=generator).to(activations.device)
    with torch.no_grad():
        try:
            cut.read(activations[:, :, live], rest)
            mixed = cut.read(activations.flatten(2)[:, :, order], rest)
        except (RuntimeError, ValueError, AssertionError, TypeError, CamauditError):
            return False
        whole = cut.read(activations, rest)
    tolerance = 1e-3 * float((whole[0] - whole[1]).abs().max())
    return float((whole - mixed).abs().max()) <= tolerance


def hides(trunk: Trunk, example: Tensor, live: Tensor) -> bool:
    """Whether all that mixes tokens before the layer is attention that dead tokens are hidden from.

    That is tried: noise in place of the dead tokens, wherever a module first reads all tokens, may
    change no prefix token and no live one. Raises :class:`WallError` where prefix tokens read the
    dead ones by no attention that can be seen.
    """
    grid, model = trunk.grid, trunk.model
    keep = kept_tokens(grid.prefix, live)
    with torch.no_grad(), Hiding(None, 1, tokens=grid.tokens) as seen:
        trunk(example)
    if not seen.others and _undisturbed(trunk, example, keep):
        return True
    if grid.prefix and not seen.whole and not seen.others:
        raise WallError(
            f"up to layer {trunk.site.label!r} {type(model).__name__} mixes its tokens by no "
            "attention that dead tokens can be hidden from (a compiled or custom kernel?): load it "
            "with torch's own attention (transformers: attn_implementation='sdpa' or 'eager'), or "
            "choose a layer before the first attention"
        )
    return False


def _undisturbed(trunk: Trunk, example: Tensor, keep: Tensor) -> bool:
    """Whether noise in the tokens outside `keep` leaves the others as they are, to rounding."""
    met = False

    def disturb(_module: nn.Module, args: tuple[object, ...]) -> tuple[object, ...] | None:
        nonlocal met
        first = args[0] if args else None
        if met or not isinstance(first, Tensor) or first.shape[:-1] != (1, len(keep)):
            return None
        met = True
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(first.shape, generator=generator, dtype=torch.float64).to(first)
        return (torch.where(keep[:, None], first, 10 * noise), *args[1:])

    with torch.no_grad(), Hiding(keep, 1):
        wanted = trunk.output(example)[:, keep]
        handles = [m.register_forward_pre_hook(disturb) for m in trunk.model.modules()]
        try:
            found = trunk.output(example)[:, keep]
        finally:
            for handle in handles:
                handle.remove()
    return met and bool((found - wanted).abs().max() <= 1e-4 * wanted.abs().max())
