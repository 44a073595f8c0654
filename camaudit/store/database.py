"""The store itself: cells by their keys, runs, and which process computes what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camaudit.errors import OutputError
from camaudit.files import made_folder
from camaudit.store.cells import Cell, decoded, encoded
from camaudit.store.file import StoreFile
from camaudit.store.owners import Owner
from camaudit.store.salvage import CELL_COLUMNS, cell_checksum, run_checksum

__all__ = ["STORE_NAME", "Run", "Store", "open_store"]

STORE_NAME = "records.sqlite"
_AT_ONCE = 500  # keys in one query
_NEW = ", ".join(
    f"{name.strip()} = excluded.{name.strip()}" for name in f"{CELL_COLUMNS}, checksum".split(",")
)


@dataclass(frozen=True)
class Run:
    """A run that a store knows: its number, and what it said of itself (`state` among it)."""

    number: int
    about: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """Cells, runs and claims in one SQLite file in WAL mode; a context manager.

    Every change is one transaction, and reaches the disk before the call returns. What a killed
    process was writing is not there. Several processes may work on one store. Damage is found by
    checksums and by SQLite: then the good part is put into a new file, `notes` says so, and the
    call is made again (:class:`camaudit.store.file.StoreFile`, whose errors every call raises).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = StoreFile(path)
        self._owner: Owner | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up this process's claims and close the file."""
        if self._owner is not None:
            with suppress(OutputError, sqlite3.Error):
                self._file.changed(
                    lambda base: base.execute(
                        "DELETE FROM claims WHERE owner = ?", (self._mine.name,)
                    )
                )
            self._owner.close()
            self._owner = None
        self._file.close()

    @property
    def notes(self) -> list[str]:
        """What had to be put right in the file."""
        return self._file.notes

    # cells

    def get(self, keys: Sequence[str], *, run: int | None = None) -> dict[str, Cell]:
        """The cells of those keys that are there and whole; with a `run` its members alone."""
        member = "AND EXISTS (SELECT 1 FROM members WHERE run = ? AND cell = cells.id)"
        of_run = "" if run is None else member
        given = () if run is None else (run,)

        def read(base: sqlite3.Connection) -> dict[str, Cell]:
            found = {}
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = (
                    f"SELECT {CELL_COLUMNS}, checksum FROM cells WHERE key IN ({marks}) {of_run}"  # noqa: S608
                )
                rows = base.execute(query, (*part, *given))
                found.update({row[0]: _whole(row) for row in rows})
            return found

        return self._file.done(read)

    def put(
        self, cells: Sequence[Cell], *, run: int | None = None, unit: str | None = None
    ) -> None:
        """Write cells in one transaction, as members of a `run`; the claim on `unit` ends."""
        rows = [_row(cell) for cell in cells]

        def write(base: sqlite3.Connection) -> None:
            marks = ",".join("?" * 9)
            base.executemany(
                f"INSERT INTO cells ({CELL_COLUMNS}, checksum) VALUES ({marks}) "  # noqa: S608
                f"ON CONFLICT (key) DO UPDATE SET {_NEW}",
                rows,
            )
            if run is not None:
                _add(base, run, [cell.key for cell in cells])
            if unit:
                base.execute("DELETE FROM claims WHERE unit = ?", (unit,))

        self._file.changed(write)

    def use(self, run: int, keys: Sequence[str]) -> None:
        """Make cells that are there members of a run."""
        if keys:
            self._file.changed(lambda base: _add(base, run, keys))

    # claims

    def claim(self, unit: str) -> bool:
        """Whether this process may compute `unit`: no other living one has claimed it."""
        mine = self._mine

        def take(base: sqlite3.Connection) -> bool:
            row = base.execute("SELECT owner FROM claims WHERE unit = ?", (unit,)).fetchone()
            if row is not None and row[0] != mine.name and mine.alive(row[0]):
                return False
            base.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (unit, mine.name))
            return True

        return self._file.changed(take)

    def release(self, unit: str) -> None:
        """Give up a claim of this process."""
        name = self._mine.name
        self._file.changed(
            lambda base: base.execute(
                "DELETE FROM claims WHERE unit = ? AND owner = ?", (unit, name)
            )
        )

    # runs

    def begin(self, about: Mapping[str, Any]) -> int:
        """Note a new run and return its number."""

        def write(base: sqlite3.Connection) -> int:
            (number,) = base.execute("SELECT coalesce(max(id), 0) + 1 FROM runs").fetchone()
            text = encoded(about)
            base.execute(
                "INSERT INTO runs VALUES (?, ?, ?)", (number, text, run_checksum(number, text))
            )
            return int(number)

        return self._file.changed(write)

    def note(self, run: int, **changes: Any) -> None:
        """Change what is known of a run, its `state` say; a run that was lost stays lost."""

        def write(base: sqlite3.Connection) -> None:
            row = base.execute("SELECT about FROM runs WHERE id = ?", (run,)).fetchone()
            if row is not None:
                text = encoded({**decoded(row[0]), **changes})
                base.execute(
                    "UPDATE runs SET about = ?, checksum = ? WHERE id = ?",
                    (text, run_checksum(run, text), run),
                )

        self._file.changed(write)

    def runs(self) -> list[Run]:
        """Every run that is whole, the earliest first."""

        def read(base: sqlite3.Connection) -> list[Run]:
            rows = base.execute("SELECT id, about, checksum FROM runs ORDER BY id")
            return [
                Run(n, decoded(text)) for n, text, sum_ in rows if run_checksum(n, text) == sum_
            ]

        return self._file.done(read)

    def members(self, run: int) -> Iterator[Cell]:
        """The cells of a run that are whole, in the order in which they were written."""
        names = ", ".join(f"cells.{name.strip()}" for name in CELL_COLUMNS.split(","))
        query = (
            f"SELECT members.cell, {names}, cells.checksum FROM members "  # noqa: S608
            "JOIN cells ON cells.id = members.cell WHERE members.run = ? AND members.cell > ? "
            f"ORDER BY members.cell LIMIT {_AT_ONCE}"
        )
        last = 0

        def read(base: sqlite3.Connection) -> list[tuple[int, Cell]]:
            return [(row[0], _whole(row[1:])) for row in base.execute(query, (run, last))]

        while found := self._file.done(read):
            last = found[-1][0]
            yield from (cell for _, cell in found)

    def counts(self, run: int | None = None) -> list[tuple[str, str, str | None, int]]:
        """(check, method, status, cells), of a run or of the whole store."""
        of_run = "" if run is None else " WHERE id IN (SELECT cell FROM members WHERE run = ?)"
        query = (
            f'SELECT "check", method, status, count(*) FROM cells{of_run} '  # noqa: S608
            'GROUP BY "check", method, status ORDER BY "check", method, status'
        )
        given = () if run is None else (run,)
        return self._file.done(lambda base: list(base.execute(query, given)))

    def collect(self, keep: Sequence[int]) -> tuple[int, int]:
        """Remove all runs but `keep`, and the cells of no run; how many runs and cells went.

        The file shrinks; this waits for, and holds up, whatever else works on the store.
        """
        marks = ",".join("?" * len(keep))

        def write(base: sqlite3.Connection) -> tuple[int, int]:
            runs = base.execute(f"DELETE FROM runs WHERE id NOT IN ({marks})", keep).rowcount  # noqa: S608
            base.execute(f"DELETE FROM members WHERE run NOT IN ({marks})", keep)  # noqa: S608
            cells = base.execute(
                "DELETE FROM cells WHERE id NOT IN (SELECT cell FROM members)"
            ).rowcount
            return runs, cells

        gone = self._file.changed(write)
        self._file.done(lambda base: base.execute("VACUUM"))
        return gone

    @property
    def _mine(self) -> Owner:
        if self._owner is None:
            self._owner = Owner(self.path.parent)
            self._owner.sweep()
        return self._owner


def open_store(folder: Path) -> Store:
    """The store of an output folder, made where there is none."""
    return Store(made_folder(folder) / STORE_NAME)


def _row(cell: Cell) -> tuple[Any, ...]:
    row = (
        cell.key, cell.check, cell.method, _text(cell.image), cell.target, cell.status,
        encoded(cell.value), cell.blob,
    )  # fmt: skip
    return (*row, cell_checksum(row))


def _text(name: str) -> str:
    """A name as SQLite can hold it: lone surrogates as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _whole(row: tuple[Any, ...]) -> Cell:
    """A row as a cell. Raises :class:`sqlite3.DatabaseError`, as for any damage, where it is not
    what was written: its neighbours in the file may be damaged too.
    """
    if cell_checksum(row[:-1]) != row[-1]:
        raise sqlite3.DatabaseError("malformed: the checksum of a cell is wrong")
    key, check, method, image, target, status, value, blob = row[:-1]
    return Cell(key, check, method, image, decoded(value), target, status, blob)


def _add(base: sqlite3.Connection, run: int, keys: Sequence[str]) -> None:
    base.executemany(
        "INSERT OR IGNORE INTO members SELECT ?, id FROM cells WHERE key = ?",
        [(run, key) for key in keys],
    )
