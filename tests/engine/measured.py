"""How many bytes tensors hold at most, counted at every operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peak(TorchDispatchMode):
    """The most `bytes` that tensors made within the context held together.

    What a kernel allocates for itself and frees before it returns is not seen, nor are filters in
    oneDNN's own layout, which have no storage.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if _is(t)}
        out = func(*args, **(kwargs or {}))
        for tensor in filter(_is, tree_leaves(out)):
            storage = tensor.untyped_storage()
            if storage._cdata not in given:
                reference = StorageWeakRef(storage)
                self._held[reference.cdata] = reference, storage.nbytes()
        self._held = {k: v for k, v in self._held.items() if not v[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._held.values()))
        return out


def _is(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided
