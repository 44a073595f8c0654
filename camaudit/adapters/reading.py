"""One map from one file, read without running anything that is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camaudit.errors import ImageError, MethodError
from camaudit.pictures import opened

__all__ = ["SUFFIXES", "read_map"]

SUFFIXES = (".npy", ".png", ".safetensors")

_MOST = 1 << 26  # values of a file: far above any map, and far below what fills a memory
_HEADER = 1 << 20  # bytes of a file beside them
_MAGIC = b"\x93NUMPY"
_GREY = ("L", "I;16", "I;16B", "I", "1")


def read_map(path: Path) -> NDArray[np.float64]:
    """The values in a file: one array of numbers, h×w, or C×h×w where its tool wrote channels.

    `.npy` (no pickles), `.png` (grey, 8 or 16 bits, values as stored) or `.safetensors` (one
    tensor, or the one called "map"). Raises :class:`MethodError`, which names the file, for one
    that cannot be read, is empty or too large, or holds anything but finite numbers.
    """
    read = {".npy": _npy, ".png": _png, ".safetensors": _safetensors}[path.suffix.lower()]
    try:
        size = path.stat().st_size
        if not size:
            raise ValueError("the file is empty")
        if size > 8 * _MOST + _HEADER:
            raise ValueError(f"{size} bytes are more than a map has")
        values = read(path)
    except Exception as error:  # a damaged file raises anything
        raise MethodError(f"{path.name} cannot be read as a map: {error}") from error
    if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
        raise MethodError(f"{path.name} holds {values.dtype}; expected real numbers")
    if not values.size:
        raise MethodError(f"{path.name} is an empty array, {values.shape}; expected a map h×w")
    with np.errstate(invalid="ignore"):  # of signalling NaN, which is told of below
        found = values.astype(np.float64)
    if not np.isfinite(found).all():
        wrong = int((~np.isfinite(found)).sum())
        raise MethodError(f"{path.name} holds NaN or infinity in {wrong} of {found.size} values")
    return found


def _npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as stream:
        start = stream.read(len(_MAGIC))
    if start.startswith(b"PK"):
        raise ValueError("it holds several arrays")
    if start != _MAGIC:  # which NumPy would take for a pickle
        raise ValueError("it is no .npy file")
    # mapped: a header that promises more than the file holds is refused before memory is taken
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(_bounded(found.shape, found))


def _png(path: Path) -> NDArray[Any]:
    with opened(path.read_bytes(), ("PNG",)) as image:
        _bounded(image.size, None)
        if image.mode not in _GREY:
            raise ImageError(f"it is a picture of mode {image.mode}; expected grey values")
        values = np.asarray(image)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _safetensors(path: Path) -> NDArray[Any]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as held:
        names = list(held.keys())
        if len(names) != 1 and "map" not in names:
            raise ValueError(f"it holds {len(names)} tensors; expected one, or one called 'map'")
        name = "map" if "map" in names else names[0]
        _bounded(tuple(held.get_slice(name).get_shape()), None)
        return np.asarray(held.get_tensor(name))


def _bounded(shape: tuple[int, ...], values: Any) -> Any:
    if int(np.prod(shape, dtype=np.float64)) > _MOST:
        raise ImageError(f"{'×'.join(map(str, shape))} values are more than a map has")
    return values
