"""pytorch-grad-cam, torchcam and captum as plain callables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from tests.parity.libraries import load, quiet

__all__ = ["Captum", "Changed", "GradCamFiner", "GradCamPackage", "TorchCam"]

Held = Callable[[], AbstractContextManager[None]]


class GradCamPackage:
    """A class of pytorch-grad-cam, called as its documentation has it; maps N×H×W.

    `held` is a context in which it runs. FullGrad finds its layers itself.
    """

    def __init__(self, name: str, *, held: Held = nullcontext) -> None:
        self.__name__ = name
        self.held = held

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        with quiet(), self.held():
            maps = self._maps(model, layer, images, targets)
        return torch.from_numpy(np.ascontiguousarray(maps))

    def _maps(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Any:
        target = load("pytorch_grad_cam.utils.model_targets", "ClassifierOutputTarget")
        layers = [] if self.__name__ == "FullGrad" else [model.get_submodule(layer)]
        explainer = load("pytorch_grad_cam", self.__name__)(model, layers)
        chosen = [target(int(index)) for index in targets]
        maps = explainer(input_tensor=images, targets=chosen)
        if self.__name__ == "ShapleyCAM":  # it keeps views, which its clean-up would detach
            explainer.activations_and_grads.gradients.clear()
            explainer.activations_and_grads.activations.clear()
        return maps


class GradCamFiner(GradCamPackage):
    """pytorch-grad-cam's FinerCAM, which takes one image and the class itself."""

    def __init__(self) -> None:
        super().__init__("FinerCAM")

    def _maps(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Any:
        explainer = load("pytorch_grad_cam", "FinerCAM")(model, [model.get_submodule(layer)])
        rows = [
            explainer(input_tensor=image[None], targets=None, target_idx=int(index))
            for image, index in zip(images, targets, strict=True)
        ]
        return np.concatenate(rows)


class TorchCam:
    """An extractor of torchcam, which hooks the model before it runs; maps N×h×w.

    `build` are arguments of its constructor; CAM reads the last Linear layer.
    """

    def __init__(self, name: str, build: Mapping[str, Any] | None = None) -> None:
        self.__name__ = name
        self.build = dict(build or {})

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        build = dict(self.build)
        if self.__name__ == "CAM":
            linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
            build["fc_layer"] = linear[-1]
        extractor = load("torchcam.methods", self.__name__)
        with quiet(), extractor(model, layer, input_shape=images.shape[1:], **build) as made:
            (maps,) = made(targets.tolist(), model(images))
        found: Tensor = maps.detach()
        return found


class Captum:
    """An attribution of captum at a layer, summed over channels; maps N×h×w, signed."""

    def __init__(self, name: str, call: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.call = dict(call or {})
        options = ", ".join(f"{key}={value}" for key, value in self.call.items())
        self.__name__ = f"{name}({options})" if options else name

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        with quiet():
            explainer = load("captum.attr", self.name)(model, model.get_submodule(layer))
            found: Tensor = explainer.attribute(images, target=targets, **self.call)
        return found.detach().sum(dim=1)


class Changed:
    """A method of ours with one thing changed, as a function of a capture."""

    def __init__(self, change: Callable[[Capture], Tensor], name: str) -> None:
        self.change = change
        self.__name__ = name

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        cut = cut_at(model, layer, images[:1])
        with torch.no_grad():
            return self.change(capture(cut, images, targets=targets))
