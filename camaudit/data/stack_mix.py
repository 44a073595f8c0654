"""STACK-MIX: two photographs on top of each other, the seam at the wall.

The dataset of "CAM-based methods can see through walls": above the wall lies what the model may
use, in the dead zone lies a second image of the same class, which the model cannot see; or, which
is not in the paper, an image of another class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Literal, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from camaudit.data.folders import Collection, Photo, Skipped, printable, sha256_bytes
from camaudit.data.images import Pixels, Size
from camaudit.data.labels import imagenet_index
from camaudit.data.loading import Loader, Source, View
from camaudit.data.pairs import ordered_pairs, two_crops
from camaudit.data.stored import Stored
from camaudit.data.two_classes import ClassPhotos, require_two_classes, two_class_pairs
from camaudit.errors import ImageError, UsageError

__all__ = [
    "Mask",
    "Pairing",
    "Pairs",
    "Source",
    "StackImage",
    "StackMix",
    "Told",
    "check_mask",
    "crop_pair",
    "plain_images",
    "stack",
    "stack_mix",
    "stacked",
    "usable",
    "usable_pairs",
]

Mask = npt.NDArray[np.bool_]
Pairing = Literal["two-images", "two-crops", "two-classes", "single"]
Pairs = Literal["same", "different"]
"""Of which classes two photographs are stacked: of one, or of two different ones."""

Told: TypeAlias = Callable[[int], object]
"""Told how many images more were read."""

_Item = TypeVar("_Item")
_Array = TypeVar("_Array", bound=npt.NDArray[np.generic])


@dataclass(frozen=True, eq=False)
class StackImage:
    """One input image and where it comes from.

    `id` is unique in its set, safe as a file name, and depends only on the sources (their ids,
    bytes and crops) and the pairing. `content` is uint8 (H, W, 3), or reads that from its files
    whenever it is wanted. `label` is the ImageNet-1k
    index that `label_name` stands for, None where it stands for none. `sources` are the live part
    and then the dead one, or the single photograph. `notes` repeats how the files were converted,
    and their credits. Of two classes, `label` and `label_name` are those of the live part, and
    `unseen_label` and `unseen_label_name` those of the dead one; else these are None.
    """

    id: str
    content: Pixels | Stored = field(repr=False)
    label: int | None
    label_name: str | None
    sources: tuple[Source, ...]
    pairing: Pairing
    notes: tuple[str, ...] = ()
    unseen_label: int | None = None
    unseen_label_name: str | None = None

    @property
    def pixels(self) -> Pixels:
        """The pixels, uint8 (H, W, 3).

        Raises :class:`ImageError` where they are to be read from a file that is gone or another by
        now.
        """
        return self.content.pixels if isinstance(self.content, Stored) else self.content

    @property
    def size(self) -> tuple[int, int]:
        """Height and width; nothing is read for it."""
        return self.content.shape[0], self.content.shape[1]

    @property
    def sha256(self) -> str:
        """SHA-256 of the pixels' bytes; nothing is read for it."""
        if isinstance(self.content, Stored):
            return self.content.sha256
        return sha256_bytes(self.content.tobytes())

    def held(self) -> Self:
        """The same image with its pixels in memory, which can be sent elsewhere."""
        return replace(self, content=self.pixels) if isinstance(self.content, Stored) else self


