"""The metrics of an audit: confidence, ADCC, insertion and deletion, localisation and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camaudit.audit.batches import all_images, batch_tensor
from camaudit.audit.progress import Progress
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, WalledSubject
from camaudit.cut import Cut, cut_at
from camaudit.data.regions import Regions, labels_of, read_regions, regions_of
from camaudit.data.stack_mix import StackImage
from camaudit.engine import prepare
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Missing
from camaudit.evaluation.protocols import protocol
from camaudit.evaluation.run import evaluate
from camaudit.journal import Journal
from camaudit.methods import method_call
from camaudit.metrics.catalogue import METRICS
from camaudit.walls import WalledModel

__all__ = ["Labels", "MetricBench", "MetricFindings", "audit_metrics", "labelled", "object_names"]

#: Labelled regions (N×H×W, bool; None where none are asked for) and notes on them.
Labels = tuple[Tensor | None, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class MetricFindings:
    """What the metrics of a run found; `metrics` is results.json's, without timings."""

    metrics: dict[str, Any]
    seconds: dict[str, float]
    warnings: tuple[str, ...]

    def values(
        self, metric: str, method: str, group: tuple[str, ...]
    ) -> tuple[float | None, ...] | None:
        """One row, of Win % that among a `group`; None where it was not measured."""
        rivals = self.metrics["settings"]["rivals"]
        for row in self.metrics["rows"]:
            if (row["metric"], row["method"]) != (metric, method):
                continue
            if row["rivals"] is None or not rivals or tuple(rivals[row["rivals"]]) == group:
                return tuple(row["values"])
        return None

    @property
    def empty(self) -> bool:
        """Whether no metric has a value for any method."""
        return not any(row["mean"]["n"] for row in self.metrics["rows"])

    @property
    def failed(self) -> bool:
        """Whether any method failed on any image."""
        return any(one["outcome"] == Missing.ERROR for one in self.metrics["remarks"])


class MetricBench:
    """What the metrics of a run are computed with: the same wherever that is.

    `example` (1×C×H×W) is the run's first image.
    """

    def __init__(self, settings: Settings, subject: Subject, example: Tensor) -> None:
        self.divided = _divided(settings, subject, example)
        self.forwards = prepare(self.divided, example, settings.engine)
        self.options = _options(settings)
        self.black = _black(subject, example)


def audit_metrics(
    settings: Settings,
    subject: Subject,
    images: Sequence[StackImage],
    methods: Sequence[str],
    costly_images: int,
    progress: Progress,
    *,
    regions: Labels,
    journal: Journal | None = None,
    bench: MetricBench | None = None,
) -> MetricFindings:
    """Run the metric checks of the settings on the subject's model, or on its walled one.

    `costly_images` is how many images the methods take that run the model many times an image;
    `regions` are those of :func:`labelled`; what is in the `journal` is not computed again, and
    what is new is kept there. `bench` is what computes, where it is made already. Raises the errors
    of :func:`camaudit.evaluation.run.evaluate`.
    """
    calls = [method_call(name) for name in methods]
    bench = bench or MetricBench(settings, subject, batch_tensor(subject, images[:1]))
    masks, notes = regions
    found = evaluate(
        bench.divided,
        all_images(subject, images),
        methods=calls,
        forwards=bench.forwards,
        options=bench.options,
        regions=masks,
        black=bench.black,
        costly_images=costly_images,
        batch_size=settings.batch_size,
        progress=progress,
        journal=journal,
    )
    families = {call.label: call.info.family for call in calls}
    infos = {name: vars(METRICS[name].info) for name in dict.fromkeys(r.metric for r in found.rows)}
    plain = {
        **found.to_dict(),
        "on": settings.metrics_on,
        "families": families,
        "infos": {name: _finite(info) for name, info in infos.items()},
    }
    slow = [call.label for call in calls if call.info.many_passes]
    if slow and costly_images < len(images):
        notes = (
            *notes,
            f"{', '.join(slow)} had their metrics taken on {costly_images} of {len(images)} "
            "images, because that runs the model many times an image; --perturbation-images "
            f"{len(images)} takes all",
        )
    seconds = {name: round(value, 3) for name, value in found.seconds.items()}
    return MetricFindings(plain, seconds, (*notes, *found.notes))


def _options(settings: Settings) -> Options:
    """The options of the settings; Win % is taken within the tables of a protocol."""
    if settings.protocol is None:
        return settings.metrics
    groups = dict.fromkeys(protocol(settings.protocol).rivals)
    return replace(settings.metrics, rivals=tuple(groups))


def _divided(settings: Settings, subject: Subject, example: Tensor) -> Cut | WalledModel:
    if settings.metrics_on == "walled" and isinstance(subject, WalledSubject):
        return subject.walled
    with torch.no_grad():
        return cut_at(subject.model, subject.layer, example)


def labelled(settings: Settings, images: Sequence[StackImage]) -> Labels:
    """The labelled regions of the images, where the check localisation is asked for.

    Raises :class:`UsageError` as :func:`camaudit.data.regions.read_regions` and `regions_of` do.
    """
    if settings.regions is None or "localisation" not in settings.checks:
        return None, ()
    height, width = images[0].size
    read = _read(settings, settings.regions)
    only = settings.region_labels
    masks, notes = regions_of(read, images, size=(height, width), only_label=only)
    return torch.from_numpy(masks), notes


def object_names(settings: Settings, images: Sequence[StackImage]) -> list[tuple[str, ...]]:
    """The class names of each image's annotated objects; empty without --targets labels or regions.

    Raises :class:`UsageError` as :func:`camaudit.data.regions.read_regions` and `labels_of` do.
    """
    if settings.regions is None or settings.asked_targets.kind != "labels":
        return []
    return labels_of(_read(settings, settings.regions), images)


def _read(settings: Settings, path: Path) -> Regions:
    return read_regions(path, origin=settings.region_origin, boxes_only=settings.region_boxes)


def _black(subject: Subject, example: Tensor) -> Tensor:
    """The value of a black pixel by channel, in standardised units."""
    mean, std = subject.normalisation.mean, subject.normalisation.std
    return torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).to(example)


def _finite(info: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON values: an infinite end of a range is None."""
    unbounded = (float("inf"), float("-inf"))
    return {key: None if value in unbounded else value for key, value in info.items()}
