"""The dead zone: which cells and which pixels provably cannot reach the logits, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from camaudit.errors import UsageError, WallError

__all__ = ["DeadZone", "Verification", "scored_zone"]

ZoneKind = Literal["receptive field", "split trunk", "none"]


@dataclass(frozen=True)
class Verification:
    """Outcome of perturbing dead pixels (see :func:`camaudit.walls.verification.verify_zone`).

    `max_abs_difference` is over all logits; `bound` is what it may be: 0 where bit-equality is
    asked (CPU), a stated figure elsewhere. `live_changed` is the positive control: whether
    changing live pixels moved the logits at all. Without it nothing was tested.
    """

    perturbations: int
    max_abs_difference: float
    bound: float
    bit_equal: bool
    live_changed: bool
    device: str
    seed: int

    @property
    def passed(self) -> bool:
        """Dead pixels changed nothing beyond the bound, and live ones changed something."""
        finite = math.isfinite(self.max_abs_difference)
        return finite and self.live_changed and self.max_abs_difference <= self.bound

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a figure that is not finite becomes null."""
        infinite = [
            k for k, v in vars(self).items() if isinstance(v, float) and not math.isfinite(v)
        ]
        return {**vars(self), **dict.fromkeys(infinite)}


@dataclass(frozen=True, eq=False)
class DeadZone:
    """Feature-dead cells (h×w), pixel-dead pixels and scored pixels (H×W), all boolean.

    *Feature-dead* cells of the target layer are not read by anything downstream. *Pixel-dead*
    pixels cannot change the logits, whatever finite value they take. *Scored* pixels are dead
    and their bilinear support lies wholly in dead cells, so that a map which is 0 on dead cells
    scores exactly 0. `kind` says how the pixels were established, `why` says it in a sentence.
    """

    feature_dead: Tensor
    pixel_dead: Tensor
    scored: Tensor
    kind: ZoneKind
    why: str
    verification: Verification | None = field(default=None)

    @property
    def exists(self) -> bool:
        """Whether any pixel is scored."""
        return bool(self.scored.any())

    @property
    def feature_fraction(self) -> float:
        """Share of dead cells among the target layer's cells."""
        return float(self.feature_dead.double().mean())

    @property
    def pixel_fraction(self) -> float:
        """Share of dead pixels in the image."""
        return float(self.pixel_dead.double().mean())

    @property
    def scored_fraction(self) -> float:
        """Share of scored pixels in the image: μ (p = 1) of a uniform map."""
        return float(self.scored.double().mean())

    @property
    def pixel_dead_rows(self) -> list[int]:
        """Image rows that are dead over their whole width."""
        return self.pixel_dead.all(dim=1).nonzero().flatten().tolist()

    @property
    def pixel_dead_columns(self) -> list[int]:
        """Image columns that are dead over their whole height."""
        return self.pixel_dead.all(dim=0).nonzero().flatten().tolist()

    def explain(self, row: int, column: int) -> str:
        """One sentence on why pixel (row, column) is dead or live, scored or not."""
        height, width = self.pixel_dead.shape
        if not (0 <= row < height and 0 <= column < width):
            raise UsageError(
                f"pixel ({row}, {column}) is outside the image: rows are 0 to {height - 1}, "
                f"columns 0 to {width - 1}"
            )
        place = f"Pixel (row {row}, column {column})"
        if not self.pixel_dead[row, column]:
            return f"{place} is live or not proven dead: {self.why}"
        if self.scored[row, column]:
            return f"{place} is dead and scored: {self.why}"
        return (
            f"{place} is dead: {self.why} It is not scored, because bilinear upsampling mixes a "
            "live cell into it."
        )

    def with_verification(self, verification: Verification) -> DeadZone:
        """The same zone carrying the outcome of its verification."""
        return replace(self, verification=verification)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as in results.json."""
        checked = self.verification
        return {
            "kind": self.kind,
            "why": self.why,
            "feature_dead": self.feature_dead.int().tolist(),
            "feature_fraction": self.feature_fraction,
            "pixel_dead_rows": self.pixel_dead_rows,
            "pixel_dead_columns": self.pixel_dead_columns,
            "pixel_fraction": self.pixel_fraction,
            "scored_rows": self.scored.all(dim=1).nonzero().flatten().tolist(),
            "scored_fraction": self.scored_fraction,
            "verified": checked is not None and checked.passed,
            "verification": None if checked is None else checked.to_dict(),
        }


def scored_zone(feature_dead: Tensor, pixel_dead: Tensor) -> Tensor:
    """Dead pixels whose bilinear support (half-pixel centres) lies wholly in dead cells.

    A pixel on the very centre of a cell has no other in its support, yet upsampling in floating
    point may give a neighbour a weight of 1e-8, differently on every device: both neighbours
    count there. h×w and H×W booleans to H×W boolean.
    """
    if pixel_dead.ndim != 2 or feature_dead.ndim != 2:
        raise WallError("expected boolean masks of two dimensions, cells h×w and pixels H×W")
    rows, columns = (_support(feature_dead.shape[axis], pixel_dead.shape[axis]) for axis in (0, 1))
    reached = (rows.double() @ (~feature_dead).double() @ columns.double().T) > 0
    return pixel_dead & ~reached


def _support(cells: int, pixels: int) -> Tensor:
    """Boolean (pixels×cells): which cells each pixel mixes, one further where rounding might."""
    if cells == pixels:
        return torch.eye(cells, dtype=torch.bool)
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels - 0.5
    distance = (position[:, None] - torch.arange(cells)).abs()
    return distance < 1 + 1e-6 * (cells + 1)
