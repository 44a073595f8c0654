"""Checks of the metrics' references themselves: tiny cases done by hand, and identities."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from . import metrics
from .metrics import Array, Mask

NAN = math.nan
CONSTANT = [np.zeros((2, 2)), np.full((2, 2), 3.0)]
BROKEN = [np.array([[1.0, math.inf], [0, 2]]), np.array([[1.0, NAN], [0, 2]])]


def array(values: object) -> Array:
    return np.array(values, dtype=np.float64)


def mask(values: object) -> Mask:
    return np.array(values, dtype=bool)


def same(got: object, want: object) -> None:
    """Equal to rounding; NaN where NaN was wanted, and nowhere else."""
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(array(got), array(want), rtol=1e-12, atol=1e-13)


def share(images: Tensor) -> Tensor:
    """Logits whose softmax is (p, 1 − p), p the sum of the image."""
    p = images.sum((1, 2, 3)).clamp(0, 1)  # sums of tenths may end a rounding above 1
    return torch.stack([p, 1 - p], 1).log()


# ---------------------------------------------------------------------------------------------
# confidence


def test_minmax() -> None:
    # (v − 1) / (5 − 1)
    same(metrics.minmax(array([[1, 2], [3, 5]])).tolist(), [[0, 0.25], [0.5, 1]])


@pytest.mark.parametrize("map_", CONSTANT + BROKEN)
def test_minmax_undefined(map_: Array) -> None:
    assert np.isnan(metrics.minmax(map_)).all()


def test_masked_images() -> None:
    image, weights = array([[[4, 8]], [[2, -6]]]), array([[0.25, 1]])
    same(metrics.masked_images(image, weights).tolist(), [[[1, 8]], [[0.5, -6]]])
    # with b = (−2, 4): 1 − 2·¾ = −½ and ½ + 4·¾ = 3½; where the weight is 1, b is not seen
    got = metrics.masked_images(image, weights, baseline=[-2, 4])
    same(got.tolist(), [[[-0.5, 8]], [[3.5, -6]]])


def test_black_is_the_raw_image_multiplied() -> None:
    raw, weights = array([[[0.2, 0.6], [1.0, 0.1]]]), array([[0.3, 1.0], [0.0, 0.5]])
    mean, std = 0.4, 0.25
    got = metrics.masked_images((raw - mean) / std, weights, baseline=[-mean / std])
    same(got.tolist(), ((raw * weights - mean) / std).tolist())


@pytest.mark.parametrize(
    ("full", "masked", "drop", "increase"),
    [
        (0.8, 0.6, 25.0, 0.0),  # (0.8 − 0.6) / 0.8
        (0.5, 0.75, 0.0, 100.0),  # a rise is no negative drop
        (0.5, 0.5, 0.0, 0.0),  # and equality no rise
        (0.5, 0.0, 100.0, 0.0),
        (0.0, 0.1, NAN, 100.0),  # no share of nothing, yet 0 < 0.1
        (0.5, NAN, NAN, NAN),
        (NAN, 0.5, NAN, NAN),
    ],
)
def test_drop_and_increase(full: float, masked: float, drop: float, increase: float) -> None:
    same(metrics.average_drop(full, masked), drop)
    same(metrics.increase_in_confidence(full, masked), increase)


def test_win() -> None:
    got = metrics.win(
        [
            [10, 0, 2, NAN, 5, 7],
            [20, 0, NAN, NAN, NAN, 7],
            [30, 5, 1, 1, NAN, 7],
        ]
    )
    # least 10; 0 and 0 share; 1 of (2, 1); one alone twice: no comparison; all three share
    same(got[0], [100, 50, 0, NAN, NAN, 100 / 3])
    same(got[1], [0, 50, NAN, NAN, NAN, 100 / 3])
    same(got[2], [0, 0, 100, NAN, NAN, 100 / 3])
    with pytest.raises(ValueError, match="not 1"):
        metrics.win([[1, 2]])


def test_drop_in_logit() -> None:
    same(metrics.drop_in_logit(3.0, 5.5), -2.5)


# ---------------------------------------------------------------------------------------------
# ADCC


def test_coherency() -> None:
    again, map_ = array([[0, 1], [0, 0]]), array([[0, 1], [1, 0]])
    # means ¼ and ½; Σ of the products ⅛ + ⅜ − ⅛ + ⅛ = ½; of the squares ¾ and 1; r = ½/√¾ = 1/√3
    want = (1 / math.sqrt(3) + 1) / 2
    same(metrics.coherency(again, map_), want)
    same(metrics.coherency(1e-200 * again, 7 * map_ + 2), want)
    same(metrics.coherency(map_, map_), 1.0)
    same(metrics.coherency(1 - map_, map_), 0.0)


@pytest.mark.parametrize("map_", CONSTANT + BROKEN)
def test_coherency_and_complexity_undefined(map_: Array) -> None:
    fine = array([[0, 1], [1, 0]])
    assert math.isnan(metrics.coherency(map_, fine))
    assert math.isnan(metrics.coherency(fine, map_))
    assert math.isnan(metrics.map_complexity(map_))


def test_complexity() -> None:
    # m = (0, ¼, ½, 1): 7/4 over 4 pixels
    same(metrics.map_complexity(array([[1, 2], [3, 5]])), 7 / 16)


@pytest.mark.parametrize(
    ("parts", "want"),
    [
        ((0.5, 0.5, 0.5), 0.5),
        ((1.0, 0.5, 0.75), 3 / 7),  # 3 / (1 + 2 + 4)
        ((0.0, 0.5, 0.75), 0.0),
        ((1.0, 1.0, 0.0), 0.0),
        ((1.0, 0.5, 1.0), 0.0),
        ((NAN, 1.0, 0.0), NAN),
    ],
)
def test_adcc(parts: tuple[float, float, float], want: float) -> None:
    same(metrics.adcc(*parts), want)


def test_adcc_of_means() -> None:
    # means ¾, ½, ½ of the first two: 3 / (4/3 + 2 + 2) = 9/16, not the mean of 3/7 and 9/16
    got = metrics.adcc_of_means([1, 0.5, 0.1], [0.5, 0.5, NAN], [0.75, 0.25, 0.2])
    same(got, 9 / 16)
    assert math.isnan(metrics.adcc_of_means([NAN], [0.5], [0.5]))


# ---------------------------------------------------------------------------------------------
# sparsity


@pytest.mark.parametrize(
    ("map_", "want"),
    [
        ([[0, 0], [0, 1]], 0.75),  # 1 − 2·1·½/4: all in one of d is 1 − 1/d
        ([[3, 1]], 0.25),  # 1 − 2·(¼·1½/2 + ¾·½/2) = 1 − 2·⅜
        ([[2, 2, 2]], 0.0),
        ([[0, 0]], NAN),
        ([[0, math.inf]], NAN),
    ],
)
def test_sparseness(map_: object, want: float) -> None:
    same(metrics.sparseness(array(map_)), want)


def test_sparseness_is_the_mean_difference() -> None:
    """Gini's own form: Σ_ij |v_i − v_j| / (2 d Σ v)."""
    values = [0.3, 2.0, 0.0, 0.3, 5.5, 1.25]
    between = sum(abs(a - b) for a in values for b in values)
    same(metrics.sparseness(array([values])), between / (2 * 6 * sum(values)))


