"""All metrics of many methods on one model in one go: every image runs as seldom as it can."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from camaudit.capture import Capture, Divided, Forwards, capture
from camaudit.errors import DegenerateModelError, UsageError
from camaudit.evaluation import imputed, masked
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
from camaudit.journal import Journal
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.checking import class_shares
from camaudit.streams import Images

__all__ = ["Progress", "evaluate"]


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
    batch_size: images that are explained at a time; masked ones run as `forwards` has it.
    journal: what an earlier evaluation found of these images, see :mod:`camaudit.evaluation.known`.
        A batch of which all is known is not looked at; of one of which something is not the images
        run once more, and what is new is kept as it comes. What ended in an error is not kept. The
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
            self.progress.start(self._work())
        step = self.batch_size
        for start in range(0, len(self.images), step):
            self._batch(start, min(start + step, len(self.images)))
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

    def _batch(self, start: int, stop: int) -> None:
        self._stage(f"images {start + 1}-{stop} of {len(self.images)}")
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
                        self._batch(place, place + 1)
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
            self._stage(f"{method.label}, images from {start + 1} of {len(self.images)}")
            for part in self._parts(method, start, start + len(decided)):
                self.scoring.score(method, found.rows(part), records)
                self.known.flush()
                self._advance((part.stop - part.start) * self._unit(method))
        self.known.flush()

    def _undecided(self, place: int, message: str) -> None:
        self.targets.append(None)
        self.probabilities.append(None)
        for method in self.methods:
            if place < self._limit(method):
                self.cells.missing(self.metrics, method.label, [place], Missing.ERROR, message)
                self._advance(self._unit(method))

    def _limit(self, method: Explainer) -> int:
        return min(self.costly, len(self.images)) if _slow(method) else len(self.images)

    def _parts(self, method: Explainer, start: int, stop: int) -> Iterator[slice]:
        """The rows of a batch that `method` takes; costly methods go image by image."""
        count = max(0, min(stop, self._limit(method)) - start)
        step = 1 if _slow(method) else max(count, 1)
        for first in range(0, count, step):
            yield slice(first, min(first + step, count))

    def _work(self) -> int:
        return sum(self._limit(method) * self._unit(method) for method in self.methods)

    def _unit(self, method: Explainer) -> int:
        """About how many passes an image takes with a method."""
        checks, options = self.options.checks, self.options
        passes = 2 * bool({"confidence", "adcc"} & set(checks))
        height, width = self.images.shape[-2:]
        maps = 1 + ("adcc" in checks)
        if "insertion-deletion" in checks:
            passes += 2 * -(-height * width // options.pixels_per_step)
        if "road" in checks:
            passes += imputed.PASSES
        if "sensitivity" in checks:
            maps += options.samples
        return passes + maps * (_COSTLY if _slow(method) else 1)

    def _stage(self, text: str) -> None:
        if self.progress is not None:
            self.progress.stage(text)

    def _advance(self, work: int) -> None:
        if self.progress is not None:
            self.progress.advance(work)


_COSTLY = 300  # passes that the maps of a costly method are taken to need, for the ETA


def _metrics(options: Options) -> list[str]:
    """The metrics that a method without maps has no values of."""
    checks = set(options.checks)
    found = [
        name for name, entry in METRICS.items()
        if entry.info.check in checks and entry.info.needs != "methods"
    ]  # fmt: skip
    return [*found, "average-drop"] if checks & {"adcc"} and "average-drop" not in found else found


def _slow(method: Explainer) -> bool:
    info = getattr(method, "info", None)
    return bool(info is not None and info.many_passes)


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
