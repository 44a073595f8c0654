"""The last few values that were made: a cut costs several passes, and is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from torch import Tensor

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """The last few values that were made, by key."""

    def __init__(self, limit: int = 8) -> None:
        self._limit = limit
        self._values: dict[Hashable, T] = {}

    def get(self, layer: str, example: Tensor, make: Callable[[], T]) -> T:
        """What was made for `layer` and images like `example`, or a new one."""
        key = (layer, *example.shape[1:], example.dtype, str(example.device))
        value = self._values.pop(key) if key in self._values else make()
        self._values[key] = value
        if len(self._values) > self._limit:
            del self._values[next(iter(self._values))]
        return value
