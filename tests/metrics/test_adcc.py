"""ADCC and its parts against literal float64 references, their properties, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.maps import minmax
from camaudit.metrics.adcc import adcc, adcc_of_means, coherency, map_complexity
from camaudit.metrics.registry import METRICS
from tests.references import metrics as reference

NAN = math.nan
SIZE = (3, 4)

levels = st.integers(0, 1000).map(lambda value: value / 8)  # coarse, so that maps are also constant
drawn = hnp.arrays(np.float64, (3, *SIZE), elements=levels).map(torch.from_numpy)
share = st.floats(0, 1, allow_subnormal=False)
part = st.one_of(share, st.sampled_from([0.0, 1.0, NAN]))
triples = st.lists(st.tuples(part, part, part), min_size=1, max_size=6)


def columns(rows: list[tuple[float, float, float]]) -> tuple[Tensor, Tensor, Tensor]:
    one, shown, lost = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    return one, shown, lost


def varied(count: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *SIZE, generator=generator, dtype=torch.float64)


def same(ours: Tensor, expected: list[float], tolerance: float = 1e-12) -> None:
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=tolerance, equal_nan=True)


# --- coherency


@given(again=drawn, maps=drawn)
def test_coherency_equals_the_reference(again: Tensor, maps: Tensor) -> None:
    pairs = zip(again.numpy(), maps.numpy(), strict=True)
    same(coherency(again, maps), [reference.coherency(*pair) for pair in pairs])


def test_coherency_is_half_of_one_plus_scipys_correlation() -> None:
    again, maps = varied(seed=1), varied(seed=2)
    pairs = zip(again.flatten(1).numpy(), maps.flatten(1).numpy(), strict=True)
    same(coherency(again, maps), [(pearsonr(*pair).statistic + 1) / 2 for pair in pairs])


@given(again=drawn, maps=drawn, scale=st.floats(1e-3, 1e3), shift=st.floats(0, 100))
def test_coherency_keeps_to_its_range_and_knows_no_order_scale_or_shift(
    again: Tensor, maps: Tensor, scale: float, shift: float
) -> None:
    found = coherency(again, maps)
    assert bool(((found >= 0) & (found <= 1) | found.isnan()).all())
    close = {"rtol": 0, "atol": 1e-9, "equal_nan": True}
    torch.testing.assert_close(coherency(maps, again), found, **close)
    torch.testing.assert_close(coherency(minmax(again), maps), found, **close)
    flat = torch.tensor([len(one.unique()) == 1 for one in again])
    moved = coherency(again * scale + shift, maps)
    torch.testing.assert_close(moved[~flat], found[~flat], **close)


def test_a_map_agrees_with_itself_and_contradicts_its_opposite() -> None:
    maps = varied()
    assert coherency(3 * maps, maps).tolist() == pytest.approx([1, 1], abs=1e-15)
    assert coherency(1 - maps, maps).tolist() == pytest.approx([0, 0], abs=1e-15)
    halves = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    assert coherency(halves.mT, halves).tolist() == [0.5]


@pytest.mark.parametrize("fill", [0.0, 0.3, NAN, math.inf, -math.inf])
@pytest.mark.parametrize("spoilt", ["again", "maps"])
def test_a_map_without_variation_has_no_coherency(fill: float, spoilt: str) -> None:
    again, maps = varied(seed=1), varied(seed=2)
    expected = coherency(again, maps)
    {"again": again, "maps": maps}[spoilt][0] = fill
    found = coherency(again, maps)
    assert math.isnan(found[0])
    assert float(found[1]) == pytest.approx(float(expected[1]), abs=1e-15)


@pytest.mark.parametrize("figure", [lambda maps: coherency(maps, varied()), map_complexity])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_one_bad_pixel_spoils_its_own_map_only(figure: object, bad: float) -> None:
    maps = varied(seed=3)
    maps[0, 1, 1] = bad
    assert figure(maps).isnan().tolist() == [True, False]  # type: ignore[operator]


def test_bad_pairs_of_maps() -> None:
    maps = varied()
    with pytest.raises(UsageError, match=r"a map of x⊙m for each map, \(2, 3, 4\).*\(2, 4, 3\)"):
        coherency(maps.mT, maps)
    with pytest.raises(UsageError, match="expected a map of x⊙m for each"):
        coherency(maps[:1], maps)
    with pytest.raises(UsageError, match="floating point"):
        coherency(maps.int(), maps)


# --- complexity


@given(maps=drawn)
def test_complexity_equals_the_reference(maps: Tensor) -> None:
    same(map_complexity(maps), [reference.map_complexity(one) for one in maps.numpy()])


@given(maps=drawn)
def test_complexity_lies_between_one_pixel_lit_and_one_pixel_dark(maps: Tensor) -> None:
    found = map_complexity(maps)
    found = found[~found.isnan()]
    pixel = 1 / math.prod(SIZE)
    assert bool(((found >= pixel - 1e-12) & (found <= 1 - pixel + 1e-12)).all())


@given(maps=drawn, data=st.data())
def test_complexity_grows_with_every_pixel_lit_more(maps: Tensor, data: st.DataObject) -> None:
    brighter = maps + (maps.amax(dim=(1, 2), keepdim=True) - maps) * data.draw(share)
    brighter[:, 0, 0], maps[:, 0, 0] = 0, 0  # the darkest and the brightest stay as they are
    brighter[:, 2, 3], maps[:, 2, 3] = 126, 126
    assert bool((map_complexity(brighter) >= map_complexity(maps) - 1e-12).all())


@pytest.mark.parametrize("fill", [0.0, 0.3, NAN, math.inf, -math.inf])
def test_a_constant_or_non_finite_map_has_no_complexity(fill: float) -> None:
    maps = varied()
    maps[0] = fill
    assert map_complexity(maps).isnan().tolist() == [True, False]


def test_half_precision_maps_are_summed_in_float64() -> None:
    maps = torch.ones(1, 224, 224, dtype=torch.float16)
    maps[0, :56] = 0
    assert float(map_complexity(maps)) == pytest.approx(0.75, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales_change_nothing(scale: float) -> None:
    again, maps = varied(seed=1), varied(seed=2)
    same(map_complexity(maps * scale), map_complexity(maps).tolist())
    same(coherency(again * scale, maps / scale), coherency(again, maps).tolist())


@pytest.mark.parametrize("shape", [(3, 4), (1, 1, 3, 4), (0, 3, 4), (1, 0, 4)])
def test_bad_maps(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected maps N×H×W .*map\[None\]"):
        map_complexity(torch.ones(shape))


def test_a_batch_scores_as_its_maps_do_alone() -> None:
    again, maps = varied(5, seed=1), varied(5, seed=2)
    alone = [coherency(again[row : row + 1], maps[row : row + 1]) for row in range(5)]
    same(coherency(again, maps), torch.cat(alone).tolist())
    same(map_complexity(maps), [float(map_complexity(one[None])) for one in maps])


# --- the harmonic mean


@given(rows=triples)
def test_adcc_equals_the_reference(rows: list[tuple[float, float, float]]) -> None:
    same(adcc(*columns(rows)), [reference.adcc(*row) for row in rows])


@given(rows=triples)
def test_adcc_of_means_equals_the_reference(rows: list[tuple[float, float, float]]) -> None:
    expected = reference.adcc_of_means(*(list(part) for part in zip(*rows, strict=True)))
    found = adcc_of_means(*columns(rows))
    assert found.shape == ()
    same(found[None], [expected])


@given(rows=st.lists(st.tuples(share, share, share), min_size=1, max_size=6))
def test_adcc_lies_between_its_parts_and_the_means_are_never_below(
    rows: list[tuple[float, float, float]],
) -> None:
    one, shown, lost = columns(rows)
    found = adcc(one, shown, lost)
    parts = torch.stack([one, 1 - shown, 1 - lost])
    assert bool((found >= parts.amin(dim=0) - 1e-12).all())
    assert bool((found <= parts.mean(dim=0) + 1e-12).all())
    assert float(adcc_of_means(one, shown, lost)) >= float(found.mean()) - 1e-12


@given(row=st.tuples(share, share, share), better=st.integers(0, 2), by=share)
def test_adcc_never_falls_when_a_part_gets_better(
    row: tuple[float, float, float], better: int, by: float
) -> None:
    goal = 1.0 if better == 0 else 0.0
    raised = list(row)
    raised[better] += (goal - raised[better]) * by
    assume(0 <= raised[better] <= 1)
    before, after = adcc(*columns([row, (raised[0], raised[1], raised[2])])).tolist()
    assert after >= before - 1e-12


def test_a_part_of_zero_gives_the_limit_and_an_undefined_part_nothing() -> None:
    rows = [(0.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0), (0.0, 1.0, 1.0), (1.0, 0.0, 0.0)]
    assert adcc(*columns(rows)).tolist() == [0, 0, 0, 0, 1]
    undefined = [(NAN, 0.5, 0.5), (0.5, NAN, 0.5), (0.5, 0.5, NAN), (0.0, 0.5, NAN)]
    assert bool(adcc(*columns(undefined)).isnan().all())
    near = [(1e-9, 0.5, 0.5), (1e-300, 0.5, 0.5), (5e-324, 0.5, 0.5)]
    assert adcc(*columns(near)).tolist() == pytest.approx([3e-9, 0, 0], abs=1e-12)


def test_the_mean_of_figures_and_the_figure_of_means_differ() -> None:
    one, shown, lost = columns([(1.0, 0.2, 0.0), (0.5, 0.6, 1.0), (NAN, 0.9, 0.9)])
    assert adcc(one, shown, lost)[:2].mean() == pytest.approx(3 / 3.25 / 2)
    assert float(adcc_of_means(one, shown, lost)) == pytest.approx(3 / (1 / 0.75 + 1 / 0.6 + 2))


def test_no_image_with_all_parts_has_no_figure_of_means() -> None:
    assert bool(adcc_of_means(*columns([(NAN, 0.5, 0.5), (0.5, NAN, 0.5)])).isnan())


@pytest.mark.parametrize("figure", [adcc, adcc_of_means])
def test_bad_parts(figure: object) -> None:
    one, shown, lost = columns([(0.5, 0.5, 0.5), (0.5, 0.5, 0.4)])
    with pytest.raises(UsageError, match=r"drop in \[0, 1\].* got 50; .*divide it by 100"):
        figure(one, shown, 100 * lost)  # type: ignore[operator]
    with pytest.raises(UsageError, match=r"coherency in \[0, 1\].* got -0.5"):
        figure(-one, shown, lost)  # type: ignore[operator]
    for wrong in (lost[:1], lost[None], lost > 0):
        with pytest.raises(UsageError, match="one value of floating point for each of N ≥ 1"):
            figure(one, shown, wrong)  # type: ignore[operator]
    with pytest.raises(UsageError, match="N ≥ 1"):
        figure(one[:0], shown[:0], lost[:0])  # type: ignore[operator]


def test_the_registry_says_how_to_read_them() -> None:
    read = {name: METRICS[name].info for name in METRICS if METRICS[name].info.check == "adcc"}
    assert {name: (info.direction, info.low, info.high) for name, info in read.items()} == {
        "adcc": ("higher", 0, 1),
        "coherency": ("higher", 0, 1),
        "map-complexity": ("lower", 0, 1),
    }
