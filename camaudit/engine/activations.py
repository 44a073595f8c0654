"""Elementwise functions that a convolution can take over: in oneDNN's own call, or in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

__all__ = ["Activation", "activation_of"]


@dataclass(frozen=True)
class Activation:
    """A function under oneDNN's name for it, with its numbers; and as one that works in place.

    Only names under which oneDNN keeps a NaN, as the function itself does: its `relu`, `hardtanh`
    and `hardsigmoid` make a number of it.
    """

    name: str | None = None
    scalars: tuple[float, ...] = ()
    algorithm: str = ""
    in_place: Callable[[Tensor], Tensor] | None = None


#: 1e-30 · x for x < 0 is far below the rounding of anything that it is added to.
_RELU = Activation("leaky_relu", (1e-30,), in_place=torch.relu_)
_SIGMOID, _TANH = Activation("sigmoid"), Activation("tanh")
_SILU, _HARDSWISH = Activation("swish"), Activation("hardswish")
_PLAIN: dict[object, Activation] = {
    nn.ReLU: _RELU, F.relu: _RELU, torch.relu: _RELU, torch.relu_: _RELU, "relu": _RELU,
    "relu_": _RELU,
    nn.Sigmoid: _SIGMOID, torch.sigmoid: _SIGMOID, F.sigmoid: _SIGMOID, "sigmoid": _SIGMOID,
    nn.Tanh: _TANH, torch.tanh: _TANH, F.tanh: _TANH, "tanh": _TANH,
    nn.SiLU: _SILU, F.silu: _SILU, nn.Hardswish: _HARDSWISH, F.hardswish: _HARDSWISH,
}  # fmt: skip


def _clipped(low: float = -1.0, high: float = 1.0) -> Activation:
    def clamp(x: Tensor) -> Tensor:
        return x.clamp_(low, high)

    return Activation(in_place=clamp)


def _leaky(slope: float = 0.01) -> Activation:
    return Activation("leaky_relu", (slope,)) if slope else _RELU


def _gelu(approximate: str = "none") -> Activation:
    return Activation("gelu", algorithm=approximate)


_OF_LAYER: dict[object, Callable[[Any], Activation]] = {
    nn.ReLU6: lambda layer: _clipped(layer.min_val, layer.max_val),
    nn.Hardtanh: lambda layer: _clipped(layer.min_val, layer.max_val),
    nn.LeakyReLU: lambda layer: _leaky(layer.negative_slope),
    nn.GELU: lambda layer: _gelu(layer.approximate),
}
_OF_SETTINGS: dict[object, Callable[..., Activation]] = {
    F.relu6: lambda: _clipped(0.0, 6.0),
    F.hardtanh: lambda min_val=-1.0, max_val=1.0: _clipped(min_val, max_val),
    F.leaky_relu: lambda negative_slope=0.01: _leaky(negative_slope),
    F.gelu: lambda approximate="none": _gelu(approximate),
}


def activation_of(call: fx.Node, layer: nn.Module | None) -> Activation | None:
    """The activation that a call computes of its only argument; `layer` is the module called."""
    if len(call.args) != 1 or call.all_input_nodes != [call.args[0]]:
        return None
    if layer is not None:
        of_layer = _OF_LAYER.get(type(layer))
        return of_layer(layer) if of_layer else _PLAIN.get(type(layer))
    of_settings = _OF_SETTINGS.get(call.target)
    if of_settings is None:
        return _PLAIN.get(call.target)
    return of_settings(**{key: given for key, given in call.kwargs.items() if key != "inplace"})
