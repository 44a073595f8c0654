"""The loop of an audit: every batch captured once with and once without the wall, then scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from camaudit.audit.images import AuditImages
from camaudit.audit.keeping import Keeper
from camaudit.audit.live import stacked
from camaudit.audit.scoring import score_pair
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, WalledSubject
from camaudit.audit.targets import (
    IMAGENET_CLASSES,
    Classes,
    Target,
    highest,
    named_targets,
    ranks,
)
from camaudit.capture import Capture, capture
from camaudit.data.labels import class_title, imagenet_names
from camaudit.data.stack_mix import StackImage
from camaudit.engine import Forwards, prepare
from camaudit.errors import DegenerateModelError, LayerError, UsageError
from camaudit.methods import method_call
from camaudit.objective import Objective
from camaudit.report.keeping import MapsWriter
from camaudit.types import DeadZoneFigures, Record, Status

__all__ = ["CHECK", "GALLERY_IMAGES", "Loop", "Progress", "Shown", "Silent", "batch_tensor"]

CHECK = "dead-zone"
GALLERY_IMAGES = 12  #: images (or an image's targets) whose maps are kept for the report

Map = np.ndarray[Any, np.dtype[np.float32]]


class Progress(Protocol):
    """Told how far a run is; `work` is in arbitrary units, about one image forward each."""

    def start(self, work: int) -> None:
        """The scoring begins; `work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What happens now, in a few words."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


class Silent:
    """A :class:`Progress` that says nothing."""

    def start(self, work: int) -> None:
        """Nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def advance(self, work: int) -> None:
        """Nothing."""


def batch_tensor(subject: Subject, images: Sequence[StackImage]) -> Tensor:
    """The images as the subject reads them: N×3×H×W, standardised, its dtype and device."""
    batch = stacked(images, dtype=subject.dtype)
    if batch is None:
        pixels = [image.pixels for image in images]
        batch = subject.normalisation.to_tensor(pixels, dtype=subject.dtype)
    return batch.to(subject.device, memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Shown:
    """The maps of the image at `place` for one target, by method; None for a map that is none.

    `target` is None where the image has no logits to choose one by.
    """

    place: int
    target: Target | None
    maps: dict[str, Map | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Explained:
    """A batch explained by its images' n-th targets, None for those that have fewer.

    `ranks` are the places of the targets' logits on the walled model.
    """

    seen: Capture
    twin: Capture | None
    targets: tuple[Target | None, ...]
    ranks: tuple[int, ...]


class Loop:
    """Runs every method over all images and their targets, and holds what it found.

    `objects` names the annotated objects of each image, where the settings ask for labels. After
    :meth:`run`: `records` (method by method, images in order, their targets in order), `top1`
    (class with and without the wall, None where unknown) and `shown` (the first images' maps).
    `writer` gets the maps of as many images as it asks for, batch by batch.
    """

    def __init__(
        self,
        settings: Settings,
        subject: WalledSubject,
        images: AuditImages,
        methods: Sequence[str],
        progress: Progress,
        *,
        objects: Sequence[tuple[str, ...]] = (),
        writer: MapsWriter | None = None,
    ) -> None:
        self.settings = settings
        self.asked = settings.asked_targets
        self.objects = objects
        self.subject = subject
        self.images = list(images.images)
        self.largest = images.largest
        self.perturbed = images.first(settings.perturbation_count)
        self.methods = list(methods)
        self.progress = progress
        self.forwards = self._prepared()
        self.classes = 0
        self.records: list[Record] = []
        self.top1: list[tuple[int | None, int | None]] = []
        self.named: list[tuple[Target, ...]] | None = None
        self.several = False
        self.shown: dict[tuple[int, int], Shown] = {}
        self.keeper = Keeper(writer, self.images, subject.walled.zone)

    def _prepared(self) -> dict[str, Forwards]:
        """How masked images run, for the walled model and its twin."""
        walled, example = self.subject.walled, batch_tensor(self.subject, self.images[:1])
        engine = self.settings.engine
        prepared = {"walled": prepare(walled, example, engine)}
        if walled.unwalled is not None:
            prepared["unwalled"] = prepare(walled.unwalled, example, engine)
        return prepared

    def run(self) -> None:
        """Fill `classes`, `records`, `top1` and `maps`."""
        self.progress.start(
            sum(min(len(self.images), self._limit(m)) * self._unit(m) for m in self.methods)
        )
        size = self.settings.batch_size
        for start in range(0, len(self.images), size):
            self._batch(start, start + size)
        order = {name: place for place, name in enumerate(self.methods)}
        places = {image.id: place for place, image in enumerate(self.images)}
        # stable: an image's targets keep their order
        self.records.sort(key=lambda record: (order[record.method], places[record.image]))

    @property
    def notes(self) -> list[str]:
        """What a reader must know of how the methods were run."""
        told = []
        if self.several:
            told.append(
                f"several classes of an image are explained (--targets {self.settings.targets}): "
                "each has a record of its own, and an image's figure is the mean over those that "
                "have one"
            )
        slow = [method for method in self.methods if self._limit(method) < len(self.images)]
        if slow:
            told.append(
                f"{', '.join(slow)} ran on {self.perturbed} of {len(self.images)} images, because "
                "they run the model many times an image; --perturbation-images "
                f"{self.largest} runs them on all"
            )
        return told

    def label(self, image: StackImage) -> int | None:
        """The image's class (that above the wall) in this model's numbering, see `Classes.of`."""
        known = Classes(self.classes, self.subject.classes)
        return known.of(name=image.label_name, label=image.label)

    def _batch(self, start: int, stop: int) -> None:
        images = self.images[start:stop]
        self.progress.stage(f"images {start + 1}-{start + len(images)} of {len(self.images)}")
        try:
            seen, twin = self._captures(images)
        except DegenerateModelError as error:
            if len(images) == 1:
                self._undecided(start, str(error))
                self.keeper.written(start, start + 1, several=self.several)
            else:  # one image spoils its batch: find it, keep the others
                for place in range(start, start + len(images)):
                    self._batch(place, place + 1)
            return
        self.classes = seen.logits.shape[1]
        explained = self._explained(start, seen, twin)
        predicted: list[int | None] = [None] * len(images)
        if twin is not None:
            predicted = twin.logits.argmax(dim=1).tolist()
        self.top1 += zip(seen.targets.tolist(), predicted, strict=True)
        for method in self.methods:
            self.progress.stage(f"{method}, images from {start + 1} of {len(self.images)}")
            for part in self._parts(method, start, len(images)):
                self._score(method, start, part, explained)
        self.keeper.written(start, start + len(images), several=self.several)

    def _explained(self, start: int, seen: Capture, twin: Capture | None) -> list[_Explained]:
        """The batch by its images' first targets, by their second ones, and so on.

        Activations are those of `seen` and `twin`, and so are the masked images that methods ran.
        """
        chosen = self._targets(start, seen)
        self._keep(start, chosen)
        found = []
        for number in range(max(map(len, chosen))):
            targets = tuple(one[number] if number < len(one) else None for one in chosen)
            top = seen.targets.tolist()
            indices = [
                own if one is None else one.index for one, own in zip(targets, top, strict=True)
            ]
            classes = seen.targets.new_tensor(indices)
            placed = tuple(ranks(seen.logits, classes))
            if indices == top:
                found.append(_Explained(seen, twin, targets, placed))
                continue
            other = None if twin is None else twin.explaining(Objective(), targets=classes)
            same = seen.explaining(Objective(), targets=classes)
            found.append(_Explained(same, other, targets, placed))
        return found

    def _targets(self, start: int, seen: Capture) -> list[tuple[Target, ...]]:
        """The targets of every image of a batch; named ones are looked up once, for all images."""
        if self.asked.kind == "top":
            chosen = highest(seen.logits, self.asked)
        else:
            if self.named is None:
                known = Classes(self.classes, self.subject.classes)
                self.named = named_targets(self.asked, self.images, known, self.objects)
            chosen = self.named[start : start + len(seen)]
        most = max(map(len, self.named or chosen))
        fixed = [method for method in self.methods if method_call(method).info.fixed]
        if most > 1 and fixed:
            raise UsageError(
                f"{', '.join(fixed)}: a folder holds one map an image, which explains one class, "
                f"and --targets {self.settings.targets} asks for up to {most} of an image: leave "
                "the folder or --targets out"
            )
        self.several = most > 1
        return chosen

    def _keep(self, start: int, chosen: Sequence[tuple[Target, ...]]) -> None:
        """Make room for the maps of the first images."""
        for place, targets in enumerate(chosen, start):
            for number, target in enumerate(targets):
                if len(self.shown) < GALLERY_IMAGES:
                    self.shown[place, number] = Shown(place, target)

    def _captures(self, images: Sequence[StackImage]) -> tuple[Capture, Capture | None]:
        """The walled capture and the twin's, on the same images and the same targets."""
        walled = self.subject.walled
        batch = batch_tensor(self.subject, images)
        seen = capture(walled, batch, forwards=self.forwards["walled"])
        if walled.unwalled is None:
            return seen, None
        forwards = self.forwards["unwalled"]
        twin = capture(walled.unwalled, batch, targets=seen.targets, forwards=forwards)
        if not walled.unwalled.agrees_with_model(batch, twin.logits):
            raise LayerError(
                f"cut at layer {walled.unwalled.layer!r} the model gives other logits on these "
                "images than it gives whole: something leads around the layer; choose another"
            )
        return seen, twin

    def _undecided(self, place: int, message: str) -> None:
        """Records of an image without finite logits: status error, for every method it is for."""
        nothing = DeadZoneFigures(None, None, None, Status.ERROR)
        self.top1.append((None, None))
        if len(self.shown) < GALLERY_IMAGES:
            self.shown[place, 0] = Shown(place, None)
        for method in self.methods:
            if place < self._limit(method):
                self._record(method, place, nothing, None, message, target=None, rank=None)
                self.progress.advance(self._unit(method))

    def _parts(self, method: str, start: int, count: int) -> Iterator[slice]:
        """The rows of a batch that `method` takes; costly ones and fixed maps go one by one."""
        count = min(count, max(0, self._limit(method) - start))
        step = 1 if _slow(method) or method_call(method).info.fixed else max(count, 1)
        for first in range(0, count, step):
            yield slice(first, first + step)

    def _score(self, method: str, start: int, part: slice, explained: Sequence[_Explained]) -> None:
        zone, seed = self.subject.walled.zone, self.settings.seed
        for number, one in enumerate(explained):
            targets = one.targets[part]
            if not any(targets):
                continue
            found, control, message = score_pair(
                method, one.seen, one.twin, part, zone.scored, seed=seed
            )
            for row, (figures, target) in enumerate(zip(found.figures, targets, strict=True)):
                if target is None:
                    continue
                place = start + part.start + row
                other = None if control is None else control.figures[row]
                rank = one.ranks[part][row]
                self._record(method, place, figures, other, message, target=target, rank=rank)
                raw = None if found.raw is None else found.raw[row]
                self.keeper.map(place, target.index, method, raw)
                if (place, number) in self.shown:
                    shown = None if found.maps is None else found.maps[row].numpy()
                    self.shown[place, number].maps[method] = shown
        self.progress.advance((part.stop - part.start) * self._unit(method))

    def _record(
        self,
        method: str,
        place: int,
        figures: DeadZoneFigures,
        unmasked: DeadZoneFigures | None,
        message: str | None,
        *,
        target: Target | None,
        rank: int | None,
    ) -> None:
        role = None if target is None else target.role
        self.records.append(
            Record(
                check=CHECK,
                method=method,
                image=self.images[place].id,
                target=None if target is None else target.index,
                target_name=None if target is None else self._class_name(target.index),
                **vars(figures),
                message=message,
                unmasked=unmasked,
                role=role,
                rank=None if role is None else rank,
            )
        )

    def _class_name(self, target: int) -> str | None:
        """What a reader calls a class of the model; None where its classes have no known names."""
        if self.subject.classes is not None:
            return class_title(self.subject.classes[target])
        return imagenet_names()[target] if self.classes == IMAGENET_CLASSES else None

    def _limit(self, method: str) -> int:
        return self.perturbed if _slow(method) else len(self.images)

    def _unit(self, method: str) -> int:
        """Work of one image: about the channels of the layer for a perturbation method."""
        return int(self.subject.description["layer_shape"][0]) if _slow(method) else 1


def _slow(method: str) -> bool:
    return method_call(method).info.many_passes
