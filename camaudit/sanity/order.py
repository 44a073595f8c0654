"""The layers of a model that hold weights, in the order in which a forward pass uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from camaudit.errors import ModelError
from camaudit.sanity.originals import overlap, spot
from camaudit.sanity.outcomes import Remark
from camaudit.sites import require_eval

__all__ = [
    "STATISTICS",
    "Call",
    "Layer",
    "Order",
    "Slot",
    "execution_order",
    "has_statistics",
    "is_library_layer",
    "norm_hooks",
]

#: One module call of a forward pass: the module and the number of its run, from 1.
Call = tuple[nn.Module, int]

STATISTICS = ("running_mean", "running_var")
_ENDS = ("_g", "_v", "_orig")  #: what the old normalisations append to a parameter's name
_CONTAINERS = (
    nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Slot:
    """One tensor as its user knows it: `owner.local`, full name `name`.

    `stored` are the parameters or buffers that hold it: itself, or the originals of its
    parametrisation.
    """

    name: str
    owner: nn.Module
    local: str
    stored: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Layer:
    """Tensors that are randomised together, and where a forward pass first uses one of them.

    `finished`: the outermost module calls that had ended by then, `runs`: how often each module
    had run. `uses`: in how many torch calls its most used tensor took part.
    """

    name: str
    module: nn.Module
    slots: tuple[Slot, ...]
    place: int
    finished: tuple[Call, ...]
    runs: dict[nn.Module, int]
    uses: int


@dataclass(frozen=True, eq=False)
class Order:
    """`layers` in execution order, earliest first, and `remarks` on what is not among them."""

    layers: tuple[Layer, ...]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, eq=False)
class _Use:
    """The first use of a tensor: its place, the torch call it took part in, what had ended."""

    place: int
    function: int
    finished: tuple[Call, ...]
    runs: dict[nn.Module, int]


def execution_order(model: nn.Module, example: Tensor) -> Order:
    """The layers of `model` in the order in which one forward pass on `example` uses them.

    A tensor is used when a torch function that returns tensors takes it. All tensors of a module
    from `torch.nn` (or derived from one, or with running statistics) form one layer; raw
    parameters of other modules form one where the same call uses them first. A shared tensor
    (also by its memory alone) counts where it is used first. What is not used, not
    floating-point, packed away or registered nowhere is named in the remarks. Raises
    :class:`ModelError` in training mode, for TorchScript parts, for tensors whose memory overlaps
    without being the same, and for a model with nothing to randomise.
    """
    require_eval(model)
    _require_python(model)
    slots = list(_slots(model))
    _require_apart(slots)
    loose = list(_loose(model))
    trace = _Trace(model, [*_registered(model), *(tensor for _, tensor in loose)])
    trace.run(example[:1])
    layers: list[Layer] = []
    remarks = [*_packed(model), *_kept(model, trace, slots), *_unregistered(loose, trace, model)]
    for name, module, group in _groups(slots, trace):
        use = trace.first(group, module if is_library_layer(module) else None)
        if use is None:
            remarks.append(Remark("not used in a forward pass: left as it is", layer=name))
            continue
        uses = max(trace.uses[spot(tensor)] for slot in group for tensor in slot.stored)
        layers.append(
            Layer(name, module, tuple(group), use.place, use.finished, use.runs, max(uses, 1))
        )
    layers.sort(key=lambda layer: layer.place)
    if not layers:
        why = "; ".join(f"{remark.layer}: {remark.reason}" for remark in remarks)
        raise ModelError(f"the model has no weights that could be randomised ({why or 'none'})")
    return Order(tuple(layers), (*remarks, *_shared(model, layers)))


def _require_python(model: nn.Module) -> None:
    scripted = [n for n, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        raise ModelError(
            f"layer {scripted[0]!r} is TorchScript, which allows no hooks: audit the network as "
            "ordinary Python modules"
        )


def is_library_layer(module: nn.Module) -> bool:
    """Whether the module's class is, or derives from, a layer of torch.nn (no container)."""
    return any(
        base.__module__.startswith(("torch.nn.modules", "torch.ao.nn")) and base not in _CONTAINERS
        for base in type(module).__mro__
    )


