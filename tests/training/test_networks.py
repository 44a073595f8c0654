"""Networks with walls: their specs, their zones, their twins, and weights that stay 0."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camaudit.errors import ModelError, WallError
from camaudit.training.distributed import World
from camaudit.training.learner import Learner
from camaudit.training.networks import (
    NetworkSpec,
    apply_masks_,
    build,
    geometry,
    leaking,
    spec_for,
    trainable,
    twins,
    walled,
)
from camaudit.training.recipe import recipe
from camaudit.walls import MaskedLinear, verify_zone
from tests.training.drawn import TINY

CPU = World(0, 1, torch.device("cpu"))


def small(**options: object) -> NetworkSpec:
    given: dict[str, object] = {"size": 28, "classes": 4, **TINY, **options}
    return spec_for("small", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "layer", "rows", "dead"),
    [(28, "features.12", 7, range(20, 28)), (32, "features.12", 8, range(22, 32)),
     (64, "features.22", 8, range(50, 64))],
)  # fmt: skip
def test_small_vggs_have_the_zone_that_receptive_fields_prove(
    size: int, layer: str, rows: int, dead: range
) -> None:
    spec = spec_for("small", size=size, classes=3)
    assert (spec.layer, spec.live_rows) == (layer, rows)
    model = build(spec).eval()
    behind = walled(spec, model)
    assert behind.zone.pixel_dead_rows == list(dead)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    assert verify_zone(behind, images, behind.zone).passed
    with torch.no_grad():
        assert torch.equal(behind.logits(images), model(images))


def test_a_spec_survives_json() -> None:
    for spec in (small(), small(live_rows=3, norm=False), spec_for("vgg16", size=224, classes=5)):
        assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "change",
    [{"network": "huge"}, {"size": 65}, {"size": 27}, {"classes": 0}, {"live_rows": -1},
     {"widths": []}, {"widths": [[0]]}, {"widths": [[True]]}, {"widths": ["ab"]}, {"widths": 5},
     {"hidden": "12"}, {"dropout": 1.0},
     {"extra": 1}, {"layer": None}, {"classes": 10**9}, {"network": "torchvision:resnet18"}],
)  # fmt: skip
def test_garbled_specs_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        NetworkSpec.from_dict({**small().to_dict(), **change})


@pytest.mark.parametrize("content", ["ab", [1], {"widths": ["e" * 90_000]}])
def test_descriptions_of_anything_else_are_refused_in_short(content: object) -> None:
    if isinstance(content, dict):
        content = {**small().to_dict(), **content}
    with pytest.raises(ModelError) as caught:
        NetworkSpec.from_dict(content)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 500


def test_options_of_another_network_are_refused() -> None:
    with pytest.raises(WallError, match="first Linear"):
        small(layer="features.2")
    with pytest.raises(ModelError, match="hidden"):
        spec_for("torchvision:resnet18", size=32, classes=3, hidden=7)
    with pytest.raises(ModelError, match="widths"):
        spec_for("vgg16", size=224, classes=3, widths=((8,),))
    with pytest.raises(WallError, match="1 to 13"):
        build(small(live_rows=14))


def test_twins_share_their_live_weights_and_a_masked_network_starts_like_its_twin() -> None:
    spec = small()
    masked, free = twins(spec, seed=5)
    alone = build(spec, seed=5)
    first = masked.get_submodule("classifier.0")
    assert isinstance(first, MaskedLinear)
    for name, value in free.state_dict().items():
        mine = masked.state_dict()[name]
        assert torch.equal(mine, alone.state_dict()[name])
        if name == "classifier.0.weight":
            assert torch.equal(mine[:, ~first.dead], value[:, ~first.dead])
            assert not bool(mine[:, first.dead].any())
            assert bool(value[:, first.dead].any())
        else:
            assert torch.equal(mine, value)


@given(
    optimiser=st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]),
    momentum=st.sampled_from([0.0, 0.9]),
    nesterov=st.booleans(),
    decay=st.sampled_from([0.0, 0.1]),
    live_rows=st.integers(1, 13),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_weights_of_dead_features_are_exactly_0_after_every_step(
    optimiser: str, momentum: float, nesterov: bool, decay: float, live_rows: int, seed: int
) -> None:
    spec = small(live_rows=live_rows, widths=((2,), (3,)), hidden=4)
    chosen = recipe(
        "small", optimiser=optimiser, momentum=momentum, nesterov=nesterov, weight_decay=decay
    )
    with torch.random.fork_rng():
        learner = Learner.of(spec, build(spec, seed=seed), chosen, CPU)
        generator = torch.Generator().manual_seed(seed)
        before = [value.clone() for value in learner.network.parameters()]
        for step in range(3):
            images = torch.randn(4, 3, 28, 28, generator=generator)
            learner.step(images, torch.arange(4), lr=0.05, seed=step)
            assert leaking(learner.network) == 0
    assert learner.leaks == 0  # the gradients are exactly 0, so nothing had to be repaired
    changed = [
        not torch.equal(a, b) for a, b in zip(before, learner.network.parameters(), strict=True)
    ]
    assert any(changed)


def test_a_leak_is_counted_and_repaired() -> None:
    spec = small()
    with torch.random.fork_rng():
        learner = Learner.of(spec, build(spec), recipe("small"), CPU)
        first = learner.network.get_submodule("classifier.0")
        assert isinstance(first, MaskedLinear)
        with torch.no_grad():
            first.weight[:, first.dead.nonzero()[0]] = 0.5
        assert leaking(learner.network) == TINY["hidden"]
        learner.step(torch.randn(4, 3, 28, 28), torch.arange(4), lr=0.01, seed=0)
    assert learner.leaks == TINY["hidden"]
    assert leaking(learner.network) == 0
    apply_masks_(learner.network)


@pytest.mark.parametrize(
    ("name", "wall", "kind"),
    [("resnet18", "auto", "split"), ("resnet18", "insert", "insert")],
)
def test_a_wall_in_a_torchvision_network(name: str, wall: str, kind: str) -> None:
    spec = spec_for(f"torchvision:{name}", size=64, classes=3, wall=wall, live_rows=1)
    assert spec.wall == kind
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    network = build(spec, seed=2)
    module = trainable(spec, network).eval()
    behind = walled(spec, network.eval())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen, expected = module(images), behind.logits(images)
        free = network(images)
    assert torch.allclose(seen, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    assert not torch.allclose(seen, free, rtol=1e-2, atol=1e-3 * float(free.abs().max()))
    module.train()
    loss = module(images).square().sum()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    assert not network._forward_hooks
    assert not any(part._forward_hooks for part in network.modules())


def test_networks_with_more_than_one_output_are_refused() -> None:
    with pytest.raises(ModelError, match="further outputs"):
        spec_for("torchvision:googlenet", size=64, classes=3)


def test_the_baseline_has_a_geometry_and_no_wall() -> None:
    spec = dataclasses.replace(small(), masked=False)
    model = build(spec).eval()
    assert geometry(spec, model).pixel_dead_rows[-1] == 27
    with pytest.raises(WallError, match="baseline"):
        walled(spec, model)
    masked, free = twins(small())
    behind = walled(small(), masked.eval(), twin=free.eval())
    assert behind.unwalled is not None
