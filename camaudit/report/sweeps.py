"""The view of the sweeps: μ against one property of the network at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.datatable import DataTable, require_equal
from camaudit.report.names import title
from camaudit.report.plots import Interval, Plot, Series, Style, line_plot, style
from camaudit.types import Interval as Figure

__all__ = ["SweepView", "sweep_views"]


@dataclass(frozen=True)
class SweepView:
    """One sweep; `undefined` says which points have no figure."""

    title: str
    plot: Plot
    alternative: str
    table: DataTable
    undefined: tuple[str, ...]


def sweep_views(theory: Mapping[str, Any]) -> tuple[SweepView, ...]:
    """The sweeps in their order; a method has the same style in all of them.

    Raises
    ------
    AuditError
        if the lists of a sweep differ in length.
    """
    sweeps = [sweep for sweep in theory.get("sweeps") or [] if sweep["x"] and sweep["series"]]
    methods = dict.fromkeys(entry["method"] for sweep in sweeps for entry in sweep["series"])
    styles = {method: style(number) for number, method in enumerate(methods)}
    return tuple(_sweep(sweep, styles) for sweep in sweeps)


def _sweep(sweep: Mapping[str, Any], styles: Mapping[str, Style]) -> SweepView:
    _require_equal(sweep)
    x = sweep["x"]
    series = [Series("Uniform map", sweep["uniform"])]
    series += [
        Series(
            title(entry["method"]),
            entry["mean"],
            entry["ci_low"],
            entry["ci_high"],
            style=styles[entry["method"]],
            interval=Interval.WHISKERS,
        )
        for entry in sweep["series"]
    ]
    name = str(sweep["title"])
    plot = line_plot(x, series, titles=(name, "μ (L1)"), log=bool(sweep["log"]), shares=True)
    labels = _labels(x)
    return SweepView(
        title=name,
        plot=plot,
        alternative=_text(sweep, labels),
        table=_table(sweep, labels),
        undefined=tuple(_undefined(sweep, labels)),
    )


def _require_equal(sweep: Mapping[str, Any]) -> None:
    """One value for every x in each list."""
    lists = {"x": sweep["x"], "uniform": sweep["uniform"]} | {
        f"{entry['method']}.{key}": entry[key]
        for entry in sweep["series"]
        for key in ("mean", "ci_low", "ci_high", "n", "undefined")
    }
    require_equal(f"the sweep {sweep['name']!r}", lists)


def _labels(x: Sequence[float | str]) -> list[str]:
    return [value if isinstance(value, str) else figures.quantity(value, 4) for value in x]


def _text(sweep: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The plot in words: where every method begins and ends."""
    first, last = labels[0], labels[-1]
    parts = [
        f"{title(entry['method'])} {figures.percent(entry['mean'][0])} to "
        f"{figures.percent(entry['mean'][-1])}"
        for entry in sweep["series"]
    ]
    uniform = sweep["uniform"]
    flat = f"uniform map {figures.percent(uniform[0])} to {figures.percent(uniform[-1])}"
    return (
        f"Plot of the mean μ against {sweep['title']}, from {first} to {last}: "
        f"{'; '.join([*parts, flat])}."
    )


def _table(sweep: Mapping[str, Any], labels: Sequence[str]) -> DataTable:
    series = sweep["series"]
    return DataTable(
        f"Mean μ (L1) with its 95 % interval, by {sweep['title']}",
        (str(sweep["title"]), "Uniform map", *(title(entry["method"]) for entry in series)),
        tuple(
            (
                label,
                figures.percent(sweep["uniform"][number]),
                *(_cell(entry, number) for entry in series),
            )
            for number, label in enumerate(labels)
        ),
    )


def _cell(entry: Mapping[str, Any], number: int) -> str:
    """Mean, interval, and on how many maps, a line each; undefined maps are counted beside them."""
    low, high = entry["ci_low"][number], entry["ci_high"][number]
    mean, count, missing = entry["mean"][number], entry["n"][number], entry["undefined"][number]
    bounds = figures.interval(Figure(count, mean, low, high, None))
    counts = f"n = {figures.whole(count)}"
    if missing:
        counts += f", {figures.whole(missing)} undefined"
    return "\n".join(part for part in (figures.percent(mean), bounds, counts) if part)


def _undefined(sweep: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """The points that the plot cannot show."""
    return [
        f"{title(entry['method'])} has no defined figure at {figures.joined(missing)}."
        for entry in sweep["series"]
        if (
            missing := [
                label
                for label, mean in zip(labels, entry["mean"], strict=True)
                if not figures.defined(mean)
            ]
        )
    ]
