"""Maps as a run keeps them for its report: 256 levels on the layer's own grid, and where they lie.

A run's folder holds `maps/index.json` and beside it files of bytes, without any format of their
own: the index says where each photograph (JPEG) and each map (one byte a cell) lies in them.
Nothing in them is ever executed or unpacked.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "MOST_CELLS",
    "KeptImage",
    "KeptMap",
    "jpeg",
    "packed",
    "photograph",
    "quantised",
    "unpacked",
    "upsampled",
]

MOST_CELLS = 64  # cells on the longer side of a kept map; larger ones are averaged down
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class KeptMap:
    """A map h×w in levels (uint8): a cell's value is low + level/255 · (high − low)."""

    levels: NDArray[np.uint8]
    low: float
    high: float

    @property
    def values(self) -> NDArray[np.float64]:
        """The map, float64 h×w, to half a level."""
        found: NDArray[np.float64] = self.low + self.levels / _LEVELS * (self.high - self.low)
        return found


@dataclass(frozen=True, eq=False)
class KeptImage:
    """An image as it is kept: `photo` is a JPEG of an image of height×width pixels.

    A method's map is None where it has none, or none that can be drawn. `target` is the class
    that the maps explain, where images have several. `unmasked` are the maps of the model without
    its wall; it is empty where none were kept.
    """

    id: str
    title: str
    caption: str
    height: int
    width: int
    photo: bytes
    maps: Mapping[str, KeptMap | None]
    target: int | None = None
    unmasked: Mapping[str, KeptMap | None] = field(default_factory=dict)


def quantised(values: NDArray[np.floating]) -> KeptMap | None:
    """A raw map in 256 levels, at most 64 cells a side; None where nothing can be drawn.

    That is a map without cells, one that is zero everywhere, and one that is not finite.
    """
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all() or not values.any():
        return None
    cells = _averaged(np.asarray(values, dtype=np.float64))
    low, high = float(cells.min()), float(cells.max())
    if not high > low:
        return KeptMap(np.zeros(cells.shape, dtype=np.uint8), low, high)
    # halves keep the span finite for maps near the float limit
    shares = (cells / 2 - low / 2) / (high / 2 - low / 2)
    return KeptMap(np.rint(shares * _LEVELS).astype(np.uint8), low, high)


def _averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of square blocks, where a map has more than 64 cells a side."""
    step = -(-max(values.shape) // MOST_CELLS)
    if step == 1:
        return values
    height, width = (-(-side // step) for side in values.shape)
    padded = np.pad(
        values, [(0, height * step - values.shape[0]), (0, width * step - values.shape[1])], "edge"
    )
    means: NDArray[np.float64] = padded.reshape(height, step, width, step).mean(axis=(1, 3))
    return means


def upsampled(kept: KeptMap, size: tuple[int, int]) -> NDArray[np.float64]:
    """A kept map in its image's size: bilinear with half-pixel centres, as the audit's."""
    columns = _weights(kept.levels.shape[1], size[1])
    found: NDArray[np.float64] = _weights(kept.levels.shape[0], size[0]) @ kept.values @ columns.T
    return found


def _weights(cells: int, pixels: int) -> NDArray[np.float64]:
    """How much of each cell is in each pixel of a line; pixels×cells."""
    places = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    lower = np.minimum(np.floor(places).astype(int), max(cells - 2, 0))
    table = np.zeros((pixels, cells))
    rows = np.arange(pixels)
    table[rows, lower] = 1 - (places - lower)
    table[rows, np.minimum(lower + 1, cells - 1)] += places - lower
    return table


def jpeg(pixels: NDArray[np.uint8], *, side: int, quality: int) -> bytes:
    """A photograph (uint8 H×W×3) as a JPEG of at most `side` pixels on its longer side."""
    photo = Image.fromarray(pixels)
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def photograph(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels of a JPEG, uint8, in its image's own size H×W×3; ValueError where it is none."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
            if max(opened.size) > max(size):
                raise ValueError(f"a photograph of {opened.size} for an image of {size}")
            photo = opened.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a photograph that cannot be read: {error}") from error
    pixels: NDArray[np.uint8] = np.asarray(photo)
    return pixels


def packed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (bool H×W) as plain JSON: its shape, and its bits in base64."""
    bits = base64.b64encode(np.packbits(mask).tobytes()).decode("ascii")
    return {"shape": list(mask.shape), "bits": bits}


def unpacked(plain: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask of :func:`packed`; ValueError, KeyError or TypeError where it is none."""
    height, width = (int(side) for side in plain["shape"])
    bits = np.frombuffer(base64.b64decode(plain["bits"], validate=True), dtype=np.uint8)
    if height < 1 or width < 1 or bits.size != -(-height * width // 8):
        raise ValueError(f"a mask of {height}×{width} with {bits.size} bytes")
    mask: NDArray[np.bool_] = np.unpackbits(bits, count=height * width).reshape(height, width) > 0
    return mask
