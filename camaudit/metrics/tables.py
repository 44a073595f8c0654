"""Values of methods on the same images as tables, checked: methods × images, NaN for undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camaudit.errors import UsageError
from camaudit.metrics.estimates import resamples_for
from camaudit.metrics.registry import Direction

__all__ = ["Values", "enough", "often_defined", "sign_of", "table_of", "tables_of"]

#: Of each method one value an image, None where it is undefined.
Values = Mapping[str, Sequence[float | None]]

Array = np.ndarray[Any, np.dtype[np.float64]]

_LEAST = 39  # resamples, with which ALPHA · (resamples + 1) is one


def table_of(values: Values, direction: Direction, *, metric: str = "") -> tuple[list[str], Array]:
    """The names of the methods, and methods × images with NaN for what is undefined."""
    of = f" of {metric}" if metric else ""
    if direction not in ("higher", "lower"):
        raise UsageError(
            f'expected the direction{of} to be "higher" or "lower", got {direction!r}: a figure '
            "that is good in neither direction cannot order methods"
        )
    lengths = {name: len(row) for name, row in values.items()}
    if not lengths or len(set(lengths.values())) > 1 or not min(lengths.values()):
        raise UsageError(
            f"expected values{of} of one or more methods on the same images, got {lengths}: give "
            "each method one value an image, None where it is undefined"
        )
    try:
        table = np.array(
            [[math.nan if x is None else float(x) for x in row] for row in values.values()]
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers or None as values{of}: {error}") from error
    if np.isinf(table).any():
        name = list(values)[int(np.isinf(table).any(axis=1).argmax())]
        raise UsageError(
            f"expected finite values{of} or None, got an infinite one of {name}: give None where "
            "a figure is undefined"
        )
    return list(values), table


def tables_of(
    values: Mapping[str, Values], directions: Mapping[str, Direction]
) -> tuple[dict[str, Array], list[str], list[str]]:
    """Of each metric methods × images, greater being better; the methods, and those left out."""
    if not values or set(values) - set(directions):
        raise UsageError(
            f"expected metrics with their directions, got values of {sorted(values)} and "
            f"directions of {sorted(directions)}: give one for each metric"
        )
    made = {name: table_of(one, directions[name], metric=name) for name, one in values.items()}
    sizes = {name: table.shape[1] for name, (_, table) in made.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(
            f"expected all metrics on the same images, got {sizes}: give each one value an image, "
            "None where it is undefined"
        )
    often = [
        {method for method, kept in zip(methods, often_defined(table), strict=True) if kept}
        for methods, table in made.values()
    ]
    known = list(dict.fromkeys(method for methods, _ in made.values() for method in methods))
    chosen = [method for method in known if all(method in one for one in often)]
    tables = {
        name: sign_of(directions[name]) * table[[methods.index(method) for method in chosen]]
        for name, (methods, table) in made.items()
    }
    return tables, chosen, [method for method in known if method not in chosen]


def often_defined(table: Array) -> list[bool]:
    """Which methods have a value on at least half of the images on which any has one."""
    defined = np.isfinite(table)
    often: list[bool] = (2 * defined.sum(axis=1) >= defined.any(axis=0).sum()).tolist()
    return often


def sign_of(direction: Direction) -> int:
    """1 where higher is better, −1 where lower is."""
    return 1 if direction == "higher" else -1


def enough(resamples: int | None, tests: int) -> int:
    """The resamples asked for, or else as many as so many tests need; UsageError for too few."""
    if resamples is None:
        return resamples_for(tests)
    if resamples < _LEAST:
        raise UsageError(f"expected {_LEAST} resamples or more, got {resamples}: ask for more")
    return resamples
