"""Records to summaries: one line a method, the image as the unit, undefined ones counted apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from camaudit.audit.images import AuditImages
from camaudit.metrics.statistics import bootstrap_mean, crossed_bootstrap_mean
from camaudit.types import DataSummary, Interval, Record, Status, Summary, TargetCounts

__all__ = ["by_image", "summarise", "summarise_data"]

#: What becomes of an image none of whose targets has a figure: the first of these that any had.
_WORST = (Status.ERROR, Status.DEGENERATE, Status.NOT_APPLICABLE)


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
    resampled alike. An image's figure is the mean over its targets that have one. Records of
    several networks (with a seed of their own) are resampled by network and by image.
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
    count = Counter(_outcomes(records))
    has_twin = any(record.unmasked is not None for record in records)
    return Summary(
        check=check,
        method=method,
        family=family,
        n=count[Status.OK],
        degenerate=count[Status.DEGENERATE],
        not_applicable=count[Status.NOT_APPLICABLE],
        errors=count[Status.ERROR],
        mu_l1=_interval(records, lambda record: record.mu_l1, seed),
        mu_l2=_interval(records, lambda record: record.mu_l2, seed),
        mu_l1_minmax=_interval(records, lambda record: record.mu_l1_minmax, seed),
        uniform=scored_fraction,
        uniform_l2=scored_fraction**0.5,
        unmasked=_interval(records, lambda record: _pair(record)[1], seed) if has_twin else None,
        unmasked_l2=_interval(records, _twin_l2, seed) if has_twin else None,
        difference=_interval(records, _difference, seed) if has_twin else None,
        targets=_targets(records) if sum(count.values()) < len(records) else None,
    )


def _outcomes(records: Sequence[Record]) -> list[Status]:
    """One for every image (and network), over all of its targets."""
    found: dict[tuple[str, int | None], set[Status]] = {}
    for record in records:
        found.setdefault((record.image, record.seed), set()).add(record.status)
    return [
        Status.OK if Status.OK in had else next(status for status in _WORST if status in had)
        for had in found.values()
    ]


def _targets(records: Sequence[Record]) -> TargetCounts:
    count = Counter(record.status for record in records)
    return TargetCounts(
        n=count[Status.OK],
        degenerate=count[Status.DEGENERATE],
        not_applicable=count[Status.NOT_APPLICABLE],
        errors=count[Status.ERROR],
    )


def by_image(
    records: Sequence[Record], value: Callable[[Record], float | None]
) -> dict[str, float | None]:
    """The mean of `value` over the targets of each image that have one; None where none has."""
    found: dict[str, list[float]] = {}
    for record in records:
        values, own = found.setdefault(record.image, []), value(record)
        if own is not None:
            values.append(own)
    return {image: sum(values) / len(values) if values else None for image, values in found.items()}


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
    if all(record.seed is None for record in records):
        means = by_image(records, value).values()
        return bootstrap_mean([found for found in means if found is not None], seed=seed)
    values = [value(record) for record in records]
    rows, columns = (
        {name: place for place, name in enumerate(dict.fromkeys(names))}
        for names in ([r.seed for r in records], [r.image for r in records])
    )
    table = np.full((len(rows), len(columns)), np.nan)
    for record, found in zip(records, values, strict=True):
        if found is not None:
            table[rows[record.seed], columns[record.image]] = found
    return crossed_bootstrap_mean(table, seed=seed)
