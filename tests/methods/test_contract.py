"""What every registered method keeps, whatever it computes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import Cut, cut_at
from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.maps import upsample
from camaudit.methods import METHODS, compute, method_names
from camaudit.methods.base import FAMILIES, MethodInfo
from camaudit.walls import insert_wall
from tests.methods.drawn import network

NAMES = method_names(tokens=False)  # tests/models/test_transformers.py has the others
POOLED = pytest.mark.parametrize("name", NAMES)
READS_GRADIENTS = {name for name in NAMES if METHODS[name].info.needs_gradients}
COUNT_CHANNELS = {
    "kpcacam": "its γ = 1/K counts the dead channel too",
}
GLOBAL = {"random", "uniform", "gaussian", "sobel"}


#: Fewer samples for methods whose defaults are the papers' thousands of passes.
CHEAP = {
    "augmentedgradcam++": "augmentedgradcam++(samples=3)",
    "gscorecam": "gscorecam(channels=3)",
    "opticam": "opticam(steps=6)",
    "rise": "rise(masks=30)",
    "sscam": "sscam(samples=4)",
}


def cheap(name: str) -> str:
    """The method with as many samples as a test needs."""
    return CHEAP.get(name, name)


def make(
    *,
    images: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
    activation: str = "relu",
    channels: int = 5,
    layers: int = 1,
    size: tuple[int, int] = (8, 10),
) -> Capture:
    model = network(
        seed=3, channels=channels, activation=activation, pooled=True, layers=layers, size=size
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
    maps = compute(cheap(name), captured)
    assert maps.dtype == dtype
    assert maps.shape in {(3, 4, 5), (3, 8, 10)}
    assert bool((maps >= 0).all())
    assert bool((maps.amax(dim=(1, 2)) > 0).any())
    assert not maps.requires_grad


@POOLED
def test_float32_agrees_with_float64(name: str) -> None:
    if name == "random":  # its stream is keyed by the pixels' bytes as float32: the same here
        torch.testing.assert_close(compute(cheap(name), make(dtype=torch.float32)).double(),
                                   compute(cheap(name), make()), rtol=1e-6, atol=1e-7)  # fmt: skip
        return
    exact = compute(cheap(name), make())
    rounded = compute(cheap(name), make(dtype=torch.float32)).double()
    torch.testing.assert_close(rounded, exact, rtol=1e-4, atol=1e-5)


@POOLED
def test_a_batch_equals_its_images_one_by_one_in_any_order(name: str) -> None:
    captured = make()
    maps = compute(cheap(name), captured)
    for row in range(3):
        alone = compute(cheap(name), make(images=captured.images[row : row + 1]))
        torch.testing.assert_close(alone[0], maps[row], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            compute(cheap(name), captured.rows(row, row + 1))[0], maps[row], rtol=1e-12, atol=1e-14
        )
    reversed_maps = compute(cheap(name), make(images=captured.images.flip(0)))
    torch.testing.assert_close(reversed_maps.flip(0), maps, rtol=1e-12, atol=1e-14)


@POOLED
def test_the_same_call_twice_gives_the_same_bits(name: str) -> None:
    captured = make()
    assert torch.equal(
        compute(cheap(name), captured, seed=5), compute(cheap(name), captured, seed=5)
    )


def test_seeds_matter_where_a_method_says_that_it_is_seeded_and_nowhere_else() -> None:
    plain, curved = make(), make(activation="gelu", layers=2)
    for name in NAMES:
        # The gradient of a linear head is the same under any noise.
        captured = curved if METHODS[name].info.seeded else plain
        same = torch.equal(
            compute(cheap(name), captured, seed=1), compute(cheap(name), captured, seed=2)
        )
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
    compute(cheap(name), captured)
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
        other = compute(cheap(name), replace(captured, batch_size=batch_size))
        torch.testing.assert_close(other, compute(cheap(name), captured), rtol=1e-12, atol=1e-14)


@POOLED
@pytest.mark.parametrize("fill", [0.0, 1.5])
def test_constant_images_give_finite_maps(name: str, fill: float) -> None:
    maps = compute(cheap(name), make(images=torch.full((2, 3, 8, 10), fill, dtype=torch.float64)))
    assert bool(torch.isfinite(maps).all())


@POOLED
@pytest.mark.parametrize("activation", ["gelu", "silu", "leaky"])
def test_negative_activations_give_finite_rectified_maps(name: str, activation: str) -> None:
    captured = make(activation=activation)
    assert bool((captured.activations < 0).any())
    maps = compute(cheap(name), captured)
    assert bool(torch.isfinite(maps).all())
    assert bool((maps >= 0).all())


@POOLED
def test_one_channel_and_one_cell(name: str) -> None:
    assert bool(torch.isfinite(compute(cheap(name), make(channels=1))).all())
    one_cell = torch.ones(1, 3, 2, 2, dtype=torch.float64)
    assert bool(torch.isfinite(compute(cheap(name), make(images=one_cell, size=(2, 2)))).all())


class Wider(nn.Module):
    """A divided model with an always-zero channel more, which its head does not read."""

    def __init__(self, divided: Cut) -> None:
        super().__init__()
        self.divided = divided

    def trunk(self, images: Tensor) -> Tensor:
        maps = self.divided.trunk(images)
        return torch.cat([maps, torch.zeros_like(maps[:, :1])], dim=1)

    def read(self, maps: Tensor) -> Tensor:
        return self.divided.read(maps[:, :-1])

    def logits(self, images: Tensor) -> Tensor:
        return self.divided.logits(images)

    def stages(self, example: Tensor) -> list[str]:
        return self.divided.stages(example)

    def at(self, layer: str, _example: Tensor) -> Wider:
        assert layer == "maps"
        return self


@pytest.mark.parametrize(
    "name",
    [
        *sorted(set(NAMES) - set(COUNT_CHANNELS)),
        *(
            pytest.param(name, marks=pytest.mark.xfail(reason=reason, strict=True))
            for name, reason in COUNT_CHANNELS.items()
        ),
    ],
)
def test_a_dead_channel_changes_nothing_after_normalisation(name: str) -> None:
    """An always-zero channel with a zero consumer (definition: it adds nothing to the map)."""
    captured = make()
    A, G = captured.activations, captured.gradients
    zeros = torch.zeros_like(A[:, :1])
    weight = captured.linear_weight()

    divided = Wider(captured.divided)
    wider = replace(
        captured,
        activations=torch.cat([A, zeros], dim=1),
        gradients=torch.cat([G, zeros], dim=1),
        head=divided.read,
        divided=divided,
        linear_weight=lambda: torch.cat([weight, torch.ones_like(weight[:, :1])], dim=1),
    )
    for field in (wider.activations, wider.gradients):
        assert field.shape[1] == A.shape[1] + 1
    ours, plain = compute(cheap(name), wider), compute(cheap(name), captured)
    scale = [maps / maps.amax(dim=(1, 2), keepdim=True) for maps in (ours, plain)]
    torch.testing.assert_close(scale[0], scale[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(NAMES) - GLOBAL))
def test_non_finite_activations_never_pass_as_a_map(name: str) -> None:
    captured = make()
    spoilt = captured.activations.clone()
    spoilt[0, 0, 0, 0] = math.nan
    maps = compute(cheap(name), replace(captured, activations=spoilt))
    assert not bool(torch.isfinite(maps[0]).all())
    assert bool(torch.isfinite(maps[1]).all())


@pytest.mark.parametrize("name", ["hirescam", "layercam", "elementwise"])
@pytest.mark.parametrize("pooled", [True, False])
def test_local_methods_are_exactly_zero_behind_a_wall(name: str, pooled: bool) -> None:
    model = network(seed=2, channels=6, activation="relu", pooled=pooled, layers=2, size=(14, 14))
    images = torch.randn(4, 3, 14, 14, dtype=torch.float64)
    captured = capture(insert_wall(model, "maps", images[:1], live_rows=3), images)
    maps = compute(cheap(name), captured)
    assert bool((captured.activations[:, :, 3:] > 0).any())
    assert bool((maps[:, 3:] == 0).all())
    assert bool((maps[:, :3] > 0).any())
    assert bool((compute("gradcam", captured)[:, 3:] > 0).any())


def test_pooled_linear_head_makes_cam_gradcam_xgradcam_and_hirescam_proportional() -> None:
    captured = make()
    cells = captured.activations[0, 0].numel()
    reference = compute("gradcam", captured)
    for name, factor in (("xgradcam", 1), ("hirescam", 1), ("cam", 1 / cells)):
        torch.testing.assert_close(compute(cheap(name), captured) * factor, reference)


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
        assert torch.equal(compute(cheap(name), captured), compute(cheap(name), other))
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
    same = torch.equal(compute(cheap(name), captured), compute(cheap(name), other))
    assert same != METHODS[name].info.needs_gradients


@POOLED
def test_maps_reach_the_image_size(name: str) -> None:
    captured = make()
    assert upsample(compute(cheap(name), captured), captured.size).shape == (3, 8, 10)
