"""The pointing games and overlaps against literal references, and every case without a figure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.metrics.localisation import (
    box_iou,
    boxes_to_mask,
    energy_pointing_game,
    iou,
    largest_component,
    pointing_game,
    tight_boxes,
)
from camaudit.metrics.registry import METRICS
from tests.references import metrics as reference

FIGURES: dict[str, Callable[..., Tensor]] = {
    "pointing-game": pointing_game,
    "energy-pointing-game": energy_pointing_game,
    "iou": iou,
    "box-iou": box_iou,
}
every_figure = pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)

SHAPE = (3, 5, 6)


def made(seed: int, levels: int) -> Tensor:
    """Maps of whole numbers, which tie often and may be constant, or of any numbers (levels 0)."""
    rng = np.random.default_rng(seed)
    values = rng.integers(levels, size=SHAPE) if levels else rng.lognormal(0, 3, SHAPE)
    return torch.from_numpy(values.astype(np.float64))


def chosen(seed: int, share: float) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, 1]).random(SHAPE) < share)


seeds = st.integers(0, 2**32 - 1)
drawn_maps = st.builds(made, seeds, st.sampled_from([0, 1, 2, 3, 5]))
drawn_regions = st.builds(chosen, seeds, st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]))
masks = st.builds(
    lambda seed, height, width, share: (
        np.random.default_rng(seed).random((2, height, width)) < share
    ),
    seeds,
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.3, 0.5, 0.8]),
)


def same(ours: Tensor, expected: list[float]) -> None:
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-14, equal_nan=True)


def rows(maps: Tensor, regions: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.double().numpy(), b.numpy()) for a, b in zip(maps, regions, strict=True)]


# --- against the references -----------------------------------------------------------------------


@given(drawn_maps, drawn_regions, st.sampled_from([0, 0.5, 1, 1.5, 2, 3.7, 40, 1e150]))
def test_pointing_game_equals_the_reference(maps: Tensor, regions: Tensor, near: float) -> None:
    ours = pointing_game(maps, regions, tolerance=near)
    same(ours, [reference.pointing_game(*row, tolerance=near) for row in rows(maps, regions)])


@given(drawn_maps, drawn_regions)
def test_energy_equals_the_reference(maps: Tensor, regions: Tensor) -> None:
    ours = energy_pointing_game(maps, regions)
    same(ours, [reference.energy_pointing_game(*row) for row in rows(maps, regions)])


@given(drawn_maps, drawn_regions, st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_overlaps_equal_the_reference(maps: Tensor, regions: Tensor, threshold: float) -> None:
    pairs = rows(maps, regions)
    ours = iou(maps, regions, threshold=threshold)
    same(ours, [reference.iou(*row, threshold=threshold) for row in pairs])
    ours = box_iou(maps, regions, threshold=threshold)
    # pixels that touch at a corner belong together, as in the contours that such boxes are read of
    same(ours, [reference.box_iou(*row, threshold=threshold, connectivity=8) for row in pairs])


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_boxes_equal_the_reference(height: int, width: int, data: st.DataObject) -> None:
    def box() -> tuple[int, int, int, int]:
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
        return x0, y0, x1, y1

    boxes = [box() for _ in range(data.draw(st.integers(0, 3)))]
    expected = reference.boxes_to_mask(boxes, (height, width))
    assert (boxes_to_mask(boxes, (height, width)).numpy() == expected).all()


@given(masks)
def test_largest_component_is_that_of_scipy(drawn: np.ndarray) -> None:
    ours = largest_component(torch.from_numpy(drawn)).numpy()
    for mine, mask in zip(ours, drawn, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        sizes = [(labels == label).sum() for label in range(1, count + 1)]
        # scipy numbers components in reading order, and argmax takes the first
        expected = labels == 1 + int(np.argmax(sizes)) if count else np.zeros_like(mask)
        assert (mine == expected).all()


def test_a_long_winding_path_is_one_component() -> None:
    path = torch.zeros(1, 33, 33, dtype=torch.bool)
    path[0, ::2] = True
    path[0, 1::4, -1] = path[0, 3::4, 0] = True
    path[0, 16, 20] = False  # cut in two: the part above the gap is the larger one
    found = largest_component(path)
    assert torch.equal(found[0, :16], path[0, :16])
    assert found[0, 16].nonzero().flatten().tolist() == list(range(20))
    assert not found[0, 17:].any()


def test_of_equal_components_the_first_in_reading_order_is_taken() -> None:
    mask = torch.tensor([[[0, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0]]]).bool()
    assert largest_component(mask).nonzero().tolist() == [[0, 0, 3], [0, 1, 3]]


def test_tight_boxes_by_hand() -> None:
    mask = torch.zeros(3, 4, 5, dtype=torch.bool)
    mask[0, 1, 2] = mask[0, 3, 0] = True
    mask[1] = True
    assert tight_boxes(mask).tolist() == [[0, 1, 3, 4], [0, 0, 5, 4], [0, 0, 0, 0]]


def test_figures_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0, 2.0], [1.0, 4.0, 0.0]]])
    regions = boxes_to_mask([(1, 0, 3, 1)], (2, 3))[None]
    assert pointing_game(maps, regions).item() == 0
    assert pointing_game(maps, regions, tolerance=1).item() == 1
    assert energy_pointing_game(maps, regions).item() == 3 / 8
    assert iou(maps, regions).item() == 2 / 4  # marked: 1, 2, 1 and 4, all from 0.8
    assert box_iou(maps, regions).item() == 2 / 6


# --- what holds for every figure ------------------------------------------------------------------


@every_figure
@given(maps=drawn_maps, regions=drawn_regions)
def test_figures_are_shares_and_of_their_image_alone(
    figure: Callable[..., Tensor], maps: Tensor, regions: Tensor
) -> None:
    figures = figure(maps, regions)
    assert figures.dtype == torch.float64
    defined = figures[~figures.isnan()]
    assert bool(((defined >= 0) & (defined <= 1)).all())
    alone = [figure(maps[row : row + 1], regions[row : row + 1]) for row in range(len(maps))]
    torch.testing.assert_close(torch.cat(alone), figures, rtol=0, atol=0, equal_nan=True)
    turned = figure(maps.flip(0), regions.flip(0)).flip(0)
    torch.testing.assert_close(turned, figures, rtol=0, atol=0, equal_nan=True)


@every_figure
@given(maps=drawn_maps, regions=drawn_regions, power=st.integers(-60, 60))
def test_the_scale_of_a_map_changes_nothing(
    figure: Callable[..., Tensor], maps: Tensor, regions: Tensor, power: int
) -> None:
    scaled = figure(maps * 2.0**power, regions)
    torch.testing.assert_close(scaled, figure(maps, regions), rtol=1e-12, atol=0, equal_nan=True)


@every_figure
@given(maps=drawn_maps, regions=drawn_regions)
def test_mirrored_images_have_the_same_figures(
    figure: Callable[..., Tensor], maps: Tensor, regions: Tensor
) -> None:
    if figure is box_iou:  # of components of equal size the first counts, and mirrors change it
        maps = maps + torch.arange(maps[0].numel()).view(maps.shape[1:]) * 1e3
    mirrored = figure(maps.mT.flip(1), regions.mT.flip(1))
    torch.testing.assert_close(mirrored, figure(maps, regions), rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("figure", [pointing_game, energy_pointing_game])
@given(maps=drawn_maps, regions=drawn_regions, more=drawn_regions)
def test_a_larger_region_is_never_hit_less(
    figure: Callable[..., Tensor], maps: Tensor, regions: Tensor, more: Tensor
) -> None:
    small, large = figure(maps, regions), figure(maps, regions | more)
    both = ~(small.isnan() | large.isnan())
    assert bool((large[both] >= small[both] - 1e-12).all())


@given(maps=drawn_maps, regions=drawn_regions)
def test_the_region_and_what_is_left_share_the_energy(maps: Tensor, regions: Tensor) -> None:
    both = energy_pointing_game(maps, regions) + energy_pointing_game(maps, ~regions)
    torch.testing.assert_close(both[~both.isnan()], torch.ones_like(both[~both.isnan()]))


@given(maps=drawn_maps, regions=drawn_regions, near=st.floats(0, 9), more=st.floats(0, 9))
def test_more_tolerance_never_loses_a_hit(
    maps: Tensor, regions: Tensor, near: float, more: float
) -> None:
    strict = pointing_game(maps, regions, tolerance=near)
    loose = pointing_game(maps, regions, tolerance=near + more)
    assert bool((loose[~loose.isnan()] >= strict[~strict.isnan()]).all())


@every_figure
def test_a_map_that_is_its_region_is_perfect(figure: Callable[..., Tensor]) -> None:
    region = boxes_to_mask([(1, 1, 4, 3)], (5, 6))[None]
    assert figure(region.double(), region).item() == 1
    # the box around what is left is the whole image
    assert figure(region.double(), ~region).item() == (6 / 30 if figure is box_iou else 0)


@every_figure
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_computed_in_float64(
    figure: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    maps = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    regions = boxes_to_mask([(3, 5, 30, 20)], (40, 40)).expand(2, -1, -1)
    assert torch.equal(figure(maps, regions), figure(maps.double(), regions))


# --- where there is no figure ---------------------------------------------------------------------


@every_figure
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_has_none_and_harms_no_other(
    figure: Callable[..., Tensor], bad: float
) -> None:
    maps = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(1))
    regions = boxes_to_mask([(1, 1, 4, 3)], (5, 6)).expand(2, -1, -1)
    before = figure(maps, regions)
    maps[0, 2, 2] = bad
    after = figure(maps, regions)
    assert math.isnan(after[0])
    assert after[1] == before[1]


@every_figure
def test_an_empty_region_is_undefined_never_a_hit_or_a_miss(
    figure: Callable[..., Tensor],
) -> None:
    maps = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(1))
    regions = torch.zeros(2, 5, 6, dtype=torch.bool)
    regions[1, 2, 2] = True
    figures = figure(maps, regions)
    assert math.isnan(figures[0])
    assert not math.isnan(figures[1])


def test_a_constant_map_has_its_energy_everywhere_and_no_maximum() -> None:
    maps = torch.full((2, 5, 6), 0.3)
    maps[1] = 0
    regions = boxes_to_mask([(0, 0, 3, 5)], (5, 6)).expand(2, -1, -1)
    for figure in (pointing_game, iou, box_iou):
        assert figure(maps, regions).isnan().all()
    energy = energy_pointing_game(maps, regions)
    assert energy[0].item() == pytest.approx(0.5, abs=1e-15)
    assert math.isnan(energy[1])


@every_figure
def test_a_region_of_the_whole_image_is_defined(figure: Callable[..., Tensor]) -> None:
    maps = torch.zeros(1, 5, 6)
    maps[0, 1, 1] = 1
    expected = 1 if figure in (pointing_game, energy_pointing_game) else 1 / 30
    assert figure(maps, torch.ones(1, 5, 6, dtype=torch.bool)).item() == pytest.approx(expected)


def test_signed_maps_have_no_share_of_energy_but_a_maximum() -> None:
    maps = torch.tensor([[[-1.0, 2.0], [0.0, 1.0]], [[-1.0, -2.0], [-3.0, -4.0]]])
    regions = torch.tensor([[[False, True], [False, False]], [[True, False], [False, False]]])
    assert energy_pointing_game(maps, regions).isnan().all()
    assert pointing_game(maps, regions).tolist() == [1, 1]
    for figure in (iou, box_iou):  # nothing is a share of a maximum below 0
        first, second = figure(maps, regions).tolist()
        assert first == 0.5
        assert math.isnan(second)


def test_several_maxima_count_by_their_share() -> None:
    maps = torch.tensor([[[2.0, 2.0, 0.0], [0.0, 2.0, 1.0]]])
    regions = boxes_to_mask([(0, 0, 1, 2)], (2, 3))[None]
    assert pointing_game(maps, regions).item() == pytest.approx(1 / 3)
    assert pointing_game(maps, regions, tolerance=1).item() == 1


def test_the_tolerance_is_a_distance_not_a_square() -> None:
    maps = torch.zeros(1, 5, 5)
    maps[0, 0, 0] = 1
    regions = torch.zeros(1, 5, 5, dtype=torch.bool)
    regions[0, 1, 1] = True
    assert pointing_game(maps, regions, tolerance=1.4).item() == 0
    assert pointing_game(maps, regions, tolerance=1.42).item() == 1


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((-1, 0, 2, 2), "outside the image of 6×5"),
        ((0, 0, 7, 2), "outside"),
        ((0, 0, 2, 5.5), "outside"),
        ((2, 2, 2, 4), "no pixel"),
        ((4, 2, 2, 4), "no pixel"),
        ((0.6, 0, 1.4, 3), "no pixel"),
        ((0, 0, math.nan, 3), "not four finite numbers"),
        ((0, 0, math.inf, 3), "not four finite numbers"),
        ((0, 0, 3), "not four finite numbers"),
    ],
)
def test_a_bad_box_is_named(box: tuple[float, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        boxes_to_mask([(0, 0, 1, 1), box], (5, 6))
    assert f"box 1, {box}" in str(raised.value)


def test_a_pixel_belongs_to_the_box_that_holds_its_centre() -> None:
    mask = boxes_to_mask([(0.5, 0.6, 2.5, 2.0)], (3, 4))
    assert mask.int().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert not boxes_to_mask([], (3, 4)).any()
    with pytest.raises(UsageError, match="image size"):
        boxes_to_mask([], (0, 4))


@every_figure
@pytest.mark.parametrize(
    ("maps", "regions"),
    [
        (torch.rand(5, 6), torch.ones(5, 6, dtype=torch.bool)),
        (torch.rand(0, 5, 6), torch.ones(0, 5, 6, dtype=torch.bool)),
        (torch.ones(1, 5, 6, dtype=torch.int64), torch.ones(1, 5, 6, dtype=torch.bool)),
        (torch.rand(1, 5, 6), torch.ones(1, 5, 6)),
        (torch.rand(1, 5, 6), torch.ones(2, 5, 6, dtype=torch.bool)),
        (torch.rand(2, 5, 6), torch.ones(5, 6, dtype=torch.bool)),
        (torch.rand(1, 5, 6), torch.ones(1, 6, 5, dtype=torch.bool)),
    ],
)
def test_shapes_and_dtypes_that_do_not_fit_are_refused(
    figure: Callable[..., Tensor], maps: Tensor, regions: Tensor
) -> None:
    with pytest.raises(UsageError, match="expected"):
        figure(maps, regions)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("figure", [iou, box_iou])
def test_a_threshold_is_a_share(figure: Callable[..., Tensor], threshold: float) -> None:
    with pytest.raises(UsageError, match="share of the maximum"):
        figure(torch.rand(1, 5, 6), torch.ones(1, 5, 6, dtype=torch.bool), threshold=threshold)


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_a_tolerance_is_a_number_of_pixels(tolerance: float) -> None:
    with pytest.raises(UsageError, match="number of pixels"):
        pointing_game(
            torch.rand(1, 5, 6), torch.ones(1, 5, 6, dtype=torch.bool), tolerance=tolerance
        )


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_registered(name: str) -> None:
    entry = METRICS[name]
    assert entry.function is FIGURES[name]
    info = entry.info
    assert (info.check, info.direction, info.needs) == ("localisation", "higher", "regions")
    assert (info.low, info.high) == (0, 1)
