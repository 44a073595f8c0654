"""Which cells a wall kills: rows, columns, a side, or any boolean mask."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.errors import WallError

__all__ = ["SIDES", "dead_cells", "default_live_rows", "describe", "rectangle"]

SIDES = ("bottom", "top", "left", "right", "centre")


def dead_cells(
    grid: tuple[int, int], *, live_rows: int | None = None, dead: Tensor | str | None = None
) -> Tensor:
    """Boolean mask (h×w) of dead cells on `grid` = (h, w).

    Give `live_rows` (the top rows that stay live), or `dead`: a boolean mask, or "SIDE:N" with
    SIDE bottom, top, left, right (N rows or columns) or centre (an N×N square). Raises
    :class:`WallError` unless at least one cell is live and one is dead.
    """
    if (live_rows is None) == (dead is None):
        raise WallError("say either live_rows or dead, one of the two")
    if live_rows is not None:
        if grid[0] == 1:
            raise WallError(
                "the layer's maps have a single row, so no wall fits: choose an earlier layer or a "
                "larger image"
            )
        if not 1 <= live_rows < grid[0]:
            raise WallError(
                f"live rows must be 1 to {grid[0] - 1} (the layer's maps have {grid[0]} rows, and "
                f"a wall needs a live and a dead one); got {live_rows}"
            )
        dead = f"bottom:{grid[0] - live_rows}"
    mask = _side(dead, grid) if isinstance(dead, str) else _given(dead, grid)
    if bool(mask.all()) or not bool(mask.any()):
        which = "dead" if bool(mask.all()) else "live"
        raise WallError(f"every cell would be {which}; a wall needs live and dead cells")
    return mask


def default_live_rows(rows: int) -> int:
    """Top rows that stay live when nobody says: 4 of every 7, at least 1 and not all."""
    return max(1, min(rows - 1, round(rows * 4 / 7)))


def rectangle(live: Tensor) -> tuple[slice, slice] | None:
    """Row and column slices of the live cells if they form a full rectangle, else None."""
    rows, columns = live.any(dim=1).nonzero().flatten(), live.any(dim=0).nonzero().flatten()
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return box if bool(live[box].all()) else None


def describe(live: Tensor) -> str:
    """The live cells in words, such as "rows 0-3 of 7"."""
    h, w = live.shape
    box = rectangle(live)
    if box is None:
        return f"{int(live.sum())} of {h * w} cells"
    rows, columns = box
    parts = []
    if (rows.start, rows.stop) != (0, h):
        parts.append(f"rows {rows.start}-{rows.stop - 1} of {h}")
    if (columns.start, columns.stop) != (0, w):
        parts.append(f"columns {columns.start}-{columns.stop - 1} of {w}")
    return " and ".join(parts)


def _side(text: str, grid: tuple[int, int]) -> Tensor:
    side, _, number = text.partition(":")
    if side not in SIDES or not number.isdecimal() or int(number) < 1:
        raise WallError(f"expected SIDE:N with SIDE one of {', '.join(SIDES)}; got {text!r}")
    n, (h, w) = int(number), grid
    limit = {"bottom": h - 1, "top": h - 1, "left": w - 1, "right": w - 1, "centre": min(h, w)}
    if n > limit[side]:
        raise WallError(f"{text!r} leaves nothing live on a {h}×{w} grid; at most {limit[side]}")
    mask = torch.zeros(grid, dtype=torch.bool)
    top, left = (h - n) // 2, (w - n) // 2
    where: dict[str, tuple[slice, slice]] = {
        "bottom": (slice(h - n, h), slice(None)),
        "top": (slice(0, n), slice(None)),
        "left": (slice(None), slice(0, n)),
        "right": (slice(None), slice(w - n, w)),
        "centre": (slice(top, top + n), slice(left, left + n)),
    }
    mask[where[side]] = True
    return mask


def _given(mask: Tensor | None, grid: tuple[int, int]) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != grid:
        came = (
            f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        )
        raise WallError(f"expected a boolean mask of shape {grid}; got {came}")
    return mask.detach().cpu().clone()
