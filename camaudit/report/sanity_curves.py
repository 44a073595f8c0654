"""The view of the cascades: similarity to the trained model's map, step by step.

Small multiples for every check, order and similarity, one panel a method. Nothing is computed
here but the means of single seeds; means, intervals and nulls are those of results.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.datatable import DataTable
from camaudit.report.names import order_title, similarity_title, title
from camaudit.report.plots import Interval, Plot, Series, Style, line_plot
from camaudit.report.sanity_cells import UNCHANGED, CurveCells, Reasons, counts_text, curve_cells
from camaudit.report.sanity_figures import bounds, number_of, similarity, with_bounds
from camaudit.report.sanity_steps import Cascade, cascades, stretches
from camaudit.report.verdict import CONTROL

__all__ = ["CascadeView", "Measure", "Panel", "cascade_views"]

_MEAN = Style(0, "disc", 0)
_CONTROL = Style(4, "disc", 0)
_SEED = Style(4, "disc", 0)
_START = Style(4, "diamond", 0)
_UNCHANGED = Style(1, "ring", 0)
_LOWEST = (0.0, -0.25, -0.5, -1.0)  # where the axis of SSIM may begin
_MOST_MARKED = 30  # steps up to which each has a marker
_TRAINED = "trained"


@dataclass(frozen=True)
class Panel:
    """One method's plot; `notes` say which steps have no score."""

    method: str
    control: bool
    plot: Plot
    alternative: str
    last: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """All methods under one similarity: panels, their last steps, and every step."""

    title: str
    panels: tuple[Panel, ...]
    last: DataTable
    steps: DataTable


