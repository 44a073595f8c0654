"""One batch of images through the cascades: maps of every method, compared with the originals."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from camaudit.capture import Capture
from camaudit.sanity.bench import Bench, Reading
from camaudit.sanity.cascade import OrderName, State
from camaudit.sanity.emprt import complexity_rise
from camaudit.sanity.explain import Explained, Explainer, explain_all, from_tensors
from camaudit.sanity.null import null_cells
from camaudit.sanity.options import Options
from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.packing import Cells
from camaudit.sanity.plan import Plan
from camaudit.sanity.recall import BatchRecall, Cascaded, Notes, Original, compared
from camaudit.sanity.rows import (
    Cell,
    Row,
    View,
    cells_of,
    in_parallel,
    lost_view,
    prepared,
    row_of,
    views_of,
)
from camaudit.sanity.tally import Tally
from camaudit.sanity.unchanged import unchanged

__all__ = ["CascadeName", "MapSink", "Walk"]


class MapSink(Protocol):
    """What is told of maps."""

    def wants(self, check: str, order: str, seed: int | None, image: int) -> bool:
        """Whether the maps of an image under a cascade are asked for; order "original": the
        trained model's, which have no seed."""

    def __call__(
        self, check: str, order: str, method: str, seed: int | None, step: int, image: int,
        saliency: Tensor,
    ) -> None:  # fmt: skip
        """A map (h×w) that it wants, at a step from 1 on (0: of the trained model)."""


Rows = list[list[Row]]  #: methods × images
CascadeName = tuple[OrderName, int]  #: its order and its seed

_LOST = View(None, Outcome.UNDEFINED, "the random model's logits are not finite")


@dataclass(eq=False)
class _Found:
    """What one method gives in a cascade, as it goes on; see :class:`Cascaded`."""

    cells: Cells = field(default_factory=list)
    last: list[Row] = field(default_factory=list)
    shown: dict[tuple[int, int], Tensor] = field(default_factory=dict)


