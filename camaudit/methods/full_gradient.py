"""FullGrad: the gradient at the image and at every bias of the network, added up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.capture import Capture
from camaudit.errors import NotApplicableError
from camaudit.maps import minmax, upsample
from camaudit.methods.base import MethodInfo, defined, method

__all__ = ["fullgrad"]


@dataclass(frozen=True, eq=False)
class _Run:
    """One run of a layer with a bias: the bias (K) and what came out (N×K×h×w).

    `framed`: whether the layer ran on the divided model's frame instead of the whole image.
    """

    bias: Tensor
    output: Tensor
    framed: bool


@method(
    "fullgrad",
    MethodInfo(
        paper="Srinivas & Fleuret 2019, Full-Gradient Representation for Neural Networks",
        equation="eqs. 5-6",
        formula="ψ(x ⊙ ∂s/∂x) + Σ_l Σ_k ψ(b_lk ∂s/∂z_lk), ψ(m) = Up(minmax(|m|))",
        family="multi-layer",
        cost="1 model forward and backward",
    ),
)
def fullgrad(capture: Capture) -> Tensor:
    """`Σ_q ψ(x ⊙ ∂s/∂x)_q + Σ_l Σ_k ψ(b_lk ∂s/∂z_lk)`, `ψ(m) = Up(minmax(|m|))`; returns N×H×W.

    Srinivas & Fleuret 2019, eqs. 5-6 with the ψ of their experiments, channel by channel. `z_l` is
    the output of every run of a Conv2d or BatchNorm2d module between the image and the logits,
    `b` the convolution's bias and `β − γ · mean / √(var + ε)` for BatchNorm; other biases (of
    Linear layers, of functional calls) belong to no cell and are left out. A channel whose |m| is
    constant to rounding adds nothing. The map does not depend on the target layer.

    Raises :class:`camaudit.errors.NotApplicableError` where such a module does not return one
    N×K×h×w map of the images' own batch, and for a model that is not made of modules.
    """
    rows = torch.arange(len(capture), device=capture.images.device)
    with torch.inference_mode(False), torch.enable_grad(), _observed(capture.divided) as runs:
        images = capture.images.detach().clone().requires_grad_(True)
        scores = capture.objective(capture.divided.logits(images), rows)
        outputs = [run.output for run in runs]
        to_images, *to_outputs = torch.autograd.grad(
            scores.sum(), [images, *outputs], allow_unused=True, materialize_grads=True
        )
    total = _rectified(capture.images * to_images)
    top, left, height, width = getattr(capture.divided, "frame", None) or (0, 0, *capture.size)
    for run, gradient in zip(runs, to_outputs, strict=True):
        if gradient.ndim != 4 or len(gradient) != len(capture):
            raise NotApplicableError(
                f"a layer with a bias returns shape {tuple(gradient.shape)} for {len(capture)} "
                "images, so that its gradient belongs to no cell of one image"
            )
        added = _rectified(run.bias[:, None, None] * gradient)
        if run.framed:
            total[:, top : top + height, left : left + width] += upsample(added, (height, width))
        else:
            total += upsample(added, capture.size)
    return defined(total, capture.activations)


def _rectified(m: Tensor) -> Tensor:
    """`Σ_k minmax(|m_k|)` (N×h×w) of m (N×K×h×w); Up is linear, so that it can follow the sum."""
    size = m.abs()
    high = size.amax(dim=(2, 3), keepdim=True)
    span = high - size.amin(dim=(2, 3), keepdim=True)
    rounding = min(1e3 * torch.finfo(m.dtype).eps, 0.03)  # half precision: a few of its own steps
    constant = span <= rounding * high
    return torch.where(constant, 0, minmax(size)).sum(dim=1)


def _bias(module: nn.Module) -> Tensor | None:
    """The bias (K) that a convolution or BatchNorm adds to each cell of its output, if any."""
    if isinstance(module, nn.Conv2d):
        return None if module.bias is None else module.bias.detach()
    if not isinstance(module, nn.BatchNorm2d):
        return None
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        return None
    shift = mean / torch.sqrt(variance + module.eps)
    if module.affine:
        return (module.bias - module.weight * shift).detach()
    return -shift


@contextmanager
def _observed(divided: Any) -> Iterator[list[_Run]]:
    """Within the context runs of layers with a bias between image and logits are recorded.

    Only what depends on the image counts: parameters do not require gradients meanwhile, so that
    a layer reads the image exactly where its input requires one. What a layer returns is handed
    on as a copy, which an in-place layer after it may overwrite.
    """
    if not isinstance(divided, nn.Module):
        raise NotApplicableError("the biases of this model cannot be found: it is no nn.Module")
    runs: list[_Run] = []
    with ExitStack() as stack:
        stack.enter_context(_frozen(divided))
        inside = stack.enter_context(_entered(getattr(divided, "framed", None)))

        def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Tensor | None:
            bias = _bias(module)
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            if bias is None or not any(value.requires_grad for value in given):
                return None
            runs.append(_Run(bias, output, bool(inside)))
            return output.clone()  # type: ignore[no-any-return]

        for module in divided.modules():
            if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
                handle = module.register_forward_hook(record, with_kwargs=True)
                stack.callback(handle.remove)
        yield runs


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Within the context no parameter requires a gradient."""
    required = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in required:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in required:
            parameter.requires_grad_(True)


@contextmanager
def _entered(module: nn.Module | None) -> Iterator[list[None]]:
    """A list that is not empty exactly while `module` runs."""
    inside: list[None] = []
    if module is None:
        yield inside
        return
    enter = module.register_forward_pre_hook(lambda _module, _args: inside.append(None))
    leave = module.register_forward_hook(lambda _module, _args, _output: inside.clear())
    try:
        yield inside
    finally:
        enter.remove()
        leave.remove()
