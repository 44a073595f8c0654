"""What checks have in common: asking an explainer, and comparing two answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from camaudit.cut import Trunk
from camaudit.errors import LayerError, NotApplicableError
from camaudit.invariance.compare import Difference, raw
from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import Verdict
from camaudit.invariance.situation import Situation
from camaudit.sites import find_site

__all__ = ["PIXEL_NOISE", "agreement", "asked", "cells_of", "maps_of"]

#: Methods that draw random numbers, and why they are violated where pixels change.
PIXEL_NOISE = {
    "random": "its noise is keyed by the image's pixels",
    "rise": "its random masks are keyed by the image's pixels",
    "sscam": "the noise on its masks is keyed by the image's pixels",
    "smoothgradcam++": "the noise on the image is keyed by the image's pixels",
    "augmentedgradcam++": "its random rotations and moves are keyed by the image's pixels",
}


def asked(explain: Explain, given: Situation) -> Tensor:
    """The explainer's maps (N×h×w) of a situation."""
    return explain(given.model, given.layer, given.images, given.targets)


def agreement(
    explain: Explain,
    given: Situation,
    changed: Situation,
    *,
    back: Callable[[Tensor], Tensor] = lambda maps: maps,
    compare: Callable[[Tensor, Tensor], Difference] = raw,
) -> Verdict:
    """Maps of `given` against maps of `changed` that `back` undoes the change of."""
    return Verdict.of(compare(asked(explain, given), back(asked(explain, changed))))


def cells_of(given: Situation) -> tuple[int, int]:
    """Cells (h, w) of the target layer; raises the errors of :func:`maps_of`."""
    if given.plan is not None:
        return given.plan.map_size
    height, width = maps_of(given).shape[-2:]
    return int(height), int(width)


def maps_of(given: Situation) -> Tensor:
    """What the target layer gives (1×K×h×w) for the first image.

    Raises :class:`camaudit.errors.NotApplicableError` for a layer that gives no such maps.
    """
    example = given.images[:1]
    try:
        trunk = Trunk(given.model, find_site(given.model, given.layer, example))
        with torch.no_grad():
            maps: Tensor = trunk(example.clone())
    except LayerError as error:
        raise NotApplicableError(str(error)) from error
    return maps
