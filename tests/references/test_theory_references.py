"""Checks of the theory's reference: its parts agree with each other, with torch and by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from . import theory

ERRORS = 5  # standard errors that a simulated mean may lie from its closed form
ODD = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], dtype=bool)
HALF = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=bool)
DEPTHS = {1: (), 2: (5,), 3: (4, 3), 4: (5, 4, 3)}
TAUS = {1: (0.7,), 2: (0.7, 1.3), 3: (0.7, 1.3, 0.9), 4: (0.7, 1.3, 0.9, 1.1)}


def image(colours: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((colours, side, side))


def per_cell(live: np.ndarray, size: int = 2) -> np.ndarray:
    """The same mask on the cells of B."""
    return np.kron(live, np.ones((size, size), dtype=bool)).astype(bool)


def one_network(colours: int, depth: int, head: str, live: np.ndarray, seed: int) -> tuple:
    """x, filters, weights and mask of a network with 3 filters of 2×2 and 6×6 cells."""
    x = image(colours, 7, seed)
    mask = live if head == "flat" else per_cell(live)
    rng = np.random.default_rng(seed + 1)
    filters, weights = theory.draw_networks(
        x, 3, 2, mask, 1.2, TAUS[depth], DEPTHS[depth], head, 1, rng
    )
    return x, filters[0], [matrix[0] for matrix in weights], mask


def z_scores(values: np.ndarray, want: np.ndarray) -> np.ndarray:
    mean, error = theory.mean_and_error(values)
    assert (error > 0).all()
    return (mean - want) / error


# ---------------------------------------------------------------------------------------------
# one network


def test_hand_case():
    x = np.array([[[1.0, 2.0], [3.0, -4.0]]])
    filters = np.array([[[[1.0]]], [[[-2.0]]]])
    weights = [np.array([[2.0, 3.0]])]
    live = np.ones((1, 1), dtype=bool)
    B, C, s = theory.forward(x, filters, weights, live, "flat")
    assert B.tolist() == [[[1, 2], [3, 0]], [[0, 0], [0, 8]]]
    assert C.tolist() == [[[3]], [[8]]]
    assert s == 30.0
    alpha = theory.alpha_proposition_2(B, weights, live, "flat")
    assert alpha.tolist() == [0.5, 0.75]
    assert theory.gradcam(B, alpha).tolist() == [[0.5, 1.0], [1.5, 6.0]]
    assert theory.gradcam(B, -alpha).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    upper = np.array([[True, True], [False, False]])
    _, means, s = theory.forward(x, filters, weights, upper, "pooled")
    assert means.tolist() == [1.5, 0.0]
    assert s == 3.0


@pytest.mark.parametrize("live", [ODD, HALF], ids=["odd", "half"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("head", theory.HEADS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_proposition_2_is_the_mean_of_the_differences(depth, head, colours, live):
    x, filters, weights, mask = one_network(colours, depth, head, live, seed=10)
    B = theory.separated(theory.convolution(x, filters))
    by_hand = theory.alpha_by_differences(B, weights, mask, head)
    assert np.abs(by_hand).max() > 1e-4
    proposed = theory.alpha_proposition_2(B, weights, mask, head)
    np.testing.assert_allclose(by_hand, proposed, rtol=0, atol=1e-8)


def test_differences_refuse_a_tie():
    B = np.zeros((1, 2, 2))
    live = np.ones((1, 1), dtype=bool)
    weights = [np.ones((1, 1))]
    with pytest.raises(ValueError, match="kink at filter 0, cell 0, 0"):
        theory.alpha_by_differences(B, weights, live, "flat")
    apart = theory.alpha_by_differences(theory.separated(B), weights, live, "flat")
    assert apart == pytest.approx([0.25])
    assert theory.alpha_proposition_2(B, weights, live, "flat") == pytest.approx([0.25])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("head", theory.HEADS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_network_and_proposition_2_agree_with_torch(depth, head, seed):
    x, filters, weights, mask = one_network(3, depth, head, ODD, seed=20 + 2 * seed)
    B = functional.conv2d(torch.from_numpy(x)[None], torch.from_numpy(filters)).relu()
    B.requires_grad_()
    reader = torch.from_numpy(mask)
    pooled = functional.max_pool2d(B, 2)
    read = pooled * reader if head == "flat" else B[:, :, reader].mean(dim=2)
    values = read.flatten(1)
    for layer, matrix in enumerate(weights):
        values = (values.relu() if layer else values) @ torch.from_numpy(matrix).T
    (slope,) = torch.autograd.grad(values.sum(), B)
    got_B, got_read, got_s = theory.forward(x, filters, weights, mask, head)
    np.testing.assert_allclose(got_B, B[0].detach(), atol=1e-12)
    np.testing.assert_allclose(got_read, read[0].detach(), atol=1e-12)
    assert got_s == pytest.approx(values.item(), abs=1e-12)
    proposed = theory.alpha_proposition_2(got_B, weights, mask, head)
    np.testing.assert_allclose(proposed, slope[0].mean(dim=(1, 2)), atol=1e-12)
    dead = ~theory.cell_is_live(mask, (6, 6), head)
    assert not slope[0][:, torch.from_numpy(dead)].any()


@pytest.mark.parametrize("head", theory.HEADS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_many_draws_at_once_are_the_loops(depth, head):
    x = image(3, 7)
    mask = ODD if head == "flat" else per_cell(ODD)
    rng = np.random.default_rng(5)
    filters, weights = theory.draw_networks(
        x, 3, 2, mask, 1.2, TAUS[depth], DEPTHS[depth], head, 6, rng
    )
    maps = theory.gradcam_of_draws(x, filters, weights, mask, head)
    assert maps.max() > 0
    for draw in range(6):
        matrices = [matrix[draw] for matrix in weights]
        B, _, _ = theory.forward(x, filters[draw], matrices, mask, head)
        alpha = theory.alpha_proposition_2(B, matrices, mask, head)
        np.testing.assert_allclose(maps[draw], theory.gradcam(B, alpha), rtol=0, atol=1e-12)


# ---------------------------------------------------------------------------------------------
# the constants


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 256, 5000])
def test_chi_mean_is_the_ratio_of_gammas(n):
    want = math.sqrt(2.0) * math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2))
    assert theory.chi_mean(n) == pytest.approx(want, rel=1e-11)


def test_kappa_by_hand_and_between_its_bounds():
    one, two = math.sqrt(2 / math.pi), math.sqrt(math.pi / 2)
    assert theory.kappa(1) == pytest.approx(one / 2, rel=1e-12)
    assert theory.kappa(2) == pytest.approx(one / 2 + two / 4, rel=1e-12)
    for count in (3, 21, 64, 256):
        # Chebyshev's bound of Theorem 3, and Jensen's
        low, high = math.sqrt(count) / 2 * (1 - 20 / count), math.sqrt(count / 2)
        assert low < theory.kappa(count) < high


def test_bound_over_closed_form_at_64_filters():
    x, live = image(1, 5), np.array([[1, 1], [0, 0]], dtype=bool)
    bound = theory.lower_bound(x, 64, 2, live, 0.3)
    exact = theory.expected_gradcam(x, 64, 2, live, 0.3, (0.3,), (), "flat")
    np.testing.assert_allclose(bound / exact, 0.49, atol=0.005)


@pytest.mark.parametrize("count", [21, 30, 64, 200])
@pytest.mark.parametrize("head", theory.HEADS)
def test_bound_lies_below_the_closed_form(head, count):
    x, mask = image(3, 7), HALF if head == "flat" else per_cell(HALF)
    bound = theory.lower_bound(x, count, 2, mask, 0.8, head)
    exact = theory.expected_gradcam(x, count, 2, mask, 0.8, (0.8,), (), head)
    assert (bound > 0).all()
    assert (bound < exact).all()


# ---------------------------------------------------------------------------------------------
# the law


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("head", theory.HEADS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_simulation_agrees_with_both_moments(depth, head, colours):
    x, live = image(colours, 5, seed=1), np.array([[1, 1], [0, 0]], dtype=bool)
    mask = live if head == "flat" else per_cell(live)
    law = (x, 12, 2, mask, 1.2, TAUS[depth], DEPTHS[depth], head)
    maps = theory.monte_carlo_maps(*law, 20000, 7)
    mean, error = theory.mean_and_error(maps)
    want = theory.expected_gradcam(*law)
    assert np.abs((mean - want) / error).max() < ERRORS
    assert np.abs(z_scores(maps**2, theory.expected_square(*law))).max() < ERRORS
    dead = ~theory.cell_is_live(mask, (4, 4), head)
    assert (mean[dead] > 10 * error[dead]).all()
    # the same draws tell other laws from this one: 10 % off, or Jensen's √(M/2) in κ's place
    assert np.abs((mean - 1.1 * want) / error).max() > ERRORS
    assert np.abs((mean - 0.9 * want) / error).max() > ERRORS
    for width in DEPTHS[depth]:
        jensen = want * math.sqrt(width / 2) / theory.kappa(width)
        assert np.abs((mean - jensen) / error).max() > ERRORS


@pytest.mark.parametrize("head", theory.HEADS)
def test_live_cells_are_exact_with_two_filters(head):
    x, live = image(1, 5, seed=2), np.array([[1, 0], [0, 1]], dtype=bool)
    mask = live if head == "flat" else per_cell(live)
    law = (x, 2, 2, mask, 1.0, (1.0, 1.0), (2,), head)
    maps = theory.monte_carlo_maps(*law, 8000, 3)
    alive = theory.cell_is_live(mask, (4, 4), head)
    mean, error = theory.mean_and_error(maps)
    want = theory.expected_gradcam(*law)
    assert np.abs((mean - want) / error)[alive].max() < ERRORS
    excess = theory.dead_excess(2)
    assert (mean < want + ERRORS * error).all()
    assert (mean > (1 - excess) * want - ERRORS * error).all()
    assert np.abs(z_scores(maps**2, theory.expected_square(*law)))[alive].max() < ERRORS


@pytest.mark.parametrize("head", theory.HEADS)
def test_dead_cells_with_one_filter_can_miss_the_closed_form(head):
    # One live pixel ζ and dead pixels ξ, 1×1 filter over two colours. With V = 1 the response to ξ
    # counts only where the one to ζ is positive: (1 + cos(ξ, ζ))/2 of the closed form.
    patches = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    x = patches.T.reshape(2, 2, 2)
    live = np.array([[1, 0], [0, 0]], dtype=bool)
    law = (x, 1, 1, live, 1.0, (1.0, 1.0), (3,), head)
    share = (1 + np.array([[1.0, -1.0], [0.0, math.sqrt(0.5)]])) / 2
    maps = theory.monte_carlo_maps(*law, 20000, 4)
    assert not maps[:, 0, 1].any()  # ξ = -ζ: both are never active together
    assert theory.dead_excess(1) == pytest.approx(1.0)
    rest = np.array([[True, False], [True, True]])
    closed = theory.expected_gradcam(*law)
    assert (closed > 0).all()
    assert np.abs(z_scores(maps[:, rest], (share * closed)[rest])).max() < ERRORS
    assert z_scores(maps[:, 1, 0], closed[1, 0]) < -2 * ERRORS
    # a single Linear has no such gate
    single = (x, 1, 1, live, 1.0, (1.0,), (), head)
    maps = theory.monte_carlo_maps(*single, 8000, 4)
    assert np.abs(z_scores(maps, theory.expected_gradcam(*single))).max() < ERRORS


@pytest.mark.parametrize("head", theory.HEADS)
def test_blank_live_patches_silence_deep_heads_only(head):
    x = image(1, 5)
    x[:, :3] = 0.0  # rows 0 and 1 of B read these rows alone
    live = np.array([[1, 1], [0, 0]], dtype=bool)
    mask = live if head == "flat" else per_cell(live)
    deep = (x, 4, 2, mask, 1.0, (1.0, 1.0), (3,), head)
    assert not theory.monte_carlo_maps(*deep, 50, 0).any()
    assert not theory.expected_gradcam(*deep).any()
    assert not theory.expected_square(*deep).any()
    single = (x, 4, 2, mask, 1.0, (1.0,), (), head)
    mean, error = theory.monte_carlo(*single, 4000, 0)
    want = theory.expected_gradcam(*single)
    assert (want[2:] > 0).all()
    assert not want[:2].any()
    assert (mean[2:] > 10 * error[2:]).all()
    assert np.abs((mean - want)[2:] / error[2:]).max() < ERRORS


# ---------------------------------------------------------------------------------------------
# misuse


def test_misuse_is_refused():
    x, live = image(1, 5), np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match="unknown head"):
        theory.expected_gradcam(x, 4, 2, live, 1.0, (1.0,), (), "mean")
    with pytest.raises(ValueError, match="no live cell"):
        theory.expected_gradcam(x, 4, 2, ~live, 1.0, (1.0,), (), "flat")
    with pytest.raises(ValueError, match="does not fit"):
        theory.expected_gradcam(x, 4, 2, live, 1.0, (1.0,), (), "pooled")
    with pytest.raises(ValueError, match="does not fit"):
        theory.expected_gradcam(x, 4, 2, np.ones((3, 2), dtype=bool), 1.0, (1.0,), (), "flat")
    with pytest.raises(ValueError, match="1 standard deviations for 1 hidden widths"):
        theory.expected_square(x, 4, 2, live, 1.0, (1.0,), (3,), "flat")
    with pytest.raises(ValueError, match="more than 20"):
        theory.lower_bound(x, 20, 2, live, 1.0)
