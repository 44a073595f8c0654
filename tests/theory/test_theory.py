"""The simple CNN, Proposition 2 and the closed form, against literal float64 references."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camaudit.capture import capture
from camaudit.errors import NotApplicableError, UsageError, WallError
from camaudit.theory import (
    Design,
    SimpleCNN,
    coefficients,
    expected_gradcam,
    expected_root,
    patch_norms,
    simple_wall,
    simulate,
)
from camaudit.walls import verify_zone
from tests.references import theory as reference
from tests.theory.drawn import designs, pictures

HEADS = {"flatten": "flat", "pooled": "pooled"}


def arrays(model: SimpleCNN, target: int = 0) -> tuple[Any, list[Any]]:
    """Filters and weights of one class's score, as the references take them."""
    weights = [linear.weight.detach().numpy() for linear in model.linears()]
    weights[-1] = weights[-1][target : target + 1]
    return model.conv.weight.detach().numpy(), weights


def law_of(design: Design) -> dict[str, Any]:
    filters, *linears = (law.scale for law in design.laws)
    return {
        "V": design.filters,
        "k": design.kernel,
        "live": (~design.grid_dead).numpy(),
        "tau_f": filters,
        "taus": linears,
        "widths": list(design.hidden),
        "head": HEADS[design.head],
    }


# --- the network ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_the_network_is_the_reference(data: st.DataObject) -> None:
    design = data.draw(designs())
    model = SimpleCNN(design, seed=data.draw(st.integers(0, 99))).double()
    image = data.draw(pictures(design))
    target = data.draw(st.integers(0, design.classes - 1))
    filters, weights = arrays(model, target)
    live = (~design.grid_dead).numpy()
    B, _, score = reference.forward(image.numpy(), filters, weights, live, HEADS[design.head])
    with torch.no_grad():
        np.testing.assert_allclose(model.relu(model.conv(image[None]))[0].numpy(), B, atol=1e-12)
        assert float(model(image[None])[0, target]) == pytest.approx(score, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.data())
def test_proposition_2_is_autograd_and_the_reference(data: st.DataObject) -> None:
    """L = 1 to 4, both heads, any mask; ties and flat images are among the draws."""
    design = data.draw(designs())
    model = SimpleCNN(design, seed=data.draw(st.integers(0, 99))).double()
    images = torch.stack([data.draw(pictures(design)) for _ in range(2)])
    target = data.draw(st.integers(0, design.classes - 1))
    found = coefficients(model, images, target=target)
    wall = simple_wall(model)
    G = capture(wall, images, targets=torch.full((2,), target)).gradients
    torch.testing.assert_close(found, G.mean(dim=(2, 3)), rtol=0, atol=1e-10)
    filters, weights = arrays(model, target)
    live = (~design.grid_dead).numpy()
    for row in range(2):
        B = reference.convolution(images[row].numpy(), filters)
        literal = reference.alpha_proposition_2(B, weights, live, HEADS[design.head])
        np.testing.assert_allclose(found[row].numpy(), literal, rtol=1e-9, atol=1e-11)


def test_one_linear_layer_does_not_look_at_the_image() -> None:
    model = SimpleCNN(Design(filters=5, size=(9, 9)), seed=3)
    found = coefficients(model, torch.randn(4, 1, 9, 9))
    assert torch.equal(found, found[:1].expand_as(found))


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_no_method_sees_a_gradient_behind_the_wall(data: st.DataObject) -> None:
    design = data.draw(designs())
    model = SimpleCNN(design, seed=1).double()
    images = data.draw(pictures(design))[None]
    wall = simple_wall(model, unmasked=SimpleCNN(design, seed=1, masked=False).double())
    G = capture(wall, images).gradients
    assert not bool(G[:, :, design.feature_dead].any())
    assert torch.equal(wall.zone.feature_dead, design.feature_dead)


def test_the_wall_is_verified_and_its_twin_has_the_same_live_weights() -> None:
    design = Design(filters=6, classes=3)
    masked, unmasked = SimpleCNN(design, seed=4), SimpleCNN(design, seed=4, masked=False)
    wall = simple_wall(masked, unmasked=unmasked)
    assert wall.zone.kind == "receptive field"
    assert wall.zone.pixel_dead_rows == list(range(15, 29))
    assert verify_zone(wall, torch.rand(1, 1, 29, 29), wall.zone).passed
    ours, theirs = masked.linears()[0].weight, unmasked.linears()[0].weight
    dead = design.grid_dead.flatten().repeat(6)
    assert not bool(ours[:, dead].any())
    assert bool((theirs[:, dead] != 0).all())
    assert torch.equal(ours[:, ~dead], theirs[:, ~dead])
    before = masked.conv.weight.clone()
    masked.draw(5)
    assert not torch.equal(before, masked.conv.weight)
    masked.draw(4)
    assert torch.equal(before, masked.conv.weight)


