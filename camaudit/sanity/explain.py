"""A method on one capture: its maps, what it read, and what went wrong, as values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import MethodError, NotApplicableError
from camaudit.sanity.outcomes import Outcome

__all__ = ["Explained", "Explainer", "explain"]

_TENSORS = ("images", "activations", "gradients")
_READ: ContextVar[set[str] | None] = ContextVar("read", default=None)
_PARTS = frozenset(
    {"images", "activations", "gradients", "logits", "scores", "head", "model"}
    | {"linear_weight", "objective", "divided", "memo"}
)


class Explainer(Protocol):
    """A saliency method: a :class:`camaudit.methods.MethodCall`, or anything of its shape."""

    @property
    def label(self) -> str:
        """The name under which its results appear."""

    def __call__(self, capture: Capture, *, seed: int) -> Tensor:
        """Maps (N×h×w) of a capture, a pure function of it and of `seed`."""


@dataclass(frozen=True, eq=False)
class Explained:
    """Maps (N×h×w, as returned) of a method, or None with `outcome` and `message`.

    `read` names the parts of the capture that the method looked at.
    """

    maps: Tensor | None
    outcome: Outcome
    message: str | None
    read: frozenset[str]


def explain(method: Explainer, seen: Capture, *, seed: int) -> Explained:
    """Run `method` on a capture; a failure is an outcome, not the end of the run.

    NOT_APPLICABLE where the method is not defined on the model, ERROR where it raises anything
    else, returns no floating N×h×w maps, or writes into the capture that other methods read.
    """
    before = _versions(seen)
    with _watched() as read:
        try:
            maps = method(_Watched(**_fields(seen))._share(seen.memo), seed=seed)
            _check(method.label, maps, seen)
            if _versions(seen) != before:
                raise MethodError(f"{method.label} wrote into its capture, which others read too")
        except NotApplicableError as error:
            return Explained(None, Outcome.NOT_APPLICABLE, str(error), frozenset(read))
        except Exception as error:  # whatever a method raises is its own outcome
            message = f"{type(error).__name__}: {error}"
            return Explained(None, Outcome.ERROR, message, frozenset(read))
    return Explained(maps.detach(), Outcome.SCORED, None, frozenset(read))


class _Watched(Capture):
    """A capture that notes which of its parts are looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in _PARTS:
            read = _READ.get()
            if read is not None:
                read.add(name)
        return super().__getattribute__(name)


@contextmanager
def _watched() -> Iterator[set[str]]:
    read: set[str] = set()
    token = _READ.set(read)
    try:
        read.clear()
        yield read
    finally:
        _READ.reset(token)


def _fields(seen: Capture) -> dict[str, Any]:
    return {entry.name: getattr(seen, entry.name) for entry in fields(seen) if entry.init}


def _versions(seen: Capture) -> list[int]:
    return [getattr(seen, name)._version for name in _TENSORS]


def _check(label: str, maps: Any, seen: Capture) -> None:
    if not isinstance(maps, Tensor) or not torch.is_floating_point(maps):
        raise MethodError(f"{label} returned a {type(maps).__name__}; expected floating maps N×h×w")
    if maps.ndim != 3 or len(maps) != len(seen):
        raise MethodError(
            f"{label} returned shape {tuple(maps.shape)}; expected {len(seen)} maps N×h×w"
        )
