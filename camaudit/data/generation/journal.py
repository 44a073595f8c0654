"""What was asked of a paid service and what came of it: an append-only file, synced line by line.

`generation.jsonl` gets a line before each request, the intent, and one after it, the outcome. An
intent without an outcome means that the process died in between, so that the request may have
been paid for. A last line that is torn is dropped: an intent that was not written whole was never
sent, and an outcome that was not leaves its intent open.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

from camaudit.data.fields import Fields
from camaudit.data.folders import printable
from camaudit.data.generation.budget import Spending, amount
from camaudit.errors import UsageError
from camaudit.files import append_line, output_error, parsed_json

__all__ = ["JOURNAL_NAME", "Job", "Journal", "Paid", "Result", "Send", "What"]

JOURNAL_NAME = "generation.jsonl"
FORMAT = "camaudit-generation-1"

What = Literal["picture", "prompt"]
Result = Literal["answered", "picture", "text", "refused", "failed", "unusable"]
"""answered: the picture lies at a link. picture, text: it is here. unusable: paid for in vain."""
Paid = Literal["yes", "no", "maybe"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One thing to be paid for: a picture, or a refined prompt.

    `digest` is a SHA-256 of everything that decides it, `price` what one costs.
    """

    id: str
    what: What
    digest: str
    price: Decimal

    @property
    def name(self) -> str:
        """A file name, without ending, that no other job has."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", self.id).strip("-")[:80]
        return f"{plain or 'image'}-{self.digest[:16]}"


@dataclass
class Send:
    """One request that was sent, or was about to be, and what is known of its outcome."""

    number: int
    what: What
    digest: str
    key: str
    price: Decimal
    result: Result | None = None
    paid: Paid = "maybe"
    facts: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The journal of one folder; it belongs to one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Read the journal, if there is one.

        Raises :class:`UsageError` if a line is not understood, naming it.
        """
        self.path = folder / JOURNAL_NAME
        self._sends: list[Send] = []
        self._by_job: dict[str, list[Send]] = {}
        self._read()

    @property
    def spending(self) -> Spending:
        """What was spent, by this run and earlier ones."""
        counted = [send for send in self._sends if send.paid != "no"]
        pictures = [send for send in counted if send.what == "picture"]
        paid = sum(send.paid == "yes" for send in pictures)
        money = sum((send.price for send in counted), start=Decimal(0))
        return Spending(paid, len(pictures) - paid, money)

    @property
    def wasted(self) -> int:
        """Pictures that were paid for and could not be used."""
        return sum(send.result == "unusable" and send.what == "picture" for send in self._sends)

    def last(self, job: Job) -> Send | None:
        """The latest request for a job."""
        sends = self._by_job.get(job.digest)
        return sends[-1] if sends else None

    def key(self, job: Job) -> str:
        """The Idempotency-Key for the next request for a job.

        While a request may have been paid for, its key is used again, so that a server that knows
        the header does not charge twice; after a definite answer there is a new one.
        """
        for send in reversed(self._by_job.get(job.digest, [])):
            if send.paid == "yes":
                break
            if send.paid == "maybe":
                return send.key
        return str(uuid.uuid4())

    def intend(self, job: Job, key: str) -> Send:
        """Write down that a request is about to be sent; :class:`OutputError` if that fails."""
        send = Send(len(self._sends) + 1, job.what, job.digest, key, job.price)
        line = {
            "event": "intent",
            "send": send.number,
            "what": job.what,
            "id": job.id,
            "job": job.digest,
            "idempotency_key": key,
            "price": f"{job.price:f}",
            "time": _now(),
        }
        if not self._sends:
            self._append({"format": FORMAT})
        self._append(line)
        self._add(send)
        return send

    def settle(self, send: Send, result: Result, paid: Paid, **facts: Any) -> None:
        """Write down what came of a request; a later outcome replaces an earlier one."""
        outcome = {"event": "outcome", "send": send.number, "result": result, "paid": paid}
        self._append({**outcome, **facts, "time": _now()})
        send.result, send.paid, send.facts = result, paid, facts

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, allow_nan=False)
        append_line(self.path, text.encode("ascii"))

    def _add(self, send: Send) -> None:
        self._sends.append(send)
        self._by_job.setdefault(send.digest, []).append(send)

    def _read(self) -> None:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole != len(data):
                os.truncate(self.path, whole)
        except OSError as error:
            raise output_error(self.path, error) from error
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            where = f"{printable(str(self.path))}: line {number}"
            try:
                self._take(Fields(parsed_json(line), where), number)
            except (UsageError, ValueError) as error:
                why = str(error) if isinstance(error, UsageError) else f"{where} is no JSON"
                raise UsageError(
                    f"{why}; this journal says what was paid for: put an unchanged copy back, or "
                    "move the folder away to begin anew, which pays anew"
                ) from error

    def _take(self, line: Fields, number: int) -> None:
        """One line that is there."""
        if number == 1:
            if line.value.get("format") != FORMAT:
                raise line.error("format", repr(FORMAT), line.value.get("format"))
        elif line.value.get("event") == "intent":
            self._add(_intent(line, len(self._sends) + 1))
        elif line.value.get("event") == "outcome":
            which = line.integer("send")
            if not 1 <= which <= len(self._sends):
                raise line.error("send", "the number of an intent above", which)
            send = self._sends[which - 1]
            send.result = _one_of(line, "result", get_args(Result))
            send.paid = _one_of(line, "paid", get_args(Paid))
            known = {"event", "send", "result", "paid", "time"}
            send.facts = {key: line.value[key] for key in line.value if key not in known}
        elif line.value.get("format") != FORMAT:  # twice, if a process died between two lines
            raise line.error("event", "intent or outcome", line.value.get("event"))


def _intent(line: Fields, number: int) -> Send:
    if line.integer("send") != number:
        raise line.error("send", f"{number}, the next number", line.value["send"])
    what: What = _one_of(line, "what", get_args(What))
    key, price = line.text("idempotency_key"), amount(line.text("price"), f"{line.where}: price")
    return Send(number, what, line.digest("job"), key, price)


def _one_of(line: Fields, key: str, values: tuple[str, ...]) -> Any:
    value = line.text(key)
    if value not in values:
        raise line.error(key, f"one of {', '.join(values)}", value)
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
