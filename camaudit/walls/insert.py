"""A wall right after any layer of any model: everything downstream cannot read the dead cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, Trunk, cut_at, looked_at, part_after, stages_of
from camaudit.errors import WallError
from camaudit.probability import Link, link_of
from camaudit.recent import Recent
from camaudit.sites import find_site
from camaudit.tokens import Grid
from camaudit.walls.receptive import chain_of, reach
from camaudit.walls.region import dead_cells, default_live_rows, describe
from camaudit.walls.stages import inner_trunk, stage_of
from camaudit.walls.tokens import HidingHead, LeftOut, droppable, kept_tokens
from camaudit.walls.zone import DeadZone, scored_zone

__all__ = [
    "Plan",
    "Wall",
    "WalledModel",
    "insert_wall",
    "inserted_wall",
    "planned",
    "receptive_field_zone",
    "rescaling",
]

Rescale = Literal["auto", "always", "never"]


class Wall(nn.Module):
    """`A ↦ scale · A` on live cells and exactly 0 on dead ones, whatever value they hold.

    `live` is boolean (h×w). Dead cells are selected away rather than multiplied by 0, so that an
    infinite activation behind the wall does not become NaN in front of it.
    """

    live: Tensor

    def __init__(self, live: Tensor, *, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("live", live, persistent=False)
        self.scale = scale

    def forward(self, activations: Tensor) -> Tensor:
        if activations.shape[-2:] != self.live.shape:
            raise WallError(
                f"the wall is built for maps of {tuple(self.live.shape)} cells, the layer gave "
                f"{tuple(activations.shape[-2:])}: build it for images of this size"
            )
        zero = activations.new_zeros(())
        return torch.where(self.live, activations * self.scale, zero)


class WalledModel(nn.Module):
    """`head(wall(trunk(x)))`: a model that provably cannot see its dead zone.

    `trunk` returns the target layer's own output, dead cells included, which is what saliency
    methods look at; everything after the wall reads live cells only. `unwalled` is the twin
    without the wall (same weights). Hook `trunk` to run another library's explainer.
    """

    def __init__(
        self,
        trunk: nn.Module,
        wall: nn.Module,
        head: nn.Module,
        *,
        unwalled: Cut | None,
        zone: DeadZone,
        description: dict[str, Any],
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.wall = wall
        self.head = head
        self.zone = zone
        self.description = description
        self._unwalled = (unwalled,)  # in a tuple: its parameters are registered through trunk
        self._stages: Recent[nn.Module] = Recent()
        self._names: Recent[list[str]] = Recent()

    @property
    def unwalled(self) -> Cut | None:
        """The same weights without the wall, cut at the same layer; None where there are none."""
        return self._unwalled[0]

    @property
    def link(self) -> Link:
        """What turns the model's logits into probabilities."""
        return link_of(self.unwalled)

    def forward(self, images: Tensor) -> Tensor:
        return self.read(*self.look(images))

    def look(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activations (N×K×h×w), and the rest (N×p×K) of a token grid, None without prefix."""
        return looked_at(self.trunk, images)

    def read(self, activations: Tensor, rest: Tensor | None = None) -> Tensor:
        """Logits (M×C) of the target layer's activations (M×K×h×w), read through the wall.

        Of a token grid with prefix tokens `rest` (M×p×K) are those of each image.
        """
        live = self.wall(activations)
        logits: Tensor = self.head(live) if rest is None else self.head(live, rest)
        return logits

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N×C); a split trunk computes only the live cells (the same values)."""
        live_only = getattr(self.trunk, "live_only", None)
        return self.read(*looked_at(self.trunk, images, live_only)) if live_only else self(images)

    def whole(self, images: Tensor) -> Tensor:
        """:meth:`logits`; between its two parts every layer runs."""
        return self.logits(images)

    def after(self, block: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        """Logits of the tokens that a block returns, see :func:`camaudit.cut.part_after`."""
        return part_after(self.model, block, example, self.grid)

    @property
    def model(self) -> nn.Module:
        """The model that is walled."""
        return inner_trunk(self.trunk).model

    @property
    def grid(self) -> Grid:
        """How the target layer lays out its cells."""
        return getattr(getattr(self.trunk, "trunk", self.trunk), "grid", None) or Grid()

    @property
    def keep(self) -> Tensor:
        """Tokens (p + h·w, boolean) that the head reads of a token grid."""
        return kept_tokens(self.grid.prefix, ~self.zone.feature_dead)

    def at(self, layer: str, example: Tensor) -> nn.Module:
        """The same at a layer before the wall, see :func:`camaudit.walls.stages.stage_of`."""
        return self._stages.get(layer, example, lambda: stage_of(self, layer, example))

    def stages(self, example: Tensor, *, layer: str | None = None) -> list[str]:
        """Natural stages up to `layer`, the wall's own by default; the wall changes none."""
        trunk = inner_trunk(self.trunk)
        last = layer or trunk.site.label
        return list(self._names.get(last, example, lambda: stages_of(trunk.model, last, example)))

    @property
    def frame(self) -> tuple[int, int, int, int] | None:
        """Pixel box (top, left, height, width) that `framed` reads; None: the whole image."""
        box: tuple[int, int, int, int] | None = getattr(self.trunk, "frame", None)
        return box

    @property
    def framed(self) -> nn.Module:
        """The part of the model that reads `frame` alone when it computes logits."""
        return inner_trunk(self.trunk)


def insert_wall(
    model: nn.Module,
    layer: str,
    example: Tensor,
    *,
    live_rows: int | None = None,
    dead: Tensor | str | None = None,
    rescale: Rescale = "auto",
) -> WalledModel:
    """A wall after `layer` of `model`, which is left untouched (the result wraps it).

    Parameters
    ----------
    layer: name as for :func:`camaudit.cut.cut_at`.
    example: one image (1×C×H×W) of the size to audit at.
    live_rows, dead: the wall's cells, see :func:`camaudit.walls.region.dead_cells`; 4 of every
        7 rows stay live when neither is given.
    rescale: multiply live cells by (all cells / live cells), so that a global mean stays the mean
        of what is seen. "auto" does so exactly where :func:`rescaling` finds that it is right.

    The pixel dead zone is proven by receptive fields where the layers form a chain, and is "none"
    otherwise (:func:`camaudit.walls.split.split_trunk` then gives one by construction).
    """
    plan = planned(model, layer, example, live_rows=live_rows, dead=dead, rescale=rescale)
    cut, live = plan.cut, plan.wall.live.cpu()
    zone = receptive_field_zone(cut.trunk, example[:1], ~live)
    return WalledModel(
        cut.trunk, plan.wall, plan.head, unwalled=cut, zone=zone,
        description={"wall": "insert", **plan.description},
    ).eval()  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan:
    """A model cut at a layer, the wall right after it, and the head that reads what it lets in."""

    cut: Cut
    wall: Wall | LeftOut
    head: nn.Module

    @property
    def description(self) -> dict[str, Any]:
        """Layer, live cells, scale, and what becomes of dead tokens, as plain JSON values."""
        told = {
            "layer": self.cut.layer,
            "live": describe(self.wall.live.cpu()),
            "rescale": self.wall.scale,
        }
        grid = self.cut.trunk.grid
        if grid.layout != "tokens":
            return told
        after = "left out" if isinstance(self.wall, LeftOut) else "0 and hidden from attention"
        return {**told, "prefix_tokens": grid.prefix, "dead_tokens": after}


def planned(
    model: nn.Module,
    layer: str,
    example: Tensor,
    *,
    live_rows: int | None,
    dead: Tensor | str | None,
    rescale: Rescale,
) -> Plan:
    """The cut at `layer` and the wall right after it; parameters as for :func:`insert_wall`."""
    cut = cut_at(model, layer, example)
    with torch.no_grad():
        activations, rest = cut.look(example[:1])
    h, w = int(activations.shape[2]), int(activations.shape[3])
    if live_rows is None and dead is None:
        live_rows = default_live_rows(h)
    live = (~dead_cells((h, w), live_rows=live_rows, dead=dead)).to(activations.device)
    noise = _noise(activations)
    rests = None if rest is None else torch.cat([rest, rest])
    grid = cut.trunk.grid
    head: nn.Module = cut.head
    if grid.layout == "tokens" and droppable(cut, noise, rests, live):
        scale = live.numel() / int(live.sum()) if rescale == "always" else 1.0
        return Plan(cut, LeftOut(live, scale=scale), head)
    scale = rescaling(cut, noise, live, rescale, rests)
    if grid.layout == "tokens":
        head = HidingHead(head, kept_tokens(grid.prefix, live)).eval()
    return Plan(cut, Wall(live, scale=scale), head)


@contextmanager
def inserted_wall(
    model: nn.Module, layer: str, example: Tensor, *, dead: Tensor | str, scale: float = 1.0
) -> Iterator[nn.Module]:
    """Within the context `layer` of `model` itself returns its output through a wall.

    Works after any layer that returns an N×K×h×w map, also one that has a skip connection around
    it; the model is restored on exit, also after an exception. Nothing is claimed of pixels.
    Raises :class:`LayerError` for a layer without maps and :class:`WallError` for a mask that does
    not fit them, both on entry.
    """
    site = find_site(model, layer, example)
    with torch.no_grad():
        h, w = Trunk(model, site)(example[:1].clone()).shape[-2:]
    dead_cells((h, w), dead=dead)
    calls = 0

    def restart(_module: nn.Module, _args: Any) -> None:
        nonlocal calls
        calls = 0

    def mask(_module: nn.Module, _args: Any, output: Tensor) -> Tensor | None:
        nonlocal calls
        calls += 1
        if calls != site.call:
            return None
        grid = int(output.shape[-2]), int(output.shape[-1])
        wall = Wall((~dead_cells(grid, dead=dead)).to(output.device), scale=scale)
        masked: Tensor = wall(output)
        return masked

    handles = [model.register_forward_pre_hook(restart), site.module.register_forward_hook(mask)]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def rescaling(
    cut: Cut, A: Tensor, live: Tensor, rescale: Rescale, rest: Tensor | None = None
) -> float:
    """(all cells / live cells) where the head averages over cells, else 1.

    The head is asked itself: it averages if masking and rescaling random maps `A` (2×K×h×w) gives
    the logits that it gives for a map of the live cells alone. A head of fixed size (flatten →
    Linear), a global maximum, and any head where this fails keep scale 1.
    """
    scale = live.numel() / int(live.sum())
    if rescale != "auto":
        return scale if rescale == "always" else 1.0
    with torch.no_grad():
        try:
            alone = cut.read(A[:, :, live][:, :, None, :], rest)
        except (RuntimeError, ValueError, AssertionError):
            return 1.0
        scaled = cut.read(Wall(live, scale=scale)(A), rest)
    tolerance = 1e-3 * float((alone[0] - alone[1]).abs().max())  # of what the maps change
    return scale if float((scaled - alone).abs().max()) <= tolerance else 1.0


def _noise(activations: Tensor) -> Tensor:
    """Two images' random maps of the shape of these (1×K×h×w)."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, *activations.shape[1:])
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(activations)


def receptive_field_zone(trunk: nn.Module, example: Tensor, feature_dead: Tensor) -> DeadZone:
    """The zone that receptive fields prove: pixels that no live cell reads; "none" if unproven."""
    height, width = int(example.shape[-2]), int(example.shape[-1])
    nothing = torch.zeros(height, width, dtype=torch.bool)
    chain = chain_of(trunk, example)
    live = ~feature_dead
    if isinstance(chain, str):
        why = f"no pixel is proven dead, because receptive fields cannot be computed: {chain}."
        return DeadZone(feature_dead, nothing, nothing, "none", why)
    rows, columns = reach(chain)
    seen = (rows.double().T @ live.double() @ columns.double()) > 0
    dead = ~seen
    if not bool(seen.any()):
        why = f"the live cells ({describe(live)}) read padding alone, and no pixel at all."
        return DeadZone(feature_dead, nothing, nothing, "none", why)
    if not bool(dead.any()):
        why = f"every pixel is in the receptive field of a live cell ({describe(live)})."
        return DeadZone(feature_dead, nothing, nothing, "none", why)
    scored = scored_zone(feature_dead, dead)
    return DeadZone(feature_dead, dead, scored, "receptive field", _why(live, dead))


def _why(live: Tensor, dead: Tensor) -> str:
    seen = ~dead
    rows = seen.any(dim=1).nonzero().flatten()
    columns = seen.any(dim=0).nonzero().flatten()
    return (
        f"the head reads only live cells ({describe(live)}), and their receptive fields lie in "
        f"pixel rows {int(rows[0])}-{int(rows[-1])} and columns {int(columns[0])}-"
        f"{int(columns[-1])}; no path leads from a dead pixel to the logits."
    )
