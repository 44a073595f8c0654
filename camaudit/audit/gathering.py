"""A journal of a run that is computed part by part: it says what each needs to know."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.audit.identity import image_keys
from camaudit.audit.journal import StoreJournal
from camaudit.data.stack_mix import StackImage
from camaudit.journal import Finding, Kept, Memory, key_text
from camaudit.methods import method_call
from camaudit.store import Scratch

__all__ = ["Gathered", "Noted"]


class Gathered:
    """A :class:`camaudit.journal.Journal` over that of a store, or over none.

    What the store may not keep is held as long as the run goes on: errors, and findings of an
    explainer of which nobody knows what its maps depend on. `left` is
    :attr:`camaudit.audit.foreign.Foreign.left`; what explainers left when something was found is
    told again with it.
    """

    def __init__(
        self, inner: StoreJournal | None, images: Sequence[StackImage], left: dict[str, list[str]]
    ) -> None:
        self.images = image_keys(images) if inner is None else inner.images
        self.names = tuple(image.id for image in images)
        self._inner = inner
        self._mark = f"in this run alone {uuid.uuid4().hex}"
        self._held = Scratch()
        self._left, self._before = left, dict(left)
        self._computed = 0 if inner is None else inner.computed
        self._found = 0 if inner is None else inner.found

    def explainer(self, label: str) -> str | None:
        """What stands for a method in a key; None for precomputed maps, of which nothing is held.

        They are taken once, when all else is there.
        """
        known = None if self._inner is None else self._inner.explainer(label)
        if known is None and not method_call(label).info.fixed:
            return f"{label} {self._mark}"
        return known

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What is known by each key."""
        digests = [_digest(key) for key in keys]
        held = self._held.get(digests)
        asked = [key for key, one in zip(keys, digests, strict=True) if one not in held]
        kept = iter([None] * len(asked) if self._inner is None else self._inner.find(asked))
        return [self._again(*held[one]) if one in held else next(kept) for one in digests]

    def _again(self, value: Any, blob: bytes | None) -> Kept:
        if value["left"]:
            self._left.setdefault(value["method"], value["left"])
        return Kept(value["found"], blob)

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        """Keep a finding."""
        self.keep_all([Finding(key, value, blob, method, image)])

    def keep_all(
        self, findings: Sequence[Finding], left: Mapping[str, list[str]] | None = None
    ) -> None:
        """Keep several, in the store all at once.

        left: what explainers left on the model meanwhile, by default what is noted of the run.
        """
        left, kept = self._left if left is None else left, []
        held = []
        for one in findings:
            if self._inner is None or one.passing or self._mark in key_text(one.key):
                told = {"found": one.value, "method": one.method, "left": left.get(one.method)}
                held.append((_digest(one.key), told, one.blob))
            else:
                kept.append(one)
        self._held.put(held)
        if self._inner is not None and kept:
            self._inner.keep_all(kept, left)

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

    def gathered(self) -> None:
        """Everything is, and will be found once more, in its order.

        What was computed is not found, and what was left on the model is told by what is found.
        """
        self._left.clear()
        self._left.update(self._before)
        if self._inner is not None:
            self._inner.found = self._found - (self._inner.computed - self._computed)


def _digest(key: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(key_text(key).encode()).digest()


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
