"""Running only the part of a model that changed: what ended before a layer is answered from memory.

A step of a cascade changes weights of layers l and later (or of l alone, or of l and earlier
ones whose effect is known already): everything that had ended when the first of l's tensors is
used still returns what it returned. The model's own code is run with those module calls
answered, so that any Python works, with skip connections and branches. The first image proves
it: each part between two layers must reproduce what the whole model had there, after the model
has seen another image; where it does not, every step runs the whole trunk. So does every batch,
and every random model, for which other modules end than for the first image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from camaudit.cut import Trunk, answering
from camaudit.errors import LayerError
from camaudit.sanity.fast import FastConvs
from camaudit.sanity.order import Call, Layer
from camaudit.sites import Reached, map_tensors

__all__ = ["Memory", "Suffix", "prepare_suffix"]

#: Functions that look at a tensor's form and not at its values.
_METADATA = frozenset(
    {"__get__", "size", "dim", "ndimension", "numel", "nelement", "stride", "__len__"}
    | {"is_floating_point", "is_complex", "is_contiguous", "get_device", "element_size", "type"}
)

_ALIKE = 1e-3  # far above what the rounding of another algorithm moves

#: What module calls returned, for one batch of images.
Memory = dict[Call, Any]


@dataclass(frozen=True, eq=False)
class _Boundary:
    """What had ended when a layer is first used: `answered`, in order, and which of it is `live`.

    `hidden[m]` runs of module m had ended inside of answered calls.
    """

    answered: tuple[Call, ...]
    hidden: dict[nn.Module, int]
    live: frozenset[Call] = frozenset()


@dataclass(frozen=True, eq=False)
class Suffix:
    """The trunk of a model with a boundary at each of its layers, earliest first.

    `broken` says why nothing is answered from memory, None where the boundaries were proven.
    `calls` are those that end on the proving image, in order; `strays` says, once they were seen,
    that other images or weights take other ways. No memory (None) means: run the whole trunk.
    """

    trunk: Trunk
    boundaries: tuple[_Boundary, ...]
    mutated: frozenset[Call]
    broken: str | None = None
    calls: tuple[Call, ...] = ()
    strays: set[str] = field(default_factory=set)
    fast: FastConvs | None = None
    _kept: frozenset[Call] = field(default=frozenset(), repr=False)

    def record(self, images: Tensor) -> tuple[Tensor, Memory | None]:
        """Activations (N×K×h×w) of the whole trunk and what its boundaries need to remember."""
        if self.broken is not None or not self.boundaries:
            return self._whole(images), None
        wanted = {call for boundary in self.boundaries for call in boundary.answered}
        return self._run(images, None, {}, wanted)

    def run(
        self, images: Tensor, place: int, memory: Memory | None, *, original: Tensor | None = None
    ) -> Tensor:
        """Activations with the layers from the `place`-th on as they are now.

        original: those of the trained model. Where they are given, convolutions may run by
        Winograd's algorithm (:mod:`camaudit.sanity.fast`); what comes out like them to rounding is
        run again directly, for nothing but that tells whether it is the same.
        """
        if original is not None and self.fast is not None and len(self.fast):
            with self.fast.running():
                found = self.run(images, place, memory)
            if not _any_alike(found, original):
                return found.contiguous(memory_format=_layout(original))
        if memory is None:
            return self._whole(images)
        return self._run(images, self.boundaries[place], memory, set())[0]

    def advance(
        self, images: Tensor, place: int, memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        """:meth:`run`, and the memory for the next place with this place's layer as it is now."""
        if memory is None or place + 1 >= len(self.boundaries):
            return self.run(images, place, memory), memory
        here, after = self.boundaries[place], self.boundaries[place + 1]
        wanted = set(after.live) - set(here.answered)
        activations, found = self._run(images, here, memory, wanted)
        return activations, None if found is None else {**memory, **found}

    def _whole(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            activations = self.trunk.output(images)
        return activations.detach()

    def _run(
        self, images: Tensor, boundary: _Boundary | None, memory: Memory, wanted: set[Call]
    ) -> tuple[Tensor, Memory | None]:
        found: Memory = {}
        answers = []
        for call in boundary.answered if boundary else ():
            value = memory[call]
            overwritten = call in self.mutated and call in self._kept
            answers.append((call, _cloned(value) if overwritten else value))
        expected = self._expected(boundary)
        ended: list[Call] = []

        def note(call: Call, output: Any) -> None:
            ended.append(call)
            if ended[-1:] != expected[len(ended) - 1 : len(ended)]:
                raise Reached(ended, None)
            if call in wanted:
                change = torch.clone if call in self.mutated else Tensor.detach
                found[call] = map_tensors(change if call in self._kept else _like, output)

        try:
            output = _replay(self.trunk, images, boundary, answers, note, None)
        except Reached as reached:
            if reached.owner is not ended:
                raise
            return self._strayed(images), None
        except (RuntimeError, ValueError, TypeError, LookupError):
            if boundary is None:
                raise
            return self._strayed(images), None  # it read what is not remembered: so it strayed
        if output is None:
            raise LayerError(f"layer {self.trunk.site.label!r} did not run: its model changed")
        return output.detach(), found

    def _expected(self, boundary: _Boundary | None) -> list[Call]:
        """The calls that end in a replay: those of a whole pass, less what answers hide."""
        if boundary is None:
            return list(self.calls)
        answered, runs = set(boundary.answered), Counter(boundary.hidden)
        runs.update(module for module, _ in boundary.answered)
        return [call for call in self.calls if call in answered or call[1] > runs[call[0]]]

    def _strayed(self, images: Tensor) -> Tensor:
        self.strays.add(
            "some images or random weights make the model run other modules than the first image "
            "does: they run the whole model at every step, and layers and their order are the "
            "first image's"
        )
        return self._whole(images)


def prepare_suffix(
    trunk: Trunk, layers: Iterable[Layer], example: Tensor, *, exact: bool = True
) -> Suffix:
    """The suffixes of `trunk` from each of `layers`, which run before its target layer.

    Unless `exact`, wide convolutions of random models may run by Winograd's algorithm.

    `example` (1×C×H×W) is an image that will be audited, on which the boundaries are proven:
    bit-equal, or to 1e-4 where the device's arithmetic is not reproducible.
    """
    boundaries = tuple(_boundary(layer) for layer in layers)
    wanted = {call for boundary in boundaries for call in boundary.answered}
    with torch.no_grad():
        try:
            calls, values, mutated, target = _remember(trunk, example, wanted)
            trunk(_other(example))  # what modules keep on themselves is now another image's
            proven, why = _prove(trunk, boundaries, example, values, target)
        except (RuntimeError, ValueError, TypeError, KeyError, LayerError) as error:
            proven, mutated, why = boundaries, frozenset(), f"{type(error).__name__}: {error}"
            calls = ()
    kept = frozenset(call for boundary in proven for call in boundary.live)
    fast = None if exact else FastConvs(trunk.model)
    return Suffix(trunk, proven, mutated, why, calls, fast=fast, _kept=kept)


def _boundary(layer: Layer) -> _Boundary:
    outer = Counter(module for module, _ in layer.finished)
    hidden = {module: runs - outer[module] for module, runs in layer.runs.items()}
    return _Boundary(layer.finished, hidden)


def _remember(
    trunk: Trunk, example: Tensor, wanted: set[Call]
) -> tuple[tuple[Call, ...], Memory, frozenset[Call], Tensor]:
    """All calls, what the wanted ones return, those whose output is overwritten later, and A."""
    calls: list[Call] = []
    values: Memory = {}
    seen: list[tuple[Call, Tensor, int]] = []

    def note(call: Call, output: Any) -> None:
        calls.append(call)
        if call in wanted:
            map_tensors(lambda t: _noted(t, call, seen), output)
            values[call] = _cloned(output)

    target = _replay(trunk, example, None, [], note, None)
    if target is None or set(values) != wanted:
        raise LayerError("the model runs other modules from one pass to the next")
    mutated = frozenset(call for call, tensor, version in seen if tensor._version != version)
    return tuple(calls), values, mutated, target.clone()


def _noted(tensor: Tensor, call: Call, seen: list[tuple[Call, Tensor, int]]) -> Tensor:
    seen.append((call, tensor, tensor._version))
    return tensor


def _prove(
    trunk: Trunk,
    boundaries: tuple[_Boundary, ...],
    example: Tensor,
    values: Memory,
    target: Tensor,
) -> tuple[tuple[_Boundary, ...], str | None]:
    """Boundaries with their live calls, and what contradicts them, if anything does.

    Backwards: what the part up to the next boundary touches is live, and what the next boundary
    needs and had ended here already. Each part must give what the next boundary remembers.
    """
    proven: list[_Boundary] = []
    for place in reversed(range(len(boundaries))):
        here, after = boundaries[place], proven[0] if proven else None
        needed = (after.live if after else frozenset()) - set(here.answered)
        touched, found, output = _part(trunk, here, example, values, set(needed) or None)
        wrong = [call for call in needed if not _equal(found.get(call), values[call])]
        if wrong or (not needed and (output is None or not _equal(output, target))):
            where = "what a later layer reads" if wrong else "the target layer's maps"
            return boundaries, f"a part of the model, replayed, gives other values for {where}"
        live = touched | (frozenset(here.answered) & (after.live if after else frozenset()))
        proven.insert(0, _Boundary(here.answered, here.hidden, live))
    return tuple(proven), None


def _part(
    trunk: Trunk, here: _Boundary, example: Tensor, values: Memory, needed: set[Call] | None
) -> tuple[frozenset[Call], Memory, Tensor | None]:
    """Replay from a boundary until `needed` calls have ended (None: until the target layer)."""
    answers = [(call, _cloned(values[call])) for call in here.answered]
    owners: dict[int, Call] = {}
    for call, value in answers:
        map_tensors(lambda t, call=call: _owned(t, call, owners), value)  # type: ignore[misc]
    found: Memory = {}
    ended = object()

    def note(call: Call, output: Any) -> None:
        if needed is not None and call in needed:
            found[call] = _cloned(output)
            if len(found) == len(needed):
                raise Reached(ended, None)

    touch = _Touch(owners)
    with touch:
        try:
            output = _replay(trunk, example, here, answers, note, needed or set())
        except Reached as reached:
            if reached.owner is not ended:
                raise
            output = None
    return frozenset(touch.calls), found, output


def _owned(tensor: Tensor, call: Call, owners: dict[int, Call]) -> Tensor:
    owners[id(tensor)] = call
    return tensor


class _Touch(TorchFunctionMode):
    """Notes which of the watched tensors a torch function takes, unless for its shape alone."""

    def __init__(self, owners: dict[int, Call]) -> None:
        super().__init__()
        self._owners = owners
        self.calls: set[Call] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) or getattr(func, "__name__", "") not in _METADATA:
            map_tensors(self._touched, [list(args), dict(kwargs or {})])
        return result

    def _touched(self, tensor: Tensor) -> Tensor:
        call = self._owners.get(id(tensor))
        if call is not None:
            self.calls.add(call)
        return tensor


