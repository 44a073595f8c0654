"""Explainers as a policy names them: methods with options, and functions of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from camaudit.errors import UnknownNameError, UsageError
from camaudit.gates.names import CONTROLS, COSTLY, METHODS, near
from camaudit.spelling import Written, called, is_named, spelled

__all__ = ["Explainer", "explainer", "label_of"]

_FUSE = ("mean", "max")


@dataclass(frozen=True)
class Explainer:
    """An explainer of a run.

    `label` is its name in results.json, `spec` what `camaudit run` takes for it. `own`: no
    registered method, but a function of the user's, a library's class or a folder of maps, which
    is `fixed`: its maps were made before, and nothing can be asked of it.
    """

    label: str
    spec: str
    own: bool = False
    fixed: bool = False

    @property
    def control(self) -> bool:
        """Whether it is one of the controls, which no condition binds unless it names them."""
        return self._is_among(CONTROLS)

    @property
    def costly(self) -> bool:
        """Whether it runs the model many times an image."""
        return self._is_among(COSTLY)

    @property
    def spellings(self) -> tuple[str, ...]:
        """How a condition may name it: its label; for a function of the user's also where it is."""
        return (self.label, self.spec, spelled(self.spec).spec) if self.own else (self.label,)

    def _is_among(self, names: tuple[str, ...]) -> bool:
        return not self.own and self.label.partition("(")[0] in names


def explainer(text: str) -> Explainer:
    """The explainer that `text` names; nothing is imported.

    `gradcam`, `scorecam(score=probability)`, or a spec that :func:`camaudit.spelling.spelled`
    reads: `package.module:function`, `file.py:function`, `captum:Saliency`, `maps:FOLDER`. Raises
    :class:`UsageError`.
    """
    if is_named(text):
        label = label_of(text)
        return Explainer(label, label)
    found = spelled(text)
    if found.claim is not None:
        label_of(found.claim)
    return Explainer(found.label, text.strip(), own=True, fixed=found.kind == "maps")


def label_of(text: str) -> str:
    """A registered method and its options in the canonical spelling of results.json.

    Raises :class:`UnknownNameError` for the method and :class:`UsageError` for its options.

    >>> label_of("scorecam(score = probability,align_corners=TRUE)")
    'scorecam(score=probability)'
    """
    name, written = called(text)
    if name not in METHODS:
        raise UnknownNameError(f"unknown explainer {name!r}: {near(name, METHODS)}")
    options, layers, fuse = _options(name, written)
    shown = [f"{key}={value}" for key, value in sorted(options.items())]
    if layers:
        shown = [f"at={layers}", f"fuse={fuse}", *shown]
    return f"{name}({', '.join(shown)})" if shown else name


def _options(name: str, written: list[Written]) -> tuple[dict[str, str], str, str]:
    """Options that are no defaults, the layers that maps are taken at, and how they are joined."""
    options: dict[str, str] = {}
    layers, fuse = "", "mean"
    for part, key, given in written:
        value = given or ""
        if key == "at" and value:
            layers = "+".join(layer.strip() for layer in value.split("+"))
        elif key == "fuse":
            if value not in _FUSE:
                raise UsageError(f"fuse must be one of {', '.join(_FUSE)}; got {value!r}")
            fuse = value
        elif given is None or key not in METHODS[name]:
            known = ", ".join(METHODS[name]) or "none"
            raise UsageError(f"{name} has no option {part!r}; it has {known}, besides at and fuse")
        else:
            options[key] = _spelled(name, key, value)
    changed = {key: value for key, value in options.items() if value != _plain(METHODS[name][key])}
    return changed, layers, fuse


def _spelled(name: str, key: str, text: str) -> str:
    """A value as results.json spells it."""
    default = METHODS[name][key]
    try:
        if isinstance(default, bool):
            return _plain({"true": True, "false": False}[text.lower()])
        if isinstance(default, int):
            return _plain(int(text))
        if default is None or isinstance(default, float):
            return _plain(float(text))
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a number")
        raise UsageError(f"{name}: {key} must be {kind}; got {text!r}") from None
    return text


def _plain(value: bool | int | float | str | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
