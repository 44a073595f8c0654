"""The checks of a run, one after another, and what they have found so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from camaudit.audit.batches import batch_tensor
from camaudit.audit.clock import Clock
from camaudit.audit.evaluating import Labels, MetricBench, MetricFindings, audit_metrics
from camaudit.audit.executors import Executor
from camaudit.audit.foreign import Foreign
from camaudit.audit.gathering import Gathered
from camaudit.audit.images import AuditImages
from camaudit.audit.invariance import OWN_IMAGES, InvarianceFindings, audit_invariance
from camaudit.audit.journal import StoreJournal
from camaudit.audit.loop import GALLERY_IMAGES, Loop
from camaudit.audit.pieces import spread_metrics, spread_sanity
from camaudit.audit.progress import Progress, Silent
from camaudit.audit.recorded import Recorded
from camaudit.audit.sanity import SECOND, SanityFindings, audit_sanity
from camaudit.audit.settings import INVARIANCE, Settings
from camaudit.audit.spreading import Spread
from camaudit.audit.subject import Subject, WalledSubject, load_second
from camaudit.methods import method_call
from camaudit.report.keeping import MapsWriter
from camaudit.walls import DeadZone

__all__ = ["Checks", "Found"]


@dataclass(eq=False)
class Found:
    """What a run has found so far; `zone` and `loop` only where there is a wall.

    `given`: whether the images came as tensors. `cells`: how many were found in the store, and how
    many computed.
    """

    settings: Settings
    subject: Subject
    images: AuditImages
    methods: list[str]
    foreign: Foreign
    clock: Clock
    given: bool = False
    zone: DeadZone | None = None
    loop: Loop | None = None
    metrics: MetricFindings | None = None
    sanity: SanityFindings | None = None
    invariance: InvarianceFindings | None = None
    cells: dict[str, int] | None = None


@dataclass(frozen=True, eq=False)
class Checks:
    """The checks of a run, one after another; `executor` is where the work is done, if not here."""

    found: Found
    kept: Recorded | None
    executor: Executor | None
    progress: Progress

    def dead_zone(
        self,
        subject: WalledSubject,
        objects: Sequence[tuple[str, ...]],
        writer: MapsWriter | None,
    ) -> None:
        """Every method on the walled model and on its twin."""
        found, kept, ledger = self.found, self.kept, None
        images, foreign = found.images, found.foreign
        if kept is not None:
            shown = max(GALLERY_IMAGES, 0 if writer is None else writer.most)
            ledger = kept.ledger(subject, images.images, foreign, shown=shown)
        with found.clock.measure("scoring"):
            found.loop = Loop(
                found.settings, subject, images, found.methods, self.progress, objects=objects,
                left=foreign.left, ledger=ledger, writer=writer,
            )  # fmt: skip
            found.loop.run(self.executor)

    def metrics(self, regions: Labels) -> None:
        """The metrics, computed batch by batch and then put together."""
        found, settings, subject = self.found, self.found.settings, self.found.subject
        images, methods = found.images.images, found.methods
        costly = found.images.first(settings.perturbation_count)
        with found.clock.measure("metrics"):
            journal = self._journal(
                "metrics, walled" if settings.metrics_on == "walled" else "metrics"
            )
            bench = MetricBench(settings, subject, batch_tensor(subject, images[:1]))
            spreading = self._spread(journal)
            if spreading is not None:
                spread_metrics(
                    self.executor, settings, subject, images, methods, costly, spreading,
                    regions=regions[0], bench=bench,
                )  # fmt: skip
            made = audit_metrics(
                settings, subject, images, methods, costly,
                Silent() if spreading is not None and not self._fixed else self.progress,
                regions=regions, bench=bench,
                journal=journal if spreading is None else spreading.journal,
            )  # fmt: skip
        found.metrics = replace(made, seconds=_summed(made.seconds, spreading))

    def sanity(self, writer: MapsWriter | None) -> None:
        """The sanity checks, computed cascade by cascade and then put together."""
        found, settings, subject = self.found, self.found.settings, self.found.subject
        images, methods = found.images.images, found.methods
        with found.clock.measure("sanity"):
            journal = self._journal("sanity")
            spreading = self._spread(journal)
            second = None
            if SECOND in settings.sanity_checks:
                self.progress.stage("loading the model trained on permuted labels")
                second = load_second(settings, subject)
            if spreading is not None:
                spread_sanity(
                    self.executor, settings, subject, images, methods, spreading, second=second
                )
            made = audit_sanity(
                settings, subject, images, methods,
                self.progress if spreading is None else Silent(),
                journal=journal if spreading is None else spreading.journal, second=second,
            )  # fmt: skip
        found.sanity = replace(made, seconds=_summed(made.seconds, spreading))
        if writer is not None:
            for picture in made.pictures:
                writer.picture(picture)

    def invariance(self, registered: Sequence[str], counterexamples: Path | None) -> None:
        """Invariance, on drawn networks and the first images, always here."""
        found, journal = self.found, None
        images, foreign = found.images.images, found.foreign
        if self.kept is not None:
            own, alone = images[:OWN_IMAGES], Foreign(foreign.specs)  # it notes no traces
            journal = self.kept.journal(INVARIANCE, found.subject, own, alone)
        with found.clock.measure("invariance"):
            found.invariance = audit_invariance(
                found.settings, found.subject, images, registered, foreign.specs, self.progress,
                counterexamples=counterexamples, journal=journal,
            )  # fmt: skip

    @property
    def _fixed(self) -> bool:
        """Whether maps that lie here are among the methods."""
        return any(method_call(name).info.fixed for name in self.found.methods)

    def _journal(self, name: str) -> StoreJournal | None:
        if self.kept is None:
            return None
        found = self.found
        return self.kept.journal(name, found.subject, found.images.images, found.foreign)

    def _spread(self, journal: StoreJournal | None) -> Spread | None:
        """Where findings are gathered that are computed part by part.

        None where nobody shares the work: not without a store, nor where it may not keep what some
        explainer gives, which would all have to be held in memory.
        """
        if self.executor is None and (
            journal is None or any(journal.explainer(name) is None for name in self.found.methods)
        ):
            return None
        found = self.found
        gathered = Gathered(journal, found.images.images, found.foreign.left)
        return Spread(gathered, self.progress)


def _summed(seconds: dict[str, float], spreading: Spread | None) -> dict[str, float]:
    """Seconds by kind, with those of workers."""
    more = {} if spreading is None else spreading.seconds
    names = dict.fromkeys((*seconds, *more))
    return {name: round(seconds.get(name, 0.0) + more.get(name, 0.0), 3) for name in names}
