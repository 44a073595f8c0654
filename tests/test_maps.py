"""Upsampling against the literal formula, and min-max that says undefined instead of zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camaudit.maps import constant, minmax, upsample
from tests.references.cams import reference_minmax, reference_upsample


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("grid", [(3, 4), (7, 7), (1, 5)])
@pytest.mark.parametrize("size", [(9, 9), (13, 8), (7, 31)])
def test_upsample_is_bilinear(
    grid: tuple[int, int], size: tuple[int, int], align_corners: bool
) -> None:
    maps = draw(2, *grid)
    found = upsample(maps, size, align_corners=align_corners)
    wanted = torch.stack([reference_upsample(one, size, align_corners) for one in maps])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 4, 3, 3), (0, 3, 3)])
def test_upsample_keeps_leading_axes(shape: tuple[int, ...]) -> None:
    assert upsample(draw(*shape), (6, 5)).shape == (*shape[:-2], 6, 5)


def test_upsample_to_the_same_size_is_the_map_itself() -> None:
    maps = draw(2, 4, 5)
    assert upsample(maps, (4, 5)) is maps


def test_minmax_is_the_formula_for_each_map_alone() -> None:
    maps = draw(3, 4, 5) * torch.tensor([1.0, 100.0, 1e-3], dtype=torch.float64)[:, None, None]
    for found, one in zip(minmax(maps), maps, strict=True):
        torch.testing.assert_close(found, reference_minmax(one))
        assert (float(found.min()), float(found.max())) == (0.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_minmax_of_a_constant_map_is_undefined(value: float) -> None:
    maps = draw(2, 3, 3)
    maps[0] = value
    assert minmax(maps)[0].isnan().all()
    assert minmax(maps)[1].isfinite().all()


@given(
    value=st.floats(1e-3, 1e3),
    size=st.sampled_from([5, 7, 14]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_constant_map_stays_one_when_it_is_upsampled(
    value: float, size: int, dtype: torch.dtype
) -> None:
    maps = torch.full((1, size, size), value, dtype=dtype)
    raised = upsample(maps, (33, 224))
    assert bool(constant(raised))
    bump = raised.clone()
    bump[0, 3, 4] *= 1 + 100 * torch.finfo(dtype).eps
    assert not bool(constant(bump))


def test_what_is_not_finite_is_not_constant() -> None:
    maps = torch.stack([torch.full((2, 2), value) for value in (torch.inf, torch.nan, 0.0)])
    assert constant(maps).tolist() == [False, False, True]
