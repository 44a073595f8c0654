"""What every registered method keeps, whatever it computes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.maps import upsample
from camaudit.methods import METHODS, compute, method_names
from camaudit.methods.base import FAMILIES, MethodInfo
from camaudit.walls import insert_wall
from tests.methods.drawn import network

NAMES = method_names()
POOLED = pytest.mark.parametrize("name", NAMES)
READS_GRADIENTS = {name for name in NAMES if METHODS[name].info.needs_gradients}
GLOBAL = {"random", "uniform", "gaussian", "sobel"}


def make(
    *,
    images: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
    activation: str = "relu",
    channels: int = 5,
    size: tuple[int, int] = (8, 10),
) -> Capture:
    model = network(
        seed=3, channels=channels, activation=activation, pooled=True, layers=1, size=size
    ).to(dtype)
    if images is None:
        generator = torch.Generator().manual_seed(7)
        images = torch.randn(3, 3, *size, generator=generator, dtype=torch.float64)
    images = images.to(dtype)
    return capture(cut_at(model, "maps", images[:1]), images, batch_size=2)


@POOLED
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_sign(name: str, dtype: torch.dtype) -> None:
    captured = make(dtype=dtype)
    maps = compute(name, captured)
    assert maps.dtype == dtype
    assert maps.shape in {(3, 4, 5), (3, 8, 10)}
    assert bool((maps >= 0).all())
    assert bool((maps.amax(dim=(1, 2)) > 0).any())
    assert not maps.requires_grad


@POOLED
def test_float32_agrees_with_float64(name: str) -> None:
    if name == "random":  # its stream is keyed by the pixels' bytes as float32: the same here
        torch.testing.assert_close(compute(name, make(dtype=torch.float32)).double(),
                                   compute(name, make()), rtol=1e-6, atol=1e-7)  # fmt: skip
        return
    exact = compute(name, make())
    rounded = compute(name, make(dtype=torch.float32)).double()
    torch.testing.assert_close(rounded, exact, rtol=1e-4, atol=1e-5)


@POOLED
def test_a_batch_equals_its_images_one_by_one_in_any_order(name: str) -> None:
    captured = make()
    maps = compute(name, captured)
    for row in range(3):
        alone = compute(name, make(images=captured.images[row : row + 1]))
        torch.testing.assert_close(alone[0], maps[row], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            compute(name, captured.rows(row, row + 1))[0], maps[row], rtol=1e-12, atol=1e-14
        )
    reversed_maps = compute(name, make(images=captured.images.flip(0)))
    torch.testing.assert_close(reversed_maps.flip(0), maps, rtol=1e-12, atol=1e-14)


@POOLED
def test_the_same_call_twice_gives_the_same_bits(name: str) -> None:
    captured = make()
    assert torch.equal(compute(name, captured, seed=5), compute(name, captured, seed=5))


def test_seeds_matter_where_a_method_says_that_it_is_seeded_and_nowhere_else() -> None:
    captured = make()
    for name in NAMES:
        same = torch.equal(compute(name, captured, seed=1), compute(name, captured, seed=2))
        assert same != METHODS[name].info.seeded, name


@POOLED
def test_a_method_leaves_everything_as_it_was(name: str) -> None:
    model = network(seed=1, channels=4, activation="relu", pooled=True, layers=1, size=(8, 8))
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    captured = capture(cut_at(model, "maps", images[:1]), images)
    watched = {
        field: getattr(captured, field).clone()
        for field in ("images", "activations", "gradients", "logits", "targets", "scores")
    }
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.random.get_rng_state()
    compute(name, captured)
    for field, value in watched.items():
        assert torch.equal(getattr(captured, field), value), field
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert torch.is_grad_enabled()
    for module in model.modules():
        assert not module.training
        assert not module._forward_hooks
        assert "forward" not in module.__dict__
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@POOLED
def test_chunk_size_does_not_change_the_map(name: str) -> None:
    captured = make()
    for batch_size in (1, 3, 64):
        other = compute(name, replace(captured, batch_size=batch_size))
        torch.testing.assert_close(other, compute(name, captured), rtol=1e-12, atol=1e-14)


@POOLED
@pytest.mark.parametrize("fill", [0.0, 1.5])
def test_constant_images_give_finite_maps(name: str, fill: float) -> None:
    maps = compute(name, make(images=torch.full((2, 3, 8, 10), fill, dtype=torch.float64)))
    assert bool(torch.isfinite(maps).all())


@POOLED
@pytest.mark.parametrize("activation", ["gelu", "silu", "leaky"])
def test_negative_activations_give_finite_rectified_maps(name: str, activation: str) -> None:
    captured = make(activation=activation)
    assert bool((captured.activations < 0).any())
    maps = compute(name, captured)
    assert bool(torch.isfinite(maps).all())
    assert bool((maps >= 0).all())


@POOLED
def test_one_channel_and_one_cell(name: str) -> None:
    assert bool(torch.isfinite(compute(name, make(channels=1))).all())
    one_cell = torch.ones(1, 3, 2, 2, dtype=torch.float64)
    assert bool(torch.isfinite(compute(name, make(images=one_cell, size=(2, 2)))).all())


@POOLED
def test_a_dead_channel_changes_nothing_after_normalisation(name: str) -> None:
    """An always-zero channel with a zero consumer (definition: it adds nothing to the map)."""
    captured = make()
    A, G = captured.activations, captured.gradients
    zeros = torch.zeros_like(A[:, :1])
    weight = captured.linear_weight()
    wider = replace(
        captured,
        activations=torch.cat([A, zeros], dim=1),
        gradients=torch.cat([G, zeros], dim=1),
        head=lambda maps: captured.head(maps[:, :-1]),
        linear_weight=lambda: torch.cat([weight, torch.ones_like(weight[:, :1])], dim=1),
    )
    for field in (wider.activations, wider.gradients):
        assert field.shape[1] == A.shape[1] + 1
    ours, plain = compute(name, wider), compute(name, captured)
    scale = [maps / maps.amax(dim=(1, 2), keepdim=True) for maps in (ours, plain)]
    torch.testing.assert_close(scale[0], scale[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(NAMES) - GLOBAL))
def test_non_finite_activations_never_pass_as_a_map(name: str) -> None:
    captured = make()
    spoilt = captured.activations.clone()
    spoilt[0, 0, 0, 0] = math.nan
    maps = compute(name, replace(captured, activations=spoilt))
    assert not bool(torch.isfinite(maps[0]).all())
    assert bool(torch.isfinite(maps[1]).all())


@pytest.mark.parametrize("name", ["hirescam", "layercam", "elementwise"])
@pytest.mark.parametrize("pooled", [True, False])
def test_local_methods_are_exactly_zero_behind_a_wall(name: str, pooled: bool) -> None:
    model = network(seed=2, channels=6, activation="relu", pooled=pooled, layers=2, size=(14, 14))
    images = torch.randn(4, 3, 14, 14, dtype=torch.float64)
    captured = capture(insert_wall(model, "maps", images[:1], live_rows=3), images)
    maps = compute(name, captured)
    assert bool((captured.activations[:, :, 3:] > 0).any())
    assert bool((maps[:, 3:] == 0).all())
    assert bool((maps[:, :3] > 0).any())
    assert bool((compute("gradcam", captured)[:, 3:] > 0).any())


def test_pooled_linear_head_makes_cam_gradcam_xgradcam_and_hirescam_proportional() -> None:
    captured = make()
    cells = captured.activations[0, 0].numel()
    reference = compute("gradcam", captured)
    for name, factor in (("xgradcam", 1), ("hirescam", 1), ("cam", 1 / cells)):
        torch.testing.assert_close(compute(name, captured) * factor, reference)


def test_ablationcam_keeps_its_sign_for_a_negative_logit() -> None:
    model = network(seed=0, channels=4, activation="relu", pooled=True, layers=1, size=(8, 8))
    linear = model.get_submodule("head.2")
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(linear.weight.abs())
        linear.bias.fill_(-1e3)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    captured = capture(cut_at(model, "maps", images[:1]), images)
    assert bool((captured.scores < 0).all())
    assert bool((compute("ablationcam", captured).amax(dim=(1, 2)) > 0).all())


def test_gradcam_plus_plus_does_not_underflow_for_tiny_gradients() -> None:
    captured = make(dtype=torch.float32)
    tiny = replace(captured, gradients=captured.gradients * 1e-25)
    maps = compute("gradcam++", tiny)
    limit = compute("gradcam++", replace(captured, gradients=captured.gradients * 1e-6))
    assert bool((maps > 0).any())
    peak = [m / m.amax(dim=(1, 2), keepdim=True) for m in (maps, limit)]
    torch.testing.assert_close(peak[0], peak[1], rtol=1e-3, atol=1e-4)


def test_controls_know_nothing_of_the_model() -> None:
    captured = make()
    other = replace(captured, gradients=-captured.gradients, activations=captured.activations * 3)
    for name in GLOBAL:
        assert torch.equal(compute(name, captured), compute(name, other))
    assert torch.equal(compute("uniform", captured), torch.ones(3, 8, 10, dtype=torch.float64))
    centred = compute("gaussian", captured)[0]
    assert float(centred[3, 4]) == float(centred[4, 5]) == float(centred.max())
    ratio = float(centred[3, 4] / centred[1, 4])
    assert ratio == pytest.approx(math.exp(-0.5 * (0.5**2 - 2.5**2) / 2**2))


def test_sobel_finds_an_edge_and_nothing_else() -> None:
    image = torch.zeros(1, 3, 8, 10, dtype=torch.float64)
    image[:, :, :, 5:] = 1
    edges = compute("sobel", make(images=image))[0]
    assert torch.equal(edges.nonzero()[:, 1].unique(), torch.tensor([4, 5]))
    assert float(edges.max()) == pytest.approx(4.0)


def test_registry_knows_its_metadata_and_guards_its_names() -> None:
    for name in NAMES:
        info = METHODS[name].info
        assert info.family in FAMILIES
        assert info.paper
        assert info.formula
        assert info.cost
    assert {n for n in NAMES if METHODS[n].info.needs_gradients} == READS_GRADIENTS
    with pytest.raises(UnknownNameError, match="did you mean gradcam"):
        METHODS["gradcan"]
    with pytest.raises(DuplicateNameError, match="registered already"):
        METHODS.register("gradcam", MethodInfo("", "", "", "control", ""))


@POOLED
def test_metadata_tells_whether_gradients_are_read(name: str) -> None:
    captured = make()
    other = replace(captured, gradients=torch.rand_like(captured.gradients))
    same = torch.equal(compute(name, captured), compute(name, other))
    assert same != METHODS[name].info.needs_gradients


@POOLED
def test_maps_reach_the_image_size(name: str) -> None:
    captured = make()
    assert upsample(compute(name, captured), captured.size).shape == (3, 8, 10)