@dataclass(frozen=True)
class CascadeView:
    """One order of one check; `target` says where the target layer stands, empty if unknown."""

    order: str
    title: str
    lead: str
    target: str
    above: bool
    start: bool
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class _Found:
    """One method's curve with its effects, one a step."""

    method: str
    control: bool
    cells: CurveCells
    effects: tuple[Mapping[str, Any], ...]

    def mean(self, step: int, part: str = "similarity") -> float | None:
        return number_of(self.part(step, part), "mean")

    def part(self, step: int, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.effects[step].get(name) or {}
        return found


def cascade_views(
    sanity: Mapping[str, Any], check: str, reasons: Reasons
) -> tuple[CascadeView, ...]:
    """The orders of one check in the order of the run.

    Raises
    ------
    AuditError
        if a curve has another number of steps than its order.
    """
    return tuple(
        _view(sanity, check, cascade, reasons)
        for cascade in cascades(sanity, check).values()
        if cascade.layers
    )


def _view(sanity: Mapping[str, Any], check: str, cascade: Cascade, reasons: Reasons) -> CascadeView:
    effects = {
        (entry["method"], entry["figure"], entry["step"]): entry
        for entry in sanity.get("effects") or []
        if (entry["check"], entry["order"]) == (check, cascade.order)
    }
    families = sanity.get("families") or {}
    found: dict[str, list[_Found]] = {}
    for curve in sanity.get("curves") or []:
        if (curve["check"], curve["order"]) == (check, cascade.order):
            name, method = curve["similarity"], curve["method"]
            cells = curve_cells(curve, reasons, steps=len(cascade.layers))
            steps = range(1, len(cascade.layers) + 1)
            own = tuple(effects.get((method, name, step), {}) for step in steps)
            control = families.get(method) == CONTROL
            found.setdefault(name, []).append(_Found(method, control, cells, own))
    return CascadeView(
        order=cascade.order,
        title=order_title(cascade.order),
        lead=cascade.lead,
        target=cascade.target_text,
        above=any(cascade.above),
        start=cascade.cumulative,
        measures=tuple(
            _measure(name, sorted(methods, key=lambda one: one.control), cascade)
            for name, methods in found.items()
        ),
    )


def _measure(name: str, methods: Sequence[_Found], cascade: Cascade) -> Measure:
    shown = similarity_title(name)
    scale = _scale(name, methods)
    panels = tuple(_panel(shown, found, cascade, scale) for found in methods)
    return Measure(shown, panels, _last_table(shown, methods, cascade),
                   _step_table(shown, methods, cascade))  # fmt: skip


def _panel(shown: str, found: _Found, cascade: Cascade, scale: tuple[float, float]) -> Panel:
    steps = range(len(cascade.layers))
    names = ([_TRAINED] if cascade.cumulative else []) + list(cascade.layers)
    flags = ([any(cascade.above)] if cascade.cumulative else []) + list(cascade.above)
    null = found.part(steps[-1], "null")
    ends = (number_of(null, end) for end in ("mean", "ci_low", "ci_high"))
    mean, low, high = ends
    plot = line_plot(
        list(range(len(names))),
        _series(found, cascade),
        titles=(cascade.x_title, shown),
        columns=flags,
        names=names,
        scale=scale,
        level=(mean, low, high),
        edge=None if cascade.target is None else cascade.target + cascade.cumulative,
    )
    method = title(found.method)
    return Panel(
        method=method,
        control=found.control,
        plot=plot,
        alternative=_text(shown, method, found, cascade),
        last=_last(found),
        notes=tuple(_notes(found, cascade)),
    )


def _series(found: _Found, cascade: Cascade) -> list[Series]:
    """Single seeds behind, the mean with its band, then the marks that are no scores."""
    steps = range(len(cascade.layers))
    start: list[float | None] = [1.0] if cascade.cumulative else []
    first: list[float | None] = [None] * len(start)
    style = _CONTROL if found.control else _MEAN
    seeds = found.cells.seeds if len(found.cells.seeds) > 1 else ()
    means = [found.mean(step) for step in steps]
    low, high = (
        [number_of(found.part(step, "similarity"), end) for step in steps]
        for end in ("ci_low", "ci_high")
    )
    same = [1.0 if found.cells.outcome(step) == UNCHANGED else None for step in steps]
    marked = len(steps) <= _MOST_MARKED
    return [
        *(
            Series("one seed", [*start, *values], style=_SEED, points=False, faint=True)
            for values in seeds
        ),
        Series(
            "mean over seeds and images", [*start, *means], [*start, *low], [*start, *high],
            style=style, interval=Interval.BAND, points=marked or len(steps) == 1,
        ),
        Series("trained", [*start, *[None for _ in steps]], style=_START, line=False),
        Series(UNCHANGED, [*first, *same], style=_UNCHANGED, line=False),
    ]  # fmt: skip


def _scale(name: str, methods: Sequence[_Found]) -> tuple[float, float]:
    """The y axis that all panels share: −1 to 1, for SSIM from 0 or from what lies below it."""
    if name != "ssim":
        return -1.0, 1.0
    numbers = [
        value
        for found in methods
        for step in range(len(found.effects))
        for part in ("similarity", "null")
        for end in ("mean", "ci_low")
        if (value := number_of(found.part(step, part), end)) is not None
    ]
    numbers += [
        value
        for found in methods
        for seed in found.cells.seeds
        for value in seed
        if value is not None
    ]
    least = min(numbers, default=0.0)
    return next((low for low in _LOWEST if low <= least), -1.0), 1.0


def _last(found: _Found) -> str:
    """The similarity at the last step in words."""
    if not found.effects:
        return figures.UNDEFINED
    last = len(found.effects) - 1
    reason = found.cells.outcome(last)
    if reason is not None:
        return reason
    part = found.part(last, "similarity")
    return f"{similarity(found.mean(last))} {bounds(part)}".strip()


def _notes(found: _Found, cascade: Cascade) -> list[str]:
    """Which steps have no score, and which have one on some images only."""
    whole: dict[str, list[int]] = {}
    partly: dict[str, list[int]] = {}
    for step, missing in enumerate(found.cells.missing):
        for outcome in missing:
            reason = found.cells.outcome(step)
            (whole if outcome == reason else partly).setdefault(outcome, []).append(step + 1)
    notes = [f"{stretches(steps)}: {outcome}." for outcome, steps in whole.items()]
    some = [
        f"{stretches(steps)}: {outcome} in some cells, which the mean leaves out."
        for outcome, steps in partly.items()
    ]
    null = found.mean(len(cascade.layers) - 1, "null")
    return notes + some + ([] if null is not None else ["The null is undefined."])


def _text(shown: str, method: str, found: _Found, cascade: Cascade) -> str:
    """The plot in words."""
    last = len(cascade.layers) - 1
    middle = last // 2
    null = found.part(last, "null")
    parts = [
        f"after step {step + 1} of {last + 1} "
        f"{found.cells.outcome(step) or similarity(found.mean(step))}"
        for step in dict.fromkeys((0, middle, last))
    ]
    parts.append(f"null {similarity(number_of(null, 'mean'))} {bounds(null)}".strip())
    return (
        f"{method}: {shown} between the maps of the trained and the randomised model, "
        f"{cascade.title.lower()}; {'; '.join(parts)}. {' '.join(_notes(found, cascade))}"
    ).strip()


def _last_table(shown: str, methods: Sequence[_Found], cascade: Cascade) -> DataTable:
    """The last step of every method."""
    layer = cascade.layers[-1]
    return DataTable(
        f"{shown} at the last step ({layer}), {cascade.title.lower()}: mean over seeds and images "
        "with its 95 % interval",
        ("Method", "Similarity", "Null", "Distance from the null", "n", "No score, all steps"),
        tuple(_last_row(found) for found in methods),
    )


def _last_row(found: _Found) -> tuple[str, ...]:
    last = len(found.effects) - 1
    part = found.part(last, "similarity")
    reason = found.cells.outcome(last)
    return (
        title(found.method),
        reason or with_bounds(part),
        with_bounds(found.part(last, "null")),
        "no score" if reason else with_bounds(found.part(last, "distance")),
        figures.whole(int(part.get("n") or 0)),
        counts_text(found.cells.total) or "none",
    )


def _step_table(shown: str, methods: Sequence[_Found], cascade: Cascade) -> DataTable:
    """Every step of every method."""
    after = " (after the target layer)"
    return DataTable(
        f"{shown} at every step, {cascade.title.lower()}",
        ("Step and layer", *(title(found.method) for found in methods)),
        tuple(
            (
                f"{step + 1}. {layer}{after if cascade.above[step] else ''}",
                *(_step_cell(found, step) for found in methods),
            )
            for step, layer in enumerate(cascade.layers)
        ),
    )


def _step_cell(found: _Found, step: int) -> str:
    reason = found.cells.outcome(step)
    if reason is not None:
        return reason
    missing = counts_text(found.cells.missing[step])
    text = with_bounds(found.part(step, "similarity"))
    return f"{text}\nand {missing}" if missing else text