class Walk:
    """Runs the cascades of one family of checks on one batch; what it finds goes into `tally`.

    curve: "mprt", "smprt" or None for eMPRT alone; rise: whether eMPRT is asked for. `samples`
    views an image stand in the batch; maps are compared at `size` (None: as returned). What
    `recall` knows is not computed again, and the batch is read where something is missing.
    `spent` counts seconds by kind, `stage` is told what is done, `advance` how many states are,
    and `notes` what is noted of them.
    """

    def __init__(
        self,
        bench: Bench,
        plan: Plan,
        methods: Sequence[Explainer],
        options: Options,
        tally: Tally,
        notes: Notes,
        *,
        curve: str | None,
        rise: bool,
        samples: int,
        size: tuple[int, int] | None,
        sink: MapSink | None,
        spent: Counter[str],
        stage: Callable[[str], None],
        advance: Callable[[int], None],
    ) -> None:
        self._bench, self._plan = bench, plan
        self._methods, self._options = list(methods), options
        self._labels = [method.label for method in methods]
        self._tally, self._notes, self._curve, self._rise = tally, notes, curve, rise
        self._check = curve or "emprt"
        self._samples, self._size = samples, size
        self._sink, self._spent, self._stage = sink, spent, stage
        self._advance = advance
        self._orders: list[OrderName] = list(options.orders) if curve else []
        self._source: OrderName = next((o for o in self._orders if o != "independent"), "all")
        if self._source == "all":
            self._orders.append("all")

    def run(
        self, reading: Reading, recall: BatchRecall, *, first: int, count: int,
        only: CascadeName | None = None,
    ) -> list[int]:  # fmt: skip
        """Every order and seed, then the null and eMPRT from the states that are wholly random.

        The batch has `count` images, `first` is the number of the first. Of one cascade `only`,
        nothing comes after it. Returns the explained classes.
        """
        self._begin(reading, recall, first, count)
        originals = self._on_original(recall.originals())
        joined = all(one.tensors for one in originals)
        recall.look_up(self._wanted(only, joined=joined))
        random: list[Rows] = []
        for order in self._orders:
            for place, seed in enumerate(self._options.seeds):
                if only not in (None, (order, seed)):
                    continue
                self._stage(f"{self._check}, {order}, seed {seed}")
                found = self._cascade(order, place, seed, joined=joined)
                if order == self._source:
                    random.append([one.last for one in found])
        if self._curve and only is None:
            self._nulls(random, self._source)
        if self._rise and only is None:
            self._rises(random, self._source)
        return originals[0].targets

    def look_up(
        self, reading: Reading, recall: BatchRecall, *, first: int, count: int,
        only: CascadeName | None = None,
    ) -> None:  # fmt: skip
        """Look up what :meth:`run` would, whatever the methods give on the trained model."""
        self._begin(reading, recall, first, count)
        for joined in (False, True):
            recall.look_up(self._wanted(only, joined=joined))

    @property
    def cascades(self) -> list[CascadeName]:
        """Those of a batch, in their order."""
        return [(order, seed) for order in self._orders for seed in self._options.seeds]

    def _begin(self, reading: Reading, recall: BatchRecall, first: int, count: int) -> None:
        self._reading, self._recall = reading, recall
        self._first, self._count = first, count
        self._found: dict[int, Explained] = {}

    def _wanted(
        self, only: CascadeName | None, *, joined: bool
    ) -> Mapping[tuple[Any, ...], Mapping[str, Any]]:
        """What the findings depend on beside method and images, by their names."""
        options, seeds, source = self._options, list(self._options.seeds), self._source
        wanted: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        made = {"plan": self._plan.digest, "scheme": options.scheme, "exact": options.exact}
        for order in self._orders:
            shared = joined and order == "top-down"
            known = {**made, "order": order, "joined": shared}
            for seed in seeds:
                if only in (None, (order, seed)):
                    wanted["cascade", order, seed] = {
                        **known, "random": seed, "shown": self._shown(order, seed),
                        **({} if order == "all" else compared(options)),
                    }  # fmt: skip
            if only is not None:
                continue
            if order == source and self._curve:
                wanted["null", order] = {**known, "random": seeds, **compared(options)}
            if order == source and self._rise:
                wanted["rise", order] = {**known, "random": seeds}
        return wanted

    def _shown(self, order: str, seed: int | None) -> list[int]:
        """The rows of the batch whose maps are asked for."""
        if self._sink is None:
            return []
        wants, first = self._sink.wants, self._first
        return [n for n in range(self._count) if wants(self._check, order, seed, first + n)]

    def _on_original(self, known: list[Original | None]) -> list[Original]:
        """Every method on the trained model."""
        self._originals = [[] if one is None else one.rows for one in known]
        missing = self._recall.missing(known)
        self._explain(missing)
        for place in missing:
            tensors = from_tensors(self._methods[place], self._found[place])
            targets = self._reading.targets
            made = Original(self._originals[place], tensors, targets, self._reading.notes)
            self._recall.keep_original(place, made)
            known[place] = made
        whole = [one for one in known if one is not None]
        for method, one in zip(self._labels, whole, strict=True):
            self._notes.add(one.notes)
            for row in self._shown("original", None):
                self._show("original", method, None, 0, row, one.rows[row].native)
        return whole

    def _explain(self, places: Sequence[int]) -> None:
        """Run these methods on the trained model, as far as that is not done."""
        places = [place for place in places if place not in self._found]
        if not places:
            return
        found = self._explained(places, self._reading.batch.original)
        rows = self._rows([views_of(f, len(self._reading.batch.images)) for f in found])
        self._found.update(zip(places, found, strict=True))
        for place, mine in zip(places, rows, strict=True):
            self._originals[place] = mine

    def _cascade(self, order: OrderName, place: int, seed: int, *, joined: bool) -> list[Cascaded]:
        """What every method gives in one seed's cascade, into the tally too."""
        known = self._recall.cascade(order, seed)
        missing = self._recall.missing(known)
        if missing:
            self._explain(missing)
            computed = self._cascaded(missing, order, seed, joined=joined)
            for number, made in zip(missing, computed, strict=True):
                self._recall.keep_cascade(number, order, seed, made)
                known[number] = made
        else:
            self._advance(len(self._plan.steps[order]))
        found = [one for one in known if one is not None]
        if order != "all":
            cells = [one.cells for one in found]
            names = self._options.similarities
            self._tally.put_cascade(
                self._curve or "", order, place, self._labels, names, cells, first=self._first
            )
        steps = sorted({step for one in found for step, _ in one.shown})
        for step in steps:
            for method, one in zip(self._labels, found, strict=True):
                for row in self._shown(order, seed):
                    self._show(order, method, seed, step, row, one.shown.get((step, row)))
        for one in found:
            self._notes.add(one.notes)
        return found

    def _cascaded(
        self, places: Sequence[int], order: OrderName, seed: int, *, joined: bool
    ) -> list[Cascaded]:
        """What the methods at `places` give in one seed's cascade."""
        made = [_Found() for _ in places]
        shown = self._shown(order, seed)
        started = time.perf_counter()
        states = self._bench.cascade.states(
            self._reading.batch, order, seed, self._bench.weights, joined=joined
        )
        for state in states:
            self._spent["network"] += int(1e9 * (time.perf_counter() - started))
            rows = self._rows(self._seen(places, state))
            scored = [] if order == "all" else self._score(places, rows)
            for number, (one, mine) in enumerate(zip(made, rows, strict=True)):
                one.last = mine
                one.cells += scored[number : number + 1]
                maps = {(state.step, row): mine[row].native for row in shown}
                one.shown.update((where, m) for where, m in maps.items() if m is not None)
            self._advance(1)
            started = time.perf_counter()
        notes = self._bench.notes()
        return [Cascaded(one.cells, one.last, one.shown, notes) for one in made]

    def _explained(self, places: Sequence[int], seen: Capture) -> list[Explained]:
        started = time.perf_counter()
        methods = [self._methods[place] for place in places]
        found = explain_all(methods, seen, seed=self._options.seed)
        self._spent["methods"] += int(1e9 * (time.perf_counter() - started))
        return found

    def _seen(self, places: Sequence[int], state: State) -> list[list[View]]:
        """The methods' maps in a state, each with the reason why it cannot have changed."""
        batch, seen = self._reading.batch, state.capture
        count = len(batch.images)
        if seen is None:
            return [[self._lost(place, row) for row in range(count)] for place in places]
        views = []
        for place, found in zip(places, self._explained(places, seen), strict=True):
            why = unchanged(
                found, self._found[place], seen, batch.original,
                above=state.above, changed=state.changed, layer=self._plan.layer,
            )  # fmt: skip
            views.append(views_of(found, count, why))
            for row in state.lost:
                views[-1][row] = self._lost(place, row)
        return views

    def _lost(self, place: int, row: int) -> View:
        return lost_view(self._found[place], len(self._reading.batch.images), row, _LOST)

    def _rows(self, seen: list[list[View]]) -> Rows:
        """Rows (methods × images) of the views of methods, prepared in parallel."""
        started = time.perf_counter()
        names, size, samples = self._options.similarities, self._size, self._samples
        jobs = [
            views[start : start + samples]
            for views in seen
            for start in range(0, len(views), samples)
        ]
        flat = in_parallel(lambda views: row_of(views, size=size, names=names), jobs)
        count = len(self._reading.batch.images) // samples
        self._spent["similarity"] += int(1e9 * (time.perf_counter() - started))
        return [flat[start : start + count] for start in range(0, len(flat), count)]

    def _score(self, places: Sequence[int], rows: Rows) -> Cells:
        """Cells (methods × images × similarities) of the originals and of these rows."""
        started = time.perf_counter()
        names = self._options.similarities
        pairs = [
            pair
            for place, after in zip(places, rows, strict=True)
            for pair in zip(self._originals[place], after, strict=True)
        ]
        cells = in_parallel(lambda pair: cells_of(*pair, names), pairs)
        count = len(rows[0])
        self._spent["similarity"] += int(1e9 * (time.perf_counter() - started))
        return [cells[start : start + count] for start in range(0, len(cells), count)]

    def _nulls(self, random: list[Rows], source: OrderName) -> None:
        """Similarities of the maps of every two wholly random models."""
        started = time.perf_counter()
        names, size = self._options.similarities, self._size
        found = []
        for place, known in enumerate(self._recall.between(("null", source))):
            cells = known
            if cells is None:
                self._reading.batch  # noqa: B018 - who may not read it leaves the work to others
                jobs = [row for rows in random for row in rows[place]]
                ready = in_parallel(lambda row: prepared(row, size=size, names=names), jobs)
                count = self._count
                cells = null_cells(
                    [ready[start : start + count] for start in range(0, len(ready), count)], names
                )
                self._recall.keep_between(place, ("null", source), cells)
            found.append(cells)
        self._tally.put_rows(
            self._curve or "", self._labels, names, found, first=self._first, order="null"
        )
        self._spent["similarity"] += int(1e9 * (time.perf_counter() - started))

    def _rises(self, random: list[Rows], source: OrderName) -> None:
        found = []
        for place, known in enumerate(self._recall.between(("rise", source))):
            cells = known
            if cells is None:
                self._reading.batch  # noqa: B018 - the same
                before = self._originals[place]
                cells = [
                    [[_rise(*pair)] for pair in zip(before, rows[place], strict=True)]
                    for rows in random
                ]
                self._recall.keep_between(place, ("rise", source), cells)
            found.append(cells)
        self._tally.put_rows("emprt", self._labels, ("complexity rise",), found, first=self._first)

    def _show(
        self, order: str, method: str, seed: int | None, step: int, row: int, found: Tensor | None
    ) -> None:
        if self._sink is not None and found is not None:
            self._sink(self._check, order, method, seed, step, self._first + row, found)


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
