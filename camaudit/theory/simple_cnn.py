"""The simple CNN of the paper's theory as a torch module, with and without its wall."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from camaudit.cut import cut_at
from camaudit.errors import UsageError
from camaudit.theory.design import Design
from camaudit.walls.insert import WalledModel, receptive_field_zone
from camaudit.walls.region import describe
from camaudit.walls.vgg16 import MaskedLinear

__all__ = ["TARGET_LAYER", "LiveMean", "SimpleCNN", "simple_wall"]

TARGET_LAYER = "relu"


class LiveMean(nn.Module):
    """Mean of N×V×h×w maps over the live cells: N×V."""

    live: Tensor

    def __init__(self, live: Tensor) -> None:
        super().__init__()
        self.register_buffer("live", live, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        zero = maps.new_zeros(())
        return torch.where(self.live, maps, zero).sum(dim=(2, 3)) / self.live.sum()


class SimpleCNN(nn.Module):
    """A network of a :class:`~camaudit.theory.design.Design` with random weights, in eval mode.

    `conv` → `relu` (the target layer B) → `head`, whose Linear layers are `linears()`. Images
    N×C×H×W, logits N×classes. `masked=False` is the twin without the wall: the same weights, and
    weights of the dead cells as well. Weights are drawn by :meth:`draw`.
    """

    def __init__(self, design: Design, *, seed: int = 0, masked: bool = True) -> None:
        super().__init__()
        self.design = design
        self.masked = masked
        self.conv = nn.Conv2d(design.channels, design.filters, design.kernel, bias=False)
        self.relu = nn.ReLU()
        self.head = nn.Sequential(*_head(design, masked=masked))
        self.draw(seed)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.relu(self.conv(images)))
        return logits

    def linears(self) -> list[nn.Linear]:
        """The Linear layers in order."""
        return [module for module in self.head if isinstance(module, nn.Linear)]

    def draw(self, seed: int) -> None:
        """New weights by the design's laws; twins of one seed have the same live weights."""
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Conv2d | nn.Linear] = [self.conv, *self.linears()]
        with torch.no_grad():
            for layer, its_law in zip(layers, self.design.laws, strict=True):
                layer.weight.copy_(its_law.draw(tuple(layer.weight.shape), generator))
                if isinstance(layer, MaskedLinear):
                    layer.apply_mask_()


def simple_wall(masked: SimpleCNN, *, unmasked: SimpleCNN | None = None) -> WalledModel:
    """A masked simple CNN as a walled model; the wall is in its weights.

    Raises :class:`UsageError` for a network without a mask. The result looks at `masked` itself:
    it keeps up with :meth:`SimpleCNN.draw`.
    """
    if not masked.masked:
        raise UsageError("this network has no mask: build SimpleCNN(design, masked=True)")
    design = masked.design
    like = masked.conv.weight
    example = torch.randn(
        (1, design.channels, *design.size), generator=torch.Generator().manual_seed(0)
    ).to(like)
    cut = cut_at(masked, TARGET_LAYER, example)
    twin = None if unmasked is None else cut_at(unmasked, TARGET_LAYER, example)
    zone = receptive_field_zone(cut.trunk, example, design.feature_dead)
    description = {
        "wall": "simple CNN",
        "layer": TARGET_LAYER,
        "live": describe(~design.feature_dead),
        "rescale": 1.0,
    }
    return WalledModel(
        cut.trunk, nn.Identity(), cut.head, unwalled=twin, zone=zone, description=description
    ).eval()


def _head(design: Design, *, masked: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    if design.head == "pooled":
        live = ~design.grid_dead if masked else torch.ones(design.grid, dtype=torch.bool)
        layers.append(LiveMean(live))
    else:
        layers += [nn.MaxPool2d(design.pool), nn.Flatten()]
    flat_dead = design.grid_dead.flatten().repeat(design.filters)
    for place, (i, o) in enumerate(pairwise(design.widths)):
        if place:
            layers.append(nn.ReLU())
        if place == 0 and masked and design.head == "flatten":
            layers.append(MaskedLinear(i, o, flat_dead, bias=False))
        else:
            layers.append(nn.Linear(i, o, bias=False))
    return layers
