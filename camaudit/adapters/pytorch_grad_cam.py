"""pytorch-grad-cam: every CAM class that it has, called as its documentation calls it.

Its maps cannot be had raw. They are rectified, min-maxed at the layer's resolution, resized, and
min-maxed again: (m − min m)/(max m − min m + 1e-7). Where a map does not touch 0, that moves mass:
with D, n_d the zone's mass and pixels and T, n the whole map's, μ becomes
(D − n_d·min m)/(T − n·min m).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.adapters.base import Adapter, Library, differentiable, leaves, module_of
from camaudit.adapters.grids import Grids
from camaudit.adapters.options import chosen_class, divided, layers_in, parameters
from camaudit.adapters.running import explained
from camaudit.spelling import Spelled

__all__ = ["LIBRARY", "adapter", "classes"]

LIBRARY = Library("pytorch_grad_cam", "grad-cam", "pytorch_grad_cam", (1, 5, 7), (2,))

_OURS = ("model", "input_tensor", "targets", "target_idx")  # what the adapter gives itself
_LAYERS = "target_layers"
_RESHAPE = (
    "reshape_transform"  # of layers whose cells are no maps N×K×h×w; ours where none is given
)
_OUTSIDE = "detach"  # it would hand maps over with their graph
_MINMAX = "min-max of every image at the layer's resolution (map − min, ÷ max + 1e-7)"
_RESIZE = "bilinear resize to the image by OpenCV, half-pixel centres, float32"
_AGAIN = "min-max of every image again"
_USUAL = ("ReLU", _MINMAX, _RESIZE, "mean over the layers", _AGAIN)
#: Classes that make their maps otherwise than the rest.
_OWN: dict[str, tuple[str, ...]] = {
    "FullGrad": (
        "absolute value and min-max of every channel", _RESIZE, "sum over layers and channels",
        _AGAIN,
    ),
    "RefineCAM": (
        "of every layer: ReLU", _MINMAX, _RESIZE, _AGAIN, "product over the layers", _AGAIN,
    ),
    "SESS": (
        "of every patch: ReLU", _MINMAX, _RESIZE, _AGAIN,
        "weighted by the patch's score and pasted back, mean over patches, Gaussian blur",
    ),
}  # fmt: skip


def classes() -> dict[str, type]:
    """The library's CAM classes by name: built of a model and layers, called with images."""
    return LIBRARY.classes(
        lambda cls: {"model", _LAYERS} <= parameters(cls).keys() and "input_tensor" in _called(cls)
    )


def adapter(spec: Spelled) -> Adapter:
    """The explainer of `pytorch_grad_cam:CLASS(options)`.

    Options are those of the constructor and of the call (`aug_smooth=true`, `eigen_smooth=true`,
    `reshape_transform=package.module:function`), and `target_layers=a+b`, in place of the audit's
    own layer. Raises as :func:`camaudit.adapters.load_adapter` does.
    """
    library = LIBRARY.load()
    cls = chosen_class(spec, classes())
    build = parameters(cls, without=(*_OURS, _LAYERS, _OUTSIDE))
    base = build.get("base_method")
    if isinstance(base, type):  # keywords that go on to the method that it wraps
        build = {**parameters(base, without=(*_OURS, _LAYERS, _OUTSIDE)), **build}
    call = {key: value for key, value in _called(cls).items() if key not in _OURS}
    plain, names = layers_in(spec, _LAYERS)
    made, called = divided(plain, library, build, call)
    return Adapter(
        label=spec.label, spec=spec.spec, distribution=LIBRARY.distribution,
        version=LIBRARY.version,
        processing=_processing(cls, made, called),
        run=_runner(spec.label, cls, made, called, names),
    )  # fmt: skip


def _runner(
    label: str, cls: type, made: dict[str, Any], called: dict[str, Any], names: tuple[str, ...]
) -> Callable[[nn.Module, str, Tensor, Tensor], Tensor]:
    whole = cls.__name__ == "FullGrad"  # it finds its layers itself
    advice = None
    shaped, grids = _RESHAPE in parameters(cls) and not whole, Grids()
    if made.get(_RESHAPE) is None:
        advice = "give reshape_transform=package.module:function, or choose a layer with such maps"

    def run(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        layers = {} if whole else {name: module_of(model, name) for name in names or (layer,)}
        given, own = differentiable(model, images), dict(made)
        if shaped and made.get(_RESHAPE) is None:
            cells = grids.reshaping(model, tuple(layers), images)
            own.update({} if cells is None else {_RESHAPE: cells})

        def maps() -> Tensor:
            explainer = cls(model, list(layers.values()), **own)
            try:
                found = _maps(explainer, given, targets, called)
            finally:
                for held in _held(explainer):
                    # some keep views, which the library's own clean-up cannot detach
                    held.activations.clear()
                    held.gradients.clear()
                    held.release()
            return torch.from_numpy(np.ascontiguousarray(found)).to(images.device)

        once = leaves(model) if whole else None
        return explained(label, model, layers, maps, advice=advice, once=once)

    return run


def _maps(explainer: Any, images: Tensor, targets: Tensor, called: dict[str, Any]) -> Any:
    """The library's maps (N×H×W); FinerCAM takes the class itself, and one image with it."""
    if "target_idx" in _called(type(explainer)):
        rows = [
            explainer(input_tensor=image[None], targets=None, target_idx=int(index), **called)
            for image, index in zip(images, targets, strict=True)
        ]
        return np.concatenate(rows)
    target = LIBRARY.load("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    chosen = [target(int(index)) for index in targets]
    return explainer(input_tensor=images, targets=chosen, **called)


def _called(cls: type) -> dict[str, Any]:
    """The options of a call, also where the call passes all on to `forward`."""
    for name in ("__call__", "forward"):
        function = getattr(cls, name, None)
        if inspect.isfunction(function) and "input_tensor" in parameters(function):
            return parameters(function)
    return {}


def _held(explainer: Any) -> Iterator[Any]:
    """What holds hooks, in an explainer and in those that it wraps."""
    if hasattr(explainer, "activations_and_grads"):
        yield explainer.activations_and_grads
    wrapped = getattr(explainer, "base_cam", None)
    for inner in (*([wrapped] if wrapped else ()), *getattr(explainer, "base_cam_per_layer", ())):
        yield from _held(inner)


def _processing(cls: type, made: dict[str, Any], called: dict[str, Any]) -> tuple[str, ...]:
    steps = _OWN.get(cls.__name__, _USUAL)
    if called.get("eigen_smooth"):
        steps = ("first principal component of the weighted maps in place of their sum", *steps)
    if called.get("aug_smooth"):
        steps = (*steps, "mean over copies of the image (mirrored, and × 0.9, 1 and 1.1)")
    if made.get(_RESHAPE) is not None:
        steps = ("reshape_transform of the layer's output", *steps)
    return steps
