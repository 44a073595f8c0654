"""The part of a model between two of its layers: maps of the earlier one to maps of the later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, Head, Trunk
from camaudit.errors import LayerError, NotApplicableError
from camaudit.sites import Reached, Site, Tracer
from camaudit.tokens import Grid

__all__ = ["Passage", "passage_to"]


class Passage(nn.Module):
    """`forward(maps of the earlier layer (M×K×h×w)) → maps of the later one (M×K'×h'×w')`.

    `head` replays the model from the earlier layer; the replay ends as soon as the last module of
    `trunk`, the later layer, has run `call` times in it. `pixels` is the images' size.
    """

    def __init__(self, head: Head, trunk: Trunk, call: int, pixels: tuple[int, int]) -> None:
        super().__init__()
        self.head = head
        self._trunk = (trunk,)  # in a tuple: it registers its modules elsewhere, once
        self._call = call
        self._pixels = pixels

    def forward(self, activations: Tensor) -> Tensor:
        site, grid = self._trunk[0].site, self._trunk[0].grid
        calls = 0

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == self._call:
                raise Reached(hook, output)

        handle = site.module.register_forward_hook(hook)
        try:
            self.head(activations)
        except Reached as reached:
            if reached.owner is not hook:
                raise
            return grid.split(reached.output, self._pixels)[0]
        finally:
            handle.remove()
        raise LayerError(f"layer {site.label!r} does not run after the layer before it")


def passage_to(target: Site, early: Cut, example: Tensor, *, grid: Grid | None = None) -> Passage:
    """The passage from the layer of `early` to `target`, for images of the size of `example`.

    `example` (1×C×H×W) may be smaller than what the whole model takes (a crop): nothing after
    `target` runs. The passage is compared with the model on the example and on noise; raises
    :class:`LayerError` where it gives other maps. `grid` is how `target` lays out its cells. Raises
    :class:`NotApplicableError` for a layer with prefix tokens, which are no maps of one layer.
    """
    if (grid is not None and grid.prefix) or early.trunk.grid.prefix:
        raise NotApplicableError(
            f"between layer {early.layer!r} and {target.label!r} prefix tokens go beside the maps, "
            "so that a walled model cannot be read at the earlier layer: explain it at its own"
        )
    model, site = early.trunk.model, early.trunk.site
    example = example[:1].detach()
    tracer = Tracer(model, (site.module, site.call), stop=True)
    with torch.no_grad():
        tracer.run(model, example.clone())
    head = Head(model, site, example, tracer.before_watch, early.trunk.grid)
    head.mutates_images = early.head.mutates_images
    head.mutates_input = early.head.mutates_input
    trunk = Trunk(model, target, grid)
    trunk.mutates_images = early.trunk.mutates_images
    pixels = int(example.shape[-2]), int(example.shape[-1])
    passage = Passage(head, trunk, target.call - _hidden(tracer, target), pixels).eval()
    _compare(passage, early.trunk, trunk, example)
    return passage


def _hidden(tracer: Tracer, target: Site) -> int:
    """Runs of the target's module that the replay skips, inside of calls that it answers."""
    ran = sum(visit.module is target.module for visit in tracer.visits[:-1])
    answered = sum(module is target.module for module, _ in tracer.before_watch)
    return ran - answered


def _compare(passage: Passage, early: Trunk, target: Trunk, example: Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(example.shape, generator=generator, dtype=torch.float64).to(example)
    images = torch.cat([example, noise])
    with torch.no_grad():
        found, wanted = passage(early(images)), target(images)
    same = found.shape == wanted.shape
    if not same or not torch.allclose(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise LayerError(
            f"the part from layer {early.site.label!r} to {target.site.label!r} cannot be "
            "replayed: it gives other maps than the model itself"
        )
