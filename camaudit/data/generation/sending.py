"""Paid requests, one at a time: within the budget, at the rate, journalled, tried again."""

from __future__ import annotations

import shutil
from typing import Any

from camaudit.data.folders import printable
from camaudit.data.generation.budget import Budget
from camaudit.data.generation.endpoint import MOST_BYTES, Endpoint, Reply, SendError
from camaudit.data.generation.journal import Job, Journal, Paid, Result, Send
from camaudit.data.generation.request import RefusedError
from camaudit.data.generation.throttle import Backoff, Throttle
from camaudit.errors import GenerationError, OfflineError, OutputError

__all__ = ["Sender"]


class Sender:
    """Sends what is to be paid for; each request has its intent in the journal before it goes."""

    def __init__(
        self,
        endpoint: Endpoint,
        journal: Journal,
        *,
        budget: Budget,
        throttle: Throttle,
        backoff: Backoff,
    ) -> None:
        self._endpoint = endpoint
        self._journal = journal
        self._budget = budget
        self._throttle = throttle
        self._backoff = backoff
        self._reached = False

    def obtain(self, job: Job, path: str, body: dict[str, Any]) -> tuple[Send, Reply]:
        """The answer to a request, which the caller settles in the journal.

        Raises:
            BudgetError: before a request that could exceed the budget.
            RefusedError: if the service refuses the content of this request.
            GenerationError: if it refuses altogether, or keeps failing.
            OutputError: before a request whose answer the disk could not hold.
        """
        key, failures = self._journal.key(job), 0
        while True:
            try:
                return self._once(job, key, path, body)
            except SendError as error:
                if error.refused:
                    raise RefusedError(str(error)) from error
                offline = isinstance(error.__cause__, OfflineError) and not self._reached
                if offline or not error.again:
                    raise GenerationError(str(error)) from error
                failures += 1
                self._backoff.wait(
                    str(error), failures=failures, asked=error.retry_after, name=job.name
                )

    def _once(self, job: Job, key: str, path: str, body: dict[str, Any]) -> tuple[Send, Reply]:
        images = int(job.what == "picture")
        self._budget.check(self._journal.spending, images=images, price=job.price)
        self._check_space()
        self._throttle.wait()
        send = self._journal.intend(job, key)
        try:
            reply = self._endpoint.post(path, body, idempotency_key=key)
        except SendError as error:
            self._reached |= not isinstance(error.__cause__, OfflineError)
            result: Result = "refused" if error.refused else "failed"
            paid: Paid = "maybe" if error.paid_maybe else "no"
            self._journal.settle(send, result, paid, reason=str(error))
            raise
        self._reached = True
        return send, reply

    def _check_space(self) -> None:
        folder = self._journal.path.parent
        free = shutil.disk_usage(folder).free
        if free < MOST_BYTES:
            raise OutputError(
                f"{printable(str(folder))} has {free} bytes free, and a picture that is paid for "
                f"may have {MOST_BYTES}: free some space first; the same command then goes on"
            )
