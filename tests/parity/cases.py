"""What every library explains: small float64 networks, three images, given target classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from tests.networks import settle

__all__ = ["NETWORKS", "SIZE", "Case", "Network"]

SIZE = (32, 40)  # not square, so that a swapped height and width shows
CLASSES = 6


class Flat(nn.Module):
    """VGG's shape: convolutions and pooling, the maps flattened into two Linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(10, 12, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(12 * 8 * 10, 24), nn.ReLU(), nn.Linear(24, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


class Block(nn.Module):
    """A residual block that halves the resolution, with a projection on the way around."""

    def __init__(self, width: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.around = nn.Conv2d(width, out, 1, stride=stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        maps: Tensor = self.relu2(inner + self.around(x))
        return maps


class Pooled(nn.Module):
    """ResNet's shape: a stem, three residual stages, global average pooling and one Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.layer1 = Block(6, 8, stride=1)
        self.layer2 = Block(8, 10, stride=2)
        self.layer3 = Block(10, 12, stride=2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return logits


class Smooth(nn.Module):
    """SiLU throughout: activations of both signs, and a head whose Hessian is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(8, 10, 3, stride=2, padding=1),
            nn.SiLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(10 * 8 * 10, 16), nn.SiLU(), nn.Linear(16, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


def constant() -> nn.Module:
    """:class:`Flat` with one channel of the target layer at a constant, positive level."""
    model = settle(Flat(), 5)
    last = model.features[6]  # type: ignore[index,union-attr]
    with torch.no_grad():
        last.weight[0] = 0  # type: ignore[index]
        last.bias[0] = 0.7  # type: ignore[index]
    return model


@dataclass(frozen=True)
class Network:
    """How to build a network, where to look, and which classes to explain.

    `stages` are the layers for methods of several, early to late, the target layer last, after
    which only the submodule `head` follows; `targets` one class an image; `linear` the layer that
    CAM reads.
    """

    build: Callable[[], nn.Module]
    stages: tuple[str, ...]
    targets: tuple[int, int, int]
    linear: str = ""

    @property
    def layer(self) -> str:
        return self.stages[-1]


_FEATURES = ("features.1", "features.4", "features.7")

NETWORKS: dict[str, Network] = {
    "flat": Network(lambda: settle(Flat(), 5), _FEATURES, (0, 2, 3)),
    "pooled": Network(
        lambda: settle(Pooled(), 3), ("layer1", "layer2", "layer3"), (3, 5, 1), linear="head.2"
    ),
    "smooth": Network(lambda: settle(Smooth(), 4), ("body.1", "body.3"), (4, 2, 1)),
    "negative": Network(lambda: settle(Flat(), 5), _FEATURES, (4, 4, 4)),  # scores below 0
    "constant": Network(constant, _FEATURES, (0, 2, 3)),
}


def _images(seed: int = 2) -> Tensor:
    """Smooth blobs with a little noise: 3×3×H×W, standardised, float64."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(3, 3, 5, 6, generator=generator, dtype=torch.float64)
    fine = torch.randn(3, 3, *SIZE, generator=generator, dtype=torch.float64)
    blobs = F.interpolate(coarse, SIZE, mode="bicubic", align_corners=False)
    mixed = blobs + 0.3 * fine
    return (mixed - mixed.mean()) / mixed.std()


@dataclass(frozen=True)
class Case:
    """One network with its images in one precision; every call builds everything afresh."""

    network: str
    dtype: torch.dtype = torch.float64

    @property
    def spec(self) -> Network:
        return NETWORKS[self.network]

    @property
    def images(self) -> Tensor:
        return _images().to(self.dtype)

    @property
    def targets(self) -> Tensor:
        return torch.tensor(self.spec.targets)

    def model(self) -> nn.Module:
        """The network in eval mode, its own copy: no hook or gradient of another run is in it."""
        return self.spec.build().to(self.dtype).eval()

    def activations(self, model: nn.Module) -> Tensor:
        """What the target layer of `model` gives (N×K×h×w), by a plain forward hook."""
        kept: list[Tensor] = []
        layer = model.get_submodule(self.spec.layer)
        handle = layer.register_forward_hook(lambda _module, _args, output: kept.append(output))
        try:
            with torch.no_grad():
                model(self.images)
        finally:
            handle.remove()
        return kept[0]

    def capture(self) -> Capture:
        """Our capture of the case, from a model of its own."""
        model, images = self.model(), self.images
        return capture(cut_at(model, self.spec.layer, images[:1]), images, targets=self.targets)