def _replay(
    trunk: Trunk,
    images: Tensor,
    boundary: _Boundary | None,
    answers: list[tuple[Call, Any]],
    note: Callable[[Call, Any], None],
    wanted: set[Call] | None,
) -> Tensor | None:
    """The target layer's output with the boundary's calls answered.

    `note` sees the calls of the modules of `wanted` (None: of all), and the target layer's.
    """
    site = trunk.site
    hidden = boundary.hidden if boundary else {}
    counts: Counter[nn.Module] = Counter()
    owner = object()

    def leave(module: nn.Module, _args: Any, output: Any) -> None:
        counts[module] += 1
        number = _number(module, counts[module], answers, hidden)
        note((module, number), output)
        if module is site.module and number == site.call:
            raise Reached(owner, output)

    modules = set(trunk.model.modules()) if wanted is None else {call[0] for call in wanted}
    modules.add(site.module)
    handles = []
    images = images.clone() if trunk.mutates_images else images
    try:
        for module in modules:
            handles.append(module.register_forward_hook(leave))
        with torch.no_grad(), answering([(call[0], value) for call, value in answers]):
            trunk.model(images)
    except Reached as reached:
        if reached.owner is not owner:
            raise
        maps: Tensor = reached.output
        return maps
    finally:
        for handle in handles:
            handle.remove()
    return None


