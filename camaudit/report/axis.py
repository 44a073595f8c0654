"""The axis of the bars and the places on it; geometry without any drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from camaudit.report import figures
from camaudit.types import Summary

__all__ = ["Axis", "Bar", "Tick", "anchored", "axis", "bar", "share_scale"]

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_MAX_TICKS = 6
_EDGE = 18.0  # per cent of the axis near which a label is anchored inwards


@dataclass(frozen=True)
class Bar:
    """A bar on the axis, all in per cent of the axis' length; None where undefined."""

    mean: float | None
    low: float | None
    high: float | None
    uniform: float


@dataclass(frozen=True)
class Tick:
    """A mark on the axis with its label; `anchor` keeps the label inside (start, middle, end)."""

    position: float
    label: str
    anchor: str


@dataclass(frozen=True)
class Axis:
    """The axis of the bars, from 0 to `maximum` (a share), with a flat map's place on it."""

    maximum: float
    ticks: tuple[Tick, ...]
    uniform: Tick | None


def bar(entry: Summary, maximum: float) -> Bar:
    """The bar of one method on an axis from 0 to `maximum`."""

    def place(share: float | None) -> float | None:
        if share is None or not math.isfinite(share):
            return None
        return round(100 * min(max(share / maximum, 0.0), 1.0), 2)

    low, high = place(entry.mu_l1.ci_low), place(entry.mu_l1.ci_high)
    bounded = low is not None and high is not None
    return Bar(
        place(entry.mu_l1.mean),
        low if bounded else None,
        high if bounded else None,
        place(entry.uniform) or 0.0,
    )


def axis(summary: Sequence[Summary]) -> Axis:
    """A round maximum beyond every mean, interval and the uniform line; at most 1."""
    shares = [
        share
        for entry in summary
        for share in (entry.mu_l1.mean, entry.mu_l1.ci_high, entry.uniform)
        if share is not None and math.isfinite(share)
    ]
    maximum, marks = share_scale(shares)
    ticks = tuple(anchored(mark / maximum, f"{100 * mark:.0f} %") for mark in marks)
    if not summary:
        return Axis(maximum, ticks, None)
    uniform = summary[0].uniform
    label = f"uniform map {figures.percent(uniform)}"
    return Axis(maximum, ticks, anchored(uniform / maximum, label))


def share_scale(shares: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """A round maximum beyond all of `shares`, at most 1, and the marks from 0 on up to it."""
    reach = min(max([*shares, 0.01]) * 1.05, 1.0)
    step = next((step for step in _STEPS if reach / step <= _MAX_TICKS), _STEPS[-1])
    count = math.ceil(reach / step - 1e-9)
    maximum = min(count * step, 1.0)
    marks = (number * step for number in range(count + 1))
    return maximum, tuple(mark for mark in marks if mark <= maximum + 1e-9)


def anchored(position: float, label: str) -> Tick:
    """A tick at a share of the axis, its label kept inside."""
    place = round(100 * min(max(position, 0.0), 1.0), 2)
    anchor = "start" if place < _EDGE else "end" if place > 100 - _EDGE else "middle"
    return Tick(place, label, anchor)
