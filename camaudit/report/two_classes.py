"""The table of images of two classes: maps of the class above the wall beside those behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camaudit.report import figures
from camaudit.report.names import title
from camaudit.report.table import STYLES, WIDE, literal, with_bounds
from camaudit.report.verdict import CONTROL
from camaudit.report.view import Figure
from camaudit.types import Interval, Results

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["TwoClassRow", "TwoClassView", "two_class_tables", "two_class_view"]

_TITLE = "μ (L1) of the class that the model sees, and of the one behind the wall"
_READING = (
    "The unseen class lies wholly behind the wall: the model has no evidence of it, so a map of it "
    "that lights the dead zone shows an object that the model cannot have used."
)


@dataclass(frozen=True)
class TwoClassRow:
    """A method: the share of both classes' maps in the dead zone, and the paired difference.

    `unmasked` is the unseen class's share without the wall; `undefined` counts maps without a
    figure, seen and unseen, and is empty where there are none.
    """

    name: str
    method: str
    control: bool
    seen: Figure
    unseen: Figure
    difference: Figure
    unmasked: Figure
    undefined: str


@dataclass(frozen=True)
class TwoClassView:
    """The whole table; `reading` says what it means, `top1` what the model makes of the images."""

    images: str
    reading: str
    top1: str
    rows: tuple[TwoClassRow, ...]


def two_class_view(results: Results) -> TwoClassView | None:
    """Methods by the share of the unseen class's maps, highest first, controls last.

    None where no image shows two classes.
    """
    found = results.targets
    if "methods" not in found:
        return None
    rows = [_row(entry) for entry in found["methods"]]
    top1 = found["top1"]
    return TwoClassView(
        images=figures.counted(found["images"], "image"),
        reading=_READING,
        top1=f"The walled model's highest logit is the seen class on {100 * top1['seen']:.1f} % "
        f"and the unseen one on {100 * top1['unseen']:.1f} % of them.",
        rows=tuple(sorted(rows, key=_order)),
    )


def two_class_tables(results: Results, *, width: int | None = None) -> list[Table]:
    """The table for a terminal; none where no image shows two classes."""
    from rich import box
    from rich.table import Table

    view = two_class_view(results)
    if view is None:
        return []
    wide = width is not None and width >= WIDE
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        title=literal(f"{_TITLE}; {view.images} of two classes"),
        title_justify="left",
        caption=literal(f"\n{view.reading} {view.top1}"),
        caption_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(literal("method"), min_width=8, overflow="fold", vertical="top")
    headings = ("seen", "unseen", "unseen − seen", "unseen,\nunmasked", "undefined")
    for heading in headings:
        table.add_column(literal(heading), justify="right", no_wrap=True)
    for row in view.rows:
        style = "" if row.control else STYLES[_style(row.unseen)]
        table.add_row(
            literal(row.name, "dim" if row.control else ""),
            with_bounds(row.seen, "", wide=wide),
            with_bounds(row.unseen, style, wide=wide),
            with_bounds(row.difference, "", wide=wide),
            literal(row.unmasked.text),
            literal(row.undefined or "0", "" if row.undefined else "dim"),
        )
    return [table]


def _row(entry: Mapping[str, Any]) -> TwoClassRow:
    undefined = entry["undefined"]
    unmasked = entry["unmasked"]
    counted = [f"{undefined[role]} {role}" for role in ("seen", "unseen") if undefined[role]]
    return TwoClassRow(
        name=entry["method"],
        method=title(entry["method"]),
        control=entry["family"] == CONTROL,
        seen=_share(entry["seen"]),
        unseen=_share(entry["unseen"]),
        difference=_points(entry["difference"]),
        unmasked=Figure("not run", "", None) if unmasked is None else _share(unmasked["unseen"]),
        undefined=", ".join(counted),
    )


def _share(value: Mapping[str, Any]) -> Figure:
    found = Interval(**value)
    return Figure(figures.percent(found.mean), figures.interval(found), found.mean)


def _points(value: Mapping[str, Any]) -> Figure:
    found = Interval(**value)
    return Figure(figures.points(found.mean), figures.points_interval(found), found.mean)


def _style(figure: Figure) -> str:
    if figure.value is None:
        return "undefined"
    return "lit" if figure.value > 0 else "zero"


def _order(row: TwoClassRow) -> tuple[bool, bool, float, str]:
    value = row.unseen.value
    return row.control, value is None, -(value or 0.0), row.method
