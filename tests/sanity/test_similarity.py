"""Similarities against SciPy and scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.sanity import SIMILARITIES, similarity
from camaudit.sanity.similarity import prepare


def pair(seed: int, grid: int, size: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(2, grid, grid, generator=generator, dtype=dtype)
    return upsample((low - 0.4).relu(), size)


def minmax(x: Any) -> Any:
    x = np.asarray(x, dtype=np.float64)
    return (x - x.min()) / (x.max() - x.min())


def reference(name: str, a: torch.Tensor, b: torch.Tensor) -> float:
    x, y = a.numpy(), b.numpy()
    if name == "spearman":
        return float(spearmanr(x.ravel(), y.ravel())[0])
    if name == "spearman-abs":
        return float(spearmanr(np.abs(x).ravel(), np.abs(y).ravel())[0])
    x, y = minmax(x), minmax(y)
    if name == "ssim":
        return float(structural_similarity(x, y, data_range=1, gaussian_weights=True))
    cells = {"pixels_per_cell": (16, 16)}
    return float(pearsonr(hog(x, **cells), hog(y, **cells))[0])


@pytest.mark.parametrize("name", SIMILARITIES)
@given(
    seed=st.integers(0, 1000),
    grid=st.sampled_from([3, 7, 14, 48]),
    height=st.integers(48, 80),
    width=st.integers(48, 80),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    signed=st.booleans(),
)
def test_equal_to_the_libraries(
    name: Any, seed: int, grid: int, height: int, width: int, dtype: torch.dtype, signed: bool
) -> None:
    a, b = pair(seed, grid, (height, width), dtype) - (0.2 if signed else 0)
    value, why = similarity(name, a, b)
    if value is None:
        assert "constant" in (why or "")
        return
    allowed = 1e-6 if name == "hog" else 1e-12  # scikit-image adds HOG cells up in single precision
    assert value == pytest.approx(reference(name, a, b), abs=allowed)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_map_is_like_itself_whatever_its_scale(name: Any) -> None:
    a, _ = pair(1, 7, (64, 64), torch.float64)
    assert similarity(name, a, a)[0] == pytest.approx(1)
    assert similarity(name, a, 2**-28 * a)[0] == pytest.approx(1)


def test_signs_matter_to_raw_ranks_alone() -> None:
    a = torch.randn(20, 20, dtype=torch.float64)
    assert similarity("spearman", a, -a)[0] == pytest.approx(-1)
    assert similarity("spearman-abs", a, -a)[0] == pytest.approx(1)


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize(
    ("other", "why"),
    [
        (torch.zeros(64, 64), "constant"),
        (torch.full((64, 64), torch.nan), "not finite"),
        (torch.full((64, 64), torch.inf), "not finite"),
    ],
)
def test_constant_and_infinite_maps_have_no_similarity(
    name: Any, other: torch.Tensor, why: str
) -> None:
    value, reason = similarity(name, torch.rand(64, 64), other)
    assert value is None
    assert why in (reason or "")


def test_a_map_of_one_magnitude_has_no_absolute_ranks() -> None:
    a = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert similarity("spearman", a, a)[0] == pytest.approx(1)
    assert similarity("spearman-abs", a, a) == (None, "the map's absolute values are constant")


def test_small_maps_are_named() -> None:
    a, b = torch.rand(2, 10, 47)
    assert "11 pixels" in (similarity("ssim", a, b)[1] or "")
    assert "48 pixels" in (similarity("hog", a, b)[1] or "")


def test_unknown_similarities_are_refused() -> None:
    with pytest.raises(UsageError, match="spearman"):
        prepare(torch.rand(3, 3), ("psnr",))  # type: ignore[arg-type]
