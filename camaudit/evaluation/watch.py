"""How long the parts of an evaluation take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Watch"]


class Watch:
    """Called as a context manager with a name it adds what passes within to that name's time."""

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Measure what happens within."""
        started = time.perf_counter_ns()
        try:
            yield
        finally:
            self._spent[what] += time.perf_counter_ns() - started

    @property
    def seconds(self) -> dict[str, float]:
        """By name, in the order in which they were first measured."""
        return {name: nanoseconds / 1e9 for name, nanoseconds in self._spent.items()}
