"""A run as its store knows it: begun, done, failed or interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import camaudit
from camaudit.audit.foreign import Foreign
from camaudit.audit.journal import StoreJournal
from camaudit.audit.ledger import Ledger
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, WalledSubject
from camaudit.data.stack_mix import StackImage
from camaudit.errors import CamauditError
from camaudit.redaction import cleaner
from camaudit.store import Store, open_store

__all__ = ["Recorded"]

_COUNTED = ("found", "computed")


class Recorded:
    """A context manager that notes a run in the store of `folder`, and what becomes of it.

    The store is opened, or made, when there is something to keep: what cannot be audited leaves
    nothing. A run that was killed stays "running" there.
    """

    def __init__(self, folder: Path, settings: Settings, *, fresh: bool) -> None:
        self.folder = folder
        self.settings = settings
        self.fresh = fresh
        self._store: Store | None = None
        self._run = 0
        self._parts: list[Ledger | StoreJournal] = []

    def __enter__(self) -> Recorded:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._store is None:
            return
        known = isinstance(error, CamauditError)
        state = "done" if error is None else "failed" if known else "interrupted"
        with self._store as store:
            try:
                store.note(self._run, state=state, ended=_now())
            except CamauditError:
                if error is None:
                    raise

    def ledger(
        self, subject: WalledSubject, images: Sequence[StackImage], foreign: Foreign, *, shown: int
    ) -> Ledger:
        """Where the cells of the check dead-zone are found and kept: the run begins.

        `shown` images have their maps in the report.
        """
        store, settings = self._begun(), self.settings
        found = Ledger(
            store, self._run, settings, subject, images, foreign, shown=shown, fresh=self.fresh
        )
        self._parts.append(found)
        return found

    def journal(
        self, check: str, subject: Subject, images: Sequence[StackImage], foreign: Foreign
    ) -> StoreJournal:
        """Where the findings of another check are found and kept: the run begins."""
        store, settings = self._begun(), self.settings
        found = StoreJournal(
            store, self._run, check, settings, subject, images, foreign, fresh=self.fresh
        )
        self._parts.append(found)
        return found

    @property
    def cells(self) -> dict[str, int]:
        """How many cells were found and how many computed, of all checks."""
        return {name: sum(getattr(part, name) for part in self._parts) for name in _COUNTED}

    def _begun(self) -> Store:
        """The store, in which the run has begun."""
        if self._store is None:
            self._store = open_store(self.folder)
            self._run = self._store.begin(
                {
                    "state": "running",
                    "began": _now(),
                    "camaudit": camaudit.__version__,
                    "settings": cleaner()(self.settings.to_dict()),
                }
            )
        return self._store

    @property
    def mended(self) -> tuple[str, ...]:
        """What had to be put right in the store."""
        return () if self._store is None else tuple(self._store.notes)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
