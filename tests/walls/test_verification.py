"""Verification passes true zones and catches every zone that claims one pixel too many."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from camaudit.errors import DegenerateModelError, WallError
from camaudit.walls.insert import WalledModel, insert_wall
from camaudit.walls.split import split_trunk
from camaudit.walls.verification import PERTURBATIONS, perturb, verify_zone
from camaudit.walls.zone import DeadZone
from tests.networks import build, images, settle


def claim(zone: DeadZone, pixel_dead: Tensor) -> DeadZone:
    return replace(zone, pixel_dead=pixel_dead)


@pytest.fixture
def walled(example: Tensor) -> WalledModel:
    """Live cells at the upper left, so that the zone has an upper row and a left column."""
    dead = torch.ones(7, 7, dtype=torch.bool)
    dead[:4, :4] = False
    return insert_wall(build("gap linear"), "body", example, dead=dead)


def test_true_zone_passes(walled: WalledModel, batch: Tensor) -> None:
    found = verify_zone(walled, batch, walled.zone)
    assert found.passed
    assert found.bit_equal
    assert (found.max_abs_difference, found.bound) == (0.0, 0.0)
    assert (found.perturbations, found.device, found.seed) == (14, "cpu", 0)
    assert not found.to_dict()["max_abs_difference"]


@pytest.mark.parametrize("name", ["residual", "squeezed"])
@pytest.mark.parametrize("dead", ["bottom:3", "centre:3"])
def test_split_zones_pass(name: str, dead: str, example: Tensor, batch: Tensor) -> None:
    layer = "blocks" if name == "residual" else "body"
    walled = split_trunk(build(name), layer, example, dead=dead)
    for model in (walled, walled.logits):
        assert verify_zone(model, batch, walled.zone).passed


def test_one_row_too_many_is_caught(walled: WalledModel, batch: Tensor) -> None:
    dead = walled.zone.pixel_dead.clone()
    first = walled.zone.pixel_dead_rows[0]
    dead[first - 1] = True
    found = verify_zone(walled, batch, claim(walled.zone, dead))
    assert not found.passed
    assert not found.bit_equal
    assert found.max_abs_difference > 0
    assert found.live_changed


def test_one_column_too_many_is_caught(walled: WalledModel, batch: Tensor) -> None:
    dead = walled.zone.pixel_dead.clone()
    dead[:, walled.zone.pixel_dead_columns[0] - 1] = True
    assert not verify_zone(walled, batch, claim(walled.zone, dead)).passed


def test_any_single_pixel_too_many_is_caught(walled: WalledModel, batch: Tensor) -> None:
    live = (~walled.zone.pixel_dead).nonzero().tolist()
    border = max(row for row, _ in live)
    assert border == max(column for _, column in live) == 9
    for row, column in [(border, border), (border, 0), (border, 4), (0, border), (5, 5), (0, 0)]:
        dead = walled.zone.pixel_dead.clone()
        dead[row, column] = True
        found = verify_zone(walled, batch[:1], claim(walled.zone, dead))
        assert not found.passed, (row, column)


def test_zone_of_the_model_without_its_wall_is_caught(walled: WalledModel, batch: Tensor) -> None:
    assert not verify_zone(walled.unwalled, batch, walled.zone).passed


def test_model_that_ignores_its_input_does_not_pass(walled: WalledModel, batch: Tensor) -> None:
    found = verify_zone(lambda x: torch.ones(len(x), 5), batch, walled.zone)
    assert found.bit_equal
    assert not found.live_changed
    assert not found.passed


def test_zone_of_the_whole_image_does_not_pass(walled: WalledModel, batch: Tensor) -> None:
    everything = torch.ones(16, 16, dtype=torch.bool)
    constant = verify_zone(lambda x: torch.ones(len(x), 5), batch, claim(walled.zone, everything))
    assert not constant.passed


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_stop_being_finite_do_not_pass(
    value: float, walled: WalledModel, batch: Tensor
) -> None:
    def breaks(x: Tensor) -> Tensor:
        logits = walled(x)
        return torch.where((x[:, :, 15] != batch[:, :, 15]).any(), value, logits)

    found = verify_zone(breaks, batch, walled.zone)
    assert found.max_abs_difference == math.inf
    assert not found.passed
    assert found.to_dict()["max_abs_difference"] is None
    with pytest.raises(DegenerateModelError, match="on the unchanged image"):
        verify_zone(lambda x: torch.full((len(x), 5), value), batch, walled.zone)


def test_leak_of_large_values_alone_is_caught(walled: WalledModel, batch: Tensor) -> None:
    def leaks(x: Tensor) -> Tensor:
        return walled(x) + (x[:, :, 15].abs().max() > 1e6)

    assert not verify_zone(leaks, batch, walled.zone).passed
    assert verify_zone(leaks, batch, walled.zone, perturbations=1).passed


def test_leak_beside_the_border_alone_is_caught(walled: WalledModel, batch: Tensor) -> None:
    row = walled.zone.pixel_dead_rows[0]

    def leaks(x: Tensor) -> Tensor:
        return walled(x) + 1e-6 * x[:, :1, row, 0]

    assert not verify_zone(leaks, batch, walled.zone).passed


def test_zone_of_another_size_is_refused(walled: WalledModel) -> None:
    with pytest.raises(
        WallError, match=r"the zone is \(16, 16\) pixels, the images are \(20, 20\)"
    ):
        verify_zone(walled, images(1, 20), walled.zone)


def test_empty_zone_is_refused(walled: WalledModel, batch: Tensor) -> None:
    nothing = torch.zeros(16, 16, dtype=torch.bool)
    with pytest.raises(WallError, match="no pixel dead zone"):
        verify_zone(walled, batch, claim(walled.zone, nothing))


@pytest.mark.parametrize("count", [0, -1])
def test_no_perturbation_at_all_is_refused(count: int, walled: WalledModel, batch: Tensor) -> None:
    with pytest.raises(WallError, match=f"at least 1; got {count}"):
        verify_zone(walled, batch, walled.zone, perturbations=count)


def test_verification_is_seeded_and_leaves_the_global_state(
    walled: WalledModel, batch: Tensor
) -> None:
    dead = walled.zone.pixel_dead.clone()
    dead[8] = True
    state, kept = torch.get_rng_state(), batch.clone()
    runs = [verify_zone(walled, batch, claim(walled.zone, dead), seed=s) for s in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0].max_abs_difference != runs[2].max_abs_difference
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch, kept)


def test_verification_runs_without_autograd(batch: Tensor, walled: WalledModel) -> None:
    def model(x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return walled(x)

    assert verify_zone(model, batch, walled.zone, perturbations=2).passed


# ----------------------------------------------------------------------------------- perturb

SCATTERED = torch.rand(16, 16, generator=torch.Generator().manual_seed(3)) < 0.3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_perturbations_are_finite_and_change_dead_pixels_only(
    kind: str, dtype: torch.dtype
) -> None:
    batch = images(2).to(dtype)
    kept = batch.clone()
    for seed in range(5):
        found = perturb(batch, SCATTERED, kind, torch.Generator().manual_seed(seed))
        assert found.dtype == dtype
        assert found.isfinite().all()
        assert torch.equal(found[:, :, ~SCATTERED], batch[:, :, ~SCATTERED])
        assert not torch.equal(found, batch)
    assert torch.equal(batch, kept)


def drawn(kind: str, dead: Tensor) -> tuple[Tensor, Tensor]:
    """The perturbed image, and which pixels differ."""
    batch = images(1)
    found = perturb(batch, dead, kind, torch.Generator().manual_seed(0))
    return found, (found != batch).any(dim=1)[0]


@pytest.mark.parametrize("kind", ["noise", "large", "huge", "constant"])
def test_whole_zone_perturbations_change_every_dead_pixel(kind: str) -> None:
    assert torch.equal(drawn(kind, SCATTERED)[1], SCATTERED)


def test_speck_changes_one_pixel() -> None:
    _, differs = drawn("speck", SCATTERED)
    assert int(differs.sum()) == 1


def test_edge_changes_dead_pixels_beside_live_ones() -> None:
    dead = torch.zeros(16, 16, dtype=torch.bool)
    dead[5:, 3:] = True
    wanted = torch.zeros_like(dead)
    wanted[5, 3:] = True
    wanted[5:, 3] = True
    assert torch.equal(drawn("edge", dead)[1], wanted)


def test_shuffle_permutes_whole_pixels() -> None:
    found, differs = drawn("shuffle", SCATTERED)
    before, after = images(1)[0][:, SCATTERED].T, found[0][:, SCATTERED].T
    assert differs.any()
    assert sorted(before.tolist()) == sorted(after.tolist())


def test_constant_is_one_value_and_sizes_are_as_named() -> None:
    assert drawn("constant", SCATTERED)[0][:, :, SCATTERED].unique().numel() == 1
    assert drawn("huge", SCATTERED)[0][:, :, SCATTERED].abs().unique().tolist() == [
        pytest.approx(1e30)
    ]
    assert 1e3 < drawn("large", SCATTERED)[0][:, :, SCATTERED].std() < 1e5
    assert 0.5 < drawn("noise", SCATTERED)[0][:, :, SCATTERED].std() < 2


def test_linear_model_shows_each_kind_at_work(batch: Tensor) -> None:
    """A model that reads everything fails on every kind alone."""
    model = settle(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)))
    zone = DeadZone(SCATTERED, SCATTERED, SCATTERED, "none", "claimed.")
    generator = torch.Generator().manual_seed(0)
    for kind in PERTURBATIONS:
        other = perturb(batch, zone.pixel_dead, kind, generator)
        assert not torch.equal(model(other), model(batch)), kind


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_a_perturbed_image_keeps_its_memory_layout(kind: str, layout: torch.memory_format) -> None:
    """Another layout would take other convolution kernels, and differ by rounding alone."""
    images = torch.randn(2, 3, 16, 16).to(memory_format=layout)
    dead = torch.zeros(16, 16, dtype=torch.bool)
    dead[9:] = True
    changed = perturb(images, dead, kind, torch.Generator().manual_seed(0))
    assert changed.stride() == images.stride()
