"""Small maps as pictures: every cell a square, the wall hatched, all as self-contained data.

Unlike the overlays of a photograph these are opaque and start at 0, because the maps are small,
never negative, and 0 means something.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camaudit.errors import AuditError
from camaudit.report.gallery import LEVELS, Wall, colour_table, wall

__all__ = ["Cells", "Grid", "HeatMap", "grey_map", "heat_map", "heat_scale", "matrix", "unread"]

SIDE = 224  # pixels that a picture aims at, so that its hatch looks like that of a photograph
_UNDEFINED = (128, 128, 128)

_Cell = TypeVar("_Cell", bound=np.generic)

#: A map as results.json holds it; None where a cell is undefined.
Grid = Sequence[Sequence[float | None]]
Cells = Sequence[Sequence[bool]]


@dataclass(frozen=True)
class HeatMap:
    """A drawn map; `picture` is empty, and `reason` says why, where there is nothing to draw."""

    width: int
    height: int
    picture: str
    wall: Wall | None
    alternative: str
    reason: str


def heat_map(values: Grid, dead: Cells | None, alternative: str) -> HeatMap:
    """A map in colour from 0 to its maximum, `dead` cells hatched; undefined cells are grey.

    Raises
    ------
    AuditError
        if the rows differ in length, or `dead` is of another size.
    """
    cells = matrix(values, "a map")
    finite = np.isfinite(cells)
    top = float(cells[finite].max()) if finite.any() else 0.0
    if top <= 0:
        reason = "The map is zero everywhere." if finite.any() else "The map is undefined."
        return HeatMap(SIDE, SIDE, "", None, f"{alternative}: {reason.lower()}", reason)
    shares = np.clip(np.where(finite, cells, 0.0) / top, 0.0, 1.0)
    indices = np.where(finite, np.rint(shares * (LEVELS - 1)), LEVELS).astype(np.uint8)
    return _drawn(indices, _heat_palette(), dead, alternative)


def grey_map(values: Grid, dead: Cells | None, alternative: str) -> HeatMap:
    """A picture in grey from 0 (black) to 1 (white); raises as :func:`heat_map` does."""
    cells = matrix(values, "an image")
    if cells.size == 0:
        return HeatMap(SIDE, SIDE, "", None, alternative, "The image is empty.")
    shares = np.clip(np.nan_to_num(cells, nan=0.5), 0.0, 1.0)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return _drawn(np.rint(shares * 255).astype(np.uint8), ramp, dead, alternative)


@lru_cache(maxsize=1)
def heat_scale() -> str:
    """The colour scale from 0 to a map's maximum as a one-pixel-high PNG data URI."""
    return _picture(np.arange(LEVELS, dtype=np.uint8)[None, :], _heat_palette())


def unread(dead: Cells, size: tuple[int, int]) -> list[list[bool]] | None:
    """The pixels of an H×W image that enter no live cell; None where the sizes do not fit.

    Cell (i, j) reads the pixels (i … i+H−h, j … j+W−w): a convolution without padding, stride 1.
    """
    cells = np.asarray(dead, dtype=bool)
    if cells.ndim != 2 or cells.size == 0:
        return None
    (height, width), (h, w) = size, cells.shape
    if height < h or width < w:
        return None
    blind = np.ones(size, dtype=bool)
    for down in range(height - h + 1):
        for right in range(width - w + 1):
            blind[down : down + h, right : right + w] &= cells
    flags: list[list[bool]] = blind.tolist()
    return flags


def matrix(values: Grid, what: str) -> NDArray[np.float64]:
    """Nested lists as float64 rows×columns, undefined cells as NaN.

    Raises
    ------
    AuditError
        if the rows differ in length.
    """
    lengths = {len(row) for row in values}
    if len(lengths) > 1:
        raise AuditError(f"expected {what} with rows of one length, got {sorted(lengths)}")
    rows = [[np.nan if cell is None else float(cell) for cell in row] for row in values]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), lengths.pop() if lengths else 0)


def _heat_palette() -> NDArray[np.uint8]:
    """The overlay's colours without their transparency, and grey for undefined cells."""
    return np.concatenate([colour_table()[:, :3], np.asarray([_UNDEFINED], dtype=np.uint8)])


def _drawn(
    indices: NDArray[np.uint8], palette: NDArray[np.uint8], dead: Cells | None, alternative: str
) -> HeatMap:
    """Cells enlarged to squares, so that no browser blurs them."""
    scale = max(1, SIDE // max(indices.shape))
    shown = _enlarged(indices, scale)
    zone = None
    if dead is not None:
        mask = np.asarray(dead, dtype=bool)
        if mask.shape != indices.shape:
            raise AuditError(
                f"expected the dead cells in the map's size {indices.shape}, got {mask.shape}"
            )
        large = _enlarged(mask, scale)
        zone = wall(large, large)
    height, width = shown.shape
    return HeatMap(width, height, _picture(shown, palette), zone, alternative, "")


def _enlarged(cells: NDArray[_Cell], scale: int) -> NDArray[_Cell]:
    return cells.repeat(scale, axis=0).repeat(scale, axis=1)


def _picture(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> str:
    """Palette indices (uint8 H×W) as an opaque PNG data URI."""
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
