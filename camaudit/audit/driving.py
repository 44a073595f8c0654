"""Jobs on lanes: each takes one step after another, wherever a lane is free."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from camaudit.audit.executors import Call, Executor
from camaudit.errors import AuditError

__all__ = ["LOSSES", "Job", "Steps", "drive"]

LOSSES = 3  #: workers that a job may lose

#: What is to be done, call by call: each is answered with what it gave.
Steps = Generator[Call, Any, None]


class Job:
    """Steps that can begin again when a worker is lost."""

    def __init__(self, make: Callable[[], Steps], losses: int = 0) -> None:
        self.make = make
        self.steps = make()
        self.losses = losses

    def again(self, why: str) -> Job:
        """The same job anew. Raises :class:`AuditError` at the third loss."""
        if self.losses + 1 == LOSSES:
            raise AuditError(
                f"{LOSSES} workers were lost one after another on the same images, at last "
                f"because {why}: is there too little memory? A smaller --batch-size or fewer "
                "--workers need less; what was found is kept, and the next run goes on from there"
            )
        return Job(self.make, self.losses + 1)


def drive(executor: Executor, take: Callable[[], Job | None]) -> None:
    """Bring every job to its end, one call at a time on each lane; a lost one begins again.

    `take` is asked for a job when a lane is free, and gives None where there is none now; the end
    of another one may bring more. Raises what a call raised.
    """
    lost: list[Job] = []
    running: dict[int, Job] = {}
    free = list(range(executor.lanes))

    def advance(job: Job, value: Any) -> None:
        """Let a job go on with an answer, to its next call or its end."""
        try:
            call = job.steps.send(value)
        except StopIteration:
            return
        lane = next(lane for lane in free if executor.usable(lane))
        free.remove(lane)
        running[lane] = job
        executor.submit(lane, call)

    while True:
        while any(map(executor.usable, free)):
            job = lost.pop() if lost else take()
            if job is None:
                break
            advance(job, None)
        if not running:
            return
        for answer in executor.wait():
            job = running.pop(answer.lane)
            free.append(answer.lane)
            if answer.lost is None:
                job.losses = 0  # it gets on
                advance(job, answer.value)
            else:
                lost.append(job.again(answer.lost))
