"""Post-processing with a name: what an explainer may do to a map and still be the same method.

A :class:`Processing` is a short list of steps. Min-max before a resize *and* after it is the same
as after it alone, since a resize is linear and keeps constants; the shorter one stands for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.invariance.compare import raw
from camaudit.maps import minmax

__all__ = ["EPSILON", "NONE", "PROCESSINGS", "Pair", "Processing"]

#: The largest number that explainers add to a maximum before they divide by it.
EPSILON = 1e-7

#: A map on which that number alone moves a scaled value by more says nothing of the scaling.
BLURRED = 1e-3

SIGNED, TIMES, SUM, MEAN = "not rectified", "× constant", "× cells", "÷ cells"
PEAK, MINMAX, NEAREST = "÷ max", "min-max", "nearest"
RESIZES: dict[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    NEAREST: lambda maps, size: _resized(maps, size, mode="nearest"),
    "bilinear": lambda maps, size: _resized(maps, size, mode="bilinear", align_corners=False),
    "bilinear, aligned corners": lambda maps, size: _resized(
        maps, size, mode="bilinear", align_corners=True
    ),
    "bicubic": lambda maps, size: _resized(maps, size, mode="bicubic", align_corners=False),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """Maps of the same images: the reference's (N×h×w, ≥ 0) and the explainer's (N×h'×w').

    Both float64; `size` is that of the images (H, W). `bound` is the largest relative difference
    that counts as rounding.
    """

    ours: Tensor
    theirs: Tensor
    size: tuple[int, int]
    bound: float

    def __len__(self) -> int:
        return len(self.ours)

    def row(self, place: int) -> Pair:
        """One image alone."""
        part = slice(place, place + 1)
        return Pair(self.ours[part], self.theirs[part], self.size, self.bound)


@dataclass(frozen=True)
class Processing:
    """Steps from the method's map to the explainer's, in order; none for the map itself.

    "not rectified": the explainer's map is signed, and its ReLU is ours. "min-max" and "÷ max" of
    each map, at its own resolution before a resize, at the image's after it; of maps that all
    touch 0 both are the same, and are called min-max. "nearest",
    "bilinear" (half-pixel centres), "bilinear, aligned corners" and "bicubic": a resize to the
    image. "× constant": one factor > 0 for all maps of all networks; "× cells": a sum over the h·w
    cells for a mean.
    """

    steps: tuple[str, ...] = ()

    @property
    def fitted(self) -> bool:
        """Whether a number is fitted to each map, so that it comes near to maps of any method."""
        return SIGNED in self.steps and MINMAX in self.steps

    @property
    def name(self) -> str:
        """The steps, as in "min-max → bilinear"; "none" without any."""
        return " → ".join(self.steps) or "none"

    def factor(self, pairs: Sequence[Pair]) -> float:
        """The constant of "× constant" that fits the first map best; NaN if it is not above 0."""
        if TIMES not in self.steps or not pairs:
            return 1.0
        first = pairs[0].row(0)
        if self.shape(first) != tuple(first.theirs.shape[-2:]):
            return math.nan
        ours, theirs = self.sides(first, 1.0)
        place = ours.abs().argmax()
        factor = (theirs.flatten()[place] / ours.flatten()[place]).item()
        return factor if factor > 0 else math.nan

    def sides(self, pair: Pair, factor: float) -> tuple[Tensor, Tensor]:
        """What must be equal: our maps with the steps done to them, and the explainer's.

        An explainer's signed maps are rectified first; where it has min-maxed them, the level that
        was 0 is found again. A map that tells nothing is NaN.
        """
        ours, theirs = pair.ours, pair.theirs
        for step in self.steps:
            ours = _done(step, ours, pair, factor)
        if SIGNED in self.steps and ours.shape == theirs.shape:
            theirs = _rectified(self.steps, ours, theirs, pair.ours)
        return ours, theirs

    def differences(self, pair: Pair, factor: float) -> list[float | None]:
        """`max |a − b| / max(max |a|, max |b|)` of each image; None where it says nothing.

        Infinite where the shapes differ. Nothing is said by a map that is constant before min-max,
        or so small that the explainer's own epsilon may count.
        """
        if self.shape(pair) != tuple(pair.theirs.shape[-2:]):
            return [math.inf] * len(pair)
        ours, theirs = self.sides(pair, factor)
        found = []
        for row, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            blurred = self.allowed(pair, row) - pair.bound > BLURRED
            undefined = bool(one.isnan().any() or other.isnan().any())
            says = not (blurred or undefined)
            found.append(raw(one[None], other[None]).value if says else None)
        return found

    def shape(self, pair: Pair) -> tuple[int, ...]:
        """Height and width of our maps after the steps."""
        resized = any(step in RESIZES for step in self.steps)
        return pair.size if resized else tuple(pair.ours.shape[-2:])

    def allowed(self, pair: Pair, row: int) -> float:
        """The largest difference that counts as none: rounding, and ε = :data:`EPSILON`.

        Dividing by `s + ε` for `s` moves every value by the share ε/s, twice for two scalings.
        """
        scalings = sum(step in (PEAK, MINMAX) for step in self.steps)
        if not scalings:
            return pair.bound
        ours = pair.ours[row]
        span = (ours.max() - (ours.min() if MINMAX in self.steps else 0)).item()
        return pair.bound + (2 * scalings * EPSILON / span if span > 0 else math.inf)

    def agrees(self, pair: Pair, factor: float) -> bool | None:
        """Whether all images agree that say something; None if none does."""
        found = [
            value <= self.allowed(pair, row)
            for row, value in enumerate(self.differences(pair, factor))
            if value is not None
        ]
        return all(found) if found else None


NONE = Processing()


def _done(step: str, maps: Tensor, pair: Pair, factor: float) -> Tensor:
    """Our maps after one step."""
    cells = pair.ours[0].numel()
    if step in RESIZES:
        return RESIZES[step](maps, pair.size)
    if step == MINMAX:
        return minmax(maps)
    if step == PEAK:
        return maps / maps.amax(dim=(1, 2), keepdim=True)
    return maps * {TIMES: factor, SUM: float(cells), MEAN: 1 / cells}.get(step, 1.0)


def _rectified(steps: Sequence[str], ours: Tensor, theirs: Tensor, unscaled: Tensor) -> Tensor:
    """Signed maps of an explainer as ours, after the same steps, would be."""
    if MINMAX in steps:
        cut = (unscaled.amin(dim=(1, 2)) <= 0).tolist()  # else the signed map is ours itself
        rows = zip(ours, theirs, cut, strict=True)
        return torch.stack([_unshifted(one, other) if low else other for one, other, low in rows])
    if PEAK in steps:
        scaled = (theirs.abs().amax(dim=(1, 2), keepdim=True) - 1).abs() <= BLURRED
        high = theirs.amax(dim=(1, 2), keepdim=True)
        return torch.where(scaled & (high > 0), theirs.relu() / high, theirs)
    return theirs.relu()


def _unshifted(ours: Tensor, theirs: Tensor) -> Tensor:
    """A signed map after min-max as the min-max of its ReLU.

    With the level t of 0 in `theirs`, `ReLU(theirs − t)/(1 − t)` is ours. Any cell in which ours
    is between 0 and 1 tells t, that of the smallest value best; the others test it. NaN where
    there is no other, or where t is so near 1 that rounding counts ten times.
    """
    known = (ours > 0) & (ours < 1)
    undefined = torch.full_like(theirs, torch.nan)
    if int(known.sum()) < 2:
        return undefined
    place = torch.where(known, ours, torch.inf).argmin()
    one, other = ours.flatten()[place], theirs.flatten()[place]
    level = (other - one) / (1 - one)
    return (theirs - level).relu() / (1 - level) if level < 0.9 else undefined


def _resized(maps: Tensor, size: tuple[int, int], **options: str | bool) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    made: Tensor = F.interpolate(maps[:, None], size=size, **options)[:, 0]  # type: ignore[arg-type]
    return made


def _all() -> Iterator[tuple[str, ...]]:
    """Every list of steps that is not the same as a shorter one."""
    alone: tuple[tuple[str, ...], ...] = ((), (MINMAX,), (PEAK,), (TIMES,), (SUM,), (MEAN,))
    yield from alone
    for way in RESIZES:
        yield from ((*before, way) for before in alone)
        if way != NEAREST:  # which keeps the largest and the smallest value
            yield from ((way, MINMAX), (way, PEAK), (MINMAX, way, PEAK))
    yield from ((SIGNED, *after) for after in alone)
    yield from ((SIGNED, *before, NEAREST) for before in alone)


#: All of them, the simplest first: the fewest steps, then in the order above.
PROCESSINGS = tuple(Processing(steps) for steps in sorted(_all(), key=len))
