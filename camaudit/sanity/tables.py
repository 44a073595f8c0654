"""Checks without a cascade: random logit, and data randomisation of two trained models."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from camaudit.capture import Capture
from camaudit.cut import Cut
from camaudit.errors import NotApplicableError
from camaudit.objective import Objective
from camaudit.sanity.cascade import finite_capture
from camaudit.sanity.explain import Explained, Explainer, explain_all
from camaudit.sanity.logit import other_classes
from camaudit.sanity.options import Options
from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.packing import Cells
from camaudit.sanity.rows import Cell, Row, View, cells_of, lost_view, row_of, views_of
from camaudit.sanity.unchanged import class_blind

__all__ = ["data_randomisation", "random_logit"]

_LOST = View(
    None, Outcome.ERROR,
    "the second model's logits are not finite: check its weights and the preprocessing",
)  # fmt: skip


def random_logit(
    original: Capture,
    methods: Sequence[Explainer],
    options: Options,
    *,
    first: int,
    objective: Objective | None = None,
) -> list[Cells]:
    """Similarity of every method's maps of the explained class and of others: a row a draw.

    Sixt et al. 2020. A method that reads nothing of the class and whose maps are equal is not
    scored, and no method applies to a model with one class. Draw d of every image makes one head
    pass. `first` is the number of the capture's first image.
    """
    try:
        chosen = other_classes(
            original.targets, original.logits.shape[1],
            draws=options.draws, seed=options.seed, first=first,
        )  # fmt: skip
    except NotApplicableError as error:
        none = Explained(None, Outcome.NOT_APPLICABLE, str(error), frozenset())
        empty = _rows(none, original, options)
        return [[_compared(empty, empty, options)] for _ in methods]
    before = explain_all(methods, original, seed=options.seed)
    rows = [_rows(found, original, options) for found in before]
    cells: list[Cells] = [[] for _ in methods]
    for classes in chosen:
        other = original.explaining(objective or Objective(), targets=classes)
        after = explain_all(methods, other, seed=options.seed)
        for mine, found, seen, old in zip(cells, before, after, rows, strict=True):
            new = _rows(seen, original, options, excused=class_blind(found, seen))
            mine.append(_compared(old, new, options))
    return cells


def data_randomisation(
    original: Capture,
    cut: Cut,
    methods: Sequence[Explainer],
    options: Options,
) -> list[Cells]:
    """Similarity of every method's maps on two models, the second trained on permuted labels.

    One row each.

    Adebayo et al. 2018, section 3.2: the same images and scores; `cut` is the second model's.
    Where its logits are not finite the cells of an image are errors.
    """
    with torch.no_grad():
        activations = cut.trunk.output(original.images).detach()
    twin, lost = finite_capture(cut, original.images, activations, original.objective)
    count, size = len(original), original.size if options.resolution == "image" else None
    before = explain_all(methods, original, seed=options.seed)
    after = before if twin is None else explain_all(methods, twin, seed=options.seed)
    cells: list[Cells] = []
    for old, new in zip(before, after, strict=True):
        views = views_of(new, count)
        for row in lost:
            views[row] = lost_view(old, count, row, _LOST)
        rows = [row_of([view], size=size, names=options.similarities) for view in views]
        cells.append([_compared(_rows(old, original, options), rows, options)])
    return cells


def _rows(
    found: Explained,
    original: Capture,
    options: Options,
    *,
    excused: list[str | None] | None = None,
) -> list[Row]:
    size = original.size if options.resolution == "image" else None
    views = views_of(found, len(original), excused)
    return [row_of([view], size=size, names=options.similarities) for view in views]


def _compared(before: list[Row], after: list[Row], options: Options) -> list[list[Cell]]:
    names = options.similarities
    return [cells_of(old, new, names) for old, new in zip(before, after, strict=True)]
