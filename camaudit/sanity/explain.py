"""A method on one capture: its maps, what it read, and what went wrong, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import MethodError, NotApplicableError
from camaudit.methods import MethodCall
from camaudit.sanity.outcomes import Outcome

__all__ = ["Explained", "Explainer", "explain", "explain_all", "from_tensors"]

_TENSORS = ("images", "activations", "gradients", "logits", "targets", "scores")
_READ: ContextVar[set[str] | None] = ContextVar("read", default=None)
_PARTS = frozenset(
    {"images", "activations", "gradients", "logits", "targets", "scores", "head", "model"}
    | {"linear_weight", "objective", "divided", "memo", "rest"}
)


class Explainer(Protocol):
    """A saliency method: a :class:`camaudit.methods.MethodCall`, or anything of its shape.

    One that sets `from_tensors` to True promises to make its maps of what its capture holds and
    of the capture's head, without running a model of its own; a MethodCall does so.
    """

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
    else, returns no floating N×h×w maps, or writes into the capture, which is then restored.
    """
    return explain_all([method], seen, seed=seed)[0]


def from_tensors(method: Explainer, found: Explained) -> bool:
    """Whether maps like those `found` follow from the capture's tensors and its head alone."""
    promised = isinstance(method, MethodCall) or getattr(method, "from_tensors", False)
    return bool(promised) and not found.read & {"model", "divided"}


def explain_all(methods: Sequence[Explainer], seen: Capture, *, seed: int) -> list[Explained]:
    """Run each method on the same capture, see :func:`explain`; none sees what another wrote."""
    kept = _Kept(seen)
    found = []
    for method in methods:
        try:
            one = _explained(method, seen, seed)
        finally:
            written = kept.restore()
        if written and one.maps is not None:
            message = f"{method.label} wrote into its capture, which others read too"
            one = Explained(None, Outcome.ERROR, f"MethodError: {message}", one.read)
        found.append(one)
    return found


def _explained(method: Explainer, seen: Capture, seed: int) -> Explained:
    with _watched() as read:
        try:
            maps = method(_Watched(**_fields(seen))._share(seen.memo), seed=seed)
            _check(method.label, maps, seen)
        except NotApplicableError as error:
            return Explained(None, Outcome.NOT_APPLICABLE, str(error), frozenset(read))
        except Exception as error:  # whatever a method raises is its own outcome
            message = f"{type(error).__name__}: {error}"
            return Explained(None, Outcome.ERROR, message, frozenset(read))
    # a copy: the method may use its output again, or have returned a part of the capture
    return Explained(maps.detach().clone(), Outcome.SCORED, None, frozenset(read))


class _Kept:
    """The tensors of a capture as they were; the network, the images and other captures own them.

    A write that torch has not counted (through NumPy) is found by the values.
    """

    def __init__(self, seen: Capture) -> None:
        tensors = [getattr(seen, name) for name in _TENSORS]
        tensors += [t for t in (seen.objective.against, seen.rest) if t is not None]
        self._kept = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self._versions = [_version(tensor) for tensor in tensors]

    def restore(self) -> bool:
        """Undo what was written; whether anything was."""
        written = False
        for place, (tensor, copy) in enumerate(self._kept):
            if _version(tensor) == self._versions[place] and _identical(tensor, copy):
                continue
            written = True
            with torch.no_grad(), torch.inference_mode(tensor.is_inference()):
                tensor.copy_(copy)
            self._versions[place] = _version(tensor)
        return written


def _identical(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers; NaN equals NaN."""
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else int(tensor._version)


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


def _check(label: str, maps: Any, seen: Capture) -> None:
    if not isinstance(maps, Tensor) or not torch.is_floating_point(maps):
        raise MethodError(f"{label} returned a {type(maps).__name__}; expected floating maps N×h×w")
    if maps.ndim != 3 or len(maps) != len(seen):
        raise MethodError(
            f"{label} returned shape {tuple(maps.shape)}; expected {len(seen)} maps N×h×w"
        )
