"""ROAD of one method: the same images with pixels imputed in both orders."""

from __future__ import annotations

import torch

from camaudit.capture import Capture
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Maps
from camaudit.evaluation.passes import Passes
from camaudit.metrics.checking import class_shares
from camaudit.metrics.insertion_deletion import pixel_order
from camaudit.metrics.road import PERCENTILES, road, road_average, road_curve

__all__ = ["PASSES", "measure"]

PASSES = 2 * len(PERCENTILES)  #: of the model for each map


def measure(
    cells: Cells,
    label: str,
    seen: Capture,
    found: Maps,
    start: int,
    passes: Passes,
    *,
    seed: int,
) -> None:
    """Put ROAD and its two halves for these images into `cells`."""
    order, _ = pixel_order(found.maps, seed=seed)
    size = passes.batch_size
    with passes.of("road"):
        morf, lerf = (
            road_curve(
                passes,
                seen.images,
                order,
                seen.targets,
                first=first,
                seed=seed,
                batch_size=size,
                link=seen.link,
            )
            for first in ("most", "least")
        )
    figures = {
        "road": road(morf, lerf), "road-morf": road_average(morf), "road-lerf": road_average(lerf)
    }  # fmt: skip
    known = ~class_shares(seen.logits, seen.targets, link=seen.link).isnan()
    for name, found_values in figures.items():
        values = torch.where(known, found_values, torch.nan)
        cells.put(name, label, start, values, found.reasons)
