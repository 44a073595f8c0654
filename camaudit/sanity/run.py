"""All sanity checks of one model in one pass: several methods, similarities, orders and seeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import fmean
from typing import Protocol

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, cut_at
from camaudit.errors import UsageError
from camaudit.objective import Objective
from camaudit.sanity.cascade import Batch, Bound, Cascade, prepare_cascade
from camaudit.sanity.effect import Baseline, mean_of
from camaudit.sanity.explain import Explainer
from camaudit.sanity.null import null_pairs
from camaudit.sanity.options import Options
from camaudit.sanity.originals import Originals
from camaudit.sanity.outcomes import Curve, Effect, Null, SanityResult, Table
from camaudit.sanity.randomise import Randomiser
from camaudit.sanity.smprt import noisy_views
from camaudit.sanity.tables import data_randomisation, random_logit
from camaudit.sanity.tally import Tally
from camaudit.sanity.walk import MapSink, Walk
from camaudit.streams import Images

__all__ = ["Progress", "run_sanity"]

_ROWS = {"emprt": "seed", "random-logit": "draw", "data-randomisation": "model pair"}


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
    progress: Progress | None = None,
    sink: MapSink | None = None,
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
    progress: told how far the run is. sink: told every map as it is made.

    Every cell of the result is a value or has its reason among the remarks. Raises
    :class:`UsageError` for what cannot be done, the errors of `cut_at` for the layer, and
    :class:`camaudit.errors.DegenerateModelError` where the original model's logits are not finite.
    """
    started = time.perf_counter()
    options = options or Options()
    _validate(images, methods, options, targets, permuted, permuted_layer)
    run = _Run(methods, options, objective, progress, sink, len(images))
    with ExitStack() as stack:  # from before the first pass, which may write buffers already
        weights = () if run.cascades else model.parameters()
        originals = stack.enter_context(Originals(model.modules(), without=weights))
        if permuted is not None:
            spared = permuted.parameters()  # passes alone: a second copy of weights is not needed
            stack.enter_context(Originals(permuted.modules(), without=spared))
        result = run.all(model, layer, images, targets, permuted, permuted_layer, originals)
    seconds = {name: nanoseconds / 1e9 for name, nanoseconds in run.spent.items()}
    result.timing.update(seconds, total=time.perf_counter() - started)
    return result


