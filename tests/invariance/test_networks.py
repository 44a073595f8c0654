"""Drawn networks: what is drawn, that plan and printed code agree, and how they shrink."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from torch import nn

from camaudit.errors import UsageError
from camaudit.invariance import Drawn, Head, Plan, Stage, build, code_of, networks, situations


def executed(code: str) -> nn.Module:
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the program that a user would run
    model: nn.Module = names["model"]
    return model


@given(situations())
@settings(max_examples=60)
def test_a_network_is_what_its_plan_says(drawn: Drawn) -> None:
    plan, given_ = drawn.plan, drawn.situation()
    activations = given_.model.get_submodule("trunk")(given_.images)
    assert activations.shape == (len(drawn.targets), plan.map_channels, *plan.map_size)
    assert given_.logits().shape == (len(drawn.targets), plan.classes)
    assert given_.logits().dtype is torch.float64
    assert not any(module.training for module in given_.model.modules())
    if plan.relu_only:
        assert activations.min() >= 0


@given(situations())
@settings(max_examples=60)
def test_the_printed_code_makes_the_same_network(drawn: Drawn) -> None:
    model, printed = build(drawn.plan), executed(code_of(drawn.plan))
    assert list(model.state_dict()) == list(printed.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(value, printed.state_dict()[name]), name
    images = drawn.situation().images
    assert torch.equal(model(images), printed(images))


@given(situations(walled=True))
@settings(max_examples=30)
def test_a_drawn_situation_goes_through_json(drawn: Drawn) -> None:
    again = Drawn.from_dict(json.loads(json.dumps(drawn.to_dict())))
    assert again == drawn
    one, other = drawn.situation(), again.situation()
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.logits(), other.logits())


@given(situations(walled=True))
@settings(max_examples=30)
def test_a_walled_network_has_dead_cells(drawn: Drawn) -> None:
    walled = drawn.situation().walled
    assert walled is not None
    assert 0 < walled.zone.feature_fraction < 1


@given(networks(bias=False))
@settings(max_examples=60)
def test_a_homogeneous_head_scales(plan: Plan) -> None:
    if not plan.homogeneous_head:
        return
    model = build(plan)
    shape = (2, plan.map_channels, *plan.map_size)
    activations = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    head = model.get_submodule("head")
    assert torch.equal(head(4 * activations), 4 * head(activations))


@given(networks(circular=True, pooled=True))
@settings(max_examples=40)
def test_a_circular_network_follows_translations(plan: Plan) -> None:
    assert plan.circular
    model, step = build(plan), plan.stride
    images = Drawn(plan=plan, targets=(0,)).situation().images
    trunk = model.get_submodule("trunk")
    moved = trunk(images.roll((step, step), dims=(-2, -1)))
    torch.testing.assert_close(moved, trunk(images).roll((1, 1), dims=(-2, -1)))


@given(networks(whole=True))
@settings(max_examples=60)
def test_flipped_kernels_see_flipped_images_where_windows_fit(plan: Plan) -> None:
    if not plan.flips("horizontal"):
        return
    model, mirrored = build(plan), build(plan)
    for module in mirrored.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.flip(-1)
    images = Drawn(plan=plan, targets=(0,)).situation().images
    expected = model.get_submodule("trunk")(images).flip(-1)
    torch.testing.assert_close(mirrored.get_submodule("trunk")(images.flip(-1)), expected)


def test_most_windows_fit_when_asked_to() -> None:
    found = find(networks(whole=True, stages=3), lambda plan: plan.flips("vertical"))
    assert found.flips("vertical")


def test_networks_shrink_to_one_of_everything() -> None:
    plan = find(networks(), lambda _: True)
    assert plan == Plan()
    assert (plan.stages, plan.head) == ((Stage(),), Head())


def test_situations_shrink_to_one_image_of_the_first_class() -> None:
    drawn = find(situations(), lambda _: True)
    assert drawn == Drawn(plan=Plan(), targets=(0,))


@pytest.mark.parametrize("kernel", [2, 3])
def test_what_matters_survives_shrinking(kernel: int) -> None:
    plan = find(networks(), lambda plan: any(s.kernel == kernel for s in plan.stages))
    assert len(plan.stages) == 1
    assert plan.stages[0].kernel == kernel
    assert plan.map_size == (1, 1)


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_building_leaves_the_random_state_alone(seed: int) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build(Plan(seed=seed))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Plan(stages=(Stage(kernel=3),)), "leave no cell"),
        (lambda: Plan(stages=()), "needs a stage"),
        (lambda: Drawn(plan=Plan(), targets=(1,)), r"0 … 0"),
        (lambda: Drawn(plan=Plan(), targets=(0,), kind="noise"), "got 'noise'"),
        (lambda: Plan.from_dict({"stages": []}), "to_dict"),
        (lambda: Drawn.from_dict({"plan": Plan().to_dict()}), "to_dict"),
    ],
)
def test_an_impossible_network_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()
