"""The registry of saliency methods and what every entry says of itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from torch import Tensor

from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.registry import Registry

__all__ = [
    "FAMILIES",
    "METHODS",
    "Family",
    "MethodInfo",
    "defined",
    "method",
    "method_names",
    "weighted_sum",
]

Family = Literal[
    "activation",
    "gradient",
    "augmentation",
    "decomposition",
    "attention",
    "perturbation",
    "multi-layer",
    "foreign",
    "control",
]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True)
class MethodInfo:
    """Where a method comes from and what it costs.

    `cost` counts passes an image beyond the shared capture: K channels of the target layer,
    `model` passes start at the image, `head` passes at the target layer. `many_passes` marks a
    method whose model passes grow with the channels or with a number of samples: an audit limits
    the images that it takes. `fixed` marks maps that were made before: they are taken image by
    image, and there are none of another model or of a changed image. `tokens` marks a method of
    transformers, which is not applicable to a layer of maps.
    """

    paper: str
    equation: str
    formula: str
    family: Family
    cost: str
    needs_gradients: bool = False
    seeded: bool = False
    many_passes: bool = False
    fixed: bool = False
    tokens: bool = False


Function = TypeVar("Function", bound=Callable[..., Tensor])

METHODS: Registry[Callable[..., Tensor], MethodInfo] = Registry(
    "method", duplicate=DuplicateNameError, unknown=UnknownNameError
)


def method(name: str, info: MethodInfo) -> Callable[[Function], Function]:
    """Register a saliency method under `name`; it always runs without autograd.

    A method that needs a derivative of its own turns autograd on where it takes it.
    """

    def register(function: Function) -> Function:
        @functools.wraps(function)
        def quiet(*args: Any, **kwargs: Any) -> Tensor:
            with torch.inference_mode(False), torch.no_grad():
                return function(*args, **kwargs)

        METHODS.register(name, info)(quiet)
        return cast(Function, quiet)

    return register


def method_names(*, tokens: bool = True) -> list[str]:
    """Every registered name, family by family, controls last; without `tokens` those for maps."""
    names = [name for name in METHODS if tokens or not METHODS[name].info.tokens]
    return sorted(names, key=lambda name: FAMILIES.index(METHODS[name].info.family))


def weighted_sum(weights: Tensor, A: Tensor) -> Tensor:
    """`L = ReLU(Σ_k w_k A_k)`: weights (N×K) and maps (N×K×h×w) to N×h×w."""
    return torch.einsum("nk,nkij->nij", weights, A).relu()


def defined(maps: Tensor, activations: Tensor) -> Tensor:
    """`maps` (N×…), all NaN for an image whose activations (N×K×h×w) are not finite."""
    finite = torch.isfinite(activations).flatten(1).all(dim=1)
    return torch.where(finite.view(-1, *[1] * (maps.ndim - 1)), maps, torch.nan)
