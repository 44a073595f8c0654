"""A journal of a run that is computed part by part: it says what each needs to know."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.audit.identity import image_keys
from camaudit.audit.journal import StoreJournal
from camaudit.data.stack_mix import StackImage
from camaudit.journal import Finding, Kept, Memory, key_text

__all__ = ["Gathered", "Noted"]


class Gathered:
    """A :class:`camaudit.journal.Journal` over that of a store, or over none.

    What the store may not keep is held in memory as long as the run goes on: errors, and findings
    of an explainer of which nobody knows what its maps depend on.
    """

    def __init__(self, inner: StoreJournal | None, images: Sequence[StackImage]) -> None:
        self.images = image_keys(images) if inner is None else inner.images
        self.names = tuple(image.id for image in images)
        self._inner = inner
        self._mark = f"in this run alone {uuid.uuid4().hex}"
        self._held: dict[str, Kept] = {}
        self._computed = 0 if inner is None else inner.computed
        self._found = 0 if inner is None else inner.found

    def explainer(self, label: str) -> str:
        """What stands for a method in a key; there is always something."""
        known = None if self._inner is None else self._inner.explainer(label)
        return f"{label} {self._mark}" if known is None else known

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What is known by each key."""
        found = [self._held.get(key_text(key)) if self._held else None for key in keys]
        asked = [place for place, one in enumerate(found) if one is None]
        if self._inner is not None and asked:
            kept = self._inner.find([keys[place] for place in asked])
            for place, one in zip(asked, kept, strict=True):
                found[place] = one
        return found

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        """Keep a finding."""
        self.keep_all([Finding(key, value, blob, method, image)])

    def keep_all(self, findings: Sequence[Finding]) -> None:
        """Keep several, in the store all at once."""
        kept = []
        for one in findings:
            text = key_text(one.key)
            if self._inner is None or one.passing or self._mark in text:
                self._held[text] = Kept(one.value, one.blob)
            else:
                kept.append(one)
        if self._inner is not None and kept:
            self._inner.keep_all(kept)

    @property
    def shared(self) -> bool:
        """Whether another process may keep findings in the same place."""
        return self._inner is not None

    def claim(self, key: Mapping[str, Any]) -> bool:
        """Whether this process may compute something; another one is at it otherwise."""
        return self._inner is None or self._inner.claim(key)

    def release(self, key: Mapping[str, Any]) -> None:
        """Give a claim up."""
        if self._inner is not None:
            self._inner.release(key)

    def counted(self) -> None:
        """Everything is gathered, and will be found once more: what was computed is not found."""
        if self._inner is not None:
            self._inner.found = self._found - (self._inner.computed - self._computed)


class Noted:
    """A :class:`Gathered` journal that notes what is found, for whoever is to compute the rest.

    places: of the images that it is of, all of the run's by default.
    """

    def __init__(self, journal: Gathered, places: range | None = None) -> None:
        part = slice(None) if places is None else slice(places.start, places.stop)
        self.images, self.names = journal.images[part], journal.names[part]
        self.explainer, self.keep, self.keep_all = (
            journal.explainer, journal.keep, journal.keep_all
        )  # fmt: skip
        self._journal = journal
        self._found: dict[str, tuple[Mapping[str, Any], Kept]] = {}

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What is known by each key."""
        found = self._journal.find(keys)
        self._found.update(
            (key_text(key), (key, kept))
            for key, kept in zip(keys, found, strict=True) if kept is not None
        )  # fmt: skip
        return found

    def memory(self, methods: Sequence[str], places: Sequence[int]) -> Memory:
        """What was noted, as a journal that can be sent elsewhere; of the images at `places`."""
        return Memory(
            len(self.images),
            {place: self.images[place] for place in places},
            {place: self.names[place] for place in places},
            {label: self._journal.explainer(label) for label in methods},
            self._found.values(),
        )
