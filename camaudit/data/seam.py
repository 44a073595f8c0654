"""Where two images meet: dead rows as a manifest names them, and as a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camaudit.data.manifest import ManifestWall
from camaudit.data.stack_mix import Mask
from camaudit.errors import UsageError

__all__ = ["PAPER_DEAD_ROWS", "PAPER_SIZE", "dead_mask", "lower_rows", "wall_of_rows"]

PAPER_SIZE, PAPER_DEAD_ROWS = 224, 54


def lower_rows(dead_rows: int | None, size: int) -> ManifestWall:
    """A wall with the last `dead_rows` of `size` rows dead; None for the paper's 54 of 224.

    Raises :class:`UsageError` if no row would be dead or live, or for None at another size.
    """
    if dead_rows is None:
        if size != PAPER_SIZE:
            raise UsageError(
                f"the seam of images of {size} rows is not known (the paper's {PAPER_DEAD_ROWS} "
                f"dead rows are of {PAPER_SIZE}): say it with --dead-rows or --wall"
            )
        return wall_of_rows("the paper's VGG16", range(size - PAPER_DEAD_ROWS, size), size)
    if not 0 < dead_rows < size:
        raise UsageError(f"dead rows must be 1 to {size - 1} of {size}; got {dead_rows}")
    description = f"the last {dead_rows} of {size} rows"
    return wall_of_rows(description, range(size - dead_rows, size), size)


def wall_of_rows(description: str, rows: Sequence[int], height: int) -> ManifestWall:
    """A wall with the given rows (ascending) dead."""
    ranges: list[list[int]] = []
    for row in rows:
        if ranges and ranges[-1][1] == row - 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    bottom = len(ranges) == 1 and ranges[0][1] == height - 1
    return ManifestWall(
        description, len(rows) if bottom else None, tuple((first, last) for first, last in ranges)
    )


def dead_mask(wall: ManifestWall, size: tuple[int, int]) -> Mask:
    """Boolean (H, W), True in the rows that are dead."""
    dead = np.zeros(size, dtype=np.bool_)
    if wall.dead_rows is not None:
        dead[size[0] - wall.dead_rows :] = True
    for first, last in wall.pixel_dead_rows or ():
        dead[first : last + 1] = True
    return dead
