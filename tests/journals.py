"""A journal in memory, as plain as can be: what is kept goes through JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.journal import Kept

__all__ = ["MemoryJournal", "StoppedError"]


class StoppedError(Exception):
    """The end of a run that is broken off."""


class MemoryJournal:
    """What was kept, by the JSON of its keys, and `made`: the (part, method) of what was kept.

    Of the explainers in `unknown` nobody knows what their maps depend on. `after` so many findings
    the run is broken off.
    """

    def __init__(
        self, images: Sequence[str], *, unknown: Sequence[str] = (), after: int | None = None
    ) -> None:
        self.images = list(images)
        self.unknown, self.after = unknown, after
        self.kept: dict[str, tuple[str, bytes | None]] = {}
        self.made: list[tuple[str, str]] = []

    def explainer(self, label: str) -> str | None:
        return None if label in self.unknown else f"{label}, as it is"

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        found = [self.kept.get(_text(key)) for key in keys]
        return [None if one is None else Kept(json.loads(one[0]), one[1]) for one in found]

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        del image
        if self.after is not None and len(self.made) >= self.after:
            raise StoppedError
        assert isinstance(value, dict)  # a store's export asks it for figures
        assert "figures" not in value
        self.kept[_text(key)] = _text(value), blob
        self.made.append((key["part"], method))

    def again(self, **changes: Any) -> MemoryJournal:
        """Another one that knows the same."""
        given = {"images": self.images, "unknown": self.unknown, **changes}
        other = MemoryJournal(**given)
        other.kept = dict(self.kept)
        return other


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
