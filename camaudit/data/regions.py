"""Regions: the annotated objects of photographs in the images as the model sees them.

Boxes, outlines and masks are mapped through the crop that each image shows, so that localisation
metrics compare a map with the object at the same pixels. An image without a known object has an
empty region, which metrics exclude and count; it is never a hit or a miss.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from camaudit.data.annotations import (
    WANTED,
    Annotated,
    Labelled,
    Polygon,
    Regions,
    some,
)
from camaudit.data.coco import coco_file
from camaudit.data.folders import printable
from camaudit.data.images import Box, Size
from camaudit.data.masks import mask_folder, read_mask
from camaudit.data.stack_mix import Mask, StackImage
from camaudit.data.voc import Origin, voc_folder
from camaudit.errors import UsageError

__all__ = [
    "Annotated", "Labelled", "Regions", "centres", "labels_of", "read_regions", "regions_of",
]  # fmt: skip

_EDGES = 4096  # edges of a polygon that are crossed with all rows at once
_HIDDEN = "two photographs are stacked in them, one of which the model cannot see"
_Floats = npt.NDArray[np.float64]


def read_regions(path: Path | str, *, origin: Origin = 1, boxes_only: bool = False) -> Regions:
    """Read the objects of photographs; coordinates are those of the upright photograph.

    * A COCO JSON file: `images` (id, file_name, width, height), `annotations` (image_id, `bbox` =
      [x, y, w, h], the box x … x + w, and `segmentation` as polygons or absent) and `categories`
      (id, name) or none. A box may be 10⁻⁶ pixels beyond an edge, as sums of decimals are.
    * A folder of Pascal VOC XML files, one a photograph and named after it, in the folder or in
      its sub-folders. With `origin` 1, Pascal's own, bounds are the first and last pixel counted
      from 1: xmin − 1 … xmax. With `origin` 0 they are corners: xmin … xmax, as in ImageNet's
      files, which know an xmin of 0.
    * A folder of PNG masks, `<photograph without suffix>.png`, not zero where the object is. They
      are opened when they are needed, :func:`read_mask`.

    Args:
        path: the file or the folder.
        origin: what the upper left pixel is called in Pascal VOC files.
        boxes_only: take the boxes of a COCO file and do not look at its outlines.

    Raises:
        UsageError: naming the file and the annotation, for everything that is not as above.
    """
    if origin not in (0, 1):
        raise UsageError(f"origin must be 0 or 1, got {origin!r}")
    target = Path(path)
    shown = printable(str(target))
    try:
        if not target.is_dir():
            return coco_file(target, shown, boxes_only=boxes_only)
        files = _listed(target)
    except OSError as error:
        raise UsageError(f"{WANTED}; {shown} cannot be read: {error.strerror}") from error
    kinds = {PurePosixPath(name).suffix.lower() for name, _ in files}
    if {".xml", ".png"} <= kinds:
        raise UsageError(f"{WANTED}; {shown} holds both XML and PNG files: keep them apart")
    if ".xml" in kinds:
        return voc_folder(files, shown, origin)
    if ".png" in kinds:
        return mask_folder(files, shown)
    raise UsageError(f"{WANTED}; {shown} holds neither, nor do its sub-folders")


def regions_of(
    regions: Regions, images: Sequence[StackImage], *, size: Size, only_label: bool = False
) -> tuple[Mask, tuple[str, ...]]:
    """The region of each image's object: pixels whose centre lies in the object.

    The centre of column j is at ``left + (j + ½)/W · (right − left)`` of the photograph's width,
    where (left, …, right, …) is the crop that the image shows; rows likewise. Boxes are half-open,
    outlines are filled by the even-odd rule, of masks the pixel is taken that the centre falls in.
    Several objects are united. Declared sizes of photographs are used as they are: what counts is
    the fraction of the width and height.

    An annotation belongs to a photograph whose id (posix path in the scanned folder) it names, or
    else whose file name, or else whose stem. It never belongs to two of them. Where some ids with
    folders are named, an annotation of another folder is not matched by its file name.

    Args:
        regions: of :func:`read_regions`.
        images: those with a single photograph can have a region.
        size: side of the square, or (H, W), of the maps.
        only_label: only objects count whose class is the image's `label_name`, where the
            annotations name classes.

    Returns:
        Boolean masks (N, H, W), empty where there is no region, and notes: how many images have
        none for which reason, and what was uncertain.

    Raises:
        UsageError: naming both, if two annotations fit one photograph, or two photographs one
            annotation; if a mask cannot be read, or `size` is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise UsageError(f"size must be a positive side or (height, width), not {size!r}")
    single = [image for image in images if _is_single(image)]
    matches = _matched(regions.entries, dict.fromkeys(i.sources[0].id for i in single))
    masks = np.zeros((len(images), height, width), dtype=np.bool_)
    told = _Notes()
    for mask, image in zip(masks, images, strict=True):
        if not _is_single(image):
            told.without[_HIDDEN].append(image.id)
            continue
        entry, level = matches.get(image.sources[0].id, (None, ""))
        if entry is None:
            told.without[f"{regions.source} does not annotate them"].append(image.sources[0].id)
            continue
        marked = None if entry.mask is None else read_mask(entry.mask)
        told.add(level, image, entry.size if marked is None else marked.shape[::-1])
        if marked is None:
            chosen = _chosen(entry, image, only_label=only_label and regions.named)
            reason = _fill(mask, entry, chosen, image.sources[0].crop)
        else:
            reason = _fill_from(mask, marked, image.sources[0].crop)
        if reason:
            told.without[reason].append(image.sources[0].id)
    unnamed = only_label and not regions.named
    return masks, (*regions.notes, *told.lines(regions.source, len(images), unnamed=unnamed))


