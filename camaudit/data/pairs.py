"""Pairs: which two photographs, or which two crops of one, make a stacked image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["CropBox", "crossed_pairs", "ordered_pairs", "two_crops"]

CropBox = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels; right and bottom are exclusive."""

_Item = TypeVar("_Item")
_Other = TypeVar("_Other")

_SMALLEST, _LARGEST = 0.5, 0.8  # a crop's side, as a share of the photograph's short side
_TRIES = 64


def ordered_pairs(items: Sequence[_Item]) -> Iterator[tuple[_Item, _Item]]:
    """All n(n − 1) ordered pairs of different items, each exactly once, lazily.

    Pair i of round r is ``(items[i], items[(i + r) mod n])``, r = 1 … n − 1. In every round each
    item is first once and second once; even i come before odd ones, so that the first n/2 pairs
    share no item.

    >>> list(ordered_pairs("abc"))
    [('a', 'b'), ('c', 'a'), ('b', 'c'), ('a', 'c'), ('c', 'b'), ('b', 'a')]
    """
    count = len(items)
    for shift in range(1, count):
        for index in (*range(0, count, 2), *range(1, count, 2)):
            yield items[index], items[(index + shift) % count]


def crossed_pairs(
    first: Sequence[_Item], second: Sequence[_Other], *, start: int = 0
) -> Iterator[tuple[_Item, _Other]]:
    """All n·m pairs of an item of `first` and one of `second`, each exactly once, lazily.

    Pair c of round q is ``(first[(c + start) mod n], second[(q + c) mod m])``, c = 0 … n − 1 and
    q = 0 … m − 1.

    >>> list(crossed_pairs("ab", "xy"))
    [('a', 'x'), ('b', 'y'), ('a', 'y'), ('b', 'x')]
    """
    for turn in range(len(second)):
        for index in range(len(first)):
            yield first[(index + start) % len(first)], second[(turn + index) % len(second)]


def two_crops(height: int, width: int, rng: np.random.Generator) -> tuple[CropBox, CropBox]:
    """Two square crops of one image that show different parts of it.

    Sides are drawn from 50–80 % of the short side, positions uniformly, until the centres lie at
    least a quarter of the larger side apart (Euclidean). Should `_TRIES` draws not do, the two
    crops of half the short side in opposite corners are taken, which always are.
    """
    for _ in range(_TRIES):
        first, second = _square(height, width, rng), _square(height, width, rng)
        larger = max(first[2] - first[0], second[2] - second[0])
        if _distance(first, second) >= larger / 4:
            return first, second
    side = max(1, min(height, width) // 2)
    return (0, 0, side, side), (width - side, height - side, width, height)


def _square(height: int, width: int, rng: np.random.Generator) -> CropBox:
    """One square crop of random side and position."""
    short = min(height, width)
    smallest, largest = math.ceil(_SMALLEST * short), max(1, math.floor(_LARGEST * short))
    side = int(rng.integers(min(smallest, largest), largest + 1))
    left = int(rng.integers(0, width - side + 1))
    top = int(rng.integers(0, height - side + 1))
    return left, top, left + side, top + side


def _distance(first: CropBox, second: CropBox) -> float:
    """Euclidean distance between two boxes' centres, in pixels."""
    across = (first[0] + first[2] - second[0] - second[2]) / 2
    down = (first[1] + first[3] - second[1] - second[3]) / 2
    return math.hypot(across, down)
