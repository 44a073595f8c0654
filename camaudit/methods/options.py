"""Checks of the options of methods: an error names the option, what it may be and what came."""

from __future__ import annotations

import math

from camaudit.errors import UsageError

__all__ = ["between", "count", "not_negative", "one_of", "positive"]


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise :class:`UsageError` unless `value` is among the `known` ones."""
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def count(name: str, value: int) -> None:
    """Raise :class:`UsageError` unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} must be an integer of at least 1; got {value!r}")


def positive(name: str, value: float) -> None:
    """Raise :class:`UsageError` unless `value` is a finite number above 0."""
    if not (_is_number(value) and 0 < value < math.inf):
        raise UsageError(f"{name} must be a finite number above 0; got {value!r}")


def not_negative(name: str, value: float) -> None:
    """Raise :class:`UsageError` unless `value` is a finite number of at least 0."""
    if not (_is_number(value) and 0 <= value < math.inf):
        raise UsageError(f"{name} must be a finite number of at least 0; got {value!r}")


def between(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    """Raise :class:`UsageError` unless `low ≤ value ≤ high`, `low < value` for `open_low`."""
    fits = _is_number(value) and low <= value <= high and not (open_low and value == low)
    if not fits:
        verge = "above" if open_low else "at least"
        raise UsageError(f"{name} must be {verge} {low:g} and at most {high:g}; got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
