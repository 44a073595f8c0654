"""Token grids: how a layer's output becomes maps N×K×h×w, and how it goes back into the model.

A transformer's layer returns a sequence N×T×K: first prefix tokens that belong to no place (a
class token, a distillation token, registers), then the h·w patch tokens row by row. Other
networks keep a grid with its channels last, N×h×w×K. The patch tokens are the activations that
methods look at; the prefix tokens are the image's own *rest* (N×p×K), which the head reads too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from camaudit.errors import LayerError, UsageError
from camaudit.sites import Visit, visits_of

__all__ = ["MOST_PREFIX", "Grid", "Layout", "grid_at", "grid_of", "grid_size"]

Layout = Literal["maps", "channels last", "tokens"]

MOST_PREFIX = 16  #: more prefix tokens than this are taken for another grid


@dataclass(frozen=True)
class Grid:
    """How a layer lays out its cells.

    "maps" is N×K×h×w, "channels last" N×h×w×K, and "tokens" N×T×K with `prefix` tokens before
    the h·w = `size` patch tokens of an image of `pixels` (height and width).
    """

    layout: Layout = "maps"
    prefix: int = 0
    size: tuple[int, int] = (0, 0)
    pixels: tuple[int, int] = (0, 0)

    @property
    def tokens(self) -> int:
        """T = prefix + h·w of a sequence, 0 for maps."""
        return self.prefix + math.prod(self.size) if self.layout == "tokens" else 0

    def split(self, output: Tensor, pixels: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Activations (N×K×h×w) and rest (N×p×K, None without prefix) of a layer's output.

        `pixels` is the size of the images that it was computed from; a crop has fewer cells.
        Raises :class:`LayerError` where the tokens of such images form no grid.
        """
        if self.layout == "maps":
            if output.ndim != 4:
                raise LayerError(f"expected N×K×h×w maps; got shape {tuple(output.shape)}")
            return output, None
        if self.layout == "channels last":
            return output.permute(0, 3, 1, 2), None
        (h, w), (height, width) = self.size, self.pixels
        h, w = round(pixels[0] * h / height), round(pixels[1] * w / width)
        if output.shape[1] != self.prefix + h * w:
            raise LayerError(
                f"images of {tuple(pixels)} pixels give {output.shape[1]} tokens at this layer; "
                f"expected {self.prefix} + {h}·{w}"
            )
        rest = output[:, : self.prefix] if self.prefix else None
        return output[:, self.prefix :].mT.reshape(len(output), output.shape[2], h, w), rest

    def join(self, activations: Tensor, rest: Tensor | None = None) -> Tensor:
        """A layer's output from its activations and rest, the inverse of :meth:`split`.

        Of tokens there may be fewer: M×K×n activations are n of the patch tokens. Raises
        :class:`UsageError` unless every image brings its own rest, where the layer has one.
        """
        if self.layout == "maps":
            return activations
        if self.layout == "channels last":
            return activations.permute(0, 2, 3, 1)
        patches = activations.flatten(2).mT
        if not self.prefix:
            return patches
        if rest is None or rest.shape[:2] != (len(activations), self.prefix):
            came = "none" if rest is None else f"shape {tuple(rest.shape)}"
            raise UsageError(
                f"the head reads {self.prefix} prefix token(s) of each image besides its patch "
                f"tokens: expected rest of shape {len(activations)}×{self.prefix}×K; got {came} "
                "(Capture.read gives the right ones)"
            )
        return torch.cat([rest.to(patches), patches], dim=1)


def grid_of(visits: Sequence[Visit], place: int, pixels: tuple[int, int], label: str) -> Grid:
    """The grid of the layer whose run is `visits[place]` of a pass on one image of `pixels`.

    Raises :class:`LayerError` where its output is neither a map nor tokens of a known grid.
    """
    shape = visits[place].shape or ()
    if len(shape) == 4:
        return Grid("channels last") if _channels_last(visits, shape) else Grid()
    found = _sequence(visits, place, pixels) if len(shape) == 3 else None
    if found is None:
        raise LayerError(
            f"layer {label!r} returns shape {shape}; expected N×K×h×w (a layer before the maps are "
            "pooled or flattened), N×h×w×K, or N×T×K tokens: up to "
            f"{MOST_PREFIX} prefix tokens and a grid h×w that a convolution of the model made, or "
            "of the image's own shape"
        )
    return found


def grid_at(model: nn.Module, layer: str, images: Tensor) -> Grid:
    """How `layer` of `model` lays out its cells for such images (N×C×H×W), by a pass on one.

    Maps N×K×h×w are what is said of a layer whose output is something else.
    """
    visits = visits_of(model, images)
    places = [place for place, visit in enumerate(visits) if visit.name == layer]
    try:
        pixels = int(images.shape[-2]), int(images.shape[-1])
        return grid_of(visits, places[-1], pixels, layer) if places else Grid()
    except LayerError:
        return Grid()


def grid_size(
    visits: Sequence[Visit], place: int, pixels: tuple[int, int]
) -> tuple[int, int] | None:
    """Cells (h, w) of a visit's output, None where it is no map and no tokens of a known grid."""
    shape = visits[place].shape or ()
    if len(shape) == 4:
        h, w = shape[1:3] if _channels_last(visits, shape) else shape[2:]
        return h, w
    found = _sequence(visits, place, pixels) if len(shape) == 3 else None
    return None if found is None else found.size


def _channels_last(visits: Sequence[Visit], shape: tuple[int, ...]) -> bool:
    """Whether a layer norm over the last dimension alone returned the same shape."""
    return shape[1] != shape[3] and any(
        isinstance(visit.module, nn.LayerNorm)
        and visit.shape == shape
        and tuple(visit.module.normalized_shape) == shape[3:]
        for visit in visits
    )


def _sequence(visits: Sequence[Visit], place: int, pixels: tuple[int, int]) -> Grid | None:
    """The grid of tokens 1×T×K, from the maps before them or from the image's shape."""
    batch, count, width = visits[place].shape or (0, 0, 0)
    if batch != 1 or count < 2:
        return None
    maps = [visit.shape[1:] for visit in visits[:place] if visit.shape and len(visit.shape) == 4]
    sizes = {(h, w) for _, h, w in maps if 1 < h * w <= count <= h * w + MOST_PREFIX}
    flattened = any(count == K and h * w == width for K, h, w in maps)
    embedded = any(width == K and (h, w) in sizes for K, h, w in maps)
    if flattened and (not embedded or isinstance(visits[place].module, nn.Flatten)):
        return None  # N×K×T, maps without their grid
    if not sizes:
        own = _own_shape(count, pixels)
        return None if own is None else Grid("tokens", count - math.prod(own), own, pixels)
    most = max(math.prod(size) for size in sizes)
    best = sorted(size for size in sizes if math.prod(size) == most)
    shaped = [(h, w) for h, w in best if h * pixels[1] == w * pixels[0]]
    chosen = shaped if len(best) > 1 else best
    return Grid("tokens", count - most, chosen[0], pixels) if len(chosen) == 1 else None


def _own_shape(count: int, pixels: tuple[int, int]) -> tuple[int, int] | None:
    """The largest grid of the image's shape, of whole pixels a cell, with few tokens before it."""
    divisor = math.gcd(*pixels)
    tall, wide = pixels[0] // divisor, pixels[1] // divisor
    times = math.isqrt(count // (tall * wide))
    size = times * tall, times * wide
    few = math.prod(size) > 1 and count - math.prod(size) <= MOST_PREFIX
    return size if few and divisor % times == 0 else None
