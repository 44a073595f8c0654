"""The page of learning curves: what is undefined is left out, and text stays text."""

from __future__ import annotations

from typing import Any

import pytest

from camaudit.report.curves import curves_view
from camaudit.report.html import render_curves


def history(epochs: int, *, top5: float | None = 0.9, name: str = "masked") -> dict[str, Any]:
    """What a run of `epochs` epochs writes."""
    entries = [
        {
            "epoch": number + 1, "lr": 0.1, "train_loss": 2.0 / (number + 1), "train_top1": 0.5,
            "train_top5": top5, "val_loss": 1.5, "val_top1": 0.25, "val_top5": top5, "leaks": 0,
            "seconds": 1.0,
        }
        for number in range(epochs)
    ]  # fmt: skip
    return {
        "format": "camaudit-training-1", "camaudit": "0.1.0", "notes": ["mind this"],
        "networks": {name: entries},
        "settings": {
            "data": {"name": "drawn"}, "seed": 3, "permute_labels": False, "classes": 4,
            "images": {"train": 20_000, "validation": 50}, "recipe": {"epochs": 90},
        },
    }  # fmt: skip


def test_every_figure_is_drawn_and_written() -> None:
    view = curves_view(history(3))
    assert [figure.title for figure in view.figures][:2] == [
        "Training loss", "Validation accuracy, top 1",
    ]  # fmt: skip
    assert view.facts[0].value == "25.0 %"
    assert view.facts[0].note == "after 3 epochs of 90"
    assert view.table.rows[1] == ("masked, 2", "1", "50.0 %", "1.5", "25.0 %", "90.0 %")
    loss = view.figures[0]
    assert len(loss.plot.curves[0].points) == 3
    assert loss.alternative == "masked: from 2 in the first epoch to 0.667 in epoch 3."
    page = render_curves(history(3))
    assert page.count('class="plot"') == 5
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page


def test_an_undefined_figure_has_no_plot() -> None:
    view = curves_view(history(2, top5=None))
    assert not any("top 5" in figure.title for figure in view.figures)
    assert view.table.rows[0][-1] == "undefined"


@pytest.mark.parametrize("epochs", [1, 90, 1000])
def test_any_number_of_epochs_ends_with_the_last(epochs: int) -> None:
    plot = curves_view(history(epochs)).figures[0].plot
    assert bool(plot.curves[0].points) == (epochs <= 30)
    assert plot.curves[0].path.count("L") < 401
    labels = [mark.label for mark in plot.x_marks if mark.label]
    assert labels
    assert len(labels) <= 10


def test_hostile_names_stay_text() -> None:
    hostile = history(2, name="</style><script>alert(1)</script>")
    hostile["settings"]["data"]["name"] = "<img src=x onerror=alert(1)>\x1b"
    page = render_curves(hostile)
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
