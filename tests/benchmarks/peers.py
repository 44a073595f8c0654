"""The peers' calls, as their documentation has them, and what they do to a raw map on the way."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.benchmarks.pairs import Pair

__all__ = [
    "GRAD_CAM",
    "Map",
    "Theirs",
    "as_grad_cam",
    "as_torchcam",
    "grad_cam",
    "load",
    "quiet",
    "torchcam_scorecam",
]

Map = NDArray[np.float64]

#: Our method → pytorch-grad-cam's class.
GRAD_CAM = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "elementwise": "GradCAMElementWise",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
}


@dataclass(frozen=True, eq=False)
class Theirs:
    """A peer's map of one image, and its channel weights (K) where they were recorded."""

    map: Map
    weights: Tensor | None = None


def load(package: str, name: str) -> Any:
    """Something of a peer's package, imported without its warnings."""
    with quiet():
        return getattr(importlib.import_module(package), name)


@contextmanager
def quiet() -> Iterator[None]:
    """No warning and no progress bar of theirs."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def grad_cam(method: str, pair: Pair) -> Theirs:
    """pytorch-grad-cam's map (H×W) by its class for `method`, at its own batch size."""
    cls = load("pytorch_grad_cam", GRAD_CAM[method])
    target = load("pytorch_grad_cam.utils.model_targets", "ClassifierOutputTarget")(pair.target)
    layer = pair.theirs.get_submodule(pair.layer)
    recorded: list[Any] = []
    with quiet(), cls(model=pair.theirs, target_layers=[layer]) as cam:
        if method == "scorecam":
            cam.get_cam_weights = _recording(cam.get_cam_weights, recorded)
        maps = cam(input_tensor=pair.image, targets=[target])
    weights = torch.as_tensor(recorded[0])[0] if recorded else None
    return Theirs(np.asarray(maps[0], dtype=np.float64), weights)


def torchcam_scorecam(pair: Pair) -> Theirs:
    """torchcam's ScoreCAM (h×w), at its own batch size."""
    cls = load("torchcam.methods", "ScoreCAM")
    recorded: list[Any] = []
    with quiet(), cls(pair.theirs, pair.layer, input_shape=tuple(pair.image.shape[1:])) as cam:
        cam._get_weights = _recording(cam._get_weights, recorded)
        with torch.no_grad():
            scores = pair.theirs(pair.image)
        (maps,) = cam(pair.target, scores)
    shown: Map = maps[0].detach().double().cpu().numpy()
    return Theirs(shown, recorded[0][0][0].detach().cpu())


def as_grad_cam(raw: Tensor, size: tuple[int, int]) -> Map:
    """pytorch-grad-cam's way with a raw map (1×h×w): rectify, min-max, OpenCV's resize, min-max."""
    import cv2

    low = _scaled(raw.relu()[0].float().cpu().numpy(), 1e-7)
    resized = np.maximum(cv2.resize(low, (size[1], size[0])), 0)
    shown: Map = _scaled(resized, 1e-7).astype(np.float64)
    return shown


def as_torchcam(raw: Tensor) -> Map:
    """torchcam's way with a raw map (1×h×w): rectify and min-max, at the layer's own resolution."""
    shown: Map = _scaled(raw.relu()[0].double().cpu().numpy(), 1e-8)
    return shown


def _scaled(map_: NDArray[Any], epsilon: float) -> NDArray[Any]:
    low = map_ - map_.min()
    scaled: NDArray[Any] = low / (epsilon + low.max())
    return scaled


def _recording(call: Any, into: list[Any]) -> Any:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        into.append(call(*args, **kwargs))
        return into[-1]

    return recorded
