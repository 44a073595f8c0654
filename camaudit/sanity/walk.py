"""One batch of images through the cascades: maps of every method, compared with the originals."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from torch import Tensor

from camaudit.capture import Capture
from camaudit.sanity.cascade import Batch, Cascade, OrderName, State
from camaudit.sanity.emprt import complexity_rise
from camaudit.sanity.explain import Explained, Explainer, explain_all, from_tensors
from camaudit.sanity.null import null_cells
from camaudit.sanity.options import Options
from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.randomise import Randomiser
from camaudit.sanity.rows import Cell, Row, View, cells_of, in_parallel, lost_view, row_of, views_of
from camaudit.sanity.tally import Tally
from camaudit.sanity.unchanged import unchanged

__all__ = ["MapSink", "Walk"]

#: Told each map as it is made: check, order, method, seed, step (0: original), image, map (h×w).
MapSink = Callable[[str, str, str, int | None, int, int, Tensor], None]

Rows = list[list[Row]]  #: methods × images

_LOST = View(None, Outcome.UNDEFINED, "the random model's logits are not finite")


class Walk:
    """Runs the cascades of one family of checks on one batch; what it finds goes into `tally`.

    curve: "mprt", "smprt" or None for eMPRT alone; rise: whether eMPRT is asked for. `samples`
    views an image stand in the batch, `first` is the number of its first image, `size` that of
    the images. `spent` counts seconds by kind, `stage` is told what is done,
    `advance` after every state.
    """

    def __init__(
        self,
        cascade: Cascade,
        methods: Sequence[Explainer],
        options: Options,
        tally: Tally,
        *,
        curve: str | None,
        rise: bool,
        samples: int,
        sink: MapSink | None,
        spent: Counter[str],
        stage: Callable[[str], None],
        advance: Callable[[], None],
    ) -> None:
        self._cascade, self._methods, self._options = cascade, list(methods), options
        self._tally, self._curve, self._rise, self._samples = tally, curve, rise, samples
        self._sink, self._spent, self._stage = sink, spent, stage
        self._advance = advance

    def run(self, batch: Batch, weights: Randomiser, *, first: int) -> None:
        """Every order and seed, then the null and eMPRT from the states that are wholly random."""
        size = batch.original.size
        self._size = size if self._options.resolution == "image" else None
        self._batch, self._first = batch, first
        self._found = self._explained(batch.original)
        self._originals = self._rows([views_of(f, len(batch.images)) for f in self._found])
        self._show(self._originals, "original", None, 0)
        orders: list[OrderName] = list(self._options.orders) if self._curve else []
        source: OrderName = next((o for o in orders if o != "independent"), "all")
        if source == "all":
            orders.append("all")
        random: list[Rows] = []
        for order in orders:
            for place, seed in enumerate(self._options.seeds):
                self._stage(f"{self._curve or 'emprt'}, {order}, seed {seed}")
                last = self._cascaded(order, place, seed, weights)
                if order == source:
                    random.append(last)
        if self._curve:
            self._nulls(random)
        if self._rise:
            self._rises(random)

    def _cascaded(self, order: OrderName, place: int, seed: int, weights: Randomiser) -> Rows:
        """One seed's cascade; the rows of its last step."""
        rows: Rows = []
        started = time.perf_counter()
        joined = all(map(from_tensors, self._methods, self._found))
        states = self._cascade.states(self._batch, order, seed, weights, joined=joined)
        for state in states:
            self._spent["network"] += int(1e9 * (time.perf_counter() - started))
            rows = self._rows(self._seen(state))
            if order != "all":
                self._score(state, place, rows)
                self._show(rows, order, seed, state.step)
            self._advance()
            started = time.perf_counter()
        return rows

    def _explained(self, seen: Capture) -> list[Explained]:
        started = time.perf_counter()
        found = explain_all(self._methods, seen, seed=self._options.seed)
        self._spent["methods"] += int(1e9 * (time.perf_counter() - started))
        return found

    def _seen(self, state: State) -> list[list[View]]:
        """Every method's maps in a state, each with the reason why it cannot have changed."""
        count, seen = len(self._batch.images), state.capture
        if seen is None:
            places = range(len(self._methods))
            return [[self._lost(place, row) for row in range(count)] for place in places]
        views = []
        for place, found in enumerate(self._explained(seen)):
            why = unchanged(
                found, self._found[place], seen, self._batch.original,
                above=state.above, changed=state.changed, layer=self._cascade.cut.layer,
            )  # fmt: skip
            views.append(views_of(found, count, why))
            for row in state.lost:
                views[-1][row] = self._lost(place, row)
        return views

    def _lost(self, place: int, row: int) -> View:
        return lost_view(self._found[place], len(self._batch.images), row, _LOST)

    def _rows(self, seen: list[list[View]]) -> Rows:
        """Rows (methods × images) of the views of every method, prepared in parallel."""
        started = time.perf_counter()
        names, size, samples = self._options.similarities, self._size, self._samples
        jobs = [
            views[start : start + samples]
            for views in seen
            for start in range(0, len(views), samples)
        ]
        flat = in_parallel(lambda views: row_of(views, size=size, names=names), jobs)
        count = len(self._batch.images) // samples
        self._spent["similarity"] += int(1e9 * (time.perf_counter() - started))
        return [flat[start : start + count] for start in range(0, len(flat), count)]

    def _score(self, state: State, place: int, rows: Rows) -> None:
        started = time.perf_counter()
        names = self._options.similarities
        pairs = [
            pair
            for before, after in zip(self._originals, rows, strict=True)
            for pair in zip(before, after, strict=True)
        ]
        cells = iter(in_parallel(lambda pair: cells_of(*pair, names), pairs))
        for method, after in zip(self._methods, rows, strict=True):
            for image in range(len(after)):
                where = (place, state.step, self._first + image)
                for name, cell in zip(names, next(cells), strict=True):
                    key = (self._curve or "", state.order, method.label, name)
                    self._tally.add(key, where, cell)
        self._spent["similarity"] += int(1e9 * (time.perf_counter() - started))

    def _nulls(self, random: list[Rows]) -> None:
        """Similarities of the maps of every two wholly random models."""
        started = time.perf_counter()
        names = self._options.similarities
        for place, method in enumerate(self._methods):
            cells = null_cells([rows[place] for rows in random], names)
            for pair, images in enumerate(cells):
                for image, row in enumerate(images, start=self._first):
                    for name, cell in zip(names, row, strict=True):
                        key = (self._curve or "", "null", method.label, name)
                        self._tally.add(key, (pair, 1, image), cell)
        self._spent["similarity"] += int(1e9 * (time.perf_counter() - started))

    def _rises(self, random: list[Rows]) -> None:
        for place, method in enumerate(self._methods):
            key = ("emprt", None, method.label, "complexity rise")
            for seed, rows in enumerate(random):
                pairs = zip(self._originals[place], rows[place], strict=True)
                for image, (before, after) in enumerate(pairs):
                    self._tally.add(key, (seed, 1, self._first + image), _rise(before, after))

    def _show(self, rows: Rows, order: str, seed: int | None, step: int) -> None:
        if self._sink is None:
            return
        for method, shown in zip(self._methods, rows, strict=True):
            for image, row in enumerate(shown, start=self._first):
                if row.native is not None:
                    check = self._curve or "emprt"
                    self._sink(check, order, method.label, seed, step, image, row.native)


def _rise(before: Row, after: Row) -> Cell:
    for row in (before, after):
        if row.native is None:
            return None, row.outcome, row.reason
    if after.excused is not None:
        return None, Outcome.UNCHANGED, after.excused
    if before.native is None or after.native is None:  # pragma: no cover - said above
        return None, Outcome.ERROR, None
    value, why = complexity_rise(before.native, after.native)
    return value, Outcome.SCORED if value is not None else Outcome.UNDEFINED, why
