"""A run as its store knows it: begun, done, failed or interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import camaudit
from camaudit.audit.foreign import Foreign
from camaudit.audit.ledger import Ledger
from camaudit.audit.settings import Settings
from camaudit.audit.subject import WalledSubject
from camaudit.data.stack_mix import StackImage
from camaudit.errors import CamauditError
from camaudit.redaction import cleaner
from camaudit.store import Store, open_store

__all__ = ["Recorded"]


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
        self, subject: WalledSubject, images: Sequence[StackImage], foreign: Foreign
    ) -> Ledger:
        """Where the run's cells are found and kept: the run begins."""
        self._store = open_store(self.folder)
        self._run = self._store.begin(
            {
                "state": "running",
                "began": _now(),
                "camaudit": camaudit.__version__,
                "settings": cleaner()(self.settings.to_dict()),
            }
        )
        return Ledger(
            self._store, self._run, self.settings, subject, images, foreign, fresh=self.fresh
        )

    @property
    def mended(self) -> tuple[str, ...]:
        """What had to be put right in the store."""
        return () if self._store is None else tuple(self._store.notes)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
