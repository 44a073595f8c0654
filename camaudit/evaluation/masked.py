"""Confidence metrics and ADCC of one method: one set of masked images serves all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Explainer, Maps, explained_each
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Missing
from camaudit.evaluation.passes import Passes, logit_of
from camaudit.metrics.adcc import adcc, coherency, map_complexity
from camaudit.metrics.checking import class_shares
from camaudit.metrics.confidence import (
    average_drop,
    drop_in_logit,
    increase_in_confidence,
    masked_images,
    win,
)

__all__ = ["measure", "put_wins"]


def measure(
    cells: Cells,
    method: Explainer,
    seen: Capture,
    found: Maps,
    start: int,
    options: Options,
    passes: Passes,
    black: Tensor | None,
) -> None:
    """Put the confidence metrics and, where asked for, ADCC of these images into `cells`.

    The images x ⊙ m run once: plainly, or with their gradient where ADCC explains them again.
    """
    full = class_shares(seen.logits, seen.targets, link=seen.link)
    shown = masked_images(seen.images, found.weights, baseline=black)
    again: Capture | None = None
    with passes.of("masked"):
        if "adcc" in options.checks:
            again = seen.again(shown)
            logits = again.logits
            passes.add("masked", len(shown))
        else:
            logits = passes(shown)
    kept = class_shares(logits, seen.targets, link=seen.link)
    drops = average_drop(full, kept)
    cells.put("average-drop", method.label, start, drops, found.reasons)
    if "confidence" in options.checks:
        rises = increase_in_confidence(full, kept)
        cells.put("increase-in-confidence", method.label, start, rises, found.reasons)
        with passes.of("map taken out"):
            hidden = masked_images(seen.images, 1 - found.weights, baseline=black)
            without = logit_of(passes(hidden), seen.targets)
        lost = drop_in_logit(logit_of(seen.logits, seen.targets), without)
        cells.put("drop-in-logit", method.label, start, lost, found.reasons)
    if again is not None:
        _adcc(cells, method, again, found, start, options, drops / 100)


def put_wins(cells: Cells, labels: list[str], options: Options) -> None:
    """Win % within each group of rivals; a group of one has none (not applicable)."""
    groups = options.rivals or (tuple(labels),)
    for label in labels:
        if not any(label in group for group in groups):
            cells.missing(
                ["win"], label, range(cells.count), Missing.NOT_APPLICABLE,
                "Win % is taken among the rivals that are named, and it is none of them",
            )  # fmt: skip
    for number, group in enumerate(groups):
        if len(group) > 1:
            _wins(cells, group, number, options.tie)
            continue
        for label in group:
            cells.missing(
                ["win"], label, range(cells.count), Missing.NOT_APPLICABLE,
                "Win % compares methods: there is one only", rivals=number,
            )  # fmt: skip


def _wins(cells: Cells, group: tuple[str, ...], number: int, tie: float) -> None:
    """Shares over the images that every rival was run on, so that they sum to 100.

    An image is not won by a method that has no map there: its share is 0. A method that has none
    on any of these images has no Win % either.
    """
    reasons = {label: cells.reasons("average-drop", label) for label in group}
    together = [Missing.NOT_RUN not in row for row in zip(*reasons.values(), strict=True)]
    drops = torch.tensor(
        [
            [torch.nan if value is None or not run else value
             for value, run in zip(cells.values("average-drop", label), together, strict=True)]
            for label in group
        ],
        dtype=torch.float64,
    )  # fmt: skip
    shares = win(drops, tolerance=tie)
    contested = shares.isfinite().any(dim=0)
    for label, row, own in zip(group, shares, drops, strict=True):
        given = [why if run else Missing.NOT_RUN
                 for why, run in zip(reasons[label], together, strict=True)]  # fmt: skip
        if bool(own[contested].isfinite().any()):
            row = torch.where(contested, row.nan_to_num(nan=0.0), torch.nan)
            shared = contested.tolist()
            given = [None if won else why for won, why in zip(shared, given, strict=True)]
        cells.put("win", label, 0, row, given, rivals=number)


def _adcc(
    cells: Cells,
    method: Explainer,
    again: Capture,
    found: Maps,
    start: int,
    options: Options,
    drops: Tensor,
) -> None:
    """ADCC and its parts; where a masked image has no map, coherency has no value."""
    lit = map_complexity(found.maps)
    cells.put("map-complexity", method.label, start, lit, found.reasons)
    maps, failed = explained_each(method, again, seed=options.seed)
    agree = coherency(maps, found.maps)
    cells.put("coherency", method.label, start, agree, found.reasons)
    cells.put("adcc", method.label, start, adcc(agree, lit, drops), found.reasons)
    for row, none in failed.items():
        if found.reasons[row] is None:
            cells.missing(
                ["coherency", "adcc"], method.label, [start + row], none.why,
                f"on its own masked images: {none.message}",
            )  # fmt: skip
