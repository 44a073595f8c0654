"""An audit from settings to results: images through the walled model and its twin, scored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import camaudit
from camaudit.audit.batches import batch_tensor
from camaudit.audit.checking import Checks, Found
from camaudit.audit.clock import Clock
from camaudit.audit.evaluating import MetricFindings, labelled, object_names
from camaudit.audit.foreign import Foreign, foreign_methods
from camaudit.audit.images import AuditImages, audit_images, data_size, open_data
from camaudit.audit.invariance import InvarianceFindings, foreign_explainers
from camaudit.audit.keeping import shown_caption, shown_title
from camaudit.audit.live import Live, tensor_images
from camaudit.audit.loop import Loop
from camaudit.audit.placing import Place, placed
from camaudit.audit.progress import Progress, Silent
from camaudit.audit.provenance import (
    environment,
    image_entry,
    image_source,
    images_sha256,
    publishable,
)
from camaudit.audit.recorded import Recorded
from camaudit.audit.sanity import SanityFindings
from camaudit.audit.sanity_claims import wall_claims
from camaudit.audit.settings import INVARIANCE, Settings
from camaudit.audit.subject import Subject, WalledSubject, build_subject, load_subject
from camaudit.audit.summary import summarise, summarise_data
from camaudit.audit.two_classes import two_class_figures
from camaudit.audit.verifying import verified_zone
from camaudit.errors import UsageError
from camaudit.evaluation.protocols import protocol
from camaudit.evaluation.tables import protocol_tables
from camaudit.methods import method_call, select
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.statistics import LEVEL, MINIMUM, RESAMPLES
from camaudit.report.gallery import GalleryImage
from camaudit.report.keeping import MapsWriter
from camaudit.report.sanity_pictures import SanityPicture
from camaudit.types import Provenance, Results, Status
from camaudit.walls import DeadZone

__all__ = ["Outcome", "run_audit"]

_BOOTSTRAP = {
    "method": "percentile",
    "resamples": RESAMPLES,
    "level": LEVEL,
    "unit": "image",
    "minimum": MINIMUM,
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a run and the images that its report shows.

    `mended` says what had to be put right in the records of earlier runs.
    """

    results: Results
    gallery: list[GalleryImage]
    metrics: MetricFindings | None = None
    sanity: SanityFindings | None = None
    invariance: InvarianceFindings | None = None
    mended: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The results as a notebook shows them."""
        return self.results._repr_html_()

    @property
    def pictures(self) -> list[SanityPicture]:
        """The maps along a cascade that the report shows."""
        return [] if self.sanity is None else self.sanity.pictures

    @property
    def _parts(self) -> Sequence[MetricFindings | SanityFindings | InvarianceFindings]:
        parts = (self.metrics, self.sanity, self.invariance)
        return [part for part in parts if part is not None]

    @property
    def failed(self) -> bool:
        """Whether any method failed on any image, or an explainer in every invariance test."""
        if any(part.failed for part in self._parts):
            return True
        return any(
            status is Status.ERROR
            for record in self.results.records
            for status in (record.status, record.unmasked.status if record.unmasked else None)
        )

    @property
    def empty(self) -> bool:
        """Whether no method (controls count only where nothing else ran) has a defined figure."""
        if not self.results.summary:
            return all(part.empty for part in self._parts)
        methods = [e for e in self.results.summary if e.family != "control"]
        return not any(entry.n for entry in methods or self.results.summary)


def run_audit(
    settings: Settings,
    *,
    progress: Progress | None = None,
    counterexamples: Path | None = None,
    live: Live | None = None,
    records: Path | None = None,
    fresh: bool = False,
    place: Place | None = None,
    writer: MapsWriter | None = None,
) -> Outcome:
    """Audit what `settings` describe: every method on every image, walled and unwalled.

    Without the check "dead-zone" no wall is built, and the other checks alone are run.
    `counterexamples` is the folder where the invariance check keeps what it found, to try it first
    the next time; None keeps nothing. `live` holds the model, and images and explainers if it has
    any, in place of what the settings name. `writer` gets the maps that a report shows, as they
    come.
    `records` is the folder where what the checks find is kept, cell by cell; what is there already
    is taken from it unless the run is to be `fresh`, and results are the same but for timings. A
    model that is `live` is computed every time. `place` says where the work is done, here by
    default and that of invariance always; what is `live` cannot leave this process.
    Raises the errors of :mod:`camaudit.errors`: :class:`~camaudit.errors.UsageError` for what
    cannot be audited as asked, :class:`~camaudit.errors.AuditError` for what broke on the way (a
    zone refuted by its verification, logits that are not finite). A method that fails on its own
    is recorded with status "error" and does not end the run.
    """
    foreign = [*([] if live is None else live.specs()), *foreign_explainers(settings)]
    if live is not None and place is not None and place.kind != "serial":
        raise UsageError(
            "a model that a program holds cannot be sent to other processes: name it by a spec, or "
            "leave the executor out"
        )
    kept = None
    if records is not None and live is None:
        kept = Recorded(records, settings, fresh=fresh)
    with foreign_methods(foreign) as known, kept or nullcontext():
        return _audited(
            settings, known, progress or Silent(), counterexamples, live, kept, place or Place(),
            writer,
        )  # fmt: skip


def _audited(
    settings: Settings,
    foreign: Foreign,
    progress: Progress,
    counterexamples: Path | None,
    live: Live | None,
    kept: Recorded | None,
    place: Place,
    writer: MapsWriter | None,
) -> Outcome:
    clock = Clock()
    registered = _selected(settings)
    methods = [*registered, *(spec.name for spec in foreign.specs)]
    data = open_data(settings.data)
    if live is not None and live.size is not None:
        settings = replace(settings, image_size=live.size)
    elif settings.image_size is None and settings.trained is None and settings.wall != "vgg16":
        settings = replace(settings, image_size=data_size(data))
    progress.stage(f"loading the model{' and building the wall' if settings.walled else ''}")
    subject: Subject
    with clock.measure("subject"):
        build = build_subject if settings.walled else load_subject
        subject = build(settings, live)
    settings = replace(settings, image_size=subject.size)
    progress.stage("reading the data sets" if data else "reading the images")
    frame: DeadZone | tuple[int, int] = (subject.size, subject.size)
    if isinstance(subject, WalledSubject):
        frame = subject.walled.zone
    with clock.measure("images"):
        given = None if live is None else live.images
        if given is None:
            keep = subject.description["input"]["crop"]
            images = audit_images(settings, frame, data, keep=keep, progress=progress)
        else:
            images = AuditImages(tensor_images(given)[: settings.num_images])
        regions = labelled(settings, images.images)  # a wrong file is refused before the work
        objects = object_names(settings, images.images)
        foreign.bind(subject, images.images)
    found = Found(settings, subject, images, methods, foreign, clock, given is not None)
    if isinstance(subject, WalledSubject):
        progress.stage("verifying the dead zone")
        with clock.measure("verification"):
            first = batch_tensor(subject, images.images[:1])
            found.zone = verified_zone(subject.walled, first, seed=settings.seed)
    with placed(place, settings, subject, images.images[0]) as executor:
        checks = Checks(found, kept, executor, progress)
        if isinstance(subject, WalledSubject):
            checks.dead_zone(subject, objects, writer)
        if settings.metric_checks:
            checks.metrics(regions)
        if settings.sanity_checks:
            checks.sanity(writer)
    if INVARIANCE in settings.checks:
        checks.invariance(registered, counterexamples)
    if kept is None:
        return _outcome(found)
    found.cells = kept.cells
    return replace(_outcome(found), mended=kept.mended)


def _selected(settings: Settings) -> list[str]:
    """The methods to run, each once, in the order asked for; unknown names raise."""
    return [call.label for call in select(settings.methods)]


def _outcome(found: Found) -> Outcome:
    settings, subject, images = found.settings, found.subject, found.images
    description = {
        **subject.description,
        "image_source": _source(found),
        "images": len(images.images),
        "images_sha256": images_sha256(images.images),
    }
    used: dict[str, Any] = {"methods": found.methods, "bootstrap": _BOOTSTRAP}
    used["papers"] = {name: _paper(name) for name in found.methods}
    if found.foreign.specs:
        used["foreign"] = found.foreign.to_dict()
    if found.loop is not None:
        description["accuracy"] = _accuracy(found.loop)
        forwards = found.loop.forwards.items()
        used["masked_images"] = {key: how.to_dict() for key, how in forwards}
    if found.sanity is not None and found.sanity.second is not None:
        description["permuted"] = found.sanity.second
    provenance = Provenance(
        environment=environment(subject.device),
        subject=description,
        zone={} if found.zone is None else found.zone.to_dict(),
        settings={**settings.to_dict(), **used},
        images=_entries(found),
    )
    timing = found.clock.to_dict()
    if found.cells:
        timing["cells"] = found.cells
    warnings = [*subject.warnings, *images.warnings, *found.foreign.warnings]
    results = Results(camaudit.__version__, provenance, [], [])
    if found.loop is not None and found.zone is not None:
        warnings += found.loop.notes
        results = replace(results, **_scored(found, found.loop, found.zone))
    if found.metrics is not None:
        warnings += found.metrics.warnings
        timing["metrics"] = found.metrics.seconds
        results = replace(results, metrics=found.metrics.metrics)
    if settings.protocol is not None:
        results = replace(results, protocol=_protocol(found, settings.protocol))
    if found.sanity is not None:
        warnings += found.sanity.warnings
        timing["sanity"] = found.sanity.seconds
        results = replace(
            results,
            sanity=found.sanity.sanity,
            claims=[*wall_claims(results.summary), *found.sanity.claims],
        )
    if found.invariance is not None:
        warnings += found.invariance.warnings
        timing["invariance"] = found.invariance.seconds
        results = replace(
            results,
            invariance=found.invariance.invariance,
            claims=[*results.claims, *found.invariance.claims],
        )
    results = replace(results, warnings=[*warnings, *_skipped(images)], timing=timing)
    gallery = [] if found.loop is None or found.zone is None else _gallery(found.loop, found.zone)
    return Outcome(publishable(results), gallery, found.metrics, found.sanity, found.invariance)


def _paper(method: str) -> dict[str, str]:
    """Where a method comes from, in the words of the registry."""
    info = method_call(method).info
    return {name: getattr(info, name) for name in ("paper", "equation", "formula", "family")}


def _protocol(found: Found, name: str) -> dict[str, Any]:
    """The protocol's tables, of metrics and of dead-zone records."""

    def values(metric: str, method: str, group: tuple[str, ...]) -> Sequence[float | None] | None:
        if found.metrics is not None and metric in METRICS:
            return found.metrics.values(metric, method, group)
        records = [] if found.loop is None else found.loop.records
        known = {one.image: getattr(one, metric, None) for one in records if one.method == method}
        # None too for an image that the method was not run on: all rows are of the same images
        return [known.get(image.id) for image in found.images.images] if known else None

    return protocol_tables(protocol(name), values, seed=found.settings.seed)


