"""Readers of numbered data files: MNIST's idx format and CIFAR's binary one.

CIFAR's Python files are pickles, which run code when read; they are refused.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from camaudit.data.folders import printable
from camaudit.errors import ImageError
from camaudit.training.images import Arrays

__all__ = ["FASHION", "cifar", "cifar_pickles", "idx_pair", "idx_paths", "read_idx"]

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""The classes of Fashion-MNIST (Xiao et al. 2017) in the order of their labels."""

_UNSIGNED_BYTE = 0x08
_PART = 1 << 20
_LARGEST = 1 << 33  # bytes that an idx file may announce
_CIFAR_PIXELS = 3 * 32 * 32


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, plain or gzipped, as an array of its announced shape.

    Two zero bytes, the type, the number of dimensions, each dimension as a big-endian 32-bit
    number, then the values row by row. Raises :class:`ImageError` for anything else, and where
    the file is longer or shorter than it announces.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as stream:
            head = stream.read(4)
            shape = _shape(head, stream.read(4 * head[3]) if len(head) == 4 else b"", path)
            data = _up_to(stream, math.prod(shape) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageError(
            f"{_name(path)} is a damaged or truncated gzip file ({error}): fetch it again"
        ) from error
    except OSError as error:
        raise ImageError(f"{_name(path)} cannot be read: {error.strerror or error}") from error
    if len(data) != math.prod(shape):
        which = "longer" if len(data) > math.prod(shape) else "shorter"
        raise ImageError(
            f"{_name(path)} announces {'×'.join(map(str, shape))} values and is {which}: it is "
            "damaged or truncated, fetch it again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _up_to(stream: IO[bytes] | gzip.GzipFile, count: int) -> bytes:
    """The next `count` bytes, or what there is; in parts, because gzip is slow at large ones."""
    parts = []
    while count and (part := stream.read(min(count, _PART))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _shape(head: bytes, sizes: bytes, path: Path) -> tuple[int, ...]:
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4 or len(sizes) != 4 * head[3]:
        page = " (it looks like an HTML page)" if head.lstrip()[:1] == b"<" else ""
        raise ImageError(f"{_name(path)} is no idx file{page}: fetch it again")
    if head[2] != _UNSIGNED_BYTE:
        raise ImageError(
            f"{_name(path)} holds values of type 0x{head[2]:02x}; expected unsigned bytes (0x08)"
        )
    shape = struct.unpack(f">{head[3]}I", sizes)
    if math.prod(shape) > _LARGEST:
        raise ImageError(f"{_name(path)} announces {math.prod(shape)} values: it is damaged")
    return shape


def idx_paths(folder: Path, part: str) -> tuple[Path, Path] | None:
    """Images and labels of `part` ("train" or "t10k") under their usual names; None if absent."""
    found = []
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        names = (f"{part}-{kind}", f"{part}-{kind.replace('-idx', '.idx')}")
        paths = [folder / (name + ending) for name in names for ending in ("", ".gz")]
        found.append(next((path for path in paths if path.is_file()), None))
    images, labels = found
    return None if images is None or labels is None else (images, labels)


def idx_pair(images: Path, labels: Path) -> Arrays:
    """An idx file of N×H×W grey images and one of N labels; grey becomes three equal channels."""
    pixels, numbers = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or numbers.ndim != 1 or len(pixels) != len(numbers) or not len(numbers):
        raise ImageError(
            f"expected N×H×W images and N labels; {_name(images)} holds {pixels.shape}, "
            f"{_name(labels)} {numbers.shape}"
        )
    return Arrays(np.repeat(pixels[..., None], 3, axis=3), numbers.astype(np.int64))


def cifar(folder: Path) -> tuple[Arrays, Arrays, tuple[str, ...]] | None:
    """Training and test images and class names of CIFAR's binary version; None if absent.

    CIFAR-10: a label byte and 3×32×32 pixels a record. CIFAR-100: a coarse label before the fine
    one, which is used. Raises :class:`ImageError` for incomplete or damaged files.
    """
    if (folder / "data_batch_1.bin").is_file():
        train = [folder / f"data_batch_{number}.bin" for number in range(1, 6)]
        test, names, label_bytes = folder / "test_batch.bin", "batches.meta.txt", 1
    elif (folder / "train.bin").is_file():
        train, test = [folder / "train.bin"], folder / "test.bin"
        names, label_bytes = "fine_label_names.txt", 2
    else:
        return None
    parts = [_records(path, label_bytes) for path in (*train, test)]
    joined = Arrays(
        np.concatenate([part.images for part in parts[:-1]]),
        np.concatenate([part.labels for part in parts[:-1]]),
    )
    classes = 10 if label_bytes == 1 else 100
    return joined, parts[-1], _names(folder / names, classes)


def cifar_pickles(folder: Path) -> bool:
    """Whether the folder holds CIFAR's Python version."""
    ten = (folder / "data_batch_1").is_file()
    return ten or all((folder / name).is_file() for name in ("train", "test", "meta"))


def _records(path: Path, label_bytes: int) -> Arrays:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{_name(path)} cannot be read: {error.strerror or error}") from error
    length = label_bytes + _CIFAR_PIXELS
    if not data or len(data) % length:
        raise ImageError(
            f"{_name(path)} has {len(data)} bytes, which are no whole records of {length}: it is "
            "damaged or truncated, fetch it again"
        )
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, length)
    planes = records[:, label_bytes:].reshape(-1, 3, 32, 32)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return Arrays(images, records[:, label_bytes - 1].astype(np.int64))


def _names(path: Path, count: int) -> tuple[str, ...]:
    """The names in a text file, one a line; numbers where it is absent or of another length."""
    try:
        lines = path.read_text("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    names = tuple(printable(line.strip()) for line in lines if line.strip())
    return names if len(names) == count else tuple(str(number) for number in range(count))


def _name(path: Path) -> str:
    return printable(str(path))
