"""The tables of a store, and opening one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["FORMAT", "PAGE", "connect", "create", "format_of"]

FORMAT = 1  #: of the tables; a store of another format is refused
PAGE = 4096  #: bytes
_MARK = 0xCA_0000  # application_id less the format: what damages one of the two tells itself
_WAIT = 60.0  # seconds for another process's transaction, each of which takes milliseconds

_TABLES = """
CREATE TABLE IF NOT EXISTS cells (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    "check" TEXT NOT NULL,
    method TEXT NOT NULL,
    image TEXT NOT NULL,
    target INTEGER,
    status TEXT,
    value BLOB NOT NULL,
    blob BLOB,
    checksum BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS cells_by_method ON cells ("check", method, status);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    about BLOB NOT NULL,
    checksum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS members (
    run INTEGER NOT NULL,
    cell INTEGER NOT NULL,
    PRIMARY KEY (run, cell)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (unit TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode where every commit reaches the disk; transactions are explicit."""
    database = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
    try:
        database.text_factory = _text  # damaged text must get as far as its checksum
        database.execute(f"PRAGMA page_size = {PAGE}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        database.close()
        raise
    return database


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def create(database: sqlite3.Connection) -> None:
    """Make the tables in a file that has none.

    Raises :class:`sqlite3.DatabaseError`, as for any damage, where the file's two notes of its
    format disagree.
    """
    if _noted(database) == (0, 0):
        marks = f"PRAGMA user_version = {FORMAT}; PRAGMA application_id = {_MARK + FORMAT};"
        database.executescript(f"BEGIN IMMEDIATE; {_TABLES} {marks} COMMIT")
    version, mark = _noted(database)
    if mark - _MARK != version:
        raise sqlite3.DatabaseError("malformed: the file's notes of its format disagree")


def format_of(database: sqlite3.Connection) -> int:
    """The format of the tables."""
    return _noted(database)[0]


def _noted(database: sqlite3.Connection) -> tuple[int, int]:
    return (
        int(database.execute("PRAGMA user_version").fetchone()[0]),
        int(database.execute("PRAGMA application_id").fetchone()[0]),
    )
