"""Every state of every order equals a model that was copied, randomised and run as a whole."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import ModelError, UsageError
from camaudit.methods import method_call
from camaudit.sanity import (
    ORDERS,
    Options,
    Randomiser,
    execution_order,
    prepare_cascade,
    run_sanity,
)
from camaudit.sanity.cascade import State, _Step
from tests.networks import CUTTABLE, build, images, settle
from tests.sanity.models import MODELS, Counting

CASES = [(name, layers[-1]) for name, (_, layers) in CUTTABLE.items()]
CASES += [(name, layer) for name, (_, layer) in MODELS.items()]
CASES += [("residual", "blocks.0"), ("dense", "stem"), ("reused", "relu#2"), ("chain", "2")]


def network(name: str) -> nn.Module:
    return (MODELS[name][0]() if name in MODELS else build(name)).double()


def random_layers(order: str, step: int, layers: int) -> list[int]:
    places = list(range(layers))
    return {
        "top-down": places[layers - step :],
        "bottom-up": places[:step],
        "independent": places[step - 1 : step],
        "all": places,
    }[order]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "layer"), CASES)
def test_states_equal_copied_models(name: str, layer: str, order: Any) -> None:
    model, x = network(name), images(3).double()
    twin = copy.deepcopy(model)
    cascade = prepare_cascade(model, layer, x[:1])
    batch = cascade.batch(x)
    other = execution_order(twin, x[:1])
    with cascade.randomiser("he") as weights:
        states: list[tuple[State, list[torch.Tensor]]] = []
        for state in cascade.states(batch, order, 7, weights):
            assert state.capture is not None
            got = state.capture
            states.append((state, [got.activations.clone(), got.gradients.clone(), got.logits]))
    for state, (activations, gradients, logits) in states:
        with Randomiser(twin, other) as plain:
            for place in random_layers(order, state.step, len(other.layers)):
                plain.randomise(other.layers[place], seed=7)
            wanted = capture(cut_at(copy.deepcopy(twin), layer, x[:1]), x, targets=batch.targets)
        torch.testing.assert_close(activations, wanted.activations, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients, wanted.gradients, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(logits, wanted.logits, rtol=1e-12, atol=1e-12)


def test_state_kept_on_a_module_is_found_and_the_whole_model_runs() -> None:
    model, x = network("attributed"), images(2).double()
    cascade = prepare_cascade(model, "mix", x[:1])
    assert cascade.suffix.broken is not None
    assert any("every step runs the whole model" in remark.reason for remark in cascade.remarks)


@pytest.mark.parametrize("name", ["residual", "dense", "chain", "reused", "raw", "frozen"])
def test_boundaries_are_proven(name: str) -> None:
    layer = MODELS[name][1] if name in MODELS else CUTTABLE[name][1][-1]
    assert prepare_cascade(network(name), layer, images(1).double()).suffix.broken is None


def test_only_what_changed_runs() -> None:
    model, x = build("residual"), images(2)
    cascade = prepare_cascade(model, "blocks", x[:1])
    batch = cascade.batch(x)
    runs: list[str] = []
    handles = [
        module.register_forward_hook(
            lambda module, _args, _output, name=name: (
                runs.append(name) if "forward" not in vars(module) else None
            )
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with cascade.randomiser("he") as weights:
        seen = []
        for _ in cascade.states(batch, "top-down", 0, weights):
            seen.append(list(runs))
            runs.clear()
    for handle in handles:
        handle.remove()
    assert seen[0] == []  # the head alone
    assert seen[1] == ["blocks.1.conv2"]
    assert seen[2] == seen[3 - 1] == ["blocks.1.conv2"]  # norm1 comes after conv1
    assert seen[3] == ["blocks.1.conv1", "blocks.1.conv2"]
    assert seen[-1][0] == "stem"


def test_weights_are_the_originals_between_and_after_cascades_that_are_left_early() -> None:
    model, x = build("chain"), images(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cascade = prepare_cascade(model, "5", x[:1])
    batch = cascade.batch(x)
    with cascade.randomiser("he") as weights:
        walk = cascade.states(batch, "top-down", 0, weights)
        next(walk)
        next(walk)
        walk.close()
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])


def test_an_image_with_finite_logits_stands_in_for_one_without() -> None:
    model, x = build("flat"), images(2)
    cascade = prepare_cascade(model, "3", x[:1])
    batch = cascade.batch(x)
    x[1] = torch.inf  # after the original was captured
    with cascade.randomiser("he") as weights:
        *_, last = cascade.states(batch, "top-down", 0, weights)
    assert last.lost == (1,)
    assert last.capture is not None
    assert torch.equal(last.capture.images[0], x[0])
    for found in (last.capture.activations, last.capture.gradients, last.capture.logits):
        assert bool(torch.isfinite(found).all())
    x[0] = torch.inf
    with cascade.randomiser("he") as weights:
        *_, last = cascade.states(batch, "top-down", 0, weights)
    assert last.lost == (0, 1)
    assert last.capture is None


def test_an_unknown_order_is_refused() -> None:
    model, x = build("chain"), images(1)
    cascade = prepare_cascade(model, "5", x)
    with cascade.randomiser("he") as weights, pytest.raises(UsageError, match="top-down"):
        next(cascade.states(cascade.batch(x), "sideways", 0, weights))  # type: ignore[arg-type]


def test_a_model_without_weights_after_its_layer_is_named() -> None:
    model, x = build("conv head"), images(1)
    cascade = prepare_cascade(model, "head.0", x)
    assert any("no layer after the target layer" in remark.reason for remark in cascade.remarks)
    assert not any(step.above for step in cascade.steps("top-down"))


class Branching(nn.Module):
    """Takes another way for bright images, with other modules or other tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.dark = nn.Conv2d(4, 4, 3, padding=1)
        self.bright = nn.Conv2d(4, 4, 1)
        self.mix = nn.Conv2d(4, 4, 3, padding=1)
        self.maps = nn.Identity()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        y = self.bright(stem) if x.mean() > 10 else self.dark(stem)
        maps = self.maps(self.mix(y.relu() + stem))
        return self.fc(maps.relu().mean(dim=(2, 3)))


