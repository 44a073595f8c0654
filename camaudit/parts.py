"""The two parts of a model cut at a layer: run up to it, and replayed from it on.

The trunk leaves the forward pass right after the layer. The head runs the model again while every
module call that finished before the layer answers with what it returned once, see
:mod:`camaudit.cut`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import LayerError, ModelError
from camaudit.sites import Reached, Site, Tracer, map_tensors
from camaudit.tokens import Grid

__all__ = [
    "Head",
    "Trunk",
    "answering",
    "looked_at",
    "part_after",
    "require_cells",
    "require_logits",
]


class Trunk(nn.Module):
    """The model up to and including a layer.

    `forward(images (N×C×H×W)) → activations (N×K×h×w)`; nothing after the layer runs. `grid` says
    how they lie in the layer's own output. See :func:`looked_at` for the rest of a token grid.
    """

    def __init__(self, model: nn.Module, site: Site, grid: Grid | None = None) -> None:
        super().__init__()
        self.model = model
        self._site = (site,)
        self.grid = grid or Grid()
        self.mutates_images = False
        self.rests: list[Tensor | None] | None = None

    @property
    def site(self) -> Site:
        """The layer's place in the model."""
        return self._site[0]

    def forward(self, images: Tensor) -> Tensor:
        activations, rest = self.grid.split(self.output(images), images.shape[-2:])
        if self.rests is not None:
            self.rests.append(rest)
        return activations

    def output(self, images: Tensor) -> Tensor:
        """The layer's own output: a map, or tokens with their prefix."""
        site = self.site
        calls = 0

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == site.call:
                raise Reached(hook, output)

        handle = site.module.register_forward_hook(hook)
        try:
            self.model(images.clone() if self.mutates_images else images)
        except Reached as reached:
            if reached.owner is not hook:
                raise
            return require_cells(reached.output, site)
        finally:
            handle.remove()
        raise LayerError(f"layer {site.label!r} did not run on a {tuple(images.shape)} input")


def looked_at(
    trunk: nn.Module, images: Tensor, call: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor | None]:
    """What `trunk` gives of images: activations, and the rest of a token grid.

    The rest (N×p×K) is None where the layer has no prefix tokens. `call` is another function of
    the trunk than its own call, which hooks see.
    """
    call = call or trunk
    if not hasattr(trunk, "rests"):
        return call(images), None
    rests: list[Tensor | None] = []
    before, trunk.rests = trunk.rests, rests  # type: ignore[assignment]
    try:
        activations = call(images)
    finally:
        trunk.rests = before
    return activations, rests[-1] if rests else None


class Head(nn.Module):
    """The model after a layer, replayed: `forward(activations (M×K×h×w)) → logits (M×C)`.

    `finished` are the module calls that ended before the layer, with what they returned on
    `example` (1×C×H×W). Their values never reach the logits, which :func:`cut_at` checks. Where
    the layer has prefix tokens, `rest` (M×p×K) are those of each image.
    """

    def __init__(
        self,
        model: nn.Module,
        site: Site,
        example: Tensor,
        finished: list[tuple[nn.Module, Any]],
        grid: Grid | None = None,
    ) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: the trunk registers it, once
        self._site = site
        self._example = (example,)
        self._finished = finished
        self.grid = grid or Grid()
        self.mutates_images = False
        self.mutates_input = False

    def forward(self, activations: Tensor, rest: Tensor | None = None) -> Tensor:
        return self.resume(self.grid.join(activations, rest))

    def resume(self, output: Tensor) -> Tensor:
        """Logits (M×C) of the layer's own output: maps, or tokens with their prefix."""
        example = self._example[0].to(output)
        images = example.expand(len(output), *example.shape[1:])
        images = images.clone() if self.mutates_images else images
        given = output.clone() if self.mutates_input else output
        finished = self._finished
        if self.grid.layout == "tokens":  # code between the modules may count the images
            finished = [(done, _repeated(value, len(given))) for done, value in finished]
        return self.replay(images, given, finished)

    def replay(
        self, images: Tensor, output: Tensor, finished: list[tuple[nn.Module, Any]]
    ) -> Tensor:
        """The model on `images` with `finished` and the layer's own output put in place."""
        with answering([*finished, (self._site.module, output)]):
            logits = self._model[0](images)
        return require_logits(logits, len(output))


