"""A check's findings in the store of its run: found by their keys, and kept as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.audit.foreign import Foreign
from camaudit.audit.identity import identity
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject
from camaudit.data.stack_mix import StackImage
from camaudit.journal import Kept
from camaudit.methods import METHODS, method_call
from camaudit.redaction import cleaner
from camaudit.store import Cell, Store, cell_key

__all__ = ["StoreJournal"]


class StoreJournal:
    """A :class:`camaudit.journal.Journal` of the check `check`.

    `found` and `computed` count what was taken from the store and what was put there. With `fresh`
    nothing is taken. What foreign explainers left on the model is kept beside their findings, and
    told again.
    """

    def __init__(
        self,
        store: Store,
        run: int,
        check: str,
        settings: Settings,
        subject: Subject,
        images: Sequence[StackImage],
        foreign: Foreign,
        *,
        fresh: bool = False,
    ) -> None:
        self.found = 0
        self.computed = 0
        self.images = tuple(image.sha256 for image in images)
        self._store = store
        self._run = run
        self._check = check
        self._fresh = fresh
        self._base = {**identity(settings, subject), "check": check}
        self._code = {spec.name: foreign.code(spec) for spec in foreign.specs}
        self._clean = cleaner(names={*METHODS, *(image.id for image in images)})
        self._left = foreign.left
        for name in () if fresh else self._code:
            key = self._key(self._traces(name))
            for cell in store.get([key]).values():
                self._left.setdefault(name, cell.value["left"])
                store.use(run, [key])

    def explainer(self, label: str) -> str | None:
        """The method with its options, and a foreign explainer's code or library version."""
        if label not in self._code:
            return method_call(label).label
        code = self._code[label]
        return None if code is None else f"{label} {code}"

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What the store holds by these keys; the run takes part in it."""
        if self._fresh:
            return [None] * len(keys)
        hashes = [self._key(key) for key in keys]
        cells = self._store.get(hashes)
        self._store.use(self._run, list(cells))
        self.found += sum(one in cells for one in hashes)
        return [Kept(cells[one].value, cells[one].blob) if one in cells else None for one in hashes]

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        """Put it into the store, in a transaction of its own; secrets are taken out."""
        cell = Cell(
            self._key(key), self._check, method, image, self._clean(value), None, "ok", blob
        )
        self._store.put([cell, *self._beside(method)], run=self._run)
        self.computed += 1

    def _beside(self, method: str) -> list[Cell]:
        """A cell of what a method left on the model, where it did."""
        if method not in self._left or method not in self._code:
            return []
        key, value = self._key(self._traces(method)), {"left": self._left[method]}
        return [Cell(key, self._check, method, "", value, None, "ok")]

    def _traces(self, name: str) -> dict[str, Any]:
        return {"traces of": name, "code": self._code[name]}

    def _key(self, key: Mapping[str, Any]) -> str:
        return cell_key({"in": self._base, "of": key})
