"""All sanity checks of one model in one pass: several methods, similarities, orders and seeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
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
from camaudit.sanity.walk import MapSink, Walk
from camaudit.streams import Images

__all__ = ["Progress", "run_sanity"]


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
        result = _Run(bench, methods, options, recall, progress, sink, images, spent).all()
    seconds = {name: nanoseconds / 1e9 for name, nanoseconds in spent.items()}
    result.timing.update(seconds, total=time.perf_counter() - started)
    return result


class _Run:
    """One run's state: what has been found so far."""

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
        families = self.options.families
        plan = self.recall.plan(self._planned)
        if self.progress is not None:
            self.progress.start(sum(self._work(family, plan) for family in families))
        for family in families:
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

    def _family(self, family: str, plan: Plan) -> None:
        """One check, or two that share their captures, on all images."""
        step, cascades = self._step(family), family in ("mprt", "emprt", "smprt")
        walk = self._walk(family, plan)
        for first in range(0, self.count, step):
            rows = slice(first, min(first + step, self.count))
            reading = self.bench.reading(rows, noisy=family == "smprt")
            recall = BatchRecall(
                self.recall, "plain" if family in ("mprt", "emprt") else family, first, rows.stop
            )
            if cascades:
                targets = walk.run(reading, recall, first=first, count=rows.stop - first)
            else:
                self._stage(f"{family}, images from {first + 1}")
                targets = self._table(family, reading, recall, first)
                self._advance(1)
            self.found.explained(targets, first)

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
