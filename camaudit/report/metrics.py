"""The view model of the metrics: verdict, tables, curves, scatter, ranks and what has no value.

Pure functions from :class:`~camaudit.types.Results` to frozen dataclasses, as for the audit's
report. What `Results.metrics` holds is described in the schema of results.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures, metrics_prose
from camaudit.report.claims import ClaimsVerdict
from camaudit.report.metrics_cells import is_control, measured, methods_of, metrics_in
from camaudit.report.metrics_curves import CurvesView, curves_view
from camaudit.report.metrics_figures import check_name
from camaudit.report.metrics_ranks import RanksView, ranks_view
from camaudit.report.metrics_scatter import ScatterView, scatter_view
from camaudit.report.metrics_table import CheckTables, check_tables
from camaudit.report.metrics_verdict import metrics_verdict
from camaudit.report.names import title
from camaudit.report.prose import Paragraph
from camaudit.report.view import Fact, Unscored
from camaudit.types import Results, Summary

__all__ = ["MetricsView", "metrics_view"]

_ON = {"model": "on the model as it is", "walled": "on the walled model"}
_BASELINES = {
    "mean": "masked pixels take the mean colour",
    "black": "masked pixels become black",
}


@dataclass(frozen=True)
class MetricsView:
    """Everything that the page says of the metrics."""

    verdict: ClaimsVerdict
    facts: tuple[Fact, ...]
    setting: str
    checks: tuple[CheckTables, ...]
    curves: CurvesView | None
    scatter: ScatterView | None
    ranks: RanksView | None
    unscored: tuple[Unscored, ...]
    reading: tuple[Paragraph, ...]
    limits: tuple[Paragraph, ...]


def metrics_view(results: Results, summary: Sequence[Summary]) -> MetricsView | None:
    """The view model; None where no metric was taken. `summary` is that of the dead zone."""
    metrics = results.metrics
    if not measured(metrics):
        return None
    scatter = scatter_view(metrics, summary)
    tables = check_tables(metrics)
    checks = [entry.check for entry in tables]
    return MetricsView(
        verdict=metrics_verdict(metrics, scatter),
        facts=_facts(metrics, checks),
        setting=_setting(metrics),
        checks=tables,
        curves=curves_view(metrics, results.provenance.images),
        scatter=scatter,
        ranks=ranks_view(metrics),
        unscored=_unscored(metrics),
        reading=metrics_prose.reading(checks),
        limits=metrics_prose.limits(checks),
    )


def _setting(metrics: Mapping[str, Any]) -> str:
    """How the metrics were taken, on a line."""
    settings: Mapping[str, Any] = metrics.get("settings") or {}
    checks = settings.get("checks") or []
    parts = [_ON.get(metrics.get("on", ""), "")]
    if {"confidence", "adcc"} & set(checks):
        parts.append(_BASELINES.get(settings.get("baseline", ""), ""))
    if "insertion-deletion" in checks:
        parts.append(f"{settings.get('pixels_per_step')} pixels a step of insertion and deletion")
    if "localisation" in checks:
        threshold = figures.percent(settings.get("threshold"))
        parts.append(f"a pixel counts as lit from {threshold} of the map's maximum")
    text = "; ".join(part for part in parts if part)
    return f"Taken {text}." if parts[0] else text


def _facts(metrics: Mapping[str, Any], checks: Sequence[str]) -> tuple[Fact, ...]:
    labels = methods_of(metrics)
    controls = sum(is_control(metrics, label) for label in labels)
    counts = (metrics.get("forwards") or {}).values()
    forwards = sum(count for count in counts if isinstance(count, int))
    listed = ", ".join(check_name(check) for check in checks)
    return (
        Fact("Metrics", str(len(metrics_in(metrics))), listed),
        Fact("Methods", str(len(labels) - controls), f"and {figures.counted(controls, 'control')}"),
        Fact("Images", str(len(metrics.get("targets") or [])), "explained for one class each"),
        Fact("Images through the model", figures.whole(forwards), "shared between the metrics"),
    )


def _unscored(metrics: Mapping[str, Any]) -> tuple[Unscored, ...]:
    """Why methods have no value on images, in the words of the run."""
    return tuple(
        Unscored(
            title(remark["method"]),
            str(remark["outcome"]),
            str(remark["reason"]),
            figures.counted(len(remark["images"]), "image"),
        )
        for remark in metrics.get("remarks") or []
    )
