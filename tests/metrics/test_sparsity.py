"""Sparseness and entropy against literal float64 references, their properties, undefined cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.metrics.registry import METRICS
from camaudit.metrics.sparsity import entropy, sparseness
from tests.references import metrics as reference

SIZE = (3, 4)
PIXELS = math.prod(SIZE)
Figure = Callable[[Tensor], Tensor]

levels = st.floats(0, 1e3, allow_subnormal=False).map(lambda value: 0.0 if value < 1e-3 else value)
drawn = hnp.arrays(np.float64, (3, *SIZE), elements=levels).map(torch.from_numpy)
FIGURES = pytest.mark.parametrize("figure", [sparseness, entropy])


@given(maps=drawn)
def test_both_equal_the_reference(maps: Tensor) -> None:
    for ours, theirs in ((sparseness, reference.sparseness), (entropy, reference.entropy)):
        expected = torch.tensor([theirs(one) for one in maps.numpy()], dtype=torch.float64)
        torch.testing.assert_close(ours(maps), expected, rtol=0, atol=1e-12, equal_nan=True)


@given(maps=drawn, scale=st.floats(1e-3, 1e3), data=st.data())
def test_ranges_scale_order_and_sign_of_the_pixels(
    maps: Tensor, scale: float, data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(PIXELS))))
    moved = maps.flatten(1)[:, order].view_as(maps)
    for figure, most in ((sparseness, 1 - 1 / PIXELS), (entropy, math.log(PIXELS))):
        found = figure(maps)
        assert bool(((found >= 0) & (found <= most + 1e-12) | found.isnan()).all())
        for other in (scale * maps, -maps, moved):
            torch.testing.assert_close(figure(other), found, rtol=0, atol=1e-12, equal_nan=True)


@given(maps=drawn, part=st.floats(0, 1))
def test_a_pixel_that_gives_to_a_poorer_one_makes_a_map_less_sparse(
    maps: Tensor, part: float
) -> None:
    flat = maps.flatten(1)
    rich, poor = flat.argmax(dim=1), flat.argmin(dim=1)
    rows = torch.arange(len(flat))
    gift = (flat[rows, rich] - flat[rows, poor]) / 2 * part
    even = flat.clone()
    even[rows, rich] -= gift
    even[rows, poor] += gift
    even = even.view_as(maps)
    known = ~sparseness(maps).isnan()
    assert bool((sparseness(even) <= sparseness(maps) + 1e-12)[known].all())
    assert bool((entropy(even) >= entropy(maps) - 1e-12)[known].all())


def test_one_pixel_and_a_flat_map_are_the_ends() -> None:
    maps = torch.zeros(2, *SIZE)
    maps[0, 1, 2] = 7
    maps[1] = 0.3
    assert sparseness(maps).tolist() == pytest.approx([1 - 1 / PIXELS, 0], abs=1e-15)
    assert entropy(maps).tolist() == pytest.approx([0, math.log(PIXELS)], abs=1e-14)
    assert math.copysign(1, float(entropy(maps)[0])) == 1, "no negative zero"
    assert sparseness(maps[1:]).tolist() == [0]


def test_halves_by_hand() -> None:
    maps = torch.tensor([[[0.0, 0.0], [2.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]])
    assert sparseness(maps).tolist() == pytest.approx([0.5, 0.25], abs=1e-15)
    spread = -sum(share * math.log(share) for share in (0.1, 0.2, 0.3, 0.4))
    assert entropy(maps).tolist() == pytest.approx([math.log(2), spread], abs=1e-15)


def test_minmax_is_not_what_they_are_of() -> None:
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert float(sparseness(maps - 1)) > float(sparseness(maps)) + 0.1


@FIGURES
@pytest.mark.parametrize("fill", [0.0, math.nan, math.inf, -math.inf])
def test_an_empty_or_non_finite_map_is_undefined_never_zero(figure: Figure, fill: float) -> None:
    maps = torch.ones(2, *SIZE)
    maps[0] = fill
    assert figure(maps).isnan().tolist() == [True, False]


@FIGURES
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_pixel_spoils_its_own_map_only(figure: Figure, bad: float) -> None:
    maps = torch.ones(2, *SIZE)
    maps[0, 1, 1] = bad
    assert figure(maps).isnan().tolist() == [True, False]


@FIGURES
@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales_change_nothing(figure: Figure, scale: float) -> None:
    maps = torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(figure(maps * scale), figure(maps), rtol=0, atol=1e-12)


@FIGURES
def test_a_batch_scores_as_its_maps_do_alone(figure: Figure) -> None:
    maps = torch.rand(5, *SIZE, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([figure(one[None]) for one in maps])
    torch.testing.assert_close(figure(maps), alone, rtol=0, atol=1e-14)
    assert figure(maps).dtype == torch.float64


@FIGURES
@pytest.mark.parametrize("shape", [(3, 4), (1, 1, 3, 4), (0, 3, 4), (1, 3, 0)])
def test_bad_shapes(figure: Figure, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="expected maps N×H×W of floating point"):
        figure(torch.ones(shape))


@FIGURES
def test_bad_dtype(figure: Figure) -> None:
    with pytest.raises(UsageError, match="expected maps N×H×W of floating point"):
        figure(torch.ones(1, *SIZE, dtype=torch.int64))


def test_neither_end_is_called_better() -> None:
    read = {name: METRICS[name].info for name in ("sparseness", "entropy")}
    assert {info.direction for info in read.values()} == {"none"}
    assert (read["sparseness"].high, read["entropy"].high) == (1, math.inf)
