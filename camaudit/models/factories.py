"""Models from the user's own code, taken out of what wraps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from camaudit.errors import ModelError
from camaudit.importing import described, folder_of, importable, named
from camaudit.models.built import Built
from camaudit.models.exported import from_exported
from camaudit.sites import require_eval

__all__ = ["from_factory", "taken"]

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def from_factory(source: str, name: str) -> Built:
    """What `name` of `source` (package.module or file.py) returns; it must be in eval mode."""
    spec = f"{source}:{name}"
    with importable(folder_of(source)):
        found = _called(_factory(source, name), spec)
    model, notes = taken(found, what=f"the factory {spec!r} returned")
    require_eval(model)
    return Built(model, notes=notes)


def taken(found: Any, *, what: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The network in `found`, and a sentence for each wrapper that it was taken out of.

    DataParallel and its kin, and what torch.compile returned, are unwrapped; an
    `ExportedProgram` becomes modules again. `what` begins the messages of :class:`ModelError`,
    for TorchScript, for a model that was compiled in place and for what is no model.
    """
    notes: list[str] = []
    while True:
        if isinstance(found, _PARALLEL):
            notes.append(f"taken out of {type(found).__name__}")
            found = found.module
        elif _is_compiled(found):
            notes.append("taken out of torch.compile")
            found = found._orig_mod
        elif isinstance(found, torch.export.ExportedProgram):
            notes.append("a torch.export program as modules again")
            found = from_exported(found)
        else:
            break
    if isinstance(found, torch.jit.ScriptModule):
        raise ModelError(
            f"{what} a TorchScript module, which allows no hooks: return the network as ordinary "
            "Python modules, or as a torch.export program"
        )
    if not isinstance(found, nn.Module):
        raise ModelError(f"{what} a {type(found).__name__}; expected a torch.nn.Module")
    if found._compiled_call_impl is not None:
        raise ModelError(
            f"{what} a model that was compiled in place (model.compile()), whose layers cannot be "
            "looked at: leave that out here, or use torch.compile(model), which is taken apart"
        )
    return found, tuple(notes)


def _is_compiled(found: Any) -> bool:
    """Whether torch.compile returned it; told by name, for its module is slow to import."""
    kind = type(found)
    return kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch._dynamo")


def _factory(source: str, name: str) -> Callable[[], Any]:
    factory = named(source, name, what="the model factory", error=ModelError)
    if isinstance(factory, nn.Module):
        raise ModelError(
            f"{name!r} in {source!r} is a model, not a factory: write a function without arguments "
            "that returns it"
        )
    if not callable(factory):
        raise ModelError(f"{name!r} in {source!r} is no function that returns a model")
    typed: Callable[[], Any] = factory
    return typed


def _called(factory: Callable[[], Any], spec: str) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise ModelError(f"the factory {spec!r} failed: {described(error)}") from error
