"""What the work of an audit is cut into: plain values that can be kept and sent elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from camaudit.audit.targets import Target
from camaudit.data.stack_mix import StackImage
from camaudit.methods import method_call
from camaudit.types import DeadZoneFigures

__all__ = ["Batch", "Chosen", "Decided", "Entry", "Map", "is_slow", "parts"]

Map = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Chosen:
    """A class that is explained on an image, and the place of its logit on the walled model."""

    target: Target
    rank: int


@dataclass(frozen=True)
class Decided:
    """What the model sees in one image, with the wall and without; None where it cannot tell.

    `chosen` are the classes to explain; there are none where `message` says why.
    """

    top1: int | None
    twin: int | None
    chosen: tuple[Chosen, ...] = ()
    message: str | None = None


@dataclass(frozen=True, eq=False)
class Entry:
    """One method on one image and class: figures, and the map on the method's own grid (h×w).

    `unmasked` and `unmasked_map` are those on the model without its wall, None where there is no
    such model; it is the same array as `map` where the two are equal. `left` says what a foreign
    explainer left on the model.
    """

    figures: DeadZoneFigures
    unmasked: DeadZoneFigures | None = None
    message: str | None = None
    map: Map | None = field(default=None, repr=False)
    left: tuple[str, ...] = ()
    unmasked_map: Map | None = field(default=None, repr=False)

    def bare(self) -> Entry:
        """The same without its maps."""
        return replace(self, map=None, unmasked_map=None)


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that go through the model together: those at `start` … of the audit.

    Their pixels may still lie on disk, see :meth:`held`.
    `named` are their targets where these do not follow from the logits.
    """

    start: int
    images: tuple[StackImage, ...]
    named: tuple[tuple[Target, ...], ...] | None = None

    @property
    def stop(self) -> int:
        """The place after the last image."""
        return self.start + len(self.images)

    def held(self) -> Batch:
        """The same with the pixels of its images in memory, to be computed or sent elsewhere."""
        return replace(self, images=tuple(image.held() for image in self.images))

    def single(self) -> list[Batch]:
        """The same images, each by itself."""
        return [
            Batch(place, (image,), None if self.named is None else (self.named[row],))
            for row, (place, image) in enumerate(enumerate(self.images, self.start))
        ]


def is_slow(method: str) -> bool:
    """Whether a method runs the model many times an image."""
    return method_call(method).info.many_passes


def parts(method: str, rows: Sequence[int]) -> list[slice]:
    """Runs of neighbouring `rows` of a batch; costly methods and fixed maps go one by one."""
    single = is_slow(method) or method_call(method).info.fixed
    runs: list[slice] = []
    for row in rows:
        if runs and not single and runs[-1].stop == row:
            runs[-1] = slice(runs[-1].start, row + 1)
        else:
            runs.append(slice(row, row + 1))
    return runs
