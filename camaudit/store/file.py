"""A store's file: one transaction after another, whatever becomes of the file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from camaudit.errors import OutputError
from camaudit.store.salvage import salvage
from camaudit.store.schema import FORMAT, connect, create, format_of

__all__ = ["StoreFile"]

Found = TypeVar("Found")


class _ReplacedError(Exception):
    """The file at the store's path is another one than that which is open."""


class StoreFile:
    """The open file at `path`; `notes` says what had to be put right in it.

    Damage is found by SQLite: then the good part is put into a new file, and the call is made
    again. Raises :class:`OutputError` where the disk is full, or the file cannot be written, was
    removed or is of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._open()

    def close(self) -> None:
        """Close the file; called twice it does nothing."""
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def base(self) -> sqlite3.Connection:
        if self._database is None:
            raise OutputError(f"{self.path} is closed")
        return self._database

    def _open(self) -> None:
        self._inode = self.path.stat().st_ino if self.path.exists() else 0
        try:
            self._database = connect(self.path)
            create(self._database)
            found = format_of(self._database)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # a header of another SQLite's making is a plain error
            if not self._damaged(error) and _code(error) != sqlite3.SQLITE_ERROR:
                raise self._refused(error) from error
            self._salvage()
            return
        if found != FORMAT:
            self.close()
            raise OutputError(
                f"{self.path} is a store of format {found}, expected {FORMAT}: it was written by "
                "another version of camaudit; choose another output folder or move the file away"
            )
        self._inode = self.path.stat().st_ino

    def _damaged(self, error: Exception) -> bool:
        """Whether SQLite says that the file is no longer what it wrote.

        A header may say that the file is for reading alone, and a name in it may be no text.
        """
        code = _code(error)
        if code == sqlite3.SQLITE_READONLY:
            return os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        unread = isinstance(error, UnicodeDecodeError)
        return code in _DAMAGED or unread or "malformed" in str(error)

    def changed(self, write: Callable[[sqlite3.Connection], Found]) -> Found:
        """`write` in one transaction, which is undone where it fails."""

        def whole(base: sqlite3.Connection) -> Found:
            base.execute("BEGIN IMMEDIATE")
            try:
                found = write(base)
                self._check_place()
                base.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    base.execute("ROLLBACK")
                raise
            return found

        return self.done(whole)

    def done(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """`work` on the open file; again on what could be saved of it where it is damaged."""
        for last in (False, True):
            try:
                return work(self.base)
            except _ReplacedError:  # by another process, that found it damaged
                self.base.close()
                self._open()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if last or not self._damaged(error):
                    raise self._refused(error) from error
                self._salvage()
        raise OutputError(f"{self.path} is replaced again and again: is another program at it?")

    def _check_place(self) -> None:
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            raise OutputError(
                f"{self.path} was removed while the run was at work: put it back, or run again"
            ) from None
        if inode != self._inode:
            raise _ReplacedError

    def _salvage(self) -> None:
        if self._database is not None:
            self._database.close()
        with _alone(self.path):
            if self._inode and self.path.exists() and self.path.stat().st_ino != self._inode:
                self._open()  # another process was quicker
                return
            try:
                kept, damaged = salvage(self.path)
            except sqlite3.Error as error:
                raise self._refused(error) from error
            self.notes.append(
                f"the store {self.path.name} was damaged: {kept} cells in it were whole and are "
                f"kept, the others are computed again; the damaged file is {damaged.name}"
            )
            self._open()

    def _refused(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self.path} cannot be used: {error}; what it holds is unchanged: free some space, "
            "change the permissions or choose another output folder, and run again"
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time puts a store right."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _code(error: Exception) -> int | None:
    return getattr(error, "sqlite_errorcode", None)


_DAMAGED = (
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_CORRUPT_SEQUENCE,
    sqlite3.SQLITE_CORRUPT_VTAB, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ,
)  # fmt: skip
