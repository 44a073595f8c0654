"""Wall-clock seconds of a run, by stage."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

__all__ = ["Clock"]


class Clock:
    """Wall-clock seconds by stage, and when the run began (UTC)."""

    def __init__(self) -> None:
        self._began = datetime.now(UTC)
        self._seconds: dict[str, float] = {}

    def measure(self, stage: str) -> _Stage:
        """A context manager that adds the time spent in it to `stage`."""
        return _Stage(self._seconds, stage)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"began": self._began.isoformat(timespec="seconds"), "seconds": self._seconds}


class _Stage:
    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = round(time.perf_counter() - self._start, 3)
