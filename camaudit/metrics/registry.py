"""The registry of metrics over maps, and what every entry says of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.registry import Registry

__all__ = ["METRICS", "Direction", "MetricInfo", "Needs", "metric"]

Direction = Literal["higher", "lower", "none"]
Needs = Literal["maps", "masked", "curves", "regions", "imputed", "explainer", "methods"]


@dataclass(frozen=True)
class MetricInfo:
    """What a metric measures, how to read it and what it costs.

    check: the name under `--checks` that computes it. title: as in tables. unit: "%", "logit" or
    "" for a plain number. direction: whether "higher" or "lower" is better; "none" where neither
    is. low, high: the ends of its range, infinite where it has none. paper: its source with the
    equation. formula: one line. cost: passes of the model for each image and method beyond the
    capture of the image and the map. needs: what it is computed from: maps alone, masked images,
    insertion and deletion curves, labelled regions, imputed images, the explainer on other images,
    or several methods.
    """

    check: str
    title: str
    unit: str
    direction: Direction
    paper: str
    formula: str
    cost: str
    needs: Needs
    low: float = 0.0
    high: float = math.inf

    @property
    def widest(self) -> float:
        """The largest difference of two values, infinite where the range is."""
        return self.high - self.low


METRICS: Registry[Callable[..., Any], MetricInfo] = Registry(
    "metric", duplicate=DuplicateNameError, unknown=UnknownNameError
)

#: `@metric(name, MetricInfo(...))` registers a pure function, which stays as it is.
metric = METRICS.register
