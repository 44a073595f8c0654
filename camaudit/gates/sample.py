"""What a run says of one figure of one explainer, as a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from camaudit.gates.records import image_keys
from camaudit.gates.text import without_trace
from camaudit.gates.verdict import Decision

__all__ = [
    "MALFORMED",
    "Array",
    "Results",
    "Sample",
    "Take",
    "checked",
    "judged",
    "malformed",
    "number",
    "stopped",
]

Array = np.ndarray[Any, np.dtype[np.float64]]
Results = Mapping[str, Any]  #: results.json as an object

_APART = {"not applicable", "unchanged by construction"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What a run says of one figure of one explainer.

    values: rows × images, NaN where undefined; one row unless random models are crossed with the
    images, whose seeds `rows` then names. images: the images' ids, and keys: what makes each the
    same image in another run. count: of a figure that is a count, in place of values. context:
    what must be the same in two samples that are compared. state: ERROR, NOT_APPLICABLE,
    DEGENERATE or INCONCLUSIVE where nothing can be decided on it, with its reason. undefined:
    cells without a value. remark: what a reader should know besides.
    """

    values: Array | None = None
    images: tuple[str, ...] = ()
    keys: tuple[tuple[str, str | None], ...] = ()
    rows: tuple[str, ...] = ("",)
    count: float | None = None
    context: dict[str, Any] = field(default_factory=dict)
    state: Decision | None = None
    reason: str = ""
    undefined: int = 0
    remark: str = ""

    @property
    def crossed(self) -> bool:
        """Whether random models are crossed with the images."""
        return len(self.rows) > 1


Take = Callable[[Results, str], Sample]  #: takes a figure of an explainer from results


def stopped(state: Decision, reason: str) -> Sample:
    """A sample on which nothing can be decided; of a traceback in the reason its end is kept."""
    return Sample(state=state, reason=without_trace(reason))


#: What reading a results.json raises that is not as its schema has it.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError,
)  # fmt: skip


def malformed(error: Exception) -> str:
    """What to say of one of :data:`MALFORMED`."""
    return (
        f"results.json is not as its schema has it ({type(error).__name__}: {error}): run the "
        "audit again"
    )


def number(value: Any) -> bool:
    """Whether `value` is a finite number of JSON, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def checked(value: Any) -> float:
    """`value` as a float; raises ValueError for anything but a finite number."""
    if not number(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def judged(
    results: Results,
    table: Array,
    images: list[str],
    kinds: set[str],
    *,
    context: dict[str, Any],
    rows: tuple[str, ...] = ("",),
    remark: str = "",
) -> Sample:
    """A sample of `table`, in a state of its own where more than half of it is undefined.

    `kinds`: what the cells without a value are, as the records name it.
    """
    keys = image_keys(results)
    undefined = int(np.isnan(table).sum())
    state, reason = None, ""
    if not table.size or 2 * undefined > table.size:
        apart = bool(kinds) and kinds <= _APART
        state = Decision.NOT_APPLICABLE if apart else Decision.DEGENERATE
        what = " or ".join(sorted(kinds)) or "undefined"
        reason = f"{undefined} of {table.size} cases have no value ({what})"
    return Sample(
        values=table, images=tuple(images), keys=tuple(keys[image] for image in images), rows=rows,
        context=context, state=state, reason=reason, undefined=undefined, remark=remark,
    )  # fmt: skip
