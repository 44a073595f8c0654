"""Initialisations: the laws, in place, seeded, and without a trace in the global random state."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from camaudit.errors import UsageError
from camaudit.initialisation import SCHEMES, initialise_, law


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 64, 3, groups=2), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 96, 1),
        nn.Flatten(), nn.Linear(96, 200),
    )  # fmt: skip


FANS = {"0": (36, 576), "3": (64, 96), "5": (96, 200)}


@pytest.mark.parametrize("scheme", ["he", "glorot", "gaussian"])
def test_weights_have_the_spread_of_their_law(scheme: Any) -> None:
    model = network()
    initialise_(model, scheme, seed=1, std=0.3)
    for name, (fan_in, fan_out) in FANS.items():
        layer: Any = model.get_submodule(name)
        expected = law(scheme, fan_in, fan_out, std=0.3)
        assert expected.normal
        found = float(layer.weight.detach().double().std())
        assert found == pytest.approx(expected.scale, rel=6 / math.sqrt(2 * layer.weight.numel()))
        assert not bool(layer.bias.any())


def test_default_is_pytorchs_own_of_every_module() -> None:
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    initialise_(model, "default", seed=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        fresh = network()
    for name, value in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    bound = law("default", 36, 288)
    assert not bound.normal
    first: Any = model[0]
    assert float(first.weight.detach().abs().max()) <= bound.scale


def test_permute_keeps_every_value() -> None:
    model, before = network(), network()
    before.load_state_dict(model.state_dict())
    initialise_(model, "permute", seed=2)
    for name, value in before.state_dict().items():
        after = model.state_dict()[name]
        assert torch.equal(after.flatten().sort().values, value.flatten().sort().values)
        assert name.startswith("1.") or not torch.equal(after, value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_seed_repeats_and_the_random_state_stays(scheme: Any) -> None:
    start = network().state_dict()
    states = []
    before = torch.random.get_rng_state()
    for seed in (1, 1, 2):
        model = nn.Sequential(*network())
        model.load_state_dict(start)
        state = torch.random.get_rng_state()
        initialise_(model, scheme, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert before.shape == torch.random.get_rng_state().shape
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_unknown_names_and_spreads() -> None:
    with pytest.raises(UsageError, match="among gaussian, he, glorot, default, permute; got 'x'"):
        initialise_(network(), "x", seed=0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="among gaussian, he, glorot, default; got 'permute'"):
        law("permute", 3, 3)  # type: ignore[arg-type]
    for std in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="std must be positive"):
            law("gaussian", 3, 3, std=std)
