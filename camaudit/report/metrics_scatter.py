"""The view of dead-zone mass against the metrics: do they reward what no method may light?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from camaudit.report import figures
from camaudit.report.datatable import DataTable
from camaudit.report.metrics_cells import (
    Cell,
    cells_of,
    is_control,
    methods_of,
    metrics_in,
    short_name,
    styles_of,
)
from camaudit.report.metrics_figures import Metric, signed
from camaudit.report.metrics_plots import Dot, Scatter, scatter
from camaudit.report.names import title
from camaudit.report.plots import Style
from camaudit.types import Summary

__all__ = ["ScatterPanel", "ScatterView", "scatter_view", "tau_b"]

#: The metrics that read the model's confidence, and are trusted for it.
_TRUSTED = (
    "average-drop", "increase-in-confidence", "drop-in-logit", "adcc", "insertion-auc",
    "deletion-auc", "road",
)  # fmt: skip
_FEWEST = 3  # methods from which an order says anything at all


@dataclass(frozen=True)
class ScatterPanel:
    """One metric: the plot, the plot in words, and what the two orders have in common."""

    title: str
    plot: Scatter
    alternative: str
    caption: str
    tau: float | None


@dataclass(frozen=True)
class ScatterView:
    """A panel for each metric that has both, the key to the methods, and what to keep in mind."""

    panels: tuple[ScatterPanel, ...]
    key: tuple[tuple[Style, str, bool], ...]
    notes: tuple[str, ...]
    table: DataTable


def scatter_view(metrics: Mapping[str, Any], summary: Sequence[Summary]) -> ScatterView | None:
    """The scatter; None where no method has a dead-zone mass and a metric."""
    masses = {entry.method: entry for entry in summary if figures.defined(entry.mu_l1.mean)}
    found: dict[Metric, dict[str, Cell]] = {}
    for metric in metrics_in(metrics):
        cells = {
            method: cell
            for (method, _), cell in cells_of(metrics, metric.name).items()
            if metric.name in _TRUSTED and method in masses and cell.mean is not None
        }
        if cells:
            found[metric] = cells
    if not found:
        return None
    order = [one for one in methods_of(metrics) if any(one in cells for cells in found.values())]
    styles = styles_of(metrics)
    return ScatterView(
        panels=tuple(
            _panel(metrics, metric, [one for one in order if one in cells], cells, masses)
            for metric, cells in found.items()
        ),
        key=tuple((styles[one], title(one), is_control(metrics, one)) for one in order),
        notes=_notes(metrics, order),
        table=_table(found, order, masses),
    )


def tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's τ_b between two rows, in [−1, 1]; None where one of them is one tie.

    >>> tau_b([1, 2, 3], [1, 2, 3]), tau_b([1, 2, 3], [3, 1, 2]), tau_b([1, 1], [1, 2])
    (1.0, -0.3333333333333333, None)
    """
    agreeing = in_first = in_second = 0
    for (a, x), (b, y) in combinations(list(zip(first, second, strict=True)), 2):
        one, two = (a > b) - (a < b), (x > y) - (x < y)
        agreeing += one * two
        in_first += one != 0
        in_second += two != 0
    return agreeing / math.sqrt(in_first * in_second) if in_first and in_second else None


def _panel(
    metrics: Mapping[str, Any],
    metric: Metric,
    methods: Sequence[str],
    cells: Mapping[str, Cell],
    masses: Mapping[str, Summary],
) -> ScatterPanel:
    styles = styles_of(metrics)
    dots = [
        Dot(
            title(method), styles[method], _mass(masses[method]), _mean(cells[method]),
            is_control(metrics, method),
        )
        for method in methods
    ]  # fmt: skip
    plot = scatter(
        dots,
        titles=("dead-zone mass μ (L1)", metric.wish),
        shown=[short_name(method) for method in methods],
        least=metric.low,
    )
    audited = [method for method in methods if not is_control(metrics, method)]
    tau = _tau(metric, audited, cells, masses)
    told = "; ".join(
        f"{title(method)}: μ {figures.percent(masses[method].mu_l1.mean)}, "
        f"{metric.printed(cells[method].mean)}"
        for method in methods
    )
    return ScatterPanel(
        title=metric.head,
        plot=plot,
        alternative=f"Dead-zone mass against {metric.head}, {metric.wish}. {told}.",
        caption=_caption(tau, len(audited)),
        tau=tau,
    )


