"""What became of the cells of a curve or a table: their means, and why some have no score."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.errors import AuditError
from camaudit.report import figures

__all__ = [
    "UNCHANGED",
    "UNDEFINED",
    "CurveCells",
    "Reasons",
    "counts_text",
    "curve_cells",
    "table_counts",
]

UNCHANGED = "unchanged by construction"
UNDEFINED = "undefined"
_OUTCOMES = (UNCHANGED, UNDEFINED, "not applicable", "error")

Cell = float | None


@dataclass(frozen=True)
class CurveCells:
    """A curve step by step, from step 1 on.

    `seeds` are the means over images of each seed, None where no image was scored; `scored` counts
    the cells with a score, `missing` those without, by outcome.
    """

    seeds: tuple[tuple[Cell, ...], ...]
    scored: tuple[int, ...]
    missing: tuple[Counter[str], ...]

    @property
    def total(self) -> Counter[str]:
        """Cells without a score by outcome, over all steps."""
        return sum(self.missing, Counter())

    def outcome(self, step: int) -> str | None:
        """Why the step at this place has no score at all; None where it has one."""
        if self.scored[step] or not self.missing[step]:
            return None
        return self.missing[step].most_common(1)[0][0]


class Reasons:
    """The remarks of results.json as outcomes of single cells.

    A remark names seeds, steps and images apart, so that it may cover cells which are not its
    own. Remarks that count every cell they cover are therefore asked first.
    """

    def __init__(self, remarks: Iterable[Mapping[str, Any]]) -> None:
        self._remarks: dict[tuple[Any, ...], list[_Remark]] = {}
        for entry in remarks:
            if entry.get("outcome") is not None:
                key = (entry.get("check"), entry.get("order"), entry.get("method"))
                self._remarks.setdefault(key, []).append(_remark(entry))
        for listed in self._remarks.values():
            listed.sort(key=lambda remark: not remark.whole)

    def outcome(
        self,
        key: tuple[str, str | None, str, str],
        place: tuple[int, int, int],
    ) -> str:
        """What became of a cell of `key` (check, order, method, figure).

        `place` is its seed's (or draw's) place from 0, its step from 1 and its image from 0.
        """
        check, order, method, figure = key
        for remark in self._remarks.get((check, order, method), ()):
            if remark.covers(figure, place):
                return remark.outcome
        return UNDEFINED


@dataclass(frozen=True)
class _Remark:
    outcome: str
    whole: bool
    figures: frozenset[str]
    seeds: frozenset[int]
    steps: frozenset[int]
    images: frozenset[int]

    def covers(self, figure: str, place: tuple[int, int, int]) -> bool:
        seed, step, image = place
        return (
            figure in self.figures
            and seed in self.seeds
            and step in self.steps
            and image in self.images
        )


def _remark(entry: Mapping[str, Any]) -> _Remark:
    parts = [frozenset(entry.get(name) or ()) for name in ("seeds", "steps", "images")]
    named = frozenset(entry.get("similarities") or ())
    covered = math.prod(map(len, (named, *parts)))
    outcome = entry["outcome"] if entry["outcome"] in _OUTCOMES else UNDEFINED
    return _Remark(outcome, entry.get("count") == covered, named, *parts)


def curve_cells(curve: Mapping[str, Any], reasons: Reasons, *, steps: int) -> CurveCells:
    """The cells of an entry of `sanity.curves`, whose cascade has so many `steps`.

    Raises
    ------
    AuditError
        if a seed has another number of steps.
    """
    key = (curve["check"], curve["order"], curve["method"], curve["similarity"])
    values: Sequence[Sequence[Sequence[Cell]]] = curve["values"]
    lengths = {len(rows) for rows in values}
    if lengths - {steps}:
        raise AuditError(
            f"expected {figures.counted(steps, 'step')} in every curve of the order "
            f"{curve['order']!r}, got {sorted(lengths)} for {curve['method']!r}"
        )
    missing: tuple[Counter[str], ...] = tuple(Counter() for _ in range(steps))
    scored = [0] * steps
    for seed, rows in enumerate(values):
        for step, cells in enumerate(rows):
            scored[step] += sum(figures.defined(cell) for cell in cells)
            missing[step].update(_missing(key, reasons, cells, seed, step + 1))
    seeds = tuple(tuple(_mean(cells) for cells in rows) for rows in values)
    return CurveCells(seeds, tuple(scored), missing)


def table_counts(table: Mapping[str, Any], reasons: Reasons) -> Counter[str]:
    """Cells of an entry of `sanity.tables` without a score, by outcome."""
    key = (table["check"], None, table["method"], table["figure"])
    counts: Counter[str] = Counter()
    for row, cells in enumerate(table["values"]):
        counts.update(_missing(key, reasons, cells, row, 1))
    return counts


def counts_text(counts: Mapping[str, int]) -> str:
    """Cells by outcome in words: `12 undefined, 3 error`; empty where there are none."""
    return ", ".join(f"{figures.whole(number)} {outcome}" for outcome, number in counts.items())


def _missing(
    key: tuple[str, str | None, str, str],
    reasons: Reasons,
    cells: Sequence[Cell],
    row: int,
    step: int,
) -> list[str]:
    """The outcomes of the cells without a score."""
    return [
        reasons.outcome(key, (row, step, image))
        for image, cell in enumerate(cells)
        if not figures.defined(cell)
    ]


def _mean(cells: Sequence[Cell]) -> float | None:
    known = [cell for cell in cells if cell is not None and math.isfinite(cell)]
    return math.fsum(known) / len(known) if known else None
