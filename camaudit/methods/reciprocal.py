"""Recipro-CAM: every cell scored by what the head makes of it alone."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.options import one_of
from camaudit.methods.rows import each_row

__all__ = ["Baseline", "reciprocal_maps", "reciprocam", "reciprocam_gaussian"]

Baseline = Literal["zero", "none"]

_HEAD_FLOATS = 2**24  # 64 MB of float32 activations in one chunk of head passes
_PAPER = "Byun & Lee 2022, Recipro-CAM: Fast gradient-free visual explanations"


@method(
    "reciprocam",
    MethodInfo(
        paper=_PAPER,
        equation="eqs. 1-4, one cell",
        formula="ReLU(s_c(A ⊙ 1_ij) − s_c(0))",
        family="perturbation",
        cost="hw head forwards and one of zeros a chunk",
    ),
)
def reciprocam(capture: Capture, *, baseline: Baseline = "zero") -> Tensor:
    """`L_ij = ReLU(s(A ⊙ 1_ij) − s(0))`: the head sees the features of cell (i, j) alone.

    Byun & Lee 2022 (Recipro-CAM) without their Gaussian filter; returns N×h×w.

    baseline: "zero" subtracts the score of the all-zero features; "none" subtracts nothing (the
        authors' way, who then min-max the map).

    Raises :class:`UsageError` for another baseline.
    """
    return reciprocal_maps(capture, baseline, beside=0.0)


@method(
    "reciprocam-gaussian",
    MethodInfo(
        paper=_PAPER,
        equation="eqs. 1-4, 3×3 Gaussian filter",
        formula="ReLU(s_c(A ⊙ g_ij) − s_c(0)), g = [[1,2,1],[2,4,2],[1,2,1]]/4 around (i, j)",
        family="perturbation",
        cost="hw head forwards and one of zeros a chunk",
    ),
)
def reciprocam_gaussian(capture: Capture, *, baseline: Baseline = "zero") -> Tensor:
    """`L_ij = ReLU(s(A ⊙ g_ij) − s(0))`, `g_ij` a 3×3 Gaussian of height 1 around cell (i, j).

    Byun & Lee 2022 (Recipro-CAM): `g = [[1,2,1],[2,4,2],[1,2,1]]/4`, cut at the borders; returns
    N×h×w. `baseline` as in :func:`reciprocam`.
    """
    return reciprocal_maps(capture, baseline, beside=0.5)


def reciprocal_maps(capture: Capture, baseline: Baseline, *, beside: float) -> Tensor:
    """The maps (N×h×w) of a filter of height 1 with `beside` at a cell's four neighbours.

    Raises :class:`UsageError` for another baseline.
    """
    one_of("baseline", baseline, get_args(Baseline))

    def one(row: int) -> Tensor:
        return _cell_scores(capture, row, beside, subtract=baseline == "zero").relu()

    return each_row(capture, one)


def _cell_scores(capture: Capture, row: int, beside: float, *, subtract: bool) -> Tensor:
    """The scores (h×w) of the features around each cell, less that of none with `subtract`."""
    A = capture.activations[row]
    h, w = A.shape[-2:]
    down, across = _window(h, beside, A), _window(w, beside, A)
    scores = A.new_empty(h * w)
    for cells in torch.split(torch.arange(h * w, device=A.device), _chunk(A)):
        kept = down[cells // w][:, :, None] * across[cells % w][:, None, :]
        kept = torch.cat([kept, torch.zeros_like(kept[:1])])  # nothing at all comes last
        features = A * kept[:, None]
        scored = capture.score(capture.read(features, row), row)
        if subtract:
            # equal rows of one product may differ in their last bits: none has exactly 0 of it
            any_left = (features[:-1] != 0).flatten(1).any(dim=1)
            scores[cells] = torch.where(any_left, scored[:-1] - scored[-1], 0)
        else:
            scores[cells] = scored[:-1]
    return scores.reshape(h, w)


def _window(length: int, beside: float, like: Tensor) -> Tensor:
    """Row i (of length×length): 1 at i, `beside` at its two neighbours, 0 elsewhere.

    The 3×3 Gaussian is the outer product of two such rows with `beside` = 1/2.
    """
    places = torch.arange(length, device=like.device)
    distance = (places[:, None] - places).abs()
    return torch.eye(length).to(like) + beside * (distance == 1).to(like)


def _chunk(A: Tensor) -> int:
    """Cells in one head pass, the empty map aside."""
    return max(1, _HEAD_FLOATS // A.numel() - 1)
