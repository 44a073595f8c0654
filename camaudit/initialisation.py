"""Random weights: the usual initialisations as laws, and a network given new weights in place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from camaudit.errors import UsageError

__all__ = ["LAWS", "SCHEMES", "Law", "LawName", "Scheme", "draw_weights_", "initialise_", "law"]

LawName = Literal["gaussian", "he", "glorot", "default"]
Scheme = Literal["gaussian", "he", "glorot", "default", "permute"]
LAWS: tuple[LawName, ...] = get_args(LawName)
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)


@dataclass(frozen=True)
class Law:
    """The law of one weight: N(0, `scale`²) where `normal`, else uniform on (−`scale`, `scale`)."""

    normal: bool
    scale: float

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Independent weights of this law, of torch's default dtype."""
        if self.normal:
            return torch.randn(shape, generator=generator) * self.scale
        return (2 * torch.rand(shape, generator=generator) - 1) * self.scale


def law(scheme: LawName, fan_in: int, fan_out: int, *, std: float = 1.0) -> Law:
    """The law of a layer's weights, each of whose outputs reads `fan_in` values.

    "gaussian": N(0, std²), the paper's τ = `std`. "he": N(0, 2/fan_in) (He 2015, eq. 10).
    "glorot": N(0, 2/(fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12, as a normal law).
    "default": PyTorch's for Linear and Conv2d, uniform on ±1/√fan_in. Raises
    :class:`UsageError` for another scheme, or a `std` that is not positive.
    """
    if not (std > 0 and math.isfinite(std)):
        raise UsageError(f"std must be positive and finite; got {std}")
    laws = {
        "gaussian": Law(True, std),
        "he": Law(True, math.sqrt(2 / fan_in)),
        "glorot": Law(True, math.sqrt(2 / (fan_in + fan_out))),
        "default": Law(False, 1 / math.sqrt(fan_in)),
    }
    if scheme not in laws:
        raise UsageError(f"expected an initialisation among {', '.join(laws)}; got {scheme!r}")
    return laws[scheme]


def initialise_(model: nn.Module, scheme: Scheme, *, seed: int, std: float = 1.0) -> None:
    """Give `model` new weights in place; the global random state is left as it is.

    Laws as for :func:`law`, drawn for every convolution and Linear layer; their biases become 0.
    "default" lets every module initialise itself (`reset_parameters`), normalisation layers too.
    "permute" shuffles the entries of each weight and bias among themselves, which keeps their
    distribution and is meant for trained networks. Raises :class:`UsageError` for another scheme.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"expected an initialisation among {', '.join(SCHEMES)}; got {scheme!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw_weights_(model, scheme, std=std)


def draw_weights_(model: nn.Module, scheme: Scheme, *, std: float = 1.0) -> None:
    """:func:`initialise_` from the global random state."""
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if scheme == "default" and callable(reset):
            reset()
        elif scheme != "default" and isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            _draw_layer_(module, scheme, std)


def _draw_layer_(module: nn.modules.conv._ConvNd | nn.Linear, scheme: Scheme, std: float) -> None:
    with torch.no_grad():
        if scheme == "permute":
            for tensor in (module.weight, module.bias):
                if tensor is not None:
                    _shuffle_(tensor)
            return
        if scheme == "he":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif scheme == "glorot":
            nn.init.xavier_normal_(module.weight)
        else:
            nn.init.normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _shuffle_(tensor: Tensor) -> None:
    order = torch.randperm(tensor.numel()).to(tensor.device)
    tensor.copy_(tensor.flatten()[order].view_as(tensor))
