"""Small float64 networks, walls and images drawn by Hypothesis for tests of methods."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import Cut, cut_at
from camaudit.walls import WalledModel, insert_wall

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "leaky": nn.LeakyReLU}


@dataclass(frozen=True, eq=False)
class Case:
    """A network cut at its map layer, with images and targets."""

    model: nn.Module
    divided: Cut | WalledModel
    images: Tensor
    targets: Tensor
    pooled: bool

    def capture(self, batch_size: int = 3) -> Capture:
        return capture(self.divided, self.images, targets=self.targets, batch_size=batch_size)


def network(
    *, seed: int, channels: int, activation: str, pooled: bool, layers: int, size: tuple[int, int]
) -> nn.Module:
    """Conv → activation → (map layer "maps") → head of `layers` Linear layers, float64, eval."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Conv2d(3, channels, 3, stride=2, padding=1), ACTIVATIONS[activation]())
    cells = -(-size[0] // 2) * -(-size[1] // 2)
    width = channels if pooled else channels * cells
    head: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if pooled else []
    head.append(nn.Flatten())
    for _ in range(layers - 1):
        head += [nn.Linear(width, 6), ACTIVATIONS[activation]()]
        width = 6
    head.append(nn.Linear(width, 4))
    model = nn.Sequential()
    model.add_module("maps", trunk)
    model.add_module("head", nn.Sequential(*head))
    return model.double().eval()


@st.composite
def cases(draw: st.DrawFn, *, walled: bool | None = None, images: int = 2) -> Case:
    """A network with or without a wall over its lower cells, a batch of images and targets."""
    size = (draw(st.integers(5, 8)), draw(st.integers(5, 8)))
    pooled = draw(st.booleans())
    seed = draw(st.integers(0, 2**16))
    model = network(
        seed=seed,
        channels=draw(st.integers(1, 4)),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        pooled=pooled,
        layers=draw(st.integers(1, 2)),
        size=size,
    )
    generator = torch.Generator().manual_seed(seed + 1)
    batch = torch.randn(images, 3, *size, generator=generator, dtype=torch.float64)
    if draw(st.booleans() if walled is None else st.just(walled)):
        divided: Cut | WalledModel = insert_wall(model, "maps", batch[:1], live_rows=2)
    else:
        divided = cut_at(model, "maps", batch[:1])
    targets = torch.tensor([draw(st.integers(0, 3)) for _ in range(images)])
    return Case(model, divided, batch, targets, pooled)
