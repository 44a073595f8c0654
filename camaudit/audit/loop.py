"""The loop of an audit: every batch captured once with and once without the wall, then scored."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from camaudit.audit.batches import batch_tensor
from camaudit.audit.driving import Job, Steps, drive
from camaudit.audit.executors import Call, Executor, Serial, answered
from camaudit.audit.images import AuditImages
from camaudit.audit.keeping import Keeper
from camaudit.audit.ledger import CHECK, Ledger
from camaudit.audit.progress import Progress
from camaudit.audit.settings import Settings
from camaudit.audit.subject import WalledSubject
from camaudit.audit.targets import IMAGENET_CLASSES, Classes, Target, named_targets
from camaudit.audit.units import Batch, Chosen, Decided, Entry, Map, is_slow, parts
from camaudit.audit.worker import Worker, prepared
from camaudit.data.labels import class_title, imagenet_names
from camaudit.data.stack_mix import StackImage
from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.methods import method_call
from camaudit.report.keeping import MapsWriter
from camaudit.types import DeadZoneFigures, Record, Status

__all__ = ["CHECK", "GALLERY_IMAGES", "Loop", "Shown"]

_PAUSE = 0.2  # seconds between two looks at what another process is at
GALLERY_IMAGES = 12  #: images (or an image's targets) whose maps are kept for the report


@dataclass(frozen=True, eq=False)
class Shown:
    """The maps of the image at `place` for one target, by method; None for a map that is none.

    `target` is None where the image has no logits to choose one by.
    """

    place: int
    target: Target | None
    maps: dict[str, Map | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Work:
    """One method on a part of a batch."""

    batch: Batch
    method: str
    part: slice

    @property
    def places(self) -> range:
        """The images' places in the audit."""
        return range(self.batch.start + self.part.start, self.batch.start + self.part.stop)


