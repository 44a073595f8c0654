"""Everything random in training, as pure functions of the seed and a place in the run.

No generator is carried along, so a run that stops at any step goes on as if it had not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_of_each", "held_out", "order", "permuted", "step_seed", "uniforms"]

Indices = NDArray[np.int64]

_ORDER, _LABELS, _STEP, _HOLD_OUT = range(4)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def order(seed: int, epoch: int, count: int) -> Indices:
    """The order in which `count` samples come in an epoch (from 0)."""
    return _generator(seed, _ORDER, epoch).permutation(count)


def permuted(labels: Indices, seed: int) -> Indices:
    """The labels in random order: how often each occurs stays, what it says of an image does not.

    For the data randomisation test (Adebayo et al. 2018, section 3).
    """
    return labels[_generator(seed, _LABELS).permutation(len(labels))]


def held_out(labels: Indices, share: float) -> NDArray[np.bool_]:
    """Boolean mask of the samples kept for validation: `share` of each class, at least one.

    The same for every seed, so that runs can be compared. Each class must have two samples.
    """
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        mask[_generator(0, _HOLD_OUT, int(label)).permutation(members)[:count]] = True
    return mask


def first_of_each(labels: Indices, count: int) -> NDArray[np.bool_]:
    """Boolean mask of the first `count` samples of each class, all of a class with fewer."""
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[:count]] = True
    return mask


def step_seed(seed: int, step: int, rank: int) -> int:
    """What the layers' own randomness (dropout) is seeded with in a step, the same for twins."""
    words = np.random.SeedSequence([seed, _STEP, step, rank]).generate_state(2)
    return int(words[0]) << 31 | int(words[1]) >> 1


def uniforms(seed: int, epoch: int, samples: Indices, count: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), `count` for each sample: (samples, count).

    A hash (the SplitMix64 finaliser, Steele, Lea & Flood 2014) of seed, epoch, sample and column,
    so that a sample's augmentation does not depend on its batch.
    """
    base = _mix(_mix(np.array([seed], dtype=np.uint64) + _GOLDEN) ^ np.uint64(epoch))
    rows = _mix(_mix(base + _GOLDEN) ^ samples.astype(np.uint64))
    columns = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(rows[:, None] + columns)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _generator(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(words))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
