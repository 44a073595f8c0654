"""What the theory's plots show, as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camaudit.data.digits import Digit
from camaudit.theory import Design, SimpleCNN, coefficients, expected_gradcam
from camaudit.theory.simulation import Simulation
from camaudit.types import Summary

__all__ = ["column_through_wall", "digit_tensor", "digit_tile", "series"]


def digit_tensor(digit: Digit) -> Tensor:
    """1×29×29."""
    return torch.from_numpy(digit.pixels)[None]


def series(column: Sequence[Summary]) -> dict[str, Any]:
    """One method along a sweep."""
    intervals = [entry.mu_l1 for entry in column]
    return {
        "method": column[0].method,
        "mean": [one.mean for one in intervals],
        "ci_low": [one.ci_low for one in intervals],
        "ci_high": [one.ci_high for one in intervals],
        "n": [one.n for one in intervals],
        "undefined": [e.degenerate + e.not_applicable + e.errors for e in column],
    }


def column_through_wall(design: Design, image: Tensor, sample: Simulation) -> dict[str, Any]:
    """The expectation down the column with most of it behind the wall."""
    expected = expected_gradcam(design, image)
    dead = design.feature_dead
    column = int(torch.where(dead, expected.mean, 0).sum(dim=0).argmax())
    return {
        "column": column,
        "rows": list(range(design.cells[0])),
        "dead": dead[:, column].tolist(),
        "bound": None if expected.bound is None else expected.bound[:, column].tolist(),
        "exact": expected.mean[:, column].tolist(),
        "simulated": sample.mean[:, column].tolist(),
        "standard_error": sample.standard_error[:, column].tolist(),
    }


def _gradcam(model: SimpleCNN, image: Tensor) -> Tensor:
    """GradCAM (h×w) of one network for class 0, by Proposition 2."""
    images = image[None].float()
    alpha = coefficients(model, images)
    with torch.no_grad():
        B = model.relu(model.conv(images))
    return torch.einsum("v,vij->ij", alpha[0], B[0]).clamp(min=0)


def digit_tile(design: Design, model: SimpleCNN, digit: Digit) -> dict[str, Any]:
    """A digit of the paper's Figure 3: the image, GradCAM of `model`, and its expectation."""
    image, dead = digit_tensor(digit), design.feature_dead
    exact, single = expected_gradcam(design, image).mean, _gradcam(model, image)
    return {
        "name": digit.id,
        "image": _rounded(torch.from_numpy(digit.pixels)),
        "single": _rounded(single),
        "simulated": None,
        "exact": _rounded(exact),
        "dead": dead.tolist(),
        "mu_single": _share(single, dead),
        "mu_expected": _share(exact, dead),
    }


def _share(map_: Tensor, dead: Tensor) -> float | None:
    total = float(map_.sum())
    return float(map_[dead].sum()) / total if total > 0 else None


def _rounded(map_: Tensor) -> list[list[float]]:
    """Four significant digits are enough for a picture."""
    return [[float(f"{value:.4g}") for value in row] for row in map_.tolist()]
