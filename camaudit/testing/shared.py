"""What processes of one run have in common: values that one of them makes and the others read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camaudit.files import write_json

__all__ = ["Shared"]

_RECORDS = "records"


@dataclass(frozen=True)
class Shared:
    """Plain JSON values by name.

    folder: where processes share them; None keeps them in this process alone.
    """

    folder: Path | None = None
    _kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    _records: list[dict[str, Any]] = field(default_factory=list)

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The value of that name; the first that asks makes it, and the others wait for it.

        Where the process that makes it is killed, the next one does.
        """
        if name not in self._kept:
            self._kept[name] = make() if self.folder is None else _first(self.folder, name, make)
        return self._kept[name]

    def known(self, name: str) -> dict[str, Any] | None:
        """The value of that name, if any process has made it."""
        if name not in self._kept and self.folder is not None:
            path = self.folder / f"{name}.json"
            if path.is_file():
                self._kept[name] = _read(path)
        return self._kept.get(name)

    def add(self, record: dict[str, Any]) -> None:
        """One more record of this run."""
        if self.folder is None:
            self._records.append(record)
            return
        own = self.folder / _RECORDS
        own.mkdir(exist_ok=True)
        write_json(own / f"{os.getpid()}-{len(list(own.glob(f'{os.getpid()}-*')))}.json", record)

    def records(self) -> list[dict[str, Any]]:
        """The records of all processes."""
        if self.folder is None:
            return list(self._records)
        return [_read(path) for path in sorted((self.folder / _RECORDS).glob("*.json"))]


def _first(folder: Path, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    path = folder / f"{name}.json"
    with _locked(folder / f"{name}.lock"):
        if not path.is_file():
            write_json(path, make())
        return _read(path)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file; the system lets go of it when the process ends, in whatever way."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # it gives up after ten seconds
                    continue
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
