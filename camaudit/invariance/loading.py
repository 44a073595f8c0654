"""Explainers by spec: a function, a library's class or a folder of maps, with what they claim."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from camaudit.adapters import Adapter, Precomputed, load_adapter
from camaudit.errors import UsageError
from camaudit.importing import folder_of, importable, named
from camaudit.invariance.explainer import Explain
from camaudit.methods import method_call
from camaudit.spelling import Spelled, spelled

__all__ = ["ExplainerSpec", "Loaded", "load_explainer"]

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
        """The explainer of `package.module:function`, `file.py:function=gradcam`,
        `captum:LayerGradCam(relu_attributions=true)=gradcam` or `maps:FOLDER`.

        A library's class claims nothing unless it is said. Raises :class:`UsageError` where the
        explainer cannot be loaded or the claim is no method.
        """
        found = spelled(text)
        claims = None if found.claim is None else method_call(found.claim).label
        return ExplainerSpec(found.label, _explainer(found), claims, found.spec)

    @property
    def adapter(self) -> Adapter | Precomputed | None:
        """The explainer, where it is a library's or a folder of maps."""
        return self.explain if isinstance(self.explain, Adapter | Precomputed) else None

    @property
    def maps(self) -> Precomputed | None:
        """The explainer, where it is a folder of maps: it cannot be asked anything else."""
        return self.explain if isinstance(self.explain, Precomputed) else None


def load_explainer(spec: str) -> Explain:
    """The explainer that `spec` names, as :meth:`ExplainerSpec.parse` reads it but for a claim.

    A function, or any object that can be called with (model, layer, images N×C×H×W, targets N).
    Raises :class:`UsageError` where it cannot be imported, does not exist or takes other arguments.
    """
    found = spelled(spec)
    if found.claim is not None:
        raise UsageError(
            f"the explainer {spec!r} comes with a claim, ={found.claim}; expected no more than "
            f"{found.spec}"
        )
    return _explainer(found)


def _explainer(found: Spelled) -> Explain:
    return _load(found.source, found.name) if found.kind == "function" else load_adapter(found)


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
