"""Image files from strangers, opened by Pillow under limits of our own.

What is set elsewhere in the process, in Pillow or in `warnings`, changes nothing here: the readers
are called one by one, a closed list of them, and what they say of a size is checked before a pixel
is decoded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import Image, ImageFile

from camaudit.errors import ImageError

__all__ = ["FORMATS", "MAX_PIXELS", "check_pixels", "opened"]

MAX_PIXELS = 100_000_000

# A closed list: Pillow also opens formats that start other programs (EPS runs Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")

_PREFIX = 16  # bytes by which a format is told


@contextmanager
def opened(data: bytes, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """The image in `data`, not decoded yet; whatever Pillow raises in the context is translated.

    Raises:
        ImageError: with a one-line reason, if it is of no format of `formats`, damaged or
            truncated, or larger than 100 megapixels by its header; and where Pillow is set to take
            truncated files for whole ones.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process, so that damage would go "
            "unnoticed: set it to False"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _first(data, formats) as image:
                check_pixels(image.width, image.height)
                yield image
        except ImageError:
            raise
        # Pillow's readers raise a dozen unrelated types on damaged files (OSError, SyntaxError,
        # struct.error, ...), so this is the one boundary where all of them are translated.
        except Exception as error:
            raise ImageError(_reason(error)) from error


def check_pixels(width: int, height: int) -> None:
    """Raise :class:`ImageError` for an image that is too large to be decoded safely."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{width}×{height} is more than {MAX_PIXELS // 1_000_000} megapixels; scale it down"
        )


def _first(data: bytes, formats: Sequence[str]) -> Image.Image:
    """As the first format that takes the data; Image.open would ask `Image.MAX_IMAGE_PIXELS`."""
    Image.init()
    for name in formats:
        if name not in Image.OPEN:  # this Pillow was built without it
            continue
        reader, accepts = Image.OPEN[name]
        if accepts is not None and accepts(data[:_PREFIX]) is not True:
            continue
        try:
            image: Image.Image = reader(io.BytesIO(data), "")
        except Exception:  # noqa: S112 - not of this format, or damaged: both are told below
            continue
        return image
    raise ImageError(f"not an image, or damaged at its very start (readable: {', '.join(formats)})")


def _reason(error: Exception) -> str:
    """One line for whatever Pillow raised."""
    if isinstance(error, MemoryError):
        return "decoding it takes more memory than there is"
    detail = " ".join(str(error).split()) or type(error).__name__
    return f"damaged or truncated image ({detail})"
