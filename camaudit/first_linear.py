"""Where a head flattens the maps into one Linear layer, a channel leaves by subtraction.

For a head `r(W f + b)` whose features `f` are the maps' own cells (each times a constant: 1, a
wall's factor, or 0 behind it), the head without channel k is `r(z − W_k f_k)`, `z = W f + b`: all
K of them cost one pass over the weight and one batched pass of the rest `r`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FirstLinear", "first_linear"]

_FLOATS = 2**24  # 64 MB of float32 activations in one chunk of head passes


class FirstLinear:
    """The first Linear layer of a head, reading the flattened maps; see :func:`first_linear`.

    `features` (N×K·h·w) are its inputs and `outputs` (N×O) its outputs on the maps.
    """

    def __init__(
        self, read: Callable[[Tensor], Tensor], module: nn.Linear, A: Tensor, calls: list[Any]
    ) -> None:
        self._read = read
        self._module = module
        self._A = A
        self.features, self.outputs = calls[0], calls[1]

    def logits_without(self, row: int, channels: Tensor) -> Tensor:
        """Logits (len(channels)×C) of maps `row` with one of `channels` set to 0 in each."""
        A = self._A[row]
        cells = A[0].numel()
        columns = self._module.weight.view(-1, len(A), cells).transpose(0, 1)  # K×O×hw
        f = self.features[row].view(len(A), cells, 1)
        outputs = self.outputs[row]
        found = []
        for chunk in torch.split(channels, max(1, _FLOATS // A.numel())):
            without = outputs - _products(columns, f, chunk)
            with _answering(self._module, without):
                found.append(self._read(A.expand(len(chunk), *A.shape)))
        return torch.cat(found)


def _products(columns: Tensor, f: Tensor, channels: Tensor) -> Tensor:
    """`W_k f_k` (m×O) of each of `channels`, without a copy of the weight."""
    return torch.stack([torch.mv(columns[k], f[k, :, 0]) for k in channels.tolist()])


def first_linear(divided: Any, read: Callable[[Tensor], Tensor], A: Tensor) -> FirstLinear | None:
    """The Linear that reads the flattened maps `A` (N×K×h×w), or None for another head.

    The head's first Linear must run once, on features that are the maps' cells in order, each
    times a constant. That is asked of the head itself: its features must equal their own
    derivative times the maps, and one channel left out by subtraction must give the logits that
    leaving it out of the maps gives.
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            calls.append((module, args[0], output.detach().clone()))

    handles = [m.register_forward_hook(hook) for m in divided.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.enable_grad():
            leaf = A.detach().clone().requires_grad_(True)
            read(leaf)
            if not calls or not _are_the_cells(calls[0][1], leaf):
                return None
    finally:
        for handle in handles:
            handle.remove()
    module, features, outputs = calls[0]
    if sum(call[0] is module for call in calls) != 1:
        return None
    found = FirstLinear(read, module, A.detach(), [features.detach(), outputs])
    return found if _holds(found, read, A.detach()) else None


def _are_the_cells(features: Tensor, A: Tensor) -> bool:
    """Whether features (N×K·h·w) are the cells of A in order, each times a constant."""
    if features.shape != (len(A), A[0].numel()) or not features.requires_grad:
        return False
    probe = torch.linspace(1.0, 2.0, features.shape[1], dtype=A.dtype, device=A.device)
    (pulled,) = torch.autograd.grad((features * probe).sum(), A)
    constants = pulled.flatten(1) / probe
    same = torch.allclose(constants, constants[:1].expand_as(constants), rtol=1e-4, atol=1e-7)
    expected = constants * A.detach().flatten(1)
    scale = float(features.detach().abs().max()) + 1e-12
    return same and bool((features.detach() - expected).abs().max() <= 1e-4 * scale)


def _holds(found: FirstLinear, read: Callable[[Tensor], Tensor], A: Tensor) -> bool:
    """Whether subtraction gives what the head gives, for the channel with most of the first map."""
    channel = A[0].abs().sum(dim=(1, 2)).argmax()
    ablated = A[:1].clone()
    ablated[0, channel] = 0
    with torch.no_grad():
        expected = read(ablated)
        came = found.logits_without(0, channel[None])
    scale = float(expected.abs().max()) + 1e-12
    allowed = 1e-2 if A.dtype in (torch.float16, torch.bfloat16) else 1e-4
    return bool((came - expected).abs().max() <= allowed * scale)


@contextmanager
def _answering(module: nn.Module, outputs: Tensor) -> Iterator[None]:
    """Within the context `module` returns `outputs` whatever it is given."""
    own = module.__dict__.get("forward")

    def forward(*_args: Any, **_kwargs: Any) -> Tensor:
        return outputs.clone()  # an in-place layer may follow

    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            module.__dict__.pop("forward", None)
        else:
            module.__dict__["forward"] = own