@pytest.mark.parametrize("order", ORDERS)
def test_a_batch_that_takes_another_way_runs_whole(order: Any) -> None:
    model, x = settle(Branching()).double(), images(1).double()
    cascade = prepare_cascade(model, "maps", x)
    assert cascade.suffix.broken is None
    bright = x + 20
    with cascade.randomiser("he") as weights:
        for given in (x, bright):
            batch = cascade.batch(given)
            for state in cascade.states(batch, order, 1, weights):
                assert state.capture is not None
                assert torch.equal(state.capture.activations, cascade.cut.trunk(given))
            strays = [r.reason for r in cascade.remarks if "other modules" in r.reason]
            assert len(strays) == (given is bright)


def test_random_weights_that_take_another_way_run_whole() -> None:
    class Deciding(Branching):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            stem = self.stem(x)
            y = self.bright(stem) if stem.mean() > self.stem.bias.mean() else self.dark(stem)
            return self.fc(self.maps(self.mix(y.relu() + stem)).relu().mean(dim=(2, 3)))

    model, x = settle(Deciding()).double(), images(1).double()
    cascade = prepare_cascade(model, "maps", x)
    batch = cascade.batch(x)
    with cascade.randomiser("he") as weights:
        for seed in range(6):
            for state in cascade.states(batch, "bottom-up", seed, weights):
                assert state.capture is not None
                assert torch.equal(state.capture.activations, cascade.cut.trunk(x))
    assert cascade.suffix.strays


def test_what_passes_write_is_given_back_by_both_models() -> None:
    models = [settle(Counting()), settle(Counting())]
    before = [(model.n, model.m, model.kept) for model in models]
    values = [model.n.item() for model in models]
    run_sanity(
        models[0], "conv", images(2), methods=[method_call("gradcam")], permuted=models[1],
        options=Options(checks=("mprt", "data-randomisation"), seeds=(0, 1)),
    )  # fmt: skip
    for model, (n, m, kept), value in zip(models, before, values, strict=True):
        assert model.n is n
        assert model.m is m
        assert model.kept is kept
        assert (n.item(), m.item(), model.passes, kept) == (value, 0, 0, [])


def test_a_model_without_weights_runs_the_checks_that_randomise_none() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.maps(x - 0.2).square().mean(dim=(2, 3))

    model, calls = Fixed().eval(), [method_call("gradcam")]
    checks = ("random-logit", "data-randomisation")
    found = run_sanity(
        model, "maps", images(2), methods=calls, permuted=Fixed().eval(),
        options=Options(checks=checks),
    )  # fmt: skip
    assert {table.check for table in found.tables} == set(checks)
    assert not found.layers
    assert not any("no layer after" in remark.reason for remark in found.remarks)
    with pytest.raises(ModelError, match="no weights"):
        run_sanity(model, "maps", images(2), methods=calls, options=Options(checks=("mprt",)))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_joined_heads_give_the_states_of_single_ones(count: int) -> None:
    model, x = build("flat").double(), images(count).double()
    cascade = prepare_cascade(model, "3", x[:1])
    batch = cascade.batch(x)
    with cascade.randomiser("he") as weights:
        single = {state.step: state for state in cascade.states(batch, "top-down", 3, weights)}
        joined = list(cascade.states(batch, "top-down", 3, weights, joined=True))
    assert [state.step for state in joined] == list(single)
    for state in joined:
        alone = single[state.step]
        assert (state.above, state.changed, state.lost) == (alone.above, alone.changed, alone.lost)
        assert state.capture is not None
        assert alone.capture is not None
        assert torch.equal(state.capture.activations, alone.capture.activations)
        assert torch.equal(state.capture.targets, alone.capture.targets)
        torch.testing.assert_close(
            state.capture.gradients, alone.capture.gradients, rtol=1e-12, atol=1e-14
        )


def test_a_step_without_finite_logits_is_lost_alone_where_heads_are_joined() -> None:
    model, x = build("flat").double(), images(2).double()
    cascade = prepare_cascade(model, "3", x[:1])
    batch = cascade.batch(x)
    good = batch.original.activations
    bad = good.clone()
    bad[1] = math.inf
    found = cascade._captured(
        batch, 0, [_Step("top-down", n, False, True, a) for n, a in enumerate((good, bad, good))]
    )
    assert [state.lost for state in found] == [(), (1,), ()]
    nothing = cascade._captured(
        batch,
        0,
        [_Step("top-down", n, False, True, a) for n, a in enumerate((good, bad * math.inf))],
    )
    assert nothing[1].lost == (0, 1)
    assert nothing[1].capture is None
    assert nothing[0].capture is not None
