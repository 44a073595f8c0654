"""Logits of real networks stay bit-equal while Hypothesis changes dead pixels; mutants do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from camaudit.capture import capture
from camaudit.methods import compute
from camaudit.walls import DeadZone, WalledModel, scored_zone, verify_zone
from camaudit.walls.verification import PERTURBATIONS, perturb
from tests.integration.conftest import NETWORKS

pytestmark = pytest.mark.long

BATCH = 4

#: Examples of 4 perturbations: 1 008 in all, most of them where a pass is cheap.
DRAWS = {
    "mobilenet_v3_small": 128, "resnet18": 64, "efficientnet_lite0": 38, "densenet121": 10,
    "convnext_tiny": 8, "paper_vgg16": 4,
}  # fmt: skip

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def dead_pixels(draw: st.DrawFn) -> Callable[[Tensor, Tensor], Tensor]:
    """A change of dead pixels: a named kind, one drawn value everywhere, or drawn rows of it."""
    kind = draw(st.sampled_from([*PERTURBATIONS, "value", "rows"]))
    seed, value = draw(st.integers(0, 2**31)), draw(finite)
    first, count = draw(st.integers(0, 223)), draw(st.integers(1, 224))

    def change(images: Tensor, dead: Tensor) -> Tensor:
        if kind in PERTURBATIONS:
            return perturb(images, dead, kind, torch.Generator().manual_seed(seed))
        where = dead.clone()
        if kind == "rows":
            where[:first] = False
            where[first + count :] = False
        return torch.where(where, torch.full_like(images, value), images)

    return change


@pytest.mark.parametrize("name", DRAWS)
def test_a_thousand_changes_of_dead_pixels_leave_the_logits_bit_equal(
    name: str, walled: Callable[[str], WalledModel], image: Tensor
) -> None:
    model = walled(name)
    dead = model.zone.pixel_dead
    batch = image.repeat(BATCH, 1, 1, 1)
    with torch.no_grad():
        expected = model(batch)

    @settings(
        max_examples=DRAWS[name],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes=st.lists(dead_pixels(), min_size=BATCH, max_size=BATCH))
    def unmoved(changes: list[Callable[[Tensor, Tensor], Tensor]]) -> None:
        changed = torch.cat([change(image, dead) for change in changes])
        assert torch.equal(changed[:, :, ~dead], batch[:, :, ~dead])
        with torch.no_grad():
            assert torch.equal(model(changed), expected)

    unmoved()


def test_there_are_a_thousand_changes_of_all_networks() -> None:
    assert BATCH * sum(DRAWS.values()) >= 1000
    assert set(DRAWS) == {*NETWORKS, "paper_vgg16"}


def taller(zone: DeadZone) -> DeadZone:
    """The zone with one row too many."""
    pixel_dead = zone.pixel_dead.clone()
    pixel_dead[zone.pixel_dead_rows[0] - 1] = True
    return replace(zone, pixel_dead=pixel_dead, scored=scored_zone(zone.feature_dead, pixel_dead))


@pytest.mark.usefixtures("two_threads")  # where processes share the suite, those above have one
@pytest.mark.parametrize("name", DRAWS)
def test_verification_passes_the_zone_and_catches_one_row_too_many(
    name: str, walled: Callable[[str], WalledModel], image: Tensor
) -> None:
    model = walled(name)
    true = verify_zone(model, image, model.zone, perturbations=7)
    assert true.passed
    assert true.bit_equal
    mutant = verify_zone(model, image, taller(model.zone), perturbations=7)
    assert not mutant.passed
    assert mutant.max_abs_difference > 0


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_split_zone_is_the_rows_below_the_crop(
    name: str, walled: Callable[[str], WalledModel]
) -> None:
    zone = walled(name).zone
    assert zone.pixel_dead_rows == list(range(128, 224))
    assert zone.scored.all(dim=1).nonzero().flatten().tolist() == list(range(144, 224))
    assert zone.feature_dead.sum(dim=1).tolist() == [0, 0, 0, 0, 7, 7, 7]


@pytest.mark.parametrize("name", DRAWS)
def test_gradcam_shows_activity_behind_the_wall_and_hirescam_none(
    name: str, walled: Callable[[str], WalledModel], image: Tensor
) -> None:
    model = walled(name)
    captured = capture(model, image)
    dead = model.zone.feature_dead
    assert bool((captured.activations[:, :, dead] != 0).any())
    assert bool((captured.gradients[:, :, dead] == 0).all())
    assert bool((compute("hirescam", captured)[:, dead] == 0).all())


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_unwalled_twin_is_the_model_itself(
    name: str, walled: Callable[[str], WalledModel], image: Tensor
) -> None:
    model = walled(name)
    assert model.unwalled is not None
    with torch.no_grad():
        whole = model.unwalled.trunk.model(image)  # type: ignore[operator, union-attr]
        assert torch.equal(model.unwalled(image), whole)
        assert torch.equal(model.logits(image), model(image))
    assert not torch.equal(model.logits(image), whole)
