"""The table of method × library as GitHub markdown, and the list of what explains a difference."""

from __future__ import annotations

import math
import re

from camaudit.methods import method_names
from tests.parity.expectations import EXPECTATIONS, Expectation
from tests.parity.libraries import LIBRARIES

__all__ = ["BEGIN", "END", "block", "explanations", "without_figures"]

BEGIN, END = "<!-- parity:begin -->", "<!-- parity:end -->"


def block(*, measured: bool) -> str:
    """The table between its markers; `measured` runs everything and adds the differences."""
    rows = [["method", *LIBRARIES], ["---"] * (1 + len(LIBRARIES))]
    for method in method_names():
        cells = [_cell(method, library, measured) for library in LIBRARIES]
        if any(cell != "-" for cell in cells):
            rows.append([f"`{method}`", *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([BEGIN, *lines, END]) + "\n"


def without_figures(text: str) -> str:
    """A block without its measured differences, which depend on the machine."""
    return re.sub(r" \(max diff [^)]*\)", "", text)


def explanations() -> str:
    """What each explained difference is, which lines it hangs on, and whose formula is printed."""
    items = []
    for expected in EXPECTATIONS:
        reason = expected.reason
        if reason is None:
            continue
        items.append(
            f"- **`{expected.method}`, {expected.peer.owner} `{expected.peer.name}`: "
            f"{reason.title}.** {reason.text} Ours: `{reason.ours.where}`, "
            f"`{reason.ours.code}`. Theirs: `{reason.theirs.where}`, `{reason.theirs.code}`. "
            f"The paper's formula is {reason.paper}.{_figures(expected)}"
        )
    return "\n".join(items) + "\n"


def _cell(method: str, library: str, measured: bool) -> str:
    entries = [e for e in EXPECTATIONS if (e.method, e.peer.owner) == (method, library)]
    names = dict.fromkeys(entry.peer.name for entry in entries)
    parts = [
        f"`{name}`: "
        + ", ".join(_status(entry, measured) for entry in entries if entry.peer.name == name)
        for name in names
    ]
    return "; ".join(parts) or "-"


def _status(expected: Expectation, measured: bool) -> str:
    if expected.reason is not None:
        return f"explained: {expected.reason.title}"
    return f"equal (max diff {_short(expected.remaining())})" if measured else "equal"


def _figures(expected: Expectation) -> str:
    apart, remaining = expected.apart_by(), expected.remaining()
    changed = (
        f"as `{expected.changed}`" if isinstance(expected.changed, str) else "with that changed"
    )
    return f" Apart by {apart:.1g}; {changed}, by {_short(remaining)}."


def _short(figure: float) -> str:
    """`5e-8`, and `0` for nothing."""
    if figure == 0 or not math.isfinite(figure):
        return f"{figure:.0f}"
    mantissa, exponent = f"{figure:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
