"""Named registries: a decorator with metadata, duplicates raise, unknown names list near ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Entry", "Registry"]

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")


@dataclass(frozen=True)
class Entry(Generic[F, M]):
    """One registered function with its name and its metadata."""

    name: str
    function: F
    info: M


class Registry(Mapping[str, Entry[F, M]]):
    """A read-only mapping from name to :class:`Entry`, filled by :meth:`register`.

    Parameters
    ----------
    kind:
        what is registered, for messages ("method", "metric").
    duplicate, unknown:
        exception types raised by :meth:`register` and by a failed look-up.
    """

    def __init__(
        self, kind: str, *, duplicate: type[Exception] = ValueError, unknown: type[Exception]
    ) -> None:
        self._kind = kind
        self._duplicate = duplicate
        self._unknown = unknown
        self._entries: dict[str, Entry[F, M]] = {}

    def register(self, name: str, info: M) -> Callable[[F], F]:
        """Register the decorated function under `name`; a second time raises `duplicate`."""
        if name in self._entries:
            raise self._duplicate(f"{self._kind} {name!r} is registered already; choose another")

        def decorate(function: F) -> F:
            self._entries[name] = Entry(name, function, info)
            return function

        return decorate

    @contextmanager
    def including(self, name: str, info: M, function: F) -> Iterator[None]:
        """Within the context `function` is registered too; raises as :meth:`register` does."""
        self.register(name, info)(function)
        try:
            yield
        finally:
            del self._entries[name]

    def __getitem__(self, name: str) -> Entry[F, M]:
        try:
            return self._entries[name]
        except KeyError:
            raise self._unknown(self._describe_unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _describe_unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "known are:"
        listing = "" if near else f" {', '.join(self._entries)}"
        return f"unknown {self._kind} {name!r}: {hint}{listing}"
