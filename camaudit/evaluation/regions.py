"""Localisation of one method against the labelled regions of its images."""

from __future__ import annotations

from torch import Tensor

from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Maps
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Missing
from camaudit.metrics.localisation import box_iou, energy_pointing_game, iou, pointing_game

__all__ = ["located"]


def located(
    cells: Cells, label: str, found: Maps, regions: Tensor, start: int, options: Options
) -> None:
    """Put the localisation metrics of these images into `cells`; no region, no value."""
    lit = found.lit
    labelled = regions.flatten(1).any(dim=1).tolist()
    reasons = [
        reason or (None if known else Missing.NO_REGION)
        for reason, known in zip(found.reasons, labelled, strict=True)
    ]
    figures = {
        "pointing-game": pointing_game(lit, regions, tolerance=options.tolerance),
        "energy-pointing-game": energy_pointing_game(lit, regions),
        "iou": iou(lit, regions, threshold=options.threshold),
        "box-iou": box_iou(lit, regions, threshold=options.threshold),
    }
    for name, values in figures.items():
        cells.put(name, label, start, values, reasons)
