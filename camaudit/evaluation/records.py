"""What was found of a method on an image, as a value that can be kept and taken up again."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from camaudit.evaluation import spent
from camaudit.evaluation.cells import Cells, Gone, Put
from camaudit.evaluation.outcomes import Missing
from camaudit.evaluation.passes import Passes
from camaudit.evaluation.spent import Asked, Masks, Spent
from camaudit.evaluation.stepwise import Points
from camaudit.journal import Kept

__all__ = ["Record"]


@dataclass(frozen=True, eq=False)
class Record:
    """What one piece of work found with a method on one image, and what it took.

    values: metrics with their values, or why there is none. missing: what went wrong, and which
    metrics have no value for it. points: the curves of insertion and deletion.
    """

    values: tuple[Put, ...] = ()
    missing: tuple[Gone, ...] = ()
    spent: Spent = field(default_factory=Spent)
    points: Points | None = None

    @property
    def failed(self) -> bool:
        """Whether any of it ended in an error."""
        return any(why is Missing.ERROR for _, why, _ in self.missing)

    def again(
        self, cells: Cells, label: str, place: int, passes: Passes, masks: Sequence[Masks]
    ) -> None:
        """Put it into `cells`, and count what it took, as if it were found now; not its points."""
        for metric, value in self.values:
            why = value if isinstance(value, Missing) else None
            cells.put(metric, label, place, [math.nan if why else float(value)], [why])
        for metrics, why, reason in self.missing:
            cells.missing(metrics, label, [place], why, reason)
        spent.again(passes, self.spent, masks)

    def to_json(self) -> tuple[dict[str, Any], bytes | None]:
        """Plain JSON, and the curves' bytes."""
        value: dict[str, Any] = {
            "metrics": [[metric, _written(number)] for metric, number in self.values],
            "missing": [[list(names), why.value, reason] for names, why, reason in self.missing],
            "passes": dict(self.spent.passes),
            "asked": [{form: _ranges(which) for form, which in of_capture.items()}
                      for of_capture in self.spent.asked],
        }  # fmt: skip
        if self.points is None:
            return value, None
        value["tied"], value["ordered"] = self.points.tied, self.points.ordered
        return value, _packed(self.points)

    @classmethod
    def read(cls, kept: Kept) -> Record:
        """What :meth:`to_json` gave."""
        value = kept.value
        points = None
        if kept.blob is not None:
            points = Points(*_unpacked(kept.blob), value["tied"], value["ordered"])
        return cls(
            tuple((metric, _read(number)) for metric, number in value["metrics"]),
            tuple((tuple(names), Missing(why), why_so) for names, why, why_so in value["missing"]),
            Spent(value["passes"], tuple(map(_asked, value["asked"]))),
            points,
        )


def _written(value: float | Missing) -> float | str:
    """A figure as JSON has it: what is missing, and what is infinite, as text."""
    if isinstance(value, Missing):
        return value.value
    return value if math.isfinite(value) else str(value)


def _read(value: float | str) -> float | Missing:
    if isinstance(value, str) and value not in ("inf", "-inf"):
        return Missing(value)
    return float(value)


def _ranges(which: Iterable[int]) -> list[list[int]]:
    """Whole numbers as runs of neighbours, first and last."""
    runs: list[list[int]] = []
    for number in sorted(which):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def _asked(value: Mapping[str, Sequence[Sequence[int]]]) -> Asked:
    return {
        form: frozenset(n for first, last in runs for n in range(first, last + 1))
        for form, runs in value.items()
    }


def _packed(points: Points) -> bytes:
    stream = io.BytesIO()
    arrays = (points.sets, points.shown, points.hidden)
    rows = [array.numpy().view(np.int64) for array in arrays]  # the bits of float64, too
    np.save(stream, np.stack(rows), allow_pickle=False)
    return stream.getvalue()


def _unpacked(data: bytes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = np.load(io.BytesIO(data), allow_pickle=False)
    sets, shown, hidden = (torch.from_numpy(row.copy()) for row in rows)
    return sets, shown.view(torch.float64), hidden.view(torch.float64)
