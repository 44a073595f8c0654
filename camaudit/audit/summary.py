"""Records to summaries: one line a method, undefined ones counted apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from camaudit.metrics.statistics import bootstrap_mean
from camaudit.types import Interval, Record, Status, Summary

__all__ = ["summarise"]


def summarise(
    records: Sequence[Record], *, families: Mapping[str, str], scored_fraction: float, seed: int
) -> list[Summary]:
    """One :class:`Summary` a method of `families`, in its order, over that method's records.

    Every interval is drawn from the same `seed`, so that methods on the same images are
    resampled alike.
    """
    return [
        _summary(
            method,
            family,
            [record for record in records if record.method == method],
            scored_fraction,
            seed,
        )
        for method, family in families.items()
    ]


def _summary(
    method: str, family: str, records: list[Record], scored_fraction: float, seed: int
) -> Summary:
    def interval(values: list[float | None]) -> Interval:
        return bootstrap_mean([value for value in values if value is not None], seed=seed)

    def count(status: Status) -> int:
        return sum(record.status is status for record in records)

    has_twin = any(record.unmasked is not None for record in records)
    pairs = [
        (record.mu_l1, record.unmasked.mu_l1)
        for record in records
        if record.unmasked is not None
        and record.mu_l1 is not None
        and record.unmasked.mu_l1 is not None
    ]
    return Summary(
        check="dead-zone",
        method=method,
        family=family,
        n=count(Status.OK),
        degenerate=count(Status.DEGENERATE),
        not_applicable=count(Status.NOT_APPLICABLE),
        errors=count(Status.ERROR),
        mu_l1=interval([record.mu_l1 for record in records]),
        mu_l2=interval([record.mu_l2 for record in records]),
        mu_l1_minmax=interval([record.mu_l1_minmax for record in records]),
        uniform=scored_fraction,
        uniform_l2=scored_fraction**0.5,
        unmasked=interval([twin for _, twin in pairs]) if has_twin else None,
        difference=interval([seen - twin for seen, twin in pairs]) if has_twin else None,
    )
