"""Where the work of an audit is done: here, in processes of this machine, or in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from camaudit.audit.units import Batch
from camaudit.audit.worker import Worker
from camaudit.errors import AuditError, CamauditError

__all__ = ["Answer", "Call", "Executor", "Serial", "answered", "unwrapped"]


@dataclass(frozen=True, eq=False)
class Call:
    """Something to be computed on a batch: the decisions, or a method on a part of it.

    Or, to "explore", what `asked` says, see :mod:`camaudit.audit.exploring`.
    """

    kind: Literal["decide", "score", "explore"]
    batch: Batch
    method: str = ""
    part: slice = field(default_factory=lambda: slice(0))
    asked: Any = None

    def bare(self) -> Call:
        """The same without the images."""
        return replace(self, batch=Batch(self.batch.start, ()))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a lane's call gave; `lost` says why there is none: its process or machine is gone."""

    lane: int
    value: Any = None
    lost: str | None = None


class Executor(Protocol):
    """Lanes that take one call at a time each. A lane that is lost can be used again."""

    @property
    def lanes(self) -> int:
        """How many calls can be at work together."""

    def usable(self, lane: int) -> bool:
        """Whether a free lane can take a call: one that was lost may have no place any more."""

    def submit(self, lane: int, call: Call) -> None:
        """Give a call to a free lane."""

    def wait(self) -> Sequence[Answer]:
        """At least one answer to what was submitted; raises what a call raised."""

    def close(self) -> None:
        """Let go of processes and machines, at work or not."""


class Serial:
    """One lane: this process, where `answer` says what a call gives."""

    lanes = 1

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self._answer = answer
        self._call: Call | None = None

    def usable(self, lane: int) -> bool:  # noqa: ARG002 - there is one
        """Always."""
        return True

    def submit(self, lane: int, call: Call) -> None:  # noqa: ARG002 - there is one
        """Note the call."""
        self._call = call

    def wait(self) -> list[Answer]:
        """Compute it."""
        call, self._call = self._call, None
        return [] if call is None else [Answer(0, self._answer(call))]

    def close(self) -> None:
        """Nothing."""


def answered(worker: Worker, call: Call) -> Any:
    """What `worker` says to a call of the check dead-zone."""
    if call.kind == "decide":
        return worker.decide(call.batch)
    return worker.score(call.batch, call.method, call.part)


def unwrapped(error: BaseException) -> CamauditError:
    """An error of another process as one of ours."""
    if isinstance(error, CamauditError):
        return error
    return AuditError(f"a worker failed: {type(error).__name__}: {error}")
