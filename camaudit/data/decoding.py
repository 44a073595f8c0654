"""Decoding: the bytes of an image file become upright 8-bit RGB, in this process.

Every conversion that changes what a viewer would see (colour model, depth, transparency,
orientation, further frames) is told in `Decoded.notes`, so a report can repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from camaudit.errors import ImageError
from camaudit.pictures import check_pixels, opened

__all__ = ["Decoded", "Pixels", "decoded"]

Pixels: TypeAlias = npt.NDArray[np.uint8]

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODE_NAMES = {
    "1": "1-bit",
    "L": "greyscale",
    "LA": "greyscale with alpha",
    "P": "palette",
    "PA": "palette with alpha",
}


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image as upright 8-bit RGB.

    `pixels` is uint8 of shape (H, W, 3). `notes` tells, in the order of the steps, what was done
    to get there: "converted from CMYK", "turned upright (EXIF orientation 6)", "first of 12
    frames".
    """

    pixels: Pixels = field(repr=False)
    notes: tuple[str, ...] = ()


def decoded(data: bytes, *, min_side: int) -> Decoded:
    """What :func:`camaudit.data.images.decode` describes, for as long as it may take."""
    with opened(data) as image:
        return _decoded(image, min_side)


def _decoded(image: Image.Image, min_side: int) -> Decoded:
    """Pixels and notes of an opened image, checked before and after loading."""
    _check_size(image.width, image.height, min_side)
    image.load()
    turned, orientation = _upright(image)
    pixels, conversion = _to_rgb(turned, image.format)
    _check_size(pixels.shape[1], pixels.shape[0], min_side)
    return Decoded(pixels, (*conversion, *orientation, *_frames(image)))


def _check_size(width: int, height: int, min_side: int) -> None:
    """Refuse an image that is too large to be decoded safely or too small to be looked at."""
    check_pixels(width, height)
    if min(width, height) < min_side:
        raise ImageError(f"{width}×{height} is too small: each side needs {min_side} pixels")


def _upright(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The loaded image turned as its EXIF orientation says.

    It is read after loading, because Pillow turns TIFF files while loading and then drops the tag.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image, ("unreadable EXIF ignored",)
    if orientation not in _UPRIGHT:
        return image, ()
    turned = image.transpose(_UPRIGHT[orientation])
    return turned, (f"turned upright (EXIF orientation {orientation})",)


def _frames(image: Image.Image) -> tuple[str, ...]:
    """A note if the file holds more than the frame that was used."""
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # damage after the first frame, which is already decoded
        return ("first frame; a further frame is damaged",)
    return (f"first of {count} frames",) if count > 1 else ()


def _to_rgb(image: Image.Image, file_format: str | None) -> tuple[Pixels, tuple[str, ...]]:
    """Convert a loaded image of any mode to RGB."""
    mode = image.mode
    if mode.startswith("I;16"):
        return _from_16_bit(np.asarray(image).astype(np.float64))
    if mode == "I" and file_format in ("PNG", "PPM"):  # these formats end at 16 bits
        return _from_16_bit(np.asarray(image).astype(np.float64))
    if mode in ("I", "F"):
        return _from_32_bit(np.asarray(image).astype(np.float64), floating=mode == "F")
    name = _MODE_NAMES.get(mode, mode)
    if image.has_transparency_data:
        return _over_white(np.array(image.convert("RGBA")), name)
    notes = () if mode == "RGB" else (f"converted from {name}",)
    return np.array(image.convert("RGB")), notes


def _over_white(rgba: Pixels, name: str) -> tuple[Pixels, tuple[str, ...]]:
    """Composite (H, W, 4) over white: ``(a·c + (255 − a)·255) / 255``, rounded."""
    converted = () if name == "RGB" else (f"converted from {name}",)
    alpha = rgba[..., 3:].astype(np.uint32)
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3]), converted
    blended = (alpha * rgba[..., :3] + (255 - alpha) * 255 + 127) // 255
    return blended.astype(np.uint8), (*converted, "transparency composited over white")


def _from_16_bit(values: npt.NDArray[np.float64]) -> tuple[Pixels, tuple[str, ...]]:
    """(H, W) values 0…65535 to RGB: ``v / 257``, so that both ends of the range are kept."""
    return _grey(values / 257), ("converted from 16-bit greyscale (divided by 257)",)


def _from_32_bit(
    values: npt.NDArray[np.float64], *, floating: bool
) -> tuple[Pixels, tuple[str, ...]]:
    """(H, W) values of unknown range to RGB; the first range that holds them all is taken."""
    if not np.isfinite(values).all():
        raise ImageError("a floating-point image with NaN or infinite values")
    low, high = float(values.min()), float(values.max())
    kind = "32-bit float" if floating else "32-bit integer"
    for top in (1, 255, 65535) if floating else (255, 65535):
        if low >= 0 and high <= top:
            return _grey(values * (255 / top)), (f"converted from {kind} (0 to {top})",)
    scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return _grey(scaled), (f"converted from {kind} (min-max scaled from {low:g} to {high:g})",)


def _grey(values: npt.NDArray[np.float64]) -> Pixels:
    """(H, W) values 0…255, rounded, as three equal channels."""
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
