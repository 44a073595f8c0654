"""Normalisation: from 8-bit pixels to the standardised tensor that a model reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from camaudit.data.images import Pixels
from camaudit.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["NORMALISATIONS", "Normalisation", "Triple", "parse_preprocess"]

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the red, green and blue channel, for pixels in [0, 1]."""

    name: str
    mean: Triple
    std: Triple

    def to_tensor(
        self,
        pixels: Sequence[Pixels] | Pixels,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> torch.Tensor:
        """Standardise images: ``out[n, c, y, x] = (pixels[n, y, x, c] / 255 − mean[c]) / std[c]``.

        Computed in float64 and then rounded once, so every `dtype` holds the nearest value.

        Args:
            pixels: uint8 (N, H, W, 3), or a sequence of N arrays (H, W, 3) of one size.
            dtype: a floating-point type; float32 if None.
            device: where the result is put.

        Returns:
            (N, 3, H, W), contiguous.

        Raises:
            UsageError: if `pixels` is no uint8 of that shape, or `dtype` is not floating point.
        """
        import torch

        dtype = torch.float32 if dtype is None else dtype
        if not dtype.is_floating_point:
            raise UsageError(f"expected a floating-point dtype, got {dtype}")
        batch = _batch(pixels)
        standardised = (batch / 255.0 - np.array(self.mean)) / np.array(self.std)
        channels_first = np.ascontiguousarray(standardised.transpose(0, 3, 1, 2))
        return torch.from_numpy(channels_first).to(dtype).to(device)


NORMALISATIONS = {
    "imagenet": Normalisation("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lite": Normalisation("lite", (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
}
"""By name: torchvision's and most others' (`imagenet`), and EfficientNet-Lite's (`lite`)."""


def parse_preprocess(text: str) -> Normalisation:
    """Read a normalisation: a name, or MEAN/STD with one number or three in each.

    >>> parse_preprocess("0.5/0.25").std
    (0.25, 0.25, 0.25)

    Raises:
        UsageError: if it is neither, if a number is none or is not finite, if a mean lies outside
            [0, 1] (pixels are divided by 255 first), or if a standard deviation is not positive.
    """
    name = text.strip().lower()
    if name in NORMALISATIONS:
        return NORMALISATIONS[name]
    parts = name.split("/")
    if len(parts) != 2:
        raise _error(text, "that is neither a name nor two parts with one '/' between them")
    mean, std = _triple(parts[0], "mean", text), _triple(parts[1], "standard deviation", text)
    if not all(0 <= value <= 1 for value in mean):
        raise _error(text, "a mean lies outside 0…1; pixels are divided by 255 first")
    if not all(value > 0 for value in std):
        raise _error(text, "a standard deviation is not positive")
    return Normalisation(name, mean, std)


def _triple(part: str, what: str, text: str) -> Triple:
    """One number for all channels, or three with commas between them."""
    words = part.split(",")
    if len(words) not in (1, 3):
        raise _error(text, f"the {what} has {len(words)} numbers, not 1 or 3")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise _error(text, f"the {what} {part!r} is not made of numbers") from None
    if not all(math.isfinite(value) for value in values):
        raise _error(text, f"the {what} {part!r} is not finite")
    red, green, blue = values * (3 // len(values))
    return red, green, blue


def _error(text: str, why: str) -> UsageError:
    """The one error of this module: what was expected, what came, why not."""
    names = ", ".join(f"'{name}'" for name in NORMALISATIONS)
    return UsageError(
        f"expected {names}, or MEAN/STD such as '0.5/0.5' or '0.5,0.5,0.5/0.2,0.2,0.2'; "
        f"got {text!r}: {why}"
    )


def _batch(pixels: Sequence[Pixels] | Pixels) -> Pixels:
    """One uint8 array (N, H, W, 3)."""
    arrays = [np.asarray(image) for image in pixels]
    found = sorted({f"{image.dtype} {image.shape}" for image in arrays})
    if len(found) != 1:
        raise UsageError(f"expected at least one image, all of one size and type; got {found}")
    if arrays[0].dtype != np.uint8 or arrays[0].ndim != 3 or arrays[0].shape[2] != 3:
        raise UsageError(f"expected uint8 images of shape (H, W, 3), got {found[0]}")
    return np.stack(arrays)
