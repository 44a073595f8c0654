"""torch.export programs as modules again, whose layers can be looked at by their own names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from camaudit.errors import ModelError

__all__ = ["from_exported"]

#: Operations that behave otherwise in training, and where the argument stands that says so.
_TRAINING = {"aten.dropout.default": 2, "aten.batch_norm.default": 5}


def from_exported(program: torch.export.ExportedProgram) -> nn.Module:
    """The program's modules, by the names that they had when it was exported, in eval mode.

    Layers that exist only as operations of the graph have no module and cannot be named. Raises
    :class:`ModelError` for a program that was exported in training mode and for one that has no
    module hierarchy.
    """
    for node in program.graph.nodes:
        place = _TRAINING.get(str(node.target))
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise ModelError(
                f"the torch.export program was exported in training mode ({node.target} drops or "
                "uses batch statistics): call model.eval() before torch.export.export"
            )
    try:
        model: Any = torch.export.unflatten(program)
    except (RuntimeError, ValueError, AssertionError, KeyError) as error:
        raise ModelError(
            "the torch.export program cannot be turned into modules again, so that no layer of it "
            f"can be looked at ({error}): return the network as ordinary Python modules"
        ) from error
    if not any(True for _ in model.children()):
        raise ModelError(
            "the torch.export program has no modules left (its layers were flattened into one "
            "graph), so that none can be looked at: export the original model, or return it as "
            "ordinary Python modules"
        )
    for module in model.modules():
        module.training = False  # its own eval() is refused by some versions of torch
    found: nn.Module = model
    return found
