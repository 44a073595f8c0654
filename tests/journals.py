"""A journal in memory, as plain as can be: what is kept goes through JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.journal import Finding, Kept

__all__ = ["MemoryJournal", "StoppedError", "key_text"]


class StoppedError(Exception):
    """The end of a run that is broken off."""


class MemoryJournal:
    """What was kept, by the JSON of its keys, and `made`: the (part, method) of what was kept.

    What is passing is forgotten. Of the explainers in `unknown` nobody knows what their maps depend
    on. `after` so many findings the run is broken off.
    """

    def __init__(
        self, images: Sequence[str], *, unknown: Sequence[str] = (), after: int | None = None
    ) -> None:
        self.images = list(images)
        self.unknown, self.after = unknown, after
        self.kept: dict[str, Finding] = {}
        self.made: list[tuple[str, str]] = []

    @property
    def names(self) -> list[str]:
        return [f"image-{place}" for place in range(len(self.images))]

    def explainer(self, label: str) -> str | None:
        return None if label in self.unknown else f"{label}, as it is"

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        found = [self.kept.get(key_text(key)) for key in keys]
        return [
            None if one is None else Kept(json.loads(json.dumps(one.value)), one.blob)
            for one in found
        ]

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, **of: str
    ) -> None:
        self.keep_all([Finding(key, value, blob, **of)])

    def keep_all(self, findings: Sequence[Finding]) -> None:
        if self.after is not None and len(self.made) >= self.after:
            raise StoppedError
        for one in findings:
            if one.passing:
                continue
            assert isinstance(one.value, dict)  # a store's export asks it for figures
            assert "figures" not in one.value
            json.dumps(one.value, allow_nan=False)
            self.kept[key_text(one.key)] = one
            self.made.append((one.key["part"], one.method))

    def again(self, **changes: Any) -> MemoryJournal:
        """Another one that knows the same."""
        given = {"images": self.images, "unknown": self.unknown, **changes}
        other = MemoryJournal(**given)
        other.kept = dict(self.kept)
        return other


def key_text(key: Mapping[str, Any]) -> str:
    """A key as canonical JSON."""
    return json.dumps(key, sort_keys=True, allow_nan=False)