@dataclass(frozen=True, eq=False)
class StackMix:
    """Images, the photographs that could not be used with the reason, and what else to know."""

    images: tuple[StackImage, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()


def stack(x1: _Array, x2: _Array, dead: Mask) -> _Array:
    """Put `x2` behind the wall: ``x1`` where a pixel is live, ``x2`` where it is dead.

    With rows H−d … H−1 dead these are the paper's STACK-MIX images.

    Args:
        x1: (H, W, C), shown in the live pixels.
        x2: the same shape and type, shown in the dead pixels.
        dead: boolean (H, W), True where a pixel is dead.

    Returns:
        (H, W, C), a new array of the same type.

    Raises:
        UsageError: if the shapes or types do not fit.
    """
    if x1.ndim != 3 or x1.shape != x2.shape or x1.dtype != x2.dtype:
        raise UsageError(
            "expected two images of one shape (H, W, C) and type, got "
            f"{x1.dtype} {x1.shape} and {x2.dtype} {x2.shape}"
        )
    if dead.dtype != np.bool_ or dead.shape != x1.shape[:2]:
        raise UsageError(
            f"expected a boolean mask of shape {x1.shape[:2]}, got {dead.dtype} {dead.shape}"
        )
    mixed = x1.copy()
    mixed[dead] = x2[dead]
    return mixed


def stack_mix(
    collection: Collection,
    *,
    dead: Mask,
    count: int | None = None,
    seed: int = 0,
    pairs: Pairs = "same",
    told: Told | None = None,
) -> StackMix:
    """Stack photographs of one class, or of two different ones, at the wall.

    Without `count`, one image a class: two different photographs, or two different crops where
    the class has only one that is usable. With `count`, classes of two and more photographs give
    one pair each, round after round, in seeded random order and no ordered pair twice; only when
    these are used up do classes with a single photograph give two crops of it, one image each.
    Photographs are decoded when they are needed; those that cannot be are skipped, and their
    class goes on with the rest. With `pairs` "different" every class is stacked above another one,
    in turn (:func:`camaudit.data.two_classes.two_class_pairs`), and a single photograph will do.

    Args:
        collection: photographs in classes (`camaudit.data.folders.scan`).
        dead: boolean (H, W), True in the dead pixels; (H, W) is the size of the images.
        count: how many images; fewer are returned, with a warning, if fewer can be made.
        seed: of PCG64. The same files and seed give the same bytes.
        told: called with 1 after every image.

    Raises:
        UsageError: if `dead` is no such mask, or has no dead or no live pixel, or if `count` or
            `seed` is out of range.
        ImageError: if the collection has no classes, for different ones fewer than two, or no
            usable photograph.
    """
    check_mask(dead)
    rng = _generator(count, seed)
    if not collection.classes:
        raise ImageError(
            "expected one sub-folder for each class, got a flat folder; sort the photographs into "
            "class folders, or use them unstacked (plain_images)"
        )
    loader = Loader((int(dead.shape[0]), int(dead.shape[1])))
    groups = _shuffled(collection, loader, rng, dead, pairs)
    crops = _crops_in_turn(groups, loader, dead, rng) if pairs == "same" else iter(())
    made = chain(_pairs_in_turn(groups, rounds=1 if count is None else None), crops)
    return _finished(list(_telling(islice(made, count), told)), collection, loader, count)


def plain_images(
    collection: Collection,
    *,
    size: Size,
    count: int | None = None,
    seed: int = 0,
    keep: float = 1.0,
    told: Told | None = None,
) -> StackMix:
    """Photographs as they are, resized and centre-cropped, for a folder without classes.

    All of them, or a seeded random choice of `count`; in the order of their ids.

    Args:
        collection: photographs, with or without classes.
        size: side of the square, or (H, W).
        count: how many; fewer are returned, with a warning, if fewer are usable.
        seed: of PCG64.
        keep: central share of both sides that is shown of images of another size.
        told: called with 1 after every photograph.

    Raises:
        UsageError: if `size`, `count` or `seed` is out of range.
        ImageError: if no photograph is usable.
    """
    rng = _generator(count, seed)
    loader = Loader((size, size) if isinstance(size, int) else size, keep=keep)
    photos = sorted(collection.photos, key=lambda photo: photo.id)
    images: list[StackImage] = []
    # all of them are read in order: those of a shard lie one after the other
    order = range(len(photos)) if count is None else rng.permutation(len(photos))
    for index in _telling(order, told):
        if len(images) == count:
            break
        view = loader.view(photos[index])
        if view is not None:
            label_name = photos[index].label_name
            images.append(_image(view.content, label_name, "single", view))
    images.sort(key=lambda image: image.sources[0].id)
    return _finished(images, collection, loader, count)


@dataclass(frozen=True, eq=False)
class _Group:
    """One class: its photographs in seeded order, and its pairs, which decode when drawn."""

    label_name: str
    photos: list[Photo]
    pairs: Iterator[StackImage]


def _shuffled(
    collection: Collection, loader: Loader, rng: np.random.Generator, dead: Mask, pairs: Pairs
) -> list[_Group]:
    """The classes in seeded order; sorted first, so that the order on disk makes no difference."""
    names = sorted(collection.classes)
    turn = rng.permutation(len(names))
    photos = {}
    for name in names:
        ordered = sorted(collection.classes[name], key=lambda photo: photo.id)
        photos[name] = [ordered[index] for index in rng.permutation(len(ordered))]
    classes = [(names[index], photos[names[index]]) for index in turn]
    if pairs == "different":
        require_two_classes(names)
        return [
            _Group(*one, _two_classes(classes, place, loader, dead))
            for place, one in enumerate(classes)
        ]
    return [_Group(name, own, _same_class(name, own, loader, dead)) for name, own in classes]


def _same_class(
    name: str, photos: Sequence[Photo], loader: Loader, dead: Mask
) -> Iterator[StackImage]:
    """Two photographs of a class stacked at the wall, pair after pair."""
    for pair in usable_pairs(photos, loader):
        yield stacked(name, "two-images", pair, dead)


def _two_classes(
    classes: Sequence[ClassPhotos], place: int, loader: Loader, dead: Mask
) -> Iterator[StackImage]:
    """The class at `place` above another one, see :func:`two_class_pairs`, pair after pair."""
    for unseen, pair in two_class_pairs(classes, place, loader):
        yield stacked(classes[place][0], "two-classes", pair, dead, unseen=unseen)


def usable_pairs(photos: Sequence[Photo], loader: Loader) -> Iterator[tuple[View, View]]:
    """The ordered pairs of usable photographs; ends early when fewer than two are left."""
    for first, second in ordered_pairs(photos):
        if loader.refused(first) or loader.refused(second):
            continue
        top, bottom = loader.view(first), loader.view(second)
        if top is not None and bottom is not None:
            yield top, bottom
        elif len(usable(photos, loader)) < 2:
            return


def usable(photos: Sequence[Photo], loader: Loader) -> list[Photo]:
    """The photographs that were not refused so far."""
    return [photo for photo in photos if not loader.refused(photo)]


def _pairs_in_turn(groups: list[_Group], *, rounds: int | None) -> Iterator[StackImage]:
    """One pair a class and round, until the rounds or the pairs are used up."""
    active = groups
    while active and rounds != 0:
        going = []
        for group in active:
            image = next(group.pairs, None)
            if image is not None:
                going.append(group)
                yield image
        active = going
        rounds = None if rounds is None else rounds - 1


def _crops_in_turn(
    groups: list[_Group], loader: Loader, dead: Mask, rng: np.random.Generator
) -> Iterator[StackImage]:
    """One image of two crops for each class that has a single usable photograph."""
    for group in groups:
        left = usable(group.photos, loader)
        pair = crop_pair(left[0], loader, rng) if len(left) == 1 else None
        if pair is not None:
            yield stacked(group.label_name, "two-crops", pair, dead)


def crop_pair(photo: Photo, loader: Loader, rng: np.random.Generator) -> tuple[View, View] | None:
    """Two different crops of one photograph; None if it cannot be used."""
    shape = loader.shape(photo)
    if shape is None:
        return None
    views = [loader.crop(photo, box) for box in two_crops(*shape, rng)]
    top, bottom = (view for view in views if view is not None)
    return top, bottom


def stacked(
    label_name: str,
    pairing: Pairing,
    pair: tuple[View, View],
    dead: Mask,
    *,
    unseen: str | None = None,
) -> StackImage:
    """Two views stacked at the wall, with the record of the image.

    `unseen` names the class of the second one where that is another than `label_name`.
    """

    def mixed() -> Pixels:
        return stack(pair[0].pixels, pair[1].pixels, dead)

    content = Stored(mixed, mixed(), pair[0].content.recent)
    return _image(content, label_name, pairing, *pair, unseen=unseen)


def _image(
    content: Stored,
    label_name: str | None,
    pairing: Pairing,
    *views: View,
    unseen: str | None = None,
) -> StackImage:
    """The record of one image; notes of the same photograph are not repeated."""
    sources = tuple(view.source for view in views)
    name = label_name or sources[0].id
    return StackImage(
        id=_identity(name if unseen is None else f"{name} over {unseen}", pairing, sources),
        content=content,
        label=None if label_name is None else imagenet_index(label_name),
        label_name=label_name,
        sources=sources,
        pairing=pairing,
        notes=tuple(dict.fromkeys(note for view in views for note in view.notes)),
        unseen_label=None if unseen is None else imagenet_index(unseen),
        unseen_label_name=unseen,
    )


def _identity(name: str, pairing: Pairing, sources: tuple[Source, ...]) -> str:
    """A readable start (ASCII letters, digits, underscores) and 12 digits of a digest."""
    readable = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "image"
    digest = sha256_bytes(repr((name, pairing, sources)).encode("utf-8", "backslashreplace"))
    return f"{readable}-{digest[:12]}"


def _finished(
    images: list[StackImage], collection: Collection, loader: Loader, count: int | None
) -> StackMix:
    """The result with its warnings; an error if there is nothing."""
    if not images:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in loader.skipped[:3])
        raise ImageError(
            f"expected at least one readable photograph in {printable(str(collection.root))}, "
            f"found none ({reasons or 'it lists no file'}); add some, or pass another folder"
        )
    warnings = []
    if count is not None and len(images) < count:
        warnings.append(f"up to {count} images were to be used, these files give {len(images)}")
    crops = sum(image.pairing == "two-crops" for image in images)
    if crops:
        warnings.append(
            f"{crops} of {len(images)} images show two crops of one photograph, because their "
            "class has a single usable one"
        )
    lost = [
        name
        for name, photos in collection.classes.items()
        if all(loader.refused(photo) for photo in photos)
    ]
    if lost:
        warnings.append(f"no usable photograph in {len(lost)} classes: {', '.join(lost)}")
    return StackMix(tuple(images), loader.skipped, tuple(warnings))


def check_mask(dead: Mask) -> None:
    """Raise :class:`UsageError` for what is no mask, or hides one of the two photographs."""
    if dead.dtype != np.bool_ or dead.ndim != 2:
        raise UsageError(f"expected a boolean mask (H, W), got {dead.dtype} {dead.shape}")
    if dead.all() or not dead.any():
        which = "live" if dead.size and dead.all() else "dead"
        raise UsageError(
            f"the mask has no {which} pixel, so there is no seam to stack two images at; "
            "use the photographs unstacked (plain_images)"
        )


def _telling(found: Iterable[_Item], told: Told | None) -> Iterator[_Item]:
    for one in found:
        yield one
        if told is not None:
            told(1)


def _generator(count: int | None, seed: int) -> np.random.Generator:
    """The seeded generator, after both numbers were checked."""
    if count is not None and count < 1:
        raise UsageError(f"count must be 1 or more, or None for all; got {count}")
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    return np.random.Generator(np.random.PCG64(seed))
