"""What a run needs to know again, and nobody after it: on disk, so that memory does not grow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from camaudit.errors import OutputError
from camaudit.store.cells import decoded, encoded

__all__ = ["Scratch"]


class Scratch:
    """Plain JSON and bytes by key, in a file of SQLite's own that goes with this object.

    It lies where SQLite puts its temporary files. Calls raise :class:`OutputError` where the disk
    is full.
    """

    def __init__(self) -> None:
        self._base: sqlite3.Connection | None = None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Any, bytes | None]]:
        """Those of these keys that are there."""
        found = {}
        if self._base is not None:
            with _translated():
                for key in keys:
                    query = "SELECT value, blob FROM held WHERE key = ?"
                    row = self._base.execute(query, (key,)).fetchone()
                    if row is not None:
                        found[key] = decoded(row[0]), row[1]
        return found

    def put(self, held: Iterable[tuple[bytes, Any, bytes | None]]) -> None:
        """Hold these; the latest of a key counts."""
        with _translated():
            if self._base is None:
                self._base = sqlite3.connect("", isolation_level=None)
                self._base.execute("PRAGMA journal_mode = OFF")
                self._base.execute("CREATE TABLE held (key BLOB PRIMARY KEY, value, blob)")
            self._base.executemany(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?)",
                ((key, encoded(value), blob) for key, value, blob in held),
            )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"what this run has to hold cannot be written to a temporary file: {error}; is the "
            "disk full? TMPDIR says where it lies"
        ) from error
