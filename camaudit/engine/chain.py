"""A chain of layers run fast: only what the live cells read, and fewer products per convolution.

For a chain of convolutions, pooling and elementwise layers (:mod:`camaudit.walls.receptive`) the
rows and columns of every layer that a set of cells reads follow by arithmetic. Layers are cut
down to them where that costs nothing: before strided layers, and before convolutions that copy
their input anyway. A cut changes no value, but a library may add up the products of a smaller
input in another order: where the last bits matter, the network's own function is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.engine.cone import Span, cone
from camaudit.engine.winograd import WinogradConv, suits
from camaudit.walls.receptive import Chain

__all__ = ["BLOCK", "FastChain"]

BLOCK = 8  #: images that go through all layers together on a CPU: their maps stay in the cache
_PROBES, _COMPARED_VALUES = 64, 4096  # noise that tells whether two ways give the same bits
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_CURVED = (
    nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus,
)  # fmt: skip

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Step:
    """One layer: what to keep of its input's rows and columns, and how to run it."""

    rows: slice
    columns: slice
    run: Run


class FastChain:
    """`chain` as one function: images (N×C×H×W) to activations (N×K×h×w) on some of the cells.

    rows, columns: the cells that are wanted; all others come back as 0. No pixel outside the rows
        and columns that these read has any influence.
    winograd: whether wide 3×3 convolutions may run by Winograd's algorithm (float32, CPU).
    own: the network's own function, which leaves its images as they are. Without Winograd's
        algorithm it is asked once for every number of images and layout, and used wherever its
        bits are others.
    block: images that go through all layers together.

    The layers are the network's own, and filters are made anew when the weights have changed. A
    layer that is replaced, hooked or configured otherwise later on is not noticed.
    """

    def __init__(
        self,
        chain: Chain,
        rows: Span,
        columns: Span,
        *,
        winograd: bool,
        own: Run | None = None,
        block: int = BLOCK,
    ) -> None:
        self.block = block
        self._chain = chain
        self._wanted = rows, columns
        self._allowed = winograd
        self._own = own
        self._same_bits: dict[tuple[int, bool], bool] = {}
        self._compile()

    @property
    def winograd(self) -> int:
        """How many convolutions run by Winograd's algorithm."""
        return len(self._convs)

    @property
    def repeatable(self) -> bool:
        """Whether a value gives the same bits wherever it lies in memory.

        Not so for exponentials: the last few of an array are computed by another routine.
        """
        return not any(isinstance(module, _CURVED) for module, _ in self._chain.layers)

    def __call__(self, images: Tensor) -> Tensor:
        if not all(conv.current() for conv in self._convs):
            self._compile()
        pieces = max(1, -(-len(images) // self.block))
        cells = torch.cat([self._trusted(block) for block in images.tensor_split(pieces)])
        if self._convs:  # they return channels last, whatever the network itself returns
            last = torch.channels_last if _channels_last(images) else torch.contiguous_format
            cells = cells.contiguous(memory_format=last)
        rows, columns = self._wanted
        if rows.whole and columns.whole:
            return cells
        below, right = rows.size - rows.stop, columns.size - columns.stop
        return F.pad(cells, (columns.start, right, rows.start, below))

    def _trusted(self, images: Tensor) -> Tensor:
        """The wanted cells of a block of images, by `own` where bits are known to differ."""
        own = self._own
        if own is None or self._convs:
            return self._cells(images)
        rows, columns = (slice(span.start, span.stop) for span in self._wanted)
        kind = len(images), _channels_last(images)
        if kind not in self._same_bits:
            self._same_bits[kind] = self._agrees(own, images)
        return self._cells(images) if self._same_bits[kind] else own(images)[:, :, rows, columns]

    def _agrees(self, own: Run, images: Tensor) -> bool:
        """Whether both ways give the same bits for noise in the form of `images`.

        Another order of summation shows in a share of the values only, so a few values more or
        less prove nothing: noise is drawn until enough of them have been compared.
        """
        rows, columns = (slice(span.start, span.stop) for span in self._wanted)
        compared = 0
        for seed in range(_PROBES):
            probe = _noise(images, seed)
            found, expected = self._cells(probe), own(probe)[:, :, rows, columns]
            if not torch.equal(found, expected):
                return False
            compared += found.numel()
            if compared >= _COMPARED_VALUES:
                break
        return True

    def _cells(self, images: Tensor) -> Tensor:
        """The wanted cells of a block of images, layer by layer."""
        down, across = self._cones
        x = images[:, :, down.image, across.image]
        if self._copies:
            x = x.clone()
            x[:, :, : down.unread] = 0
            x[:, :, :, : across.unread] = 0
        for step in self._steps:
            x = step.run(x[:, :, step.rows, step.columns])
        return x[:, :, down.result, across.result]

    def _compile(self) -> None:
        layers = [module for module, _ in self._chain.layers]
        fast = [self._allowed and suits(layer) for layer in layers]
        cuttable = [
            quick or (isinstance(layer, _STRIDED) and layer.stride not in (1, (1, 1)))
            for quick, layer in zip(fast, layers, strict=True)
        ]
        rows, columns = self._wanted
        down, across = self._cones = (
            cone(self._chain, 0, rows, cuttable),
            cone(self._chain, 1, columns, cuttable),
        )
        # a first layer that works in place would write into the images
        self._copies = not isinstance(layers[0], nn.Conv2d) or down.unread + across.unread > 0
        self._convs: list[WinogradConv] = []
        self._steps = self._compiled(layers, fast)

    def _compiled(self, layers: list[nn.Module], fast: list[bool]) -> list[_Step]:
        steps: list[_Step] = []
        fresh = False  # whether a layer's input is ours to overwrite
        for place, layer in enumerate(layers):
            if place and fast[place - 1] and type(layer) is nn.ReLU:
                continue  # the convolution before it has rectified its result
            run: Run = layer
            if fast[place]:
                follows = place + 1 < len(layers) and type(layers[place + 1]) is nn.ReLU
                run = WinogradConv(layer, rectify=follows)  # type: ignore[arg-type]
                self._convs.append(run)
            elif type(layer) is nn.ReLU:
                run = torch.relu_ if fresh else torch.relu
            rows, columns = self._cones[0].keep[place], self._cones[1].keep[place]
            steps.append(_Step(rows, columns, run))
            fresh = isinstance(layer, nn.Conv2d) or (fresh and type(layer) is nn.ReLU)
        return steps


def _channels_last(images: Tensor) -> bool:
    """Whether the channels of a pixel lie together in memory, also in a part of larger images."""
    return images.stride(1) < images.stride(3)


def _noise(images: Tensor, seed: int) -> Tensor:
    """Noise in the form of `images`, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.empty_like(images).copy_(torch.randn(images.shape, generator=generator))