@pytest.mark.parametrize(
    ("map_", "want"),
    [
        ([[1, 1], [2, 0]], 1.5 * math.log(2)),  # ¼·ln 4 twice and ½·ln 2
        ([[5, 5], [5, 5]], math.log(4)),
        ([[0, 9]], 0.0),
        ([[0, 0]], NAN),
        ([[NAN, 1]], NAN),
    ],
)
def test_entropy(map_: object, want: float) -> None:
    same(metrics.entropy(array(map_)), want)


# ---------------------------------------------------------------------------------------------
# insertion and deletion


def test_pixel_order() -> None:
    # 7 at pixel 2, then the three 4s as the permutation has them (5, 1, 3), then 2, then 0
    map_ = array([[2, 4, 7], [4, 0, 4]])
    order, tied = metrics.pixel_order(map_, permutation=[5, 4, 1, 0, 3, 2])
    assert order == [2, 5, 1, 3, 0, 4]
    assert tied == 0.5
    with pytest.raises(ValueError, match="no order"):
        metrics.pixel_order(BROKEN[0])


def test_tie_break_is_seeded() -> None:
    assert metrics.tie_break(40, 1) == metrics.tie_break(40, 1) != metrics.tie_break(40, 2)
    order, tied = metrics.pixel_order(np.zeros((2, 5)), seed=4)
    assert order == metrics.tie_break(10, 4)
    assert sorted(order) == list(range(10))
    assert tied == 1.0


