"""The part of a model between two of its layers: maps of the earlier one to maps of the later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, Head, Trunk
from camaudit.errors import LayerError
from camaudit.sites import Reached, Site, Tracer

__all__ = ["Passage", "passage_to"]


class Passage(nn.Module):
    """`forward(maps of the earlier layer (M×K×h×w)) → maps of the later one (M×K'×h'×w')`.

    `head` replays the model from the earlier layer; the replay ends as soon as the module of
    `site`, the later layer, has run `call` times in it.
    """

    def __init__(self, head: Head, site: Site, call: int) -> None:
        super().__init__()
        self.head = head
        self._site = (site,)  # in a tuple: the trunk registers its module, once
        self._call = call

    def forward(self, activations: Tensor) -> Tensor:
        site = self._site[0]
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
            maps: Tensor = reached.output
            return maps
        finally:
            handle.remove()
        raise LayerError(f"layer {site.label!r} does not run after the layer before it")


def passage_to(target: Site, early: Cut, example: Tensor) -> Passage:
    """The passage from the layer of `early` to `target`, for images of the size of `example`.

    `example` (1×C×H×W) may be smaller than what the whole model takes (a crop): nothing after
    `target` runs. The passage is compared with the model on the example and on noise; raises
    :class:`LayerError` where it gives other maps.
    """
    model, site = early.trunk.model, early.trunk.site
    example = example[:1].detach()
    tracer = Tracer(model, (site.module, site.call), stop=True)
    with torch.no_grad():
        tracer.run(model, example.clone())
    head = Head(model, site, example, tracer.before_watch)
    head.mutates_images = early.head.mutates_images
    head.mutates_input = early.head.mutates_input
    trunk = Trunk(model, target)
    trunk.mutates_images = early.trunk.mutates_images
    passage = Passage(head, target, target.call - _hidden(tracer, target)).eval()
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
