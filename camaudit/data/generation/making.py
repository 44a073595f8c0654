"""Building STACK-GEN on disk: pictures of a back end, squared around the wall, with a manifest.

Every class has a sequence of seeds of its own, from the seed of the data set and the name of the
class, one after the other. An image's id stands for its class, prompt, seed and the settings of
the back end. So what a class shows does not depend on the other classes, and a rejected or failed
image makes room for the next seed of its class.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count as counted
from pathlib import Path
from typing import Any

import PIL
from PIL import Image

from camaudit.data.building import Progress
from camaudit.data.contact_sheet import Tile, contact_sheet, png, thumbnail
from camaudit.data.folders import printable, sha256_bytes
from camaudit.data.generation.prompts import PROMPT, stacked_prompt
from camaudit.data.generation.request import JSON, Backend, Generated, RefusedError, Request
from camaudit.data.generation.squaring import found_boundary, square_around, squared
from camaudit.data.generation.subjects import Subject, Subjects
from camaudit.data.images import Pixels, decode
from camaudit.data.manifest import (
    IMAGES_NAME,
    SHEET_NAME,
    Manifest,
    ManifestImage,
    ManifestWall,
    Rejection,
    write_manifest,
)
from camaudit.data.rebuilding import check_same_options, kept_bytes, near, rejections
from camaudit.data.seam import dead_mask
from camaudit.data.stack_mix import check_mask
from camaudit.data.staging import claim, staged
from camaudit.errors import ImageError, UsageError
from camaudit.files import write_files

__all__ = ["GenOptions", "build_stack_gen"]

_TRIES = 4  # refused or unusable pictures in a row, before a class counts as used up
_SEEDS = 2**31  # what every generator takes
_MEASURED, _UNCLEAR = "measured", "the middle"
_SHOWN = 10  # classes that a note names


@dataclass(frozen=True, kw_only=True)
class GenOptions:
    """What decides which images are made, beside the back end.

    subjects: the classes, in order. count: images in all. per_class: of each class at most.
    size: (H, W) of every image. wall: dead rows at the bottom, where one subject is to lie.
    boundary: where the upper subject ends in every picture, as a fraction of the height; None to
    take what the back end says, else to measure it.
    seed: with a class's name of its pictures.
    """

    subjects: Subjects
    wall: ManifestWall
    size: tuple[int, int] = (224, 224)
    count: int = 100
    per_class: int = 1
    boundary: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "per_class"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more; got {getattr(self, name)}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, got {self.seed}")
        if self.boundary is not None and not 0 < self.boundary < 1:
            raise UsageError(f"the boundary must lie between 0 and 1, got {self.boundary:g}")
        check_mask(dead_mask(self.wall, self.size))
        if self.wall.dead_rows is None:
            raise UsageError(
                "the dead rows of this wall do not lie at the bottom of the image, where one of "
                "two stacked subjects would be: take another wall, or --dead-rows"
            )

    @property
    def dead(self) -> float:
        """Fraction of dead rows."""
        return (self.wall.dead_rows or 0) / self.size[0]


def build_stack_gen(
    backend: Backend,
    folder: Path | str,
    *,
    options: GenOptions,
    licence: str,
    reject: Mapping[str, str] | None = None,
    boundaries: Mapping[str, float] | None = None,
    review: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Build a STACK-GEN data set in `folder`, and return its manifest.

    Images whose id is in `reject` (id to reason) are passed over, and those in `boundaries` are
    cut around the given fraction of their picture's height. With `review` the data set that is
    there is built again; all images that neither names stay byte for byte, and the back end is
    not asked for them. Pictures that the back end refuses or that cannot be used are listed as
    rejected. An interruption leaves what was there, and what the back end keeps.

    Raises:
        UsageError: if a data set is there and neither `review` nor `force` is set; if `review` is
            set and there is none, or one of other options; for ids that are none.
        ImageError: if no image can be made.
        OutputError: if `folder` cannot be written or holds other files.
        CamauditError: what the back end raises where it cannot go on.
    """
    target, by_hand = Path(folder), dict(boundaries or {})
    previous = claim(target)
    settings = _settings(backend, options)
    rejected = rejections(
        target, previous, reject or {}, kind="stack-gen", review=review, force=force
    )
    kept: dict[str, ManifestImage] = {}
    if review and previous:
        check_same_options(
            previous, settings, seed=options.seed, size=options.size, wall=options.wall
        )
        if len(rejected) == len(previous.rejected) and not by_hand:
            return previous
        stay = {*rejected, *by_hand}
        kept = {image.id: image for image in previous.images if image.id not in stay}
    if progress is not None:
        progress.start(options.count)
        progress.stage(f"making images ({settings['backend']})")
    with staged(target) as work:
        making = _Making(backend, options, target, work, by_hand, rejected, kept)
        images, tiles = [], []
        for image, tile in making.images():
            images.append(image)
            tiles.append(tile)
            if progress is not None:
                progress.advance(1)
        making.check()
        sheet = contact_sheet(tiles, wall=options.wall, size=options.size)
        write_files({SHEET_NAME: sheet}, work)
        manifest = Manifest(
            kind="stack-gen", seed=options.seed, settings=settings, size=options.size,
            wall=options.wall, licence=licence, images=tuple(images),
            rejected=tuple(Rejection(id_, reason) for id_, reason in making.rejected.items()),
            notes=(*options.subjects.notes, *making.notes(), *backend.notes),
        )  # fmt: skip
        write_manifest(manifest, work)
    return manifest


