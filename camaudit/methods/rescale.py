"""DeepLIFT's rescale rule: secants in place of derivatives, on elementwise nonlinearities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ELEMENTWISE", "rescaled"]

#: Modules that apply one function to every element (PReLU: one a channel).
ELEMENTWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU,
    nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink,
    nn.Threshold,
)  # fmt: skip


@contextmanager
def rescaled(modules: Iterable[nn.Module], batch: int) -> Iterator[None]:
    """Within the context the elementwise `modules` pass multipliers in place of derivatives.

    The inputs come in a `batch` of two halves, images and their references in the same order
    along the first dimension. Values stay as they are; the gradient of the images' half is
    `(f(z) − f(z₀))/(z − z₀)`, that of the references' half 0 (Shrikumar et al. 2017, DeepLIFT,
    the rescale rule). The hooks are removed on exit, also after an exception.
    """
    handles = []
    try:
        for module in {id(m): m for m in modules if isinstance(m, ELEMENTWISE)}.values():
            call = _Call(batch)
            handles.append(module.register_forward_pre_hook(call.enter))
            handles.append(module.register_forward_hook(call.leave))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Call:
    """The hooks of one module: its input, kept from the call's begin to its end."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.kept: tuple[Tensor, Tensor] | None = None

    def enter(self, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Run the module on a copy of its input that has a gradient of its own.

        A copy, because the module may write into its input, and the pre-activation is needed.
        """
        self.kept = None
        z = args[0] if args else None
        # What needs no gradient has no part in it. (Replayed calls of the trunk are such.)
        if not isinstance(z, Tensor) or not z.requires_grad or not z.ndim or len(z) % self.batch:
            return None
        own = z.detach().requires_grad_(True)
        self.kept = z, own
        return (own.clone(), *args[1:])

    def leave(self, module: nn.Module, _args: Any, output: Any) -> Tensor | None:
        """The module's output with the multiplier as its derivative."""
        kept, self.kept = self.kept, None
        if kept is None or not isinstance(output, Tensor) or output.shape != kept[0].shape:
            return None
        z, own = kept
        if not output.requires_grad:
            return None
        (slope,) = torch.autograd.grad(output.sum(), own, materialize_grads=True)
        value = output.detach()
        m = _multipliers(own.detach(), value, slope)
        passed = value + m * (z - z.detach())
        if getattr(module, "inplace", False):
            z.copy_(passed)  # whoever holds the input sees the output in it, as without the hook
            return z
        return passed


def _multipliers(z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """`(f(z) − f(z₀))/(z − z₀)` on the first half, 0 on the second; `f'(z)` where z ≈ z₀.

    Rounding spoils the quotient of small differences, so "≈" goes by the precision: 1e-7 of the
    figures in float64, its square root in lower ones.
    """
    half = len(z) // 2
    step, rise = z[:half] - z[half:], value[:half] - value[half:]
    size = torch.stack([t.abs() for t in (z[:half], z[half:], value[:half], value[half:])]).amax(0)
    near = step.abs() <= size * max(1e-7, torch.finfo(z.dtype).eps ** 0.5)
    secant = rise / torch.where(near, 1, step)
    return torch.cat([torch.where(near, slope[:half], secant), torch.zeros_like(z[half:])])
