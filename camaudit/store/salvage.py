"""A damaged store made good: what can still be read, and proves whole, goes into a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from camaudit.store.cells import checksum
from camaudit.store.schema import PAGE, connect, create

__all__ = ["CELL_COLUMNS", "cell_checksum", "run_checksum", "salvage"]

CELL_COLUMNS = 'key, "check", method, image, target, status, value, blob'
_SMALLEST = 100  # bytes of a row, at least: its key and checksum
_SIDES = ("-wal", "-shm")
_UNREAD = (sqlite3.Error, UnicodeDecodeError)  # the latter of a damaged name of a table


def cell_checksum(row: tuple[Any, ...]) -> bytes:
    """Over the key and all that a cell holds; `row` as in :data:`CELL_COLUMNS`."""
    key, check, method, image, target, status, value, blob = row
    told = repr((key, check, method, image, target, status)).encode("utf-8", "backslashreplace")
    return checksum(told, _bytes(value), None if blob is None else _bytes(blob))


def _bytes(value: Any) -> bytes:
    """What was written as bytes; damage can change its type."""
    return value if isinstance(value, bytes) else repr(value).encode()


def run_checksum(number: int, about: bytes) -> bytes:
    """Over a run's number and what is known of it."""
    return checksum(str(number).encode(), _bytes(about))


def salvage(path: Path) -> tuple[int, Path]:
    """Put a new store in the place of the damaged one at `path`.

    Every row is read on its own, so that a page that is lost takes none but its own rows with it;
    a row counts if its checksum is right. Returns how many cells were kept, and where the damaged
    file lies now.
    """
    damaged = _aside(path)
    for side in ("", *_SIDES):
        with suppress(FileNotFoundError):
            Path(f"{path}{side}").replace(f"{damaged}{side}")
    _mend_header(damaged)
    fresh = path.with_name(f".{path.name}.salvaged")
    for side in ("", *_SIDES):
        Path(f"{fresh}{side}").unlink(missing_ok=True)
    with closing(connect(fresh)) as target:
        create(target)
        target.execute("BEGIN IMMEDIATE")
        kept = _copied(damaged, target)
        target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fresh.replace(path)
    return kept, damaged


def _aside(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return found


def _mend_header(path: Path) -> None:
    """Put right those fields of the header that are the same in every store of ours.

    At 92 stands for which change the number of pages at 28 holds: for none, so that SQLite takes
    it from the file's length.
    """
    fixed = {
        0: b"SQLite format 3\x00", 16: PAGE.to_bytes(2, "big"), 18: b"\x02\x02\x00\x40\x20\x20",
        44: (4).to_bytes(4, "big"), 56: (1).to_bytes(4, "big"), 92: b"\xff" * 4,
    }  # fmt: skip
    with path.open("r+b") as file:
        for place, value in fixed.items():
            file.seek(place)
            file.write(value)


def _copied(damaged: Path, target: sqlite3.Connection) -> int:
    kept = 0
    try:
        source = connect(damaged)
    except _UNREAD:
        return 0
    with closing(source):
        source.execute("PRAGMA writable_schema = ON")  # reads a file that is too short, too
        last = damaged.stat().st_size // _SMALLEST + 1
        cells = f"SELECT id, {CELL_COLUMNS}, checksum FROM cells"  # noqa: S608
        for row in _rows(source, cells, last):
            with suppress(TypeError, ValueError):  # a value of another type than was written
                if cell_checksum(row[1:-1]) == row[-1]:
                    marks = ",".join("?" * len(row))
                    kept += target.execute(
                        f"INSERT OR IGNORE INTO cells (id, {CELL_COLUMNS}, checksum)"  # noqa: S608
                        f" VALUES ({marks})", row,
                    ).rowcount  # fmt: skip
        for row in _rows(source, "SELECT id, about, checksum FROM runs", last):
            with suppress(TypeError, ValueError):
                if run_checksum(row[0], row[1]) == row[2]:
                    target.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?)", row)
        with suppress(*_UNREAD):
            for row in source.execute("SELECT run, cell FROM members"):
                target.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", row)
        target.execute("DELETE FROM members WHERE cell NOT IN (SELECT id FROM cells)")
    return kept


def _rows(source: sqlite3.Connection, query: str, last: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a table in one go as far as that goes, then one by one up to `last`."""
    seen = 0
    with suppress(*_UNREAD):
        for row in source.execute(query.replace("SELECT ", "SELECT rowid, ", 1)):
            seen = row[0]
            yield row[1:]
        return
    for number in range(seen + 1, last + 1):
        with suppress(*_UNREAD):
            found = source.execute(f"{query} WHERE rowid = ?", (number,)).fetchone()
            if found is not None:
                yield found
