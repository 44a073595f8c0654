"""Drawing STACK-MIX: which pair of which class comes next, whatever else is rejected.

Every class has a random stream of its own, from the seed and its name. So the pairs of a class do
not depend on which pairs of other classes were rejected, nor, where both photographs are of one
class, on the other classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Container
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from camaudit.data.folders import Collection, Photo, Skipped
from camaudit.data.loading import Loader, View
from camaudit.data.stack_mix import (
    Mask,
    Pairing,
    Pairs,
    StackImage,
    crop_pair,
    stacked,
    usable,
    usable_pairs,
)
from camaudit.data.two_classes import ClassPhotos, require_two_classes, two_class_pairs

__all__ = ["Drawing"]

_TRIES = 1000  # two crops of one photograph, before a class counts as used up


@dataclass
class Drawing:
    """Stacked images of the classes `names`, in that order, up to `per_class` of each.

    Classes with two usable photographs come first; then, unless `pairs_only`, those with a
    single one give one image of two crops of it. With `pairs` "different" each class is stacked
    above others, beginning with the next one of `names`, and a single photograph will do. Pairs
    whose id is in `rejected` are passed over, and the class goes on with its next pair. While
    :meth:`images` runs, `met` collects the rejected ids that were passed over, `skipped` the
    photographs that could not be used, and `short` the classes with fewer images than were asked
    for.
    """

    collection: Collection
    names: Sequence[str]
    dead: Mask
    seed: int
    per_class: int = 1
    pairs_only: bool = False
    rejected: Container[str] = ()
    pairs: Pairs = "same"
    met: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    short: dict[str, int] = field(default_factory=dict)

    def images(self) -> Generator[StackImage, None, None]:
        """The images, each with the notes that a user should read; photographs decode lazily.

        Raises :class:`ImageError` where pairs of different classes are asked of a single one.
        """
        if self.pairs == "different":
            require_two_classes(self.names)
        singles: list[tuple[str, Photo]] = []
        classes = [(name, self._shuffled(name)) for name in self.names]
        for place, (name, photos) in enumerate(classes):
            loader = self._loader()
            made = 0
            try:
                for image in islice(self._pairs(classes, place, loader), self.per_class):
                    made += 1
                    yield image
            finally:  # also where the caller needs no further image
                self.skipped += loader.skipped
            left = usable(photos, loader)
            if len(left) == 1 and self.pairs == "same":
                singles.append((name, left[0]))
            elif made < self.per_class:
                self.short[name] = made
        for name, photo in singles:
            made = 0
            for image in [] if self.pairs_only else self._crops(name, photo):
                made += 1
                yield image
            if made < self.per_class:
                self.short[name] = made

    def _pairs(
        self, classes: Sequence[ClassPhotos], place: int, loader: Loader
    ) -> Iterator[StackImage]:
        """Of the class at `place`, with another photograph of it or above another class."""
        name, photos = classes[place]
        if self.pairs == "same":
            found = (self._accepted(name, "two-images", p) for p in usable_pairs(photos, loader))
        else:
            found = (
                self._accepted(name, "two-classes", pair, unseen=unseen)
                for unseen, pair in two_class_pairs(classes, place, loader)
            )
        return (image for image in found if image is not None)

    def _crops(self, name: str, photo: Photo) -> Iterator[StackImage]:
        """One image of two crops, or none if the photograph turns out to be unusable."""
        loader, rng = self._loader(), self._stream(name, "crops")
        for _ in range(_TRIES):
            pair = crop_pair(photo, loader, rng)
            if pair is None:
                self.skipped += loader.skipped
                return
            image = self._accepted(name, "two-crops", pair)
            if image is not None:
                yield image
                return

    def _accepted(
        self, name: str, pairing: Pairing, pair: tuple[View, View], *, unseen: str | None = None
    ) -> StackImage | None:
        """The stacked pair, or None if it is rejected."""
        image = stacked(name, pairing, pair, self.dead, unseen=unseen)
        if image.id in self.rejected:
            if image.id not in self.met:
                self.met.append(image.id)
            return None
        notes = [note for view in pair for note in self._enlarged(view)]
        if pairing == "two-crops":
            notes.insert(0, "two crops of one photograph: its class has a single usable one")
        return replace(image, notes=tuple(dict.fromkeys((*notes, *image.notes))))

    def _enlarged(self, view: View) -> list[str]:
        height, width = self.dead.shape
        if view.native[0] >= height and view.native[1] >= width:
            return []
        shown = f"{view.native[0]}×{view.native[1]}"
        return [f"{view.source.id}: {shown} pixels, enlarged to cover {height}×{width}"]

    def _shuffled(self, name: str) -> list[Photo]:
        ordered = sorted(self.collection.classes[name], key=lambda photo: photo.id)
        turn = self._stream(name, "pairs").permutation(len(ordered))
        return [ordered[index] for index in turn]

    def _loader(self) -> Loader:
        """One a class: views are kept as long as their class may need them."""
        return Loader((int(self.dead.shape[0]), int(self.dead.shape[1])))

    def _stream(self, name: str, use: str) -> np.random.Generator:
        text = f"{use} of {name}".encode("utf-8", "backslashreplace")
        words = np.frombuffer(hashlib.sha256(text).digest(), dtype="<u4").tolist()
        return np.random.Generator(np.random.PCG64([self.seed, *words]))
