"""A classifier cut in two at one layer: the trunk (image → maps) and the head (maps → logits).

The cut works on any `nn.Module` that runs eagerly, without tracing its Python code. The trunk is
the model stopped right after the layer. The head is the model *replayed*: every module call that
finished before the layer returns what it returned once on an example image, the layer returns
the given maps, and everything after runs as it stands. That equals the true head exactly when
the layer is the only path from the image to the logits. :func:`cut_at` proves this on the
autograd graph before it returns (a skip connection around the layer is refused), and compares
the logits on a second image, because detached tensors and kept state leave no trace there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import LayerError, ModelError
from camaudit.probability import Link, link_of
from camaudit.recent import Recent
from camaudit.sites import (
    Reached,
    Site,
    find_site,
    map_tensors,
    maps_of,
    require_earlier,
    traced_site,
    visits_of,
)

__all__ = [
    "Cut",
    "Head",
    "Trunk",
    "answering",
    "cut_at",
    "default_layer",
    "stages_of",
]


def default_layer(model: nn.Module, example: Tensor) -> str:
    """The last layer that still is a map (h·w > 1) and the only path to the logits.

    Pooling and dropout layers are passed over: their input is the map that one wants to see.
    Raises :class:`LayerError` where there is none.
    """
    for label, _ in reversed(maps_of(visits_of(model, example))):
        if _divides(model, label, example):
            return label
    raise LayerError(
        "no layer of the model gives an N×K×h×w map through which everything passes: "
        "name the target layer"
    )


def stages_of(model: nn.Module, layer: str, example: Tensor) -> list[str]:
    """Natural stages of `model`, earliest first and `layer` itself last.

    For each size of maps with more cells than those of `layer`, the last layer before it that is
    the only path to the logits; pooling and dropout layers are passed over, as in
    :func:`default_layer`. Raises :class:`LayerError` for an unknown layer.
    """
    site, visits = find_site(model, layer, example), visits_of(model, example)
    place = site.place(visits)
    names: dict[tuple[int, ...], str] = {}
    for label, visit in reversed(maps_of(visits, place)):
        size = (visit.shape or ())[2:]
        larger = visit.cells > visits[place].cells
        if larger and size not in names and _divides(model, label, example):
            names[size] = label
    return [*reversed(names.values()), site.label]


class Trunk(nn.Module):
    """The model up to and including a layer.

    `forward(images (N×C×H×W)) → activations (N×K×h×w)`; nothing after the layer runs.
    """

    def __init__(self, model: nn.Module, site: Site) -> None:
        super().__init__()
        self.model = model
        self._site = (site,)
        self.mutates_images = False

    @property
    def site(self) -> Site:
        """The layer's place in the model."""
        return self._site[0]

    def forward(self, images: Tensor) -> Tensor:
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
            return _require_map(reached.output, site)
        finally:
            handle.remove()
        raise LayerError(f"layer {site.label!r} did not run on a {tuple(images.shape)} input")


class Head(nn.Module):
    """The model after a layer, replayed: `forward(activations (M×K×h×w)) → logits (M×C)`.

    `finished` are the module calls that ended before the layer, with what they returned on
    `example` (1×C×H×W). Their values never reach the logits, which :func:`cut_at` checks.
    """

    def __init__(
        self, model: nn.Module, site: Site, example: Tensor, finished: list[tuple[nn.Module, Any]]
    ) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: the trunk registers it, once
        self._site = site
        self._example = (example,)
        self._finished = finished
        self.mutates_images = False
        self.mutates_input = False

    def forward(self, activations: Tensor) -> Tensor:
        example = self._example[0].to(activations)
        images = example.expand(len(activations), *example.shape[1:])
        images = images.clone() if self.mutates_images else images
        given = activations.clone() if self.mutates_input else activations
        return self.replay(images, given, self._finished)

    def replay(
        self, images: Tensor, activations: Tensor, finished: list[tuple[nn.Module, Any]]
    ) -> Tensor:
        """The model on `images` with `finished` and the layer's own output put in place."""
        with answering([*finished, (self._site.module, activations)]):
            logits = self._model[0](images)
        return _require_logits(logits, len(activations))


