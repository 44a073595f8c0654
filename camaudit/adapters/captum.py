"""captum: any class with `attribute` that explains a class of a model, reduced to one map."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from camaudit.adapters.base import Adapter, Library, differentiable, leaves, module_of
from camaudit.adapters.grids import Grids
from camaudit.adapters.options import Parameters, chosen_class, divided, parameters
from camaudit.adapters.reduction import WORDS, Reduction, reduced, reduction
from camaudit.adapters.running import explained
from camaudit.errors import MethodError
from camaudit.spelling import Spelled
from camaudit.tokens import Grid

__all__ = ["LIBRARY", "adapter", "classes"]

LIBRARY = Library("captum", "captum", "captum.attr", (0, 9, 0), (1,))

_MODEL = ("model", "forward_func")
_WRAPPED = ("attribution_method", "attr_method")  # NoiseTunnel explains by another class
_OURS = (
    *_MODEL, "layer", "device_ids", "inputs", "target", "additional_forward_args",
    "return_convergence_delta", "return_input_shape", "show_progress", "kwargs",
)  # fmt: skip
_NEEDS_OTHER = {"neuron_selector", "dataloader", "inp", "tokenizer", "perturb_interpretable_space"}
_SUMS_CHANNELS = "LayerGradCam"
_WEIGHS = (_SUMS_CHANNELS, "GuidedGradCam")  # channels are its second dimension, whatever it reads
_ONCE = ("DeepLift", "DeepLiftShap", "LRP")  # every module may run once only


def classes() -> dict[str, type]:
    """The library's classes by name whose `attribute` explains a class of an image model.

    Those of a neuron, of text or of a data loader are none.
    """
    return LIBRARY.classes(_explains)


def adapter(spec: Spelled) -> Adapter:
    """The explainer of `captum:CLASS(options)`; options are the constructor's and attribute's.

    `reduce` makes one map of the attribution's channels: abs-sum (the default, for mass of either
    sign is mass, and cannot cancel between channels), sum or positive-sum. LayerGradCam sums over
    channels itself: its default is sum, which leaves its map as it is. NoiseTunnel takes
    `attribution_method=CLASS`. Raises as :func:`camaudit.adapters.load_adapter` does.
    """
    library = LIBRARY.load()
    cls = chosen_class(spec, classes())
    build = parameters(cls, without=_OURS)
    call = parameters(cls.attribute, without=_OURS)  # type: ignore[attr-defined]
    wrapped = next((key for key in build if key in _WRAPPED), None)
    inner: type | None = None
    if wrapped is not None and wrapped in dict(spec.options):
        inner = chosen_class(
            Spelled("library", spec.source, dict(spec.options)[wrapped]), classes()
        )
        call |= parameters(inner.attribute, without=_OURS)  # type: ignore[attr-defined]
        build |= parameters(inner, without=_OURS)
    own: Parameters = {"reduce": "abs-sum"}
    made, called, ours = divided(spec, library, build, call, own)
    made.pop(wrapped or "", None)
    default = "sum" if cls.__name__ == _SUMS_CHANNELS else "abs-sum"
    how = reduction(ours.get("reduce", default))
    return Adapter(
        label=spec.label, spec=spec.spec, distribution=LIBRARY.distribution,
        version=LIBRARY.version,
        processing=_processing(inner or cls, called, how, noisy=inner is not None),
        run=_runner(spec.label, cls, inner, made, called, how),
    )  # fmt: skip


def _runner(
    label: str,
    cls: type,
    inner: type | None,
    made: dict[str, Any],
    called: dict[str, Any],
    how: Reduction,
) -> Callable[[nn.Module, str, Tensor, Tensor], Tensor]:
    explaining = inner or cls
    layered, grids = "layer" in parameters(explaining), Grids()

    def run(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        layers = {layer: module_of(model, layer)} if layered else {}
        given = differentiable(model, images)
        grid = grids.of(model, layer, images) if layered else Grid()
        if grid.layout != "maps" and explaining.__name__ in _WEIGHS:
            raise MethodError(
                f"{label} takes the second dimension of its layer for channels; those of layer "
                f"{layer!r} come last: choose a layer with maps N×K×h×w, or another explainer"
            )

        def maps() -> Tensor:
            explainer = explaining(model, *layers.values(), **made)
            if inner is not None:
                explainer = cls(explainer)
            found = explainer.attribute(given, target=targets, **_bound(called, given))
            found = found.detach() if isinstance(found, Tensor) else found
            if layered and grid.layout != "maps":
                found = _cells(grid, found, images)
            return _map(label, found, how)

        once = leaves(model) if explaining.__name__.endswith(_ONCE) else None
        advice = "choose a layer with such maps"
        return explained(label, model, layers, maps, advice=advice, once=once)

    return run


def _bound(called: dict[str, Any], images: Tensor) -> dict[str, Any]:
    """The options of a call; a function given as baselines or mask is asked for these images."""
    return {
        key: value(images) if callable(value) and key.endswith(("baselines", "mask")) else value
        for key, value in called.items()
    }


def _cells(grid: Grid, found: Any, images: Tensor) -> Any:
    """Attributions to tokens, or to channels that come last, as N×K×h×w; others as they are."""
    if isinstance(found, tuple) and len(found) == 1:
        found = found[0].detach()
    dimensions = 3 if grid.layout == "tokens" else 4
    if not isinstance(found, Tensor) or found.ndim != dimensions:
        return found
    return grid.split(found, images.shape[-2:])[0]


def _map(label: str, found: Any, how: Reduction) -> Tensor:
    if isinstance(found, tuple) and len(found) == 1:
        found = found[0].detach()
    if not isinstance(found, Tensor) or found.ndim != 4:
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise MethodError(
            f"{label} gives an attribution that is no map: expected N×C×h×w, got {what}; choose a "
            "layer with maps"
        )
    return reduced(found, how)


def _explains(cls: type) -> bool:
    attribute = getattr(cls, "attribute", None)
    if not inspect.isfunction(attribute):
        return False
    asked = parameters(attribute)
    return (
        bool({*_MODEL, *_WRAPPED} & parameters(cls).keys())
        and "inputs" in asked
        and ("target" in asked or bool({*_WRAPPED} & parameters(cls).keys()))
        and not _NEEDS_OTHER & asked.keys()
    )


def _processing(
    cls: type, called: dict[str, Any], how: Reduction, *, noisy: bool
) -> tuple[str, ...]:
    guided = cls.__name__ == "GuidedGradCam"
    steps: list[str] = ["mean or spread over noisy copies"] if noisy else []
    if cls.__name__ == _SUMS_CHANNELS:
        steps.append("summed over channels by captum")
        steps += ["ReLU"] if called.get("relu_attributions") else ["not rectified"]
        steps += [] if how == "sum" else [WORDS[how]]
    else:
        if guided:
            mode = called.get("interpolate_mode", "nearest")
            steps.append(f"GradCAM resized to the image ({mode})")
        if cls.__name__ == "Saliency" and called.get("abs", True):
            steps.append("absolute value")
        steps.append(WORDS[how])
    where = "the layer's" if "layer" in parameters(cls) and not guided else "the image's"
    return (*steps, f"at {where} resolution, not scaled")
