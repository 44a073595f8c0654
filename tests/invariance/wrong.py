"""Explainers that are wrong in one way each, around a right one or written out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.invariance import Explain, Registered, registered

RIGHT = {name: registered(name) for name in ("gradcam", "hirescam", "scorecam", "cam", "lafam")}


class Mapped:
    """A right explainer whose maps pass through `change`."""

    def __init__(self, change: Callable[[Tensor], Tensor], base: str = "gradcam") -> None:
        self.change = change
        self.base = RIGHT[base]

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        return self.change(self.base(model, layer, images, targets))


class Within:
    """A right explainer around which `context(model, layer, images, targets)` does something."""

    def __init__(self, context: Callable[..., Any], base: Registered | None = None) -> None:
        self.context = contextmanager(context)
        self.base = base or RIGHT["gradcam"]

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        with self.context(model, layer, images, targets):
            return self.base(model, layer, images, targets)


def before(action: Callable[..., Any]) -> Explain:
    """A right explainer that first does `action(model, layer, images, targets)`."""

    def context(*given: Any) -> Iterator[None]:
        action(*given)
        yield

    return Within(context)


def behind(action: Callable[..., Any]) -> Explain:
    """A right explainer that does `action(model, layer, images, targets)` at last."""

    def context(*given: Any) -> Iterator[None]:
        yield
        action(*given)

    return Within(context)


# Space


def ramp(maps: Tensor) -> Tensor:
    """More weight on lower rows."""
    rows = torch.arange(1, maps.shape[1] + 1, dtype=maps.dtype)
    return maps * rows[:, None]


def slanted(maps: Tensor) -> Tensor:
    """More weight on columns further right."""
    columns = torch.arange(1, maps.shape[2] + 1, dtype=maps.dtype)
    return maps * columns


def centred(maps: Tensor) -> Tensor:
    """More weight on the middle: symmetric, yet not everywhere alike."""
    weights = []
    for length in maps.shape[1:]:
        place = torch.arange(length, dtype=maps.dtype) - (length - 1) / 2
        weights.append(1 / (1 + place.square()))
    return maps * weights[0][:, None] * weights[1]


def swapped(maps: Tensor) -> Tensor:
    """Rows and columns exchanged."""
    return maps.transpose(1, 2)


# Images and ranges


def masked(model: nn.Module, _layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """How the score changes where every other row is black."""
    with torch.no_grad():
        rows = torch.arange(len(images))
        score = model(images)[rows, targets]
        hidden = images.clone()
        hidden[:, :, ::2] = 0
        drop = score - model(hidden)[rows, targets]
    return drop.abs()[:, None, None].expand(-1, *images.shape[2:]) + 1


def minmax(maps: Tensor) -> Tensor:
    """Stretched to [0, 1]; 0/0 where a map is constant."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


def lifted(maps: Tensor) -> Tensor:
    """Never empty."""
    return maps + 0.01


def turned(maps: Tensor) -> Tensor:
    """Below 0."""
    return -maps


def coarse(maps: Tensor) -> Tensor:
    """One cell more each way."""
    return nn.functional.pad(maps, (0, 1, 0, 1))


# Walls


def peaked(maps: Tensor) -> Tensor:
    """Divided by the maximum of the whole map, dead cells included."""
    high = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > 0, maps / high, maps)


def smeared(maps: Tensor) -> Tensor:
    """A mean over 3×3 cells."""
    return nn.functional.avg_pool2d(maps[:, None], 3, stride=1, padding=1)[:, 0]


# Batches, runs, precision


def over_the_batch(maps: Tensor) -> Tensor:
    """Divided by the maximum of the batch."""
    high = maps.max()
    return maps / high if bool(high > 0) else maps


def stale(maps: Tensor) -> Tensor:
    """Every image is shown the first one's map."""
    return maps[:1].expand_as(maps)


def neighbour(maps: Tensor) -> Tensor:
    """Mixed with the map of the image before it."""
    return maps + 0.5 * maps.roll(1, dims=0)


def noisy(maps: Tensor) -> Tensor:
    """A little noise from torch's global generator."""
    return maps * (1 + 1e-3 * torch.rand_like(maps))