def _slots(model: nn.Module) -> Iterator[Slot]:
    """Every floating parameter and running statistic once, under its first name."""
    seen: set[Any] = set()
    for path, module in model.named_modules():
        if isinstance(module, ParametrizationList):
            continue
        for local, stored in _owned(module):
            fresh = tuple(tensor for tensor in stored if spot(tensor) not in seen)
            seen.update(map(spot, fresh))
            if fresh and all(tensor.is_floating_point() for tensor in fresh):
                yield Slot(f"{path}.{local}" if path else local, module, local, fresh)


def _registered(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _require_apart(slots: list[Slot]) -> None:
    """Two tensors are one or have nothing in common: else the second would overwrite the first."""
    memories: dict[Any, list[tuple[str, Tensor]]] = {}
    for slot in slots:
        for tensor in slot.stored:
            memories.setdefault(spot(tensor)[0], []).append((slot.name, tensor))
    for tensors in memories.values():
        for (one, first), (other, second) in combinations(tensors, 2):
            if overlap(first, second):
                raise ModelError(
                    f"{one!r} and {other!r} overlap in memory without being one tensor, so that "
                    "neither can be randomised alone: give one a copy of its own"
                )


def _owned(module: nn.Module) -> Iterator[tuple[str, list[Tensor]]]:
    hooked = {f"{hook.name}{end}": hook.name for hook in norm_hooks(module) for end in _ENDS}
    groups: dict[str, list[Tensor]] = {}
    for local, parameter in module._parameters.items():
        if parameter is not None:
            groups.setdefault(hooked.get(local, local), []).append(parameter)
    yield from groups.items()
    if is_parametrized(module):
        lists: Any = module.parametrizations
        for local, originals in lists.items():
            yield local, list(originals._parameters.values())
    if has_statistics(module):
        for local, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                yield local, [buffer]


def norm_hooks(module: nn.Module) -> list[Any]:
    """The weight and spectral normalisations of the old style, which are forward pre-hooks."""
    return [
        hook
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, (WeightNorm, SpectralNorm))
    ]


def has_statistics(module: nn.Module) -> bool:
    """Whether the module keeps a running mean and variance, as BatchNorm does, frozen or not."""
    return all(isinstance(getattr(module, name, None), Tensor) for name in STATISTICS)


def _groups(slots: list[Slot], trace: _Trace) -> Iterator[tuple[str, nn.Module, list[Slot]]]:
    groups: dict[Any, list[Slot]] = {}
    for slot in slots:
        key: tuple[Any, ...] = (slot.owner,)
        if not is_library_layer(slot.owner) and not has_statistics(slot.owner):
            use = trace.first([slot], None)
            key = (slot.owner, slot.name if use is None else use.function)
        groups.setdefault(key, []).append(slot)
    for key, group in groups.items():
        place = {slot.name: trace.place(slot) for slot in group}
        first = min(group, key=lambda slot: place[slot.name])
        path = first.name.rpartition(".")[0]
        yield (path if len(key) == 1 and path else first.name), key[0], group


