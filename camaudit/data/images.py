"""Images: any file that Pillow can read becomes upright 8-bit RGB, or an `ImageError` says why not.

Every conversion that changes what a viewer would see (colour model, depth, transparency,
orientation, further frames) is told in `Decoded.notes`, so a report can repeat it.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from camaudit.errors import ImageError, UsageError

__all__ = [
    "FORMATS",
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

Pixels: TypeAlias = npt.NDArray[np.uint8]
Size: TypeAlias = "int | tuple[int, int]"
Box: TypeAlias = tuple[float, float, float, float]

MAX_PIXELS = 100_000_000
MAX_ASPECT = 8

# A closed list: Pillow also opens formats that start other programs (EPS runs Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif"),
        *(".tiff", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
    }
)

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


def decode(source: Path | bytes, *, min_side: int = 32) -> Decoded:
    """Decode a file, or the bytes of one, to upright 8-bit RGB.

    * greyscale, palette, 1-bit, CMYK, YCbCr, LAB: converted as Pillow does;
    * transparency: composited over white, ``(a·c + (255 − a)·255) / 255``, rounded;
    * 16-bit greyscale: ``v / 257``, rounded, so that 65535 becomes 255 (never clipped);
    * 32-bit integers and floats: taken as 0…1 (floats only), 0…255 or 0…65535, whichever is the
      first to hold all values, otherwise min-max scaled; the note tells which;
    * several frames: the first one.

    Raises:
        ImageError: with a one-line reason, if the file is missing, empty, no image, damaged or
            truncated, smaller than `min_side` pixels on a side, or larger than 100 megapixels
            (told from the header, before any pixel is decoded).
    """
    if min_side < 1:
        raise UsageError(f"min_side must be 1 or more, not {min_side}")
    data = source if isinstance(source, bytes) else read_file(source)
    if not data:
        raise ImageError("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
                return _decode(image, min_side)
        except ImageError:
            raise
        # Pillow's readers raise a dozen unrelated types on damaged files (OSError, SyntaxError,
        # struct.error, ...), so this is the one boundary where all of them are translated.
        except Exception as error:
            raise ImageError(_reason(error)) from error


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        ImageError: if there is no such file, if it is something else (a folder, a pipe), or if it
            cannot be read.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ImageError("not a regular file" if path.exists() else "there is no such file")
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


def _known_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with (an unknown name would be a KeyError)."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _decode(image: Image.Image, min_side: int) -> Decoded:
    """Pixels and notes of an opened image, checked before and after loading."""
    _check_size(image.width, image.height, min_side)
    image.load()
    turned, orientation = _upright(image)
    pixels, conversion = _to_rgb(turned, image.format)
    _check_size(pixels.shape[1], pixels.shape[0], min_side)
    return Decoded(pixels, (*conversion, *orientation, *_frames(image)))


def _check_size(width: int, height: int, min_side: int) -> None:
    """Refuse an image that is too large to be decoded safely or too small to be looked at."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{width}×{height} is more than {MAX_PIXELS // 1_000_000} megapixels; scale it down"
        )
    if min(width, height) < min_side:
        raise ImageError(f"{width}×{height} is too small: each side needs {min_side} pixels")


def _reason(error: Exception) -> str:
    """One line for whatever Pillow raised."""
    if isinstance(error, UnidentifiedImageError):
        return f"not an image, or damaged at its very start (readable: {', '.join(FORMATS)})"
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels, scale it down ({detail})"
    return f"damaged or truncated image ({detail})"


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
