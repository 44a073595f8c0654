"""The metrics and the sanity checks of a run in parts that workers compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from camaudit.audit.batches import batch_tensor
from camaudit.audit.evaluating import MetricBench
from camaudit.audit.executors import Call, Executor
from camaudit.audit.exploring import MetricPart, SanityPart
from camaudit.audit.gathering import Gathered, Noted
from camaudit.audit.sanity import divisible, opened_checks
from camaudit.audit.settings import Settings
from camaudit.audit.spreading import Spread, UnreadError, spread, unread
from camaudit.audit.subject import Subject
from camaudit.audit.units import Batch
from camaudit.data.stack_mix import StackImage
from camaudit.evaluation.run import explore
from camaudit.evaluation.workload import batches, work
from camaudit.methods import MethodCall, method_call
from camaudit.sanity.run import Checks, Part
from camaudit.streams import Stream

__all__ = ["spread_metrics", "spread_sanity"]


def spread_metrics(
    executor: Executor,
    settings: Settings,
    subject: Subject,
    images: Sequence[StackImage],
    methods: Sequence[str],
    costly_images: int,
    spreading: Spread,
    *,
    regions: Tensor | None,
    bench: MetricBench,
) -> None:
    """Have the metrics of a run computed by the executor's workers, batch by batch.

    Precomputed maps are left out: they lie here. What :func:`camaudit.audit.evaluating.
    audit_metrics` finds in the journal afterwards it does not compute.
    """
    calls = [call for call in map(method_call, methods) if not call.info.fixed]
    asked = _Metrics(tuple(calls), costly_images, tuple(images), regions, bench)
    size = (subject.size, subject.size)
    spreading.progress.start(
        work(len(images), methods=calls, options=bench.options, costly_images=costly_images,
             size=size)
    )  # fmt: skip
    example = batch_tensor(subject, images[:1])
    cut = batches(
        len(images), methods=calls, costly_images=costly_images, batch_size=settings.batch_size
    )
    pieces = (
        [[_MetricPiece(asked, places, Stream(unread, example, len(places)))]] for places in cut
    )
    if calls:
        spread(executor, pieces, spreading)


@dataclass(frozen=True, eq=False)
class _Metrics:
    """What all parts of the metrics have in common."""

    calls: tuple[MethodCall, ...]
    costly_images: int
    images: tuple[StackImage, ...]
    regions: Tensor | None
    bench: MetricBench

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' labels."""
        return tuple(call.label for call in self.calls)


@dataclass(frozen=True, eq=False)
class _MetricPiece:
    """All metrics of the images at `places`; of `nothing` to see where they are known."""

    asked: _Metrics
    places: range
    nothing: Stream

    @property
    def stage(self) -> str:
        first, last = self.places.start + 1, self.places.stop
        return f"metrics, images {first}-{last} of {len(self.asked.images)}"

    @property
    def work(self) -> int:
        return work(
            len(self.places), methods=self.asked.calls, options=self.asked.bench.options,
            costly_images=self._costly, size=self.nothing.shape[-2:],
        )  # fmt: skip

    @property
    def _costly(self) -> int:
        return max(0, min(self.asked.costly_images - self.places.start, len(self.places)))

    def call(self, journal: Gathered) -> Call | None:
        asked, part = self.asked, slice(self.places.start, self.places.stop)
        noted = Noted(journal, self.places)
        regions = None if asked.regions is None else asked.regions[part]
        try:
            explore(
                asked.bench.divided, self.nothing, methods=asked.calls,
                forwards=asked.bench.forwards, options=asked.bench.options, journal=noted,
                regions=regions, black=asked.bench.black, costly_images=self._costly,
            )  # fmt: skip
        except UnreadError:
            known = noted.memory(asked.methods, range(len(self.places)))
            masks = None if regions is None else regions.numpy()
            given = MetricPart(asked.methods, known, self._costly, masks)
            batch = Batch(self.places.start, asked.images[part]).held()
            return Call("explore", batch, asked=given)
        return None


def spread_sanity(
    executor: Executor,
    settings: Settings,
    subject: Subject,
    images: Sequence[StackImage],
    methods: Sequence[str],
    spreading: Spread,
) -> None:
    """Have the sanity checks computed by the executor's workers, cascade by cascade of a batch.

    Data randomisation is left out, which explains a second model but once. What
    :func:`camaudit.audit.sanity.audit_sanity` finds in the journal afterwards it does not compute.
    """
    if not divisible(settings):
        return
    example = batch_tensor(subject, images[:1])

    def read(part: slice) -> Tensor:
        return example if part == _FIRST else unread(part)

    stream = Stream(read, example, len(images))
    with opened_checks(settings, subject, methods, stream) as checks:
        checks.remember(spreading.journal)
        spreading.progress.start(checks.work)
        rows = (
            [[_SanityPiece(checks, part, tuple(images)) for part in parts] for parts in row]
            for row in checks.parts()
        )
        spread(executor, rows, spreading)


_FIRST = slice(None, 1)  #: what a model is cut with


@dataclass(frozen=True, eq=False)
class _SanityPiece:
    """A part of the sanity checks."""

    checks: Checks
    part: Part
    images: Sequence[StackImage]

    @property
    def stage(self) -> str:
        cascade = "" if self.part.cascade is None else ", {}, seed {}".format(*self.part.cascade)
        return f"{self.part.family}{cascade}, images from {self.part.images.start + 1}"

    @property
    def work(self) -> int:
        return self.part.work

    def call(self, journal: Gathered) -> Call | None:
        noted = Noted(journal)
        try:
            self.checks.explore(self.part, noted)
        except UnreadError:
            places = self.part.images
            methods = tuple(method.label for method in self.checks.methods)
            known = noted.memory(methods, [0, *places])
            batch = Batch(places.start, tuple(self.images[places.start : places.stop])).held()
            return Call("explore", batch, asked=SanityPart(methods, known, self.part))
        return None
