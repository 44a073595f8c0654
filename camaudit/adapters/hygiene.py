"""What an explainer may leave on a model, by name, and how it is put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Traces", "differences", "drawing", "traces", "untouched"]

#: What is looked at ("hooks", "mode", …) → module or parameter → its state.
Traces = dict[str, dict[str, Any]]

_ON_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def traces(model: nn.Module) -> Traces:
    """Attributes, hooks, children and modes of modules; flags, `.grad` and hooks of parameters.

    Values are not looked at: this costs no pass over the weights.
    """
    found: Traces = {"attributes": {}}
    found |= {"hooks": {"all modules": _registered(vars(nn.modules.module))}}
    found |= {"children": {}, "mode": {}, "requires_grad": {}, ".grad": {}}
    for name, module in model.named_modules():
        label = name or "the model"
        found["attributes"][label] = sorted(vars(module))
        found["hooks"][label] = _registered(vars(module))
        found["children"][label] = [(key, id(one)) for key, one in module.named_children()]
        found["mode"][label] = module.training
    for name, value in model.named_parameters():
        found["hooks"][name] = [list(getattr(value, kind, None) or ()) for kind in _ON_TENSORS]
        found["requires_grad"][name] = value.requires_grad
        found[".grad"][name] = None if value.grad is None else (id(value.grad), value.grad._version)
    return found


def differences(before: Traces, after: Traces) -> list[str]:
    """What is not the same in both: one clause a kind, the first name and how many more."""
    clauses = []
    for kind, states in after.items():
        known = before.get(kind, {})
        changed = [name for name in {**known, **states} if known.get(name) != states.get(name)]
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            clauses.append(f"{kind} of {changed[0]}{more}")
    return clauses


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Afterwards everything that :func:`traces` looks at is as before; within, `.grad` is empty.

    Attributes that modules have got are taken off. Values of tensors are not kept.
    """
    modules = [one for one in model.modules() if not isinstance(one, torch.jit.ScriptModule)]
    spaces = [vars(nn.modules.module), *map(vars, modules)]
    tables = [
        (table, dict(table))
        for space in spaces
        for key, table in space.items()
        if isinstance(table, dict) and (key.endswith("hooks") or key == "_modules")
    ]
    modes = [(one, one.training) for one in modules]
    attributes = [(vars(one), dict(vars(one))) for one in modules]
    kept = [(value, value.requires_grad, value.grad) for value in model.parameters()]
    hooks = [
        (value, kind, table, dict(table or {}))
        for value, _, _ in kept
        for kind in _ON_TENSORS
        for table in [getattr(value, kind, None)]
    ]
    for value, _, _ in kept:
        value.grad = None
    try:
        yield
    finally:
        for table, entries in tables:
            if list(table.items()) != list(entries.items()):
                table.clear()
                table.update(entries)
        for space, known in attributes:
            for key in [*space.keys() - known.keys()]:
                del space[key]
            space.update({key: known[key] for key in known.keys() - space.keys()})
        for module, mode in modes:
            module.training = mode
        for value, required, grad in kept:
            value.requires_grad_(required)
            value.grad = grad
        for value, kind, held, entries in hooks:
            if held is None:
                if getattr(value, kind, None):
                    getattr(value, kind).clear()
            elif dict(held) != entries:
                held.clear()
                held.update(entries)


@contextmanager
def drawing() -> Iterator[None]:
    """Afterwards the global random states of torch, NumPy and Python are as before.

    What draws within it draws the same again if it is called again.
    """
    numbers, others = np.random.get_state(), random.getstate()
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if started else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        np.random.set_state(numbers)
        random.setstate(others)


def _registered(attributes: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Who is in the tables of hooks among `attributes`."""
    tables = ((key, value) for key, value in attributes.items() if key.endswith("hooks"))
    return [(key, [id(hook) for hook in table.values()]) for key, table in tables if table]
