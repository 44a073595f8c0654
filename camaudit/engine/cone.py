"""Which rows and columns of every layer of a chain a set of cells needs: arithmetic, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from camaudit.walls.receptive import Chain, along

__all__ = ["Cone", "Span", "cone", "span_of"]

_WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_REFUSED = (nn.AdaptiveAvgPool2d, nn.ZeroPad2d, nn.ConstantPad2d)


@dataclass(frozen=True)
class Span:
    """Rows (or columns) `start … stop − 1` of `size`."""

    start: int
    stop: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start == 0 and self.stop == self.size


@dataclass(frozen=True)
class Cone:
    """What to keep along one axis: of the image, of each layer's input, and of the result.

    `keep[i]` is relative to what has been kept before layer i. The first `unread` rows of what is
    kept of the image are there for alignment alone.
    """

    image: slice
    unread: int
    keep: tuple[slice, ...]
    result: slice


def span_of(wanted: Tensor) -> Span:
    """The smallest span that holds every True of `wanted` (boolean, one axis)."""
    places = wanted.nonzero().flatten()
    return Span(int(places[0]), int(places[-1]) + 1, len(wanted))


def cone(chain: Chain, axis: int, wanted: Span, cuttable: Sequence[bool]) -> Cone:
    """The cone of `wanted` cells through `chain` along `axis` (0 rows, 1 columns).

    Layers are cut down only where `cuttable`, and the image always. A layer whose edges cannot
    be told from a cut (adaptive pooling, padding layers, padding that repeats pixels, ceil mode)
    makes everything whole.
    """
    modules = [module for module, _ in chain.layers]
    if wanted.whole or not all(_plain(module) for module in modules):
        result = slice(wanted.start, wanted.stop)
        return Cone(slice(None), 0, tuple(slice(None) for _ in modules), result)
    sizes = [chain.image_size[axis], *(size[axis] for _, size in chain.layers)]
    needed = _needed(modules, axis, sizes, wanted)
    strides = [_window(module, axis)[1] for module in modules]
    covered, keep = Span(0, sizes[0], sizes[0]), []
    for place, module in enumerate(modules):
        cut = covered
        if place == 0 or cuttable[place]:
            start = needed[place].start
            # aligned to the strides that follow: a cut must not move their windows
            cut = Span(start - start % prod(strides[place:]), needed[place].stop, sizes[place])
        keep.append(slice(cut.start - covered.start, cut.stop - covered.start))
        covered = _after(module, axis, cut, sizes[place + 1])
    result = slice(wanted.start - covered.start, wanted.stop - covered.start)
    unread = needed[0].start - keep[0].start
    return Cone(keep[0], unread, (slice(None), *keep[1:]), result)


def _needed(
    modules: Sequence[nn.Module], axis: int, sizes: Sequence[int], wanted: Span
) -> list[Span]:
    """For each layer the smallest span of its input that holds what the wanted cells read.

    Never empty, and it reaches the edge where a window hangs over it: so the cells that a cut
    input gives are at least those that are wanted, also where these read padding alone.
    """
    needed: list[Span] = []
    start, stop = wanted.start, wanted.stop
    for module, size in zip(reversed(modules), reversed(sizes[:-1]), strict=True):
        kernel, stride, padding, dilation = _window(module, axis)
        start = start * stride - padding
        stop = (stop - 1) * stride - padding + dilation * (kernel - 1) + 1
        start = min(max(start, 0), size - 1)
        stop = max(min(stop, size), start + 1)
        needed.insert(0, Span(start, stop, size))
    return needed


def _after(module: nn.Module, axis: int, cut: Span, size: int) -> Span:
    """What a layer's output covers when its input is cut; the cut's own edge cells are wrong.

    They read padding where there are pixels. The cells that are wanted never do: every layer's
    input is cut to no less than what they read.
    """
    kernel, stride, padding, dilation = _window(module, axis)
    length = (cut.stop - cut.start + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    start = cut.start // stride
    return Span(start, start + length, size)


def _window(module: nn.Module, axis: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding and dilation along `axis`; an elementwise layer reads one cell."""
    if not isinstance(module, _WINDOWED):
        return 1, 1, 0, 1
    kernel, stride, padding, dilation = (
        along(getattr(module, name, 1), axis)
        for name in ("kernel_size", "stride", "padding", "dilation")
    )
    return kernel, stride, padding, dilation


def _plain(module: nn.Module) -> bool:
    if isinstance(module, _REFUSED) or getattr(module, "ceil_mode", False):
        return False
    return getattr(module, "padding_mode", "zeros") == "zeros"
