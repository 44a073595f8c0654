"""Labelled images as arrays in memory, or as encoded files that are read when needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from camaudit.data.images import Pixels, decode, resize_center_crop
from camaudit.errors import ImageError
from camaudit.training.randomness import Indices

__all__ = ["Arrays", "Encoded", "ImageSet", "Item", "in_memory"]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images of one size: `images` uint8 (N, H, W, 3), `labels` int64 (N)."""

    images: Pixels = field(repr=False)
    labels: Indices = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: int) -> Pixels:
        """One image, uint8 (H, W, 3)."""
        one: Pixels = self.images[index]
        return one

    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()

    def subset(self, chosen: NDArray[np.bool_]) -> Arrays:
        """Those where `chosen` (N) is True."""
        return Arrays(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Item:
    """An encoded image: its name, its size in bytes, and how to read it."""

    id: str
    length: int
    read: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Images as files: `items` (N), `labels` int64 (N)."""

    items: tuple[Item, ...] = field(repr=False)
    labels: Indices = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: int) -> Pixels:
        """One image, decoded, uint8 (H, W, 3); raises :class:`ImageError` with its name."""
        item = self.items[index]
        try:
            return decode(item.read(), min_side=1).pixels
        except (ImageError, OSError) as error:
            raise ImageError(
                f"{item.id} cannot be read ({error}): repair the file or take it out of the folder"
            ) from error

    def fingerprint(self) -> str:
        """SHA-256 over names, lengths and labels; the files themselves are not read."""
        digest = hashlib.sha256()
        for item, label in zip(self.items, self.labels, strict=True):
            line = f"{item.id}\0{item.length}\0{label}\n"
            digest.update(line.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def subset(self, chosen: NDArray[np.bool_]) -> Encoded:
        """Those where `chosen` (N) is True."""
        kept = tuple(item for item, keep in zip(self.items, chosen, strict=True) if keep)
        return Encoded(kept, self.labels[chosen])


ImageSet: TypeAlias = Arrays | Encoded


def in_memory(images: ImageSet, size: int, *, workers: int = 1) -> Arrays:
    """All images at `size`×`size` (short side to `size`, centre crop) as one array.

    Raises :class:`ImageError` naming the first file that cannot be read.
    """
    if isinstance(images, Arrays) and images.images.shape[1:3] == (size, size):
        return images
    made = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for index, pixels in enumerate(_each(images, size, workers)):
        made[index] = pixels
    return Arrays(made, images.labels)


def _each(images: ImageSet, size: int, workers: int) -> Iterator[Pixels]:
    def one(index: int) -> Pixels:
        return resize_center_crop(images.pixels(index), size)

    if workers <= 1:
        yield from map(one, range(len(images)))
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, range(len(images)))
