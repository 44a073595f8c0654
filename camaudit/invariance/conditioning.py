"""Whether rounding alone moves a map."""

from __future__ import annotations

import torch

from camaudit.invariance.compare import scaled
from camaudit.invariance.explainer import Explain
from camaudit.invariance.situation import Situation

__all__ = ["moved_by", "moved_by_rounding"]

_TRIES = 3
_ROUNDINGS = 16.0  #: how many units in the last place the image is moved by


def moved_by_rounding(explain: Explain, given: Situation, bound: float) -> bool:
    """Whether images that differ in their last places already have maps further apart.

    Every pixel is multiplied by 1 ± 16 ε, three times; True where a map, divided by its largest
    value, moves by more than a tenth of `bound`. An explainer whose maps differ from run to run is
    not excused: then the same images give maps that differ too, and False is returned.
    """
    step = _ROUNDINGS * torch.finfo(given.images.dtype).eps
    return moved_by(explain, given, step=step, bound=bound / 10, tries=_TRIES)


def moved_by(explain: Explain, given: Situation, *, step: float, bound: float, tries: int) -> bool:
    """Whether multiplying every pixel by 1 ± `step` moves a map, of largest value 1, by `bound`.

    Tried `tries` times; False for an explainer whose maps differ from run to run.
    """
    maps = explain(given.model, given.layer, given.images, given.targets)
    again = explain(given.model, given.layer, given.images, given.targets)
    if not torch.equal(maps, again):
        return False
    generator = torch.Generator().manual_seed(0)
    for _ in range(tries):
        signs = torch.randint(0, 2, given.images.shape, generator=generator) * 2 - 1
        nudged = given.images * (1 + step * signs.to(given.images))
        moved = scaled(maps, explain(given.model, given.layer, nudged, given.targets))
        if moved.value is not None and moved.value > bound:
            return True
    return False
