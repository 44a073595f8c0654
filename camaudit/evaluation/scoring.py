"""One method on some images: what is known is taken up again, what is not is computed and kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from camaudit.capture import Capture
from camaudit.evaluation import imputed, masked, spent, stepwise
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Explainer, Maps, NoMaps, explained
from camaudit.evaluation.known import MAPS, Known
from camaudit.evaluation.options import Options
from camaudit.evaluation.passes import Passes
from camaudit.evaluation.records import Record
from camaudit.evaluation.regions import located
from camaudit.evaluation.shared import Piece, Shared
from camaudit.evaluation.spent import Meter, Spent
from camaudit.evaluation.watch import Watch
from camaudit.metrics.sparsity import entropy, sparseness

__all__ = ["Records", "Scoring"]

#: What is known of methods on images, by label, place and group.
Records = Mapping[tuple[str, int], Mapping[str, Record]]


class Scoring:
    """Puts every metric of a method on images into cells and curves; what is new is kept.

    metrics: those that have no value where there is no map. black: the value of a black pixel,
    where the options read it. regions: those of all images, where localisation is asked for.
    """

    def __init__(
        self,
        cells: Cells,
        options: Options,
        passes: Passes,
        known: Known,
        watch: Watch,
        *,
        metrics: Sequence[str],
        black: Tensor | None,
        regions: Tensor | None,
    ) -> None:
        self.curves = stepwise.Curves(options)
        self._cells = cells
        self._options = options
        self._passes = passes
        self._known = known
        self._watch = watch
        self._metrics = metrics
        self._black = black
        self._regions = regions

    def score(self, method: Explainer, shared: Shared, records: Records) -> None:
        """Every metric of one method on these images."""
        rows = [records.get((method.label, place), {}) for place in shared.places]
        pieces = [
            self._piece(method, shared.rows(part), rows[part], wanted)
            for part, wanted in self._alike(rows)
        ]
        if not any(piece.nothing for piece in pieces):
            self._take(method, pieces)
            return
        for piece in pieces:  # find whose fault it is, keep the others
            for row in range(len(piece)):
                part = slice(row, row + 1)
                alone = piece if len(piece) == 1 else self._piece(
                    method, piece.shared.rows(part), piece.records[part], piece.open
                )  # fmt: skip
                self._take(method, [alone])

    def _alike(
        self, rows: Sequence[Mapping[str, Record]]
    ) -> Iterator[tuple[slice, frozenset[str]]]:
        """Neighbouring rows of which the same is known, with what is not."""
        start = 0
        for (wanted, _), run in itertools.groupby(rows, self._state):
            stop = start + len(list(run))
            yield slice(start, stop), wanted
            start = stop

    def _state(self, row: Mapping[str, Record]) -> tuple[frozenset[str], bool]:
        return self._known.open(row), MAPS in row and bool(row[MAPS].missing)

    def _piece(
        self, method: Explainer, shared: Shared, rows: Sequence[Mapping[str, Record]],
        wanted: frozenset[str],
    ) -> Piece:  # fmt: skip
        """The maps of a method, where anything is wanted of them."""
        if not wanted or shared.seen is None:
            return Piece(shared, rows, wanted)
        memos = [[memo] for memo in shared.seen.memo]
        meter = Meter(self._passes, memos, [image.masks[:1] for image in shared.images])
        with self._watch("maps"):
            found = explained(method, shared.seen, seed=self._options.seed)
        return Piece(shared, rows, wanted, found, meter.spent())

    def _take(self, method: Explainer, pieces: Sequence[Piece]) -> None:
        """Put pieces into the cells, one group of metrics after another."""
        for piece in pieces:
            self._take_maps(method, piece)
        if pieces[0].nothing:
            return
        for group in self._known.groups:
            for piece in pieces:
                if group in piece.open:
                    self._compute(group, method, piece)
                else:
                    self._again(group, method, piece)

    def _take_maps(self, method: Explainer, piece: Piece) -> None:
        label, found, shared = method.label, piece.found, piece.shared
        for row, (place, image) in enumerate(zip(shared.places, shared.images, strict=True)):
            if found is None:
                record = piece.records[row][MAPS]
                spent.again(self._passes, record.spent, image.masks[:1])
            else:
                gone = ((), found.why, found.message) if isinstance(found, NoMaps) else None
                record = Record(missing=() if gone is None else (gone,), spent=piece.spent[row])
                if MAPS in piece.open:
                    self._known.keep(method, place, image.decided, MAPS, record)
            for _, why, reason in record.missing:
                self._cells.missing(self._metrics, label, [place], why, reason)

    def _again(self, group: str, method: Explainer, piece: Piece) -> None:
        """Put what is known into the cells."""
        cells, passes, shared = self._cells, self._passes, piece.shared
        for place, image, row in zip(shared.places, shared.images, piece.records, strict=True):
            record = row[group]
            record.again(cells, method.label, place, passes, image.masks[1:])
            if record.points is not None:
                self.curves.again(cells, method.label, place, record.points, image.points, passes)

    def _compute(self, group: str, method: Explainer, piece: Piece) -> None:
        """Compute a group of metrics, and keep it."""
        shared, found = piece.shared, piece.found
        if shared.seen is None or not isinstance(found, Maps):
            return
        changed = shared.perturbed.captures if group == "sensitivity" and shared.perturbed else ()
        memos = [[one.memo[row] for one in changed] for row in range(len(shared))]
        masks = [image.masks[1 : 1 + len(changed)] for image in shared.images]
        meter = Meter(self._passes, memos, masks)
        with self._cells.noted() as noted:
            points = self._measure(group, method, shared, shared.seen, found)
        share = found.defined.tolist() if group == "road" else None
        taken = [Spent()] * len(shared) if points else meter.spent(share=share)
        if not meter.sound or group in shared.unsound:
            return
        for row, (place, image) in enumerate(zip(shared.places, shared.images, strict=True)):
            values, missing = tuple(noted.values[place]), tuple(noted.missing[place])
            record = Record(values, missing, taken[row], points[row] if points else None)
            self._known.keep(method, place, image.decided, group, record)

    def _measure(
        self, group: str, method: Explainer, shared: Shared, seen: Capture, found: Maps
    ) -> list[stepwise.Points]:
        """Put a group of metrics into the cells; the curves, where there are any."""
        label, start, options = method.label, shared.start, self._options
        cells, passes, seed = self._cells, self._passes, self._options.seed
        if group == "masked":
            with self._watch("confidence"):
                masked.measure(cells, method, seen, found, start, options, passes, self._black)
        elif group == "insertion-deletion" and shared.ends is not None:
            others = [image.points for image in shared.images]
            with self._watch("insertion-deletion"):
                return self.curves.measure(
                    cells, label, seen, found, start, shared.ends, others, passes
                )
        elif group == "localisation" and self._regions is not None:
            regions = self._regions[start : start + len(shared)].to(found.maps.device)
            located(cells, label, found, regions, start, options)
        elif group == "sparsity":
            for name, figure in (("sparseness", sparseness), ("entropy", entropy)):
                cells.put(name, label, start, figure(found.lit), found.reasons)
        elif group == "road":
            with self._watch("road"):
                imputed.measure(cells, label, seen, found, start, passes, seed=seed)
        elif group in ("infidelity", "sensitivity") and shared.perturbed is not None:
            with self._watch("perturbations"):
                if group == "infidelity":
                    shared.perturbed.put_infidelity(cells, method, found, start)
                else:
                    shared.perturbed.put_sensitivity(cells, method, seen, found, start, seed=seed)
        return []
