"""How a figure is printed: shares as percentages, differences as percentage points.

Three things must never look alike: an exact zero, a value that merely rounds to zero, and a
figure that is undefined. All functions here are pure and return plain text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from camaudit.types import Interval

__all__ = [
    "EXACT_ZERO",
    "UNDEFINED",
    "counted",
    "defined",
    "interval",
    "joined",
    "percent",
    "points",
    "points_interval",
    "quantity",
    "spread",
    "whole",
]

UNDEFINED = "undefined"
EXACT_ZERO = "0 (exact)"
_STEP = 0.001  # one decimal of a percentage
_ROUNDING = 1e-9  # a standard deviation below this is of equal values
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FIXED = (1e-4, 1e6)  # magnitudes that are printed without a power of ten


def defined(value: float | None) -> bool:
    """Whether `value` is a finite number."""
    return value is not None and math.isfinite(value)


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage with one decimal.

    >>> percent(0.3567), percent(0.0), percent(0.0003), percent(0.99996), percent(None)
    ('35.7 %', '0 (exact)', '<0.1 %', '>99.9 %', 'undefined')
    """
    if share is None or not math.isfinite(share):
        return UNDEFINED
    return EXACT_ZERO if share == 0 else f"{_number(share)} %"


def interval(value: Interval | None) -> str:
    """The bounds of a mean share, `[28.0–35.1 %]`; empty where there are none (n < 2)."""
    if value is None or value.ci_low is None or value.ci_high is None:
        return ""
    if not (math.isfinite(value.ci_low) and math.isfinite(value.ci_high)):
        return ""
    return f"[{_number(value.ci_low)}–{_number(value.ci_high)} %]"


def spread(value: Interval) -> str:
    """A mean share with its sample standard deviation, as a paper's table has it.

    Equal values have none: the deviation that summing them leaves is rounding.

    >>> spread(Interval(40, 0.169, None, None, 0.0712)), spread(Interval(1, 0.2, None, None, None))
    ('16.9 ± 7.1 %', '20.0 %')
    """
    if value.mean is None or not math.isfinite(value.mean):
        return UNDEFINED
    if value.std is None or not math.isfinite(value.std) or value.std < _ROUNDING:
        return percent(value.mean)
    return f"{_number(value.mean)} ± {_number(value.std)} %"


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points, always signed.

    >>> points(0.0213), points(-0.104), points(0.0), points(-0.0002), points(None)
    ('+2.1 pp', '−10.4 pp', '0 (exact)', '>−0.1 pp', 'undefined')
    """
    if difference is None or not math.isfinite(difference):
        return UNDEFINED
    return EXACT_ZERO if difference == 0 else f"{_signed(difference)} pp"


def points_interval(value: Interval | None) -> str:
    """The bounds of a mean difference, `[−1.2 to +4.0 pp]`; empty where there are none."""
    if value is None or value.ci_low is None or value.ci_high is None:
        return ""
    if not (math.isfinite(value.ci_low) and math.isfinite(value.ci_high)):
        return ""
    return f"[{_signed(value.ci_low)} to {_signed(value.ci_high)} pp]"


def quantity(value: float | None, digits: int = 3) -> str:
    """A number of any magnitude with `digits` significant digits.

    >>> quantity(0.08312), quantity(20000.0), quantity(-3.14e-16), quantity(0.0), quantity(None)
    ('0.0831', '20\u202f000', '−3.14 × 10⁻¹⁶', '0', 'undefined')
    """
    if value is None or not math.isfinite(value):
        return UNDEFINED
    if value == 0:
        return "0"
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    size = float(f"{mantissa}e{exponent}")
    if _FIXED[0] <= size < _FIXED[1]:
        text = f"{size:,.{max(digits - 1 - int(exponent), 0)}f}".replace(",", "\u202f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
        text = power if mantissa == "1" else f"{mantissa} × {power}"
    return f"−{text}" if value < 0 else text


def whole(number: int) -> str:
    """A count with its thousands apart from 10 000 on.

    >>> whole(9999), whole(20000)
    ('9999', '20\u202f000')
    """
    return f"{number:,}".replace(",", "\u202f") if abs(number) >= 10_000 else str(number)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 image`, `3 images`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def joined(names: Sequence[str], *, limit: int = 6) -> str:
    """Names in a sentence; beyond `limit` the rest is counted.

    >>> joined(["A", "B", "C"]), joined(["A", "B", "C"], limit=2)
    ('A, B and C', 'A, B and 1 more')
    """
    shown = list(names[:limit])
    if len(names) > limit:
        shown.append(f"{len(names) - limit} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _number(share: float) -> str:
    """The digits of a percentage, honest at both ends of the scale."""
    if share == 0:
        return "0"
    if 0 < share < _STEP:
        return "<0.1"
    if 1 - _STEP / 2 <= share < 1:
        return ">99.9"
    return f"{100 * share:.1f}"


def _signed(difference: float) -> str:
    """The digits of a difference with its sign; a true minus, never a hyphen."""
    if difference == 0:
        return "0"
    if abs(difference) < _STEP:
        return "<+0.1" if difference > 0 else ">−0.1"
    return f"{100 * difference:+.1f}".replace("-", "−")
