"""How the figures of the sanity checks are printed: similarities in [−1, 1], and relative rises.

As with shares, an exact zero, a value that merely rounds to zero, and an undefined figure never
look alike, and neither do 1 and a value that rounds to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from camaudit.report import figures

__all__ = ["ROUNDING", "bounds", "number_of", "printer", "rise", "similarity", "with_bounds"]

ROUNDING = 1e-12  # two maps that are equal compare as 1 up to this
_STEP = 0.001  # the last digit that is printed


def similarity(value: float | None) -> str:
    """A similarity, or a difference of two, with three digits.

    >>> similarity(0.0312), similarity(-1.0), similarity(0.0), similarity(2e-4), similarity(None)
    ('0.031', '−1', '0', '<0.001', 'undefined')
    >>> similarity(0.9997), similarity(1 - 1e-15)
    ('>0.999', '1')
    """
    if value is None or not math.isfinite(value):
        return figures.UNDEFINED
    size = abs(value)
    if size == 0 or abs(size - 1) <= ROUNDING:
        return f"{'−' if value < 0 else ''}{size:.0f}"
    if size < _STEP:
        return "<0.001" if value > 0 else ">−0.001"
    if 1 - _STEP / 2 <= size < 1:
        return ">0.999" if value > 0 else "<−0.999"
    return f"{value:.3f}".replace("-", "−")


def rise(value: float | None) -> str:
    """A relative change in per cent, always signed; a fall ends at −100 %, a rise nowhere.

    >>> rise(0.213), rise(-0.0003), rise(3.5), rise(0.0)
    ('+21.3 %', '>−0.1 %', '+350.0 %', '0 (exact)')
    """
    return figures.points(value).replace(" pp", " %")


def printer(figure: str) -> Callable[[float | None], str]:
    """How the values of a table's figure are printed."""
    return rise if figure == "complexity rise" else similarity


def bounds(value: Mapping[str, Any], shown: Callable[[float | None], str] = similarity) -> str:
    """The ends of an interval as results.json holds it, `[0.012, 0.051]`; empty without them.

    The unit stands once, at the end.

    >>> bounds({"ci_low": -0.01, "ci_high": 0.02}), bounds({"ci_low": None, "ci_high": None})
    ('[−0.010, 0.020]', '')
    """
    low, high = number_of(value, "ci_low"), number_of(value, "ci_high")
    if low is None or high is None:
        return ""
    text = f"[{shown(low)}, {shown(high)}]"
    return text.replace(" (exact)", "").replace(" %,", ",")


def with_bounds(value: Mapping[str, Any]) -> str:
    """A mean with its interval beneath it."""
    parts = (similarity(number_of(value, "mean")), bounds(value))
    return "\n".join(part for part in parts if part)


def number_of(value: Mapping[str, Any], name: str) -> float | None:
    """A finite number of `value`; None where it has none of that name."""
    found = value.get(name)
    if isinstance(found, (int, float)) and math.isfinite(found):
        return float(found)
    return None