def _source(found: Found) -> str:
    """Where the images come from, in words."""
    if found.given:
        return "tensors that the program holds"
    return image_source(found.settings.images, [str(one.folder) for one in found.images.data])


def _entries(found: Found) -> list[dict[str, Any]]:
    """The images as results.json has them, with the class that the model sees in each."""
    entries = [image_entry(image) for image in found.images.images]
    if found.loop is not None:
        for entry, (seen, twin) in zip(entries, found.loop.top1, strict=True):
            entry.update(walled_top1=seen, unwalled_top1=twin)
    for entry, name in zip(entries, found.images.origin, strict=False):
        entry["data"] = name
    return entries


def _scored(found: Found, loop: Loop, zone: DeadZone) -> dict[str, Any]:
    """Records and summaries of the dead zone."""
    families = {name: method_call(name).info.family for name in loop.methods}
    fraction, seed = zone.scored_fraction, found.settings.seed
    top1 = {image.id: seen for image, (seen, _) in zip(loop.images, loop.top1, strict=True)}
    return {
        "records": loop.records,
        "summary": summarise(loop.records, families=families, scored_fraction=fraction, seed=seed),
        "data": summarise_data(
            loop.records, found.images, families=families, scored_fraction=fraction, seed=seed
        ),
        "targets": two_class_figures(loop.records, top1, families=families, seed=seed),
    }


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
    for one in loop.shown.values():
        image, target = loop.images[one.place], one.target
        shown.append(
            GalleryImage(
                id=image.id,
                title=shown_title(image),
                caption=shown_caption(image),
                pixels=image.pixels,
                dead=zone.pixel_dead.numpy(),
                scored=zone.scored.numpy(),
                maps=one.maps,
                target=target.index if target is not None and loop.several else None,
            )
        )
    return shown
