"""The marks of a plot's axes, and which of them there is room to label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camaudit.report import figures

__all__ = ["Mark", "every", "named_ends", "roomy", "round_ones", "shortened", "y_mark"]

_LETTER = 2.3  # per cent that a character takes on the narrowest page
_SMALL_LETTER = 2.7  # the same in the smallest of several plots side by side
_MAX_LABELS = 8
_LONGEST = 10  # characters of a name on an axis


@dataclass(frozen=True)
class Mark:
    """A place on an axis with its label; the label is empty where there is no room for it.

    `anchor` (start, middle, end) keeps it inside the plot.
    """

    position: float
    label: str
    anchor: str = "middle"


def y_mark(value: float, position: float, *, shares: bool) -> Mark:
    """The mark of a value on the y axis."""
    return Mark(position, f"{100 * value:.0f} %" if shares else figures.quantity(value))


def named_ends(where: Sequence[float], names: Sequence[str]) -> tuple[Mark, ...]:
    """All marks, labelled at both ends and, evenly, wherever there is room between them.

    Long names keep their ends, which tell layers apart; the places are in ascending order.
    """
    labels = [shortened(name) for name in names]
    taken: dict[int, tuple[str, float, float]] = {}
    for number in _halving(len(labels)):
        anchor, left, right = _extent(where[number], labels[number])
        if all(right < start or end < left for _, start, end in taken.values()):
            taken[number] = anchor, left, right
    return tuple(
        Mark(place, labels[number], taken[number][0]) if number in taken else Mark(place, "")
        for number, place in enumerate(where)
    )


def shortened(name: str, longest: int = _LONGEST) -> str:
    """A name of at most `longest` characters, the beginning left out.

    >>> shortened("backbone.layer4.1.conv2"), shortened("fc")
    ('…4.1.conv2', 'fc')
    """
    return name if len(name) <= longest else "…" + name[1 - longest :]


def _halving(count: int) -> list[int]:
    """The numbers below `count`: both ends, the middle, the quarters and so on."""
    last, parts = count - 1, 1
    order = dict.fromkeys([0, last] if count else [])
    while len(order) < count:
        parts *= 2
        order |= dict.fromkeys(round(last * part / parts) for part in range(1, parts, 2))
    return list(order)


def _extent(place: float, label: str) -> tuple[str, float, float]:
    """The anchor of a label and the stretch that it needs, with a space at both ends."""
    width = _SMALL_LETTER * (len(label) + 1)
    if place - width / 2 < 0:
        return "start", place, place + width
    if place + width / 2 > 100:
        return "end", place - width, place
    return "middle", place - width / 2, place + width / 2


def round_ones(x: Sequence[float | str], labels: Sequence[str]) -> list[str]:
    """The labels of the multiples of a round number, at most eight of them or so."""
    steps = (size * 10**power for power in range(9) for size in (1, 2, 5))
    step = next(step for step in steps if len(x) <= _MAX_LABELS * step)
    return [
        label if float(value) % step == 0 else "" for value, label in zip(x, labels, strict=True)
    ]


def every(where: Sequence[float], labels: Sequence[str]) -> tuple[Mark, ...]:
    """All marks with their labels."""
    return tuple(Mark(place, label) for place, label in zip(where, labels, strict=True))


def roomy(where: Sequence[float], labels: Sequence[str]) -> tuple[Mark, ...]:
    """All marks, with labels where there is room even on the narrowest page, from the last on."""
    kept: list[int] = []
    named = [number for number, label in enumerate(labels) if label]
    for number in sorted(named, key=lambda number: (-where[number], -number)):
        if not kept or not _close(kept[-1], number, where, labels):
            kept.append(number)
    return tuple(
        Mark(place, labels[number] if number in kept else "") for number, place in enumerate(where)
    )


def _close(a: int, b: int, where: Sequence[float], labels: Sequence[str]) -> bool:
    """Whether two labels, each centred on its place, would touch."""
    needed = _LETTER * ((len(labels[a]) + len(labels[b])) / 2 + 1)
    return abs(where[b] - where[a]) < needed
