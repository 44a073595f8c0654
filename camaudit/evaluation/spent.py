"""Passes of the model image by image, and the masked images that several methods have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from camaudit.evaluation.passes import MAPS, Passes
from camaudit.methods.masking import take_asked

__all__ = ["Asked", "Masks", "Meter", "Spent", "again"]

Asked = Mapping[str, frozenset[int]]  #: masks by their form


@dataclass(frozen=True)
class Spent:
    """What one image took of a piece of work.

    passes: by purpose, without those for masks that methods have in common. asked: these masks, for
    each capture of the image.
    """

    passes: Mapping[str, int] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()


class Masks:
    """The masks of one capture of an image: those that were run, and those that would have been.

    They differ where what a method found is known from before: its masks were not run again.
    """

    def __init__(self) -> None:
        self._ran: dict[str, set[int]] = {}
        self._due: dict[str, set[int]] = {}

    def run(self, asked: Asked) -> tuple[int, int]:
        """A method asked for masks: how many are new, of those that were run and of those due."""
        return _added(self._ran, asked), _added(self._due, asked)

    def due(self, asked: Asked) -> int:
        """A method would have asked for masks: how many of them are new."""
        return _added(self._due, asked)


class Meter:
    """Counts what a piece of work takes, from when it is made until :meth:`spent`.

    memos: for each image those of its captures; masks: for each image, of the same captures.
    """

    def __init__(
        self,
        passes: Passes,
        memos: Sequence[Sequence[dict[Any, Any]]],
        masks: Sequence[Sequence[Masks]],
    ) -> None:
        self._passes = passes
        self._memos = memos
        self._masks = masks
        for memo in (one for of_image in memos for one in of_image):
            take_asked(memo)
        self._before = passes.counts.copy()
        self._faults = passes.faults.total()

    @property
    def sound(self) -> bool:
        """Whether all images that were run have logits."""
        return self._passes.faults.total() == self._faults

    def spent(self, *, share: Sequence[bool] | None = None) -> list[Spent]:
        """What each image took; passes are shared out to the images that `share` marks, or all.

        Masks that were run here, but would not be had a method before not been known, are taken
        back from the count.
        """
        own, asked = self._passes.counts - self._before, self._asked()
        for of_image, masks in zip(asked, self._masks, strict=True):
            for wanted, one in zip(of_image, masks, strict=True):
                ran, due = one.run(wanted)
                own[MAPS] -= ran
                if due < ran:
                    self._passes.add(MAPS, due - ran)
        marked = share if share is not None and any(share) else [True] * len(asked)
        parts = [_shared_out(number, marked) for number in own.values()]
        return [
            Spent({name: part[row] for name, part in zip(own, parts, strict=True) if part[row]},
                  tuple(of_image) if any(of_image) else ())
            for row, of_image in enumerate(asked)
        ]  # fmt: skip

    def _asked(self) -> list[list[Asked]]:
        return [
            [{form: frozenset(which) for form, which in take_asked(memo).items()} for memo in memos]
            for memos in self._memos
        ]


def again(passes: Passes, spent: Spent, masks: Sequence[Masks]) -> None:
    """Count what an image took before, as if it were run now."""
    for purpose, number in spent.passes.items():
        passes.add(purpose, number)
    for asked, one in zip(spent.asked, masks, strict=False):
        number = one.due(asked)
        if number:
            passes.add(MAPS, number)


def _added(known: dict[str, set[int]], asked: Asked) -> int:
    number = 0
    for form, which in asked.items():
        there = known.setdefault(form, set())
        number += len(which - there)
        there |= which
    return number


def _shared_out(number: int, marked: Sequence[bool]) -> list[int]:
    """`number` in parts that are as equal as they can be; 0 for what is not marked."""
    each, rest = divmod(number, sum(marked))
    places = [row for row, chosen in enumerate(marked) if chosen]
    parts = [each if chosen else 0 for chosen in marked]
    for row in places[:rest]:
        parts[row] += 1
    return parts
