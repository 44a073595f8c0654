"""A check's findings in the store of its run: found by their keys, and kept as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.audit.foreign import Foreign
from camaudit.audit.identity import identity, image_keys
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject
from camaudit.data.stack_mix import StackImage
from camaudit.journal import Finding, Kept
from camaudit.methods import METHODS, method_call
from camaudit.redaction import cleaner
from camaudit.store import Cell, Store, cell_key

__all__ = ["StoreJournal"]


class StoreJournal:
    """A :class:`camaudit.journal.Journal` of the check `check`.

    `found` and `computed` count what was taken from the store and what was put there. With `fresh`
    nothing of earlier runs is taken. What foreign explainers left on the model is kept beside their
    findings, and told again.
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
        self.images = image_keys(images)
        self.names = tuple(image.id for image in images)
        self._store = store
        self._run = run
        self._check = check
        self._fresh = fresh
        self._base = {**identity(settings, subject), "check": check}
        self._code = {spec.name: foreign.code(spec) for spec in foreign.specs}
        self._left = foreign.left
        self._clean = cleaner(names={*METHODS, *self.names})

    def explainer(self, label: str) -> str | None:
        """The method with its options, and a foreign explainer's code or library version."""
        if label not in self._code:
            return method_call(label).label
        code = self._code[label]
        return None if code is None else f"{label} {code}"

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What the store holds by these keys; the run takes part in it.

        What a foreign explainer left on the model when it was found is told again. A fresh run
        finds what it has kept itself.
        """
        hashes = [self._key(key) for key in keys]
        cells = self._store.get(hashes, run=self._run if self._fresh else None)
        self._store.use(self._run, list(cells))
        self.found += sum(one in cells for one in hashes)
        for cell in (cells[one] for one in hashes if one in cells):
            if cell.value["left"]:
                self._left.setdefault(cell.method, cell.value["left"])
        return [
            Kept(cells[one].value["found"], cells[one].blob) if one in cells else None
            for one in hashes
        ]

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        """Put it into the store, in a transaction of its own; secrets are taken out."""
        self.keep_all([Finding(key, value, blob, method, image)])

    def keep_all(
        self, findings: Sequence[Finding], left: Mapping[str, list[str]] | None = None
    ) -> None:
        """Put them into the store in one transaction; secrets are taken out.

        What is passing is left out. left: what foreign explainers left on the model meanwhile, by
        default what is noted of the run.
        """
        left = self._left if left is None else left
        cells = [
            Cell(
                self._key(one.key), self._check, one.method, one.image,
                {"found": self._clean(one.value), "left": left.get(one.method, [])},
                one.target, "ok", one.blob,
            )
            for one in findings if not one.passing
        ]  # fmt: skip
        self._store.put(cells, run=self._run)
        self.computed += len(cells)

    def claim(self, key: Mapping[str, Any]) -> bool:
        """Whether this process may compute something; another one is at it otherwise."""
        return self._fresh or self._store.claim(self._key(key))

    def release(self, key: Mapping[str, Any]) -> None:
        """Give a claim up."""
        if not self._fresh:
            self._store.release(self._key(key))

    def _key(self, key: Mapping[str, Any]) -> str:
        return cell_key({"in": self._base, "of": key})
