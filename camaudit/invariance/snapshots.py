"""What an explainer must leave as it was, as values that are taken before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from camaudit.invariance.process import random_states, settings
from camaudit.invariance.situation import Situation

__all__ = ["ASPECTS", "Snapshot", "changed_between", "taken"]

Snapshot = dict[str, Any]


def taken(given: Situation, aspects: tuple[str, ...]) -> Snapshot:
    """Every value of the `aspects` (of :data:`ASPECTS`), under a name that can be read."""
    return {name: value for aspect in aspects for name, value in ASPECTS[aspect](given).items()}


def changed_between(before: Snapshot, after: Snapshot) -> list[str]:
    """Names of what is not the same in both, in order."""
    names = dict.fromkeys([*before, *after])
    absent = object()
    return [name for name in names if not _same(before.get(name, absent), after.get(name, absent))]


def _same(one: Any, other: Any) -> bool:
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return type(one) is type(other) and bool(one == other)
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())  # NaN equals NaN


def _state(given: Situation) -> Snapshot:
    """Parameters and buffers with their flags, and the modes of all modules."""
    found: Snapshot = {}
    for name, value in _tensors(given.model):
        found[f"the values of {name}"] = value.detach().clone()
        found[f"requires_grad of {name}"] = value.requires_grad
        found[f"the tensor that is {name}"] = id(value)
    for name, module in given.model.named_modules():
        found[f"the mode of {name or 'the model'}"] = "train" if module.training else "eval"
    return found


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _gradients(given: Situation) -> Snapshot:
    """What the parameters hold in `.grad`."""
    return {
        f".grad of {name}": None if value.grad is None else value.grad.detach().clone()
        for name, value in given.model.named_parameters()
    }


def _hooks(given: Situation) -> Snapshot:
    """Hooks, attributes (a wrapped `forward` is one), class and children of all modules."""
    found: Snapshot = {"global hooks": _registered(vars(nn.modules.module))}
    for name, module in given.model.named_modules():
        label = name or "the model"
        found[f"the hooks of {label}"] = _registered(vars(module))
        found[f"the attributes of {label}"] = sorted(vars(module))
        found[f"the forward of {label}"] = id(vars(module).get("forward"))
        found[f"the class of {label}"] = type(module)
        found[f"the children of {label}"] = [(key, id(one)) for key, one in module.named_children()]
    for name, value in given.model.named_parameters():
        kinds = ("_backward_hooks", "_post_accumulate_grad_hooks")
        found[f"the hooks of {name}"] = _registered({k: getattr(value, k, None) for k in kinds})
    return found


def _registered(attributes: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Who is in the tables of hooks among `attributes`."""
    tables = ((key, value) for key, value in attributes.items() if key.endswith("hooks"))
    return [(key, [id(hook) for hook in table.values()]) for key, table in tables if table]


def _input(given: Situation) -> Snapshot:
    """Images and targets, and what autograd knows of the images."""
    images = given.images
    return {
        "the images": images.detach().clone(),
        "the targets": given.targets.clone(),
        "requires_grad of the images": images.requires_grad,
        ".grad of the images": None if images.grad is None else images.grad.clone(),
        "the history of the images": images.grad_fn,
    }


#: What is looked at, by name.
ASPECTS: dict[str, Callable[[Situation], Snapshot]] = {
    "state": _state,
    "grad": _gradients,
    "hooks": _hooks,
    "input": _input,
    "random": lambda _given: random_states(),
    "settings": lambda _given: settings(),
}
