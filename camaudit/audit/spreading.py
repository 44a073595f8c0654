"""Parts of a check computed wherever an executor has room, and gathered in its journal."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, Protocol

from camaudit.audit.driving import Job, Steps, drive
from camaudit.audit.executors import Call, Executor
from camaudit.audit.exploring import Told
from camaudit.audit.gathering import Gathered
from camaudit.audit.progress import Progress

__all__ = ["Piece", "Spread", "UnreadError", "spread", "unread"]


@dataclass(frozen=True, eq=False)
class Spread:
    """Where what workers find of a check is kept, and who is told how far they are.

    left: what foreign explainers left on the model, by their names. seconds: the workers', by kind.
    """

    journal: Gathered
    left: dict[str, list[str]]
    progress: Progress
    seconds: Counter[str] = field(default_factory=Counter)


class UnreadError(Exception):
    """Images are needed, and so something of them is to be computed."""


def unread(_: Any) -> NoReturn:
    """In place of reading images. Raises :class:`UnreadError`."""
    raise UnreadError


class Piece(Protocol):
    """A part of a check that a worker can compute."""

    @property
    def stage(self) -> str:
        """What it is, in a few words."""

    @property
    def work(self) -> int:
        """What it adds to the progress."""

    def call(self, journal: Gathered) -> Call | None:
        """What to ask of a worker, None where the journal has it all."""


def spread(
    executor: Executor, work: Iterator[Sequence[Sequence[Piece]]], spreading: Spread
) -> None:
    """Have all parts computed that the journal lacks, and keep there what they find.

    `work` gives rows of lists of parts; those of a list need the lists before it in its row.
    """
    drive(executor, _Waiting(work, spreading).take)
    spreading.journal.counted()


class _Row:
    """Lists of parts that come one after another."""

    def __init__(self, lists: Sequence[Sequence[Piece]]) -> None:
        self._ahead = deque(lists)
        self._open = 0

    def next(self) -> Sequence[Piece]:
        """The parts that can be computed now."""
        parts = self._ahead.popleft() if self._ahead else ()
        self._open = len(parts)
        return parts

    def done(self) -> Sequence[Piece]:
        """A part is: those that can be computed since."""
        self._open -= 1
        return () if self._open else self.next()


class _Waiting:
    """Which parts wait."""

    def __init__(self, work: Iterator[Sequence[Sequence[Piece]]], spreading: Spread) -> None:
        self._work, self._spreading = work, spreading
        self._waiting: deque[tuple[_Row, Piece]] = deque()

    def take(self) -> Job | None:
        """A part that can be computed now, None where there is none."""
        while not self._waiting:
            lists = next(self._work, None)
            if lists is None:
                return None
            row = _Row(lists)
            self._waiting.extend((row, part) for part in row.next())
        return Job(partial(self._steps, *self._waiting.popleft()))

    def _steps(self, row: _Row, part: Piece) -> Steps:
        spreading = self._spreading
        spreading.progress.stage(part.stage)
        call = part.call(spreading.journal)
        if call is not None:
            told: Told = yield call
            for name, kinds in told.left.items():
                spreading.left.setdefault(name, kinds)
            spreading.journal.keep_all(told.findings)
            spreading.seconds.update(told.seconds)
        spreading.progress.advance(part.work)
        self._waiting.extendleft((row, one) for one in reversed(row.done()))
