"""What is explained: one network twice, ours cut at its target layer and the peer's as built."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from camaudit.capture import Capture, capture
from camaudit.cut import Cut, cut_at
from camaudit.engine import Engine, Forwards, prepare
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.walls import WalledModel, paper_twins, paper_wall
from camaudit.walls.vgg16 import TARGET_LAYER

__all__ = ["Explained", "Pair", "network", "paper_vgg16", "photograph", "resnet"]


@dataclass(eq=False)
class Pair:
    """One network for either side, with equal weights, and the image that both explain.

    `divided` is ours, channels last as an audit has it; `theirs` is the peer's, as built;
    `image` (1×3×H×W) is contiguous and `target` the class of both.
    """

    divided: Cut | WalledModel
    theirs: nn.Module
    layer: str
    image: Tensor
    target: int
    _prepared: dict[Engine, tuple[Forwards, float]] = field(default_factory=dict, repr=False)

    def forwards(self, engine: Engine) -> Forwards:
        """How our masked images run; made once a model, as an audit does."""
        if engine not in self._prepared:
            start = time.perf_counter()
            made = prepare(self.divided, self.image, engine)
            self._prepared[engine] = made, time.perf_counter() - start
        return self._prepared[engine][0]

    def preparation(self, engine: Engine) -> float:
        """Seconds that :meth:`forwards` took the first time."""
        self.forwards(engine)
        return self._prepared[engine][1]

    def explain(self, methods: tuple[str, ...], engine: Engine) -> Explained:
        """From the image to maps at its size on the CPU: one capture, all `methods` from it."""
        image = self.image.to(memory_format=torch.channels_last)
        captured = capture(self.divided, image, forwards=self.forwards(engine))
        raw = {name: compute(name, captured) for name in methods}
        for maps in raw.values():
            upsample(maps, captured.size).float().cpu()
        return Explained(captured, raw)


@dataclass(frozen=True, eq=False)
class Explained:
    """Our raw maps (1×h×w) by method, and the capture that they are of."""

    captured: Capture
    raw: dict[str, Tensor]


@cache
def photograph(name: str = "chelsea") -> Tensor:
    """One of scikit-image's, standardised for ImageNet, 1×3×224×224."""
    from skimage import data

    from camaudit.data.images import resize_center_crop
    from camaudit.data.preprocess import parse_preprocess

    pixels = resize_center_crop(getattr(data, name)(), 224)
    return parse_preprocess("imagenet").to_tensor([pixels]).contiguous()


@cache
def paper_vgg16(device: torch.device) -> Pair:
    """The paper's VGG16 with its wall, at He initialisation with seed 0."""
    masked, _ = paper_twins(seed=0)
    image = photograph().to(device)
    theirs = copy.deepcopy(masked).to(device)
    masked.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Pair(paper_wall(masked, image), theirs, TARGET_LAYER, image, _target(theirs, image))


@cache
def resnet(depth: int, device: torch.device) -> Pair:
    """torchvision's ResNet at its default initialisation with seed 0, cut at `layer4`."""
    model = network(f"resnet{depth}")
    image = photograph().to(device)
    theirs = copy.deepcopy(model).to(device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    cut = cut_at(model, "layer4", image)
    return Pair(cut, theirs, "layer4", image, _target(theirs, image))


def network(name: str) -> nn.Module:
    """A torchvision network without trained weights, seed 0, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = get_model(name, weights=None).eval()
    return model


def _target(model: nn.Module, image: Tensor) -> int:
    with torch.no_grad():
        return int(model(image).argmax())
