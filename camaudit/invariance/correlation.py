"""How alike two maps are in shape, whatever their scale: Pearson's and Spearman's correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["pearson", "spearman"]

Floats = NDArray[np.float64]


def pearson(one: Tensor, other: Tensor) -> float | None:
    """Pearson's correlation of two maps, cell by cell; None where one is constant."""
    return _correlation(_flat(one), _flat(other))


def spearman(one: Tensor, other: Tensor) -> float | None:
    """Pearson's correlation of the cells' average ranks; None where a map is constant."""
    return _correlation(_ranks(_flat(one)), _ranks(_flat(other)))


def _flat(cells: Tensor) -> Floats:
    return cells.detach().double().cpu().numpy().ravel()


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Floats = np.cumsum(counts) - (counts - 1) / 2
    return shared[place]


def _correlation(one: Floats, other: Floats) -> float | None:
    one, other = one - one.mean(), other - other.mean()
    spread = float(np.sqrt((one * one).sum() * (other * other).sum()))
    if spread == 0 or not np.isfinite(spread):
        return None
    return float(np.clip((one * other).sum() / spread, -1, 1))
