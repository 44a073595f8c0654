"""Masks: one black and white image a photograph, white where the object is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from camaudit.data.annotations import Annotated, Regions, gathered, split_by_suffix
from camaudit.data.folders import printable
from camaudit.data.images import read_file
from camaudit.errors import ImageError, UsageError
from camaudit.pictures import opened

__all__ = ["mask_folder", "read_mask"]


def mask_folder(files: Sequence[tuple[str, Path]], shown: str) -> Regions:
    """A folder of masks; none is opened yet."""
    wanted, notes = split_by_suffix(files, ".png")
    entries = [
        Annotated(name[: -len(".png")], f"{shown}/{name}", bare=True, mask=path)
        for name, path in wanted
    ]
    return gathered(shown, "masks", entries, notes=notes)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """A PNG mask as booleans (H, W), upright: True where any channel is not zero.

    In a palette image the index counts, and must be 0 exactly where the colour is black.

    Raises:
        UsageError: naming the file, if it is no PNG, is damaged, has more than 100 megapixels or
            transparency, or if its palette is ambiguous.
    """
    shown = printable(str(path))
    try:
        with opened(read_file(path), ("PNG",)) as image:
            image.load()
            return _marked(ImageOps.exif_transpose(image))
    except ImageError as error:
        raise UsageError(f"the mask {shown} cannot be used: {error}") from error


def _marked(image: Image.Image) -> npt.NDArray[np.bool_]:
    """Where a loaded mask is not zero."""
    if image.has_transparency_data:
        raise ImageError("it is transparent in parts, which is neither zero nor not: save it plain")
    marked: npt.NDArray[np.bool_] = np.asarray(image) != 0
    if image.mode == "P":
        black = ~np.asarray(image.convert("RGB")).any(axis=2)
        if (marked == black).any():
            raise ImageError("its palette is black elsewhere than at index 0: save it as greyscale")
    if marked.ndim == 3:
        marked = np.logical_or.reduce(marked, axis=2)
    return marked
