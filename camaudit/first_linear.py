"""Where a head flattens the maps into one Linear layer, a channel leaves by subtraction.

For a head `r(W f + b)` whose features `f` are the maps' own cells (each times a constant: 1, a
wall's factor, or 0 behind it), the head without channel k is `r(z − W_k f_k)`, `z = W f + b`: all
K of them cost one pass over the weight and one batched pass of the rest `r`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from camaudit.recent import Recent

__all__ = ["FirstLinear", "first_linear"]

_FLOATS = 2**24  # 64 MB of float32 activations in one chunk of head passes
_KNOWN: WeakKeyDictionary[Any, Recent[Any]] = WeakKeyDictionary()  # what was asked of a head


@dataclass(frozen=True, eq=False)
class _Proof:
    """What a head was found to be: its Linear, its features' constants, the cells that count.

    `constants` (1×K·h·w); weights outside of `cells`, a run of the h·w of every channel, are 0.
    """

    module: nn.Linear
    constants: Tensor
    cells: slice


class FirstLinear:
    """The first Linear layer of a head on maps `A` (N×K×h×w); see :func:`first_linear`.

    `features` (N×K·h·w) are its inputs: the maps' cells in order, each times a constant.
    """

    def __init__(self, read: Callable[[Tensor], Tensor], proof: _Proof, A: Tensor) -> None:
        self._read = read
        self._module = proof.module
        self._cells = proof.cells
        self._A = A
        self.features = proof.constants * A.flatten(1)
        self._latest: tuple[int, Tensor] | None = None

    def logits(self, row: int) -> Tensor:
        """Logits (C) of maps `row` as they are, from the products of their channels."""
        return self._rest(row, self._outputs(row)[None])[0]

    def logits_without(self, row: int, channels: Tensor) -> Tensor:
        """Logits (len(channels)×C) of maps `row` with one of `channels` set to 0 in each."""
        found = []
        for chunk in torch.split(channels, max(1, _FLOATS // self._A[row].numel())):
            found.append(self._rest(row, self._outputs(row) - self._products(row)[chunk]))
        return torch.cat(found)

    def _rest(self, row: int, outputs: Tensor) -> Tensor:
        """Logits (m×C) where the Linear gives `outputs` (m×O)."""
        with _answering(self._module, outputs):
            return self._read(self._A[row].expand(len(outputs), *self._A[row].shape))

    def _outputs(self, row: int) -> Tensor:
        """`W f + b` (O) of all channels together."""
        total = self._products(row).sum(dim=0)
        return total if self._module.bias is None else total + self._module.bias.detach()

    def _products(self, row: int) -> Tensor:
        """`W_k f_k` (K×O) of every channel, without a copy of the weight."""
        if self._latest is None or self._latest[0] != row:
            K = self._A.shape[1]
            columns = _by_channel(self._module, K)[:, :, self._cells]
            f = self.features[row].view(K, -1)[:, self._cells]
            products = f.new_zeros(K, len(columns))
            for k in (f != 0).any(dim=1).nonzero().flatten().tolist():
                torch.mv(columns[:, k], f[k], out=products[k])
            self._latest = row, products
        return self._latest[1]


def first_linear(
    divided: Any, read: Callable[[Tensor], Tensor], A: Tensor, logits: Tensor
) -> FirstLinear | None:
    """The Linear that reads the flattened maps `A` (N×K×h×w), or None for another head.

    `logits` (N×C) are what `read` gives of `A`. The head's first Linear must run once, on
    features that are the maps' cells in order, each times a constant. That is asked of the head
    itself: its features must equal their own derivative times the maps, and one channel left out
    by subtraction must give the logits that leaving it out of the maps gives. A head whose modules
    and weights are still the same is not asked again; but the products of all channels together
    must always give the logits of the first maps.
    """
    known = _KNOWN.setdefault(divided, Recent())
    A = A.detach()
    proof = known.get(_fingerprint(divided), A, lambda: _proven(divided, read, A))
    found = _agreeing(proof, read, A, logits)
    if proof is not None and found is None:  # something else has changed
        found = _agreeing(_proven(divided, read, A), read, A, logits)
    return found


def _agreeing(
    proof: _Proof | None, read: Callable[[Tensor], Tensor], A: Tensor, logits: Tensor
) -> FirstLinear | None:
    if proof is None:
        return None
    found = FirstLinear(read, proof, A)
    with torch.no_grad():
        return found if _near(found.logits(0), logits[0].detach()) else None


def _fingerprint(divided: nn.Module) -> str:
    """Changes with the modules of `divided`, with what is hooked to them, and with weights."""
    seen: list[int] = []
    for module in divided.modules():
        seen += [id(module), "forward" in vars(module)]
        seen += [*module._forward_hooks, *module._forward_pre_hooks]
    for tensor in (*divided.parameters(), *divided.buffers()):
        seen += [tensor.data_ptr(), tensor._version]
    return str(hash(tuple(seen)))


def _proven(divided: nn.Module, read: Callable[[Tensor], Tensor], A: Tensor) -> _Proof | None:
    calls: list[tuple[nn.Linear, Tensor]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            calls.append((module, args[0]))

    handles = [m.register_forward_hook(hook) for m in divided.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.enable_grad():
            leaf = A.clone().requires_grad_(True)
            read(leaf)
    finally:
        for handle in handles:
            handle.remove()
    if not calls or sum(module is calls[0][0] for module, _ in calls) != 1:
        return None
    module, features = calls[0]
    constants = _constants(features, leaf)
    if constants is None:
        return None
    proof = _Proof(module, constants, _cells(_by_channel(module, A.shape[1])))
    return proof if _subtracts(FirstLinear(read, proof, A), read, A) else None


def _by_channel(module: nn.Linear, channels: int) -> Tensor:
    """The weight as O×K×hw."""
    weight = module.weight.detach()
    return weight.view(len(weight), channels, -1)


def _cells(columns: Tensor) -> slice:
    """The shortest run of cells outside of which every weight (O×K×hw) is 0."""
    used = (columns != 0).any(dim=0).any(dim=0).nonzero().flatten().tolist() or [0]
    return slice(used[0], used[-1] + 1)


def _subtracts(found: FirstLinear, read: Callable[[Tensor], Tensor], A: Tensor) -> bool:
    """Whether subtraction gives what the head gives, for the channel with most of the first map."""
    channel = A[0].abs().sum(dim=(1, 2)).argmax()
    ablated = A[:1].clone()
    ablated[0, channel] = 0
    with torch.no_grad():
        return _near(found.logits_without(0, channel[None]), read(ablated))


def _near(came: Tensor, expected: Tensor) -> bool:
    allowed = 1e-2 if came.dtype in (torch.float16, torch.bfloat16) else 1e-4
    scale = float(expected.abs().max()) + 1e-12
    return bool((came - expected).abs().max() <= allowed * scale)


def _constants(features: Tensor, A: Tensor) -> Tensor | None:
    """The constants (1×K·h·w) that features are of the cells of A in order; None: they are not."""
    if features.shape != (len(A), A[0].numel()) or not features.requires_grad:
        return None
    probe = torch.linspace(1.0, 2.0, features.shape[1], dtype=A.dtype, device=A.device)
    (pulled,) = torch.autograd.grad(features, A, probe.expand_as(features))
    constants = pulled.flatten(1) / probe
    same = torch.allclose(constants, constants[:1].expand_as(constants), rtol=1e-4, atol=1e-7)
    expected = constants * A.detach().flatten(1)
    scale = float(features.detach().abs().max()) + 1e-12
    if not same or bool((features.detach() - expected).abs().max() > 1e-4 * scale):
        return None
    return constants[:1].detach()


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
