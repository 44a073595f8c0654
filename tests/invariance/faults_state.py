"""Faults in what an explainer leaves behind: in the model, the images, or the whole process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.invariance.literal import LITERAL, Score, Seen, look
from tests.invariance.planting import planted, step

Effect = Callable[[nn.Module, str, Tensor, Tensor], Any]


def leaving(claims: str, name: str, fault: str) -> Callable[[Effect], Effect]:
    """Add the right explainer that in the end does what the decorated function does."""

    def add(effect: Effect) -> Effect:
        def explain(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
            maps = LITERAL[claims](model, layer, images, targets)
            effect(model, layer, images, targets)
            return maps

        planted(claims, name, fault)(explain)
        return effect

    return add


def harmless(*_args: object) -> None:
    """A hook that does nothing."""


@leaving("gradcam", "forward-hook", "leaves a forward hook on the layer")
def forward_hook(model: nn.Module, layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Register and forget."""
    model.get_submodule(layer).register_forward_hook(harmless)


@leaving("hirescam", "backward-hook", "leaves a backward hook on the layer")
def backward_hook(model: nn.Module, layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Register and forget."""
    model.get_submodule(layer).register_full_backward_hook(harmless)


@leaving("scorecam", "pre-hook", "leaves a forward pre-hook on the model")
def pre_hook(model: nn.Module, _layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Register and forget."""
    model.register_forward_pre_hook(harmless)


@leaving("layercam", "parameter-hook", "leaves a hook on a parameter")
def parameter_hook(model: nn.Module, _layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Register and forget."""
    next(model.parameters()).register_hook(harmless)


@leaving("gradcam", "attribute", "keeps the targets as an attribute of the model")
def attribute(model: nn.Module, _layer: str, _images: Tensor, targets: Tensor) -> None:
    """A reference to the last batch stays alive."""
    model.explained = targets.tolist()  # type: ignore[assignment]


@leaving("ablationcam", "wrapped-layer", "leaves a wrapper in place of the layer's forward")
def wrapped_layer(model: nn.Module, layer: str, _images: Tensor, _targets: Tensor) -> None:
    """The layer's own forward is hidden by an instance attribute."""
    module = model.get_submodule(layer)
    own = module.forward
    module.forward = lambda *args: own(*args)  # type: ignore[method-assign]


@leaving("gradcam", "frozen", "switches off requires_grad of all parameters")
def frozen(model: nn.Module, _layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Nothing can be trained any more."""
    model.requires_grad_(False)


@leaving("gradcam++", "tracked-images", "leaves requires_grad of the images on")
def tracked_images(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    """The caller's images build graphs."""
    images.requires_grad_()


@leaving("xgradcam", "train", "leaves the model in train mode")
def train(model: nn.Module, _layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Dropout and normalisation behave otherwise from now on."""
    model.train()


@leaving("eigencam", "train-layer", "leaves the target layer in train mode")
def train_layer(model: nn.Module, layer: str, _images: Tensor, _targets: Tensor) -> None:
    """The model itself still says eval."""
    model.get_submodule(layer).train()


@leaving("gradcam", "filled-gradients", "calls backward, which fills .grad of the parameters")
def filled_gradients(model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    """Gradients of a training step under way are spoilt."""
    with torch.enable_grad():
        model(images).sum().backward()


@leaving("layercam", "emptied-gradients", "calls zero_grad, which empties .grad")
def emptied_gradients(model: nn.Module, _layer: str, _images: Tensor, _targets: Tensor) -> None:
    """Gradients of a training step under way are lost."""
    model.zero_grad()


@leaving("hirescam", "running-statistics", "runs in train mode, which moves BatchNorm's statistics")
def running_statistics(model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    """A pass whose maps are thrown away; the mode is put back, the statistics are not."""
    model.train()
    with torch.no_grad():
        model(torch.cat([images, images + 1]))
    model.eval()


@leaving("cam", "normalised-weights", "scales the last Linear layer's weights in place")
def normalised_weights(model: nn.Module, _layer: str, _images: Tensor, _targets: Tensor) -> None:
    """The model's logits are other ones from now on."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        linear.weight /= linear.weight.norm() + 1


@leaving("gradcam", "rounded-weights", "converts the model to float32 and back")
def rounded_weights(model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    """The weights lose their last digits."""
    model.float()
    model.to(images.dtype)


@leaving("scorecam", "clamped-images", "cuts the images at 1/2 in place")
def clamped_images(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> None:
    """The caller's images are other ones."""
    images.clamp_(max=0.5)


@leaving("finercam", "moved-targets", "counts the targets up in place")
def moved_targets(_model: nn.Module, _layer: str, _images: Tensor, targets: Tensor) -> None:
    """The caller's classes are other ones."""
    targets += 1


@leaving("scorecam", "reseeded", "seeds torch's global generator")
def reseeded(*_asked: object) -> None:
    """All that is drawn afterwards is the same every time."""
    torch.manual_seed(0)


@leaving("gradcam", "drawn", "draws from torch's global generator and does not use it")
def drawn(*_asked: object) -> None:
    """All that is drawn afterwards is moved on."""
    torch.rand(1)


@leaving("layercam", "drawn-numpy", "draws from NumPy's global generator and does not use it")
def drawn_numpy(*_asked: object) -> None:
    """All that is drawn afterwards is moved on."""
    np.random.rand()


@leaving("hirescam", "drawn-python", "draws from Python's global generator and does not use it")
def drawn_python(*_asked: object) -> None:
    """All that is drawn afterwards is moved on."""
    random.random()  # noqa: S311


@leaving("gradcam", "grad-mode", "leaves autograd switched off")
def grad_mode(*_asked: object) -> None:
    """Nothing can be trained any more."""
    torch.set_grad_enabled(False)


@leaving("elementwise", "default-dtype", "leaves another default dtype")
def default_dtype(*_asked: object) -> None:
    """New tensors have another precision."""
    other = torch.float32 if torch.get_default_dtype() == torch.float64 else torch.float64
    torch.set_default_dtype(other)


@leaving("ablationcam", "threads", "leaves another number of threads")
def threads(*_asked: object) -> None:
    """Everything after it runs at another speed."""
    torch.set_num_threads(torch.get_num_threads() + 1)


@leaving("eigencam", "deterministic-algorithms", "leaves deterministic algorithms switched on")
def deterministic_algorithms(*_asked: object) -> None:
    """What has no such algorithm raises from now on."""
    torch.use_deterministic_algorithms(True)


def hook_kept_on_failure(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score
) -> Seen:
    """A look whose second hook is removed only where all goes well."""
    handle = model.get_submodule(layer).register_forward_hook(harmless)
    seen = look(model, layer, images, targets, score)
    handle.remove()
    return seen


def frozen_on_failure(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score
) -> Seen:
    """A look that freezes the model, and thaws it only where all goes well."""
    flags = [(value, value.requires_grad) for value in model.parameters()]
    model.requires_grad_(False)
    seen = look(model, layer, images, targets, score)
    for value, flag in flags:
        value.requires_grad_(flag)
    return seen


step(
    "gradcam", "hook-on-failure", "leaves a hook where the model raises", look=hook_kept_on_failure
)
step(
    "xgradcam",
    "frozen-on-failure",
    "leaves parameters frozen where the model raises",
    look=frozen_on_failure,
)


@planted("gradcam", "swallowed-failure", "gives empty maps where the model raises")
def swallowed(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Grad-CAM that hides every error."""
    try:
        return LITERAL["gradcam"](model, layer, images, targets)
    except Exception:
        return torch.zeros_like(images[:, 0])


@planted("hirescam", "clock", "multiplies by a factor of the time of day")
def clock(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """HiResCAM that is another one from call to call."""
    right = LITERAL["hirescam"](model, layer, images, targets)
    return right * (1 + time.perf_counter_ns() % 1000 / 1e4)


class Counting:
    """Grad-CAM whose maps fade by 1 % from call to call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """The right map times a factor of the number of calls."""
        self.calls += 1
        right = LITERAL["gradcam"](model, layer, images, targets)
        return right * (1 + self.calls / 100)


class Reusing:
    """LayerCAM that writes all maps of one shape into the same memory."""

    def __init__(self) -> None:
        self.memory: dict[Any, Tensor] = {}

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """The right maps, until the next call."""
        right = LITERAL["layercam"](model, layer, images, targets)
        key = (right.shape, right.dtype)
        return self.memory.setdefault(key, right.clone()).copy_(right)


planted("gradcam", "counting", "adds 1 % to its maps with every call")(Counting())
planted("layercam", "reused-memory", "overwrites the maps that it gave before")(Reusing())
