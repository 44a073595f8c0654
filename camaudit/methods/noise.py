"""Random numbers of seeded methods: a stream an image, whatever batch it comes in."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["generator", "normal", "uniform"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def generator(seed: int, image: Tensor, *index: int) -> np.random.Generator:
    """A generator keyed by `seed`, the pixels of `image` (C×H×W, read as float32) and `index`.

    Two images have two streams, and an image has the same one alone, in a batch and in any order.
    """
    pixels = image.detach().float().contiguous().cpu().numpy().tobytes()
    return np.random.default_rng([seed, zlib.crc32(pixels), *index])


def normal(seed: int, image: Tensor, index: int | tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Standard normal numbers (float64) of the given shape: draw `index` of this image."""
    key = index if isinstance(index, tuple) else (index,)
    return generator(seed, image, *key).standard_normal(shape)


def uniform(seed: int, image: Tensor, index: int, count: int) -> Array:
    """`count` numbers (float64), uniform in [−1, 1): draw `index` of this image."""
    return generator(seed, image, index).uniform(-1.0, 1.0, count)
