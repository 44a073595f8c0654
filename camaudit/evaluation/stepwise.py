"""Insertion and deletion of one method after another: what their curves share runs once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    same_pixels,
)

__all__ = ["CURVES", "Curves", "Ends", "ends"]

CURVES = 8  #: images whose own curves are kept


@dataclass(frozen=True, eq=False)
class _Done:
    """One image's order (HW, int32 to take less room) by a method, with both of its curves."""

    order: Tensor
    shown: Tensor
    hidden: Tensor


@dataclass(frozen=True, eq=False)
class Ends:
    """Where the curves of some images begin and end: the canvases, and `p_c` at the ends.

    canvas: N×C×H×W. whole, blurred, empty: N each, of the image, its canvas and nothing.
    `memo` holds, for each image, the methods' orders and curves so far.
    """

    canvas: Tensor
    whole: Tensor
    blurred: Tensor
    empty: Tensor
    memo: tuple[list[_Done], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.memo:
            object.__setattr__(self, "memo", tuple([] for _ in self.canvas))

    def rows(self, part: slice) -> Ends:
        """Those of some of the images."""
        ends = self.whole[part], self.blurred[part], self.empty[part]
        return Ends(self.canvas[part], *ends, memo=self.memo[part])

    def known(self, order: Tensor, steps: int, pixels_per_step: int) -> tuple[Tensor, Tensor]:
        """Points of either curve (N×(steps + 1)) that another method's order gave, NaN elsewhere.

        Grad-CAM and XGrad-CAM of a pooled linear head, say, are one map but for rounding.
        """
        found = self.whole.new_full((2, len(order), steps + 1), torch.nan)
        for row, done in enumerate(self.memo):
            for other in done:
                there = other.order.long()[None]
                same = same_pixels(order[row : row + 1], there, pixels_per_step=pixels_per_step)[0]
                found[0, row, same] = other.shown[same]
                found[1, row, same] = other.hidden[same]
        return found[0], found[1]

    def keep(self, order: Tensor, shown: Tensor, hidden: Tensor) -> None:
        """Remember a method's orders and curves, where it has any."""
        for row in (order[:, 0] >= 0).nonzero().flatten().tolist():
            self.memo[row].append(_Done(order[row].int(), shown[row], hidden[row]))


def ends(seen: Capture, passes: Passes) -> Ends:
    """One pass for each canvas, and one for the empty image of all of them."""
    with passes.of("insertion and deletion"):
        canvas = insertion_canvas(seen.images)
        blurred = class_shares(passes(canvas), seen.targets, link=seen.link)
        nothing = passes(torch.zeros_like(seen.images[:1])).expand(len(seen), -1)
    whole = class_shares(seen.logits, seen.targets, link=seen.link)
    empty = class_shares(nothing, seen.targets, link=seen.link)
    return Ends(canvas, whole, blurred, empty)


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
        passes: Passes,
    ) -> None:
        """Put both areas of these images into `cells`, and keep the curves."""
        order, tied = pixel_order(found.maps, seed=self._options.seed)
        self._tied.setdefault(label, []).extend(tied[found.defined].tolist())
        step, size = self._options.pixels_per_step, passes.batch_size
        revealed, removed = ends.known(order, -(-order.shape[1] // step), step)
        with passes.of("insertion and deletion"):
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
        ends.keep(order, shown, hidden)
        for metric, curves in (("insertion-auc", shown), ("deletion-auc", hidden)):
            cells.put(metric, label, start, curve_auc(curves), found.reasons)
            self._keep((metric, label), curves.cpu(), start)

    def _keep(self, key: tuple[str, str], curves: Tensor, start: int) -> None:
        """Add the curves that are defined, one after another, whatever their batches are."""
        for place, values in enumerate(curves, start):
            if not bool(torch.isfinite(values).all()):
                continue
            self._sums[key] = self._sums.get(key, torch.zeros_like(values)) + values
            self._counts[key] += 1
            if place < CURVES:
                self._first.setdefault(key, {})[place] = _rounded(values)

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
