"""Cells of curves, nulls and tables as they come in, and the reasons of those without a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camaudit.sanity.outcomes import Curve, Remark
from camaudit.sanity.packing import Cells
from camaudit.sanity.rows import Cell

__all__ = ["Key", "Tally"]

#: Check, order, method and figure.
Key = tuple[str, str | None, str, str]


class Tally:
    """Collects cells of (check, order, method, figure) at (row, step, image).

    Rows are seeds, pairs of seeds or draws; a table has the one step 1.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._cells: dict[Key, dict[tuple[int, int, int], float | None]] = {}
        self._reasons: dict[tuple[Any, ...], list[tuple[str, int, int, int]]] = {}

    def add(self, key: Key, place: tuple[int, int, int], cell: Cell) -> None:
        """Put a cell of `key` at (row, step from 1, image)."""
        value, outcome, reason = cell
        self._cells.setdefault(key, {})[place] = value
        if value is None:
            check, order, method, figure = key
            group = (reason or outcome.value, outcome, check, order, method)
            self._reasons.setdefault(group, []).append((figure, *place))

    def put_rows(
        self, check: str, methods: Sequence[str], figures: Sequence[str],
        found: Sequence[Cells], *, first: int, order: str | None = None, by_method: bool = True,
    ) -> None:  # fmt: skip
        """Put cells `found[method][row][image][figure]` of the images from `first` on.

        All rows of a method are put before the next method's, or all methods' of a row.
        """
        rows = max(map(len, found), default=0)
        places = [(method, row) for method in range(len(methods)) for row in range(rows)]
        if not by_method:
            places.sort(key=lambda place: place[1])
        for method, row in places:
            for image, cells in enumerate(found[method][row], start=first):
                for figure, cell in zip(figures, cells, strict=True):
                    self.add((check, order, methods[method], figure), (row, 1, image), cell)

    def put_cascade(
        self, check: str, order: str, row: int, methods: Sequence[str], figures: Sequence[str],
        found: Sequence[Cells], *, first: int,
    ) -> None:  # fmt: skip
        """Put cells `found[method][step][image][figure]` of a cascade, step by step."""
        for step in range(max(map(len, found), default=0)):
            for method, cells in zip(methods, found, strict=True):
                for image, one in enumerate(cells[step], start=first):
                    for figure, cell in zip(figures, one, strict=True):
                        self.add((check, order, method, figure), (row, step + 1, image), cell)

    @property
    def keys(self) -> list[Key]:
        """Every (check, order, method, figure), in the order of its first cell."""
        return list(self._cells)

    def rows(self, key: Key, *, steps: int = 1) -> tuple[tuple[tuple[float | None, ...], ...], ...]:
        """`values[row][step][image]`; None where there is no value."""
        cells = self._cells.get(key, {})
        rows = 1 + max((place[0] for place in cells), default=-1)
        return tuple(
            tuple(
                tuple(cells.get((row, step, image)) for image in range(self._images))
                for step in range(1, steps + 1)
            )
            for row in range(rows)
        )

    def table(self, key: Key) -> tuple[tuple[float | None, ...], ...]:
        """`values[row][image]` of a table."""
        return tuple(row[0] for row in self.rows(key))

    def curve(self, key: Key, *, steps: int) -> Curve:
        """The curve of `key`."""
        check, order, method, figure = key
        return Curve(check, order or "", method, figure, self.rows(key, steps=steps))

    def remarks(self) -> tuple[Remark, ...]:
        """One remark a reason, outcome, check, order and method."""
        return tuple(
            Remark(
                reason, outcome, check, order, method,
                similarities=_distinct([place[0] for place in places]),
                seeds=tuple(sorted({place[1] for place in places})),
                steps=tuple(sorted({place[2] for place in places})),
                images=tuple(sorted({place[3] for place in places})),
                count=len(places),
            )
            for (reason, outcome, check, order, method), places in self._reasons.items()
        )  # fmt: skip


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
