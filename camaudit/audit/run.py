"""An audit from settings to results: images through the walled model and its twin, scored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import camaudit
from camaudit.audit.provenance import environment, image_entry, image_source, images_sha256
from camaudit.audit.scoring import Scored, score
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, build_subject
from camaudit.audit.summary import summarise
from camaudit.capture import Capture, capture
from camaudit.data.embedded import embedded_photos
from camaudit.data.folders import scan
from camaudit.data.labels import imagenet_names
from camaudit.data.stack_mix import StackImage, StackMix, plain_images, stack_mix
from camaudit.errors import ZoneError
from camaudit.methods import METHODS, method_names
from camaudit.metrics.statistics import LEVEL, RESAMPLES
from camaudit.report.gallery import GalleryImage
from camaudit.types import Provenance, Record, Results
from camaudit.walls import DeadZone, verify_zone

__all__ = ["GALLERY_IMAGES", "Outcome", "Progress", "run_audit"]

GALLERY_IMAGES = 12  #: images whose maps are kept for the report
CHECK = "dead-zone"
_PAIRINGS = {
    "two-images": "two photographs of a class, stacked at the wall",
    "two-crops": "two crops of one photograph, stacked at the wall",
    "single": "as it is",
}


class Progress(Protocol):
    """Told how far a run is; `work` is in arbitrary units, about one image forward each."""

    def start(self, work: int) -> None:
        """The scoring begins; `work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What happens now, in a few words."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a run and the images that its report shows."""

    results: Results
    gallery: list[GalleryImage]

    @property
    def failed(self) -> bool:
        """Whether any method failed on any image."""
        return any(entry.errors for entry in self.results.summary)


class Silent:
    """A :class:`Progress` that says nothing."""

    def start(self, work: int) -> None:
        """Nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def advance(self, work: int) -> None:
        """Nothing."""


def run_audit(settings: Settings, *, progress: Progress | None = None) -> Outcome:
    """Audit what `settings` describe: every method on every image, walled and unwalled.

    Raises the errors of :mod:`camaudit.errors`: :class:`~camaudit.errors.UsageError` for what
    cannot be audited as asked, :class:`~camaudit.errors.AuditError` for what broke on the way (a
    zone refuted by its verification, logits that are not finite). A method that fails on its own
    is recorded with status "error" and does not end the run.
    """
    progress = progress or Silent()
    clock = _Clock()
    methods = _selected(settings)
    progress.stage("loading the model and building the wall")
    with clock.measure("subject"):
        subject = build_subject(settings)
    progress.stage("stacking the images")
    with clock.measure("images"):
        images = _images(settings, subject.walled.zone)
    progress.stage("verifying the dead zone")
    with clock.measure("verification"):
        zone = _verified(subject, images.images, settings)
    with clock.measure("scoring"):
        scoring = _Scoring(settings, subject, list(images.images), methods, progress)
        scoring.run()
    return _outcome(settings, subject, zone, images, scoring, clock)


def _selected(settings: Settings) -> list[str]:
    """The methods to run, each once, in the order asked for; unknown names raise."""
    names = list(dict.fromkeys(settings.methods or method_names()))
    for name in names:
        METHODS[name]
    return names


def _images(settings: Settings, zone: DeadZone) -> StackMix:
    dead = zone.pixel_dead.numpy()
    count, seed = settings.image_count, settings.seed
    collection = embedded_photos() if settings.images is None else scan(settings.images)
    if collection.classes:
        found = stack_mix(collection, dead=dead, count=count, seed=seed)
    else:
        found = plain_images(collection, size=dead.shape, count=count, seed=seed)
    return replace(found, skipped=(*collection.skipped, *found.skipped))


def _verified(subject: Subject, images: tuple[StackImage, ...], settings: Settings) -> DeadZone:
    """The zone with its verification on the first image; :class:`ZoneError` if it is refuted."""
    batch = _tensor(subject, images[:1])
    outcome = verify_zone(subject.walled, batch, subject.walled.zone, seed=settings.seed)
    if not outcome.live_changed:
        raise ZoneError(
            "changing the live pixels did not change the logits either: the model ignores its "
            "input, so nothing can be said of what it sees"
        )
    if not outcome.passed:
        raise ZoneError(
            f"the dead zone is refuted: changing dead pixels moved the logits by "
            f"{outcome.max_abs_difference:.3g} (allowed {outcome.bound:.3g} on {outcome.device})"
        )
    return subject.walled.zone.with_verification(outcome)


def _tensor(subject: Subject, images: tuple[StackImage, ...] | list[StackImage]) -> Tensor:
    batch = subject.normalisation.to_tensor([image.pixels for image in images])
    return batch.to(subject.device, memory_format=torch.channels_last)


class _Scoring:
    """The loop over batches; holds what it found."""

    def __init__(
        self,
        settings: Settings,
        subject: Subject,
        images: list[StackImage],
        methods: list[str],
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.subject = subject
        self.images = images
        self.methods = methods
        self.progress = progress
        self.names = _class_names(subject)
        self.records: list[Record] = []
        self.top1: list[tuple[int, int | None]] = []
        self.maps: list[dict[str, np.ndarray[Any, np.dtype[np.float32]] | None]] = []

    def run(self) -> None:
        """Fill `records`, `top1` and `maps`."""
        self.maps = [{} for _ in self.images[:GALLERY_IMAGES]]
        self.progress.start(self._work())
        size = self.settings.batch_size
        for start in range(0, len(self.images), size):
            self._batch(start, self.images[start : start + size])
        order = {name: place for place, name in enumerate(self.methods)}
        self.records.sort(key=lambda record: order[record.method])  # stable: images keep theirs

    def _batch(self, start: int, images: list[StackImage]) -> None:
        walled = self.subject.walled
        batch = _tensor(self.subject, images)
        self.progress.stage(f"images {start + 1}-{start + len(images)} of {len(self.images)}")
        seen = capture(walled, batch, batch_size=self.settings.batch_size)
        twin = None
        if walled.unwalled is not None:
            twin = capture(
                walled.unwalled, batch, targets=seen.targets, batch_size=self.settings.batch_size
            )
        predicted = [None] * len(images) if twin is None else twin.logits.argmax(dim=1).tolist()
        self.top1 += zip(seen.targets.tolist(), predicted, strict=True)
        for method in self.methods:
            self.progress.stage(f"{method}, images from {start + 1} of {len(self.images)}")
            for part in self._parts(method, start, len(images)):
                self._score(method, start, part, seen, twin)

    def _parts(self, method: str, start: int, count: int) -> Iterator[slice]:
        """The rows of a batch that `method` takes; perturbation methods go image by image."""
        limit = self._limit(method)
        count = min(count, max(0, limit - start))
        step = 1 if METHODS[method].info.family == "perturbation" else max(count, 1)
        for first in range(0, count, step):
            yield slice(first, first + step)

    def _limit(self, method: str) -> int:
        allowed = self.settings.perturbation_count
        slow = METHODS[method].info.family == "perturbation"
        return len(self.images) if allowed is None or not slow else allowed

    def _score(
        self, method: str, start: int, part: slice, seen: Capture, twin: Capture | None
    ) -> None:
        zone, seed = self.subject.walled.zone, self.settings.seed
        found = score(method, seen.rows(part.start, part.stop), zone.scored, seed=seed)
        control: Scored | None = None
        if twin is not None:
            control = score(method, twin.rows(part.start, part.stop), zone.scored, seed=seed)
        for row, figures in enumerate(found.figures):
            place = start + part.start + row
            target = self.top1[place][0]
            self.records.append(
                Record(
                    check=CHECK,
                    method=method,
                    image=self.images[place].id,
                    target=target,
                    target_name=self.names[target] if self.names else None,
                    **vars(figures),
                    message=found.message,
                    unmasked=None if control is None else control.figures[row],
                )
            )
            if place < len(self.maps):
                shown = None if found.maps is None else found.maps[row].numpy()
                self.maps[place][method] = shown
        self.progress.advance(len(found.figures) * self._unit(method))

    def _unit(self, method: str) -> int:
        """Work of one image: about the channels of the layer for a perturbation method."""
        slow = METHODS[method].info.family == "perturbation"
        return int(self.subject.description["layer_shape"][0]) if slow else 1

    def _work(self) -> int:
        n = len(self.images)
        return sum(min(n, self._limit(method)) * self._unit(method) for method in self.methods)


def _class_names(subject: Subject) -> list[str] | None:
    """ImageNet's names where the head has 1000 classes, which is what it then nearly always is."""
    image = torch.zeros(1, 3, *subject.walled.zone.pixel_dead.shape, device=subject.device)
    with torch.no_grad():
        classes = subject.walled.logits(image).shape[1]
    return imagenet_names() if classes == 1000 else None


def _outcome(
    settings: Settings,
    subject: Subject,
    zone: DeadZone,
    images: StackMix,
    scoring: _Scoring,
    clock: _Clock,
) -> Outcome:
    kept = list(images.images)
    families = {name: METHODS[name].info.family for name in scoring.methods}
    description = {
        **subject.description,
        "image_source": image_source(settings.images),
        "images": len(kept),
        "images_sha256": images_sha256(kept),
        "accuracy": _accuracy(kept, scoring.top1),
    }
    entries = [
        {**image_entry(image), "walled_top1": seen, "unwalled_top1": twin}
        for image, (seen, twin) in zip(kept, scoring.top1, strict=True)
    ]
    bootstrap = {"method": "percentile", "resamples": RESAMPLES, "level": LEVEL, "unit": "image"}
    provenance = Provenance(
        environment=environment(subject.device),
        subject=description,
        zone=zone.to_dict(),
        settings={**settings.to_dict(), "methods": scoring.methods, "bootstrap": bootstrap},
        images=entries,
    )
    results = Results(
        camaudit=camaudit.__version__,
        provenance=provenance,
        records=scoring.records,
        summary=summarise(
            scoring.records,
            families=families,
            scored_fraction=zone.scored_fraction,
            seed=settings.seed,
        ),
        warnings=[*subject.warnings, *images.warnings, *_skipped(images)],
        timing=clock.to_dict(),
    )
    return Outcome(results, _gallery(scoring, zone))


def _accuracy(
    images: list[StackImage], top1: list[tuple[int, int | None]]
) -> dict[str, Any] | None:
    """Top-1 accuracy over labelled images, and how often wall and twin agree over all."""
    labelled = [
        (seen, twin, image.label)
        for image, (seen, twin) in zip(images, top1, strict=True)
        if image.label is not None
    ]
    twins = [(seen, twin) for seen, twin in top1 if twin is not None]
    if not labelled:
        return None
    n = len(labelled)
    return {
        "n": n,
        "walled": sum(seen == label for seen, _, label in labelled) / n,
        "unwalled": sum(twin == label for _, twin, label in labelled) / n if twins else None,
        "agreement": sum(seen == twin for seen, twin in twins) / len(twins) if twins else None,
    }


def _skipped(images: StackMix) -> list[str]:
    return [f"skipped {name}: {reason}" for name, reason in images.skipped]


def _gallery(scoring: _Scoring, zone: DeadZone) -> list[GalleryImage]:
    shown = []
    for place, maps in enumerate(scoring.maps):
        image = scoring.images[place]
        sources = " above ".join(dict.fromkeys(source.id for source in image.sources))
        shown.append(
            GalleryImage(
                id=image.id,
                title=image.label_name or image.id,
                caption=f"{sources} ({_PAIRINGS[image.pairing]})",
                pixels=image.pixels,
                dead=zone.pixel_dead.numpy(),
                scored=zone.scored.numpy(),
                maps=maps,
            )
        )
    return shown


class _Clock:
    """Wall-clock seconds by stage, and when the run began (UTC)."""

    def __init__(self) -> None:
        self._began = datetime.now(UTC)
        self._seconds: dict[str, float] = {}

    def measure(self, stage: str) -> _Stage:
        """A context manager that adds the time spent in it to `stage`."""
        return _Stage(self._seconds, stage)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"began": self._began.isoformat(timespec="seconds"), "seconds": self._seconds}


class _Stage:
    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = round(time.perf_counter() - self._start, 3)
