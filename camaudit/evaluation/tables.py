"""A protocol's tables with figures in them: measured beside published, and the claims judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from camaudit.evaluation.protocols import Ordering, Protocol, ProtocolTable
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.comparison import PairedDifference, compare
from camaudit.metrics.estimates import ALPHA, holm
from camaudit.metrics.registry import Direction
from camaudit.metrics.statistics import bootstrap_mean
from camaudit.types import plain

__all__ = ["Values", "protocol_tables"]

_CLOSE = 1e-12  # what rounding can do to a p-value

#: `values(metric, method, group)`: one value an image of a method, None where it is undefined;
#: `group` are the methods that Win % is taken among. None where the metric was not measured.
Values = Callable[[str, str, tuple[str, ...]], Sequence[float | None] | None]


def protocol_tables(protocol: Protocol, values: Values, *, seed: int) -> dict[str, Any]:
    """The protocol as JSON: of each table the measured rows, the published ones and the claims.

    A claim `better` over `worse` is judged by their paired comparison on its metric
    (:func:`camaudit.metrics.comparison.compare`), with Holm's correction over the table's claims on
    that metric, at 5 %: it holds, is reversed, is inconclusive, or there is no difference at all.
    """
    return {
        "name": protocol.name,
        "title": protocol.title,
        "source": protocol.source,
        "notes": list(protocol.notes),
        "tables": [_table(table, values, seed) for table in protocol.tables],
    }


def _table(table: ProtocolTable, values: Values, seed: int) -> dict[str, Any]:
    rows, claims = [], []
    for metric in table.metrics:
        direction = _direction(metric)
        found = {name: values(metric, name, table.methods) for name in table.methods}
        known = {name: row for name, row in found.items() if row is not None and _any_of(row)}
        for name, row in known.items():
            mean = bootstrap_mean([value for value in row if value is not None], seed=seed)
            rows.append({"metric": metric, "method": name, "mean": plain(asdict(mean))})
        pairs = []
        if len(known) > 1:
            widest = METRICS[metric].info.widest if metric in METRICS else 1.0  # μ is a share
            pairs = compare(known, direction=direction, seed=seed, widest=widest)
        claims += _claims(
            [one for one in table.orderings if one.metric == metric], pairs, direction
        )
    return {
        "key": table.key,
        "title": table.title,
        "methods": list(table.methods),
        "metrics": list(table.metrics),
        "directions": {metric: _direction(metric) for metric in table.metrics},
        "measured": rows,
        "published": [plain(asdict(one)) for one in table.published],
        "claims": claims,
    }


def _any_of(row: Sequence[float | None]) -> bool:
    """Whether a row has any value."""
    return any(value is not None for value in row)


def _direction(metric: str) -> Direction:
    """That of a registered metric; of the dead-zone mass, less is better."""
    return METRICS[metric].info.direction if metric in METRICS else "lower"


def _claims(
    orderings: Sequence[Ordering], pairs: Sequence[PairedDifference], direction: Direction
) -> list[dict[str, Any]]:
    """The claims on one metric with their verdicts; a difference is `better` − `worse`."""
    found = [_turned(one, pairs) for one in orderings]
    raw = [pair.p for pair in found if pair is not None and pair.p is not None]
    adjusted = iter(holm(raw))
    said = []
    for one, pair in zip(orderings, found, strict=True):
        p = None if pair is None or pair.p is None else next(adjusted)
        said.append(
            {
                **asdict(one),
                "verdict": _verdict(pair, p, direction),
                "n": 0 if pair is None else pair.n,
                "difference": None if pair is None else pair.difference,
                "low": None if pair is None else pair.low,
                "high": None if pair is None else pair.high,
                "adjusted": p,
            }
        )
    return said


def _turned(one: Ordering, pairs: Sequence[PairedDifference]) -> PairedDifference | None:
    """The comparison of a claim's two methods, `better` first; None where there is none."""
    for pair in pairs:
        if (pair.first, pair.second) == (one.better, one.worse):
            return pair
        if (pair.second, pair.first) == (one.better, one.worse):
            difference, low, high = (
                None if value is None else -value
                for value in (pair.difference, pair.high, pair.low)
            )
            return replace(pair, difference=difference, low=low, high=high)
    return None


def _verdict(pair: PairedDifference | None, p: float | None, direction: Direction) -> str:
    if pair is None or pair.difference is None or p is None:
        return "not applicable"
    if pair.outcome == "equal":
        return "no difference"
    if p > 2 * ALPHA + _CLOSE:
        return "inconclusive"
    good = pair.difference > 0 if direction == "higher" else pair.difference < 0
    return "holds" if good else "reversed"
