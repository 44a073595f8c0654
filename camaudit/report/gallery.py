"""The pictures of the report: photographs, overlays and the wall, as self-contained data URIs.

An overlay is a palette image: its colour and its opacity are both functions of the map's
intensity, so that 6 bits a pixel carry everything and the page stays small. The colours run
through OKLCh with lightness rising in proportion to intensity, which keeps their order legible
in greyscale and with any colour vision.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camaudit.errors import ImageError

__all__ = [
    "GalleryImage",
    "Wall",
    "colour_table",
    "intensity",
    "jpeg_uri",
    "legend_uri",
    "overlay_uri",
    "wall",
]

LEVELS = 64
DISPLAY_SIDE = 256
MAX_SEGMENTS = 400

_OKLAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@dataclass(frozen=True, eq=False)
class GalleryImage:
    """One image of the gallery with its raw maps.

    `pixels` is uint8 H×W×3; `dead` (pixel-dead) and `scored` are bool H×W; every map is float
    H×W, raw, or None where the method has none. `id` is the `image` of its records, and `target`
    their class where images have several; else None.

    Raises
    ------
    ImageError
        if a shape or a dtype differs from these.
    """

    id: str
    title: str
    caption: str
    pixels: NDArray[np.uint8]
    dead: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    maps: Mapping[str, NDArray[np.floating] | None]
    target: int | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ImageError(
                f"gallery image {self.id!r}: expected uint8 pixels of shape (H, W, 3), got "
                f"{self.pixels.dtype} {self.pixels.shape}; convert the image to RGB first"
            )
        for name, mask in (("dead", self.dead), ("scored", self.scored)):
            if mask.dtype != np.bool_:
                raise ImageError(
                    f"gallery image {self.id!r}: expected the {name} mask as bool, got {mask.dtype}"
                )
            self._require_size(f"the {name} mask", mask.shape)
        for method, saliency in self.maps.items():
            if saliency is not None:
                self._require_size(f"the map of {method!r}", saliency.shape)

    def _require_size(self, what: str, shape: tuple[int, ...]) -> None:
        if shape != self.pixels.shape[:2]:
            raise ImageError(
                f"gallery image {self.id!r}: expected {what} in the image's size "
                f"{self.pixels.shape[:2]}, got {shape}; upsample it first"
            )


@dataclass(frozen=True)
class Wall:
    """How to draw a zone over an image, in pixel coordinates.

    `area` and `edge` are SVG path data for the dead region and its border inside the image;
    `scored_edge` is the border of the scored zone where that differs. A mask too ragged for
    paths comes as `picture`, a PNG with hatch and border, and leaves `area` and `edge` empty.
    """

    area: str
    edge: str
    scored_edge: str
    picture: str


def jpeg_uri(pixels: NDArray[np.uint8], *, quality: int = 85, side: int = DISPLAY_SIDE) -> str:
    """A photograph (uint8 H×W×3) as a JPEG data URI, at most `side` pixels on its longer side."""
    buffer = io.BytesIO()
    photo = Image.fromarray(pixels)
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    photo.save(buffer, "JPEG", quality=quality, optimize=True)
    return _uri("jpeg", buffer)


def intensity(saliency: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Display intensity in [0, 1]: the map's min-max; None where there is nothing to draw.

    An all-zero or non-finite map gives None. A constant map has no min-max; it is drawn at half
    intensity everywhere.
    """
    values = np.asarray(saliency, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all() or not values.any():
        return None
    scaled = values / np.abs(values).max()  # keeps the span finite for maps near the float limit
    low, high = float(scaled.min()), float(scaled.max())
    if high - low <= 0:
        return np.full(scaled.shape, 0.5)
    shown: NDArray[np.float64] = (scaled - low) / (high - low)
    return shown


def overlay_uri(saliency: NDArray[np.floating], *, side: int = DISPLAY_SIDE) -> str | None:
    """A map as a PNG data URI with opacity proportional to intensity; None if not drawable.

    It has at most `side` pixels on its longer side.
    """
    shown = intensity(saliency)
    if shown is None:
        return None
    picture = Image.fromarray(shown.astype(np.float32))
    if max(picture.size) > side:
        scale = side / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    indices = np.rint(np.clip(np.asarray(picture), 0, 1) * (LEVELS - 1)).astype(np.uint8)
    return _palette_uri(indices, colour_table())


@lru_cache(maxsize=1)
def legend_uri() -> str:
    """The colour scale from 0 to the map's maximum as a one-pixel-high PNG data URI."""
    return _palette_uri(np.arange(LEVELS, dtype=np.uint8)[None, :], colour_table())


@lru_cache(maxsize=4)
def colour_table(levels: int = LEVELS) -> NDArray[np.uint8]:
    """The colours of the overlay, uint8 levels×4 (RGBA), from violet through red to pale yellow.

    In OKLCh, with intensity t in [0, 1]: lightness 0.30 + 0.65 t, hue from 295° over 0° to
    105°, chroma rising and falling within the sRGB gamut; opacity t.
    """
    t = np.linspace(0.0, 1.0, levels)
    lightness = 0.30 + 0.65 * t
    hue = np.deg2rad(295.0 + 170.0 * t)
    chroma = 0.12 + 0.09 * np.sin(np.pi * t**0.9) - 0.01 * t
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = np.clip((lab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0.0, 1.0)
    encoded = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    table: NDArray[np.uint8] = np.rint(255 * np.concatenate([encoded, t[:, None]], axis=1)).astype(
        np.uint8
    )
    table.setflags(write=False)
    return table


def wall(dead: NDArray[np.bool_], scored: NDArray[np.bool_]) -> Wall:
    """How to draw the dead zone, and the scored zone where that is another one (bool H×W)."""
    edge = _edge_path(dead)
    scored_edge = "" if np.array_equal(dead, scored) else _edge_path(scored) or ""
    area = _area_path(dead)
    if edge is None or area is None:
        return Wall("", "", scored_edge, _hatch_uri(dead))
    return Wall(area, edge, scored_edge, "")


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _palette_uri(indices: NDArray[np.uint8], table: NDArray[np.uint8]) -> str:
    """Palette indices (uint8 H×W) as a PNG data URI; `table` gives each index its RGBA."""
    picture = Image.fromarray(indices)
    picture.putpalette(table[:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, transparency=table[:, 3].tobytes())
    return _uri("png", buffer)


def _runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of every run of True in a line."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(steps[::2], steps[1::2], strict=True)]


def _area_path(mask: NDArray[np.bool_]) -> str | None:
    """The region as rectangles, rows with the same runs merged; None where they are too many."""
    parts: list[str] = []
    top = 0
    for row in range(1, mask.shape[0] + 1):
        if row < mask.shape[0] and np.array_equal(mask[row], mask[top]):
            continue
        parts += [f"M{start} {top}H{end}V{row}H{start}Z" for start, end in _runs(mask[top])]
        if len(parts) > MAX_SEGMENTS:
            return None
        top = row
    return "".join(parts)


def _edge_path(mask: NDArray[np.bool_]) -> str | None:
    """The border inside the image as line segments; None where they are too many."""
    parts: list[str] = []
    for row, changes in enumerate(mask[1:] != mask[:-1], start=1):
        parts += [f"M{start} {row}H{end}" for start, end in _runs(changes)]
    for column, changes in enumerate((mask[:, 1:] != mask[:, :-1]).T, start=1):
        parts += [f"M{column} {start}V{end}" for start, end in _runs(changes)]
    return None if len(parts) > MAX_SEGMENTS else "".join(parts)


def _hatch_uri(mask: NDArray[np.bool_]) -> str:
    """Hatch and border of any mask as a PNG data URI of the mask's size."""
    rows, columns = np.indices(mask.shape)
    stripe = (rows + columns) % 8
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    indices = np.zeros(mask.shape, dtype=np.uint8)
    indices[mask & (stripe == 0)] = 1
    indices[mask & (stripe == 1)] = 2
    indices[mask & ~inner] = 3
    table = np.array(
        [[0, 0, 0, 0], [255, 255, 255, 190], [0, 0, 0, 110], [255, 255, 255, 255]], dtype=np.uint8
    )
    return _palette_uri(indices, table)
