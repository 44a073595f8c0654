"""Passes of the model, counted by what they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from camaudit.capture import Forwards

__all__ = ["Passes", "logit_of", "probability_of"]


class Passes:
    """A :class:`camaudit.capture.Forwards` that counts images; `counts` is by purpose."""

    def __init__(self, forwards: Forwards) -> None:
        self._forwards = forwards
        self._purpose = "maps"
        self.counts: Counter[str] = Counter()

    @property
    def batch_size(self) -> int:
        """Images in one call."""
        return self._forwards.batch_size

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (M×C) of images (M×C×H×W)."""
        self.counts[self._purpose] += len(images)
        return self._forwards(images)

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


def probability_of(logits: Tensor, targets: Tensor) -> Tensor:
    """`p_c` (M, float64), the softmax probability of logits (M×C), for classes (M)."""
    return torch.softmax(logits.double(), dim=1).gather(1, targets[:, None]).squeeze(1)
