"""A journal in memory of runs over tensors, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from torch import Tensor

from camaudit.journal import Finding
from tests.journals import MemoryJournal, StoppedError

__all__ = ["Memory"]


class Memory(MemoryJournal):
    """A :class:`tests.journals.MemoryJournal`; `left` is how often something can be kept."""

    def __init__(self, given: Tensor, *, left: int = -1, unknown: Sequence[str] = ()) -> None:
        super().__init__([], unknown=unknown)
        self.left = left
        self.computed: list[Finding] = []
        self.given(given)

    def given(self, images: Tensor) -> None:
        """Another run of other images."""
        self.images = [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in images]
        self.computed = []

    def keep_all(self, findings: Sequence[Finding]) -> None:
        """All of them, or none."""
        if self.left == 0:
            raise StoppedError
        self.left -= 1
        super().keep_all(findings)
        self.computed += [one for one in findings if not one.passing]

    @property
    def parts(self) -> set[tuple[str, str, str]]:
        """What was computed since :meth:`given`: method, image and group."""
        return {(one.method, one.image, one.key["part"]) for one in self.computed}
