"""The view of a repeated protocol: measured beside published, and the claims with verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.claims import ClaimsKind, ClaimsVerdict
from camaudit.report.metrics_figures import Metric, metric_of
from camaudit.report.names import title
from camaudit.report.sanity_figures import number_of
from camaudit.report.verdict import Segment
from camaudit.types import Results

__all__ = [
    "VERDICTS",
    "ClaimLine",
    "MetricBlock",
    "ProtocolRow",
    "ProtocolTableView",
    "ProtocolView",
    "Source",
    "claim_counts",
    "counts_text",
    "protocol_view",
]

#: Every verdict on a claim with the sign that it goes by.
VERDICTS = {
    "holds": "pass",
    "reversed": "fail",
    "inconclusive": "inconclusive",
    "no difference": "inconclusive",
    "not applicable": "not-applicable",
}
_COUNTED = {
    "holds": ("holds", "hold"),
    "reversed": ("is reversed", "are reversed"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "no difference": ("meets no difference", "meet no difference"),
    "not applicable": ("does not apply", "do not apply"),
}
_ABSENT = "not printed"
_RULE = (
    "A published claim holds where the paired difference of the two methods on these images lies "
    "on its side at 5 %, after Holm's correction over all pairs of methods of its table; it is "
    "reversed where it lies on the other. The published figures were measured by others on other "
    "weights and images: they are no bound, and being near them is no verdict."
)


@dataclass(frozen=True)
class Source:
    """A published table: where it stands, and on which network, data and how many images."""

    name: str
    measured_on: str


@dataclass(frozen=True)
class ProtocolRow:
    """One method by one metric: measured here, and what each source prints."""

    method: str
    measured: str
    bounds: str
    n: str
    published: tuple[str, ...]


@dataclass(frozen=True)
class MetricBlock:
    """One metric with its methods."""

    metric: Metric
    rows: tuple[ProtocolRow, ...]


@dataclass(frozen=True)
class ClaimLine:
    """A claim with its verdict; `sign` is the mark that it goes by."""

    verdict: str
    sign: str
    statement: str
    where: str
    difference: str
    bounds: str
    detail: str


@dataclass(frozen=True)
class ProtocolTableView:
    """One table of the protocol."""

    title: str
    sources: tuple[Source, ...]
    blocks: tuple[MetricBlock, ...]
    claims: tuple[ClaimLine, ...]
    counts: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ProtocolView:
    """The whole protocol."""

    title: str
    source: str
    verdict: ClaimsVerdict
    notes: tuple[str, ...]
    tables: tuple[ProtocolTableView, ...]


def protocol_view(results: Results) -> ProtocolView | None:
    """The view model; None where no protocol was run."""
    protocol = results.protocol
    tables = protocol.get("tables")
    if not isinstance(tables, (list, tuple)):
        return None
    claims = [claim for table in tables for claim in table["claims"]]
    return ProtocolView(
        title=str(protocol["title"]),
        source=str(protocol["source"]),
        verdict=_verdict(str(protocol["title"]), claims),
        notes=tuple(protocol.get("notes") or ()),
        tables=tuple(_table(results.metrics, table) for table in tables),
    )


def claim_counts(claims: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Claims by verdict, every verdict in its order."""
    counts = Counter(str(claim["verdict"]) for claim in claims)
    return {name: counts.pop(name, 0) for name in VERDICTS} | dict(counts)


def counts_text(counts: Mapping[str, int]) -> str:
    """The claims by verdict in words, those that occur: `3 hold, 1 is reversed`."""
    words = [
        f"{number} {_COUNTED.get(name, (name, name))[number != 1]}"
        for name, number in counts.items()
        if number
    ]
    return figures.joined(words) if words else "no claims"


