"""Random logit: the map of one class against the map of another, on the same model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from camaudit.errors import NotApplicableError

__all__ = ["DRAWS", "other_classes"]

DRAWS = 5


def other_classes(
    targets: Tensor, classes: int, *, draws: int, seed: int, first: int = 0
) -> Tensor:
    """Other classes (draws×N, int64) for targets (N), without repetition within an image.

    Sixt et al. 2020, When Explanations Lie, section 5. Image n takes the first entries of
    PCG64([seed, first + n])'s permutation of the classes that are not its target; there are fewer
    draws where the model has fewer classes. Raises :class:`NotApplicableError` for one class.
    """
    if classes < 2:
        raise NotApplicableError("a model with one class has no other class to explain")
    chosen = []
    for place, target in enumerate(targets.tolist(), start=first):
        others = np.delete(np.arange(classes), target)
        order = np.random.default_rng([seed, place]).permutation(others)
        chosen.append(order[: min(draws, classes - 1)])
    return torch.from_numpy(np.stack(chosen, axis=1)).to(targets.device)
