"""What parts of a run found before, for checks that can go on from there; torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Finding", "Journal", "Kept", "Memory", "key_text"]


@dataclass(frozen=True, eq=False)
class Kept:
    """What was found once: plain JSON, and what has no JSON form."""

    value: Any
    blob: bytes | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """Something to keep: what was found, by its key, and what it is of.

    `method`, `image` and `target` are for somebody who looks at the store. What is `passing` is
    found again in the same run alone, if at all: errors, for there may be more memory next time.
    """

    key: Mapping[str, Any]
    value: Any
    blob: bytes | None = None
    method: str = ""
    image: str = ""
    target: int | None = None
    passing: bool = False


class Journal(Protocol):
    """What one check found, by everything that a finding depends on.

    Model, layer, wall, engine, versions and camaudit's own code are part of every key; what else a
    finding depends on the caller names.
    """

    @property
    def images(self) -> Sequence[str]:
        """What stands for each image in a key, in the order of the run: a hash of its pixels.

        No two are the same.
        """

    @property
    def names(self) -> Sequence[str]:
        """What each image is called, in the order of the run."""

    def explainer(self, label: str) -> str | None:
        """What stands for a method in a key; None where nobody knows what its maps depend on.

        Of such a method nothing is to be kept.
        """

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What is known by each key (plain JSON), None where nothing is."""

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        """Keep a finding, on disk before the call returns.

        `method` and `image` say what it is of to somebody who looks at the store.
        """

    def keep_all(self, findings: Sequence[Finding]) -> None:
        """Keep several, as :meth:`keep` does: all of them or, where that fails, none."""


class Memory:
    """A :class:`Journal` of a part of a run: what it is told is `told`, and found again.

    images, names: those of the whole run by their places, of the part at least; `count` is how
    many there are. explainers: what stands for each method. known: what is known by key.
    """

    def __init__(
        self,
        count: int,
        images: Mapping[int, str],
        names: Mapping[int, str],
        explainers: Mapping[str, str | None],
        known: Iterable[tuple[Mapping[str, Any], Kept]] = (),
    ) -> None:
        self.images = _Some(count, images)
        self.names = _Some(count, names)
        self.told: list[Finding] = []
        self._explainers = explainers
        self._known = {key_text(key): kept for key, kept in known}

    def explainer(self, label: str) -> str | None:
        """What stands for a method in a key."""
        return self._explainers[label]

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What is known by each key."""
        return [self._known.get(key_text(key)) for key in keys]

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, *,
        method: str = "", image: str = "",
    ) -> None:  # fmt: skip
        """Hold a finding."""
        self.keep_all([Finding(key, value, blob, method, image)])

    def keep_all(self, findings: Sequence[Finding]) -> None:
        """Hold several."""
        self.told += findings
        self._known.update((key_text(one.key), Kept(one.value, one.blob)) for one in findings)


class _Some(Sequence[str]):
    """A sequence of which only some places are known; asking for another raises KeyError."""

    def __init__(self, count: int, known: Mapping[int, str]) -> None:
        self._count, self._values = count, known

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._values[one] for one in range(*place.indices(self._count))]
        return self._values[range(self._count)[place]]


def key_text(key: Mapping[str, Any]) -> str:
    """A key as canonical JSON."""
    return json.dumps(key, sort_keys=True, allow_nan=False)
