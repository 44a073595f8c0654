"""A chain of layers run fast: only what the live cells read, and fewer products per convolution.

For a chain of convolutions, pooling and elementwise layers (:mod:`camaudit.walls.receptive`) the
rows and columns of every layer that a set of cells reads follow by arithmetic. Layers are cut
down to them where that costs nothing: before strided layers, and before convolutions that copy
their input anyway. What is computed is what the whole network computes, bit for bit where no
convolution runs by Winograd's algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camaudit.engine.cone import Span, cone
from camaudit.engine.winograd import WinogradConv, suits
from camaudit.walls.receptive import Chain

__all__ = ["FastChain"]

_BLOCK = 8  # images that go through all layers together: their maps stay in the cache
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class _Step:
    """One layer: what to keep of its input's rows and columns, and how to run it."""

    rows: slice
    columns: slice
    run: Callable[[Tensor], Tensor]


class FastChain:
    """`chain` as one function: images (N×C×H×W) to activations (N×K×h×w) on some of the cells.

    rows, columns: the cells that are wanted; all others come back as 0.
    winograd: whether wide 3×3 convolutions may run by Winograd's algorithm (float32, CPU).
    """

    def __init__(self, chain: Chain, rows: Span, columns: Span, *, winograd: bool) -> None:
        layers = [module for module, _ in chain.layers]
        fast = [winograd and suits(layer) for layer in layers]
        cuttable = [
            quick or (isinstance(layer, _STRIDED) and layer.stride not in (1, (1, 1)))
            for quick, layer in zip(fast, layers, strict=True)
        ]
        self._wanted = rows, columns
        self._cones = cone(chain, 0, rows, cuttable), cone(chain, 1, columns, cuttable)
        self._copies = not isinstance(layers[0], nn.Conv2d)
        self.winograd = sum(fast)
        self._steps = self._compiled(layers, fast)

    def __call__(self, images: Tensor) -> Tensor:
        rows, columns = self._wanted
        blocks = []
        for block in torch.split(images, _BLOCK):
            x = block[:, :, self._cones[0].image, self._cones[1].image]
            if self._copies:
                x = x.clone()  # a first layer that works in place would write into the images
            for step in self._steps:
                x = step.run(x[:, :, step.rows, step.columns])
            blocks.append(x[:, :, self._cones[0].result, self._cones[1].result])
        cells = torch.cat(blocks)
        if rows.whole and columns.whole:
            return cells
        whole = cells.new_zeros(*cells.shape[:2], rows.size, columns.size)
        whole[:, :, rows.start : rows.stop, columns.start : columns.stop] = cells
        return whole

    def _compiled(self, layers: list[nn.Module], fast: list[bool]) -> list[_Step]:
        steps: list[_Step] = []
        fresh = False  # whether a layer's input is ours to overwrite
        for place, layer in enumerate(layers):
            if place and fast[place - 1] and type(layer) is nn.ReLU:
                continue  # the convolution before it has rectified its result
            run: Callable[[Tensor], Tensor] = layer
            if fast[place]:
                follows = place + 1 < len(layers) and type(layers[place + 1]) is nn.ReLU
                run = WinogradConv(layer, rectify=follows)  # type: ignore[arg-type]
            elif type(layer) is nn.ReLU:
                run = torch.relu_ if fresh else torch.relu
            rows, columns = self._cones[0].keep[place], self._cones[1].keep[place]
            steps.append(_Step(rows, columns, run))
            fresh = isinstance(layer, nn.Conv2d) or (fresh and type(layer) is nn.ReLU)
        return steps
