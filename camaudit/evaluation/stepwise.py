"""Insertion and deletion of one method after another: the ends of the curves are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Maps
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import MeanCurve
from camaudit.evaluation.passes import Passes, probability_of
from camaudit.metrics.insertion_deletion import (
    curve_auc,
    deletion_curve,
    insertion_canvas,
    insertion_curve,
    pixel_order,
)

__all__ = ["CURVES", "Curves", "Ends", "ends"]

CURVES = 8  #: images whose own curves are kept


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
    with passes.of("insertion and deletion"):
        canvas = insertion_canvas(seen.images)
        blurred = probability_of(passes(canvas), seen.targets)
        nothing = passes(torch.zeros_like(seen.images[:1])).expand(len(seen), -1)
    whole = probability_of(seen.logits, seen.targets)
    return Ends(canvas, whole, blurred, probability_of(nothing, seen.targets))


class Curves:
    """The curves of all methods: their sums over images, and those of the first images."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._found: dict[tuple[str, str], list[tuple[int, Tensor]]] = {}
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
        with passes.of("insertion and deletion"):
            shown = insertion_curve(
                passes, seen.images, order, seen.targets, canvas=ends.canvas,
                pixels_per_step=step, batch_size=size, first=ends.blurred, last=ends.whole,
            )  # fmt: skip
            hidden = deletion_curve(
                passes, seen.images, order, seen.targets,
                pixels_per_step=step, batch_size=size, first=ends.whole, last=ends.empty,
            )  # fmt: skip
        for metric, curves in (("insertion-auc", shown), ("deletion-auc", hidden)):
            cells.put(metric, label, start, curve_auc(curves), found.reasons)
            kept = self._found.setdefault((metric, label), [])
            kept += [
                (start + row, curves[row].cpu())
                for row, known in enumerate(torch.isfinite(curves).all(dim=1).tolist())
                if known
            ]

    def means(self) -> tuple[MeanCurve, ...]:
        """One mean curve for each metric and method that has any."""
        return tuple(
            MeanCurve(
                metric=metric,
                method=label,
                n=len(curves),
                values=_rounded(torch.stack([values for _, values in curves]).mean(dim=0)),
                images={place: _rounded(v) for place, v in curves if place < CURVES},
                tied=_mean(self._tied[label]),
            )
            for (metric, label), curves in self._found.items()
            if curves
        )


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in values.tolist())


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