def labels_of(regions: Regions, images: Sequence[StackImage]) -> list[tuple[str, ...]]:
    """The class names of the annotated objects of each image, each once, in the file's order.

    None for images of two photographs, which annotations do not fit. Photographs are matched as by
    :func:`regions_of`. Raises :class:`UsageError` for annotations without class names, and for two
    that fit one photograph.
    """
    if not regions.named:
        raise UsageError(
            f"{regions.source} names no classes, so nothing is known of what its images show: "
            "expected objects with class names (a COCO file with categories, or Pascal VOC files)"
        )
    single = [image.sources[0].id for image in images if _is_single(image)]
    matches = _matched(regions.entries, dict.fromkeys(single))
    found = []
    for image in images:
        entry = matches.get(image.sources[0].id) if _is_single(image) else None
        names = [] if entry is None else [one.label for one in entry[0].objects]
        found.append(tuple(dict.fromkeys(name for name in names if name is not None)))
    return found


def _is_single(image: StackImage) -> bool:
    return image.pairing == "single" and len(image.sources) == 1


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """Files of a folder and its sub-folders, where photographs can be, by printable posix path."""
    files: list[tuple[str, Path]] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            files += [
                (f"{printable(path.name)}/{printable(inner.name)}", inner)
                for inner in sorted(path.iterdir())
                if inner.is_file() and not inner.name.startswith(".")
            ]
        elif path.is_file():
            files.append((printable(path.name), path))
    return files


@dataclass
class _Notes:
    """Photographs by what there is to say of them."""

    without: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_level: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    aspect: list[str] = field(default_factory=list)

    def add(self, level: str, image: StackImage, size: tuple[int, ...]) -> None:
        """Note how an image was matched, and whether its photograph has the declared aspect."""
        self.by_level[level].append(image.sources[0].id)
        if _other_aspect(size, image):
            self.aspect.append(image.sources[0].id)

    def lines(self, source: str, total: int, *, unnamed: bool) -> Iterator[str]:
        """One sentence for each thing to know."""
        for reason, ids in self.without.items():
            yield f"{len(ids)} of {total} images have no region: {reason} ({some(ids)})"
        for level in ("file name", "stem"):
            if ids := self.by_level.get(level, []):
                yield (
                    f"{len(ids)} of {total} images were found in {source} by their {level} alone "
                    f"({some(ids)})"
                )
        if self.aspect:
            yield (
                f"the size that {source} declares of {len(self.aspect)} photographs "
                f"({some(self.aspect)}) has another aspect than the upright photograph; their "
                "regions were used as fractions of the declared size"
            )
        if unnamed:
            yield f"{source} names no classes, so every object of an image counts"


