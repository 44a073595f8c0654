"""A run as its store knows it: begun, done, failed or interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType

import camaudit
from camaudit.audit.foreign import Foreign
from camaudit.audit.ledger import Ledger
from camaudit.audit.settings import Settings
from camaudit.audit.subject import WalledSubject
from camaudit.data.stack_mix import StackImage
from camaudit.errors import CamauditError
from camaudit.store import Store

__all__ = ["Recorded"]


class Recorded:
    """A context manager that notes a run in a store, and what becomes of it.

    A run that was killed stays "running" there.
    """

    def __init__(self, store: Store, settings: Settings, *, fresh: bool) -> None:
        self.store = store
        self.settings = settings
        self.fresh = fresh
        self.run = 0

    def __enter__(self) -> Recorded:
        self.run = self.store.begin(
            {
                "state": "running",
                "began": _now(),
                "camaudit": camaudit.__version__,
                "settings": self.settings.to_dict(),
            }
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        known = isinstance(error, CamauditError)
        state = "done" if error is None else "failed" if known else "interrupted"
        self.store.note(self.run, state=state, ended=_now())

    def ledger(
        self, subject: WalledSubject, images: Sequence[StackImage], foreign: Foreign
    ) -> Ledger:
        """Where the run's cells are found and kept."""
        return Ledger(
            self.store, self.run, self.settings, subject, images, foreign, fresh=self.fresh
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
