"""The figures of the metric checks as results.json holds them: one cell a metric and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.metrics_figures import Metric, metric_of
from camaudit.report.names import title
from camaudit.report.plots import Style, style
from camaudit.report.sanity_figures import number_of
from camaudit.report.verdict import CONTROL

__all__ = [
    "WIN",
    "Cell",
    "cells_of",
    "is_control",
    "measured",
    "methods_of",
    "metrics_in",
    "missing_text",
    "rivals_of",
    "short_name",
    "styles_of",
]

WIN = "win"  # the one metric that is taken among groups of methods
_LONGEST = 16  # characters of a name beside a point


@dataclass(frozen=True)
class Cell:
    """One metric of one method: its mean over `n` images; `missing` counts others by reason."""

    metric: str
    method: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    missing: tuple[tuple[str, int], ...]
    rivals: int | None


def measured(metrics: Mapping[str, Any]) -> bool:
    """Whether results.json's part `metrics` holds any row."""
    return isinstance(metrics.get("rows"), (list, tuple)) and bool(metrics["rows"])


def methods_of(metrics: Mapping[str, Any]) -> list[str]:
    """Every method's label in the order of the run, controls last."""
    named = (metrics.get("settings") or {}).get("methods") or []
    labels = dict.fromkeys([*named, *(row["method"] for row in metrics["rows"])])
    return sorted(labels, key=lambda label: is_control(metrics, label))


def is_control(metrics: Mapping[str, Any], method: str) -> bool:
    """Whether the method is a control rather than one under audit."""
    return bool((metrics.get("families") or {}).get(method) == CONTROL)


def styles_of(metrics: Mapping[str, Any]) -> dict[str, Style]:
    """Colour, marker and dash of each method, the same in every plot."""
    return {label: style(number) for number, label in enumerate(methods_of(metrics))}


def short_name(method: str) -> str:
    """A method's title, cut where it is too long to stand beside a point.

    >>> short_name("gradcam"), short_name("scorecam(channel_softmax=false)")
    ('GradCAM', 'scorecam(channe…')
    """
    name = title(method)
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def metrics_in(metrics: Mapping[str, Any]) -> list[Metric]:
    """The metrics that have rows, those of a check together, checks in the order of the run."""
    found = dict.fromkeys(str(row["metric"]) for row in metrics["rows"])
    known = [name for name in dict(metrics.get("infos") or {}) if name in found]
    listed = [metric_of(metrics, name) for name in dict.fromkeys([*known, *found])]
    checks = [str(name) for name in (metrics.get("settings") or {}).get("checks") or []]
    checks += [metric.check for metric in listed if metric.check not in checks]
    return sorted(listed, key=lambda metric: (checks.index(metric.check), metric.name == WIN))


def cells_of(metrics: Mapping[str, Any], metric: str) -> dict[tuple[str, int | None], Cell]:
    """The cells of one metric by method and, of Win %, the number of the rivals' group."""
    found = {}
    for row in metrics["rows"]:
        if row["metric"] == metric:
            cell = _cell(row)
            found[cell.method, cell.rivals] = cell
    return found


def rivals_of(metrics: Mapping[str, Any]) -> dict[int, list[str]]:
    """The methods of each group that Win % is taken among."""
    groups: dict[int, list[str]] = {}
    for method in methods_of(metrics):
        for row in metrics["rows"]:
            if row["method"] == method and row.get("rivals") is not None:
                groups.setdefault(int(row["rivals"]), []).append(method)
    return dict(sorted(groups.items()))


def missing_text(missing: Sequence[tuple[str, int]]) -> str:
    """Images without a value by reason: `4 not run, 2 no labelled region`; empty without any."""
    return ", ".join(f"{figures.whole(number)} {reason}" for reason, number in missing)


def _cell(row: Mapping[str, Any]) -> Cell:
    mean = row["mean"]
    counts = row.get("missing") or {}
    return Cell(
        metric=row["metric"],
        method=row["method"],
        n=int(mean.get("n") or 0),
        mean=number_of(mean, "mean"),
        low=number_of(mean, "ci_low"),
        high=number_of(mean, "ci_high"),
        missing=tuple((name, count) for name, count in counts.items() if isinstance(count, int)),
        rivals=row.get("rivals"),
    )
