"""The view of insertion and deletion: mean curves of all methods, and those of single images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.datatable import DataTable
from camaudit.report.metrics_cells import cells_of, methods_of, styles_of
from camaudit.report.metrics_figures import Metric, metric_of
from camaudit.report.metrics_plots import share_curves
from camaudit.report.names import title
from camaudit.report.plots import Plot

__all__ = ["CurvesView", "ImageCurves", "StepPlot", "curves_view"]

_METRICS = ("insertion-auc", "deletion-auc")
_TITLES = {"insertion-auc": "Insertion", "deletion-auc": "Deletion"}
_X = {
    "insertion-auc": "share of the steps: pixels appear",
    "deletion-auc": "share of the steps: pixels are deleted",
}
_Y = "probability of the class"
_TENTHS = 10
_MOST = 113  # points that a mean curve is drawn by
_MOST_OF_IMAGE = 57  # and one of a single image

#: Of each method its curve, by label.
_Curves = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class StepPlot:
    """The curves of one metric with the plot in words and, every tenth, as a table."""

    title: str
    plot: Plot
    alternative: str
    table: DataTable


@dataclass(frozen=True)
class ImageCurves:
    """The curves of one image."""

    title: str
    note: str
    plots: tuple[StepPlot, ...]


@dataclass(frozen=True)
class CurvesView:
    """Mean curves, their areas with the share of ties, and the curves of the first images."""

    plots: tuple[StepPlot, ...]
    areas: DataTable
    notes: tuple[str, ...]
    images: tuple[ImageCurves, ...]


def curves_view(
    metrics: Mapping[str, Any], images: Sequence[Mapping[str, Any]]
) -> CurvesView | None:
    """The curves; None where there are none. `images` are those of the provenance, in order."""
    curves = _by_metric(metrics)
    if not curves:
        return None
    methods = [
        method for method in methods_of(metrics) if any(method in own for own in curves.values())
    ]
    return CurvesView(
        plots=tuple(_mean_plot(metrics, name, own) for name, own in curves.items()),
        areas=_areas(metrics, curves, methods),
        notes=_notes(curves),
        images=_image_curves(metrics, curves, images),
    )


def _by_metric(metrics: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The entries of `curves` by metric and method, in the order of the page."""
    order = methods_of(metrics)
    entries = sorted(metrics.get("curves") or [], key=lambda entry: order.index(entry["method"]))
    found = {
        name: {one["method"]: one for one in entries if one["metric"] == name and one["values"]}
        for name in _METRICS
    }
    return {name: own for name, own in found.items() if own}


def _mean_plot(
    metrics: Mapping[str, Any], name: str, own: Mapping[str, Mapping[str, Any]]
) -> StepPlot:
    counts = {entry["n"] for entry in own.values()}
    several = len(counts) > 1
    of = "images" if several else figures.counted(next(iter(counts)), "image")
    cells = cells_of(metrics, name)
    labels = {}
    for method, entry in own.items():
        cell = cells.get((method, None))
        area = "" if cell is None or cell.mean is None else f", {figures.quantity(cell.mean)}"
        over = f" (n = {entry['n']})" if several else ""
        labels[method] = f"{title(method)}{area}{over}"
    values = {method: entry["values"] for method, entry in own.items()}
    metric = metric_of(metrics, name)
    caption = f"{_TITLES[name]}, mean over {of}"
    return _plot(metrics, metric, values, labels, caption, most=_MOST)


def _plot(
    metrics: Mapping[str, Any],
    metric: Metric,
    values: _Curves,
    labels: Mapping[str, str],
    caption: str,
    *,
    most: int,
) -> StepPlot:
    styles = styles_of(metrics)
    plot = share_curves(
        [(labels[method], styles[method], row) for method, row in values.items()],
        titles=(_X[metric.name], _Y),
        most=most,
    )
    told = "; ".join(
        f"{title(method)} from {_percent(row[0])} over {_percent(row[len(row) // 2])} halfway "
        f"to {_percent(row[-1])}"
        for method, row in values.items()
    )
    return StepPlot(
        title=f"{_TITLES[metric.name]} {metric.arrow}",
        plot=plot,
        alternative=f"{caption}: {_Y}, {metric.wish} on the whole. {told}.",
        table=_tenths(f"{caption}: {_Y} at every tenth of the steps", values),
    )


def _percent(value: float) -> str:
    return figures.percent(value).replace(" (exact)", " %")


