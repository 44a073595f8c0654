"""The figures behind a plot as a table of text, and the check that they belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.errors import AuditError

__all__ = ["DataTable", "require_equal"]


@dataclass(frozen=True)
class DataTable:
    """The figures behind a plot as text; the first column names the row, cells may have lines."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def require_equal(what: str, lists: Mapping[str, Sequence[Any]]) -> None:
    """Make sure that `lists` are of one length.

    Raises
    ------
    AuditError
        if they are not; the message names `what` and every list.
    """
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise AuditError(f"expected lists of one length in {what}, got {listed}")
