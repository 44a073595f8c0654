"""The loop of an audit: every batch captured once with and once without the wall, then scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from camaudit.capture import Capture, capture
from camaudit.data.labels import class_index, class_title, imagenet_names
from camaudit.data.stack_mix import StackImage
from camaudit.engine import Forwards, prepare
from camaudit.errors import DegenerateModelError, LayerError
from camaudit.methods import method_call
from camaudit.report.keeping import MapsWriter
from camaudit.types import DeadZoneFigures, Record, Status

__all__ = ["CHECK", "GALLERY_IMAGES", "Loop", "Progress", "Silent", "batch_tensor"]

CHECK = "dead-zone"
GALLERY_IMAGES = 12  #: images whose maps are kept for the report
IMAGENET_CLASSES = 1000

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


class Loop:
    """Runs every method over all images and holds what it found.

    After :meth:`run`: `records` (method by method, images in order), `top1` (class with and
    without the wall, None where unknown) and `maps` (of the first images, by method). `writer`
    gets the maps of as many images as it asks for, batch by batch.
    """

    def __init__(
        self,
        settings: Settings,
        subject: WalledSubject,
        images: AuditImages,
        methods: Sequence[str],
        progress: Progress,
        writer: MapsWriter | None = None,
    ) -> None:
        self.settings = settings
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
        self.maps: list[dict[str, Map | None]] = [{} for _ in self.images[:GALLERY_IMAGES]]
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
        self.records.sort(key=lambda record: order[record.method])  # stable: images keep theirs

    @property
    def notes(self) -> list[str]:
        """What a reader must know of how the methods were run."""
        slow = [method for method in self.methods if self._limit(method) < len(self.images)]
        if not slow:
            return []
        return [
            f"{', '.join(slow)} ran on {self.perturbed} of {len(self.images)} images, because "
            "they run the model many times an image; --perturbation-images "
            f"{self.largest} runs them on all"
        ]

    def label(self, image: StackImage) -> int | None:
        """The image's class in this model's numbering; None where that is not known.

        A network that names its classes is asked by name. Else WordNet ids and names are
        ImageNet's and count for heads of 1000 classes alone; a folder that is named by a number
        counts wherever the model has a class of that number.
        """
        if self.subject.classes is not None:
            return class_index(self.subject.classes, name=image.label_name, label=image.label)
        if self.classes == IMAGENET_CLASSES:
            return image.label
        name = image.label_name or ""
        number = int(name) if name.isascii() and name.isdecimal() else self.classes
        return number if number < self.classes else None

    def _batch(self, start: int, stop: int) -> None:
        images = self.images[start:stop]
        self.progress.stage(f"images {start + 1}-{start + len(images)} of {len(self.images)}")
        try:
            seen, twin = self._captures(images)
        except DegenerateModelError as error:
            if len(images) == 1:
                self._undecided(start, str(error))
                self.keeper.written(start, start + 1)
            else:  # one image spoils its batch: find it, keep the others
                for place in range(start, start + len(images)):
                    self._batch(place, place + 1)
            return
        self.classes = seen.logits.shape[1]
        predicted: list[int | None] = [None] * len(images)
        if twin is not None:
            predicted = twin.logits.argmax(dim=1).tolist()
        self.top1 += zip(seen.targets.tolist(), predicted, strict=True)
        for method in self.methods:
            self.progress.stage(f"{method}, images from {start + 1} of {len(self.images)}")
            for part in self._parts(method, start, len(images)):
                self._score(method, start, part, seen, twin)
        self.keeper.written(start, start + len(images))

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
        for method in self.methods:
            if place < self._limit(method):
                self._record(method, place, nothing, None, message)
                self.progress.advance(self._unit(method))

    def _parts(self, method: str, start: int, count: int) -> Iterator[slice]:
        """The rows of a batch that `method` takes; costly ones and fixed maps go one by one."""
        count = min(count, max(0, self._limit(method) - start))
        step = 1 if _slow(method) or method_call(method).info.fixed else max(count, 1)
        for first in range(0, count, step):
            yield slice(first, first + step)

    def _score(
        self, method: str, start: int, part: slice, seen: Capture, twin: Capture | None
    ) -> None:
        zone, seed = self.subject.walled.zone, self.settings.seed
        found, control, message = score_pair(method, seen, twin, part, zone.scored, seed=seed)
        for row, figures in enumerate(found.figures):
            place = start + part.start + row
            other = None if control is None else control.figures[row]
            self._record(method, place, figures, other, message)
            self.keeper.map(place, method, None if found.raw is None else found.raw[row])
            if place < len(self.maps):
                shown = None if found.maps is None else found.maps[row].numpy()
                self.maps[place][method] = shown
        self.progress.advance(len(found.figures) * self._unit(method))

    def _record(
        self,
        method: str,
        place: int,
        figures: DeadZoneFigures,
        unmasked: DeadZoneFigures | None,
        message: str | None,
    ) -> None:
        target = self.top1[place][0]
        self.records.append(
            Record(
                check=CHECK,
                method=method,
                image=self.images[place].id,
                target=target,
                target_name=None if target is None else self._class_name(target),
                **vars(figures),
                message=message,
                unmasked=unmasked,
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
