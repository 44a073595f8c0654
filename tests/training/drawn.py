"""Tiny drawn data and tiny networks for the tests of training."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camaudit.training.settings import TrainSettings

CLASSES = 4
TINY = {"widths": ((4,), (6, 6)), "hidden": 12}


def pictures(count: int, *, seed: int, size: int = 28) -> tuple[NDArray[np.uint8], list[int]]:
    """Grey noise with a bright block high in the image, whose place is the class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, size, size)).astype(np.uint8)
    labels = [number % CLASSES for number in range(count)]
    for image, label in zip(images, labels, strict=True):
        left = label * size // CLASSES
        image[4:12, left : left + size // CLASSES] = 230
    return images, labels


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    """The idx form of an array of unsigned bytes."""
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return head + values.tobytes()


def idx_folder(folder: Path, *, train: int = 48, validation: int = 16) -> Path:
    """A folder as MNIST's, gzipped."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count, seed in (("train", train, 1), ("t10k", validation, 2)):
        images, labels = pictures(count, seed=seed)
        for name, values in (
            (f"{part}-images-idx3-ubyte.gz", images),
            (f"{part}-labels-idx1-ubyte.gz", np.array(labels, dtype=np.uint8)),
        ):
            (folder / name).write_bytes(gzip.compress(idx_bytes(values), mtime=0))
    return folder


def image_folders(folder: Path, *, per_class: int, size: int = 28) -> Path:
    """Class folders of PNG files."""
    images, labels = pictures(per_class * CLASSES, seed=3, size=size)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        home = folder / f"class{label}"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).convert("RGB").save(home / f"{number:03}.png")
    return folder


def tiny(data: Path, out: Path, **options: Any) -> TrainSettings:
    """Settings of a run that takes a fraction of a second."""
    changes = {"epochs": 3, "batch_size": 8, "lr": 0.02, **options.pop("changes", {})}
    details = {**TINY, **options.pop("details", {})}
    return TrainSettings(data, out, workers=1, changes=changes, details=details, **options)
