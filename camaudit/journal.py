"""What parts of a run found before, for checks that can go on from there; torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Finding", "Journal", "Kept"]


@dataclass(frozen=True, eq=False)
class Kept:
    """What was found once: plain JSON, and what has no JSON form."""

    value: Any
    blob: bytes | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """Something to keep: what was found, by its key, and what it is of.

    `method`, `image` and `target` are for somebody who looks at the store.
    """

    key: Mapping[str, Any]
    value: Any
    blob: bytes | None = None
    method: str = ""
    image: str = ""
    target: int | None = None


class Journal(Protocol):
    """What one check found, by everything that a finding depends on.

    Model, layer, wall, engine, versions and camaudit's own code are part of every key; what else a
    finding depends on the caller names.
    """

    @property
    def images(self) -> Sequence[str]:
        """What stands for each image in a key, in the order of the run: a hash of its pixels."""

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

        `method` and `image` say what it is of to somebody who looks at the store. Errors are not to
        be kept: there may be more memory the next time.
        """

    def keep_all(self, findings: Sequence[Finding]) -> None:
        """Keep several, as :meth:`keep` does: all of them or, where that fails, none."""
