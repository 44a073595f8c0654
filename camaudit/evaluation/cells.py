"""The cells of an evaluation, metric by method by image, while they are filled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from camaudit.evaluation.outcomes import Missing, Remark, Row
from camaudit.metrics.statistics import bootstrap_mean

__all__ = ["Cells", "Gone", "Noted", "Put"]

Put = tuple[str, float | Missing]  #: a metric, and its value or why there is none
Gone = tuple[tuple[str, ...], Missing, str]  #: metrics, why they have no value, and in words


@dataclass(frozen=True, eq=False)
class Noted:
    """What was put into the cells of one method, by image and in its order."""

    values: dict[int, list[Put]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[int, list[Gone]] = field(default_factory=lambda: defaultdict(list))


class Cells:
    """Values of `count` images; what has none has its reason. Nothing is left empty."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._cells: dict[tuple[str, str, int | None], list[float | Missing]] = {}
        self._remarks: dict[tuple[str, str, str], list[int]] = {}
        self._noted: Noted | None = None

    @contextmanager
    def noted(self) -> Iterator[Noted]:
        """Within the context what is put is noted, too."""
        self._noted = Noted()
        try:
            yield self._noted
        finally:
            self._noted = None

    def put(
        self,
        metric: str,
        method: str,
        start: int,
        values: Tensor | Sequence[float],
        reasons: Sequence[Missing | None],
        *,
        rivals: int | None = None,
    ) -> None:
        """Values of images `start` … : NaN, or one with a reason, is missing for that reason."""
        row = self._row(metric, method, rivals)
        given = values.tolist() if isinstance(values, Tensor) else list(values)
        for place, (value, reason) in enumerate(zip(given, reasons, strict=True), start):
            undefined = Missing.UNDEFINED if value != value else None
            row[place] = reason or undefined or float(value)
            if self._noted is not None:
                self._noted.values[place].append((metric, row[place]))

    def missing(
        self, metrics: Sequence[str], method: str, places: Sequence[int], why: Missing,
        reason: str, *, rivals: int | None = None,
    ) -> None:  # fmt: skip
        """No metric has a value for `method` on these images."""
        for metric in metrics:
            row = self._row(metric, method, rivals)
            for place in places:
                row[place] = why
        if self._noted is not None:
            for place in places:
                self._noted.missing[place].append((tuple(metrics), why, reason))
        self._remarks.setdefault((method, why.value, reason), []).extend(places)

    def values(self, metric: str, method: str, rivals: int | None = None) -> list[float | None]:
        """One row, None for what has no value."""
        return [_value(cell) for cell in self._row(metric, method, rivals)]

    def reasons(self, metric: str, method: str) -> list[Missing | None]:
        """Why values of a row are missing, None for what has one."""
        cells = self._row(metric, method, None)
        return [cell if isinstance(cell, Missing) else None for cell in cells]

    def rows(self, *, seed: int) -> tuple[Row, ...]:
        """Every row with its mean; intervals of all are drawn from the same `seed`."""
        found = []
        for (metric, method, rivals), cells in self._cells.items():
            values = tuple(map(_value, cells))
            missing = Counter(cell.value for cell in cells if isinstance(cell, Missing))
            mean = bootstrap_mean([value for value in values if value is not None], seed=seed)
            found.append(Row(metric, method, values, mean, dict(sorted(missing.items())), rivals))
        return tuple(found)

    def remarks(self) -> tuple[Remark, ...]:
        """What went wrong, once for each reason."""
        return tuple(
            Remark(method, outcome, reason, tuple(sorted(set(places))))
            for (method, outcome, reason), places in self._remarks.items()
        )

    def _row(self, metric: str, method: str, rivals: int | None) -> list[float | Missing]:
        return self._cells.setdefault((metric, method, rivals), [Missing.NOT_RUN] * self.count)


def _value(cell: float | Missing) -> float | None:
    return None if isinstance(cell, Missing) else cell