def _other_aspect(size: tuple[int, ...], image: StackImage) -> bool:
    """Whether a declared size is of another aspect than the photograph that an image shows.

    Pixels are scaled alike in both directions, up to the rounding of the scaled sides, so the
    photograph's aspect follows from the crop and the shape of the image.
    """
    left, top, right, bottom = image.sources[0].crop
    height, width = image.size
    aspect = width / height * (bottom - top) / (right - left)
    rounding = 2 / min(height, width) + 1 / min(size)
    return bool(abs(size[0] / size[1] / aspect - 1) > rounding)


# Which annotation is of which photograph


def _matched(entries: Iterable[Annotated], ids: Iterable[str]) -> dict[str, tuple[Annotated, str]]:
    """The annotation of each photograph that has one, and by what it was found."""
    index: dict[tuple[str, str], list[Annotated]] = defaultdict(list)
    for entry in entries:
        for key in _entry_keys(entry):
            index[key].append(entry)
    left = list(ids)
    found: dict[str, tuple[Annotated, str]] = {}
    taken: dict[Annotated, str] = {}
    for level in ("id", "file name", "stem"):
        before = set(taken)
        foldered = any("/" in photo for photo, (_, by) in found.items() if by == "id")
        for photo in left:
            fits = [
                entry
                for key in _photo_keys(photo, level)
                for entry in index.get(key, [])
                if entry not in before and not (foldered and _elsewhere(entry.name, photo))
            ]
            _check_one(photo, fits, taken, level)
            if fits:
                found[photo] = (fits[0], level)
                taken[fits[0]] = photo
        left = [photo for photo in left if photo not in found]
    return found


def _entry_keys(entry: Annotated) -> list[tuple[str, str]]:
    path = PurePosixPath(entry.name)
    if entry.bare:
        return [("bare", entry.name), ("stem", path.name)]
    return [("id", entry.name), ("file name", path.name), ("stem", path.stem)]


def _photo_keys(photo: str, level: str) -> list[tuple[str, str]]:
    path = PurePosixPath(photo)
    if level == "id":
        return [("id", photo), ("bare", str(path.parent / path.stem))]
    return [(level, path.name if level == "file name" else path.stem)]


def _elsewhere(name: str, photo: str) -> bool:
    """Whether both paths name folders, and other ones."""
    one, other = PurePosixPath(name).parent, PurePosixPath(photo).parent
    return PurePosixPath() not in (one, other) and one != other


def _check_one(
    photo: str, fits: Sequence[Annotated], taken: dict[Annotated, str], level: str
) -> None:
    """Refuse a match that could be another."""
    if len(fits) > 1:
        raise UsageError(
            f"{fits[0].where} and {fits[1].where} both fit the photograph {photo} by its {level}: "
            "name the photograph by its path in the folder, or leave one of them out"
        )
    if fits and fits[0] in taken:
        raise UsageError(
            f"{fits[0].where} fits both photographs {taken[fits[0]]} and {photo} by their {level}: "
            "name the one it is of by its path in the folder"
        )


# From the photograph to the image


def _chosen(entry: Annotated, image: StackImage, *, only_label: bool) -> list[Labelled]:
    return [item for item in entry.objects if not only_label or item.label == image.label_name]


def _fill(mask: Mask, entry: Annotated, objects: Sequence[Labelled], crop: Box) -> str | None:
    """Set the pixels of the objects in `mask`; why there are none, if so."""
    if not entry.objects:
        return "their annotation lists no object"
    if not objects:
        return "no object of their class is annotated"
    xs, ys = centres(mask.shape, crop, entry.size)
    for item in objects:
        mask |= _object_mask(item, xs, ys)
    return _lost(mask, inside=any(_overlaps(_extent(item), crop, entry.size) for item in objects))


