"""Images: a file becomes upright 8-bit RGB, or an `ImageError` says why not; then it is resized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from camaudit.data.decoder import decode_elsewhere, is_quick
from camaudit.data.decoding import Decoded, Pixels, decoded
from camaudit.errors import ImageError, UsageError
from camaudit.pictures import FORMATS, MAX_PIXELS

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Box",
    "Decoded",
    "Pixels",
    "Size",
    "cover_box",
    "decode",
    "read_file",
    "resize_center_crop",
]

Size: TypeAlias = "int | tuple[int, int]"
Box: TypeAlias = tuple[float, float, float, float]

MAX_BYTES = 1 << 30
MAX_ASPECT = 8

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif"),
        *(".tiff", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
    }
)


def decode(source: Path | bytes, *, min_side: int = 32) -> Decoded:
    """Decode a file, or the bytes of one, to upright 8-bit RGB.

    * greyscale, palette, 1-bit, CMYK, YCbCr, LAB: converted as Pillow does;
    * transparency: composited over white, ``(a·c + (255 − a)·255) / 255``, rounded;
    * 16-bit greyscale: ``v / 257``, rounded, so that 65535 becomes 255 (never clipped);
    * 32-bit integers and floats: taken as 0…1 (floats only), 0…255 or 0…65535, whichever is the
      first to hold all values, otherwise min-max scaled; the note tells which;
    * several frames: the first one.

    What no file of its kind and size can make slow is decoded here, anything else in a process of
    its own, see :mod:`camaudit.data.decoder`, that is ended after a minute.

    Raises:
        ImageError: with a one-line reason, if the file is missing, empty, no image, damaged or
            truncated, smaller than `min_side` pixels on a side, larger than 100 megapixels (told
            from the header, before any pixel is decoded), or too slow to decode.
    """
    if min_side < 1:
        raise UsageError(f"min_side must be 1 or more, not {min_side}")
    data = source if isinstance(source, bytes) else read_file(source)
    if not data:
        raise ImageError("the file is empty")
    if is_quick(data):
        return decoded(data, min_side=min_side)
    return decode_elsewhere(data, min_side=min_side)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        ImageError: if there is no such file, if it is something else (a folder, a pipe), if it
            cannot be read, or has more than a gibibyte.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ImageError("not a regular file" if path.exists() else "there is no such file")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"more than {MAX_BYTES >> 20} MiB, the most that is read")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error


def resize_center_crop(pixels: Pixels, size: Size) -> Pixels:
    """Scale an image until it just covers `size`, then cut out the centre.

    For a square `size` S this is the usual validation transform: the short side becomes S, the
    long one ``⌊S · long / short⌋``, bilinear with antialiasing; then the central S×S pixels. The
    longest images (more than 8 times longer than the output asks for) are cut to their central
    part first, so that a ribbon cannot grow beyond all bounds.

    Args:
        pixels: uint8 (h, w, 3).
        size: side of the square, or (H, W).

    Returns:
        uint8 (H, W, 3), a new array.

    Raises:
        UsageError: if `pixels` is not uint8 (h, w, 3), or `size` is not positive.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"expected uint8 pixels of shape (H, W, 3), got {pixels.dtype} {pixels.shape}"
        )
    out_h, out_w = _sides(size)
    plan = _cover(pixels.shape[0], pixels.shape[1], out_h, out_w)
    part = pixels[plan.y : plan.y + plan.h, plan.x : plan.x + plan.w]
    image = Image.fromarray(np.ascontiguousarray(part))
    scaled = np.array(image.resize((plan.scaled_w, plan.scaled_h), Image.Resampling.BILINEAR))
    cut = scaled[plan.top : plan.top + out_h, plan.left : plan.left + out_w]
    return np.ascontiguousarray(cut, dtype=np.uint8)


def cover_box(height: int, width: int, size: Size) -> Box:
    """The part of an image that `resize_center_crop` shows.

    Returns:
        (left, top, right, bottom) as fractions of the image's width and height, in [0, 1].
    """
    out_h, out_w = _sides(size)
    plan = _cover(height, width, out_h, out_w)
    step_x, step_y = plan.w / plan.scaled_w, plan.h / plan.scaled_h
    return (
        (plan.x + plan.left * step_x) / width,
        (plan.y + plan.top * step_y) / height,
        min(1.0, (plan.x + (plan.left + out_w) * step_x) / width),
        min(1.0, (plan.y + (plan.top + out_h) * step_y) / height),
    )


@dataclass(frozen=True)
class _Cover:
    """Source part (x, y, w, h), the size it is scaled to, and the corner of the central cut."""

    x: int
    y: int
    w: int
    h: int
    scaled_w: int
    scaled_h: int
    left: int
    top: int


def _cover(height: int, width: int, out_h: int, out_w: int) -> _Cover:
    """Plan of `resize_center_crop`; the centre is rounded half to even, as torchvision does."""
    h = min(height, max(1, MAX_ASPECT * out_h * width // out_w))
    w = min(width, max(1, MAX_ASPECT * out_w * height // out_h))
    if w * out_h <= h * out_w:
        scaled_w, scaled_h = out_w, max(out_h, out_w * h // w)
    else:
        scaled_w, scaled_h = max(out_w, out_h * w // h), out_h
    return _Cover(
        x=(width - w) // 2,
        y=(height - h) // 2,
        w=w,
        h=h,
        scaled_w=scaled_w,
        scaled_h=scaled_h,
        left=round((scaled_w - out_w) / 2),
        top=round((scaled_h - out_h) / 2),
    )


def _sides(size: Size) -> tuple[int, int]:
    """`size` as (H, W)."""
    out_h, out_w = (size, size) if isinstance(size, int) else size
    if out_h < 1 or out_w < 1:
        raise UsageError(f"size must be a positive side or (height, width), not {size!r}")
    return out_h, out_w