def noisy_numpy(maps: Tensor) -> Tensor:
    """A little noise from NumPy's global generator."""
    return maps * (1 + 1e-3 * torch.from_numpy(np.random.random(tuple(maps.shape))))


def noisy_python(maps: Tensor) -> Tensor:
    """A little noise from Python's global generator."""
    return maps * (1 + 1e-3 * random.random())  # noqa: S311 # no secret


class Counting:
    """Every call's maps are a little larger than the last one's."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return RIGHT["gradcam"](model, layer, images, targets) * (1 + 1e-9 * self.calls)


def storage_order(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
    """Takes what lies first in memory for the first channel."""
    height, width = images.shape[-2:]
    strides = images[0].numel(), width, 1
    return torch.as_strided(images, (len(images), height, width), strides).abs()


def cubed(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """A third power of small numbers: 0 in float32."""
    maps = RIGHT["gradcam"](model, layer, images, targets)
    return ((maps + 1) * 1e-16).pow(3) / 1e-16 / 1e-16 / 1e-16


def halved(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Half precision wherever the model has no double one."""
    maps = RIGHT["gradcam"](model, layer, images, targets)
    return maps if maps.dtype == torch.float64 else maps.bfloat16().to(maps.dtype)


# Hygiene


def scale_and_divide(model: nn.Module, *_: Any) -> None:
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3).div_(3)
            value.mul_(0.1).div_(0.1)


def train_mode(model: nn.Module, *_: Any) -> None:
    model.train()


def freeze(model: nn.Module, *_: Any) -> None:
    model.requires_grad_(False)


def thaw(model: nn.Module, *_: Any) -> None:
    model.requires_grad_(True)


def run_in_training(model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    model.train()
    with torch.no_grad():
        model(torch.cat([images, images + 1]))
    model.eval()


def new_parameter(model: nn.Module, *_: Any) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight = nn.Parameter(module.weight.detach().clone())
            return


def clear_gradients(model: nn.Module, *_: Any) -> None:
    model.zero_grad()


def propagate(model: nn.Module, _layer: str, images: Tensor, targets: Tensor) -> None:
    model(images).gather(1, targets[:, None]).sum().backward()


def leave_hook(model: nn.Module, layer: str, *_: Any) -> None:
    model.get_submodule(layer).register_forward_hook(lambda *_args: None)


def leave_backward_hook(model: nn.Module, layer: str, *_: Any) -> None:
    model.get_submodule(layer).register_full_backward_hook(lambda *_args: None)


def leave_pre_hook(model: nn.Module, *_: Any) -> None:
    model.register_forward_pre_hook(lambda *_args: None)


def leave_parameter_hook(model: nn.Module, *_: Any) -> None:
    for value in model.parameters():
        if value.requires_grad:
            value.register_hook(lambda gradient: gradient)
            return


def clear_hooks(model: nn.Module, *_: Any) -> None:
    for module in model.modules():
        module._forward_hooks.clear()


def wrap_forward(model: nn.Module, layer: str, *_: Any) -> None:
    module = model.get_submodule(layer)
    own = module.forward
    module.forward = lambda *args: own(*args)  # type: ignore[method-assign]


def keep_activations(model: nn.Module, layer: str, images: Tensor, _targets: Tensor) -> None:
    model.get_submodule(layer).kept = images  # type: ignore[assignment]


def swap_activations(model: nn.Module, *_: Any) -> None:
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.GELU)):
                setattr(module, name, nn.ReLU().eval())


def darken(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    with torch.no_grad():
        images.mul_(0.5)


def shift_targets(_model: nn.Module, _layer: str, _images: Tensor, targets: Tensor) -> None:
    targets.add_(1)


def require_gradient(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    images.requires_grad_(True)


def detach_images(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    images.requires_grad_(False)


def into_image_gradient(model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    if images.requires_grad:
        model(images).sum().backward()


def raise_thoughtlessly(action: Callable[..., Any], undo: Callable[..., Any]) -> Explain:
    """Does `action`, explains, and would `undo` it: but for an error on the way."""

    def explain(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        token = action(model, layer, images, targets)
        maps = RIGHT["gradcam"](model, layer, images, targets)
        undo(token)
        return maps

    return explain