def _tau(
    metric: Metric, methods: Sequence[str], cells: Mapping[str, Cell], masses: Mapping[str, Summary]
) -> float | None:
    """τ_b between dead-zone mass and standing by the metric, controls aside."""
    if len(methods) < _FEWEST:
        return None
    x = [masses[method].mu_l1.mean or 0.0 for method in methods]
    return tau_b(x, [metric.sign * (cells[method].mean or 0.0) for method in methods])


def _mass(entry: Summary) -> tuple[float, float | None, float | None]:
    return entry.mu_l1.mean or 0.0, entry.mu_l1.ci_low, entry.mu_l1.ci_high


def _mean(cell: Cell) -> tuple[float, float | None, float | None]:
    return cell.mean or 0.0, cell.low, cell.high


def _chance(count: int) -> float:
    """The standard deviation of τ between two unrelated orders of `count` things without ties."""
    return math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))


def _caption(tau: float | None, count: int) -> str:
    """Kendall's τ_b with the number of methods, and what it means."""
    over = figures.counted(count, "method")
    if count < _FEWEST:
        return f"{over} without controls: too few for an order, so no τ_b."
    if tau is None:
        return f"τ_b is undefined over {over}: by one of the two, all are equal."
    chance = _chance(count)
    if abs(tau) <= chance:
        meaning = "no more than chance gives, so no sign that it rewards or punishes dead-zone mass"
    elif tau > 0:
        meaning = "methods that light the dead zone more tend to stand better: it rewards them"
    else:
        meaning = "methods that light the dead zone more tend to stand worse: it punishes them"
    weak = "; weak evidence" if chance < abs(tau) <= 2 * chance else ""
    return (
        f"τ_b = {signed(tau)} over {over} (chance alone: 0 ± {figures.quantity(chance, 2)}): "
        f"{meaning}{weak}."
    )


def _notes(metrics: Mapping[str, Any], order: Sequence[str]) -> tuple[str, ...]:
    count = sum(not is_control(metrics, method) for method in order)
    notes = [
        f"Few methods carry little: {figures.counted(count, 'method')}, many of them relatives, "
        "give no more than a description. τ_b compares the order by dead-zone mass with the order "
        "by the metric, better being higher; 0 ± s is its spread between unrelated orders. "
        "Controls are drawn and enter no τ_b."
    ]
    if metrics.get("on") == "model":
        notes.append(
            "The metrics were taken on the model as it is, μ on the walled model: the scatter "
            "compares methods across two networks, of which only one has a dead zone."
        )
    elif metrics.get("on") == "walled":
        notes.append("Both axes are of the walled model.")
    return tuple(notes)


def _table(
    found: Mapping[Metric, Mapping[str, Cell]],
    order: Sequence[str],
    masses: Mapping[str, Summary],
) -> DataTable:
    return DataTable(
        "Dead-zone mass and the metrics, means with their 95 % intervals",
        ("Method", "Dead-zone mass μ (L1)", *(metric.head for metric in found)),
        tuple(
            (
                title(method),
                f"{figures.percent(masses[method].mu_l1.mean)} "
                f"{figures.interval(masses[method].mu_l1)}".strip(),
                *(_cell(metric, cells.get(method)) for metric, cells in found.items()),
            )
            for method in order
        ),
    )


def _cell(metric: Metric, cell: Cell | None) -> str:
    if cell is None:
        return "no value"
    return f"{metric.printed(cell.mean)} {metric.bounds(cell.low, cell.high)}".strip()
