"""An audit from settings to results: images through the walled model and its twin, scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import camaudit
from camaudit.audit.clock import Clock
from camaudit.audit.images import AuditImages, audit_images, data_size, open_data
from camaudit.audit.loop import Loop, Progress, Silent, batch_tensor
from camaudit.audit.provenance import environment, image_entry, image_source, images_sha256
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, build_subject
from camaudit.audit.summary import summarise, summarise_data
from camaudit.audit.verifying import verified_zone
from camaudit.methods import method_call, select
from camaudit.metrics.statistics import LEVEL, MINIMUM, RESAMPLES
from camaudit.report.gallery import GalleryImage
from camaudit.types import Provenance, Results, Status
from camaudit.walls import DeadZone

__all__ = ["Outcome", "run_audit"]

_PAIRINGS = {
    "two-images": "two photographs of a class, stacked at the wall",
    "two-crops": "two crops of one photograph, stacked at the wall",
    "single": "as it is",
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a run and the images that its report shows."""

    results: Results
    gallery: list[GalleryImage]

    @property
    def failed(self) -> bool:
        """Whether any method failed on any image, with the wall or without."""
        return any(
            status is Status.ERROR
            for record in self.results.records
            for status in (record.status, record.unmasked.status if record.unmasked else None)
        )

    @property
    def empty(self) -> bool:
        """Whether no method (controls count only where nothing else ran) has a defined figure."""
        methods = [e for e in self.results.summary if e.family != "control"]
        return not any(entry.n for entry in methods or self.results.summary)


def run_audit(settings: Settings, *, progress: Progress | None = None) -> Outcome:
    """Audit what `settings` describe: every method on every image, walled and unwalled.

    Raises the errors of :mod:`camaudit.errors`: :class:`~camaudit.errors.UsageError` for what
    cannot be audited as asked, :class:`~camaudit.errors.AuditError` for what broke on the way (a
    zone refuted by its verification, logits that are not finite). A method that fails on its own
    is recorded with status "error" and does not end the run.
    """
    progress = progress or Silent()
    clock = Clock()
    methods = _selected(settings)
    data = open_data(settings.data)
    if settings.image_size is None and settings.trained is None and settings.wall != "vgg16":
        settings = replace(settings, image_size=data_size(data))
    progress.stage("loading the model and building the wall")
    with clock.measure("subject"):
        subject = build_subject(settings)
    settings = replace(settings, image_size=subject.size)
    progress.stage("reading the data sets" if data else "stacking the images")
    with clock.measure("images"):
        images = audit_images(settings, subject.walled.zone, data)
    progress.stage("verifying the dead zone")
    with clock.measure("verification"):
        first = batch_tensor(subject, images.images[:1])
        zone = verified_zone(subject.walled, first, seed=settings.seed)
    with clock.measure("scoring"):
        loop = Loop(settings, subject, images, methods, progress)
        loop.run()
    return _outcome(settings, subject, zone, images, loop, clock)


def _selected(settings: Settings) -> list[str]:
    """The methods to run, each once, in the order asked for; unknown names raise."""
    return [call.label for call in select(settings.methods)]


def _outcome(
    settings: Settings,
    subject: Subject,
    zone: DeadZone,
    images: AuditImages,
    loop: Loop,
    clock: Clock,
) -> Outcome:
    families = {name: method_call(name).info.family for name in loop.methods}
    description = {
        **subject.description,
        "image_source": image_source(settings.images, [str(one.folder) for one in images.data]),
        "images": len(loop.images),
        "images_sha256": images_sha256(loop.images),
        "accuracy": _accuracy(loop),
    }
    entries = [
        {**image_entry(image), "walled_top1": seen, "unwalled_top1": twin}
        for image, (seen, twin) in zip(loop.images, loop.top1, strict=True)
    ]
    for entry, name in zip(entries, images.origin, strict=False):
        entry["data"] = name
    bootstrap = {
        "method": "percentile", "resamples": RESAMPLES, "level": LEVEL, "unit": "image",
        "minimum": MINIMUM,
    }  # fmt: skip
    provenance = Provenance(
        environment=environment(subject.device),
        subject=description,
        zone=zone.to_dict(),
        settings={
            **settings.to_dict(),
            "methods": loop.methods,
            "bootstrap": bootstrap,
            "masked_images": {key: forwards.to_dict() for key, forwards in loop.forwards.items()},
        },
        images=entries,
    )
    results = Results(
        camaudit=camaudit.__version__,
        provenance=provenance,
        records=loop.records,
        summary=summarise(
            loop.records,
            families=families,
            scored_fraction=zone.scored_fraction,
            seed=settings.seed,
        ),
        data=summarise_data(
            loop.records,
            images,
            families=families,
            scored_fraction=zone.scored_fraction,
            seed=settings.seed,
        ),
        warnings=[*subject.warnings, *images.warnings, *loop.notes, *_skipped(images)],
        timing=clock.to_dict(),
    )
    return Outcome(results, _gallery(loop, zone))


def _accuracy(loop: Loop) -> dict[str, Any]:
    """Top-1 accuracy over labelled images, and how often wall and twin agree over all."""
    labelled = [
        (seen, twin, loop.label(image))
        for image, (seen, twin) in zip(loop.images, loop.top1, strict=True)
        if loop.label(image) is not None
    ]
    twins = [(seen, twin) for seen, twin in loop.top1 if twin is not None]
    n = len(labelled)
    return {
        "n": n,
        "walled": sum(seen == label for seen, _, label in labelled) / n if n else None,
        "unwalled": sum(t == label for _, t, label in labelled) / n if n and twins else None,
        "agreement": sum(seen == twin for seen, twin in twins) / len(twins) if twins else None,
    }


def _skipped(images: AuditImages) -> list[str]:
    return [f"skipped {name}: {reason}" for name, reason in images.skipped]


def _gallery(loop: Loop, zone: DeadZone) -> list[GalleryImage]:
    shown = []
    for place, maps in enumerate(loop.maps):
        image = loop.images[place]
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