def _verdict(name: str, claims: Sequence[Mapping[str, Any]]) -> ClaimsVerdict:
    counts = claim_counts(claims)
    if not claims:
        line = (Segment("The protocol "), Segment(name, "name"), Segment(" makes no claim."))
        return ClaimsVerdict(ClaimsKind.NONE, (line,), _RULE)
    held, turned = counts["holds"], counts["reversed"]
    first = (
        Segment(f"{held} of {len(claims)} published claims", "figure"),
        Segment(f" of {name} {'holds' if held == 1 else 'hold'} on these images."),
    )
    kind = ClaimsKind.FAIL if turned else ClaimsKind.OPEN
    if held == len(claims):
        kind = ClaimsKind.PASS
    return ClaimsVerdict(kind, (first, (Segment(f"Of all, {counts_text(counts)}."),)), _RULE)


def _table(metrics: Mapping[str, Any], table: Mapping[str, Any]) -> ProtocolTableView:
    published = table["published"]
    directions = table.get("directions") or {}
    listed = [metric_of(metrics, name, directions.get(name, "none")) for name in table["metrics"]]
    known = {metric.name: metric for metric in listed}
    return ProtocolTableView(
        title=str(table["title"]),
        sources=tuple(_source(one) for one in published),
        blocks=tuple(MetricBlock(metric, _rows(table, metric)) for metric in listed),
        claims=tuple(_claim(claim, known) for claim in table["claims"]),
        counts=counts_text(claim_counts(table["claims"])),
        notes=_notes(published),
    )


def _notes(published: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What to know of the published tables, those of which the same is said drawn together."""
    found: dict[str, list[str]] = {}
    for one in published:
        for note in one.get("notes") or ():
            found.setdefault(str(note), []).append(str(one["table"]))
    return tuple(
        f"{figures.joined(names, limit=len(names))}: {note}" for note, names in found.items()
    )


def _source(one: Mapping[str, Any]) -> Source:
    images = one.get("images")
    parts = (
        one.get("architecture") or "architecture not said",
        one.get("data") or "data not said",
        "n not said" if images is None else f"n = {figures.whole(images)}",
    )
    return Source(str(one["table"]), ", ".join(parts))


def _rows(table: Mapping[str, Any], metric: Metric) -> tuple[ProtocolRow, ...]:
    """The methods of the table, then any others that a source prints."""
    means = {row["method"]: row["mean"] for row in table["measured"]
             if row["metric"] == metric.name}  # fmt: skip
    printed = [_printed(one, metric) for one in table["published"]]
    names = dict.fromkeys([*table["methods"], *(name for own in printed for name in own)])
    rows = []
    for name in names:
        mean: Mapping[str, Any] = means.get(name) or {}
        value = number_of(mean, "mean")
        rows.append(
            ProtocolRow(
                method=title(name),
                measured="no value" if value is None else metric.printed(value),
                bounds=metric.bounds(number_of(mean, "ci_low"), number_of(mean, "ci_high")),
                n=str(mean.get("n") or 0),
                published=tuple(
                    _ABSENT if own.get(name) is None else metric.printed(own[name])
                    for own in printed
                ),
            )
        )
    return tuple(rows)


def _printed(one: Mapping[str, Any], metric: Metric) -> dict[str, float | None]:
    """What a source prints of the metric, by method."""
    if metric.name not in one["metrics"]:
        return {}
    place = one["metrics"].index(metric.name)
    return {row["method"]: row["figures"][place] for row in one["rows"]}


def _claim(claim: Mapping[str, Any], known: Mapping[str, Metric]) -> ClaimLine:
    metric = known.get(claim["metric"]) or metric_of({}, claim["metric"])
    verdict = str(claim["verdict"])
    value = number_of(claim, "difference")
    adjusted = number_of(claim, "adjusted")
    parts = [f"n = {claim['n']}"]
    parts += [] if adjusted is None else [f"adjusted p = {figures.quantity(adjusted, 2)}"]
    return ClaimLine(
        verdict=verdict,
        sign=VERDICTS.get(verdict, "not-applicable"),
        statement=f"{title(claim['better'])} over {title(claim['worse'])}: {metric.title}"
        f" {metric.arrow}".rstrip(),
        where=str(claim["claim"]),
        difference="no difference taken" if value is None else metric.difference(value),
        bounds=metric.difference_bounds(number_of(claim, "low"), number_of(claim, "high")),
        detail=", ".join(parts),
    )
