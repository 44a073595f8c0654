"""The view model of the learning curves: loss and accuracy of every epoch, as in the paper's
figure 5.

A pure function from `history.json` to frozen dataclasses; no template decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.datatable import DataTable
from camaudit.report.plots import Plot, Series, line_plot, style
from camaudit.report.view import Fact

__all__ = ["CurveFigure", "CurvesView", "curves_view"]

_MOST_MARKED = 30  # epochs up to which each has a marker
_MOST_DRAWN = 400  # epochs that a curve has; of more, every second, third … is drawn


@dataclass(frozen=True)
class CurveFigure:
    """A plot with its title and what it shows, in words."""

    title: str
    plot: Plot
    alternative: str


@dataclass(frozen=True)
class CurvesView:
    """Everything that the page says."""

    version: str
    heading: str
    warnings: tuple[str, ...]
    facts: tuple[Fact, ...]
    figures: tuple[CurveFigure, ...]
    table: DataTable


_FIGURES = (
    ("Training loss", "train_loss", "Training loss (augmented images)", False),
    ("Validation accuracy, top 1", "val_top1", "Share of validation images", True),
    ("Validation accuracy, top 5", "val_top5", "Share of validation images", True),
    ("Validation loss", "val_loss", "Validation loss", False),
    ("Training accuracy, top 1", "train_top1", "Share of training images (augmented)", True),
)
_COLUMNS = ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5")


def curves_view(history: Mapping[str, Any]) -> CurvesView:
    """The view model of `history.json`'s content."""
    networks: Mapping[str, Sequence[Mapping[str, Any]]] = history["networks"]
    settings = history["settings"]
    shown = [
        CurveFigure(title, _plot(networks, key, y_title, shares=shares), _said(networks, key))
        for title, key, y_title, shares in _FIGURES
        if any(epoch[key] is not None for epochs in networks.values() for epoch in epochs)
    ]
    return CurvesView(
        version=history["camaudit"],
        heading=f"{settings['data']['name']}, seed {settings['seed']}",
        warnings=_warnings(history),
        facts=_facts(networks, settings),
        figures=tuple(shown),
        table=_table(networks),
    )


def _plot(
    networks: Mapping[str, Sequence[Mapping[str, Any]]], key: str, y_title: str, *, shares: bool
) -> Plot:
    count = max(len(epochs) for epochs in networks.values())
    stride = -(-count // _MOST_DRAWN)
    places = list(range(count - 1, -1, -stride))[::-1]
    series = [
        Series(
            name,
            [epochs[place][key] if place < len(epochs) else None for place in places],
            style=style(number),
            points=len(places) <= _MOST_MARKED,
        )
        for number, (name, epochs) in enumerate(networks.items())
    ]
    x = [float(place + 1) for place in places]
    equal = [False] * len(x)  # columns of equal width, labelled at round numbers, none marked
    return line_plot(x, series, titles=("epoch", y_title), shares=shares, columns=equal)


def _said(networks: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> str:
    parts = [
        f"{name}: from {_figure(key, epochs[0][key])} in the first epoch to "
        f"{_figure(key, epochs[-1][key])} in epoch {epochs[-1]['epoch']}"
        for name, epochs in networks.items()
        if epochs
    ]
    return "; ".join(parts) + "."


def _figure(key: str, value: float | None) -> str:
    return figures.percent(value) if "top" in key else figures.quantity(value)


def _facts(
    networks: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, Any]
) -> tuple[Fact, ...]:
    facts = [
        Fact(
            f"Validation top 1, {name}",
            figures.percent(epochs[-1]["val_top1"]),
            f"after {figures.counted(len(epochs), 'epoch')} of {settings['recipe']['epochs']}",
        )
        for name, epochs in networks.items()
        if epochs
    ]
    images = settings["images"]
    return (
        *facts,
        Fact("Training images", figures.whole(images["train"]), f"{settings['classes']} classes"),
        Fact("Validation images", figures.whole(images["validation"]), "never trained on"),
    )


def _warnings(history: Mapping[str, Any]) -> tuple[str, ...]:
    permuted = (
        ("The training labels were permuted at random: nothing can be learnt of the classes.",)
        if history["settings"]["permute_labels"]
        else ()
    )
    return (*permuted, *history["notes"])


def _table(networks: Mapping[str, Sequence[Mapping[str, Any]]]) -> DataTable:
    names = {"train_loss": "training loss", "train_top1": "training top 1",
             "val_loss": "validation loss", "val_top1": "top 1", "val_top5": "top 5"}  # fmt: skip
    rows = [
        (f"{name}, {epoch['epoch']}", *(_figure(key, epoch[key]) for key in _COLUMNS))
        for name, epochs in networks.items()
        for epoch in epochs
    ]
    columns = ("network, epoch", *(names[key] for key in _COLUMNS))
    return DataTable("Every epoch of every network.", columns, tuple(rows))
