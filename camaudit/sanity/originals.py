"""What a model was: every tensor by identity, place in memory and value, and how to put it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["Originals", "overlap", "spot"]

#: A module's dictionary or list, and what stood in it.
_Table = tuple[Any, Any]


class Originals:
    """The state of `modules` when this is made; the context gives it back, also after Ctrl-C.

    Kept are the entries of each one (parameters, buffers, submodules, attributes, hooks and what
    stands in its lists and dictionaries) by identity, and their tensors by value: one copy of each
    storage, those of the tensors in `without` left out. An initialiser or a parametrisation may
    thus replace a tensor, or its memory, and not only overwrite it.
    """

    def __init__(self, modules: Iterable[nn.Module], *, without: Iterable[Tensor] = ()) -> None:
        self._tables: dict[nn.Module, list[_Table]] = {}
        self._tensors: dict[int, tuple[Tensor, Tensor]] = {}
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._odd: dict[int, Tensor] = {}  # values of tensors that have no storage
        spared = {_storage(tensor) for tensor in without}
        with torch.inference_mode(False), torch.no_grad():
            for module in modules:
                if isinstance(module, torch.jit.ScriptModule):
                    continue
                self._tables[module] = list(_tables(module))
                for tensor in _held(self._tables[module]):
                    self._keep(tensor, spared)

    def __enter__(self) -> Originals:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.put_back()
        except KeyboardInterrupt:  # a second Ctrl-C: finish first
            self.put_back()
            raise

    def put_back(self) -> None:
        """Make all modules what they were."""
        for module in self._tables:
            self.put_entries_back(module)
        with torch.inference_mode(False), torch.no_grad():
            for tensor, alias in self._tensors.values():
                _reseat(tensor, alias)
            for stored, copy in self._copies.values():
                stored.copy_(copy)
        for key, value in self._odd.items():
            _write(self._tensors[key][0], value)

    def put_entries_back(self, module: nn.Module) -> None:
        """Let `module` hold the objects that it held; their values are not looked at."""
        for table, entries in self._tables.get(module, ()):
            if isinstance(table, list):
                if not _identical(table, entries):
                    table[:] = entries
            elif list(table) != list(entries) or not _identical(table.values(), entries.values()):
                table.clear()
                table.update(entries)

    def put_value_back(self, tensor: Tensor) -> None:
        """Write the original values into one of the model's tensors, in its original memory."""
        known = self._tensors.get(id(tensor))
        if known is None or (
            _storage(known[1]) not in self._copies and id(tensor) not in self._odd
        ):
            return
        self.reseat(tensor)
        if any(step == 0 and size > 1 for step, size in zip(*_form(known[1]), strict=True)):
            stored, copy = self._copies[_storage(known[1])]
            stored.copy_(copy)
        else:
            _write(tensor, self.value(tensor))

    def reseat(self, tensor: Tensor) -> None:
        """Give one of the model's tensors its original memory back, with what is there now."""
        _reseat(tensor, self._tensors[id(tensor)][1])

    def moved(self, tensor: Tensor) -> bool:
        """Whether one of the model's tensors has other memory than it had (`tensor.data = …`)."""
        return spot(tensor) != self.spot(tensor)

    def spot(self, tensor: Tensor) -> tuple[Any, ...]:
        """The original :func:`spot` of one of the model's tensors."""
        alias = self._tensors[id(tensor)][1]
        return spot(alias) if spot(alias) != (id(alias),) else (id(tensor),)

    def __contains__(self, tensor: object) -> bool:
        """Whether a tensor was among the model's."""
        return id(tensor) in self._tensors

    def value(self, tensor: Tensor) -> Tensor:
        """The original values of one of the model's tensors, to be read only."""
        if id(tensor) in self._odd:
            return self._odd[id(tensor)]
        alias = self._tensors[id(tensor)][1]
        if _storage(alias) not in self._copies:
            return alias  # nothing in it, or it was not to be copied
        copy = self._copies[_storage(alias)][1].untyped_storage()
        with torch.inference_mode(False):
            empty = torch.empty(0, dtype=alias.dtype, device=alias.device)
            return empty.set_(copy, alias.storage_offset(), alias.shape, alias.stride())

    def tensors(self, module: nn.Module) -> Iterator[Tensor]:
        """What `module` itself held, in any of its entries."""
        return _held(self._tables.get(module, []))

    def _keep(self, tensor: Tensor, spared: set[int]) -> None:
        if id(tensor) in self._tensors or is_lazy(tensor):
            return
        self._tensors[id(tensor)] = (tensor, tensor.detach())
        key = _storage(tensor)
        if key in spared or key in self._copies:
            return
        if key and tensor.untyped_storage().nbytes():
            stored = torch.empty(0, dtype=torch.uint8, device=tensor.device)
            stored.set_(tensor.untyped_storage())
            self._copies[key] = (stored, stored.clone())
        elif tensor.numel() and not tensor.is_meta:
            self._odd[id(tensor)] = tensor.detach().clone()


def spot(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor's entries lie: equal for two tensors that are the same memory."""
    key = _storage(tensor)
    if not key or not tensor.numel():
        return (id(tensor),)
    return (key, tensor.storage_offset(), *_form(tensor), tensor.dtype, tensor.device)


def overlap(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors of one storage have an entry in common without being the same memory."""
    if spot(first) == spot(second) or spot(first)[0] != spot(second)[0]:
        return False
    (start, stop), (other, end) = _reach(first), _reach(second)
    if stop <= other or end <= start:
        return False
    if first.dtype != second.dtype:
        return True
    low = min(start, other) // first.element_size()
    taken = torch.zeros(max(stop, end) // first.element_size() - low, dtype=torch.bool)
    views = [
        taken.as_strided(t.shape, t.stride(), t.storage_offset() - low) for t in (first, second)
    ]
    views[0].fill_(True)
    return bool(views[1].any())


def _reach(tensor: Tensor) -> tuple[int, int]:
    """The first byte of a tensor in its storage, and the one after its last."""
    last = sum(int(step) * (int(size) - 1) for step, size in zip(*_form(tensor), strict=True))
    start, width = int(tensor.storage_offset()), tensor.element_size()
    return start * width, (start + last + 1) * width


def _form(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(tensor.stride()), tuple(tensor.shape)


def _storage(tensor: Tensor) -> int:
    """The address of a tensor's storage; 0 where there is none."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse and wrapped tensors
        return 0


def _tables(module: nn.Module) -> Iterator[_Table]:
    attributes = vars(module)
    for table in (attributes, module._parameters, module._buffers, module._modules):
        yield table, dict(table)
    known = (module._parameters, module._buffers, module._modules)
    for value in attributes.values():
        if isinstance(value, list):
            yield value, list(value)
        elif isinstance(value, dict) and not any(value is table for table in known):
            yield value, dict(value)  # the tables of hooks are such


def _held(tables: list[_Table]) -> Iterator[Tensor]:
    for _, entries in tables:
        for value in entries if isinstance(entries, list) else entries.values():
            if isinstance(value, Tensor):
                yield value


def _identical(now: Iterable[Any], before: Iterable[Any]) -> bool:
    left, right = list(now), list(before)
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


def _reseat(tensor: Tensor, alias: Tensor) -> None:
    if spot(alias) != (id(alias),) and spot(tensor) != spot(alias):
        tensor.data = alias


def _write(tensor: Tensor, value: Tensor) -> None:
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        tensor.copy_(value)