class _Run:
    """One run's state: what has been found so far."""

    def __init__(
        self,
        methods: Sequence[Explainer],
        options: Options,
        objective: Objective | None,
        progress: Progress | None,
        sink: MapSink | None,
        count: int,
    ) -> None:
        self.methods, self.options, self.objective = list(methods), options, objective
        self.progress, self.sink = progress, sink
        self.count = count
        self.tally = Tally(count)
        self.spent: Counter[str] = Counter()
        self.targets: list[int] = []
        checks = set(options.checks)
        plain = ["mprt" if "mprt" in checks else "emprt"] if {"mprt", "emprt"} & checks else []
        others = ("smprt", "random-logit", "data-randomisation")
        self.families = [*plain, *(check for check in others if check in checks)]

    @property
    def cascades(self) -> bool:
        """Whether any check randomises layers."""
        return bool({"mprt", "emprt", "smprt"} & set(self.families))

    def all(
        self,
        model: nn.Module,
        layer: str,
        images: Images,
        targets: Tensor | None,
        permuted: nn.Module | None,
        permuted_layer: str | None,
        originals: Originals,
    ) -> SanityResult:
        """Every check, one after the other; `originals` are those of the model."""
        steps, twin = self.options.most_steps, None
        with torch.no_grad():
            cascade = prepare_cascade(
                model, layer, images[:1], most_steps=steps, randomised=self.cascades,
                exact=self.options.exact,
            )  # fmt: skip
            if permuted is not None:
                twin = cut_at(permuted, permuted_layer or layer, images[:1])
        with cascade.randomiser(self.options.scheme, originals=originals) as weights:
            if self.progress is not None:
                self.progress.start(sum(self.work(family, cascade) for family in self.families))
            for family in self.families:
                self.family(family, cascade, twin, images, targets, weights)
            return self.result(cascade, weights)

    def step(self, family: str) -> int:
        """Images in a batch of a check; the views of sMPRT count."""
        return max(1, self.options.batch_size // self._views(family))

    def _views(self, family: str) -> int:
        return self.options.samples if family == "smprt" else 1

    def work(self, family: str, cascade: Cascade) -> int:
        """What a check adds to the progress."""
        orders, seeds = self.options.orders, len(self.options.seeds)
        states = seeds * len(cascade.measured) * len(orders)
        if family == "emprt":
            states = seeds
        elif "top-down" not in orders and "bottom-up" not in orders:
            states += seeds  # for the null
        models = {"random-logit": 1, "data-randomisation": 1}.get(family, states)
        return models * -(-self.count // self.step(family))

    def family(
        self,
        family: str,
        cascade: Cascade,
        twin: Cut | None,
        images: Images,
        targets: Tensor | None,
        weights: Randomiser,
    ) -> None:
        """One check, or two that share their captures, on all images."""
        samples, step = self._views(family), self.step(family)
        for first in range(0, len(images), step):
            rows = slice(first, first + step)
            batch = self._batch(family, cascade, images[rows], targets, rows)
            if family in ("mprt", "emprt", "smprt"):
                self._walk(family, cascade, samples).run(batch, weights, first=first)
            elif family == "random-logit":
                self._stage(f"{family}, images from {first + 1}")
                random_logit(
                    batch.original, self.methods, self.options, self.tally,
                    first=first, objective=self.objective,
                )  # fmt: skip
                self._advance()
            elif twin is not None:
                self._stage(f"{family}, images from {first + 1}")
                data_randomisation(
                    batch.original, twin, self.methods, self.options, self.tally, first=first
                )
                self._advance()

    def _advance(self) -> None:
        if self.progress is not None:
            self.progress.advance(1)

    def _batch(
        self, family: str, cascade: Cascade, images: Tensor, targets: Tensor | None, rows: slice
    ) -> Batch:
        """The batch, or its noisy views explained for the classes of the clean images."""
        started = time.perf_counter()
        given = None if targets is None else targets[rows]
        found = cascade.batch(images, targets=given, objective=self.objective)
        self._note(found.targets, rows.start)
        if family == "smprt":  # the clean image says what is explained
            samples, noise = self.options.samples, self.options.noise
            views = noisy_views(images, samples=samples, noise=noise, seed=self.options.seed)
            score = found.original.objective.repeated(samples)
            found = cascade.batch(views, targets=score.classes, objective=Bound(score))
        self.spent["network"] += int(1e9 * (time.perf_counter() - started))
        return found

    def _note(self, targets: Tensor, first: int) -> None:
        if len(self.targets) == first:
            self.targets += targets.tolist()

    def _walk(self, family: str, cascade: Cascade, samples: int) -> Walk:
        return Walk(
            cascade, self.methods, self.options, self.tally,
            curve=None if family == "emprt" else family,
            rise=family != "smprt" and "emprt" in self.options.checks,
            samples=samples, sink=self.sink, spent=self.spent, stage=self._stage,
            advance=self._advance,
        )  # fmt: skip

    def _stage(self, text: str) -> None:
        if self.progress is not None:
            self.progress.stage(text)

    def result(self, cascade: Cascade, weights: Randomiser) -> SanityResult:
        """Curves, nulls, effects and tables of everything found."""
        steps = {name: cascade.steps(name) for name in self.options.orders}
        curves = tuple(
            self.tally.curve(key, steps=len(cascade.measured))
            for key in self.tally.keys
            if key[1] not in (None, "null")
        )
        pairs = null_pairs(len(self.options.seeds))
        nulls = {key: self._null(key, pairs) for key in self.tally.keys if key[1] == "null"}
        return SanityResult(
            settings={
                **self.options.to_dict(),
                "layer": cascade.cut.layer,
                "methods": [method.label for method in self.methods],
            },
            layers=tuple(found.name for found in cascade.order.layers),
            steps=tuple(step for name in steps if curves for step in steps[name]),
            curves=curves,
            nulls=tuple(nulls.values()),
            effects=tuple(self._effects(curves, pairs)),
            tables=tuple(self._tables()),
            remarks=(*cascade.remarks, *weights.remarks, *self.tally.remarks()),
            targets=tuple(self.targets),
        )

    def _null(
        self, key: tuple[str, str | None, str, str], pairs: tuple[tuple[int, int], ...]
    ) -> Null:
        seeds = self.options.seeds
        named = tuple((seeds[s], seeds[t]) for s, t in pairs)
        return Null(key[0], key[2], key[3], named, self.tally.table(key))

    def _effects(
        self, curves: tuple[Curve, ...], pairs: tuple[tuple[int, int], ...]
    ) -> list[Effect]:
        effects = []
        seed, seeds = self.options.seed, len(self.options.seeds)
        for curve in curves:
            null = self.tally.table((curve.check, "null", curve.method, curve.similarity))
            base = Baseline(null, pairs, seeds=seeds, seed=seed)
            for step in range(len(curve.values[0])):
                cells = [rows[step] for rows in curve.values]
                mean = mean_of(cells, seed=seed)
                key = (curve.check, curve.order, curve.method, curve.similarity, step + 1)
                effects.append(Effect(*key, mean, base.interval, base.distance(cells)))
        return effects

    def _tables(self) -> list[Table]:
        found = []
        for key in self.tally.keys:
            check, order, method, figure = key
            if order is None:
                cells = self.tally.table(key)
                # draws are nested in images: no two images share the class of a draw
                averaged = [_by_image(cells)] if check == "random-logit" else cells
                mean = mean_of(averaged, seed=self.options.seed)
                found.append(Table(check, method, figure, _ROWS[check], cells, mean))
        return found


def _by_image(cells: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Each image's mean over its rows that have a value."""
    images = zip(*cells, strict=True)
    columns = [[value for value in column if value is not None] for column in images]
    return [fmean(column) if column else None for column in columns]


def _validate(
    images: Images,
    methods: Sequence[Explainer],
    options: Options,
    targets: Tensor | None,
    permuted: nn.Module | None,
    permuted_layer: str | None,
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
