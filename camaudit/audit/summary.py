"""Records to summaries: one line a method, undefined ones counted apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from camaudit.audit.images import AuditImages
from camaudit.metrics.statistics import bootstrap_mean, crossed_bootstrap_mean
from camaudit.types import DataSummary, Interval, Record, Status, Summary

__all__ = ["summarise", "summarise_data"]


def summarise(
    records: Sequence[Record],
    *,
    families: Mapping[str, str],
    scored_fraction: float,
    seed: int,
    check: str = "dead-zone",
) -> list[Summary]:
    """One :class:`Summary` a method of `families`, in its order, over that method's records.

    Every interval is drawn from the same `seed`, so that methods on the same images are
    resampled alike. Records of several networks (with a seed of their own) are resampled by
    network and by image.
    """
    return [
        _summary(
            check,
            method,
            family,
            [record for record in records if record.method == method],
            scored_fraction,
            seed,
        )
        for method, family in families.items()
    ]


def summarise_data(
    records: Sequence[Record],
    images: AuditImages,
    *,
    families: Mapping[str, str],
    scored_fraction: float,
    seed: int,
) -> list[DataSummary]:
    """The summaries of every data set by itself; none where the images are of none."""
    origin = dict(zip((image.id for image in images.images), images.origin, strict=False))
    return [
        DataSummary(
            **one.to_dict(),
            images=images.origin.count(one.name),
            summary=summarise(
                [record for record in records if origin[record.image] == one.name],
                families=families,
                scored_fraction=scored_fraction,
                seed=seed,
            ),
        )
        for one in images.data
    ]


def _summary(
    check: str,
    method: str,
    family: str,
    records: list[Record],
    scored_fraction: float,
    seed: int,
) -> Summary:
    def count(status: Status) -> int:
        return sum(record.status is status for record in records)

    has_twin = any(record.unmasked is not None for record in records)
    return Summary(
        check=check,
        method=method,
        family=family,
        n=count(Status.OK),
        degenerate=count(Status.DEGENERATE),
        not_applicable=count(Status.NOT_APPLICABLE),
        errors=count(Status.ERROR),
        mu_l1=_interval(records, lambda record: record.mu_l1, seed),
        mu_l2=_interval(records, lambda record: record.mu_l2, seed),
        mu_l1_minmax=_interval(records, lambda record: record.mu_l1_minmax, seed),
        uniform=scored_fraction,
        uniform_l2=scored_fraction**0.5,
        unmasked=_interval(records, lambda record: _pair(record)[1], seed) if has_twin else None,
        unmasked_l2=_interval(records, _twin_l2, seed) if has_twin else None,
        difference=_interval(records, _difference, seed) if has_twin else None,
    )


def _pair(record: Record) -> tuple[float | None, float | None]:
    """μ with and without the wall, where both are defined."""
    twin = None if record.unmasked is None else record.unmasked.mu_l1
    return (None, None) if record.mu_l1 is None or twin is None else (record.mu_l1, twin)


def _twin_l2(record: Record) -> float | None:
    """The twin's μ (L2), where both have one."""
    twin = None if record.unmasked is None else record.unmasked.mu_l2
    return None if record.mu_l2 is None else twin


def _difference(record: Record) -> float | None:
    seen, twin = _pair(record)
    return None if seen is None or twin is None else seen - twin


def _interval(
    records: Sequence[Record], value: Callable[[Record], float | None], seed: int
) -> Interval:
    values = [value(record) for record in records]
    if all(record.seed is None for record in records):
        return bootstrap_mean([found for found in values if found is not None], seed=seed)
    rows, columns = (
        {name: place for place, name in enumerate(dict.fromkeys(names))}
        for names in ([r.seed for r in records], [r.image for r in records])
    )
    table = np.full((len(rows), len(columns)), np.nan)
    for record, found in zip(records, values, strict=True):
        if found is not None:
            table[rows[record.seed], columns[record.image]] = found
    return crossed_bootstrap_mean(table, seed=seed)
