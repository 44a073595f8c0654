"""How metrics are named and printed: titles, arrows, units, ranges, means and differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.sanity_figures import number_of

__all__ = ["Metric", "check_name", "mappings", "metric_of", "signed"]

_ARROWS = {"higher": "↑", "lower": "↓"}
_WISHES = {"higher": "higher is better", "lower": "lower is better"}
_SHARE = "share"  # the unit of the dead-zone mass, which is printed in per cent

_CHECKS = {
    "confidence": "Confidence of the masked image",
    "adcc": "ADCC and its parts",
    "insertion-deletion": "Insertion and deletion",
    "localisation": "Localisation",
    "sparsity": "Sparsity",
    "road": "ROAD: remove and debias",
    "infidelity": "Infidelity",
    "sensitivity": "Sensitivity",
}
_DEAD_ZONE = {
    "mu_l1": "Dead-zone mass μ (L1)",
    "mu_l2": "Dead-zone mass μ (L2)",
}


@dataclass(frozen=True)
class Metric:
    """A metric as results.json describes it; an end of its range is None where it has none."""

    name: str
    check: str
    title: str
    unit: str
    direction: str
    paper: str
    formula: str
    cost: str
    low: float | None
    high: float | None

    @property
    def arrow(self) -> str:
        """The direction that is better as an arrow; empty where neither is."""
        return _ARROWS.get(self.direction, "")

    @property
    def wish(self) -> str:
        """The direction that is better, in words."""
        return _WISHES.get(self.direction, "neither direction is better")

    @property
    def sign(self) -> int:
        """1 where higher is better, −1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1}.get(self.direction, 0)

    @property
    def head(self) -> str:
        """Title, arrow and unit in one line."""
        unit = f"({self.unit})" if self.unit not in ("", _SHARE) else ""
        return " ".join(part for part in (self.title, self.arrow, unit) if part)

    @property
    def span(self) -> str:
        """The range of its values in words."""
        low, high = (
            None if end is None else figures.quantity(end) for end in (self.low, self.high)
        )
        unit = f" {self.unit}" if self.unit not in ("", _SHARE) else ""
        if low is not None and high is not None:
            return f"from {low} to {high}{unit}"
        if low is not None:
            return f"{low}{unit} or more"
        return "unbounded" if high is None else f"{high}{unit} or less"

    def printed(self, value: float | None) -> str:
        """A value without its unit, which stands in the head of its column; shares in per cent."""
        return figures.percent(value) if self.unit == _SHARE else figures.quantity(value)

    def bounds(self, low: float | None, high: float | None) -> str:
        """The ends of an interval; empty without them."""
        if low is None or high is None:
            return ""
        text = f"[{self.printed(low)}, {self.printed(high)}]"
        return text.replace(" (exact)", "").replace(" %,", ",")

    def difference(self, value: float | None) -> str:
        """A signed difference of two values with its unit."""
        if self.unit == _SHARE:
            return figures.points(value)
        unit = {"%": " pp"}.get(self.unit, f" {self.unit}" if self.unit else "")
        return signed(value) + (unit if figures.defined(value) else "")

    def difference_bounds(self, low: float | None, high: float | None) -> str:
        """The ends of a difference's interval; empty without them."""
        if low is None or high is None:
            return ""
        scale = 100 if self.unit == _SHARE else 1
        return f"[{signed(scale * low)}, {signed(scale * high)}]"


def signed(value: float | None) -> str:
    """A number of any magnitude, always signed; a true minus, never a hyphen.

    >>> signed(1.2351), signed(-0.5), signed(0.0), signed(None)
    ('+1.24', '−0.5', '0', 'undefined')
    """
    text = figures.quantity(value)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def check_name(check: str) -> str:
    """The usual name of a metric check; any other name as it is."""
    return _CHECKS.get(check, check)


def metric_of(metrics: Mapping[str, Any], name: str, direction: str = "none") -> Metric:
    """The metric of that name as `metrics` (results.json's) describes it.

    One that it does not describe goes by its name and the `direction` given; the dead-zone mass
    has a title of its own.
    """
    infos = dict(mappings(metrics.get("infos")))
    info = infos.get(name, {})
    dead = name in _DEAD_ZONE
    return Metric(
        name=name,
        check=str(info.get("check") or ""),
        title=str(info.get("title") or _DEAD_ZONE.get(name, name)),
        unit=_SHARE if dead else str(info.get("unit") or ""),
        direction=str(info.get("direction") or direction),
        paper=str(info.get("paper") or ""),
        formula=str(info.get("formula") or ""),
        cost=str(info.get("cost") or ""),
        low=0.0 if dead else number_of(info, "low"),
        high=1.0 if dead else number_of(info, "high"),
    )


def mappings(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of a JSON object that are objects themselves; none of anything else."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            if isinstance(entry, Mapping):
                yield name, entry
