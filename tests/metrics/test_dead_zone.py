"""μ against an independent float64 reference, and its undefined cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.metrics.dead_zone import dead_zone_figures, dead_zone_mass
from camaudit.types import Status
from tests.references.cams import reference_minmax, reference_mu

MASK = torch.zeros(5, 6, dtype=torch.bool)
MASK[3:] = True

values = st.floats(0, 1e6, allow_nan=False, allow_subnormal=False, width=64).map(
    lambda value: 0.0 if value < 1e-6 else value
)
drawn_maps = hnp.arrays(np.float64, (3, 5, 6), elements=values).map(torch.from_numpy)


@given(maps=drawn_maps, p=st.sampled_from([1.0, 2.0, 3.0]))
def test_mass_equals_the_reference(maps: torch.Tensor, p: float) -> None:
    ours = dead_zone_mass(maps, MASK, p=p)
    for row in range(3):
        expected = reference_mu(maps[row], MASK, p)
        if expected is None:
            assert math.isnan(float(ours[row]))
        else:
            assert float(ours[row]) == pytest.approx(float(expected), rel=1e-9, abs=1e-15)


@given(maps=drawn_maps, scale=st.floats(1e-6, 1e6))
def test_mass_is_scale_invariant_and_a_share(maps: torch.Tensor, scale: float) -> None:
    mass, scaled = dead_zone_mass(maps, MASK), dead_zone_mass(maps * scale, MASK)
    torch.testing.assert_close(mass, scaled, rtol=1e-9, atol=1e-12, equal_nan=True)
    defined = mass[~mass.isnan()]
    assert bool(((defined >= 0) & (defined <= 1 + 1e-12)).all())


@given(maps=drawn_maps)
def test_minmax_figure_equals_the_reference(maps: torch.Tensor) -> None:
    for row, figures in enumerate(dead_zone_figures(maps, MASK)):
        if float(maps[row].amax()) == float(maps[row].amin()):
            assert figures.mu_l1_minmax is None
        else:
            expected = reference_mu(reference_minmax(maps[row]), MASK, 1)
            assert figures.mu_l1_minmax == pytest.approx(float(expected), rel=1e-9, abs=1e-15)


def test_uniform_scores_the_area_fraction_and_its_root() -> None:
    (figures,) = dead_zone_figures(torch.full((1, 5, 6), 0.3), MASK)
    assert figures.mu_l1 == pytest.approx(0.4, abs=1e-15)
    assert figures.mu_l2 == pytest.approx(math.sqrt(0.4), abs=1e-15)
    assert figures.mu_l1_minmax is None
    assert figures.status is Status.OK


@pytest.mark.parametrize("fill", [0.0, math.nan, math.inf])
def test_an_empty_or_non_finite_map_is_degenerate_never_zero(fill: float) -> None:
    maps = torch.zeros(2, 5, 6)
    maps[0] = fill
    maps[1, 0, 0] = 1
    spoilt, fine = dead_zone_figures(maps, MASK)
    assert spoilt.status is Status.DEGENERATE
    assert spoilt.mu_l1 is spoilt.mu_l2 is spoilt.mu_l1_minmax is None
    assert fine.status is Status.OK
    assert fine.mu_l1 == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_pixel_makes_a_map_degenerate(bad: float) -> None:
    maps = torch.ones(1, 5, 6)
    maps[0, 1, 1] = bad
    assert dead_zone_figures(maps, MASK)[0].status is Status.DEGENERATE


@pytest.mark.parametrize("scale", [1e-38, 1e38])
def test_extreme_scales_do_not_underflow_or_overflow(scale: float) -> None:
    maps = torch.rand(1, 5, 6, generator=torch.Generator().manual_seed(0))
    (plain,), (scaled,) = dead_zone_figures(maps, MASK), dead_zone_figures(maps * scale, MASK)
    assert scaled.mu_l1 == pytest.approx(plain.mu_l1, rel=1e-4)
    assert scaled.mu_l2 == pytest.approx(plain.mu_l2, rel=1e-4)


def test_half_precision_maps_are_summed_in_float64() -> None:
    maps = torch.ones(1, 224, 224, dtype=torch.float16)
    zone = torch.zeros(224, 224, dtype=torch.bool)
    zone[170:] = True
    assert dead_zone_figures(maps, zone)[0].mu_l1 == pytest.approx(54 / 224, abs=1e-12)


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="expected maps N×H×W"):
        dead_zone_mass(torch.ones(5, 6), MASK)
    with pytest.raises(UsageError, match="expected maps N×H×W"):
        dead_zone_mass(torch.ones(1, 6, 5), MASK)
    with pytest.raises(UsageError, match="expected maps N×H×W"):
        dead_zone_mass(torch.ones(1, 5, 6), MASK.float())
    with pytest.raises(UsageError, match="not defined"):
        dead_zone_mass(torch.ones(1, 5, 6), torch.zeros_like(MASK))
    with pytest.raises(UsageError, match="not defined"):
        dead_zone_mass(torch.ones(1, 5, 6), MASK, p=0)


def test_rounding_of_an_upsampled_constant_map_is_not_stretched() -> None:
    maps = upsample(torch.full((1, 7, 7), 0.3, dtype=torch.float64), (33, 64))
    assert maps.amax() > maps.amin()  # bilinear weights do not sum to 1 exactly
    scored = torch.zeros(33, 64, dtype=torch.bool)
    scored[20:] = True
    (figures,) = dead_zone_figures(maps, scored)
    assert figures.mu_l1 == pytest.approx(13 / 33)
    assert figures.mu_l1_minmax is None
