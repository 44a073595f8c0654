"""New weights for one layer at a time, and the audited model given back bit for bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from camaudit.errors import UsageError
from camaudit.sanity.draws import fill_normal_, key, normal, permuted
from camaudit.sanity.order import (
    STATISTICS,
    Layer,
    Order,
    Slot,
    has_statistics,
    is_library_layer,
    norm_hooks,
)
from camaudit.sanity.outcomes import Remark

__all__ = ["SCHEMES", "Randomiser", "Scheme"]

Scheme = Literal["he", "module", "permute"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
_POWER_ITERATIONS = 20
_NORMALISATIONS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm,
)  # fmt: skip
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Randomiser:
    """Within the context layers of `model` are given new weights; afterwards all is as it was.

    Weights depend on the seed and on the tensor's name alone, see :mod:`camaudit.sanity.draws`.

    "he": weights N(0, 2/fan_in) (He et al. 2015, eq. 10), biases 0, normalisations 1 and 0 with
        mean 0 and variance 1; raw parameters and other vectors N(0, rms²) of their own entries.
    "module": `reset_parameters()` of the layer's module; what it does not write, as for "he".
    "permute": the entries of each tensor shuffled, zeros left in place.

    Parametrised and weight-normed tensors get the same effective weights as plain ones. Also
    after an exception or Ctrl-C parameters, buffers and plain tensor attributes are bit-identical
    on exit; gradients, modes, hooks and the global random state are never touched. `remarks` says
    what could not be done as asked. Raises :class:`UsageError` for another scheme.
    """

    def __init__(self, model: nn.Module, order: Order, *, scheme: Scheme = "he") -> None:
        if scheme not in SCHEMES:
            raise UsageError(f"expected a scheme among {', '.join(SCHEMES)}; got {scheme!r}")
        self.scheme = scheme
        self._model = model
        self._order = order
        self._saved: dict[int, tuple[Tensor, Tensor]] = {}
        self._changed: dict[Layer, None] = {}
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._attributes: list[tuple[nn.Module, str, Tensor, Tensor]] = []
        self._remarks: dict[tuple[str, str], Remark] = {}

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was re-initialised otherwise than the scheme says, each once."""
        return tuple(self._remarks.values())

    def __enter__(self) -> Randomiser:
        self._buffers = [(buffer, _copy(buffer)) for buffer in self._model.buffers()]
        self._attributes = [
            (module, name, value, _copy(value))
            for module in self._model.modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor)
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._give_back()
        except KeyboardInterrupt:  # a second Ctrl-C: finish first
            self._give_back()
            raise

    def randomise(self, layer: Layer, *, seed: int) -> bool:
        """Give `layer` the weights of `seed`; whether any of its tensors differ from the model's.

        The new weights never depend on what the layer holds now, only on the original.
        """
        self.restore(layer)
        self._save(layer)
        self._changed[layer] = None
        with _writable(layer), torch.no_grad():
            if self.scheme == "module":
                self._reset(layer, seed)
            else:
                for slot in layer.slots:
                    self._draw(slot, seed, self.scheme)
            for slot in layer.slots:
                _settle(slot)
        return any(
            not _same(tensor, self._saved[id(tensor)][1])
            for slot in layer.slots
            for tensor in slot.stored
        )

    def restore(self, layer: Layer | None = None) -> None:
        """Give `layer`, or every layer, its original weights back."""
        for changed in list(self._changed) if layer is None else [layer]:
            if changed in self._changed:
                for slot in changed.slots:
                    for tensor in slot.stored:
                        _write(tensor, self._saved[id(tensor)][1])
                for buffer, value in self._buffers_of(changed.module):
                    _write(buffer, value)
                del self._changed[changed]

    def _give_back(self) -> None:
        self.restore()
        for buffer, value in self._buffers:
            _write(buffer, value)
        for module, name, kept, value in self._attributes:
            _write(kept, value)
            vars(module)[name] = kept

    def _buffers_of(self, module: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        mine = {id(buffer) for buffer in module.buffers()}
        return (pair for pair in self._buffers if id(pair[0]) in mine)

    def _save(self, layer: Layer) -> None:
        for slot in layer.slots:
            for tensor in slot.stored:
                if id(tensor) not in self._saved:
                    self._saved[id(tensor)] = (tensor, _copy(tensor))

    def _remark(self, name: str, reason: str) -> None:
        self._remarks.setdefault((name, reason), Remark(reason, layer=name))

    def _draw(self, slot: Slot, seed: int, scheme: Scheme) -> None:
        """New values of one tensor by the scheme "he" or "permute"."""
        original = _effective(slot)
        if scheme == "permute":
            self._assign(slot, permuted(seed, slot.name, original), seed)
            if _same(_effective(slot), original):
                self._remark(slot.name, "its entries are all equal: permuting changes nothing")
            return
        value = self._he(slot.name, slot.local, slot.owner, original)
        if not isinstance(value, float):
            self._assign(slot, value, seed)
        elif _plain(slot):
            fill_normal_(slot.stored[0], seed, slot.name, value)
        else:
            drawn = normal(seed, slot.name, original.numel()).mul_(value)
            self._assign(slot, drawn.view(original.shape), seed)

    def _he(self, name: str, local: str, owner: nn.Module, original: Tensor) -> Tensor | float:
        """Constant values of a tensor, or the standard deviation of its normal law."""
        fixed = _fixed(local, owner, original)
        if fixed is not None:
            return torch.full_like(original, fixed)
        library = is_library_layer(owner)
        if original.ndim >= 2 and (library or local == "weight"):
            axis = 1 if isinstance(owner, _TRANSPOSED) else 0
            return math.sqrt(2 * original.shape[axis] / max(original.numel(), 1))
        rms = float(original.double().square().mean().sqrt())
        if rms == 0:
            self._remark(name, "all zero, so it has no magnitude to draw from: it stays 0")
        return rms

    def _assign(self, slot: Slot, value: Tensor, seed: int) -> None:
        """Write an effective tensor, through its parametrisation where it has one."""
        hook = next((h for h in norm_hooks(slot.owner) if h.name == slot.local), None)
        if isinstance(hook, WeightNorm):
            v = getattr(slot.owner, f"{hook.name}_v")
            g = getattr(slot.owner, f"{hook.name}_g")
            v.copy_(value)
            g.copy_(torch.norm_except_dim(v, 2, hook.dim))
        elif parametrize.is_parametrized(slot.owner, slot.local):
            self._through(slot, value, seed)
        else:
            slot.stored[0].copy_(value)

    def _through(self, slot: Slot, value: Tensor, seed: int) -> None:
        lists: Any = slot.owner.parametrizations
        chain = lists[slot.local]
        like = getattr(slot.owner, slot.local)
        values: Any = value.to(like)
        try:
            for step in reversed(list(chain)):
                values = step.right_inverse(values)
        except (AttributeError, NotImplementedError):
            self._remark(
                slot.name,
                "its parametrisation has no right inverse: the tensors behind it are drawn instead",
            )
            values = []
            for place, stored in enumerate(slot.stored):
                name = f"{slot.name}.original{place}"
                std = self._he(name, "original", slot.owner, stored)
                drawn = normal(seed, name, stored.numel()).view(stored.shape)
                values.append(drawn.mul_(std))
        values = values if isinstance(values, (tuple, list)) else [values]
        for stored, new in zip(slot.stored, values, strict=True):
            stored.copy_(new)

    def _reset(self, layer: Layer, seed: int) -> None:
        """The scheme "module": the module initialises itself, "he" for what it does not write."""
        module = layer.module
        reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        own = callable(reset) and len({id(slot.owner) for slot in layer.slots}) == 1
        if not own:
            self._remark(layer.name, "its module has no initialiser: drawn by He's law instead")
        before = {slot.name: _effective(slot).clone() for slot in layer.slots}
        versions = [tensor._version for slot in layer.slots for tensor in slot.stored]
        written: dict[str, Tensor] = {}
        if own:
            written = self._own(layer, reset, seed)
        place = 0
        for slot in layer.slots:
            stored = versions[place : place + len(slot.stored)]
            place += len(slot.stored)
            if slot.name in written:
                self._assign(slot, written[slot.name], seed)
            elif [tensor._version for tensor in slot.stored] == stored and _same(
                _effective(slot), before[slot.name]
            ):
                if own:
                    reason = "its module's initialiser leaves it out: drawn by He's law instead"
                    self._remark(slot.name, reason)
                self._draw(slot, seed, "he")

    def _own(self, layer: Layer, reset: Any, seed: int) -> dict[str, Tensor]:
        """Run the module's own initialiser; the effective values of parametrised tensors."""
        module = layer.module
        mine = {id(tensor) for slot in layer.slots for tensor in slot.stored}
        others = [
            (tensor, _copy(tensor))
            for tensor in (*module.parameters(), *module.buffers())
            if id(tensor) not in mine
        ]
        devices = sorted({t.device.index or 0 for t in module.parameters() if t.is_cuda})
        with torch.random.fork_rng(devices=devices), parametrize.cached():
            torch.manual_seed(key(seed, layer.name, "module"))
            wrapped = [s for s in layer.slots if parametrize.is_parametrized(s.owner, s.local)]
            first = {slot.name: getattr(slot.owner, slot.local) for slot in wrapped}
            versions = {name: tensor._version for name, tensor in first.items()}
            reset()
            written = {
                name: tensor.detach().clone()
                for name, tensor in first.items()
                if tensor._version != versions[name]
            }
        for tensor, value in others:  # an initialiser may reach into other layers
            if not _same(tensor, value):
                _write(tensor, value)
        plain = {hook.name for hook in norm_hooks(module)}
        for slot in layer.slots:
            if slot.local in plain:
                written[slot.name] = getattr(module, slot.local).detach().clone()
        return written


def _fixed(local: str, owner: nn.Module, tensor: Tensor) -> float | None:
    """The constant that a statistic, a normalisation's tensor or a bias starts from."""
    if local in STATISTICS and has_statistics(owner):
        return float(local == "running_var")
    if isinstance(owner, _NORMALISATIONS) or has_statistics(owner):
        return {"weight": 1.0, "bias": 0.0}.get(local)
    return 0.0 if "bias" in local and tensor.ndim <= 1 else None


def _plain(slot: Slot) -> bool:
    """Whether a tensor is stored as it is used."""
    hooked = any(hook.name == slot.local for hook in norm_hooks(slot.owner))
    return not hooked and not parametrize.is_parametrized(slot.owner, slot.local)


def _effective(slot: Slot) -> Tensor:
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


def _settle(slot: Slot) -> None:
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


@contextmanager
def _writable(layer: Layer) -> Iterator[None]:
    """Weights made under inference mode can be written under it alone."""
    inference = any(t.is_inference() for slot in layer.slots for t in slot.stored)
    with torch.inference_mode(inference):
        yield


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.preserve_format)


def _write(tensor: Tensor, value: Tensor) -> None:
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        tensor.copy_(value)


def _same(tensor: Tensor, value: Tensor) -> bool:
    return torch.equal(tensor.detach(), value)