def part_after(
    model: nn.Module, block: nn.Module, example: Tensor, grid: Grid
) -> Callable[[Tensor], Tensor]:
    """Logits (M×C) of the tokens (M×T×K) that `block` returns: the model after it, replayed.

    `example` is one image (1×C×H×W). Raises :class:`LayerError` for a block that runs more than
    once.
    """
    tracer = Tracer(model, (block, 1))
    with torch.no_grad():
        tracer.run(model, example.clone())
    runs = [visit for visit in tracer.visits if visit.module is block]
    if len(runs) != 1:
        raise LayerError(f"a block that should run once ran {len(runs)} times")
    site = Site(runs[0].name, block, 1, 1)
    head = Head(model, site, example, tracer.before_watch, grid)
    if isinstance(tracer.at_watch, Tensor):
        return head.resume
    others = tracer.at_watch[1:]  # what it returns beside its tokens, which nothing reads

    def resume(output: Tensor) -> Tensor:
        finished = [(done, _repeated(value, len(output))) for done, value in tracer.before_watch]
        images = example.expand(len(output), *example.shape[1:])
        with answering([*finished, (block, (output, *others))]):
            return require_logits(model(images), len(output))

    return resume


@contextmanager
def answering(calls: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Within the context the first runs of each module return the given values, in order."""
    values: dict[nn.Module, list[Any]] = {}
    for module, value in calls:
        values.setdefault(module, []).append(value)
    own = {module: module.__dict__.get("forward") for module in values}
    try:
        for module, queue in values.items():
            module.__dict__["forward"] = _scripted(module.forward, queue)
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward


def _scripted(original: Callable[..., Any], queue: list[Any]) -> Callable[..., Any]:
    pending = list(queue)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return pending.pop(0) if pending else original(*args, **kwargs)

    return forward


def _repeated(value: Any, images: int) -> Any:
    """What one image left behind, as though `images` of them had."""

    def repeat(tensor: Tensor) -> Tensor:
        one = tensor.ndim > 0 and tensor.shape[0] == 1
        return tensor.expand(images, *tensor.shape[1:]) if one else tensor

    return map_tensors(repeat, value)


def require_cells(output: Any, site: Site) -> Tensor:
    """`output` as the cells of a layer, or :class:`LayerError` saying what the layer returned."""
    if not isinstance(output, Tensor):
        raise LayerError(
            f"layer {site.label!r} returns a {type(output).__name__}; expected one N×K×h×w tensor"
        )
    if output.ndim not in (3, 4):
        raise LayerError(
            f"layer {site.label!r} returns shape {tuple(output.shape)}; expected N×K×h×w "
            "(a layer before the maps are pooled or flattened), or N×T×K tokens"
        )
    return output


def require_logits(output: Any, images: int) -> Tensor:
    """`output` as logits (N×C), or :class:`ModelError` saying what the model returned."""
    if isinstance(output, dict):
        keys = ", ".join(map(repr, output))
        raise ModelError(
            f"the model returns a dict ({keys}); wrap it so that it returns logits, as "
            "camaudit.models.classifier.as_classifier does"
        )
    if not isinstance(output, Tensor):
        raise ModelError(
            f"the model returns a {type(output).__name__}; wrap it so that it returns one tensor "
            "of logits (N×C)"
        )
    if output.ndim != 2 or output.shape[0] != images:
        raise ModelError(
            f"the model returns shape {tuple(output.shape)} for {images} image(s); expected "
            "logits of shape N×C"
        )
    return output
