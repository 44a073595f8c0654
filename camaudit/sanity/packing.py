"""What a journal keeps of a sanity check: cells and rows as JSON, maps as npz without pickles."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.rows import Cell, Row

__all__ = ["Cells", "cells_of_json", "json_of_cells", "json_of_rows", "maps_of", "packed"]

#: `[step or row][image][figure]`.
Cells = list[list[list[Cell]]]

_PLAIN = (torch.float16, torch.float32, torch.float64)  # what NumPy has too


def json_of_cells(cells: Cells) -> list[Any]:
    """A number where there is a value, else [outcome, reason]."""
    return [[[_plain(cell) for cell in row] for row in step] for step in cells]


def cells_of_json(values: Sequence[Any]) -> Cells:
    """What :func:`json_of_cells` wrote."""
    return [[[_cell(value) for value in row] for row in step] for step in values]


def _plain(cell: Cell) -> Any:
    value, outcome, reason = cell
    return [outcome.value, reason] if value is None else value


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        return None, Outcome(value[0]), value[1]
    return value, Outcome.SCORED, None


def json_of_rows(rows: Sequence[Row]) -> list[list[str | None]]:
    """[outcome, reason, excuse] of each; the maps are not among it."""
    return [[row.outcome.value, row.reason, row.excused] for row in rows]


def packed(maps: Mapping[str, Tensor | None]) -> bytes:
    """The maps (h×w) that are there, bit for bit, by their names."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = dict(
        _array(name, found) for name, found in maps.items() if found is not None
    )
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def maps_of(blob: bytes | None, device: torch.device) -> dict[str, Tensor]:
    """What :func:`packed` wrote, on a device."""
    if blob is None:
        return {}
    with np.load(io.BytesIO(blob), allow_pickle=False) as found:
        return dict(_tensor(name, found[name], device) for name in found.files)


def _array(name: str, saliency: Tensor) -> tuple[str, np.ndarray[Any, Any]]:
    values = saliency.detach().cpu().contiguous()
    if values.dtype in _PLAIN:
        return name, values.numpy()
    kind = str(values.dtype).removeprefix("torch.")
    return f"{name}@{kind}", values.view(torch.uint8).numpy()


def _tensor(name: str, values: np.ndarray[Any, Any], device: torch.device) -> tuple[str, Tensor]:
    name, _, kind = name.partition("@")
    found = torch.from_numpy(values)
    return name, (found.view(getattr(torch, kind)) if kind else found).to(device)