@pytest.mark.parametrize("name", ["gaussian", "he", "glorot", "default"])
def test_weights_follow_their_law(name: Any) -> None:
    design = Design(filters=40, hidden=(50,), classes=30, initialisation=name, std=0.7)
    model = SimpleCNN(design, seed=0, masked=False)
    fans = [(4, 160), (40 * 196, 50), (50, 30)]
    for layer, (fan_in, fan_out) in zip([model.conv, *model.linears()], fans, strict=True):
        weight = layer.weight.detach().double()
        expected = {
            "gaussian": 0.7,
            "he": math.sqrt(2 / fan_in),
            "glorot": math.sqrt(2 / (fan_in + fan_out)),
            "default": 1 / math.sqrt(3 * fan_in),
        }[name]
        error = 5 / math.sqrt(2 * weight.numel())
        assert float(weight.std()) == pytest.approx(expected, rel=error)
        assert abs(float(weight.mean())) < 5 * expected / math.sqrt(weight.numel())
        largest = float(weight.abs().max()) / expected
        assert largest <= math.sqrt(3) * 1.000001 if name == "default" else largest > math.sqrt(3)


# --- the expectation ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 10, 33, 100])
def test_the_expected_root_is_the_reference(count: int) -> None:
    assert expected_root(count) == pytest.approx(reference.kappa(count), rel=1e-8)


def test_the_expected_root_of_many_filters_is_the_root_of_half() -> None:
    assert expected_root(20_000) == pytest.approx(100, rel=1e-4)


@settings(deadline=None)
@given(st.data())
def test_the_closed_form_is_the_reference(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["gaussian", "he", "glorot"]))
    design = data.draw(designs(initialisation=name, std=data.draw(st.floats(0.1, 3))))
    image = data.draw(pictures(design))
    found = expected_gradcam(design, image)
    law = law_of(design)
    np.testing.assert_allclose(
        found.mean.numpy(), reference.expected_gradcam(image.numpy(), **law), rtol=1e-7, atol=1e-300
    )
    square = found.deviation.square() + found.mean.square()
    np.testing.assert_allclose(
        square.numpy(), reference.expected_square(image.numpy(), **law), rtol=1e-6, atol=1e-300
    )
    if design.layers > 1:
        assert found.slack == pytest.approx(reference.dead_excess(design.filters), rel=1e-6)
    else:
        assert found.slack == 0


def test_the_bound_is_the_papers_and_lies_below() -> None:
    design = Design(filters=30, size=(9, 11), std=0.6)
    image = torch.rand(1, 9, 11, dtype=torch.float64)
    found = expected_gradcam(design, image)
    live = (~design.grid_dead).numpy()
    literal = reference.lower_bound(image.numpy(), 30, 2, live, 0.6)
    assert found.bound is not None
    np.testing.assert_allclose(found.bound.numpy(), literal, rtol=1e-12)
    assert bool((found.bound < found.mean).all())
    for V in (21, 50, 400, 5000):
        other = expected_gradcam(replace(design, filters=V), image)
        assert other.bound is not None
        assert bool((other.bound <= other.mean).all())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"filters": 20}, "vacuous"), ({"filters": 30, "hidden": (4,)}, "one Linear layer")],
)
def test_where_the_bound_says_nothing_there_is_none(fields: Any, reason: str) -> None:
    found = expected_gradcam(Design(size=(9, 9), **fields), torch.rand(1, 9, 9))
    assert found.bound is None
    assert reason in str(found.no_bound)


def test_blank_patches_and_blank_images() -> None:
    image = torch.rand(1, 9, 9, dtype=torch.float64)
    image[:, :3, :3] = 0
    found = expected_gradcam(Design(filters=8, size=(9, 9)), image).mean
    assert not bool(found[:2, :2].any())
    assert bool((found[4:, :] > 0).all())
    image[:, :5] = 0  # everything that live cells read
    for hidden, positive in (((), True), ((3,), False)):
        design = Design(filters=8, size=(9, 9), hidden=hidden)
        assert bool(expected_gradcam(design, image).mean.any()) is positive
        sample = simulate(design, image, draws=50, seed=0)
        assert bool(sample.mean.any()) is positive
    assert simulate(design, image, draws=50, seed=0).share is None


