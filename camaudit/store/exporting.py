"""The cells of a run as a table: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from camaudit.errors import MissingExtraError
from camaudit.files import replacing
from camaudit.store.cells import Cell
from camaudit.store.database import Store

__all__ = ["COLUMNS", "FORMATS", "export", "rows"]

FORMATS = ("csv", "jsonl", "parquet")
_FIGURES = ("mu_l1", "mu_l2", "mu_l1_minmax")
_AT_ONCE = 10_000  # rows in one group of a Parquet file

#: Of every row, with the type of its values. Undefined is null, or nothing in CSV.
COLUMNS: dict[str, type] = {
    "key": str, "check": str, "method": str, "image": str, "target": int, "status": str,
    **dict.fromkeys(_FIGURES, float),
    "unmasked_status": str, **dict.fromkeys((f"unmasked_{name}" for name in _FIGURES), float),
    "message": str, "metric": str, "value": float,
}  # fmt: skip


def rows(store: Store, run: int) -> Iterator[dict[str, Any]]:
    """The cells of a run as rows of :data:`COLUMNS`, one for each metric that a cell holds.

    Those that hold no figures are passed over.
    """
    for cell in store.members(run):
        if "figures" in cell.value:
            yield _row(cell, **_of_zone(cell.value))
            continue
        found = cell.value.get("found")
        if not isinstance(found, dict) or "metrics" not in found:
            continue
        messages = {name: reason for names, _, reason in found["missing"] for name in names}
        for metric, value in found["metrics"]:
            known = {"status": value} if isinstance(value, str) else {"value": float(value)}
            yield _row(cell, metric=metric, message=messages.get(metric), **known)
        if not found["metrics"]:
            for _, why, reason in found["missing"]:
                yield _row(cell, status=why, message=reason)


def _row(cell: Cell, **known: Any) -> dict[str, Any]:
    """A row of what is known of a cell; null for the rest."""
    of_cell = ("key", "check", "method", "image", "target", "status")
    return {**dict.fromkeys(COLUMNS), **{name: getattr(cell, name) for name in of_cell}, **known}


def _of_zone(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell of the check dead-zone holds."""
    figures, other = value["figures"], value.get("unmasked") or {}
    return {
        **{name: figures[name] for name in _FIGURES},
        "unmasked_status": other.get("status"),
        **{f"unmasked_{name}": other.get(name) for name in _FIGURES},
        "message": value.get("message"),
    }


def export(store: Store, run: int, path: Path, kind: str) -> int:
    """Write a run's rows to `path` as one of :data:`FORMATS`; how many there were.

    Memory does not grow with them. Raises :class:`MissingExtraError` where Parquet needs pyarrow,
    and :class:`camaudit.errors.OutputError` where the file cannot be written.
    """
    write = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[kind]
    with replacing(path) as stream:
        return write(rows(store, run), stream)


def _csv(found: Iterator[dict[str, Any]], stream: Any) -> int:
    text = io.TextIOWrapper(stream, "utf-8", newline="", write_through=True)
    table = csv.DictWriter(text, list(COLUMNS))
    table.writeheader()
    count = 0
    for row in found:
        table.writerow({name: _safe(value) for name, value in row.items()})
        count += 1
    text.detach()
    return count


def _safe(value: Any) -> Any:
    """Text as text: a spreadsheet would take what begins like a formula for one."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def _jsonl(found: Iterator[dict[str, Any]], stream: Any) -> int:
    count = 0
    for row in found:
        stream.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        count += 1
    return count


def _parquet(found: Iterator[dict[str, Any]], stream: Any) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            "Parquet needs pyarrow: pip install 'camaudit[parquet]', or export as csv or jsonl"
        ) from error
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    count = 0
    with parquet.ParquetWriter(stream, schema) as table:
        while group := list(itertools.islice(found, _AT_ONCE)):
            table.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count
