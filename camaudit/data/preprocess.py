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

__all__ = ["NORMALISATIONS", "Normalisation", "parse_preprocess"]

Channels = tuple[float, ...]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    Three are red, green and blue, one is grey. Another number is of images that come as tensors.
    """

    name: str
    mean: Channels
    std: Channels

    def to_tensor(
        self,
        pixels: Sequence[Pixels] | Pixels,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> torch.Tensor:
        """Standardise images: ``out[n, c, y, x] = (pixels[n, y, x, c] / 255 − mean[c]) / std[c]``.

        Computed in float64 and then rounded once, so every `dtype` holds the nearest value. For
        one channel, photographs become grey first, as Pillow's mode "L" has it: ITU-R 601 luma,
        rounded; what is grey already stays as it is.

        Args:
            pixels: uint8 (N, H, W, 3), or a sequence of N arrays (H, W, 3) of one size.
            dtype: a floating-point type; float32 if None.
            device: where the result is put.

        Returns:
            (N, C, H, W), contiguous, with C = 3 or 1 as the mean has it.

        Raises:
            UsageError: if `pixels` is no uint8 of that shape, if `dtype` is not floating point, or
                for another number of channels.
        """
        import torch

        dtype = torch.float32 if dtype is None else dtype
        if not dtype.is_floating_point:
            raise UsageError(f"expected a floating-point dtype, got {dtype}")
        batch = _batch(pixels)
        if len(self.mean) not in (1, 3):
            raise UsageError(
                f"photographs have 3 channels, or 1 as grey; the model reads {len(self.mean)}: "
                "give images as tensors"
            )
        if len(self.mean) == 1:
            batch = _grey(batch)
        standardised = (batch / 255.0 - np.array(self.mean)) / np.array(self.std)
        channels_first = np.ascontiguousarray(standardised.transpose(0, 3, 1, 2))
        return torch.from_numpy(channels_first).to(dtype).to(device)


NORMALISATIONS = {
    "imagenet": Normalisation("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lite": Normalisation("lite", (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
}
"""By name: torchvision's and most others' (`imagenet`), and EfficientNet-Lite's (`lite`)."""


def parse_preprocess(text: str, *, channels: int = 3) -> Normalisation:
    """Read a normalisation: a name, or MEAN/STD with one number in each or one a channel.

    For another number of channels than three, the three of a name are averaged.

    >>> parse_preprocess("0.5/0.25").std, parse_preprocess("imagenet", channels=1).mean
    ((0.25, 0.25, 0.25), (0.449,))

    Raises:
        UsageError: if it is neither, if a number is none or is not finite, if a mean lies outside
            [0, 1] (pixels are divided by 255 first), or if a standard deviation is not positive.
    """
    name = text.strip().lower()
    if name in NORMALISATIONS:
        return _averaged(NORMALISATIONS[name], channels)
    parts = name.split("/")
    if len(parts) != 2:
        raise _error(text, "that is neither a name nor two parts with one '/' between them")
    mean = _numbers(parts[0], "mean", text, channels)
    std = _numbers(parts[1], "standard deviation", text, channels)
    if not all(0 <= value <= 1 for value in mean):
        raise _error(text, "a mean lies outside 0…1; pixels are divided by 255 first")
    if not all(value > 0 for value in std):
        raise _error(text, "a standard deviation is not positive")
    return Normalisation(name, mean, std)


def _averaged(known: Normalisation, channels: int) -> Normalisation:
    """A named normalisation for another number of channels: the mean over its own."""
    if channels == len(known.mean):
        return known
    mean, std = (round(sum(values) / len(values), 12) for values in (known.mean, known.std))
    return Normalisation(f"{known.name}, averaged", (mean,) * channels, (std,) * channels)


def _numbers(part: str, what: str, text: str, channels: int) -> Channels:
    """One number for all channels, or one for each with commas between them."""
    words = part.split(",")
    if len(words) not in (1, channels):
        wanted = "1" if channels == 1 else f"1 or {channels}"
        raise _error(text, f"the {what} has {len(words)} numbers, not {wanted}")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise _error(text, f"the {what} {part!r} is not made of numbers") from None
    if not all(math.isfinite(value) for value in values):
        raise _error(text, f"the {what} {part!r} is not finite")
    return tuple(values * (channels // len(values)))


def _error(text: str, why: str) -> UsageError:
    """The one error of this module: what was expected, what came, why not."""
    names = ", ".join(f"'{name}'" for name in NORMALISATIONS)
    return UsageError(
        f"expected {names}, or MEAN/STD such as '0.5/0.5' or '0.5,0.5,0.5/0.2,0.2,0.2'; "
        f"got {text!r}: {why}"
    )


def _grey(batch: Pixels) -> Pixels:
    """Luma (N, H, W, 1) of (N, H, W, 3), in Pillow's whole numbers: weights that sum to 2¹⁶."""
    weighed = batch.astype(np.int64) @ np.array([19595, 38470, 7471])
    luma: Pixels = ((weighed + 0x8000) >> 16).astype(np.uint8)
    return luma[..., None]


def _batch(pixels: Sequence[Pixels] | Pixels) -> Pixels:
    """One uint8 array (N, H, W, 3)."""
    arrays = [np.asarray(image) for image in pixels]
    found = sorted({f"{image.dtype} {image.shape}" for image in arrays})
    if len(found) != 1:
        raise UsageError(f"expected at least one image, all of one size and type; got {found}")
    if arrays[0].dtype != np.uint8 or arrays[0].ndim != 3 or arrays[0].shape[2] != 3:
        raise UsageError(f"expected uint8 images of shape (H, W, 3), got {found[0]}")
    return np.stack(arrays)