def _fill_from(mask: Mask, marked: Mask, crop: Box) -> str | None:
    """Set the pixels of `mask` whose centre falls in a pixel that is `marked`; why none, if so."""
    if not marked.any():
        return "their mask marks no pixel"
    height, width = marked.shape
    xs, ys = centres(mask.shape, crop, (width, height))
    columns = np.clip(np.floor(xs), 0, width - 1).astype(np.intp)
    rows = np.clip(np.floor(ys), 0, height - 1).astype(np.intp)
    mask |= marked[np.ix_(rows, columns)]
    part = marked[
        math.floor(crop[1] * height) : math.ceil(crop[3] * height),
        math.floor(crop[0] * width) : math.ceil(crop[2] * width),
    ]
    return _lost(mask, inside=bool(part.any()))


def _lost(mask: Mask, *, inside: bool) -> str | None:
    """Why nothing of an object is left in `mask`; `inside` if a part of it lies in the crop."""
    if mask.any():
        return None
    if not inside:
        return "their object is cropped away"
    return f"their object holds no pixel's centre at {mask.shape[1]}×{mask.shape[0]} pixels"


def centres(shape: tuple[int, ...], crop: Box, size: tuple[int, int]) -> tuple[_Floats, _Floats]:
    """Where the centres of an image's columns and rows lie in a photograph, in its pixels.

    Args:
        shape: (H, W) of the image.
        crop: (left, top, right, bottom), the part that it shows as fractions of the photograph.
        size: (width, height) of the photograph.

    >>> [axis.tolist() for axis in centres((1, 2), (0.5, 0.0, 1.0, 1.0), (8, 6))]
    [[5.0, 7.0], [3.0]]
    """
    left, top, right, bottom = crop
    xs = left + (np.arange(shape[1]) + 0.5) / shape[1] * (right - left)
    ys = top + (np.arange(shape[0]) + 0.5) / shape[0] * (bottom - top)
    return xs * size[0], ys * size[1]


def _object_mask(item: Labelled, xs: _Floats, ys: _Floats) -> Mask:
    """(H, W), True where the centre (x, y) lies in the outline, or in the box without one."""
    if item.polygons:
        parts = [_polygon_mask(corners, xs, ys) for corners in item.polygons]
        united: Mask = np.logical_or.reduce(parts)
        return united
    x0, y0, x1, y1 = item.box
    inside: Mask = np.outer((y0 <= ys) & (ys < y1), (x0 <= xs) & (xs < x1))
    return inside


def _polygon_mask(corners: Polygon, xs: _Floats, ys: _Floats) -> Mask:
    """Even-odd rule: a centre is inside if an odd number of edges lies at or left of it.

    Filled at the image's own size, so a photograph's size costs no memory.
    """
    flips = np.zeros((len(ys), len(xs) + 1), dtype=np.uint8)
    ends = np.roll(corners, -1, axis=0)
    for first in range(0, len(corners), _EDGES):
        (x0, y0), (x1, y1) = (part[first : first + _EDGES].T for part in (corners, ends))
        edge, row = np.nonzero((y0[:, None] <= ys) != (y1[:, None] <= ys))
        share = (ys[row] - y0[edge]) / (y1[edge] - y0[edge])
        crossing = x0[edge] + share * (x1[edge] - x0[edge])
        np.bitwise_xor.at(flips, (row, np.searchsorted(xs, crossing)), 1)
    inside: Mask = np.bitwise_xor.accumulate(flips, axis=1)[:, :-1].astype(np.bool_)
    return inside


def _extent(item: Labelled) -> Box:
    """The box around the outline of an object, or its box without one."""
    if not item.polygons:
        return item.box
    corners = np.concatenate(item.polygons)
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return x0, y0, x1, y1


def _overlaps(box: Box, crop: Box, size: tuple[int, int]) -> bool:
    """Whether a part of the box, in pixels of `size`, is shown."""
    width, height = size
    left, top, right, bottom = crop
    across = box[0] < right * width and box[2] > left * width
    return across and box[1] < bottom * height and box[3] > top * height
