"""One convolution with batch norm folded in, and activation and sum in oneDNN's own call.

In evaluation mode `BN(W∗x + b) = (s·W)∗x + s·(b − μ) + β` with `s = γ / √(σ² + ε)` (Jacob et al.
2018, *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference*, section 3.2). It is folded in float64; the result differs by rounding. oneDNN applies
an activation, and adds another map, while it writes the convolution's result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.engine.activations import Activation

__all__ = ["FusedConv", "Source"]

Source = tuple[nn.Module, str]  #: a module and the name of one of its tensors


class FusedConv:
    """`activation(BN(conv(x)) [+ other])` of float32 maps on a CPU.

    settings: stride, padding, dilation and groups. size: of `x` (N×C×H×W), for which the filters
    are laid out. :meth:`fold` reads the weights; call it again when they have changed.
    """

    def __init__(
        self, weight: Source, bias: Source | None, settings: tuple[Any, ...], size: tuple[int, ...]
    ) -> None:
        self.norm: nn.BatchNorm2d | None = None
        self.activation: Activation | None = None
        self.adds = False
        self._weight, self._bias = weight, bias
        self._settings, self._size = settings, size
        self._widened = 0, 0, 0, 0

    def pad(self, margin: tuple[int, ...], size: tuple[int, ...]) -> bool:
        """Take over the zeros around maps of `size`; False where they cost less outside.

        margin: how many left, right, above and below. oneDNN knows as many on one side as on the
        other. One more is a row or column of zeros in the filters: nearly free where every channel
        has its own, as in networks with TensorFlow's "same" padding.
        """
        stride, padding, dilation, groups = self._settings
        left, right, top, bottom = margin
        uneven = max(abs(left - right), abs(top - bottom))
        if uneven > (groups == size[1] and dilation == (1, 1)):
            return False
        self._widened = (
            max(right - left, 0), max(left - right, 0), max(bottom - top, 0), max(top - bottom, 0)
        )  # fmt: skip
        around = padding[0] + max(top, bottom), padding[1] + max(left, right)
        self._settings, self._size = (stride, around, dilation, groups), size
        return True

    def tensors(self) -> Iterator[Tensor]:
        """What the filters are made of, as the model has it now."""
        yield from (getattr(*source) for source in (self._weight, self._bias) if source)
        if self.norm is not None:
            norm = self.norm
            found = norm.weight, norm.bias, norm.running_mean, norm.running_var
            yield from (tensor for tensor in found if tensor is not None)

    def fold(self) -> None:
        """Make the filters anew."""
        weight = getattr(*self._weight).detach().double()
        bias = weight.new_zeros(len(weight))
        if self._bias is not None:
            bias = getattr(*self._bias).detach().double()
        if self.norm is not None:
            scale, shift = _affine(self.norm)
            weight, bias = weight * scale.view(-1, 1, 1, 1), bias * scale + shift
        stride, padding, dilation, groups = self._settings
        wide = F.pad(weight.float(), self._widened)
        self._filters: Tensor = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
            wide.to_mkldnn(), padding, stride, dilation, groups, self._size
        )
        self._offset = bias.float()

    def __call__(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        stride, padding, dilation, groups = self._settings
        conv = self._filters, self._offset, padding, stride, dilation, groups
        made = self.activation or Activation()
        if other is not None:  # oneDNN has no activation after a sum that keeps a NaN
            y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
                x, other, *conv, "add", None, None, (), None
            )
        else:
            how = made.name or "none", made.scalars, made.algorithm
            y = torch.ops.mkldnn._convolution_pointwise.default(x, *conv, *how)
            if made.name is not None:
                return y
        return y if made.in_place is None else made.in_place(y)

    @property
    def joined(self) -> bool:
        """Whether anything has been taken over from the calls after the convolution."""
        return self.adds or self.norm is not None or self.activation is not None


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (K each, float64) of batch norm in evaluation mode."""
    mean: Any = norm.running_mean
    variance: Any = norm.running_var
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()
