"""A part of the metrics or the sanity checks of a run, computed wherever there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from camaudit.audit.batches import batch_tensor
from camaudit.audit.evaluating import MetricBench
from camaudit.audit.sanity import opened_checks
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject
from camaudit.audit.units import Batch
from camaudit.data.stack_mix import StackImage
from camaudit.evaluation.run import explore
from camaudit.journal import Finding, Memory
from camaudit.methods import method_call
from camaudit.sanity.run import Checks, Part
from camaudit.streams import Stream

__all__ = ["FIRST", "Explorer", "MetricPart", "SanityPart", "Told"]

FIRST = slice(None, 1)  #: images that a model is cut with


@dataclass(frozen=True, eq=False)
class MetricPart:
    """All metrics of a batch; its first `costly` images have those of costly methods too.

    journal: what is known of the batch. regions: its labelled ones (N×H×W, bool).
    """

    methods: tuple[str, ...]
    journal: Memory
    costly: int
    regions: NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class SanityPart:
    """A part of the sanity checks of a run; the journal is of all its images.

    permuted: what stands for the second model of data randomisation in keys, where there is one.
    """

    methods: tuple[str, ...]
    journal: Memory
    part: Part
    permuted: str | None


@dataclass(frozen=True, eq=False)
class Told:
    """What a part found; what foreign explainers left on the model in it; seconds by kind.

    advanced: how much of its work the progress was told of already.
    """

    findings: list[Finding]
    left: Mapping[str, list[str]]
    seconds: Mapping[str, float]
    advanced: int = 0


class Explorer:
    """Computes parts on a subject, one after another; `example` is the run's first image.

    `left` is :attr:`camaudit.audit.foreign.Foreign.left`, of each part by itself.
    """

    def __init__(
        self, settings: Settings, subject: Subject, example: StackImage,
        left: dict[str, list[str]],
    ) -> None:  # fmt: skip
        self._settings, self._subject, self._left = settings, subject, left
        self._example = batch_tensor(subject, [example])
        self._metrics: MetricBench | None = None
        self._checks: Checks | None = None
        self._stack = ExitStack()
        self._batch: Batch | None = None

    def answer(self, batch: Batch, asked: MetricPart | SanityPart) -> Told:
        """What is found of a part: its images are the batch's."""
        self._left.clear()
        if isinstance(asked, MetricPart):
            return self._measured(batch, asked)
        return self._checked(batch, asked)

    def close(self) -> None:
        """Leave the model as it was before the sanity checks."""
        self._stack.close()
        self._checks = None

    def _measured(self, batch: Batch, asked: MetricPart) -> Told:
        self.close()
        if self._metrics is None:
            self._metrics = MetricBench(self._settings, self._subject, self._example)
        bench = self._metrics
        seconds = explore(
            bench.divided, batch_tensor(self._subject, batch.images),
            methods=[method_call(name) for name in asked.methods],
            forwards=bench.forwards, options=bench.options, journal=asked.journal,
            regions=None if asked.regions is None else torch.from_numpy(asked.regions),
            black=bench.black, costly_images=asked.costly,
        )  # fmt: skip
        return Told(asked.journal.told, dict(self._left), seconds)

    def _checked(self, batch: Batch, asked: SanityPart) -> Told:
        self._batch = batch
        if self._checks is None:
            count = len(asked.journal.images)
            stream = Stream(self._read, self._example, count)
            self._checks = self._stack.enter_context(
                opened_checks(
                    self._settings, self._subject, asked.methods, stream, permuted=asked.permuted
                )
            )
        before = dict(self._checks.spent)
        self._checks.explore(asked.part, asked.journal)
        seconds = {
            name: (spent - before.get(name, 0)) / 1e9 for name, spent in self._checks.spent.items()
        }
        return Told(asked.journal.told, dict(self._left), seconds)

    def _read(self, part: slice) -> Tensor:
        if part == FIRST or self._batch is None:
            return self._example
        first = self._batch.start
        images: Sequence[StackImage] = self._batch.images[part.start - first : part.stop - first]
        return batch_tensor(self._subject, images)
