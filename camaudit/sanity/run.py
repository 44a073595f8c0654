"""All sanity checks of one model in one pass: several methods, similarities, orders and seeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from camaudit.errors import UsageError
from camaudit.journal import Journal
from camaudit.objective import Objective
from camaudit.sanity.bench import Bench, Reading
from camaudit.sanity.explain import Explainer
from camaudit.sanity.options import Options
from camaudit.sanity.originals import Originals
from camaudit.sanity.outcomes import SanityResult
from camaudit.sanity.plan import Plan
from camaudit.sanity.recall import BatchRecall, Recall, Tabled
from camaudit.sanity.results import Findings
from camaudit.sanity.tables import data_randomisation, random_logit
from camaudit.sanity.tally import Tally
from camaudit.sanity.walk import CascadeName, MapSink, Walk
from camaudit.streams import Images, UnreadError

__all__ = ["Checks", "Part", "Progress", "opened", "run_sanity"]

_CASCADES = ("mprt", "emprt", "smprt")


class Progress(Protocol):
    """Told how far a run is; one unit of work is one batch through one model or class."""

    def start(self, work: int) -> None:
        """The checks begin; `work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What happens now, in a few words."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


def run_sanity(
    model: nn.Module,
    layer: str,
    images: Images,
    *,
    methods: Sequence[Explainer],
    targets: Tensor | None = None,
    objective: Objective | None = None,
    options: Options | None = None,
    permuted: nn.Module | None = None,
    permuted_layer: str | None = None,
    permuted_key: str | None = None,
    progress: Progress | None = None,
    sink: MapSink | None = None,
    journal: Journal | None = None,
) -> SanityResult:
    """Run the sanity checks of `options` on `model`, which is bit-identical afterwards.

    Parameters
    ----------
    model: in eval mode, returning logits (N×C); layer: its target layer, as for `cut_at`.
    images: N×C×H×W, as the model reads them; a stream is read batch by batch.
    methods: what explains, each a pure function of one capture, with labels of their own.
    targets: the explained classes (N, int64), default the model's top-1; random models are
        explained for the same classes.
    permuted, permuted_layer: the model trained on permuted labels, for data randomisation, and
        its target layer (default: `layer`).
    progress: told how far the run is. sink: told the maps that it wants.
    journal: what is known of this model and these images is taken from it, and the rest is kept
        there as it comes, see :mod:`camaudit.sanity.recall`; where all of a batch is known, it is
        not read. permuted_key: what stands for the second model in its keys; without, data
        randomisation is computed every time, and with an `objective` everything is.

    Every cell of the result is a value or has its reason among the remarks. Raises
    :class:`UsageError` for what cannot be done, the errors of `cut_at` for the layer, and
    :class:`camaudit.errors.DegenerateModelError` where the original model's logits are not finite.
    """
    started = time.perf_counter()
    with opened(
        model, layer, images, methods=methods, targets=targets, objective=objective,
        options=options, permuted=permuted, permuted_layer=permuted_layer,
        permuted_key=permuted_key, progress=progress, sink=sink, journal=journal,
    ) as checks:  # fmt: skip
        result = checks.all()
    seconds = {name: nanoseconds / 1e9 for name, nanoseconds in checks.spent.items()}
    result.timing.update(seconds, total=time.perf_counter() - started)
    return result


@contextmanager
def opened(
    model: nn.Module,
    layer: str,
    images: Images,
    *,
    methods: Sequence[Explainer],
    targets: Tensor | None = None,
    objective: Objective | None = None,
    options: Options | None = None,
    permuted: nn.Module | None = None,
    permuted_layer: str | None = None,
    permuted_key: str | None = None,
    progress: Progress | None = None,
    sink: MapSink | None = None,
    journal: Journal | None = None,
) -> Iterator[Checks]:
    """The checks of :func:`run_sanity`, within the context; afterwards the model is what it was."""
    options = options or Options()
    _validate(images, methods, options, targets, permuted, permuted_layer, journal)
    recall = Recall(
        journal if objective is None else None, methods, options,
        asked=None if targets is None else targets.tolist(), permuted=permuted_key,
        device=images.device,
    )  # fmt: skip
    spent: Counter[str] = Counter()
    with ExitStack() as stack:  # from before the first pass, which may write buffers already
        weights = () if options.randomises else model.parameters()
        originals = stack.enter_context(Originals(model.modules(), without=weights))
        if permuted is not None:
            spared = permuted.parameters()  # passes alone: a second copy of weights is not needed
            stack.enter_context(Originals(permuted.modules(), without=spared))
        bench = Bench(
            model, layer, images, options, targets=targets, objective=objective,
            permuted=None if permuted is None else (permuted, permuted_layer or layer),
            originals=originals, stack=stack, spent=spent,
        )  # fmt: skip
        yield Checks(bench, methods, options, recall, progress, sink, images, spent)


@dataclass(frozen=True)
class Part:
    """A piece of the work of a check: all of a batch, or one of its cascades.

    `images` are their places in the run, `work` is what it adds to the progress.
    """

    family: str
    images: range
    cascade: CascadeName | None
    work: int


class Checks:
    """The sanity checks of one model, as a whole or part by part; what has been found so far.

    `spent` counts nanoseconds by kind.
    """

    def __init__(
        self,
        bench: Bench,
        methods: Sequence[Explainer],
        options: Options,
        recall: Recall,
        progress: Progress | None,
        sink: MapSink | None,
        images: Images,
        spent: Counter[str],
    ) -> None:
        self.bench, self.methods, self.options, self.recall = bench, list(methods), options, recall
        self.progress, self.sink, self.spent = progress, sink, spent
        self.count = len(images)
        size = int(images.shape[-2]), int(images.shape[-1])
        self.size = size if options.resolution == "image" else None
        self.found = Findings(Tally(self.count))

    def all(self) -> SanityResult:
        """Every check, one after the other."""
        plan = self._plan()
        if self.progress is not None:
            self.progress.start(self._total(plan))
        for family in self.options.families:
            self._family(family, plan)
        return self.found.result(plan, self.options, [method.label for method in self.methods])

    def _planned(self) -> Plan:
        """The plan, and the proof that both models can be cut."""
        plan = Plan.of(self.bench.cascade)
        if self.bench.paired:
            self.bench.twin  # noqa: B018 - what cannot be cut is told before the work
        return plan

    def _step(self, family: str) -> int:
        """Images in a batch of a check; the views of sMPRT count."""
        return max(1, self.options.batch_size // self._views(family))

    def _views(self, family: str) -> int:
        return self.options.samples if family == "smprt" else 1

    def _total(self, plan: Plan) -> int:
        return sum(self._work(family, plan) for family in self.options.families)

    def _work(self, family: str, plan: Plan) -> int:
        """What a check adds to the progress."""
        orders, seeds = self.options.orders, len(self.options.seeds)
        states = seeds * sum(len(plan.steps[order]) for order in orders)
        if family == "emprt":
            states = seeds
        elif "top-down" not in orders and "bottom-up" not in orders:
            states += seeds  # for the null
        models = {"random-logit": 1, "data-randomisation": 1}.get(family, states)
        return models * -(-self.count // self._step(family))

    def remember(self, journal: Journal) -> None:
        """From here on a journal is asked and told; what was found before is forgotten."""
        self.recall, self.found = self.recall.of(journal), Findings(Tally(self.count))

    @property
    def work(self) -> int:
        """How much there is to be done, as progress has it."""
        return self._total(self._plan())

    def parts(self, families: Iterable[str], *, split: bool) -> Iterator[list[list[Part]]]:
        """The work of these families batch by batch: lists of parts that need those before them.

        split: cascade by cascade; every one has the batch on the trained model first, of which
        what methods give there is found.
        """
        plan = self._plan()
        for family in families:
            walk = self._walk(family, plan)
            for images in self._batches(family):
                work = self._work(family, plan) // -(-self.count // self._step(family))
                if family not in _CASCADES or not split:
                    yield [[Part(family, images, None, work)]]
                    continue
                one, *others = [
                    Part(family, images, name, len(plan.steps[name[0]])) for name in walk.cascades
                ]
                whole = Part(family, images, None, 0)
                yield [[one], others, [whole]] if others else [[one], [whole]]

    def explore(self, part: Part, journal: Journal, *, progress: Progress | None = None) -> None:
        """Fill a journal with what :meth:`all` would keep there of one part.

        Images are not read where all is known; where reading them raises
        :class:`camaudit.streams.UnreadError`, all that is known of the part was looked up.
        """
        self.remember(journal)
        self.progress = progress
        walk, images = self._walk(part.family, self._plan()), part.images
        try:
            self._batch(part.family, walk, images, part.cascade)
        except UnreadError:
            if part.family in _CASCADES:
                reading, recall = self._reading(part.family, images)
                walk.look_up(
                    reading, recall, first=images.start, count=len(images), only=part.cascade
                )
            raise

    def _plan(self) -> Plan:
        return self.recall.plan(self._planned)

    def _batches(self, family: str) -> Iterator[range]:
        step = self._step(family)
        for first in range(0, self.count, step):
            yield range(first, min(first + step, self.count))

    def _family(self, family: str, plan: Plan) -> None:
        """One check, or two that share their captures, on all images."""
        walk = self._walk(family, plan)
        for images in self._batches(family):
            self.found.explained(self._batch(family, walk, images, None), images.start)

    def _reading(self, family: str, images: range) -> tuple[Reading, BatchRecall]:
        rows = slice(images.start, images.stop)
        name = "plain" if family in ("mprt", "emprt") else family
        reading = self.bench.reading(rows, noisy=family == "smprt")
        return reading, BatchRecall(self.recall, name, images.start, images.stop)

    def _batch(self, family: str, walk: Walk, images: range, only: CascadeName | None) -> list[int]:
        """A check on a batch, or one cascade of it; the explained classes."""
        reading, recall = self._reading(family, images)
        first = images.start
        if family in _CASCADES:
            return walk.run(reading, recall, first=first, count=len(images), only=only)
        self._stage(f"{family}, images from {first + 1}")
        targets = self._table(family, reading, recall, first)
        self._advance(1)
        return targets

    def _table(self, check: str, reading: Reading, recall: BatchRecall, first: int) -> list[int]:
        """A check without cascades on one batch, into the tally; the explained classes."""
        known = recall.tables()
        missing = recall.missing(known)
        if missing:
            methods = [self.methods[place] for place in missing]
            original, options = reading.batch.original, self.options
            if check == "random-logit":
                made = random_logit(
                    original, methods, options, first=first, objective=self.bench.objective
                )
            else:
                made = data_randomisation(original, self.bench.twin, methods, options)
            for place, cells in zip(missing, made, strict=True):
                known[place] = one = Tabled(cells, reading.targets, reading.notes)
                recall.keep_table(place, one)
        found = [one for one in known if one is not None]
        labels = [method.label for method in self.methods]
        self.found.tally.put_rows(
            check, labels, self.options.similarities, [one.cells for one in found], first=first,
            by_method=False,
        )  # fmt: skip
        for one in found:
            self.found.notes.add(one.notes)
        return found[0].targets

    def _advance(self, work: int) -> None:
        if self.progress is not None:
            self.progress.advance(work)

    def _walk(self, family: str, plan: Plan) -> Walk:
        return Walk(
            self.bench, plan, self.methods, self.options, self.found.tally, self.found.notes,
            curve=None if family == "emprt" else family,
            rise=family != "smprt" and "emprt" in self.options.checks,
            samples=self._views(family), size=self.size, sink=self.sink, spent=self.spent,
            stage=self._stage, advance=self._advance,
        )  # fmt: skip

    def _stage(self, text: str) -> None:
        if self.progress is not None:
            self.progress.stage(text)


def _validate(
    images: Images,
    methods: Sequence[Explainer],
    options: Options,
    targets: Tensor | None,
    permuted: nn.Module | None,
    permuted_layer: str | None,
    journal: Journal | None,
) -> None:
    if images.ndim != 4 or not len(images):
        raise UsageError(f"expected images N×C×H×W, N ≥ 1; got shape {tuple(images.shape)}")
    labels = [method.label for method in methods]
    if not labels or len(set(labels)) < len(labels):
        raise UsageError(f"expected at least one method, each label once; got {labels}")
    if targets is not None and targets.shape != images.shape[:1]:
        raise UsageError(
            f"expected one target class an image, {len(images)} in all; got shape "
            f"{tuple(targets.shape)}"
        )
    if journal is not None and len(journal.images) != len(images):
        raise UsageError(
            f"expected a journal of the same images, {len(images)} in all; got one of "
            f"{len(journal.images)}"
        )
    wanted = "data-randomisation" in options.checks
    if not wanted and (permuted is not None or permuted_layer is not None):
        raise UsageError(
            "a second model is given, but not the check that reads it: add 'data-randomisation' "
            f"to the checks; got {', '.join(options.checks)}"
        )
    if wanted and permuted is None:
        raise UsageError(
            "data randomisation compares the model with one trained on permuted labels: give that "
            "one too (camaudit train --permute-labels makes it)"
        )