class Cut(nn.Module):
    """A model as `head(trunk(images))`.

    `read(activations)` gives logits from the layer's output, `logits(images)` from the image.
    """

    def __init__(self, trunk: Trunk, head: Head, *, layer: str) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.layer = layer
        self._cuts: Recent[Cut] = Recent()
        self._names: Recent[list[str]] = Recent()

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.trunk(images))

    @property
    def link(self) -> Link:
        """What turns the model's logits into probabilities."""
        return link_of(self.trunk.model)

    def agrees_with_model(self, images: Tensor, logits: Tensor) -> bool:
        """Whether the whole model gives `logits` (N×C) on `images` too, to rounding.

        What leads around the layer without a trace on the autograd graph (a branch on the
        image's mean, say) is found on the images where it matters.
        """
        with torch.no_grad():
            whole = self.trunk.model(images.clone())
        allowed = 2e-2 if logits.dtype in (torch.float16, torch.bfloat16) else 1e-3
        return bool((whole - logits).abs().max() <= allowed * whole.abs().max())

    def read(self, activations: Tensor) -> Tensor:
        """Logits (M×C) of activations (M×K×h×w)."""
        logits: Tensor = self.head(activations)
        return logits

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N×C) of images (N×C×H×W)."""
        logits: Tensor = self(images)
        return logits

    def at(self, layer: str, example: Tensor) -> Cut:
        """The same model cut at an earlier layer (itself for its own); parameters of `cut_at`."""
        return self._cuts.get(layer, example, lambda: self._cut_again(layer, example))

    def stages(self, example: Tensor) -> list[str]:
        """Layers at which :meth:`at` cuts, one a size of maps, see :func:`stages_of`."""
        make = partial(stages_of, self.trunk.model, self.layer, example)
        return list(self._names.get("", example, make))

    def _cut_again(self, layer: str, example: Tensor) -> Cut:
        site = require_earlier(self.trunk.model, layer, self.trunk.site, example)
        return self if site == self.trunk.site else cut_at(self.trunk.model, site.label, example)


def cut_at(model: nn.Module, layer: str, example: Tensor) -> Cut:
    """Cut `model` at `layer`; the model itself is left as it is.

    Parameters
    ----------
    model: a classifier in evaluation mode that returns logits (N×C).
    layer: a module's name as in `model.named_modules()`, or `name#k` for its k-th run.
    example: one image (1×C×H×W) of the size that will be used; its values do not matter.

    Raises :class:`ModelError` (training mode, output that is no N×C tensor) and
    :class:`LayerError` (unknown layer, no N×K×h×w output, not the only path to the logits).
    """
    example = example[:1].detach()
    image, other = example.clone(), _other_image(example)
    site, tracer, logits = traced_site(model, layer, image)
    expected = [_require_logits(logits, 1)]
    trunk = Trunk(model, site)
    trunk.mutates_images = image._version > 0
    activations = _require_map(tracer.at_watch, site)
    _require_channels_first(trunk, activations, example)
    logits, other_maps = _watched(model, site, other)
    expected.append(_require_logits(logits, 1))
    head = Head(model, site, example, tracer.before_watch)
    head.mutates_images = trunk.mutates_images
    _check_only_path(head, site, example, activations, tracer.before_watch)
    _check_replay(head, [activations, other_maps], expected)
    return Cut(trunk, head, layer=site.label).eval()


def _watched(model: nn.Module, site: Site, image: Tensor) -> tuple[Any, Tensor]:
    """The model's output on an image and the layer's, from one pass."""
    maps: list[Tensor] = []
    calls = 0

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == site.call:
            maps.append(_require_map(output, site).clone())

    handle = site.module.register_forward_hook(keep)
    try:
        with torch.no_grad():
            logits = model(image)
    finally:
        handle.remove()
    if not maps:
        raise LayerError(f"layer {site.label!r} did not run on a {tuple(image.shape)} input")
    return logits, maps[0]


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


def _check_only_path(
    head: Head,
    site: Site,
    example: Tensor,
    activations: Tensor,
    finished: list[tuple[nn.Module, Any]],
) -> None:
    """Refuse a layer with a path around it: the logits must depend on its output alone."""

    sources: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        fresh = tensor.detach().clone()
        if fresh.is_floating_point():
            sources.append(fresh.requires_grad_(True))
        return fresh.clone()

    with torch.enable_grad():
        copies = [(module, map_tensors(leaf, value)) for module, value in finished]
        image = leaf(example)
        maps = activations.detach().clone().requires_grad_(True)
        logits = _replayed(partial(head.replay, image, maps.clone(), copies))
        total = logits.sum()
    if not logits.requires_grad:
        raise LayerError(f"the logits do not depend on layer {site.label!r} at all")
    try:
        to_maps, *around = torch.autograd.grad(
            total, [maps, *sources], allow_unused=True, materialize_grads=False
        )
    except RuntimeError as error:
        raise LayerError(
            f"the part after layer {site.label!r} cannot be differentiated: {error}"
        ) from error
    if to_maps is None:
        raise LayerError(f"the logits do not depend on layer {site.label!r} at all")
    if any(gradient is not None for gradient in around):
        parent = site.name.rpartition(".")[0]
        hint = f"its enclosing block {parent!r}" if parent else "a later layer"
        raise LayerError(
            f"layer {site.label!r} is not the only path from the image to the logits (a skip "
            f"connection leads around it), so nothing can be said of what it hides: try {hint}"
        )


def _check_replay(head: Head, maps: list[Tensor], expected: list[Tensor]) -> None:
    """The replayed head must give the model's logits; notes whether it writes into its input."""
    with torch.no_grad():
        given = maps[0].clone()
        logits = _replayed(partial(head, given))
        head.mutates_input = given._version > 0
        others = [_replayed(partial(head, A)) for A in maps[1:]]
        _replayed(partial(head, maps[0].repeat(2, 1, 1, 1)))
    for found, wanted in zip([logits, *others], expected, strict=True):
        if not torch.allclose(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise LayerError(
                "the part after the layer cannot be replayed: it gives other logits than the "
                "model itself (does the model keep state between calls, or does a detached path "
                "lead around the layer?)"
            )


def _replayed(replay: Callable[[], Tensor]) -> Tensor:
    """The replay's logits, or :class:`LayerError` with the cause where the model fails in it."""
    try:
        return replay()
    except (RuntimeError, ValueError, AssertionError, ModelError) as error:
        raise LayerError(
            "the part after the layer cannot be replayed on its own (it mixes the layer's output "
            f"with tensors from before it): {error}"
        ) from error


def _divides(model: nn.Module, layer: str, example: Tensor) -> bool:
    """Whether :func:`cut_at` accepts the layer."""
    try:
        cut_at(model, layer, example)
    except LayerError:
        return False
    return True


def _other_image(example: Tensor) -> Tensor:
    """Another image of the example's shape: noise, from a generator of its own."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(example.shape, generator=generator, dtype=torch.float64).to(example)


def _require_map(output: Any, site: Site) -> Tensor:
    if not isinstance(output, Tensor):
        raise LayerError(
            f"layer {site.label!r} returns a {type(output).__name__}; expected one N×K×h×w tensor"
        )
    if output.ndim != 4:
        raise LayerError(
            f"layer {site.label!r} returns shape {tuple(output.shape)}; expected N×K×h×w "
            "(a layer before the maps are pooled or flattened)"
        )
    return output


def _require_channels_first(trunk: Trunk, activations: Tensor, example: Tensor) -> None:
    """Refuse a map N×h×w×K: of a square image it looks like n×n×K, and h follows the image's."""
    _, first, second, last = activations.shape
    if example.shape[-2] != example.shape[-1] or not first == second != last:
        return
    try:
        with torch.no_grad():
            channels = trunk(example[:, :, : example.shape[2] // 2]).shape[1]
    except (RuntimeError, ValueError, AssertionError, LayerError):
        return  # images of one size alone: n×n×K may be K' = n channels of n×K cells
    if channels != first:
        raise LayerError(
            f"layer {trunk.site.label!r} returns shape {tuple(activations.shape)}, a map with its "
            "channels last; expected N×K×h×w: name a layer whose output has its channels first"
        )


def _require_logits(output: Any, images: int) -> Tensor:
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
