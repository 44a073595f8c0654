"""torchcam: every extractor that it has, asked for raw maps at the layer's resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from camaudit.adapters.base import Adapter, Library, differentiable, module_of
from camaudit.adapters.grids import Grids
from camaudit.adapters.options import chosen_class, divided, layers_in, parameters
from camaudit.adapters.running import explained
from camaudit.spelling import Spelled

__all__ = ["LIBRARY", "adapter", "classes"]

LIBRARY = Library("torchcam", "torchcam", "torchcam.methods", (0, 5, 0), (1,))

_OURS = ("model", "input_shape", "enable_hooks", "targets", "class_idx", "scores", "retain_graph")
_LAYER = "target_layer"
_LINEAR = "fc_layer"  # of CAM
_MINMAX = "min-max of every image (map − min, ÷ max + 1e-8)"
_RELU, _SUM = "ReLU", "not rectified"
_RAW = "at the layer's resolution, not scaled"
#: Classes that do something else than rectify before they return a raw map.
_FIRST: dict[str, tuple[str, ...]] = {
    "CAM": (_SUM,),
    "LeGrad": ("ReLU of the attention's gradients",),
    "RefineCAM": (
        "of every layer: ReLU", _MINMAX, "bilinear resize to the largest layer, half-pixel centres",
        "product over the layers",
    ),
}  # fmt: skip


def classes() -> dict[str, type]:
    """The library's extractors by name: built of a model and a target layer."""
    return LIBRARY.classes(lambda cls: {"model", _LAYER} <= parameters(cls).keys())


def adapter(spec: Spelled) -> Adapter:
    """The explainer of `torchcam:CLASS(options)`; options are the constructor's and the call's.

    Maps are raw (`normalized=false`) unless `normalized=true` is given. CAM reads the only Linear
    layer, or `fc_layer=NAME`; `target_layer=a+b` names other layers than the audit's own. Raises as
    :func:`camaudit.adapters.load_adapter` does.
    """
    library = LIBRARY.load()
    cls = chosen_class(spec, classes())
    build = parameters(cls, without=(*_OURS, _LAYER))
    base = build.get("base_method")
    if isinstance(base, type):  # keywords that go on to the method that it wraps
        build = {**parameters(base, without=(*_OURS, _LAYER)), **build}
    call = parameters(cls.__call__, without=_OURS) | {"normalized": False}
    plain, names = layers_in(spec, _LAYER)
    plain, linear = layers_in(plain, _LINEAR) if _LINEAR in build else (plain, ())
    made, called = divided(plain, library, build, call)
    called = {"normalized": False, **called}
    first = _FIRST.get(cls.__name__, (_RELU,))
    if made.get("reshape_transform") is not None:
        first = ("reshape_transform of the layer's output", *first)
    last = (_MINMAX, "at the layer's resolution") if called["normalized"] else (_RAW,)
    return Adapter(
        label=spec.label, spec=spec.spec, distribution=LIBRARY.distribution,
        version=LIBRARY.version,
        processing=(*first, *last),
        run=_runner(spec.label, cls, made, called, names, linear[0] if linear else None),
    )  # fmt: skip


def _runner(
    label: str,
    cls: type,
    made: dict[str, Any],
    called: dict[str, Any],
    names: tuple[str, ...],
    linear: str | None,
) -> Callable[[nn.Module, str, Tensor, Tensor], Tensor]:
    advice = None
    if made.get("reshape_transform") is None and cls.__name__ != "LeGrad":
        advice = "give reshape_transform=package.module:function, or choose a layer with such maps"
    shaped = "input_shape" in parameters(cls)
    transformed, grids = "reshape_transform" in parameters(cls), Grids()

    def run(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        layers = {name: module_of(model, name) for name in names or (layer,)}
        places: Any = list(layers.values())
        own = dict(made)
        if shaped:
            own["input_shape"] = tuple(images.shape[1:])
        if linear is not None:
            own[_LINEAR] = module_of(model, linear)
        if transformed and made.get("reshape_transform") is None:
            cells = grids.reshaping(model, tuple(layers), images)
            own.update({} if cells is None else {"reshape_transform": cells})
        given = differentiable(model, images)

        def maps() -> Tensor:
            with cls(model, places if len(places) > 1 else places[0], **own) as extractor:
                found = extractor(targets.tolist(), model(given), **called)
            if len(found) > 1:
                found = [extractor.fuse_cams(found)]
            first: Tensor = found[0]
            return first

        return explained(label, model, layers, maps, advice=advice)

    return run
