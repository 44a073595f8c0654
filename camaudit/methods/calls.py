"""A method with its options as one string: `scorecam(score=probability, channel_softmax=false)`.

Every method takes two options more: `at=layer3+layer4` runs it at these layers, and `fuse=max`
(or mean, the default) joins their maps.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args, get_type_hints

from torch import Tensor

from camaudit.callspec import split_call
from camaudit.capture import Capture
from camaudit.errors import UsageError
from camaudit.methods.base import METHODS, MethodInfo
from camaudit.methods.fusion import How, Scale, fuse
from camaudit.methods.options import one_of

__all__ = ["STANDARD", "MethodCall", "compute", "fused", "method_call", "options_listing", "select"]

#: What an audit runs unless it is told otherwise: the paper's methods, their kin, and controls.
STANDARD = (
    "cam", "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "elementwise", "eigencam",
    "scorecam", "scorecam++", "ablationcam", "uniform", "random", "gaussian", "sobel",
)  # fmt: skip


@dataclass(frozen=True)
class MethodCall:
    """A registered method with the options that differ from its defaults.

    `label` is the canonical spelling: the name, or name(option=value, …) in alphabetical order.
    `layers` are other layers than the capture's own to run it at, joined as `fuse` says.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    layers: tuple[str, ...] = ()
    fuse: How = "mean"

    @property
    def label(self) -> str:
        """The canonical spelling."""
        written = [f"{key}={_written(value)}" for key, value in self.options]
        if self.layers:
            written = [f"at={'+'.join(self.layers)}", f"fuse={self.fuse}", *written]
        given = ", ".join(written)
        return f"{self.name}({given})" if given else self.name

    @property
    def info(self) -> MethodInfo:
        """What the registry says of the method."""
        return METHODS[self.name].info

    def __call__(self, capture: Capture, *, seed: int = 0) -> Tensor:
        """Raw maps (N×h×w or N×H×W, ≥ 0); `seed` reaches seeded methods only."""
        if self.layers:
            alone = replace(self, layers=())
            return fused(alone, capture, self.layers, how=self.fuse, seed=seed)
        entry = METHODS[self.name]
        options = dict(self.options)
        if entry.info.seeded:
            options["seed"] = seed
        return entry.function(capture, **options)


def method_call(spec: str) -> MethodCall:
    """The method that `spec` names: a registry name, or `name(option=value, …)`.

    Values are read by the type of the option's default: true/false, whole numbers, numbers or
    words. Raises :class:`camaudit.errors.UnknownNameError` for the name and :class:`UsageError`
    for the options.
    """
    found = split_call(spec)
    if found is None:
        raise UsageError(f"a method is written NAME or NAME(option=value, …); got {spec!r}")
    name, written = found
    known = _options(name)
    options: dict[str, Any] = {}
    layers: tuple[str, ...] = ()
    how: How = "mean"
    for part in written:
        key, mark, text = (piece.strip() for piece in part.partition("="))
        if key == "at" and text:
            layers = tuple(layer.strip() for layer in text.split("+"))
            continue
        if key == "fuse":
            one_of("fuse", text, get_args(How))
            how = cast(How, text)
            continue
        if not mark or key not in known:
            listing = options_listing(name) or "no options"
            raise UsageError(f"{name} has no option {part!r}; it has {listing}")
        options[key] = _read(name, key, text, known[key])
    changed = {key: value for key, value in options.items() if value != known[key]}
    return MethodCall(name, tuple(sorted(changed.items())), layers, how)


def fused(
    method: str | MethodCall,
    capture: Capture,
    layers: Sequence[str],
    *,
    how: How = "mean",
    scale: Scale = "max",
    seed: int = 0,
) -> Tensor:
    """A method at several `layers` of one capture, joined by :func:`fuse`; N×H×W.

    `layers` are the target layer or earlier ones, see :meth:`camaudit.capture.Capture.at`, whose
    errors it raises, as it raises the method's; :class:`UsageError` for no layer.
    """
    if isinstance(layers, str) or not layers:
        raise UsageError(f"expected a list of at least one layer to fuse; got {layers!r}")
    call = method_call(method) if isinstance(method, str) else method
    maps = [call(capture.at(layer), seed=seed) for layer in layers]
    return fuse(maps, size=capture.size, how=how, scale=scale)


def compute(spec: str, capture: Capture, *, seed: int = 0) -> Tensor:
    """Raw maps (N×h×w or N×H×W, ≥ 0) of the method that `spec` names, see :func:`method_call`."""
    return method_call(spec)(capture, seed=seed)


def select(specs: tuple[str, ...] | None) -> list[MethodCall]:
    """The methods to run, each once: `standard` (also None) and `all` stand for lists of names."""
    names: list[str] = []
    for spec in specs or ("standard",):
        lists = {"standard": STANDARD, "all": tuple(METHODS)}
        names += lists.get(spec.strip(), (spec,))
    return list({call.label: call for call in map(method_call, names)}.values())


def options_listing(name: str) -> str:
    """The options of a registered method, defaults first: `score=logit|probability, …`."""
    hints = get_type_hints(METHODS[name].function)
    shown = []
    for key, value in _options(name).items():
        words = [word for word in get_args(hints[key]) if isinstance(word, str) and word != value]
        shown.append(f"{key}={'|'.join([_written(value), *words])}")
    return ", ".join(shown)


def _options(name: str) -> dict[str, Any]:
    """The keyword options of a method with their defaults; the seed is the run's own."""
    parameters = inspect.signature(METHODS[name].function).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "seed"
    }


def _read(name: str, key: str, text: str, default: Any) -> Any:
    """`text` as a value of the default's type; where the default is None, a number."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if default is None or isinstance(default, float):
            return float(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a number")
        raise UsageError(f"{name}: {key} must be {kind}; got {text!r}") from None
    return text


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
