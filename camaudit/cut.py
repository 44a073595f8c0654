"""A classifier cut in two at one layer: the trunk (image → maps) and the head (maps → logits).

The cut works on any `nn.Module` that runs eagerly, without tracing its Python code. The trunk is
the model stopped right after the layer. The head is the model *replayed*: every module call that
finished before the layer returns what it returned once on an example image, the layer returns
the given maps, and everything after runs as it stands. That equals the true head exactly when
the layer is the only path from the image to the logits. :func:`cut_at` proves this on the
autograd graph before it returns (a skip connection around the layer is refused), and compares
the logits on a second image, because detached tensors and kept state leave no trace there.

Of a layer that returns tokens the patch tokens are the maps, and the prefix tokens (a class token,
registers) are the *rest* of each image, which the head reads too (:mod:`camaudit.tokens`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import LayerError, ModelError
from camaudit.parts import (
    Head,
    Trunk,
    answering,
    looked_at,
    part_after,
    require_cells,
    require_logits,
)
from camaudit.probability import Link, link_of
from camaudit.recent import Recent
from camaudit.sites import (
    Site,
    find_site,
    map_tensors,
    maps_of,
    require_earlier,
    settings_kept,
    traced_site,
    visits_of,
)
from camaudit.tokens import Grid, grid_of, grid_size

__all__ = [
    "Cut",
    "Head",
    "Trunk",
    "answering",
    "cut_at",
    "default_layer",
    "looked_at",
    "part_after",
    "stages_of",
]


def default_layer(model: nn.Module, example: Tensor) -> str:
    """The last layer that still is a map or a token grid (h·w > 1) and the only path to the logits.

    Pooling and dropout layers are passed over: their input is the map that one wants to see. So
    are layers whose patch tokens nothing reads any more, as in the last block of a transformer
    where a class token is all that the head takes, and layers whose tokens are read through a
    normalisation alone, as in the block before, if there is another: `Σ_k G_k A_k` is 0 there.
    Raises :class:`LayerError` where there is none.
    """
    visits, pixels = visits_of(model, example), _pixels(example)
    fallback: str | None = None
    for label, place in reversed(maps_of(visits)):
        size = grid_size(visits, place, pixels)
        found = _divided(model, label, example) if size and math.prod(size) > 1 else None
        if found is not None and not _reads_directions(found, example):
            return label
        if found is not None and fallback is None:
            fallback = label
    if fallback is not None:
        return fallback
    raise LayerError(
        "no layer of the model gives an N×K×h×w map, or tokens of a grid, through which "
        "everything passes: name the target layer"
    )


def stages_of(model: nn.Module, layer: str, example: Tensor) -> list[str]:
    """Natural stages of `model`, earliest first and `layer` itself last.

    For each size of maps with more cells than those of `layer`, the last layer before it that is
    the only path to the logits; pooling and dropout layers are passed over, as in
    :func:`default_layer`. Raises :class:`LayerError` for an unknown layer.
    """
    site, visits = find_site(model, layer, example), visits_of(model, example)
    place, pixels = site.place(visits), _pixels(example)
    own = math.prod(grid_size(visits, place, pixels) or (0,))
    names: dict[tuple[int, int], str] = {}
    for label, earlier in reversed(maps_of(visits, place)):
        size = grid_size(visits, earlier, pixels)
        larger = size is not None and math.prod(size) > max(own, 1)
        if size and larger and size not in names and _divided(model, label, example):
            names[size] = label
    return [*reversed(names.values()), site.label]


class Cut(nn.Module):
    """A model as `head(trunk(images))`.

    `read(activations)` gives logits from the layer's output, `logits(images)` from the image. Where
    the layer's tokens have a prefix, `look(images)` gives it too, and `read` needs it.
    """

    def __init__(self, trunk: Trunk, head: Head, *, layer: str) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.layer = layer
        self._cuts: Recent[Cut] = Recent()
        self._names: Recent[list[str]] = Recent()

    def forward(self, images: Tensor) -> Tensor:
        return self.read(*self.look(images))

    @property
    def link(self) -> Link:
        """What turns the model's logits into probabilities."""
        return link_of(self.trunk.model)

    @property
    def grid(self) -> Grid:
        """How the layer lays out its cells."""
        return self.trunk.grid

    @property
    def model(self) -> nn.Module:
        """The model that is cut."""
        return self.trunk.model

    def look(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activations (N×K×h×w) and rest (N×p×K, None without prefix tokens) of images."""
        return looked_at(self.trunk, images)

    def whole(self, images: Tensor) -> Tensor:
        """Logits (N×C) by a pass of the uncut model, in which every layer runs."""
        return require_logits(self.model(images.clone()), len(images))

    def after(self, block: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        """Logits (M×C) of the tokens (M×T×K) that `block` returns, see :func:`part_after`."""
        return part_after(self.model, block, example, self.grid)

    def agrees_with_model(self, images: Tensor, logits: Tensor) -> bool:
        """Whether the whole model gives `logits` (N×C) on `images` too, to rounding.

        What leads around the layer without a trace on the autograd graph (a branch on the
        image's mean, say) is found on the images where it matters.
        """
        with torch.no_grad():
            whole = self.trunk.model(images.clone())
        allowed = 2e-2 if logits.dtype in (torch.float16, torch.bfloat16) else 1e-3
        return bool((whole - logits).abs().max() <= allowed * whole.abs().max())

    def read(self, activations: Tensor, rest: Tensor | None = None) -> Tensor:
        """Logits (M×C) of activations (M×K×h×w), and of the rest (M×p×K) of a token grid."""
        logits: Tensor = self.head(activations) if rest is None else self.head(activations, rest)
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
    :class:`LayerError` (unknown layer, neither a map nor a token grid, not the only path to the
    logits, patch tokens that nothing reads).
    """
    try:
        return _cut(model, layer, example)
    except _TokensError as refused:
        raise LayerError(f"{refused}{_advice(model, example)}") from None


class _TokensError(LayerError):
    """A layer of tokens that is refused; :func:`cut_at` says which one to name instead."""


def _cut(model: nn.Module, layer: str, example: Tensor) -> Cut:
    example = example[:1].detach()
    image, other = example.clone(), _other_image(example)
    site, tracer, logits = traced_site(model, layer, image)
    expected = [require_logits(logits, 1)]
    output = require_cells(tracer.at_watch, site)
    visits = tracer.visits
    grid = grid_of(visits, site.place(visits), _pixels(example), site.label)
    trunk = Trunk(model, site, grid)
    trunk.mutates_images = image._version > 0
    if grid.layout == "maps" and _has_channels_last(trunk, output, example):
        grid = trunk.grid = Grid("channels last")
    logits, other_output = _watched(model, site, other)
    expected.append(require_logits(logits, 1))
    head = Head(model, site, example, tracer.before_watch, grid)
    head.mutates_images = trunk.mutates_images
    _check_only_path(head, site, example, output, tracer.before_watch)
    _check_replay(head, [output, other_output], expected, _pixels(example))
    if grid.prefix and not _reads_patches(head, output, _pixels(example)):
        raise _TokensError(
            f"the logits do not depend on the patch tokens of layer {site.label!r}: after it only "
            f"the {grid.prefix} prefix token(s) are read, so that every map would be empty"
        )
    return Cut(trunk, head, layer=site.label).eval()


def _advice(model: nn.Module, example: Tensor) -> str:
    """Which layer of the model can be looked at, to end an error with."""
    try:
        return f"; name {default_layer(model, example)!r}, or a layer before it"
    except LayerError:
        return "; no layer of this model has patch tokens through which everything passes"


def _reads_patches(head: Head, output: Tensor, pixels: tuple[int, int]) -> bool:
    """Whether NaN in the patch tokens reaches the logits, also by way of weights that are 0."""
    activations, rest = head.grid.split(output, pixels)
    with torch.no_grad():
        return bool(head(torch.full_like(activations, torch.nan), rest).isnan().any())


def _watched(model: nn.Module, site: Site, image: Tensor) -> tuple[Any, Tensor]:
    """The model's output on an image and the layer's, from one pass."""
    found: list[Tensor] = []
    calls = 0

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == site.call:
            found.append(require_cells(output, site).clone())

    handle = site.module.register_forward_hook(keep)
    try:
        with torch.no_grad():
            logits = model(image)
    finally:
        handle.remove()
    if not found:
        raise LayerError(f"layer {site.label!r} did not run on a {tuple(image.shape)} input")
    return logits, found[0]


def _check_only_path(
    head: Head,
    site: Site,
    example: Tensor,
    output: Tensor,
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
        maps = output.detach().clone().requires_grad_(True)
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
        why = (
            f"layer {site.label!r} is not the only path from the image to the logits (a skip "
            "connection leads around it), so nothing can be said of what it hides"
        )
        if head.grid.prefix:  # its block may be the last, whose patch tokens nothing reads
            raise _TokensError(why)
        parent = site.name.rpartition(".")[0]
        hint = f"its enclosing block {parent!r}" if parent else "a later layer"
        raise LayerError(f"{why}: try {hint}")


def _check_replay(
    head: Head, outputs: list[Tensor], expected: list[Tensor], pixels: tuple[int, int]
) -> None:
    """The replayed head must give the model's logits; notes whether it writes into its input."""
    with torch.no_grad():
        given = [head.grid.split(output.clone(), pixels) for output in outputs]
        logits = _replayed(partial(head, *given[0]))
        head.mutates_input = given[0][0]._version > 0
        others = [_replayed(partial(head, *each)) for each in given[1:]]
        twice = head.grid.split(torch.cat([outputs[0]] * 2), pixels)
        _replayed(partial(head, *twice))
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


def _divided(model: nn.Module, layer: str, example: Tensor) -> Cut | None:
    """The cut at a layer, None where :func:`cut_at` refuses it."""
    try:
        return _cut(model, layer, example)
    except LayerError:
        return None


def _reads_directions(cut: Cut, example: Tensor) -> bool:
    """Whether only the directions of tokens matter to the head, not their lengths.

    Doubling every other one changes the logits by less than a hundredth of what other tokens do
    then. By Euler's theorem `Σ_k G_k A_k` is 0 in every cell: what is computed of it is rounding.
    """
    if cut.trunk.grid.layout != "tokens":
        return False
    with torch.no_grad():
        A, rest = cut.look(_other_image(example[:1]))
        logits = cut.read(A, rest)
        lengths = 1 + torch.arange(A[0, 0].numel(), device=A.device).view_as(A[0, 0]) % 2
        doubled = (cut.read(lengths * A, rest) - logits).abs().max()
        others = (cut.read(A.flip(1), rest) - logits).abs().max()
    return bool(doubled < 1e-2 * others)


def _other_image(example: Tensor) -> Tensor:
    """Another image of the example's shape: noise, from a generator of its own."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(example.shape, generator=generator, dtype=torch.float64).to(example)


def _pixels(example: Tensor) -> tuple[int, int]:
    return int(example.shape[-2]), int(example.shape[-1])


def _has_channels_last(trunk: Trunk, output: Tensor, example: Tensor) -> bool:
    """Whether a map is N×h×w×K: of a square image it looks like n×n×K, and h follows the image's.

    Images of one size alone cannot tell: n×n×K may be K' = n channels of n×K cells.
    """
    _, first, second, last = output.shape
    if example.shape[-2] != example.shape[-1] or not first == second != last:
        return False
    try:
        with torch.no_grad(), settings_kept(trunk.model):
            rows = trunk.output(example[:, :, : example.shape[2] // 2]).shape[1]
    except (RuntimeError, ValueError, AssertionError, LayerError):
        return False
    return rows != first