def test_canvas() -> None:
    # exp(−1/(2σ²)) = ½ for σ² = 1/(2 ln 2): one axis is (½, 1, ½)/2 = (¼, ½, ¼)
    sigma = math.sqrt(1 / (2 * math.log(2)))
    one = np.zeros((1, 3, 3))
    one[0, 1, 1] = 16
    got = metrics.insertion_canvas(one, size=3, sigma=sigma)
    same(got[0].tolist(), [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    # of ones, an edge loses ¼ and a corner 1 − (¾)²; no other border loses anything
    got = metrics.insertion_canvas(np.ones((1, 3, 3)), size=3, sigma=sigma)
    same(got[0].tolist(), [[9 / 16, 0.75, 9 / 16], [0.75, 1, 0.75], [9 / 16, 0.75, 9 / 16]])
    # (0, 8) beside each other: right of it 8 again (replicate) or 0 (reflect)
    line = array([[[0, 8]]])
    for border, want in [("zeros", [1, 2]), ("replicate", [2, 6]), ("reflect", [4, 4])]:
        got = metrics.insertion_canvas(line, size=3, sigma=sigma, border=border)
        same(got[0, 0].tolist(), want)


@pytest.mark.parametrize(("size", "sigma"), [(11, 5.0), (3, 5.0), (7, 0.8)])
def test_rise_kernel(size: int, sigma: float) -> None:
    """RISE's program filters a unit impulse; nothing of it is lost."""
    impulse = np.zeros((size, size))
    impulse[size // 2, size // 2] = 1
    line = metrics.gaussian_kernel(size, sigma, "rise")
    same([a * b for a in line for b in line], gaussian_filter(impulse, sigma).ravel().tolist())
    same(sum(line), 1.0)


IMAGE = array([[[0.1, 0.2], [0.3, 0.4]]])
ORDERED = array([[1, 4], [2, 3]])  # pixels 1, 3, 2, 0: 0.2, 0.4, 0.3, 0.1


def test_deletion() -> None:
    got = metrics.deletion_curve(share, IMAGE, ORDERED, 0, pixels_per_step=1)
    same(got, [1, 0.8, 0.4, 0.1, 0])
    same(metrics.curve_auc(got), (0.5 + 0.8 + 0.4 + 0.1 + 0) / 4)
    # three at once and then the one that is left, which weighs as much
    got = metrics.deletion_curve(share, IMAGE, ORDERED, 0, pixels_per_step=3)
    same(got, [1, 0.1, 0])
    same(metrics.curve_auc(got), (0.5 + 0.1 + 0) / 2)


def test_insertion() -> None:
    start = np.zeros((1, 2, 2))
    got = metrics.insertion_curve(share, IMAGE, ORDERED, 0, pixels_per_step=1, start=start)
    same(got, [0, 0.2, 0.6, 0.9, 1])
    # class 1 sees the rest
    got = metrics.insertion_curve(share, IMAGE, ORDERED, 1, pixels_per_step=3, start=start)
    same(got, [1, 0.1, 0])
    got = metrics.insertion_curve(share, IMAGE, ORDERED, 0, pixels_per_step=2)
    blurred = metrics.insertion_canvas(IMAGE)[0]
    same(got, [blurred.sum(), blurred[0, 0] + blurred[1, 0] + 0.6, 1])


@pytest.mark.parametrize("map_", CONSTANT + BROKEN)
def test_curves_undefined(map_: Array) -> None:
    for one in (metrics.deletion_curve, metrics.insertion_curve):
        got = one(share, IMAGE, map_, 0, pixels_per_step=3)
        assert len(got) == 3
        assert all(math.isnan(p) for p in [*got, metrics.curve_auc(got)])
    assert all(math.isnan(p) for p in metrics.road_scores(share, IMAGE, map_, 0, most=True))


def test_curve_auc() -> None:
    same(metrics.curve_auc([0.25, 0.25, 0.25]), 0.25)
    same(metrics.curve_auc([1, 0]), 0.5)


# ---------------------------------------------------------------------------------------------
# ROAD


def test_imputation() -> None:
    # inside: (2·(2 + 4 + 6 + 8) + 1 + 3 + 7 + 15) / 12 = 66/12
    image = array([[[1, 2, 3], [4, 99, 6], [7, 8, 15]]])
    removed = mask([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    got = metrics.road_impute(image, removed)
    same(got[0].tolist(), [[1, 2, 3], [4, 5.5, 6], [7, 8, 15]])
    # a corner: (2·3 + 2·5 + 1·4) / 5
    image, removed = array([[[99, 3], [5, 4]]]), mask([[1, 0], [0, 0]])
    same(metrics.road_impute(image, removed)[0, 0, 0], 4.0)
    same(
        metrics.road_impute(image, removed, noise=np.full((1, 2, 2), 0.5))[0].tolist(),
        [[4.5, 3], [5, 4]],
    )


def test_imputation_solves_for_neighbours() -> None:
    # a = (0 + b)/2 and b = (a + 3)/2: 1 and 2; the other channel is ten times that
    image = array([[[0, 7, 7, 3]], [[0, 7, 7, 30]]])
    got = metrics.road_impute(image, mask([[0, 1, 1, 0]]))
    same(got[:, 0].tolist(), [[0, 1, 2, 3], [0, 10, 20, 30]])
    same(metrics.road_impute(image, mask([[0, 0, 0, 0]])).tolist(), image.tolist())
    with pytest.raises(ValueError, match="no pixel is left"):
        metrics.road_impute(image, mask([[1, 1, 1, 1]]))


def test_road_removed() -> None:
    order = [3, 0, 4, 1, 2, 5]
    # ⌊50·6/100⌋ = 3 first ones, ⌊40·6/100⌋ = 2 last ones
    first = metrics.road_removed(order, 50, (2, 3), most=True)
    last = metrics.road_removed(order, 40, (2, 3), most=False)
    assert first.tolist() == [[True, False, False], [True, True, False]]
    assert last.tolist() == [[False, False, True], [False, False, True]]


def test_road() -> None:
    # a row (0, 0.4, 0.1, 0.2), map (4, 3, 2, 1), half and three quarters of the pixels away
    image, map_ = array([[[0, 0.4, 0.1, 0.2]]]), array([[4, 3, 2, 1]])
    # MoRF 50: pixels 0, 1 become 0.1: 0.5 in all; 75: all become 0.2: 0.8
    morf = metrics.road_scores(share, image, map_, 0, most=True, percentiles=[50, 75])
    same(morf, [0.5, 0.8])
    # LeRF 50: pixels 2, 3 become 0.4: 1.2, cut to 1; 75: all become 0
    lerf = metrics.road_scores(share, image, map_, 0, most=False, percentiles=[50, 75])
    same(lerf, [1.0, 0.0])
    same(metrics.road_morf(morf), 0.65)
    same(metrics.road_lerf(lerf), 0.5)
    same(metrics.road(morf, lerf), (0.5 - 0.65) / 2)
    # 0.05 on each of the two that went, and nothing on the others
    noise = [np.full(image.shape, 0.05)]
    got = metrics.road_scores(share, image, map_, 0, most=True, percentiles=[50], noise=noise)
    same(got, [0.6])


# ---------------------------------------------------------------------------------------------
# localisation


def test_boxes() -> None:
    got = metrics.boxes_to_mask([(0, 0, 1, 1), (1, 0, 3, 2)], (3, 4))
    assert got.astype(int).tolist() == [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert not metrics.boxes_to_mask([], (3, 4)).any()


@pytest.mark.parametrize(
    "box", [(1, 1, 1, 2), (0, 0, 5, 1), (0, 0, 1, 4), (-1, 0, 1, 1), (2, 0, 1, 1)]
)
def test_boxes_that_are_none(box: metrics.Box) -> None:
    with pytest.raises(ValueError, match="empty or reaches out"):
        metrics.boxes_to_mask([box], (3, 4))


CORNER = mask([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("top", "tolerance", "want"),
    [
        ([(0, 0)], 0, 1.0),
        ([(0, 1)], 0, 0.0),
        ([(0, 1)], 1, 1.0),
        ([(1, 1)], 1, 0.0),  # √2 away
        ([(1, 1)], 1.5, 1.0),
        ([(0, 0), (2, 3), (0, 1)], 0, 1 / 3),
        ([(0, 0), (2, 3), (0, 1)], 1, 2 / 3),
    ],
)
def test_pointing_game(top: Sequence[tuple[int, int]], tolerance: float, want: float) -> None:
    map_ = np.full((3, 4), 0.5)
    for i, j in top:
        map_[i, j] = 2.0
    same(metrics.pointing_game(map_, CORNER, tolerance=tolerance), want)


def test_energy() -> None:
    map_, region = array([[1, 2], [0, 5]]), mask([[1, 0], [0, 1]])
    same(metrics.energy_pointing_game(map_, region), 6 / 8)
    same(metrics.energy_pointing_game(np.full((2, 2), 3.0), region), 0.5)  # the region's area
    assert math.isnan(metrics.energy_pointing_game(np.zeros((2, 2)), region))


def test_iou() -> None:
    # at least 0.2·10 = 2 are 2, 10 and 3; the region has 10 and 1: one of four in both
    map_, region = array([[2, 10, 0], [1, 3, 1.9]]), mask([[0, 1, 0], [1, 0, 0]])
    same(metrics.iou(map_, region), 1 / 4)
    same(metrics.iou(map_, region, threshold=0.3), 1 / 3)  # 10 and 3
    same(metrics.iou(map_, mask(np.ones((2, 3)))), 0.5)


def test_box_iou() -> None:
    map_ = array(
        [
            [9, 0, 0, 0],
            [0, 9, 9, 0],
            [0, 0, 9, 0],
            [9, 9, 0, 0],
        ]
    )
    region = mask([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    # edges: three pixels in rows and columns 1–2, 4 of the 6 of the region's rows 1–2, columns 1–3
    same(metrics.box_iou(map_, region), 4 / 6)
    # corners too: all six, a box of 4×3 = 12; they share 4 of 12 + 6 − 4
    same(metrics.box_iou(map_, region, connectivity=8), 4 / 14)


def test_largest_component() -> None:
    got = metrics.largest_component(mask([[0, 0, 1, 1], [1, 1, 0, 0]]))
    assert got.astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]  # the first of equal ones
    got = metrics.largest_component(mask([[1, 0, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]]))
    assert got.astype(int).tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("map_", CONSTANT + BROKEN)
def test_localisation_undefined(map_: Array) -> None:
    region = mask([[1, 0], [0, 0]])
    assert math.isnan(metrics.pointing_game(map_, region))
    assert math.isnan(metrics.iou(map_, region))
    assert math.isnan(metrics.box_iou(map_, region))


def test_no_region() -> None:
    map_, region = array([[1, 2], [3, 4]]), mask(np.zeros((2, 2)))
    for one in (
        metrics.pointing_game,
        metrics.energy_pointing_game,
        metrics.iou,
        metrics.box_iou,
    ):
        assert math.isnan(one(map_, region))


# ---------------------------------------------------------------------------------------------
# infidelity and sensitivity


def test_infidelity() -> None:
    def model(images: Tensor) -> Tensor:
        """Logits (0, 3·x_0 + x_1 − 1)."""
        score = (images * torch.tensor([3.0, 1.0], dtype=torch.float64)).sum((1, 2, 3)) - 1
        return torch.stack([torch.zeros_like(score), score], 1)

    image, map_ = array([[[7, -2]]]), array([[2, 1]])
    steps = [array([[[1, 0]]]), array([[[1, 1]]]), array([[[0, 2]]])]
    # told 2, 3, 2 and changed 3, 4, 2: squares 1, 1, 0
    same(metrics.infidelity(model, image, map_, 1, steps), 2 / 3)
    # β = (6 + 12 + 4) / (4 + 9 + 4) = 22/17; (−7/17)², (−2/17)², (10/17)²: 153/289 = 9/17 in all
    same(metrics.infidelity(model, image, map_, 1, steps, normalise=True), 3 / 17)
    # an empty map tells 0, 0, 0: (9 + 16 + 4) / 3 with any β
    for normalise in (False, True):
        empty = metrics.infidelity(model, image, 0 * map_, 1, steps, normalise=normalise)
        same(empty, 29 / 3)
    assert math.isnan(metrics.infidelity(model, image, array([[NAN, 1]]), 1, steps))


def test_infidelity_adds_the_channels() -> None:
    def model(images: Tensor) -> Tensor:
        return images.sum((1, 2, 3))[:, None] ** 2

    # the map 2 tells 2·(1 + 3) = 8; the score goes from 5² to 1²: 24
    got = metrics.infidelity(model, array([[[2]], [[3]]]), array([[2]]), 0, [array([[[1]], [[3]]])])
    same(got, 256.0)


def test_sensitivity() -> None:
    def explainer(images: Tensor) -> Tensor:
        return images.sum(1).square()

    image = array([[[1, 2]], [[0, 0]]])
    steps = [np.zeros((2, 1, 2)), array([[[1, 0]], [[0, 1]]]), array([[[0, 0]], [[-2, 0]]])]
    # Φ = (1, 4); then (1, 4), (4, 9) and (1, 4): (0, 0), (3, 5), (0, 0) away
    same(metrics.max_sensitivity(explainer, image, steps, relative=False), math.sqrt(34))
    same(metrics.max_sensitivity(explainer, image, steps), math.sqrt(34 / 17))
    assert math.isnan(metrics.max_sensitivity(explainer, 0 * image, steps))
    same(metrics.max_sensitivity(explainer, 0 * image, steps, relative=False), 4.0)
    assert math.isnan(metrics.max_sensitivity(explainer, image, [*steps, NAN * image]))


# ---------------------------------------------------------------------------------------------
# comparisons


def test_kendalls_w() -> None:
    # sums 2, 5, 5 about 4: 4 + 1 + 1 = 6; 12·6 / (2²·(3³ − 3)) = 72/96
    same(metrics.kendalls_w([[1, 2, 3], [1, 3, 2]]), 0.75)
    # sums 2½, 3½, 6: 2¼ + ¼ + 4 = 6½; 12·6½ / (96 − 2·(2³ − 2)) = 78/84
    same(metrics.kendalls_w([[1.5, 1.5, 3], [1, 2, 3]]), 13 / 14)
    same(metrics.kendalls_w([[1.5, 1.5, 3], [1.5, 1.5, 3]]), 1.0)
    same(metrics.kendalls_w([[1, 2], [2, 1]]), 0.0)


@pytest.mark.parametrize("rows", [[], [[1, 2, 3]], [[1], [1]], [[1.5, 1.5], [1.5, 1.5]]])
def test_kendalls_w_undefined(rows: Sequence[Sequence[float]]) -> None:
    assert math.isnan(metrics.kendalls_w(rows))


def test_holm() -> None:
    # 3·0.01, 2·0.03, and 1·0.04, which may not fall below the one before
    same(metrics.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    same(metrics.holm([0.5, 0.9]), [1.0, 1.0])
    same(metrics.holm([0.02, NAN, 0.02]), [0.04, NAN, 0.04])
    assert metrics.holm([]) == []
