"""What a run of the sanity checks has found, and the result that is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from camaudit.sanity.effect import Baseline, mean_of
from camaudit.sanity.null import null_pairs
from camaudit.sanity.options import Options
from camaudit.sanity.outcomes import Curve, Effect, Null, Remark, SanityResult, Table
from camaudit.sanity.plan import Plan
from camaudit.sanity.recall import Notes
from camaudit.sanity.tally import Key, Tally

__all__ = ["Findings"]

_ROWS = {"emprt": "seed", "random-logit": "draw", "data-randomisation": "model pair"}


@dataclass(eq=False)
class Findings:
    """Cells, notes and explained classes, as they come in."""

    tally: Tally
    notes: Notes = field(default_factory=Notes)
    targets: list[int] = field(default_factory=list)

    def explained(self, targets: Iterable[int], first: int) -> None:
        """The classes of the images from `first` on; a later check's are the same."""
        if len(self.targets) == first:
            self.targets += targets

    def result(self, plan: Plan, options: Options, methods: Sequence[str]) -> SanityResult:
        """Curves, nulls, effects and tables of everything found."""
        steps = {name: plan.steps[name] for name in options.orders}
        curves = tuple(
            self.tally.curve(key, steps=len(plan.steps[options.orders[0]]))
            for key in self.tally.keys
            if key[1] not in (None, "null")
        )
        return SanityResult(
            settings={**options.to_dict(), "layer": plan.layer, "methods": list(methods)},
            layers=plan.layers,
            steps=tuple(step for name in steps if curves for step in steps[name]),
            curves=curves,
            nulls=tuple(self._null(key, options) for key in self.tally.keys if key[1] == "null"),
            effects=tuple(self._effects(curves, options)),
            tables=tuple(self._tables(options)),
            remarks=(*plan.remarks, *self._noted(), *self.tally.remarks()),
            targets=tuple(self.targets),
        )

    def _noted(self) -> Iterator[Remark]:
        yield from (Remark(why) for why in sorted(self.notes.strays))
        yield from (Remark(reason, layer=name) for name, reason in self.notes.layers)

    def _null(self, key: Key, options: Options) -> Null:
        seeds = options.seeds
        named = tuple((seeds[s], seeds[t]) for s, t in null_pairs(len(seeds)))
        return Null(key[0], key[2], key[3], named, self.tally.table(key))

    def _effects(self, curves: Sequence[Curve], options: Options) -> Iterator[Effect]:
        seed, seeds = options.seed, len(options.seeds)
        for curve in curves:
            null = self.tally.table((curve.check, "null", curve.method, curve.similarity))
            base = Baseline(null, null_pairs(seeds), seeds=seeds, seed=seed)
            for step in range(len(curve.values[0])):
                cells = [rows[step] for rows in curve.values]
                mean = mean_of(cells, seed=seed)
                key = (curve.check, curve.order, curve.method, curve.similarity, step + 1)
                yield Effect(*key, mean, base.interval, base.distance(cells))

    def _tables(self, options: Options) -> Iterator[Table]:
        for key in self.tally.keys:
            check, order, method, figure = key
            if order is None:
                cells = self.tally.table(key)
                # draws are nested in images: no two images share the class of a draw
                averaged = [_by_image(cells)] if check == "random-logit" else cells
                mean = mean_of(averaged, seed=options.seed)
                yield Table(check, method, figure, _ROWS[check], cells, mean)


def _by_image(cells: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Each image's mean over its rows that have a value."""
    images = zip(*cells, strict=True)
    columns = [[value for value in column if value is not None] for column in images]
    return [fmean(column) if column else None for column in columns]
