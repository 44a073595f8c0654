"""Tensors that are not stored as they are used: parametrised ones, and those with norm hooks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from camaudit.sanity.order import Layer, Slot, norm_hooks

__all__ = ["effective", "is_plain", "modules_of", "parametrisation", "settle"]

_POWER_ITERATIONS = 20


def parametrisation(slot: Slot) -> list[nn.Module]:
    """The modules through which a parametrised tensor is computed."""
    if not parametrize.is_parametrized(slot.owner, slot.local):
        return []
    lists: Any = slot.owner.parametrizations
    return list(lists[slot.local].modules())


def modules_of(layer: Layer) -> list[nn.Module]:
    """The layer's module and those of its parametrisations."""
    return [layer.module, *(found for slot in layer.slots for found in parametrisation(slot))]


def is_plain(slot: Slot) -> bool:
    """Whether a tensor is stored as it is used."""
    hooked = any(hook.name == slot.local for hook in norm_hooks(slot.owner))
    return not hooked and not parametrize.is_parametrized(slot.owner, slot.local)


def effective(slot: Slot) -> Tensor:
    """The tensor as a forward pass sees it."""
    for hook in norm_hooks(slot.owner):
        if hook.name == slot.local:
            if isinstance(hook, WeightNorm):
                value: Tensor = hook.compute_weight(slot.owner)
                return value.detach()
            return slot.stored[0].detach()
    if parametrize.is_parametrized(slot.owner, slot.local):
        value = getattr(slot.owner, slot.local)
        return value.detach()
    return slot.stored[0].detach()


def settle(slot: Slot) -> None:
    """Let a spectral normalisation find the norm of its new weight."""
    for hook in norm_hooks(slot.owner):
        if hook.name == slot.local and not isinstance(hook, WeightNorm):
            for _ in range(_POWER_ITERATIONS):
                hook.compute_weight(slot.owner, do_power_iteration=True)
    if not parametrize.is_parametrized(slot.owner, slot.local):
        return
    lists: Any = slot.owner.parametrizations
    chain = lists[slot.local]
    value = getattr(chain, "original", None)
    for part in chain if value is not None else ():
        if isinstance(part, _SpectralNorm):
            part.train()  # in training mode each call is one power iteration
            try:
                for _ in range(_POWER_ITERATIONS):
                    part(value)
            finally:
                part.eval()
        value = part(value)
