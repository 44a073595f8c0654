"""The view of the ranks: the methods' places by each metric, and whether the metrics agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.metrics_cells import is_control, methods_of, metrics_in
from camaudit.report.metrics_figures import Metric, mappings, metric_of
from camaudit.report.names import title
from camaudit.report.sanity_figures import number_of

__all__ = ["AgreementView", "HeatCell", "RankCell", "RankRow", "RanksView", "agreement_text",
           "ranks_view"]  # fmt: skip

_LEVELS = 4  # tints on each side of 0


@dataclass(frozen=True)
class RankCell:
    """A place with its interval and the share of resamples in which it is first."""

    text: str
    bounds: str
    first: str
    value: float | None


@dataclass(frozen=True)
class RankRow:
    """The places of one method, one a metric."""

    method: str
    control: bool
    cells: tuple[RankCell, ...]


@dataclass(frozen=True)
class HeatCell:
    """τ_b of two metrics; `tint` is from −4 to 4, None on the diagonal and where undefined."""

    text: str
    tint: int | None


@dataclass(frozen=True)
class AgreementView:
    """Kendall's W in a sentence, τ_b of every two metrics, and what was left out."""

    text: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RanksView:
    """Ranks by every metric; `images` and `notes` say on how many images, and what is left out."""

    metrics: tuple[Metric, ...]
    rows: tuple[RankRow, ...]
    images: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]
    agreement: AgreementView | None


def ranks_view(metrics: Mapping[str, Any]) -> RanksView | None:
    """The ranks; None where no method was compared with another."""
    comparison = metrics.get("comparison") or {}
    rankings = dict(mappings(comparison.get("ranks")))
    listed = [metric for metric in metrics_in(metrics) if metric.name in rankings]
    found = comparison.get("agreement")
    if not listed:
        return None
    places = {
        metric.name: {rank["method"]: rank for rank in rankings[metric.name]["ranks"]}
        for metric in listed
    }
    return RanksView(
        metrics=tuple(listed),
        rows=tuple(
            RankRow(
                title(method),
                is_control(metrics, method),
                tuple(
                    _cell(places[metric.name].get(method), rankings[metric.name], method)
                    for metric in listed
                ),
            )
            for method in methods_of(metrics)
        ),
        images=tuple(_images(rankings[metric.name]) for metric in listed),
        notes=_notes(listed, rankings),
        agreement=_agreement(metrics, found) if isinstance(found, Mapping) else None,
    )


def _cell(rank: Mapping[str, Any] | None, ranking: Mapping[str, Any], method: str) -> RankCell:
    if rank is None:
        return RankCell("left out" if method in ranking["left_out"] else "no value", "", "", None)
    low, high, first = (number_of(rank, name) for name in ("low", "high", "first"))
    return RankCell(
        text=figures.quantity(rank["rank"]),
        bounds="" if low is None or high is None else f"[{low:g}–{high:g}]",
        first="" if first is None else f"first in {_share(first)}",
        value=number_of(rank, "rank"),
    )


def _share(share: float) -> str:
    return "0 %" if share == 0 else figures.percent(share).replace("100.0", "100")


def _images(ranking: Mapping[str, Any]) -> str:
    excluded = ranking["excluded"]
    return f"{ranking['n']}" + (f", {excluded} excluded" if excluded else "")


def _notes(
    listed: Sequence[Metric], rankings: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[str, str], ...]:
    """What is to be said of metrics, those of which the same is to be said drawn together."""
    found: dict[str, list[str]] = {}
    for metric in listed:
        found.setdefault(_note(rankings[metric.name]), []).append(metric.title)
    return tuple(
        ("Every metric" if len(names) == len(listed) else figures.joined(names, limit=99), text)
        for text, names in found.items()
        if text
    )


def _note(ranking: Mapping[str, Any]) -> str:
    """What is left out or undefined, and why."""
    parts = []
    if ranking["left_out"]:
        names = figures.joined([title(name) for name in ranking["left_out"]])
        parts.append(f"left out, with a value on fewer than half of the images: {names}")
    parts += [str(ranking["reason"])] if ranking["reason"] else []
    return "; ".join(parts)


def agreement_text(found: Mapping[str, Any]) -> str:
    """Kendall's W with interval and p, or why there is none."""
    metrics, methods = len(found["metrics"]), len(found["methods"])
    over = f"{figures.counted(metrics, 'metric')} and {figures.counted(methods, 'method')}"
    w, p = number_of(found, "w"), number_of(found, "p")
    if w is None:
        return f"Kendall's W is undefined: {found['reason'] or over}."
    low, high = number_of(found, "low"), number_of(found, "high")
    ends = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    chance = "" if p is None else f", p = {figures.quantity(p, 2)}"
    return f"Kendall's W = {w:.2f}{ends}{chance}, over {over}."


def _agreement(metrics: Mapping[str, Any], found: Mapping[str, Any]) -> AgreementView:
    names = [str(name) for name in found["metrics"]]
    taus: dict[tuple[str, str], float | None] = {}
    for pair in found["pairs"]:
        tau = number_of(pair, "tau")
        taus[pair["first"], pair["second"]] = taus[pair["second"], pair["first"]] = tau
    titles = {name: metric_of(metrics, name).title for name in names}
    return AgreementView(
        text=agreement_text(found),
        names=tuple(titles.values()),
        rows=tuple(
            (titles[one], tuple(_heat(taus, one, other) for other in names)) for one in names
        ),
        notes=_agreement_notes(metrics, found),
    )


def _heat(taus: Mapping[tuple[str, str], float | None], one: str, other: str) -> HeatCell:
    if one == other:
        return HeatCell("–", None)
    tau = taus.get((one, other))
    if tau is None:
        return HeatCell("undefined", None)
    text = "0" if tau == 0 else f"{tau:+.2f}".replace("-", "−")
    return HeatCell(text, max(-_LEVELS, min(_LEVELS, round(_LEVELS * tau))))


def _agreement_notes(metrics: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    def listed(names: Sequence[str]) -> str:
        return figures.joined(names, limit=len(names))

    notes = []
    if found["left_out"]:
        methods = listed([title(name) for name in found["left_out"]])
        notes.append(f"Left out, because a metric has no value or too few for them: {methods}.")
    if found["metrics_left_out"]:
        kept = listed([metric_of(metrics, name).title for name in found["metrics_left_out"]])
        notes.append(f"Metrics without an image on which all methods have a value: {kept}.")
    if found["reason"] and found["w"] is not None:
        notes.append(f"No interval: {found['reason']}.")
    return tuple(notes)
