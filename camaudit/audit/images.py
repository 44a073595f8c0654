"""The images of an audit: photographs stacked for it, or data sets used as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from camaudit.audit.progress import Progress, Silent
from camaudit.audit.settings import Settings
from camaudit.data.collecting import collect
from camaudit.data.embedded import embedded_photos
from camaudit.data.folders import Skipped, printable, sha256_file
from camaudit.data.manifest import MANIFEST_NAME, Manifest, load_images, read_manifest
from camaudit.data.seam import dead_mask
from camaudit.data.stack_mix import StackImage, plain_images, stack_mix
from camaudit.errors import UsageError
from camaudit.redaction import cleaner
from camaudit.walls import DeadZone

__all__ = ["AuditImages", "DataSet", "audit_images", "data_size", "open_data"]

Size = tuple[int, int]

_BUILT = Path("datasets")  #: where the data commands write by default
_SHORT = ("stack-mix", "stack-gen")
_AUTHORS_CROP = 224 / 256  # of STACK-GEN: short side to 256, centre crop of 224


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set to audit on; `manifest` is None for a plain folder of images.

    `name` is unique among the data sets of a run, `sha256` is that of the manifest.
    """

    name: str
    folder: Path
    manifest: Manifest | None
    sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        """What results.json keeps of it."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "kind": None if self.manifest is None else self.manifest.kind,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, eq=False)
class AuditImages:
    """Images in the order in which they are audited.

    With data sets they take turns: the first image of each, then the second of each, so that any
    first part of `images` holds as much of every set. `origin` names the set of every image.
    """

    images: tuple[StackImage, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    data: tuple[DataSet, ...] = ()
    origin: tuple[str, ...] = field(default=(), repr=False)

    def first(self, count: int) -> int:
        """How many images from the start hold `count` of every data set (or of all images)."""
        if not self.data:
            return min(count, len(self.images))
        return sum(min(count, found) for found in Counter(self.origin).values())

    @property
    def largest(self) -> int:
        """How many images the largest data set has (or all images are)."""
        return max(Counter(self.origin).values()) if self.data else len(self.images)


def open_data(folders: Sequence[Path]) -> tuple[DataSet, ...]:
    """The data sets in `folders`, by their manifests; no image is opened.

    Raises :class:`UsageError` for a folder that is not there, or a manifest that cannot be read.
    """
    found = [_opened(_found(given)) for given in folders]
    twice = Counter(one.folder.resolve() for one in found)
    for one in found:
        if twice[one.folder.resolve()] > 1:
            raise UsageError(f"{one.folder} is named twice: give every data set once")
    names = [one.name for one in found]
    clean = cleaner()  # names are parts of the ids of images
    while clashing := {name for name, uses in Counter(names).items() if uses > 1}:
        # a folder may be another set's name, so that one round does not always do
        names = [
            printable(clean(str(one.folder))) if name in clashing else name
            for one, name in zip(found, names, strict=True)
        ]
    return tuple(replace(one, name=name) for one, name in zip(found, names, strict=True))


def data_size(data: Sequence[DataSet]) -> int | None:
    """Height and width of the images of the data sets; None where no manifest says so.

    Raises :class:`UsageError` where they are not square or differ.
    """
    sizes = {one.manifest.size: one for one in data if one.manifest is not None}
    if len(sizes) > 1 or any(height != width for height, width in sizes):
        listed = "; ".join(f"{one.name}: {size[0]}×{size[1]}" for size, one in sizes.items())
        raise UsageError(f"expected data sets of one square size; got {listed}: audit each alone")
    return next(iter(sizes))[0] if sizes else None


def audit_images(
    settings: Settings,
    zone: DeadZone | Size,
    data: Sequence[DataSet] = (),
    *,
    keep: float = 1.0,
    progress: Progress | None = None,
) -> AuditImages:
    """The images that the settings ask for, at the size of the zone's pixels.

    Photographs of classes are stacked at the zone. Where there is none, but (height, width)
    instead, they are shown as they are; `keep` is then the central share of both sides that is.
    Raises :class:`UsageError` for data sets of another size or whose files were changed, and
    :class:`~camaudit.errors.ImageError` where no image can be used.
    """
    count, seed = settings.image_count, settings.seed
    progress = progress or Silent()
    if data:
        return _of_data(data, zone, count=count, seed=seed, progress=progress)
    collection = embedded_photos() if settings.images is None else collect(settings.images)
    if isinstance(zone, DeadZone) and collection.classes:
        dead = zone.pixel_dead.numpy()
        progress.start(count or len(collection.classes))
        found = stack_mix(
            collection, dead=dead, count=count, seed=seed, pairs=settings.pairs,
            told=progress.advance,
        )  # fmt: skip
    elif settings.pairs == "different":
        raise UsageError(
            f"--pairs different needs a folder with one sub-folder a class; {settings.images} has "
            "no classes"
        )
    else:
        progress.start(count or len(collection.photos))
        found = plain_images(
            collection, size=_size(zone), count=count, seed=seed, keep=keep, told=progress.advance
        )
    return AuditImages(found.images, (*collection.skipped, *found.skipped), found.warnings)


def _of_data(
    data: Sequence[DataSet],
    zone: DeadZone | Size,
    *,
    count: int | None,
    seed: int,
    progress: Progress,
) -> AuditImages:
    sets = [_loaded(one, zone, count=count, seed=seed, progress=progress) for one in data]
    order = sorted(
        (place, number) for number, found in enumerate(sets) for place in range(len(found.images))
    )
    prefix = len(data) > 1
    images, origin = [], []
    for place, number in order:
        image, name = sets[number].images[place], data[number].name
        images.append(replace(image, id=f"{name}/{image.id}") if prefix else image)
        origin.append(name)
    return AuditImages(
        tuple(images),
        tuple(entry for found in sets for entry in found.skipped),
        tuple(text for found in sets for text in found.warnings),
        tuple(data),
        tuple(origin),
    )


def _loaded(
    one: DataSet, zone: DeadZone | Size, *, count: int | None, seed: int, progress: Progress
) -> AuditImages:
    """The first `count` images of a data set, in the order of its manifest."""
    height, width = _size(zone)
    if one.manifest is None:  # such as the authors' images: loaded as they load them
        found = collect(one.folder)
        progress.start(count or len(found.photos))
        plain = plain_images(
            found, size=(height, width), count=count, seed=seed, keep=_AUTHORS_CROP,
            told=progress.advance,
        )  # fmt: skip
        return AuditImages(plain.images, (*found.skipped, *plain.skipped), plain.warnings)
    if one.manifest.size != (height, width):
        made = "×".join(map(str, one.manifest.size))
        raise UsageError(
            f"{one.folder} has images of {made} pixels, the network reads {height}×{width}: build "
            f"the data set again with --image-size {height}, or audit another network"
        )
    progress.start(len(one.manifest.images))
    images = load_images(one.folder, told=progress.advance)
    if not images:
        raise UsageError(f"{one.folder} has no image: build the data set again")
    warnings = _seam(one, one.manifest, zone) if isinstance(zone, DeadZone) else ()
    return AuditImages(tuple(images[:count]), warnings=warnings)


def _size(zone: DeadZone | Size) -> Size:
    if isinstance(zone, tuple):
        return zone
    height, width = zone.pixel_dead.shape
    return height, width


def _seam(one: DataSet, manifest: Manifest, zone: DeadZone) -> tuple[str, ...]:
    """A warning where the images were stacked at another seam than the wall's."""
    made, dead = dead_mask(manifest.wall, manifest.size), zone.pixel_dead.numpy()
    if np.array_equal(made, dead):
        return ()
    return (
        f"the images of {one.name} were made for another wall ({manifest.wall.description}): "
        f"{made.mean():.1%} of an image lies behind their seam, {dead.mean():.1%} is dead here",
    )


def _opened(folder: Path) -> DataSet:
    """A data set by its own name: its kind, or the name of a plain folder."""
    if not (folder / MANIFEST_NAME).is_file():
        return DataSet(printable(folder.resolve().name or str(folder)), folder, None, None)
    manifest = read_manifest(folder)
    return DataSet(manifest.kind, folder, manifest, sha256_file(folder / MANIFEST_NAME))


def _found(given: Path) -> Path:
    """The folder that is named; stack-mix and stack-gen also stand for the default ones."""
    short = _BUILT / given
    if not given.is_dir() and str(given) in _SHORT and short.is_dir():
        return short
    if not given.is_dir():
        hint = (
            f" nor below {_BUILT}: build it with camaudit data {given}"
            if str(given) in _SHORT
            else ": expected the folder of a data set (camaudit data stack-mix, stack-gen) or of "
            "images"
        )
        raise UsageError(f"no folder {str(given)!r}{hint}")
    return given
