"""Strategies: designs, networks and images of the theory."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from camaudit.theory import Design

__all__ = ["designs", "pictures"]


@st.composite
def designs(draw: st.DrawFn, **fixed: Any) -> Design:
    """Small designs of every kind; `fixed` fields are taken as they are."""
    head = fixed.pop("head", None) or draw(st.sampled_from(["flatten", "pooled"]))
    kernel, pool = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    cells = [pool * draw(st.integers(1, 3)) for _ in range(2)]
    grid = cells if head == "pooled" else [one // pool for one in cells]
    if grid == [1, 1]:
        cells[0] *= 2
        grid[0] = 2
    flags = draw(st.lists(st.booleans(), min_size=grid[0] * grid[1], max_size=grid[0] * grid[1]))
    flags[draw(st.integers(0, len(flags) - 1))] ^= len(set(flags)) == 1
    fields: dict[str, Any] = {
        "filters": draw(st.integers(1, 6)),
        "kernel": kernel,
        "channels": draw(st.sampled_from([1, 3])),
        "size": (cells[0] + kernel - 1, cells[1] + kernel - 1),
        "pool": pool,
        "hidden": tuple(draw(st.lists(st.integers(1, 5), max_size=3))),
        "classes": draw(st.integers(1, 3)),
        "head": head,
        "dead": torch.tensor(flags).view(*grid),
        **fixed,
    }
    return Design(**fields)


@st.composite
def pictures(draw: st.DrawFn, design: Design) -> Tensor:
    """One image (C×H×W, float64) for `design`: noise, few grey levels (ties), or constant."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (design.channels, *design.size)
    image = torch.randn(shape, generator=generator, dtype=torch.float64)
    kind = draw(st.sampled_from(["noise", "levels", "constant"]))
    if kind == "levels":
        return image.round().clamp(-1, 1)
    return image if kind == "noise" else torch.full_like(image, float(image.flatten()[0]))
