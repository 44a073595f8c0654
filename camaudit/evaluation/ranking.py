"""Methods compared by every metric of an evaluation, their ranks, and whether metrics agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from camaudit.evaluation.outcomes import Row
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.comparison import agreement, compare, ranks
from camaudit.types import plain

__all__ = ["comparison"]

#: Parts of another metric: no votes of their own.
_PARTS = ("coherency", "map-complexity", "road-morf", "road-lerf")


def comparison(rows: Sequence[Row], labels: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Paired differences and ranks by each metric, and the agreement of the metrics, as JSON.

    `pairs` and `ranks` are by metric; `agreement` is over those that rank by themselves and are no
    part of another; None where there are fewer than two. With one method there is nothing to
    compare: all three are empty.
    """
    values: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for row in rows:
        direction = METRICS[row.metric].info.direction
        # Win % is a comparison itself
        if row.rivals is None and direction != "none" and any(v is not None for v in row.values):
            values.setdefault(row.metric, {})[row.method] = row.values
    if len(labels) < 2:
        return {"pairs": {}, "ranks": {}, "agreement": None}
    directions = {name: METRICS[name].info.direction for name in values}
    voting = {name: table for name, table in values.items() if name not in _PARTS}
    agreed = None
    if len(voting) > 1:
        agreed = agreement(voting, directions=directions, seed=seed)
    return {
        "pairs": {
            name: [
                plain(asdict(pair))
                for pair in compare(
                    table, direction=directions[name], seed=seed, widest=METRICS[name].info.widest
                )
            ]
            for name, table in values.items()
        },
        "ranks": {
            name: plain(asdict(ranks(table, direction=directions[name], seed=seed)))
            for name, table in values.items()
        },
        "agreement": None if agreed is None else plain(asdict(agreed)),
    }
