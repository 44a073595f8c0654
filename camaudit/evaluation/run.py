"""All metrics of many methods on one model in one go: every image runs as seldom as it can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from camaudit.capture import Capture, Divided, Forwards, capture
from camaudit.errors import DegenerateModelError, UsageError
from camaudit.evaluation import masked
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Explainer
from camaudit.evaluation.known import Decided, Known
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Evaluation, Missing
from camaudit.evaluation.passes import Passes
from camaudit.evaluation.ranking import comparison
from camaudit.evaluation.scoring import Records, Scoring
from camaudit.evaluation.shared import shared
from camaudit.evaluation.watch import Watch
from camaudit.evaluation.workload import batches, slow, unit, work
from camaudit.journal import Journal
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.checking import class_shares
from camaudit.streams import Images, UnreadError

__all__ = ["Progress", "evaluate", "explore"]


class Progress(Protocol):
    """Told how far a run is; one unit of work is about one image through the model."""

    def start(self, work: int) -> None:
        """The metrics begin; `work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What happens now, in a few words."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


def evaluate(
    divided: Divided,
    images: Images,
    *,
    methods: Sequence[Explainer],
    forwards: Forwards,
    options: Options | None = None,
    targets: Tensor | None = None,
    regions: Tensor | None = None,
    black: Tensor | None = None,
    costly_images: int | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> Evaluation:
    """Compute the metrics of `options` for every method on every image.

    Parameters
    ----------
    divided: the model cut at its target layer. forwards: how masked images run through it
        (:func:`camaudit.engine.prepare`); they share one set of masked images for Average Drop,
        Increase in Confidence, Win % and ADCC.
    images: N×C×H×W, standardised as the model reads them; a stream is read batch by batch.
    methods: what explains, each a pure function of one capture, with labels of their own.
    targets: the explained classes (N, int64), default the model's top-1.
    regions: labelled regions (N×H×W, bool), no pixel True where an image has none; needed for
        localisation.
    black: the value of a black pixel by channel (C) in standardised units, for the baseline
        "black".
    costly_images: from how many images on, at most, methods take part that run the model many
        times an image (the first ones); None for all.
    batch_size: images that are explained at a time, see
        :func:`camaudit.evaluation.workload.batches`; masked ones run as
        `forwards` has it.
    journal: what an earlier evaluation found of these images, see :mod:`camaudit.evaluation.known`.
        A batch of which all is known is not looked at; of one of which something is not the images
        run once more, and what is new is kept as it comes, errors for this run alone. The
        evaluation, counts of passes included, is what it would be without, but for the rounding of
        images that are computed in another batch.

    For M methods and N images the passes are, beside those that the maps themselves take: N of
    the images; M·N masked ones and M·N with the map taken out (confidence); for ADCC the masked
    ones' maps once more; for insertion and deletion 2·M·N·(steps − 1) + N, and one a batch, less 2
    wherever a method replaces the same pixels of an image as one before it. Where a method fails
    it costs nothing but its maps.

    Raises :class:`UsageError` for what cannot be done, and
    :class:`camaudit.errors.DegenerateModelError` where no image has finite logits.
    """
    options = options or Options()
    _validate(images, methods, options, targets, regions, black)
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1; got {batch_size}")
    return _Run(
        divided, images, list(methods), options, Passes(forwards), progress, journal,
        given=targets,
        black=black if options.baseline == "black" else None,
        regions=regions,
        batch_size=batch_size,
        costly=len(images) if costly_images is None else costly_images,
    ).all()  # fmt: skip


def explore(
    divided: Divided,
    images: Images,
    *,
    methods: Sequence[Explainer],
    forwards: Forwards,
    options: Options,
    journal: Journal,
    regions: Tensor | None = None,
    black: Tensor | None = None,
    costly_images: int | None = None,
    progress: Progress | None = None,
    place: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Fill a journal with what :func:`evaluate` would keep there of one of its batches.

    `images`, `regions` and the journal are those of this batch alone, and so is `costly_images`.
    It may be done elsewhere: an evaluation that finds it all is the same as one that computes it.
    What is not kept, images without finite logits, is left to that. Returns seconds by kind. Images
    are not read where all is known; where reading them raises
    :class:`camaudit.streams.UnreadError`, all that is known of the batch was looked up. `place`
    tells `progress` where in the run the batch begins, and of how many images.
    """
    run = _Run(
        divided, images, list(methods), options, Passes(forwards), progress, journal,
        given=None, black=black if options.baseline == "black" else None, regions=regions,
        batch_size=len(images),
        costly=len(images) if costly_images is None else costly_images, place=place,
    )  # fmt: skip
    try:
        run.batch(0, len(images))
    except UnreadError:
        run.look_up(0, len(images))
        raise
    return run.watch.seconds


class _Run:
    """One run's state: what has been found so far."""

    def __init__(
        self,
        divided: Divided,
        images: Images,
        methods: list[Explainer],
        options: Options,
        passes: Passes,
        progress: Progress | None,
        journal: Journal | None,
        *,
        given: Tensor | None,
        black: Tensor | None,
        regions: Tensor | None,
        batch_size: int,
        costly: int,
        place: tuple[int, int] | None = None,
    ) -> None:
        self.divided = divided
        self.images = images
        self.methods = methods
        self.options = options
        self.passes = passes
        self.progress = progress
        self.given = given
        self.batch_size = batch_size
        self.costly = costly
        self.first, self.total = place or (0, len(images))
        self.targets: list[int | None] = []
        self.probabilities: list[float | None] = []
        self.cells = Cells(len(images))
        self.watch = Watch()
        self.metrics = _metrics(options)
        self.known = Known(journal, options, targets=given, black=black, regions=regions)
        self.scoring = Scoring(
            self.cells, options, passes, self.known, self.watch, metrics=self.metrics,
            black=black, regions=regions,
        )  # fmt: skip

    def all(self) -> Evaluation:
        """Every batch, then what needs all of them."""
        if self.progress is not None:
            self.progress.start(
                work(
                    len(self.images), methods=self.methods, options=self.options,
                    costly_images=self.costly, size=self.images.shape[-2:],
                )
            )  # fmt: skip
        for places in batches(
            len(self.images), methods=self.methods, costly_images=self.costly,
            batch_size=self.batch_size,
        ):  # fmt: skip
            self.batch(places.start, places.stop)
        if not any(target is not None for target in self.targets):
            raise DegenerateModelError(
                "the model's logits are NaN or infinite for every image: there is no decision to "
                "explain; check the weights and the preprocessing"
            )
        labels = [method.label for method in self.methods]
        if "confidence" in self.options.checks:
            masked.put_wins(self.cells, labels, self.options)
        rows = self.cells.rows(seed=self.options.seed)
        with self.watch("comparison"):
            compared = comparison(rows, labels, seed=self.options.seed)
        return Evaluation(
            settings={**self.options.to_dict(), "methods": labels},
            targets=tuple(self.targets),
            probabilities=tuple(self.probabilities),
            rows=rows,
            curves=self.scoring.curves.means(),
            comparison=compared,
            forwards=dict(sorted(self.passes.counts.items())),
            remarks=self.cells.remarks(),
            seconds=self.watch.seconds,
            notes=self.passes.notes,
        )

    def look_up(self, start: int, stop: int) -> None:
        """Look up all that is known of these images, as far as their classes are."""
        for place, one in enumerate(self.known.decided(range(start, stop)), start):
            if one is not None:
                self._records(place, [one])

    def batch(self, start: int, stop: int) -> None:
        """Every method on these images, which are captured together where anything is missing."""
        self._stage(f"images {self.first + start + 1}-{self.first + stop} of {self.total}")
        known = self.known.decided(range(start, stop))
        seen, decided = None, [one for one in known if one is not None]
        records = self._records(start, decided) if len(decided) == len(known) else None
        wanted = self._wanted(start, stop, records or {})
        if records is None or wanted:
            try:
                with self.watch("images"):
                    seen = self._capture(start, stop, decided if records is not None else None)
            except DegenerateModelError as error:
                if stop - start > 1:  # one image spoils its batch: find it, keep the others
                    for place in range(start, stop):
                        self.batch(place, place + 1)
                    return
                self._undecided(start, str(error))
                return
        if seen is not None and records is None:
            decided = self._decide(seen, start, known)
            records = self._records(start, decided)
            wanted = self._wanted(start, stop, records)
        self.passes.add("images", stop - start)
        self.targets += [one.target for one in decided]
        self.probabilities += [one.probability for one in decided]
        self._score(start, seen, decided, records or {}, wanted)

    def _capture(self, start: int, stop: int, decided: Sequence[Decided] | None) -> Capture:
        """The images' capture; of the classes that they are known to have, where they are."""
        given = None if self.given is None else self.given[start:stop]
        if decided is not None:
            given = torch.tensor([one.target for one in decided])
        seen = capture(self.divided, self.images[start:stop], targets=given, forwards=self.passes)
        if self.given is not None and not self.passes.classes:
            _check_targets(self.given, seen.logits.shape[1])
        self.passes.classes = seen.logits.shape[1]
        return seen

    def _decide(self, seen: Capture, start: int, known: Sequence[Decided | None]) -> list[Decided]:
        """What the model sees in images of which not all were known."""
        found = class_shares(seen.logits, seen.targets, link=seen.link).tolist()
        decided = []
        for row, (target, share) in enumerate(zip(seen.targets.tolist(), found, strict=True)):
            one, before = Decided(target, None if math.isnan(share) else share), known[row]
            if before is not None and before.target == target:
                one = before
            self.known.keep_decided(start + row, one)
            decided.append(one)
        return decided

    def _records(self, start: int, decided: Sequence[Decided]) -> Records:
        """What is known of all methods on these images."""
        asked = [
            (method, place)
            for method in self.methods
            for place in range(start, min(start + len(decided), self._limit(method)))
        ]
        return self.known.records(asked, dict(enumerate(decided, start)))

    def _wanted(self, start: int, stop: int, records: Records) -> frozenset[str]:
        """Groups of metrics of which anything has to be computed on these images."""
        return frozenset().union(
            *(
                self.known.open(records.get((method.label, place), {}))
                for method in self.methods
                for place in range(start, min(stop, self._limit(method)))
            )
        )

    def _score(
        self, start: int, seen: Capture | None, decided: Sequence[Decided], records: Records,
        wanted: frozenset[str],
    ) -> None:  # fmt: skip
        """Every method on these images; what is new of a part of them is kept at once."""
        found = shared(
            start, decided, seen, wanted, self.known.groups, self.options, self.passes, self.watch
        )
        for method in self.methods:
            self._stage(f"{method.label}, images from {self.first + start + 1} of {self.total}")
            count = max(0, min(start + len(decided), self._limit(method)) - start)
            if count:
                self.scoring.score(method, found.rows(slice(0, count)), records)
                self.known.flush()
                self._advance(count * self._unit(method))
        self.known.flush()

    def _undecided(self, place: int, message: str) -> None:
        self.targets.append(None)
        self.probabilities.append(None)
        for method in self.methods:
            if place < self._limit(method):
                self.cells.missing(self.metrics, method.label, [place], Missing.ERROR, message)
                self._advance(self._unit(method))

    def _limit(self, method: Explainer) -> int:
        return min(self.costly, len(self.images)) if slow(method) else len(self.images)

    def _unit(self, method: Explainer) -> int:
        return unit(method, self.options, self.images.shape[-2:])

    def _stage(self, text: str) -> None:
        if self.progress is not None:
            self.progress.stage(text)

    def _advance(self, work: int) -> None:
        if self.progress is not None:
            self.progress.advance(work)


def _metrics(options: Options) -> list[str]:
    """The metrics that a method without maps has no values of."""
    checks = set(options.checks)
    found = [
        name for name, entry in METRICS.items()
        if entry.info.check in checks and entry.info.needs != "methods"
    ]  # fmt: skip
    return [*found, "average-drop"] if checks & {"adcc"} and "average-drop" not in found else found


def _check_targets(targets: Tensor, classes: int) -> None:
    """All of them with the first images: a wrong one must not end the run at its own."""
    wrong = [target for target in targets.tolist() if not 0 <= target < classes]
    if wrong:
        raise UsageError(f"target classes must be 0 to {classes - 1}; got {wrong[:5]}")


def _validate(
    images: Images,
    methods: Sequence[Explainer],
    options: Options,
    targets: Tensor | None,
    regions: Tensor | None,
    black: Tensor | None,
) -> None:
    if images.ndim != 4 or not len(images) or not images.is_floating_point():
        raise UsageError(
            f"expected floating images N×C×H×W, N ≥ 1; got {images.dtype} {tuple(images.shape)}"
        )
    labels = [method.label for method in methods]
    if not labels or len(set(labels)) < len(labels):
        raise UsageError(f"expected at least one method, each label once; got {labels}")
    if targets is not None and targets.shape != images.shape[:1]:
        raise UsageError(
            f"expected one target class an image, {len(images)} in all; got shape "
            f"{tuple(targets.shape)}"
        )
    if ("localisation" in options.checks) is not (regions is not None):
        raise UsageError(
            "the check localisation and labelled regions belong together: give boxes or masks of "
            "the explained objects, or leave the check out"
        )
    if regions is not None and (
        regions.dtype != torch.bool or regions.shape != (len(images), *images.shape[-2:])
    ):
        raise UsageError(
            f"expected boolean regions N×H×W like the images, "
            f"{(len(images), *images.shape[-2:])}; got {regions.dtype} {tuple(regions.shape)}"
        )
    if options.baseline == "black" and (black is None or black.shape != images.shape[1:2]):
        raise UsageError(
            f"the baseline black needs the value of a black pixel for each of the "
            f"{images.shape[1]} channels (−mean/std); got "
            f"{None if black is None else tuple(black.shape)}"
        )
    unknown = [name for group in options.rivals for name in group if name not in labels]
    if unknown:
        raise UsageError(
            f"rivals must be methods of the run ({', '.join(labels)}); got {', '.join(unknown)}"
        )