def _settings(backend: Backend, options: GenOptions) -> dict[str, Any]:
    """Every option that decides the bytes and has no field of its own in the manifest."""
    return {
        "backend": "unknown",
        "prompt": PROMPT,
        **backend.settings,
        "classes": options.subjects.wanted,
        "count": options.count,
        "per_class": options.per_class,
        "boundary": options.boundary,
        "pillow": PIL.__version__,
    }


@dataclass
class _Making:
    """The images of one build, and what happened on the way to them."""

    backend: Backend
    options: GenOptions
    target: Path
    work: Path
    boundaries: dict[str, float]
    rejected: dict[str, str]
    kept: dict[str, ManifestImage]
    met: set[str] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)  # hashes of images to their ids
    short: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)  # who said where the subjects meet

    def images(self) -> Iterator[tuple[ManifestImage, Tile]]:
        """Entries and thumbnails, each image written."""
        for subject in self.options.subjects.ordered:
            room = min(self.options.per_class, self.options.count - len(self.made))
            if room == 0:
                return
            done = 0
            for image in self._of(subject, room):
                done += 1
                yield image
            if done < room:
                self.short[subject.name] = done

    def check(self) -> None:
        """Nothing made, or an id that never came up: say so."""
        if not self.made:
            reasons = "; ".join(f"{id_}: {why}" for id_, why in list(self.rejected.items())[:3])
            raise ImageError(f"no image could be made ({reasons or 'there is no class'})")
        ids = sorted(self.made.values())
        lost = [id_ for id_ in self.kept if id_ not in ids]
        if lost:
            raise UsageError(
                f"{len(lost)} images that were to stay, such as {lost[0]}, did not come up again: "
                "build anew with --force"
            )
        asked = [*self.rejected, *self.boundaries]
        unmet = [id_ for id_ in asked if id_ not in self.met and id_ not in ids]
        if unmet:
            raise UsageError(f"{unmet[0]!r} was named and never came up{near(unmet[0], ids)}")

    def notes(self) -> list[str]:
        """What a user of the data set must know."""
        notes, options = [], self.options
        if len(self.made) < options.count:
            notes.append(
                f"{options.count} images were asked for, {len(self.made)} could be made from "
                f"{len(options.subjects.ordered)} classes with at most {options.per_class} of each"
            )
        if self.short:
            named = [f"{name} ({made})" for name, made in list(self.short.items())[:_SHOWN]]
            more = ", …" if len(self.short) > _SHOWN else ""
            notes.append(
                f"{len(self.short)} classes gave fewer than {options.per_class} images: "
                f"{', '.join(named)}{more}"
            )
        unclear = self.found.count(_UNCLEAR)
        measured = self.found.count(_MEASURED) + unclear
        if measured:
            notes.append(
                f"in {measured} pictures the boundary of the subjects was measured, in "
                f"{unclear} of them without a clear result: look at the contact sheet, and "
                "set it by hand with lines of 'ID boundary FRACTION' in --reject"
            )
        return notes

    def _of(self, subject: Subject, room: int) -> Iterator[tuple[ManifestImage, Tile]]:
        """Up to `room` images of a class; ends after a few failures in a row."""
        done = failed = 0
        for request in self._requests(subject):
            if done == room or failed == _TRIES:
                return
            if request.id in self.rejected:
                self.met.add(request.id)
                continue
            try:
                entry, pixels = self._image(request)
            except (RefusedError, ImageError) as error:
                self.rejected[request.id] = str(error)
                self.met.add(request.id)
                failed += 1
                continue
            done, failed = done + 1, 0
            self.made[entry.sha256] = entry.id
            self.found.append((entry.generation or {}).get("square", {}).get("found", ""))
            yield entry, _tile(entry, pixels)

    def _requests(self, subject: Subject) -> Iterator[Request]:
        """The requests of a class, without end."""
        first = int.from_bytes(_digest([self.options.seed, subject.label, subject.name])[:4])
        prompt = stacked_prompt(subject.name)
        for turn in counted():
            seed = (first + turn) % _SEEDS
            identity = [subject.label, subject.name, prompt, seed, self.backend.settings]
            readable = re.sub(r"[^a-z0-9]+", "_", subject.name.lower()).strip("_")[:40]
            yield Request(
                id=f"{readable or 'image'}-{_digest(identity).hex()[:12]}",
                label=subject.label,
                label_name=subject.name,
                prompt=prompt,
                seed=seed,
                size=self.options.size,
            )

    def _image(self, request: Request) -> tuple[ManifestImage, Pixels]:
        """One image, written: that of the earlier data set if it stays, else a new one."""
        entry = self.kept.get(request.id)
        if entry is not None:
            data = kept_bytes(self.target, entry)
            pixels = decode(data, min_side=1).pixels
        else:
            generated = self.backend.generate(request)
            pixels, square, notes = self._squared(request, generated)
            data = png(Image.fromarray(pixels))
            entry = ManifestImage(
                id=request.id,
                file=f"{IMAGES_NAME}/{request.id}.png",
                sha256=sha256_bytes(data),
                label=request.label,
                label_name=request.label_name,
                notes=(*generated.notes, *notes),
                sources=generated.sources,
                generation=_origin(request, generated, square),
            )
        if entry.sha256 in self.made:
            raise RefusedError(f"shows the same pixels as {self.made[entry.sha256]}")
        write_files({f"{request.id}.png": data}, self.work / IMAGES_NAME)
        return entry, pixels

    def _squared(
        self, request: Request, generated: Generated
    ) -> tuple[Pixels, dict[str, JSON], tuple[str, ...]]:
        """The image, the square that was cut as the manifest records it, and notes."""
        decoded = decode(generated.picture, min_side=1)
        picture, notes = decoded.pixels, list(decoded.notes)
        boundary, found = self._boundary(request, generated, picture)
        square = square_around(picture, boundary, self.options.dead)
        pixels = squared(picture, square, self.options.size)
        if found == _UNCLEAR:
            notes.append("no boundary of two subjects was found: cut around the middle")
        if square.side < max(self.options.size):
            shown = "×".join(map(str, self.options.size))
            notes.append(f"{square.side:.0f} pixels a side, enlarged to {shown}")
        record: dict[str, JSON] = {
            "picture": [picture.shape[0], picture.shape[1]],
            "boundary": round(boundary, 6),
            "found": found,
            "left": round(square.left, 3),
            "top": round(square.top, 3),
            "side": round(square.side, 3),
        }
        return pixels, record, tuple(notes)

    def _boundary(
        self, request: Request, generated: Generated, picture: Pixels
    ) -> tuple[float, str]:
        """Where the upper subject ends, and who says so."""
        if request.id in self.boundaries:
            return self.boundaries[request.id], "by hand"
        if self.options.boundary is not None:
            return self.options.boundary, "given for all"
        said = generated.generation.get("boundary")
        if isinstance(said, float) and 0 < said < 1:
            return said, "by the back end"
        measured = found_boundary(picture)
        return (0.5, _UNCLEAR) if measured is None else (measured, _MEASURED)


def _origin(request: Request, generated: Generated, square: dict[str, JSON]) -> dict[str, JSON]:
    """What the manifest says of an image's making."""
    said = {key: value for key, value in generated.generation.items() if key != "boundary"}
    return {
        "prompt": request.prompt,
        "seed": request.seed,
        **said,
        "picture_sha256": sha256_bytes(generated.picture),
        "square": square,
    }


def _tile(entry: ManifestImage, pixels: Pixels) -> Tile:
    name = printable(entry.label_name or entry.id)
    title = name if entry.label is None else f"{entry.label} {name}"
    return Tile(thumbnail(pixels), title, entry.id)


def _digest(values: list[Any]) -> bytes:
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()
