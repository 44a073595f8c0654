"""Passes of the model, counted by what they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from camaudit.capture import Forwards
from camaudit.errors import DegenerateModelError

__all__ = ["MAPS", "Passes", "logit_of"]

MAPS = "maps"  #: the purpose of what methods themselves ask for


class Passes:
    """A :class:`camaudit.capture.Forwards` that counts images; `counts` is by purpose.

    Where a lower precision breaks an image that a metric asks for, the image has NaN logits, of
    `classes` columns, and `faults` counts it by purpose and message. A method that asks for one
    gets the error, which is then the method's outcome.
    """

    def __init__(self, forwards: Forwards) -> None:
        self._forwards = forwards
        self._purpose = MAPS
        self.classes = 0
        self.counts: Counter[str] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()

    @property
    def batch_size(self) -> int:
        """Images in one call."""
        return self._forwards.batch_size

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (M×C) of images (M×C×H×W)."""
        self.counts[self._purpose] += len(images)
        return self._forwards(images) if self._purpose == MAPS else self._kept(images)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of fault."""
        return tuple(
            f"{count} images for {purpose} have no logits, so that figures that need them are "
            f"undefined: {message}"
            for (purpose, message), count in self.faults.items()
        )

    def _kept(self, images: Tensor) -> Tensor:
        """Logits, NaN for an image that cannot be run; its neighbours keep theirs."""
        try:
            return self._forwards(images)
        except DegenerateModelError as error:
            if len(images) > 1:
                return torch.cat([self._kept(image) for image in torch.split(images, 1)])
            self.faults[self._purpose, str(error)] += 1
            return images.new_full((1, self.classes), torch.nan)

    def add(self, purpose: str, images: int) -> None:
        """Images that went through the model by another way."""
        self.counts[purpose] += images

    @contextmanager
    def of(self, purpose: str) -> Iterator[Passes]:
        """Within the context images count for `purpose`."""
        before, self._purpose = self._purpose, purpose
        try:
            yield self
        finally:
            self._purpose = before


def logit_of(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c` (M, float64) of logits (M×C) and classes (M)."""
    return logits.double().gather(1, targets[:, None]).squeeze(1)
