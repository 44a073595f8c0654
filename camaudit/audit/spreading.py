"""Parts of a check computed wherever an executor has room, and gathered in its journal."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from camaudit.audit.driving import Job, Steps, drive
from camaudit.audit.executors import Call, Executor
from camaudit.audit.exploring import Told
from camaudit.audit.gathering import Gathered
from camaudit.audit.progress import Progress

__all__ = ["Piece", "Spread", "spread"]


_PAUSE = 0.2  # seconds between two looks at what another process is at


@dataclass(frozen=True, eq=False)
class Spread:
    """Where what workers find of a check is kept, and who is told how far they are.

    seconds: the workers', by kind.
    """

    journal: Gathered
    progress: Progress
    seconds: Counter[str] = field(default_factory=Counter)


class Piece(Protocol):
    """A part of a check that can be computed by itself."""

    @property
    def stage(self) -> str:
        """What it is, in a few words."""

    @property
    def work(self) -> int:
        """What it adds to the progress."""

    def unit(self, journal: Gathered) -> Mapping[str, Any]:
        """What stands for it where processes share their work."""

    def call(self, journal: Gathered) -> Call | None:
        """What to ask of a worker, None where the journal has it all; images are not read yet."""


def spread(
    executor: Executor, work: Iterator[Sequence[Sequence[Piece]]], spreading: Spread
) -> None:
    """Have all parts computed that the journal lacks, and keep there what they find.

    `work` gives rows of lists of parts; those of a list need the lists before it in its row. What
    another process is at is waited for.
    """
    waiting = _Waiting(work, spreading)
    drive(executor, waiting.take)
    while waiting.aside:
        before = len(waiting.aside)
        spreading.progress.stage(f"waiting for another process: {before} parts")
        waiting.again()
        drive(executor, waiting.take)
        if len(waiting.aside) == before:
            time.sleep(_PAUSE)
    spreading.journal.gathered()


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
    """Which parts wait; `aside` are those that another process is at."""

    def __init__(self, work: Iterator[Sequence[Sequence[Piece]]], spreading: Spread) -> None:
        self._work, self._spreading = work, spreading
        self._waiting: deque[tuple[_Row, Piece]] = deque()
        self.aside: list[tuple[_Row, Piece]] = []

    def again(self) -> None:
        """What was put aside can be taken once more."""
        self._waiting.extend(self.aside)
        self.aside = []

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
        spreading, journal = self._spreading, self._spreading.journal
        ahead, call = part.work, part.call(journal)
        if call is not None:
            if not journal.claim(part.unit(journal)):
                self.aside.append((row, part))
                return
            if journal.shared:  # another process may have come to its end with it just now
                call = part.call(journal)
            if call is not None:
                spreading.progress.stage(part.stage)
                told: Told = yield replace(call, batch=call.batch.held())
                journal.keep_all(told.findings, told.left)
                spreading.seconds.update(told.seconds)
                ahead -= told.advanced
            journal.release(part.unit(journal))
        spreading.progress.advance(ahead)
        self._waiting.extendleft((row, one) for one in reversed(row.done()))
