"""Who is told how far a run is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Told how far a run is; `work` is in arbitrary units, about one image forward each."""

    def start(self, work: int) -> None:
        """A part of the run begins; `work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What happens now, in a few words."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


class Silent:
    """A :class:`Progress` that says nothing."""

    def start(self, work: int) -> None:
        """Nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def advance(self, work: int) -> None:
        """Nothing."""
