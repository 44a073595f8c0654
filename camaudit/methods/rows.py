"""The images of a capture, one by one, and the precision of sums over many passes of one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from camaudit.capture import Capture

__all__ = ["accumulating", "each_row"]


def accumulating(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums over many terms: `dtype`, but float32 for half precision."""
    return torch.promote_types(dtype, torch.float32)


def each_row(
    capture: Capture, one: Callable[[int], Tensor], *, size: tuple[int, int] | None = None
) -> Tensor:
    """`one(row)` of every image, stacked; all NaN where the image's activations are not finite.

    `size` is that of the maps, the size of the activations (h, w) by default. Returns N×h×w or
    N×H×W in the dtype of the activations.
    """
    A = capture.activations
    cells = size or (int(A.shape[-2]), int(A.shape[-1]))
    finite = [bool(torch.isfinite(maps).all()) for maps in A]
    return torch.stack(
        [one(row) if finite[row] else A.new_full(cells, torch.nan) for row in range(len(A))]
    )
