"""What a simple CNN looks like before its weights are drawn: sizes, wall, initialisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.initialisation import Law, LawName, law
from camaudit.walls.region import dead_cells, describe

__all__ = ["Design", "Head"]

Head = Literal["flatten", "pooled"]


@dataclass(frozen=True, eq=False)
class Design:
    """One convolution, ReLU, and a head of Linear layers that cannot read the dead cells.

    *CAM-Based Methods Can See through Walls* (2024), section 2 and Figure 2. An image (C×H×W) is
    convolved with V filters (k×k, no padding, no bias), `B = ReLU(…)` (V×h×w). Head "flatten":
    p×p max pooling to `C` (V×h'×w'), flattened, L Linear layers without bias and with ReLU
    between. Head "pooled" (as in ResNet): the mean of B over the live cells, then the L Linear
    layers.

    Parameters
    ----------
    filters, kernel, channels, size: V, k, C and (H, W); the defaults are the authors' for MNIST.
    pool: p; 1 for the pooled head.
    hidden: widths of the Linear layers but the last, so L = len(hidden) + 1.
    classes: outputs of the last Linear layer.
    live_rows, dead: the wall, as for :func:`camaudit.walls.dead_cells`, on the cells that the
        head reads: h'×w' for "flatten", h×w for "pooled". Default: the upper half is live.
    initialisation, std: the law of all weights, see :func:`camaudit.initialisation.law`.

    Raises :class:`UsageError` for sizes that do not fit, :class:`WallError` for a wall without
    live or without dead cells.
    """

    filters: int = 256
    kernel: int = 2
    channels: int = 1
    size: tuple[int, int] = (29, 29)
    pool: int = 2
    hidden: tuple[int, ...] = ()
    classes: int = 1
    head: Head = "flatten"
    live_rows: int | None = None
    dead: Tensor | str | None = None
    initialisation: LawName = "gaussian"
    std: float = 1.0
    grid_dead: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check()
        live_rows, dead = self.live_rows, self.dead
        if live_rows is None and dead is None:
            live_rows = self.grid[0] // 2
            if live_rows == 0:
                raise UsageError(
                    f"the head reads a single row of cells for {self.size[0]} pixel rows: take a "
                    "larger image"
                )
        object.__setattr__(self, "grid_dead", dead_cells(self.grid, live_rows=live_rows, dead=dead))
        self.laws  # noqa: B018  an unknown initialisation fails here

    def _check(self) -> None:
        numbers = {
            "filters": self.filters, "kernel": self.kernel, "channels": self.channels,
            "height": self.size[0], "width": self.size[1], "pool": self.pool,
            "classes": self.classes, **{f"hidden[{i}]": m for i, m in enumerate(self.hidden)},
        }  # fmt: skip
        for name, number in numbers.items():
            if number < 1:
                raise UsageError(f"{name} must be at least 1; got {number}")
        if self.head not in ("flatten", "pooled"):
            raise UsageError(f"head must be flatten or pooled; got {self.head!r}")
        h, w = self.cells
        if h < 1 or w < 1:
            raise UsageError(
                f"a {self.kernel}×{self.kernel} filter does not fit into {self.size[0]}×"
                f"{self.size[1]} pixels: take a smaller kernel or a larger image"
            )
        if self.head == "flatten" and (h % self.pool or w % self.pool):
            raise UsageError(
                f"{h}×{w} cells do not divide into {self.pool}×{self.pool} pooling windows, and "
                "the theory needs every cell in exactly one: choose height and width so that "
                f"size − {self.kernel} + 1 is a multiple of {self.pool}"
            )

    @property
    def cells(self) -> tuple[int, int]:
        """(h, w) of the target layer B."""
        return self.size[0] - self.kernel + 1, self.size[1] - self.kernel + 1

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the cells that the head reads: pooled ones, or those of B."""
        h, w = self.cells
        return (h, w) if self.head == "pooled" else (h // self.pool, w // self.pool)

    @property
    def layers(self) -> int:
        """L, the number of Linear layers."""
        return len(self.hidden) + 1

    @property
    def live_count(self) -> int:
        """Live cells of the grid."""
        return int((~self.grid_dead).sum())

    @property
    def feature_dead(self) -> Tensor:
        """Boolean (h×w): cells of B that cannot reach the output."""
        if self.head == "pooled":
            return self.grid_dead
        rows = self.grid_dead.repeat_interleave(self.pool, dim=0)
        return rows.repeat_interleave(self.pool, dim=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs of the first Linear layer, then the outputs of every one."""
        cells = 1 if self.head == "pooled" else self.grid[0] * self.grid[1]
        return (self.filters * cells, *self.hidden, self.classes)

    @property
    def laws(self) -> tuple[Law, ...]:
        """Laws of the filters' weights, then of every Linear layer's."""
        area = self.kernel**2
        fans = [(self.channels * area, self.filters * area)]
        fans += list(pairwise(self.widths))
        return tuple(law(self.initialisation, i, o, std=self.std) for i, o in fans)

    def describe(self) -> dict[str, object]:
        """What results.json says of it."""
        return {
            "filters": self.filters,
            "kernel": self.kernel,
            "channels": self.channels,
            "image": list(self.size),
            "cells": list(self.cells),
            "head": self.head,
            "layers": self.layers,
            "hidden": list(self.hidden),
            "classes": self.classes,
            "live": describe(~self.grid_dead),
            "live_cells": self.live_count,
            "read_cells": self.grid[0] * self.grid[1],
            "initialisation": self.initialisation
            + (f", τ = {self.std:g}" if self.initialisation == "gaussian" else ""),
        }

    def check_image(self, image: Tensor) -> None:
        """Raises :class:`UsageError` unless `image` is a finite C×H×W tensor of this design."""
        expected = (self.channels, *self.size)
        if tuple(image.shape) != expected:
            raise UsageError(f"expected an image of shape {expected}; got {tuple(image.shape)}")
        if not bool(torch.isfinite(image).all()):
            raise UsageError("the image has pixels that are NaN or infinite")
