"""Building STACK-MIX on disk: images, contact sheet and manifest, and redrawing rejected pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, get_args

import PIL
from PIL import Image

from camaudit.data.classes import Choice, choose_classes
from camaudit.data.contact_sheet import Tile, contact_sheet, png, thumbnail
from camaudit.data.drawing import Drawing
from camaudit.data.folders import printable, sha256_bytes
from camaudit.data.labels import imagenet_names
from camaudit.data.manifest import (
    IMAGES_NAME,
    SHEET_NAME,
    Manifest,
    ManifestImage,
    ManifestSource,
    ManifestWall,
    Rejection,
    write_manifest,
)
from camaudit.data.rebuilding import check_same_options, kept_bytes, near, rejections
from camaudit.data.seam import dead_mask
from camaudit.data.sources import PhotoSource
from camaudit.data.stack_mix import Pairs, StackImage, check_mask
from camaudit.data.staging import claim, staged
from camaudit.errors import ImageError, UsageError
from camaudit.files import write_files

__all__ = ["MixOptions", "Progress", "build_stack_mix"]

_SHOWN = 10  # classes that a note names


class Progress(Protocol):
    """Told how far a build is; a unit of `work` is one image."""

    def start(self, work: int) -> None:
        """The building begins; `work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What happens now, in a few words."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


@dataclass(frozen=True, kw_only=True)
class MixOptions:
    """What decides which images are made.

    classes: as for :func:`camaudit.data.classes.choose_classes`.
    count: images in all. per_class: images of each class at most.
    pairs_only: no class whose only usable photograph would have to give two crops.
    pairs: "same" stacks two photographs of a class, "different" each class above another one.
    size: (H, W) of every image. wall: where the seam lies.
    seed: of the order of the classes, and with a class's name of its pairs.
    """

    wall: ManifestWall
    size: tuple[int, int] = (224, 224)
    classes: str | None = None
    count: int = 100
    per_class: int = 1
    pairs_only: bool = False
    pairs: Pairs = "same"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "per_class"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more; got {getattr(self, name)}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, got {self.seed}")
        if self.pairs not in get_args(Pairs):
            raise UsageError(f"pairs must be same or different; got {self.pairs!r}")
        if self.pairs == "different" and self.pairs_only:
            raise UsageError(
                "--pairs-only is of classes that would give two crops of one photograph, which "
                "pairs of different classes never are: leave it out"
            )
        check_mask(dead_mask(self.wall, self.size))


def build_stack_mix(
    source: PhotoSource,
    folder: Path | str,
    *,
    options: MixOptions,
    licence: str | None = None,
    reject: Mapping[str, str] | None = None,
    review: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Build a STACK-MIX data set in `folder`, and return its manifest.

    The same photographs and options give the same bytes. Pairs whose id is in `reject` (id to
    reason) are passed over: their class gives its next pair, or the next class takes the place
    of one that has none left. With `review` the data set that is there is built again without
    them, and all other images stay byte for byte. An interruption leaves what was there.

    Raises:
        UsageError: if a data set is there and neither `review` nor `force` is set; if `review` is
            set and there is none, or one of other options or photographs; for ids that are none.
        ImageError: if no image can be made.
        OutputError: if `folder` cannot be written or holds other files.
    """
    target = Path(folder)
    previous = claim(target)
    choice = choose_classes(source.collection.classes, wanted=options.classes, seed=options.seed)
    settings = _settings(source, options, choice)
    rejected = rejections(
        target, previous, reject or {}, kind="stack-mix", review=review, force=force
    )
    kept = {}
    if review and previous:
        check_same_options(
            previous, settings, seed=options.seed, size=options.size, wall=options.wall
        )
        kept = {image.id: image for image in previous.images if image.id not in rejected}
    if review and previous:
        if len(rejected) == len(previous.rejected):
            return previous
        licence = licence or previous.licence
    drawing = Drawing(
        source.collection, choice.names, dead_mask(options.wall, options.size), options.seed,
        options.per_class, options.pairs_only, frozenset(rejected), options.pairs,
    )  # fmt: skip
    if progress is not None:
        progress.start(options.count)
        progress.stage("stacking photographs")
    with staged(target) as work:
        images, tiles = [], []
        for image in _drawn(drawing, options.count):
            images.append(_written(image, work, target, kept.get(image.id), source))
            tiles.append(_tile(image, images[-1]))
            if progress is not None:
                progress.advance(1)
        _check(drawing, images, rejected, kept, source)
        sheet = contact_sheet(tiles, wall=options.wall, size=options.size)
        write_files({SHEET_NAME: sheet}, work)
        manifest = Manifest(
            kind="stack-mix", seed=options.seed, settings=settings, size=options.size,
            wall=options.wall, licence=licence or source.licence, images=tuple(images),
            rejected=tuple(Rejection(id_, reason) for id_, reason in rejected.items()),
            notes=_notes(source, options, choice, drawing, images),
        )  # fmt: skip
        write_manifest(manifest, work)
    return manifest


def _settings(source: PhotoSource, options: MixOptions, choice: Choice) -> dict[str, Any]:
    """Every option that decides the bytes and has no field of its own in the manifest."""
    return {
        "layout": source.layout,
        "classes": choice.wanted,
        "count": options.count,
        "per_class": options.per_class,
        "pairs_only": options.pairs_only,
        "pairs": options.pairs,
        "pillow": PIL.__version__,
    }


def _drawn(drawing: Drawing, count: int) -> Iterator[StackImage]:
    with closing(drawing.images()) as images:
        yield from islice(images, count)


def _written(
    image: StackImage, work: Path, target: Path, kept: ManifestImage | None, source: PhotoSource
) -> ManifestImage:
    """Write an image and return its entry; one that is kept has the bytes that it had."""
    data, file = png(Image.fromarray(image.pixels)), f"{IMAGES_NAME}/{image.id}.png"
    if kept is not None and sha256_bytes(data) != kept.sha256:
        data = kept_bytes(target, kept)
    write_files({f"{image.id}.png": data}, work / IMAGES_NAME)
    known = {photo.id: photo.credit for photo in source.collection.photos if photo.credit}
    sources = tuple(
        ManifestSource(part.id, part.sha256, part.crop, known.get(part.id))
        for part in image.sources
    )
    credited = {entry.credit for entry in sources}
    return ManifestImage(
        id=image.id,
        file=file,
        sha256=sha256_bytes(data),
        label=image.label,
        label_name=_named(image.label, image.label_name),
        notes=tuple(note for note in image.notes if note not in credited),
        sources=sources,
        unseen_label=image.unseen_label,
        unseen_label_name=_named(image.unseen_label, image.unseen_label_name),
    )


def _named(label: int | None, name: str | None) -> str | None:
    """ImageNet's name of a class that is one of its own, else the folder's."""
    return name if label is None else imagenet_names()[label]


def _tile(image: StackImage, entry: ManifestImage) -> Tile:
    name = entry.label_name or entry.id
    title = name if entry.label is None else f"{entry.label} {name}"
    if entry.unseen_label_name is not None:
        title = f"{name} over {entry.unseen_label_name}"
    return Tile(thumbnail(image.pixels), title, entry.id)


def _check(
    drawing: Drawing,
    images: Sequence[ManifestImage],
    rejected: Mapping[str, str],
    kept: Mapping[str, ManifestImage],
    source: PhotoSource,
) -> None:
    """Nothing made, an id that never came up, or other photographs than before: say so."""
    if not images:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in drawing.skipped[:3])
        raise ImageError(
            f"no image could be made from {printable(str(source.collection.root))} "
            f"({reasons or 'no class has two usable photographs'}): add photographs"
            + (", or leave --pairs-only out" if drawing.pairs_only else "")
        )
    made = {image.id for image in images}
    lost = [id_ for id_ in kept if id_ not in made]
    if lost:
        raise UsageError(
            f"{len(lost)} images that were to stay, such as {lost[0]}, are not made from these "
            "photographs: they are not those of the data set; build anew with --force"
        )
    unmet = [id_ for id_ in rejected if id_ not in drawing.met]
    if unmet:
        raise UsageError(
            f"{unmet[0]!r} was to be rejected and never came up{near(unmet[0], sorted(made))}"
        )


def _notes(
    source: PhotoSource,
    options: MixOptions,
    choice: Choice,
    drawing: Drawing,
    images: Sequence[ManifestImage],
) -> tuple[str, ...]:
    """What a user of the data set must know."""
    notes = list(choice.notes)
    if len(images) < options.count:
        notes.append(
            f"{options.count} images were asked for, {len(images)} could be made from "
            f"{len(choice.names)} classes with at most {options.per_class} of each"
        )
    if options.pairs == "different":
        notes.append(
            "two classes are stacked in each image: label is of the upper photograph, which the "
            "network sees, unseen_label of the one behind the wall"
        )
    crops = sum(len({part.id for part in image.sources}) == 1 for image in images)
    if crops:
        notes.append(
            f"{crops} of {len(images)} images show two crops of one photograph, because their "
            "class has a single usable one; --pairs-only leaves such classes out"
        )
    if drawing.short:
        named = [f"{name} ({made})" for name, made in list(drawing.short.items())[:_SHOWN]]
        more = ", …" if len(drawing.short) > _SHOWN else ""
        notes.append(
            f"{len(drawing.short)} classes gave fewer than {options.per_class} images: "
            f"{', '.join(named)}{more}"
        )
    notes += [f"left out: {name}: {why}" for name, why in source.collection.skipped]
    notes += [f"not used: {name}: {why}" for name, why in sorted(set(drawing.skipped))]
    return tuple(notes)
