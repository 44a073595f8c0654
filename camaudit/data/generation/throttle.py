"""When the next request may be sent: so many a minute, and later after each failure."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from camaudit.errors import GenerationError

__all__ = ["Backoff", "Throttle"]

Clock = Callable[[], float]
Sleep = Callable[[float], None]
Tell = Callable[[str], None]


class Throttle:
    """At most `rate` requests a minute, evenly spaced; None for no limit."""

    def __init__(
        self, rate: float | None, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._gap = 60.0 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next: float | None = None

    def wait(self) -> None:
        """Return when the next request may be sent, which counts as sent then."""
        now = self._clock()
        if self._next is not None and now < self._next:
            self._sleep(self._next - now)
            now = max(now, self._next)
        self._next = now + self._gap


class Backoff:
    """Pauses after failures: what the server asks for, or else twice as long each time.

    Without the server's word the k-th pause is ``first·2^(k-1)·(1/2 + u/2)`` seconds, at most
    `longest`, where u in [0, 1) is drawn from the name of what is asked for and k: clients that
    failed together do not come back together, and the same run waits the same times.
    """

    def __init__(
        self,
        retries: int,
        *,
        first: float = 1.0,
        longest: float = 120.0,
        sleep: Sleep = time.sleep,
        tell: Tell | None = None,
    ) -> None:
        self._retries = retries
        self._first = first
        self._longest = longest
        self._sleep = sleep
        self._tell = tell or _silent

    def wait(self, why: str, *, failures: int, asked: float | None, name: str) -> None:
        """Pause after failure number `failures` (from 1) of `name`.

        `asked` is the server's Retry-After in seconds. Raises :class:`GenerationError` if there
        were too many failures, or if the server asks for more than the longest pause.
        """
        if asked is not None and asked > self._longest:
            raise GenerationError(
                f"{why} and asks to come back in {asked:.0f} s; what is finished is kept: give the "
                "same command then"
            )
        if failures > self._retries:
            raise GenerationError(
                f"{why}; gave up after {failures} tries. What is finished is kept: give the same "
                "command later, with more --retries or a longer --timeout if this happens again"
            )
        pause = asked if asked is not None else self._drawn(name, failures)
        self._tell(f"{why}; trying again in {pause:.0f} s")
        self._sleep(pause)
        self._tell(f"asking for {name} again")

    def _drawn(self, name: str, failures: int) -> float:
        drawn = hashlib.sha256(f"{name} {failures}".encode("utf-8", "backslashreplace")).digest()
        share = int.from_bytes(drawn[:4], "big") / 2**32
        doubled: float = self._first * 2.0 ** (failures - 1)
        return min(self._longest, doubled) * (0.5 + share / 2)


def _silent(text: str) -> None:
    """Tell nobody."""