class Loop:
    """Runs every method over all images and their targets, and holds what it found.

    `objects` names the annotated objects of each image, where the settings ask for labels; `left`
    is :attr:`camaudit.audit.foreign.Foreign.left`. With a `ledger` what was found before is taken
    from there, and everything new is kept in it at once. `writer` gets the maps of as many images
    as it asks for, in their order. After :meth:`run`: `records` (method by method, images in order,
    their targets in order), `top1` (class with and without the wall, None where unknown) and
    `shown` (the first images' maps).

    Raises :class:`UsageError` for targets that the model or the images do not have.
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
        left: dict[str, list[str]] | None = None,
        ledger: Ledger | None = None,
        writer: MapsWriter | None = None,
    ) -> None:
        self.settings = settings
        self.subject = subject
        self.images = list(images.images)
        self.largest = images.largest
        self.perturbed = images.first(settings.perturbation_count)
        self.methods = list(methods)
        self.progress = progress
        self.left = {} if left is None else left
        self.ledger = ledger
        self.forwards = prepared(settings, subject, self.images[0])
        self.classes = self._counted()
        self.named = self._named(objects)
        asked = settings.asked_targets
        most = asked.count if self.named is None else max(map(len, self.named))
        self.several = most > 1
        self._check_fixed(most)
        self.records: list[Record] = []
        self.shown: dict[tuple[int, int], Shown] = {}
        self.keeper = Keeper(writer, self.images, subject.walled.zone)
        self._worker = Worker(settings, subject, self.forwards, left=self.left)
        self._aside: list[_Work] = []
        self._costly: deque[list[_Work]] = deque()
        self._queued: set[tuple[str, int]] = set()
        self._lanes = 1
        self._held: OrderedDict[Batch, Batch] = OrderedDict()
        self._handed = 0
        self._decided: dict[int, Decided] = {}
        self._entries: dict[tuple[str, int], list[Entry]] = {}

    def _counted(self) -> int:
        """How many classes the model has."""
        with torch.no_grad():
            example = batch_tensor(self.subject, self.images[:1])
            return int(self.subject.walled.logits(example).shape[1])

    def _named(self, objects: Sequence[tuple[str, ...]]) -> list[tuple[Target, ...]] | None:
        """The targets of every image where they do not follow from its logits."""
        asked = self.settings.asked_targets
        if asked.kind == "top":
            return None
        known = Classes(self.classes, self.subject.classes)
        return named_targets(asked, self.images, known, objects)

    def _check_fixed(self, most: int) -> None:
        fixed = [method for method in self.methods if method_call(method).info.fixed]
        if most > 1 and fixed:
            raise UsageError(
                f"{', '.join(fixed)}: a folder holds one map an image, which explains one class, "
                f"and --targets {self.settings.targets} asks for up to {most} of an image: leave "
                "the folder or --targets out"
            )

    @property
    def top1(self) -> list[tuple[int | None, int | None]]:
        """The class that is seen in each image, with and without the wall."""
        return [(one.top1, one.twin) for _, one in sorted(self._decided.items())]

    def run(self, executor: Executor | None = None) -> None:
        """Fill `records`, `top1` and `shown`; without an `executor` here, one part after another.

        Raises what the work raises, and :class:`AuditError` where the same images lose one worker
        after another.
        """
        self.progress.start(
            sum(min(len(self.images), self._limit(m)) * self._unit(m) for m in self.methods)
        )
        executor = executor or Serial(partial(answered, self._worker))
        self._lanes = executor.lanes
        batches = self._batches()
        drive(executor, lambda: self._next(batches))
        while self._aside:
            aside, self._aside = self._aside, []
            self.progress.stage(f"waiting for another process: {len(aside)} parts")
            again = iter([Job(partial(self._again, work)) for work in aside])
            drive(executor, partial(next, again, None))
            if len(self._aside) == len(aside):
                time.sleep(_PAUSE)
        self._assemble()

    def _next(self, batches: Iterator[Batch]) -> Job | None:
        """What is to be done next: costly methods on an image of an earlier batch, or a batch."""
        if self._costly:
            return Job(partial(self._image, self._costly.popleft()))
        batch = next(batches, None)
        return None if batch is None else Job(partial(self._batch, batch))

    def _batches(self) -> Iterator[Batch]:
        size = self.settings.batch_size
        for start in range(0, len(self.images), size):
            part = slice(start, start + size)
            named = None if self.named is None else tuple(self.named[part])
            yield Batch(start, tuple(self.images[part]), named)

    def _batch(self, batch: Batch) -> Steps:
        """Every method on a batch; what another process is at is put aside.

        Costly methods wait, image by image, for whoever is free.
        """
        self.progress.stage(f"images {batch.start + 1}-{batch.stop} of {len(self.images)}")
        found = None if self.ledger is None else self.ledger.decided(batch)
        if found is None:
            found = yield Call("decide", self._read(batch))
            if found is not None and self.ledger is not None:
                self.ledger.keep_decided(batch, found)
        if found is None or (len(found) > 1 and any(one.message for one in found)):
            for single in batch.single():  # one image spoils its batch: the others are kept
                yield from self._batch(single)
            return
        self._decided.update(enumerate(found, batch.start))
        waiting: dict[int, list[_Work]] = {}
        for method in self.methods:
            for work in self._missing(batch, method):
                if not is_slow(method):
                    yield from self._scored(work)
                else:
                    waiting.setdefault(work.part.start, []).append(work)
        self._queue(waiting[row] for row in sorted(waiting))
        self._hand_on()

    def _queue(self, images: Iterable[list[_Work]]) -> None:
        """Have costly methods wait, but for those that do: their batch was begun again."""
        for works in images:
            new = [one for one in works if (one.method, one.places.start) not in self._queued]
            self._queued.update((one.method, one.places.start) for one in new)
            if new:
                self._costly.append(new)

    def _image(self, works: Sequence[_Work]) -> Steps:
        """Costly methods on an image: one worker has them all, for they share masked images."""
        for work in works:
            place = work.places.start
            if (work.method, place) not in self._entries:  # a lost worker's are there
                names = ", ".join(dict.fromkeys(one.method for one in works))
                first = work.batch.start + 1
                self.progress.stage(f"{names}, images from {first} of {len(self.images)}")
                yield from self._scored(work)
        self._hand_on()

    def _read(self, batch: Batch) -> Batch:
        """The batch with its pixels, the same one for all that is computed of it in turn."""
        if batch not in self._held:
            self._held[batch] = batch.held()
        self._held.move_to_end(batch)
        while len(self._held) > self._lanes:
            self._held.popitem(last=False)
        return self._held[batch]

    def _missing(self, batch: Batch, method: str) -> Iterator[_Work]:
        """What has to be computed of a method; what is known is taken."""
        if not is_slow(method):
            self.progress.stage(f"{method}, images from {batch.start + 1} of {len(self.images)}")
        count = min(len(batch.images), max(0, self._limit(method) - batch.start))
        places = []
        for place in range(batch.start, batch.start + count):
            if self._decided[place].message is not None:
                self._take(method, place, [])
            elif (method, place) not in self._entries:  # a lost worker's earlier parts are there
                places.append(place)
        known = {} if self.ledger is None else self.ledger.entries(method, places, self._decided)
        for place, entries in known.items():
            self._take(method, place, entries)
        rows = [place - batch.start for place in places if place not in known]
        for part in parts(method, rows):
            yield _Work(batch, method, part)

    def _scored(self, work: _Work) -> Steps:
        """Have a part computed, keep and take it; put it aside where another process is at it."""
        method, places, ledger = work.method, work.places, self.ledger
        if ledger is not None and not ledger.claim(method, places, self._decided):
            self._aside.append(work)
            return
        if method_call(method).info.fixed:  # the maps lie here
            found = self._worker.score(self._read(work.batch), method, work.part)
        else:
            found = yield Call("score", self._read(work.batch), method, work.part)
        if ledger is not None:
            ledger.keep(method, places.start, found, self._decided)
        for place, entries in zip(places, found, strict=True):
            self._take(method, place, entries)

    def _again(self, work: _Work) -> Steps:
        """A part that was put aside: from the ledger if it is there by now."""
        known = {}
        if self.ledger is not None:
            known = self.ledger.entries(work.method, work.places, self._decided)
        if len(known) < len(work.places):
            yield from self._scored(work)
        else:
            for place, entries in known.items():
                self._take(work.method, place, entries)
        self._hand_on()

    def _hand_on(self) -> None:
        """Hand on the maps of the images that are complete, up to the first that is not."""
        while self._handed < self.keeper.most and self._complete(self._handed):
            place = self._handed
            for method in self.methods:
                entries = self._entries.get((method, place), [])
                for chosen, entry in zip(self._decided[place].chosen, entries, strict=False):
                    self.keeper.map(
                        place, chosen.target.index, method, entry.map, entry.unmasked_map
                    )
                if entries:
                    self._entries[method, place] = self._still_held(place, entries)
            self.keeper.written(place, place + 1, several=self.several)
            self._handed += 1

    def _complete(self, place: int) -> bool:
        """Whether all that there will be of an image is there."""
        wanted = [method for method in self.methods if place < self._limit(method)]
        known = place in self._decided
        return known and all((method, place) in self._entries for method in wanted)

    def _take(self, method: str, place: int, entries: list[Entry]) -> None:
        """Hold what is wanted of a method's entries on an image."""
        if place >= self.keeper.most:  # nothing of it is handed on
            entries = self._still_held(place, entries)
        self._entries[method, place] = entries
        self.progress.advance(self._unit(method))

    def _still_held(self, place: int, entries: list[Entry]) -> list[Entry]:
        """An image's entries once its maps are handed on: those of the first ones go to `shown`."""
        if place >= GALLERY_IMAGES:
            return [entry.bare() for entry in entries]
        return [replace(entry, unmasked_map=None) for entry in entries]

    def _assemble(self) -> None:
        """Records and maps from what was found, in the order of methods, images and targets."""
        for place, decided in sorted(self._decided.items()):
            for number, chosen in enumerate(decided.chosen or (None,)):
                if len(self.shown) < GALLERY_IMAGES:
                    target = None if chosen is None else chosen.target
                    self.shown[place, number] = Shown(place, target)
        nothing = Entry(DeadZoneFigures(None, None, None, Status.ERROR))
        for method in self.methods:
            self.left.pop(method, None)
            for place in range(min(self._limit(method), len(self.images))):
                decided, entries = self._decided[place], self._entries.pop((method, place))
                if decided.message is not None:
                    failed = replace(nothing, message=decided.message)
                    self._record(method, place, failed, None)
                for number, (chosen, entry) in enumerate(zip(decided.chosen, entries, strict=True)):
                    self._record(method, place, entry, chosen)
                    if entry.left:  # of the first image of which it left anything
                        self.left.setdefault(method, list(entry.left))
                    if (place, number) in self.shown:
                        self.shown[place, number].maps[method] = self._enlarged(entry.map)

    def _enlarged(self, drawn: Map | None) -> Map | None:
        """A map at the images' size."""
        if drawn is None:
            return None
        size = (self.subject.size, self.subject.size)
        return upsample(torch.tensor(drawn)[None], size)[0].numpy()

    def _record(self, method: str, place: int, entry: Entry, chosen: Chosen | None) -> None:
        target = None if chosen is None else chosen.target
        role = None if target is None else target.role
        self.records.append(
            Record(
                check=CHECK,
                method=method,
                image=self.images[place].id,
                target=None if target is None else target.index,
                target_name=None if target is None else self._class_name(target.index),
                **vars(entry.figures),
                message=entry.message,
                unmasked=entry.unmasked,
                role=role,
                rank=chosen.rank if chosen is not None and role is not None else None,
            )
        )

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
                "that runs the model many times an image; --perturbation-images "
                f"{self.largest} takes all"
            )
        return told

    def label(self, image: StackImage) -> int | None:
        """The image's class (that above the wall) in this model's numbering, see `Classes.of`."""
        known = Classes(self.classes, self.subject.classes)
        return known.of(name=image.label_name, label=image.label)

    def _class_name(self, target: int) -> str | None:
        """What a reader calls a class of the model; None where its classes have no known names."""
        if self.subject.classes is not None:
            return class_title(self.subject.classes[target])
        return imagenet_names()[target] if self.classes == IMAGENET_CLASSES else None

    def _limit(self, method: str) -> int:
        return self.perturbed if is_slow(method) else len(self.images)

    def _unit(self, method: str) -> int:
        """Work of one image: about the channels of the layer for a perturbation method."""
        return int(self.subject.description["layer_shape"][0]) if is_slow(method) else 1