def _tenths(caption: str, values: _Curves) -> DataTable:
    """The curves at every tenth of the steps; the others are in results.json."""
    return DataTable(
        caption,
        ("Share of the steps", *(title(method) for method in values)),
        tuple(
            (
                f"{100 * part // _TENTHS} %",
                *(_percent(row[round(part * (len(row) - 1) / _TENTHS)]) for row in values.values()),
            )
            for part in range(_TENTHS + 1)
        ),
    )


def _areas(
    metrics: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Mapping[str, Any]]],
    methods: Sequence[str],
) -> DataTable:
    """The areas beneath the curves, with the images and the share of tied pixels."""
    known = {name: (metric_of(metrics, name), cells_of(metrics, name)) for name in curves}
    rows = []
    for method in methods:
        cells = []
        for name, (metric, found) in known.items():
            cell = found.get((method, None))
            mean = "no value" if cell is None or cell.mean is None else metric.printed(cell.mean)
            ends = "" if cell is None else metric.bounds(cell.low, cell.high)
            cells.append(f"{mean} {ends}".strip())
            cells.append(str(curves[name].get(method, {}).get("n", 0)))
        rows.append((title(method), *cells, _tie_text(_tied(curves, method))))
    heads = [part for metric, _ in known.values() for part in (metric.head, "n")]
    return DataTable(
        "Areas beneath the curves with their 95 % intervals, and pixels whose order was drawn",
        ("Method", *heads, "Tied pixels"),
        tuple(rows),
    )


def _tied(curves: Mapping[str, Mapping[str, Mapping[str, Any]]], method: str) -> float | None:
    """The mean share of pixels that share their value; both metrics have the same order."""
    shares = [own[method].get("tied") for own in curves.values() if method in own]
    return next((share for share in shares if isinstance(share, (int, float))), None)


def _tie_text(share: float | None) -> str:
    return figures.UNDEFINED if share is None else figures.percent(share)


def _notes(curves: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    """What the curves hide: ties, and means over different images."""
    methods = dict.fromkeys(method for own in curves.values() for method in own)
    shares = {method: share for method in methods if (share := _tied(curves, method)) is not None}
    notes = []
    if shares and max(shares.values()) > 0:
        worst = max(shares, key=lambda method: shares[method])
        notes.append(
            "Pixels with the same value have no order of their own; theirs is drawn, the same for "
            f"every method and image. At most, with {title(worst)}, these are "
            f"{figures.percent(shares[worst])} of the pixels."
        )
    if any(len({entry["n"] for entry in own.values()}) > 1 for own in curves.values()):
        notes.append(
            "The methods' means are over different numbers of images; the paired comparison is "
            "over the images that two methods share."
        )
    return tuple(notes)


def _image_curves(
    metrics: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Mapping[str, Any]]],
    images: Sequence[Mapping[str, Any]],
) -> tuple[ImageCurves, ...]:
    """The images that have curves of their own, in order."""
    places = sorted(
        {
            int(place)
            for own in curves.values()
            for entry in own.values()
            for place in entry.get("images") or {}
            if str(place).isdecimal()
        }
    )
    return tuple(_image(metrics, curves, images, place) for place in places)


def _image(
    metrics: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Mapping[str, Any]]],
    images: Sequence[Mapping[str, Any]],
    place: int,
) -> ImageCurves:
    name = str(images[place].get("id") or "") if place < len(images) else ""
    shown = name or f"Image {place + 1}"
    plots = []
    for metric, own in curves.items():
        values = {
            method: entry["images"][str(place)]
            for method, entry in own.items()
            if (entry.get("images") or {}).get(str(place))
        }
        if values:
            labels = {method: title(method) for method in values}
            caption = f"{_TITLES[metric]} on {shown}"
            found = metric_of(metrics, metric)
            plots.append(_plot(metrics, found, values, labels, caption, most=_MOST_OF_IMAGE))
    return ImageCurves(shown, _image_note(metrics, place), tuple(plots))


def _image_note(metrics: Mapping[str, Any], place: int) -> str:
    """The class that is explained and how probable the model finds it."""
    targets, shares = metrics.get("targets") or [], metrics.get("probabilities") or []
    target = targets[place] if place < len(targets) else None
    share = shares[place] if place < len(shares) else None
    if target is None:
        return ""
    return f"class {target}, probability of the whole image {figures.percent(share)}"
