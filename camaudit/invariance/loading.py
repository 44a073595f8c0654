"""Explainers by spec: `package.module:function` or `file.py:function`, with what they claim."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from camaudit.errors import UsageError
from camaudit.importing import folder_of, importable, named
from camaudit.invariance.explainer import Explain
from camaudit.methods import method_call

__all__ = ["ExplainerSpec", "Loaded", "load_explainer"]

_SPEC = re.compile(r"(?P<source>.+):(?P<name>[^\W\d]\w*)(?:=(?P<claim>.*))?", re.DOTALL)
_WHAT = "the explainer"
_FORM = "(model, layer, images, targets)"


@dataclass(frozen=True, eq=False)
class Loaded:
    """An explainer from a module; while it runs, modules beside that module can be imported."""

    explain: Explain
    name: str
    folder: Path

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """What the explainer returns; raises what it raises."""
        with importable(self.folder):
            return self.explain(model, layer, images, targets)


@dataclass(frozen=True, eq=False)
class ExplainerSpec:
    """An explainer with its name and source, and the registered method it claims to be, or None.

    `claims` is the canonical spelling of a method with its options, as in
    `scorecam(score=probability)`.
    """

    name: str
    explain: Explain
    claims: str | None = None
    source: str = ""

    @staticmethod
    def parse(text: str) -> ExplainerSpec:
        """The explainer of `package.module:function` or `file.py:function=gradcam`.

        Raises :class:`UsageError` where the explainer cannot be loaded or the claim is no method.
        """
        source, name, claim = _parts(text)
        claims = None if claim is None else method_call(claim).label
        return ExplainerSpec(name, _load(source, name), claims, f"{source}:{name}")


def load_explainer(spec: str) -> Explain:
    """The explainer that `spec` names: `package.module:function` or `file.py:function`.

    A function, or any object that can be called with (model, layer, images N×C×H×W, targets N).
    Raises :class:`UsageError` where it cannot be imported, does not exist or takes other arguments.
    """
    source, name, claim = _parts(spec)
    if claim is not None:
        raise UsageError(
            f"the explainer {spec!r} comes with a claim, ={claim}; expected no more than "
            "package.module:function or file.py:function"
        )
    return _load(source, name)


def _parts(text: str) -> tuple[str, str, str | None]:
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"cannot read the explainer {text!r}: expected package.module:function or "
            "file.py:function, and =METHOD after it where it claims to be one of camaudit methods"
        )
    claim = found["claim"]
    if claim is not None and not claim.strip():
        raise UsageError(f"{text!r} names no method after the =; see camaudit methods")
    return found["source"], found["name"], claim


def _load(source: str, name: str) -> Explain:
    folder = folder_of(source)
    with importable(folder):
        found = named(source, name, what=_WHAT)
    return Loaded(_checked(found, source, name), name, folder)


def _checked(found: Any, source: str, name: str) -> Explain:
    """`found`, if it can be called as an explainer is."""
    where = f"{name!r} in {source!r}"
    if isinstance(found, type):
        raise UsageError(
            f"{where} is a class, not an explainer: write a function of {_FORM} that makes one and "
            "returns its maps, or name an instance"
        )
    if not callable(found):
        raise UsageError(f"{where} is a {type(found).__name__}; expected a function of {_FORM}")
    try:
        inspect.signature(found).bind(None, "", None, None)
    except TypeError as error:
        raise UsageError(f"{where} cannot be called with {_FORM}: {error}") from None
    except ValueError:
        pass  # a builtin that does not say what it takes
    explain: Explain = found
    return explain