def test_patch_norms_are_the_reference() -> None:
    image = torch.randn(3, 7, 6, dtype=torch.float64)
    literal = reference.patch_norms(image.numpy(), 3)
    np.testing.assert_allclose(patch_norms(image, 3).numpy(), literal, rtol=1e-12)


def test_uniform_weights_have_no_closed_form() -> None:
    with pytest.raises(NotApplicableError, match="Gaussian weights; 'default' draws uniform"):
        expected_gradcam(Design(size=(9, 9), initialisation="default"), torch.rand(1, 9, 9))


# --- simulation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"hidden": (5,)},
        {"hidden": (6, 5)},
        {"head": "pooled"},
        {"head": "pooled", "hidden": (5,)},
        {"channels": 3, "kernel": 3, "size": (8, 8), "dead": "left:1"},
        {"initialisation": "glorot", "hidden": (4,)},
    ],
    ids=str,
)
def test_simulation_agrees_with_the_closed_form(fields: Any) -> None:
    design = Design(**{"filters": 12, "size": (7, 7), **fields})
    shape = (design.channels, *design.size)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected, sample = expected_gradcam(design, image), simulate(design, image, draws=8000, seed=2)
    z = (sample.mean - expected.mean) / sample.standard_error
    assert float(z.abs().max()) < 5
    spread = sample.standard_error * 8000**0.5
    np.testing.assert_allclose(spread.numpy(), expected.deviation.numpy(), rtol=0.15)
    assert sample.share is not None


def test_simulation_is_one_network_after_the_other() -> None:
    """Its networks are no others than the module's: the same figures from explicit ones."""
    design = Design(filters=6, size=(7, 7), hidden=(4,))
    image = torch.rand(1, 7, 7)
    maps = []
    for seed in range(1500):
        model = SimpleCNN(design, seed=seed)
        with torch.no_grad():
            B = model.relu(model.conv(image[None]))
        alpha = coefficients(model, image[None])
        maps.append(torch.einsum("v,vij->ij", alpha[0], B[0]).clamp(min=0).double())
    own = torch.stack(maps)
    sample = simulate(design, image, draws=1500, seed=0)
    gap = (sample.mean - own.mean(dim=0)).abs()
    error = (sample.standard_error.square() + own.var(dim=0) / 1500).sqrt()
    assert float((gap / error).max()) < 5


def test_simulation_is_seeded_and_leaves_the_random_state_alone() -> None:
    design = Design(filters=4, size=(5, 5))
    image = torch.rand(1, 5, 5)
    state = torch.random.get_rng_state()
    one, two, other = (simulate(design, image, draws=20, seed=s).mean for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"size": (28, 29)}, UsageError, "27×28 cells do not divide into 2×2"),
        ({"size": (1, 9)}, UsageError, "2×2 filter does not fit"),
        ({"size": (3, 9)}, UsageError, "single row of cells"),
        ({"filters": 0}, UsageError, "filters must be at least 1"),
        ({"hidden": (3, 0)}, UsageError, r"hidden\[1\] must be at least 1"),
        ({"head": "mean"}, UsageError, "head must be flatten or pooled"),
        ({"initialisation": "xavier"}, UsageError, "gaussian, he, glorot, default"),
        ({"std": 0.0}, UsageError, "std must be positive"),
        ({"dead": torch.ones(14, 14, dtype=torch.bool)}, WallError, "every cell would be dead"),
        ({"live_rows": 14}, WallError, "live rows must be 1 to 13"),
    ],
    ids=str,
)
def test_designs_that_cannot_be(fields: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Design(**fields)


def test_images_that_do_not_fit() -> None:
    design = Design(size=(9, 9))
    with pytest.raises(UsageError, match=r"expected an image of shape \(1, 9, 9\); got \(9, 9\)"):
        expected_gradcam(design, torch.rand(9, 9))
    broken = torch.full((1, 9, 9), float("nan"))
    with pytest.raises(UsageError, match="NaN"):
        simulate(design, broken, draws=5, seed=0)
    with pytest.raises(UsageError, match="at least 2 draws"):
        simulate(design, torch.rand(1, 9, 9), draws=1, seed=0)
    with pytest.raises(UsageError, match="target must be 0 to 0"):
        coefficients(SimpleCNN(design), torch.rand(1, 1, 9, 9), target=1)
    with pytest.raises(UsageError, match="has no mask"):
        simple_wall(SimpleCNN(design, masked=False))
