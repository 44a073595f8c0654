"""Which image rows and columns each cell of a layer can read, by arithmetic on a layer chain.

Only a plain chain is accepted: every leaf module's input is, untouched, the output of the leaf
before it, and every leaf is a convolution, a pooling or an elementwise layer. Anything else (a
skip connection, a functional call, squeeze-and-excitation) yields None and a reason: no claim is
better than a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Chain", "along", "chain_of", "reach", "reads"]

_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.BatchNorm2d,
)  # fmt: skip
_WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_PADS = (nn.ZeroPad2d, nn.ConstantPad2d)


@dataclass(frozen=True)
class Chain:
    """Leaf modules in execution order with the spatial sizes (H, W) after each."""

    layers: tuple[tuple[nn.Module, tuple[int, int]], ...]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class _Call:
    """One run of a leaf module: values with their versions, before and after its hooks."""

    module: nn.Module
    given: tuple[Any, int]
    computed: tuple[Any, int]
    output: tuple[Any, int]


def chain_of(trunk: nn.Module, image: Tensor) -> Chain | str:
    """The chain that `trunk` runs on `image` (1×C×H×W), or the reason why it is none."""
    calls: list[_Call] = []
    given: list[tuple[Any, int]] = []
    computed: list[tuple[Any, int]] = []

    def before(_module: nn.Module, args: tuple[Any, ...]) -> None:
        given.append(_versioned(args[0] if args else None))

    def first(_module: nn.Module, _args: Any, output: Any) -> None:
        computed.append(_versioned(output))

    def last(module: nn.Module, _args: Any, output: Any) -> None:
        calls.append(_Call(module, given.pop(), computed.pop(), _versioned(output)))

    leaves = [module for module in trunk.modules() if not list(module.children())]
    handles = [leaf.register_forward_pre_hook(before) for leaf in leaves]
    handles += [leaf.register_forward_hook(first, prepend=True) for leaf in leaves]
    handles += [leaf.register_forward_hook(last) for leaf in leaves]
    start = _versioned(image)
    try:
        with torch.no_grad():
            final = trunk(image)
    finally:
        for handle in handles:
            handle.remove()
    return _validate(calls, start, final)


def _versioned(value: Any) -> tuple[Any, int]:
    return value, value._version if isinstance(value, Tensor) else -1


def _same(one: tuple[Any, int], other: tuple[Any, int]) -> bool:
    """The same tensor object, not written to in between."""
    return one[0] is other[0] and one[1] == other[1]


def _validate(calls: Sequence[_Call], image: tuple[Any, int], final: Tensor) -> Chain | str:
    previous = image
    layers = []
    for call in calls:
        module, (output, _) = call.module, call.output
        kind = type(module).__name__
        if not _same(call.given, previous):
            return f"{kind} does not read the layer before it (a branch or a functional call)"
        if not _same(call.computed, call.output) or "forward" in vars(module):
            return f"a hook or another forward function changes what {kind} returns"
        if type(module) not in (*_ELEMENTWISE, *_WINDOWED, *_PADS, nn.AdaptiveAvgPool2d):
            return f"{kind} is not a convolution, pooling or elementwise layer"
        if isinstance(module, nn.BatchNorm2d) and (module.running_mean is None or module.training):
            return f"{kind} without running statistics mixes all positions"
        if isinstance(module, nn.Conv2d) and not isinstance(module.padding, tuple):
            return f"{kind} with padding={module.padding!r}"
        if not isinstance(output, Tensor) or output.ndim != 4:
            return f"{kind} does not return a map"
        layers.append((module, (int(output.shape[2]), int(output.shape[3]))))
        previous = call.output
    if not _same(_versioned(final), previous):
        return "the layer's output is not the output of the chain's last layer"
    return Chain(tuple(layers), (int(image[0].shape[2]), int(image[0].shape[3])))


def reach(chain: Chain) -> tuple[Tensor, Tensor]:
    """Boolean matrices (h×H) and (w×W): which image rows (columns) a cell row (column) reads.

    Cell (i, j) reads pixel (r, c) only if `rows[i, r] and columns[j, c]`, because every layer of
    a chain reads a product of a row range and a column range. Composed by boolean matrix
    products from the last layer to the image; padding reads nothing (zeros) or, for reflect,
    replicate and circular padding, the pixels that it repeats.
    """
    matrices = []
    for axis in (0, 1):
        size = chain.image_size[axis]
        total = torch.eye(size, dtype=torch.bool)
        for module, sizes in chain.layers:
            step = reads(module, axis, size, sizes[axis])
            total = (step.double() @ total.double()) > 0
            size = sizes[axis]
        matrices.append(total)
    return matrices[0], matrices[1]


def reads(module: nn.Module, axis: int, size: int, out: int) -> Tensor:
    """Boolean (out×size): which inputs along `axis` one layer's outputs read."""
    matrix = torch.zeros(out, size, dtype=torch.bool)
    if isinstance(module, _PADS):
        left, _, top, _ = module.padding
        before = top if axis == 0 else left
        for i in range(out):
            if 0 <= i - before < size:
                matrix[i, i - before] = True
        return matrix
    if isinstance(module, nn.AdaptiveAvgPool2d):
        for i in range(out):
            matrix[i, i * size // out : -((-(i + 1) * size) // out)] = True
        return matrix
    if isinstance(module, _WINDOWED):
        return _window(module, axis, size, out)
    return torch.eye(size, dtype=torch.bool)


def _window(module: nn.Module, axis: int, size: int, out: int) -> Tensor:
    kernel, stride, padding, dilation = (
        along(getattr(module, name, 1), axis)
        for name in ("kernel_size", "stride", "padding", "dilation")
    )
    mode = getattr(module, "padding_mode", "zeros")
    matrix = torch.zeros(out, size, dtype=torch.bool)
    for i in range(out):
        for tap in range(kernel):
            source = _padded_index(i * stride - padding + tap * dilation, size, mode)
            if source is not None:
                matrix[i, source] = True
    return matrix


def _padded_index(index: int, size: int, mode: str) -> int | None:
    """The input that padded position `index` repeats; None where padding is a constant."""
    if 0 <= index < size:
        return index
    if mode == "circular":
        return index % size
    if mode == "replicate":
        return min(max(index, 0), size - 1)
    if mode == "reflect":
        return -index if index < 0 else 2 * (size - 1) - index
    return None


def along(value: Any, axis: int) -> int:
    """A layer's setting along `axis` (0 rows, 1 columns): kernel size, stride and their kin."""
    return int(value[axis]) if isinstance(value, (tuple, list)) else int(value)
