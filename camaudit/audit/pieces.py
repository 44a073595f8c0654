"""The metrics and the sanity checks of a run in parts, computed here or by workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camaudit.audit.batches import batch_tensor
from camaudit.audit.evaluating import MetricBench
from camaudit.audit.executors import Call, Executor, Serial
from camaudit.audit.exploring import FIRST, MetricPart, SanityPart, Told
from camaudit.audit.gathering import Gathered, Noted
from camaudit.audit.identity import second_key
from camaudit.audit.progress import Progress
from camaudit.audit.sanity import SECOND, opened_checks
from camaudit.audit.settings import Settings
from camaudit.audit.spreading import Piece, Spread, spread
from camaudit.audit.subject import Second, Subject
from camaudit.audit.units import Batch
from camaudit.data.stack_mix import StackImage
from camaudit.evaluation.run import explore
from camaudit.evaluation.workload import batches, work
from camaudit.methods import MethodCall, method_call
from camaudit.sanity.run import Checks, Part
from camaudit.streams import Stream, UnreadError, unread

__all__ = ["spread_metrics", "spread_sanity"]


def spread_metrics(
    executor: Executor | None,
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
    """Have the metrics of a run computed batch by batch, by the executor's workers or else here.

    Precomputed maps are left out: they lie here. What :func:`camaudit.audit.evaluating.
    audit_metrics` finds in the journal afterwards it does not compute.
    """

    def here(call: Call) -> Told:
        """Findings are kept as they come."""
        asked: MetricPart = call.asked
        batch, count = call.batch, len(call.batch.images)
        journal = Noted(spreading.journal, range(batch.start, batch.start + count))
        counted = _Counted(spreading.progress)
        seconds = explore(
            bench.divided, batch_tensor(subject, batch.images), methods=calls,
            forwards=bench.forwards, options=bench.options, journal=journal,
            regions=None if asked.regions is None else torch.from_numpy(asked.regions),
            black=bench.black, costly_images=asked.costly, progress=counted,
            place=(batch.start, len(images)),
        )  # fmt: skip
        return Told([], {}, seconds, counted.done)

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
        spread(executor or Serial(here), pieces, spreading)


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

    def unit(self, journal: Gathered) -> dict[str, Any]:
        return {
            "unit": "metrics", "images": journal.images[self.places.start : self.places.stop],
            "methods": list(self.asked.methods), "options": self.asked.bench.options.to_dict(),
        }  # fmt: skip

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
            batch = Batch(self.places.start, asked.images[part])
            return Call("explore", batch, asked=given)
        return None


def spread_sanity(
    executor: Executor | None,
    settings: Settings,
    subject: Subject,
    images: Sequence[StackImage],
    methods: Sequence[str],
    spreading: Spread,
    *,
    second: Second | None,
) -> None:
    """Have the sanity checks computed batch by batch, or cascade by cascade by workers.

    These have no `second` model, so that data randomisation, which explains it but once, is always
    computed here. What :func:`camaudit.audit.sanity.audit_sanity` finds in the journal afterwards
    it does not compute.
    """
    permuted = None if second is None else second_key(second)
    example = batch_tensor(subject, images[:1])
    held = _Held(subject, example)
    stream = Stream(held.read, example, len(images))
    with opened_checks(
        settings, subject, methods, stream, second=second, permuted=permuted
    ) as checks:

        def here(call: Call) -> Told:
            """Findings are kept as they come."""
            counted = _Counted(spreading.progress)
            with held.holding(call.batch):
                checks.explore(call.asked.part, spreading.journal, progress=counted)
            return Told([], {}, {}, counted.done)

        def rows(families: Iterable[str], *, split: bool) -> Iterator[Sequence[Sequence[Piece]]]:
            for row in checks.parts(families, split=split):
                yield [
                    [_SanityPiece(checks, one, images, permuted) for one in parts] for parts in row
                ]

        checks.remember(spreading.journal)
        spreading.progress.start(checks.work)
        families = checks.options.families
        if executor is not None:
            others = [name for name in families if name != SECOND]
            spread(executor, rows(others, split=True), spreading)
            families = tuple(name for name in families if name == SECOND)
        spread(Serial(here), rows(families, split=False), spreading)
        spreading.seconds.update({name: spent / 1e9 for name, spent in checks.spent.items()})


class _Counted:
    """Tells a progress what is done, and counts it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.done = 0
        self.start, self.stage = progress.start, progress.stage

    def advance(self, work: int) -> None:
        """`work` units are done."""
        self.done += work
        self._progress.advance(work)


class _Held:
    """The images of a batch while it is computed here; at other times the `example` alone."""

    def __init__(self, subject: Subject, example: Tensor) -> None:
        self._subject, self._example = subject, example
        self._batch: Batch | None = None

    @contextmanager
    def holding(self, batch: Batch) -> Iterator[None]:
        """Within the context its images can be read."""
        self._batch = batch
        try:
            yield
        finally:
            self._batch = None

    def read(self, part: slice) -> Tensor:
        """Those of a part of the run that is in the batch. Raises :class:`UnreadError`."""
        if part == FIRST:
            return self._example
        if self._batch is None:
            raise UnreadError
        first = self._batch.start
        images = self._batch.images[part.start - first : part.stop - first]
        return batch_tensor(self._subject, images)


@dataclass(frozen=True, eq=False)
class _SanityPiece:
    """A part of the sanity checks."""

    checks: Checks
    part: Part
    images: Sequence[StackImage]
    permuted: str | None

    @property
    def stage(self) -> str:
        cascade = "" if self.part.cascade is None else ", {}, seed {}".format(*self.part.cascade)
        return f"{self.part.family}{cascade}, images from {self.part.images.start + 1}"

    @property
    def work(self) -> int:
        return self.part.work

    def unit(self, journal: Gathered) -> dict[str, Any]:
        cascade, places = self.part.cascade, self.part.images
        return {
            "unit": self.part.family, "cascade": None if cascade is None else list(cascade),
            "images": journal.images[places.start : places.stop],
            "methods": [method.label for method in self.checks.methods],
            "options": self.checks.options.to_dict(),
        }  # fmt: skip

    def call(self, journal: Gathered) -> Call | None:
        noted = Noted(journal)
        try:
            self.checks.explore(self.part, noted)
        except UnreadError:
            places = self.part.images
            methods = tuple(method.label for method in self.checks.methods)
            known = noted.memory(methods, [0, *places])
            batch = Batch(places.start, tuple(self.images[places.start : places.stop]))
            return Call(
                "explore", batch, asked=SanityPart(methods, known, self.part, self.permuted)
            )
        return None
