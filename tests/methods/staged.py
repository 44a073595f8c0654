"""Float64 chains of two or three resolutions, with and without walls, drawn by Hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import Cut, cut_at
from camaudit.walls import WalledModel, insert_wall, split_trunk
from tests.networks import settle

ACTIVATIONS = (
    lambda: nn.ReLU(),
    lambda: nn.ReLU(inplace=True),
    lambda: nn.GELU(),
    lambda: nn.LeakyReLU(inplace=True),
)
CLASSES = 4


@dataclass(frozen=True, eq=False)
class Staged:
    """A chain of `layers` cut after the first `cells` of them, with images and targets."""

    layers: list[nn.Module]
    cells: int
    divided: Cut | WalledModel
    images: Tensor
    targets: Tensor

    def capture(self, batch_size: int = 4) -> Capture:
        return capture(self.divided, self.images, targets=self.targets, batch_size=batch_size)


def stage(draw: st.DrawFn, width: int, out: int, *, shrink: bool) -> list[nn.Module]:
    """A convolution, perhaps BatchNorm, and an activation; first a stride or a pooling."""
    layers: list[nn.Module] = []
    stride = 1
    if shrink:
        stride = draw(st.sampled_from([1, 2]))
        if stride == 1:
            layers.append(draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(2))
    bias = draw(st.booleans())
    layers.append(nn.Conv2d(width, out, 3, stride=stride, padding=1, bias=bias))
    if draw(st.booleans()):
        layers.append(nn.BatchNorm2d(out))
    layers.append(draw(st.sampled_from(ACTIVATIONS))())
    return layers


@st.composite
def staged(draw: st.DrawFn, *, walls: tuple[str, ...] = ("none", "insert", "split")) -> Staged:
    """Two or three stages and a head: pooled or flat, with or without a convolution of its own."""
    widths = [3, *draw(st.lists(st.integers(2, 3), min_size=2, max_size=3))]
    layers: list[nn.Module] = []
    for number, (width, out) in enumerate(pairwise(widths)):
        layers += stage(draw, width, out, shrink=number > 0)
    cells = len(layers)
    if draw(st.booleans()):
        layers += [nn.Conv2d(widths[-1], 3, 1), nn.ReLU()]
        widths.append(3)
    grid = 2 + draw(st.integers(0, 1))
    height = grid * 2 ** sum(map(_halves, layers))
    layers.append(nn.AdaptiveAvgPool2d(1) if draw(st.booleans()) else nn.Identity())
    inputs = widths[-1] * (1 if isinstance(layers[-1], nn.AdaptiveAvgPool2d) else grid * grid)
    layers += [nn.Flatten(), nn.Linear(inputs, CLASSES)]
    seed = draw(st.integers(0, 2**16))
    model = settle(nn.Sequential(*layers), seed).double()
    generator = torch.Generator().manual_seed(seed + 1)
    images = torch.randn(2, 3, height, height, generator=generator, dtype=torch.float64)
    wall = draw(st.sampled_from(walls))
    name = str(cells - 1)
    divided: Cut | WalledModel = cut_at(model, name, images[:1])
    if wall != "none":
        dead = draw(st.sampled_from(["bottom:1", "top:1", "left:1"]))
        build = insert_wall if wall == "insert" else split_trunk
        divided = build(model, name, images[:1], dead=dead)
    targets = torch.tensor(draw(st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=2)))
    return Staged(layers, cells, divided, images, targets)


def _halves(layer: nn.Module) -> int:
    """How often a layer halves the maps."""
    if isinstance(layer, nn.Conv2d):
        return int(layer.stride[0] == 2)
    return int(isinstance(layer, nn.MaxPool2d | nn.AvgPool2d))
