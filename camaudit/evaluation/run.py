"""All metrics of many methods on one model in one go: every image runs as seldom as it can."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from camaudit.capture import Capture, Divided, Forwards, capture
from camaudit.errors import DegenerateModelError, UsageError
from camaudit.evaluation import imputed, masked, stepwise
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Explainer, Maps, NoMaps, explained
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Evaluation, Missing
from camaudit.evaluation.passes import Passes
from camaudit.evaluation.perturbed import Perturbed, perturb
from camaudit.evaluation.ranking import comparison
from camaudit.evaluation.regions import located
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.checking import class_shares
from camaudit.metrics.sparsity import entropy, sparseness
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
    run = _Run(divided, images, list(methods), options, Passes(forwards), progress)
    run.given, run.regions = targets, regions
    run.black = black if options.baseline == "black" else None
    run.batch_size = batch_size
    run.costly = len(images) if costly_images is None else costly_images
    return run.all()


@dataclass(frozen=True, eq=False)
class _Shared:
    """A capture of images `start` …, and what the metrics of all methods on it have in common."""

    seen: Capture
    start: int
    ends: stepwise.Ends | None = None
    perturbed: Perturbed | None = None

    def rows(self, part: slice) -> _Shared:
        """Those of some of the images; the slice has both ends."""
        return _Shared(
            self.seen.rows(part.start, part.stop),
            self.start + part.start,
            None if self.ends is None else self.ends.rows(part),
            None if self.perturbed is None else self.perturbed.rows(part),
        )


@dataclass(eq=False)
class _Run:
    """One run's state: what has been found so far."""

    divided: Divided
    images: Images
    methods: list[Explainer]
    options: Options
    passes: Passes
    progress: Progress | None
    given: Tensor | None = None
    regions: Tensor | None = None
    black: Tensor | None = None
    costly: int = 0
    batch_size: int = 16
    targets: list[int | None] = field(default_factory=list)
    probabilities: list[float | None] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.cells = Cells(len(self.images))
        self.curves = stepwise.Curves(self.options)
        checks = set(self.options.checks)
        self.metrics = [
            name for name, entry in METRICS.items()
            if entry.info.check in checks and entry.info.needs != "methods"
        ]  # fmt: skip
        if "adcc" in checks and "average-drop" not in self.metrics:
            self.metrics.append("average-drop")

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
        with self._timed("comparison"):
            compared = comparison(rows, labels, seed=self.options.seed)
        return Evaluation(
            settings={**self.options.to_dict(), "methods": labels},
            targets=tuple(self.targets),
            probabilities=tuple(self.probabilities),
            rows=rows,
            curves=self.curves.means(),
            comparison=compared,
            forwards=dict(sorted(self.passes.counts.items())),
            remarks=self.cells.remarks(),
            seconds={name: nanoseconds / 1e9 for name, nanoseconds in self.spent.items()},
            notes=self.passes.notes,
        )

    def _batch(self, start: int, stop: int) -> None:
        self._stage(f"images {start + 1}-{stop} of {len(self.images)}")
        given = None if self.given is None else self.given[start:stop]
        try:
            with self._timed("images"):
                seen = capture(
                    self.divided, self.images[start:stop], targets=given, forwards=self.passes
                )
        except DegenerateModelError as error:
            if stop - start > 1:  # one image spoils its batch: find it, keep the others
                for place in range(start, stop):
                    self._batch(place, place + 1)
                return
            self._undecided(start, str(error))
            return
        self.passes.add("images", stop - start)
        self.passes.classes = seen.logits.shape[1]
        if self.given is not None and not self.targets:
            _check_targets(self.given, self.passes.classes)
        self.targets += seen.targets.tolist()
        found = class_shares(seen.logits, seen.targets, link=seen.link).tolist()
        self.probabilities += [None if math.isnan(value) else value for value in found]
        shared = self._shared(seen, start)
        for method in self.methods:
            self._stage(f"{method.label}, images from {start + 1} of {len(self.images)}")
            for part in self._parts(method, start, stop):
                self._score(method, shared.rows(part))

    def _shared(self, seen: Capture, start: int) -> _Shared:
        """What all methods have in common on these images."""
        shared = _Shared(seen, start)
        if "insertion-deletion" in self.options.checks:
            with self._timed("insertion-deletion"):
                shared = replace(shared, ends=stepwise.ends(seen, self.passes))
        if {"infidelity", "sensitivity"} & set(self.options.checks):
            with self._timed("perturbations"):
                shared = replace(shared, perturbed=perturb(seen, self.options, self.passes))
        return shared

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

    def _score(self, method: Explainer, shared: _Shared) -> None:
        """Every metric of one method on the images of one capture."""
        count = len(shared.seen)
        with self._timed("maps"):
            found = explained(method, shared.seen, seed=self.options.seed)
        if isinstance(found, NoMaps) and count > 1:  # find whose fault it is, keep the others
            for row in range(count):
                self._score(method, shared.rows(slice(row, row + 1)))
            return
        if isinstance(found, NoMaps):
            places = range(shared.start, shared.start + count)
            self.cells.missing(self.metrics, method.label, places, found.why, found.message)
        else:
            self._measure(method, shared, found)
        self._advance(count * self._unit(method))

    def _measure(self, method: Explainer, shared: _Shared, found: Maps) -> None:
        label, checks, seed = method.label, self.options.checks, self.options.seed
        seen, start, cells, passes = shared.seen, shared.start, self.cells, self.passes
        if "confidence" in checks or "adcc" in checks:
            with self._timed("confidence"):
                masked.measure(cells, method, seen, found, start, self.options, passes, self.black)
        if shared.ends is not None:
            with self._timed("insertion-deletion"):
                self.curves.measure(cells, label, seen, found, start, shared.ends, passes)
        if self.regions is not None:
            regions = self.regions[start : start + len(seen)].to(found.maps.device)
            located(cells, label, found, regions, start, self.options)
        if "sparsity" in checks:
            for name, figure in (("sparseness", sparseness), ("entropy", entropy)):
                cells.put(name, label, start, figure(found.lit), found.reasons)
        if "road" in checks:
            with self._timed("road"):
                imputed.measure(cells, label, seen, found, start, passes, seed=seed)
        if shared.perturbed is not None:
            with self._timed("perturbations"):
                shared.perturbed.measure(cells, method, seen, found, start, seed=seed)

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

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter_ns()
        try:
            yield
        finally:
            self.spent[what] += time.perf_counter_ns() - started


_COSTLY = 300  # passes that the maps of a costly method are taken to need, for the ETA


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
