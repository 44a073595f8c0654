"""Explainers of the user's own among the methods of an audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.capture import Capture
from camaudit.errors import AuditError, MethodError, UsageError
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import FaultError, Guarded
from camaudit.invariance.loading import ExplainerSpec
from camaudit.invariance.process import restored, seeded
from camaudit.methods import METHODS, MethodInfo
from camaudit.sanity.originals import Originals
from camaudit.walls import WalledModel

__all__ = ["FOREIGN", "foreign_methods"]

FOREIGN = MethodInfo(
    paper="-",
    equation="-",
    formula="an explainer of the user's own",
    family="foreign",
    cost="unknown",
    seeded=True,
)
_WALLED_LAYER = "trunk"  # of a WalledModel: what its target layer gives, before the wall


@contextmanager
def foreign_methods(found: Sequence[ExplainerSpec]) -> Iterator[None]:
    """Within the context `method_call(name)` finds these explainers, by their names.

    Each is called with the model (with its wall, where there is one), the name of the target
    layer, images and targets; afterwards the model is what it was. Raises :class:`UsageError` for a
    name that a registered method, or another explainer, has.
    """
    with ExitStack() as stack:
        for spec in found:
            if spec.name in METHODS:
                raise UsageError(
                    f"the explainer {spec.source or spec.name!r} has the name of "
                    f"{'a method' if METHODS[spec.name].info is not FOREIGN else 'another one'}: "
                    f"expected a name of its own; got {spec.name!r}"
                )
            function = _as_method(spec.explain)
            stack.enter_context(METHODS.including(spec.name, FOREIGN, function))
        yield


def _as_method(explain: Explain) -> Any:
    guarded = Guarded(explain)

    def maps(seen: Capture, *, seed: int = 0) -> Tensor:
        model, layer = _model_of(seen.divided)
        before = [tensor._version for tensor in _tensors(model)]
        with Originals(model.modules()), restored(), torch.enable_grad():
            seeded(seed % 2**32)
            try:
                found = guarded(model, layer, seen.images.detach().clone(), seen.targets.clone())
            except FaultError as error:
                raise MethodError(error.trace or str(error)) from error
            changed = [tensor._version for tensor in _tensors(model)] != before
        if changed:
            raise MethodError(
                "the explainer wrote into the model's weights or buffers, which were put back: "
                "expected it to leave the model as it is"
            )
        return found

    return maps


def _model_of(divided: Any) -> tuple[nn.Module, str]:
    """What an explainer is given for a divided model: a module, and its target layer's name."""
    if isinstance(divided, WalledModel):
        return divided, _WALLED_LAYER
    try:
        return divided.trunk.model, divided.layer
    except AttributeError:
        raise AuditError(f"{type(divided).__name__} has no model to give to an explainer") from None


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
