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
from camaudit.sanity.originals import Originals, spot
from camaudit.sanity.outcomes import Remark
from camaudit.sanity.parametrised import (
    effective,
    is_plain,
    modules_of,
    parametrisation,
    settle,
)

__all__ = ["SCHEMES", "Randomiser", "Scheme"]

Scheme = Literal["he", "module", "permute"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
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
    after an exception or Ctrl-C parameters, buffers and plain tensor attributes are the same
    objects with bit-identical values on exit; gradients, modes, hooks and the global random state
    are never touched. `remarks` says what could not be done as asked. `originals`: those of the
    model, where its owner keeps them already and gives them back. Raises :class:`UsageError` for
    another scheme.
    """

    def __init__(
        self,
        model: nn.Module,
        order: Order,
        *,
        scheme: Scheme = "he",
        originals: Originals | None = None,
    ) -> None:
        if scheme not in SCHEMES:
            raise UsageError(f"expected a scheme among {', '.join(SCHEMES)}; got {scheme!r}")
        self.scheme = scheme
        self._model = model
        self._given = self._known = originals
        self._changed: dict[Layer, None] = {}
        self._owner = {
            spot(tensor): layer
            for layer in order.layers
            for slot in layer.slots
            for tensor in slot.stored
        }
        self._remarks: dict[tuple[str, str], Remark] = {}

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was re-initialised otherwise than the scheme says, each once."""
        return tuple(self._remarks.values())

    def taken(self) -> tuple[Remark, ...]:
        """The remarks since the last call, which are then forgotten."""
        found = self.remarks
        self._remarks.clear()
        return found

    @property
    def _originals(self) -> Originals:
        """Made before anything is written: tensors may share memory."""
        if self._known is None:
            self._known = Originals(self._model.modules())
        return self._known

    def __enter__(self) -> Randomiser:
        self._originals.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._given is None:
            self._originals.__exit__(kind, error, trace)
        else:
            self.restore()  # whoever made the originals gives everything back
        self._changed.clear()
        self._known = self._given

    def randomise(self, layer: Layer, *, seed: int) -> bool:
        """Give `layer` the weights of `seed`; whether any of its tensors differ from the model's.

        The new weights never depend on what the layer holds now, only on the original.
        """
        self.restore(layer)
        self._originals  # noqa: B018 - saved before the first write
        self._changed[layer] = None
        with _writable(layer), torch.no_grad():
            if self.scheme == "module":
                self._reset(layer, seed)
            else:
                for slot in layer.slots:
                    self._draw(slot, seed, self.scheme)
            for slot in layer.slots:
                settle(slot)
        return any(self._differs(slot) for slot in layer.slots)

    def restore(self, layer: Layer | None = None) -> None:
        """Give `layer`, or every layer, its original weights back."""
        for changed in list(self._changed) if layer is None else [layer]:
            if changed in self._changed:
                self._put_back(changed)
                del self._changed[changed]

    def _put_back(self, layer: Layer) -> None:
        """The layer's tensors and what its modules keep beside them, but no other layer's."""
        for module in modules_of(layer):
            self._originals.put_entries_back(module)
        for module in modules_of(layer):
            weights = {id(parameter) for parameter in module._parameters.values()}
            for tensor in self._originals.tensors(module):
                owner = self._owner.get(self._originals.spot(tensor))
                if owner is layer or (owner is None and id(tensor) not in weights):
                    self._originals.put_value_back(tensor)

    def _differs(self, slot: Slot) -> bool:
        """Whether a slot's tensors, or what its parametrisation keeps, are other than they were."""
        tensors = list(slot.stored)
        for module in parametrisation(slot):
            tensors += [buffer for buffer in module._buffers.values() if buffer is not None]
        known = self._originals
        return any(t not in known or not _same(t, known.value(t)) for t in tensors)

    def _remark(self, name: str, reason: str) -> None:
        self._remarks.setdefault((name, reason), Remark(reason, layer=name))

    def _draw(self, slot: Slot, seed: int, scheme: Scheme) -> None:
        """New values of one tensor by the scheme "he" or "permute"."""
        original = effective(slot)
        if scheme == "permute":
            shuffled = permuted(seed, slot.name, original)
            if torch.equal(shuffled, original) and _uniform(original):
                self._remark(slot.name, "its entries are all equal: permuting changes nothing")
            self._assign(slot, shuffled, seed)
            return
        value = self._he(slot.name, slot.local, slot.owner, original)
        if not isinstance(value, float):
            self._assign(slot, value, seed)
        elif is_plain(slot):
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
            with _forked(slot.owner):  # an inverse may draw, as that of `orthogonal` does
                torch.manual_seed(key(seed, slot.name, "right inverse"))
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
        written: dict[str, Tensor | None] | None = None
        if callable(reset):
            written = self._own(layer, reset, seed)
        else:
            self._remark(layer.name, "its module has no initialiser: drawn by He's law instead")
        for slot in layer.slots:
            if written is None or slot.name not in written:
                if written is not None:
                    reason = "its module's initialiser leaves it out: drawn by He's law instead"
                    self._remark(slot.name, reason)
                self._draw(slot, seed, "he")
                continue
            value = written[slot.name]
            if value is not None:
                self._assign(slot, value, seed)

    def _own(self, layer: Layer, reset: Any, seed: int) -> dict[str, Tensor | None] | None:
        """Run the module's own initialiser; None where it fails, else the slots that it wrote.

        A slot that holds its new values has None, another one its new effective values.
        """
        module, inner = layer.module, modules_of(layer)[1:]
        mine = [tensor for slot in layer.slots for tensor in slot.stored]
        reached = [found for found in module.modules() if found not in inner]
        # an initialiser may reach into other layers, and put new tensors in the place of old ones
        with Originals(reached, without=mine), _forked(module):
            torch.manual_seed(key(seed, layer.name, "module"))
            try:
                with parametrize.cached():
                    marks = {slot: _Mark(slot) for slot in layer.slots}
                    reset()
            except Exception as error:
                what = " ".join(f"{type(error).__name__}: {error}".split())
                reason = f"its module's initialiser failed ({what}): drawn by He's law instead"
                self._remark(layer.name, reason)
                self._put_back(layer)
                return None
            written = {}
            for slot, mark in marks.items():
                value = mark.value()
                if self._wrote(slot, mark.versions) or value is not None:
                    written[slot.name] = value
        return written

    def _wrote(self, slot: Slot, versions: list[int]) -> bool:
        """Whether tensors of a slot were written; what was put in their place is copied in."""
        wrote = False
        for stored, version in zip(slot.stored, versions, strict=True):
            old = self._originals.value(stored)
            held = _entry(slot) if is_plain(slot) else stored
            replaced = held is not stored or self._originals.moved(stored)
            new = None if held is None or held.shape != old.shape else held.detach()
            changed = new is not None and (
                replaced or _version(stored) != version or not _same(new, old)
            )
            if replaced:
                self._originals.reseat(stored)
                stored.copy_(old if new is None else new)
            wrote = wrote or changed
        return wrote


class _Mark:
    """What a slot held before its module's initialiser runs, within the parametrisations' cache."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self.versions = [_version(tensor) for tensor in slot.stored]
        self._seen: Tensor | None = None
        if not is_plain(slot):
            self._seen = getattr(slot.owner, slot.local)
        if self._seen is not None:
            self._before, self._written = self._seen.detach().clone(), _version(self._seen)

    def value(self) -> Tensor | None:
        """The new values of a tensor that is not stored as it is used, where it was written."""
        if self._seen is None:
            return None
        seen: Tensor = self._seen
        if not parametrize.is_parametrized(self._slot.owner, self._slot.local):
            seen = getattr(self._slot.owner, self._slot.local)  # of an old normalisation's hook
        fresh = seen is self._seen and _version(seen) == self._written
        if fresh and _same(seen, self._before):
            return None
        return seen.detach().clone()


def _entry(slot: Slot) -> Tensor | None:
    """What stands where a plain slot's tensor stood."""
    for table in (slot.owner._parameters, slot.owner._buffers, vars(slot.owner)):
        found = table.get(slot.local)
        if isinstance(found, Tensor):
            return found
    return None


def _fixed(local: str, owner: nn.Module, tensor: Tensor) -> float | None:
    """The constant that a statistic, a normalisation's tensor or a bias starts from."""
    if local in STATISTICS and has_statistics(owner):
        return float(local == "running_var")
    if isinstance(owner, _NORMALISATIONS) or has_statistics(owner):
        return {"weight": 1.0, "bias": 0.0}.get(local)
    return 0.0 if "bias" in local and tensor.ndim <= 1 else None


@contextmanager
def _writable(layer: Layer) -> Iterator[None]:
    """Weights made under inference mode can be written under it alone."""
    inference = any(t.is_inference() for slot in layer.slots for t in slot.stored)
    with torch.inference_mode(inference):
        yield


@contextmanager
def _forked(module: nn.Module) -> Iterator[None]:
    """The global random state is given back afterwards, on the module's devices too."""
    devices = sorted({t.device.index or 0 for t in module.parameters() if t.is_cuda})
    with torch.random.fork_rng(devices=devices):
        yield


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _uniform(tensor: Tensor) -> bool:
    """Whether all entries but the zeros are one number."""
    entries = tensor[tensor != 0]
    return bool((entries == entries[:1]).all())


def _same(tensor: Tensor, value: Tensor) -> bool:
    return torch.equal(tensor.detach(), value)
