"""A contact sheet: every image of a data set small, with its label, and the seam marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

from camaudit.data.folders import printable
from camaudit.data.images import Pixels
from camaudit.data.manifest import ManifestWall
from camaudit.data.seam import dead_mask

__all__ = ["MOST", "Tile", "contact_sheet", "png", "thumbnail"]

MOST = 400  #: images on one sheet; a longer one could hardly be looked at

_SIDE, _COLUMNS = 144, 10
_GAP, _LINE, _FONT = 10, 13, 11
_PAPER, _INK, _FAINT, _SEAM = (255, 255, 255), (20, 20, 20), (110, 110, 110), (225, 0, 120)


@dataclass(frozen=True, eq=False)
class Tile:
    """An image made small (see :func:`thumbnail`), with a title and a fainter second line."""

    pixels: Image.Image = field(repr=False)
    title: str
    subtitle: str


def thumbnail(pixels: Pixels) -> Image.Image:
    """An image (uint8, H×W×3) with its longer side brought to 144 pixels."""
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = Image.Resampling.BOX if scale > 1 else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize(size, method)


def contact_sheet(tiles: Sequence[Tile], *, wall: ManifestWall, size: tuple[int, int]) -> bytes:
    """The first 400 tiles in rows of ten, as the bytes of a PNG.

    A bar beside every image runs along its dead rows, of `size` (H, W) rows in all, and a line
    is drawn where the first of them begins.
    """
    shown = tiles[:MOST]
    columns = max(1, min(_COLUMNS, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    cell_w, cell_h = _SIDE + 2 * _GAP, _SIDE + 2 * _LINE + 2 * _GAP
    header = 2 * _LINE + _GAP
    sheet = Image.new("RGB", (columns * cell_w, rows * cell_h + header), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), _caption(tiles, wall, sheet.width), fill=_INK, font=_font())
    bands = _bands(wall, size)
    for index, tile in enumerate(shown):
        place = (index % columns * cell_w + _GAP, index // columns * cell_h + header)
        _put(sheet, draw, tile, place, bands)
    return png(sheet)


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG without metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def _caption(tiles: Sequence[Tile], wall: ManifestWall, width: int) -> str:
    count = f"{len(tiles)} images" if len(tiles) <= MOST else f"{MOST} of {len(tiles)} images"
    return _fitted(f"{count}; bars mark the dead rows: {wall.description}", width - 2 * _GAP)


def _bands(wall: ManifestWall, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Ranges of dead rows as fractions of the height."""
    height = size[0]
    dead = dead_mask(wall, size)[:, 0]
    edges = [row for row in range(1, height) if dead[row] != dead[row - 1]]
    starts = [0, *edges] if height and dead[0] else edges
    return [
        (first / height, last / height)
        for first, last in zip(starts[::2], [*starts[1::2], height], strict=False)
    ]


def _put(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    place: tuple[int, int],
    bands: Sequence[tuple[float, float]],
) -> None:
    x, y = place
    width, height = tile.pixels.size
    sheet.paste(tile.pixels, (x, y))
    for first, last in bands:
        top, bottom = y + round(first * height), y + round(last * height)
        if first > 0:
            draw.line((x - 4, top, x + width + 3, top), fill=_SEAM, width=1)
        for left in (x - 6, x + width + 3):
            draw.rectangle((left, top, left + 2, bottom - 1), fill=_SEAM)
    room = _SIDE + _GAP
    below = y + height + 2
    draw.text((x, below), _fitted(tile.title, room), fill=_INK, font=_font())
    draw.text((x, below + _LINE), _fitted(tile.subtitle, room), fill=_FAINT, font=_font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that the sheet needs no font of the system."""
    return ImageFont.load_default(_FONT)


def _fitted(text: str, room: int) -> str:
    """One line of text, shortened until it is at most `room` pixels wide."""
    font, line = _font(), printable(text)
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow without FreeType
        line = line.encode("ascii", "replace").decode()
    if font.getlength(line) <= room:
        return line
    while line and font.getlength(line + "...") > room:
        line = line[:-1]
    return line + "..."