def _number(
    module: nn.Module, run: int, answers: list[tuple[Call, Any]], hidden: dict[nn.Module, int]
) -> int:
    """The number, in a whole pass, of what is the `run`-th run of a module in a replay."""
    mine = [call[1] for call, _ in answers if call[0] is module]
    return mine[run - 1] if run <= len(mine) else run + hidden.get(module, 0)


def _cloned(value: Any) -> Any:
    return map_tensors(torch.clone, value)


def _like(tensor: Tensor) -> Tensor:
    """A stand-in of the same shape that takes no memory, for what nothing reads.

    It is NaN, so that a mistake would be seen.
    """
    value = torch.nan if tensor.is_floating_point() else 0
    return tensor.new_full((), value).expand(tensor.shape)


def _equal(found: Any, wanted: Any) -> bool:
    """Whether two nested values agree, bit for bit or to rounding."""
    left: list[Tensor] = []
    right: list[Tensor] = []
    map_tensors(lambda t: (left.append(t), t)[1], found)  # type: ignore[func-returns-value]
    map_tensors(lambda t: (right.append(t), t)[1], wanted)  # type: ignore[func-returns-value]
    return len(left) == len(right) and all(
        a.shape == b.shape and (torch.equal(a, b) or _close(a, b))
        for a, b in zip(left, right, strict=True)
    )


def _close(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return False
    scale = float(b.abs().max())
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * scale, equal_nan=True)


def _any_alike(found: Tensor, original: Tensor) -> bool:
    """Whether any image's activations (N×…) are equal to 1e-3 of their largest value."""
    if found.shape != original.shape:
        return False
    gap = (found - original).abs().flatten(1).amax(dim=1)
    return bool((gap <= _ALIKE * original.abs().flatten(1).amax(dim=1)).any())


def _layout(tensor: Tensor) -> torch.memory_format:
    last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _other(example: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(example.shape, generator=generator, dtype=torch.float64).to(example)