class _Trace(TorchFunctionMode):
    """One forward pass in which every use of the watched tensors is noted."""

    def __init__(self, model: nn.Module, watched: list[Tensor]) -> None:
        super().__init__()
        self._model = model
        self._watched = {id(tensor): spot(tensor) for tensor in watched}  # tied: the same spot
        self._frames: list[list[Call]] = [[]]
        self._runs: Counter[nn.Module] = Counter()
        self._events = 0
        self._functions = 0
        self._first: dict[Any, _Use] = {}
        self._started: dict[nn.Module, _Use] = {}
        self.uses: Counter[Any] = Counter()

    def run(self, images: Tensor) -> None:
        """Trace one pass; hooks and the mode are removed whatever happens."""
        handles = []
        try:
            for module in self._model.modules():
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave))
            with torch.no_grad(), self:
                self._model(images.clone())
        finally:
            for handle in handles:
                handle.remove()

    def first(self, slots: list[Slot], module: nn.Module | None) -> _Use | None:
        """The earliest use of any of `slots`, else the start of the module's first run."""
        keys = [spot(tensor) for slot in slots for tensor in slot.stored]
        uses = [self._first[key] for key in keys if key in self._first]
        if uses:
            return min(uses, key=lambda use: use.place)
        return self._started.get(module) if module is not None else None

    def place(self, slot: Slot) -> float:
        """Where a slot is first used; infinite where it is not."""
        use = self.first([slot], None)
        return torch.inf if use is None else use.place

    def seen(self, tensor: Tensor) -> bool:
        """Whether a watched tensor was used."""
        return spot(tensor) in self._first

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = map(id, _tensors((args, kwargs or {})))
        taken = [self._watched[key] for key in given if key in self._watched]
        if taken and any(True for _ in _tensors(result)):
            self._functions += 1
            for key in taken:
                self.uses[key] += 1
                if key not in self._first:
                    self._first[key] = self._now()
        return result

    def _now(self) -> _Use:
        self._events += 1
        finished = tuple(call for frame in self._frames for call in frame)
        return _Use(self._events, self._functions, finished, dict(self._runs))

    def _enter(self, module: nn.Module, _args: Any) -> None:
        if module not in self._started:
            self._started[module] = self._now()
        self._frames.append([])

    def _leave(self, module: nn.Module, _args: Any, _output: Any) -> None:
        self._frames.pop()
        self._runs[module] += 1
        self._frames[-1].append((module, self._runs[module]))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _packed(model: nn.Module) -> Iterator[Remark]:
    """Modules whose weights cannot be reached as floating-point tensors."""
    for name, module in model.named_modules():
        if hasattr(module, "_packed_params") or _is_quantised(module):
            yield Remark("quantised: its packed weights are left as they are", layer=name)
        for local, parameter in module._parameters.items():
            if parameter is not None and not parameter.is_floating_point():
                label = f"{name}.{local}".lstrip(".")
                reason = f"{parameter.dtype} values are no weights to draw: left as they are"
                yield Remark(reason, layer=label)


def _is_quantised(module: nn.Module) -> bool:
    home = type(module).__module__
    return "quantized" in home and any(
        isinstance(value, Tensor) and value.is_quantized for value in vars(module).values()
    )


def _kept(model: nn.Module, trace: _Trace, slots: list[Slot]) -> Iterator[Remark]:
    """Floating buffers that are used and no statistics: constants of the architecture."""
    known = {spot(tensor) for slot in slots for tensor in slot.stored}
    for name, buffer in model.named_buffers():
        derived = "parametrizations" in name.split(".") or name.endswith(("_u", "_v"))
        constant = buffer.is_floating_point() and not derived and trace.seen(buffer)
        if constant and spot(buffer) not in known:
            yield Remark("a buffer, not a weight: left as it is", layer=name)


def _loose(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Floating tensors among the attributes of modules, also in lists, tuples and dictionaries."""
    tables = ("_parameters", "_buffers", "_modules")
    for path, module in model.named_modules():
        hooked = {hook.name for hook in norm_hooks(module)}
        for local, value in vars(module).items():
            if local in hooked or local in tables:
                continue
            for tensor in _tensors(value):
                if tensor.is_floating_point():
                    yield (f"{path}.{local}" if path else local), tensor


def _unregistered(
    loose: list[tuple[str, Tensor]], trace: _Trace, model: nn.Module
) -> Iterator[Remark]:
    """Attributes that a forward pass reads, though no parameters or buffers of the model."""
    known = {spot(tensor) for tensor in _registered(model)}
    names = {name: None for name, t in loose if spot(t) not in known and trace.seen(t)}
    for name in names:
        reason = "an attribute, neither parameter nor buffer of its module: left as it is"
        yield Remark(reason, layer=name)


def _shared(model: nn.Module, layers: list[Layer]) -> Iterator[Remark]:
    names: dict[Any, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(spot(parameter), []).append(name)
    for layer in layers:
        for slot in layer.slots:
            also = [n for tensor in slot.stored for n in names.get(spot(tensor), [])[1:]]
            if also:
                reason = f"shared with {', '.join(also)}: randomised once, at its first use"
                yield Remark(reason, layer=slot.name)
