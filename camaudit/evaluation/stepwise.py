"""Insertion and deletion of one method after another: what their curves share runs once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Maps
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import MeanCurve
from camaudit.evaluation.passes import Passes
from camaudit.metrics.checking import class_shares
from camaudit.metrics.insertion_deletion import (
    curve_auc,
    deletion_curve,
    insertion_canvas,
    insertion_curve,
    pixel_order,
    pixel_sets,
)

__all__ = ["CURVES", "PURPOSE", "Curves", "Ends", "Points", "ends"]

CURVES = 8  #: images whose own curves are kept
PURPOSE = "insertion and deletion"  #: of its passes

_AREAS = ("insertion-auc", "deletion-auc")


@dataclass(frozen=True, eq=False)
class Points:
    """Both curves of a method on one image (steps + 1 each, float64, on the CPU).

    sets: digests of the pixels that are replaced at each point (int64), which tell what it has in
    common with other methods' curves. tied: the share of pixels whose order a draw decided. A map
    that says nothing has no order: its curves are NaN, and `tied` is None.
    """

    sets: Tensor
    shown: Tensor
    hidden: Tensor
    tied: float | None
    ordered: bool = True


@dataclass(frozen=True, eq=False)
class Ends:
    """Where the curves of some images begin and end: the canvases, and `p_c` at the ends.

    canvas: N×C×H×W. whole, blurred, empty: N each, of the image, its canvas and nothing.
    """

    canvas: Tensor
    whole: Tensor
    blurred: Tensor
    empty: Tensor

    def rows(self, part: slice) -> Ends:
        """Those of some of the images."""
        return Ends(self.canvas[part], self.whole[part], self.blurred[part], self.empty[part])


def ends(seen: Capture, passes: Passes) -> Ends:
    """One pass for each canvas, and one for the empty image of all of them."""
    with passes.of(PURPOSE):
        canvas = insertion_canvas(seen.images)
        blurred = class_shares(passes(canvas), seen.targets, link=seen.link)
        nothing = passes(torch.zeros_like(seen.images[:1])).expand(len(seen), -1)
    whole = class_shares(seen.logits, seen.targets, link=seen.link)
    empty = class_shares(nothing, seen.targets, link=seen.link)
    return Ends(canvas, whole, blurred, empty)


def _common(sets: Tensor, others: Sequence[Sequence[Points]]) -> tuple[Tensor, Tensor]:
    """Points of either curve (N×(steps + 1)) that another method's order gave, NaN elsewhere.

    Grad-CAM and XGrad-CAM of a pooled linear head, say, are one map but for rounding.
    """
    found = torch.full((2, *sets.shape), torch.nan, dtype=torch.float64)
    for row, done in enumerate(others):
        for other in done:
            same = sets[row] == other.sets
            found[0, row, same] = other.shown[same]
            found[1, row, same] = other.hidden[same]
    return found[0], found[1]


class Curves:
    """The curves of all methods: their sums over images, and those of the first images."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._sums: dict[tuple[str, str], Tensor] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], dict[int, tuple[float, ...]]] = {}
        self._tied: dict[str, list[float]] = {}

    def measure(
        self,
        cells: Cells,
        label: str,
        seen: Capture,
        found: Maps,
        start: int,
        ends: Ends,
        others: Sequence[list[Points]],
        passes: Passes,
    ) -> list[Points]:
        """Put both areas of these images into `cells`, and keep the curves, which are returned.

        `others` holds, for each image, those of the methods before; this one's are added.
        """
        order, tied = pixel_order(found.maps, seed=self._options.seed)
        step, size = self._options.pixels_per_step, passes.batch_size
        sets = pixel_sets(order, pixels_per_step=step)
        revealed, removed = _common(sets, others)
        with passes.of(PURPOSE):
            shown = insertion_curve(
                passes, seen.images, order, seen.targets, canvas=ends.canvas,
                pixels_per_step=step, batch_size=size, first=ends.blurred, last=ends.whole,
                known=revealed, link=seen.link,
            )  # fmt: skip
            hidden = deletion_curve(
                passes, seen.images, order, seen.targets,
                pixels_per_step=step, batch_size=size, first=ends.whole, last=ends.empty,
                known=removed, link=seen.link,
            )  # fmt: skip
        for metric, curves in zip(_AREAS, (shown, hidden), strict=True):
            cells.put(metric, label, start, curve_auc(curves), found.reasons)
        shares = [share if said else None for share, said
                  in zip(tied.tolist(), found.defined.tolist(), strict=True)]  # fmt: skip
        points = [
            Points(*of_image)
            for of_image in zip(
                sets, shown.cpu(), hidden.cpu(), shares, (order[:, 0] >= 0).tolist(), strict=True
            )
        ]
        self._add(label, start, points, others)
        return points

    def again(
        self, cells: Cells, label: str, place: int, known: Points, others: list[Points],
        passes: Passes,
    ) -> None:  # fmt: skip
        """Take up what :meth:`measure` gave before for an image whose areas are in `cells`.

        Passes are counted, and points taken over from `others`, as if it were computed now.
        """
        curves = [known.shown, known.hidden]
        if known.ordered:
            for number, found in enumerate(_common(known.sets[None], [others])):
                unknown = found[0].isnan()
                passes.add(PURPOSE, int(unknown[1:-1].sum()))  # the ends are the same for all
                taken = torch.where(unknown, curves[number], found[0])
                if not torch.equal(taken, curves[number]):
                    cells.put(_AREAS[number], label, place, curve_auc(taken[None]), [None])
                    curves[number] = taken
        points = replace(known, shown=curves[0], hidden=curves[1])
        self._add(label, place, [points], [others])

    def _add(
        self, label: str, start: int, points: Sequence[Points], others: Sequence[list[Points]]
    ) -> None:
        """Add the curves that are defined, one after another, whatever their batches are."""
        tied = self._tied.setdefault(label, [])
        tied += [one.tied for one in points if one.tied is not None]
        for number, metric in enumerate(_AREAS):
            key = (metric, label)
            for place, one in enumerate(points, start):
                values = (one.shown, one.hidden)[number]
                if not bool(torch.isfinite(values).all()):
                    continue
                self._sums[key] = self._sums.get(key, torch.zeros_like(values)) + values
                self._counts[key] += 1
                if place < CURVES:
                    self._first.setdefault(key, {})[place] = _rounded(values)
        for before, one in zip(others, points, strict=True):
            if one.ordered:
                before.append(one)

    def means(self) -> tuple[MeanCurve, ...]:
        """One mean curve for each metric and method that has any."""
        return tuple(
            MeanCurve(
                metric=metric,
                method=label,
                n=self._counts[metric, label],
                values=_rounded(total / self._counts[metric, label]),
                images=self._first.get((metric, label), {}),
                tied=_mean(self._tied[label]),
            )
            for (metric, label), total in self._sums.items()
        )


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in values.tolist())


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
