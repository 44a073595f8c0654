"""A cut is exact, refuses what it cannot prove, and leaves no trace on the model."""

import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from camaudit.cut import Cut, cut_at, default_layer
from camaudit.errors import LayerError, ModelError, NotApplicableError
from camaudit.linear_head import pooled_linear_weight
from camaudit.sites import find_site, require_eval
from camaudit.walls.insert import insert_wall
from camaudit.walls.split import split_trunk
from tests import networks
from tests.networks import CUTTABLE, build, images, settle

SITES = [(name, layer) for name, (_, layers) in CUTTABLE.items() for layer in layers]
Named = namedtuple("Named", "left right")


def untouched(model: nn.Module) -> None:
    """Assert that no hook and no scripted forward is left anywhere on `model`."""
    for name, module in model.named_modules():
        assert not module._forward_hooks, name
        assert not module._forward_pre_hooks, name
        assert not module._backward_hooks, name
        assert "forward" not in vars(module), name


class Snapshot:
    """State, flags, gradients and the global random state, to compare with later."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.state = deepcopy(model.state_dict())
        self.flags = self.current_flags()
        self.rng = torch.get_rng_state()

    def current_flags(self) -> list[object]:
        parameters = [
            (n, p.requires_grad, p.grad is None) for n, p in self.model.named_parameters()
        ]
        return [*parameters, *((n, m.training) for n, m in self.model.named_modules())]

    def check(self) -> None:
        now = self.model.state_dict()
        assert list(now) == list(self.state)
        assert all(torch.equal(now[key], self.state[key]) for key in now)
        assert self.current_flags() == self.flags
        assert torch.equal(torch.get_rng_state(), self.rng)
        untouched(self.model)


# --------------------------------------------------------------------------------- exactness


@pytest.mark.parametrize(("name", "layer"), SITES)
def test_head_of_trunk_is_bit_equal_to_the_model(name: str, layer: str) -> None:
    model = build(name)
    cut = cut_at(model, layer, images(1))
    for count in (1, 2, 5):
        batch = images(count, seed=count)
        with torch.no_grad():
            expected = model(batch.clone())
            activations = cut.trunk(batch)
            kept = activations.clone()
            logits = cut.read(activations)
        assert expected.abs().max() > 0
        assert torch.equal(logits, expected)
        assert torch.equal(activations, kept), "the head wrote into the maps that it was given"
        assert torch.equal(cut.logits(batch), expected)
        assert torch.equal(cut(batch), expected)
    untouched(model)


@pytest.mark.parametrize("name", CUTTABLE)
def test_every_other_layer_is_refused(name: str) -> None:
    model = build(name)
    allowed = {layer.partition("#")[0] for layer in CUTTABLE[name][1]}
    others = [layer for layer, _ in model.named_modules() if layer and layer not in allowed]
    assert others
    for layer in others:
        with pytest.raises(LayerError):
            cut_at(model, layer, images(1))


@pytest.mark.parametrize(("name", "layer"), SITES)
def test_trunk_returns_the_layers_own_output(name: str, layer: str) -> None:
    model = build(name)
    base, _, number = layer.partition("#")
    seen: list[Tensor] = []

    def record(_module: nn.Module, _args: object, output: Tensor) -> None:
        seen.append(output.clone())

    handle = model.get_submodule(base).register_forward_hook(record)
    batch = images(2)
    with torch.no_grad():
        model(batch.clone())
    handle.remove()
    wanted = seen[int(number or 1) - 1]
    activations = cut_at(model, layer, images(1)).trunk(batch)
    assert torch.equal(activations, wanted)


def test_cut_works_in_float64_and_for_another_batch_than_the_example() -> None:
    model = build("residual").double()
    example = images(3).double()
    cut = cut_at(model, "blocks", example)
    batch = images(4, seed=9).double()
    assert torch.equal(cut(batch), model(batch))


def test_cut_works_inside_no_grad() -> None:
    with torch.no_grad():
        cut = cut_at(build("residual"), "blocks.0", images(1))
    assert cut.layer == "blocks.0"


@pytest.mark.parametrize("layer", ["trunk", "trunk.model.body.1#1", "trunk.model.body#1"])
def test_cut_is_in_eval_mode_and_can_be_cut_again(layer: str) -> None:
    model = build("gap linear")
    cut = cut_at(model, "body", images(1))
    require_eval(cut)
    again = cut_at(cut, layer, images(1))
    assert torch.equal(again(images(3)), model(images(3)))


@pytest.mark.parametrize(
    "layer", ["conv", "left"], ids=["layer after the tuple", "layer inside the tuple's block"]
)
def test_tuples_that_do_not_lead_around_the_layer_are_fine(layer: str) -> None:
    model = settle(networks.PairStem(lambda a, b: (a, b), lambda p: p, skip=False))
    name = "stem.left" if layer == "left" else layer
    cut = cut_at(model, name, images(1))
    assert torch.equal(cut(images(3)), model(images(3)))


# ---------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("layer", ["blocks.0.conv1", "blocks.1.norm1", "blocks.1.conv2"])
def test_layer_inside_a_residual_block_is_refused_and_its_block_accepted(layer: str) -> None:
    model = build("residual")
    block = layer.rpartition(".")[0]
    with pytest.raises(LayerError, match=rf"not the only path.*enclosing block '{block}'"):
        cut_at(model, layer, images(1))
    assert cut_at(model, block, images(1)).layer == block


def test_refusal_at_the_top_level_names_a_later_layer() -> None:
    with pytest.raises(LayerError, match=r"not the only path.*try a later layer"):
        cut_at(build("dense"), "grow1", images(1))


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda a, b: (a, b), lambda p: p),
        (lambda a, b: [a, b], lambda p: p),
        (Named, lambda p: (p.left, p.right)),
        (lambda a, b: {"a": a, "b": b}, lambda p: (p["a"], p["b"])),
        (lambda a, b: OrderedDict(a=a, b=b), lambda p: (p["a"], p["b"])),
        (lambda a, b: {"pair": [(a, b)]}, lambda p: p["pair"][0]),
    ],
    ids=["tuple", "list", "namedtuple", "dict", "ordered dict", "nested"],
)
def test_skip_connection_through_a_packed_output_is_refused(
    pack: Callable[[Tensor, Tensor], object], unpack: Callable[[object], tuple[Tensor, Tensor]]
) -> None:
    model = settle(networks.PairStem(pack, unpack))
    with pytest.raises(LayerError, match="not the only path"):
        cut_at(model, "conv", images(1))
    untouched(model)


@pytest.mark.parametrize("network", [networks.DetachedSkip, networks.KeptSkip])
def test_skip_connection_that_autograd_cannot_see_is_refused(
    network: Callable[[], nn.Module],
) -> None:
    with pytest.raises(LayerError, match="cannot be replayed"):
        cut_at(settle(network()), "conv", images(1))


def test_model_that_keeps_state_between_calls_is_refused() -> None:
    with pytest.raises(LayerError, match="keep state between calls"):
        cut_at(settle(networks.Counting()), "inner.body", images(1))


def test_failure_while_replaying_is_a_layer_error_with_its_cause() -> None:
    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, padding=1)
            self.conv = nn.Conv2d(7, 4, 3)
            self.fc = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(torch.cat([x, self.stem(x)], dim=1))
            return self.fc(maps.mean(dim=(2, 3)))

    model = settle(Mixes())
    with pytest.raises(LayerError, match="cannot be replayed on its own") as caught:
        cut_at(model, "conv", images(1))
    assert isinstance(caught.value.__cause__, RuntimeError)
    untouched(model)


def test_head_that_autograd_refuses_is_a_layer_error() -> None:
    with pytest.raises(LayerError, match="'body' cannot be differentiated"):
        cut_at(settle(networks.broken_gradient_head()), "body", images(1))


def test_layer_whose_output_goes_nowhere_is_refused() -> None:
    with pytest.raises(LayerError, match="do not depend on layer 'aside'"):
        cut_at(settle(networks.Unused()), "aside", images(1))


def test_layer_that_never_runs_is_refused() -> None:
    with pytest.raises(LayerError, match="'spare' never runs"):
        cut_at(settle(networks.Unused()), "spare", images(1))


def test_comparing_with_the_whole_model_leaves_the_images_and_refuses_nan() -> None:
    cut = cut_at(build("writes input"), "conv", images(1))
    batch = images(2)
    assert cut.agrees_with_model(batch, cut.logits(batch))
    assert torch.equal(batch, images(2))
    assert not cut.agrees_with_model(batch, 1.01 * cut.logits(batch))
    assert not cut.agrees_with_model(batch, torch.full((2, 5), torch.nan))


def test_unknown_layer_that_resembles_none_lists_the_last_names() -> None:
    with pytest.raises(LayerError, match=r"no layer 'zzzz'; near names: .*fc$"):
        cut_at(build("residual"), "zzzz", images(1))


def test_unknown_layer_lists_near_names() -> None:
    with pytest.raises(LayerError, match=r"no layer 'blocks\.3'; near names: .*blocks\.[01]"):
        cut_at(build("residual"), "blocks.3", images(1))


@pytest.mark.parametrize("layer", ["", "#", "#1", "#x", "nothing like it"])
def test_layer_without_a_known_name_is_refused(layer: str) -> None:
    with pytest.raises(LayerError, match="the model has no layer"):
        cut_at(build("residual"), layer, images(1))


def test_module_that_runs_several_times_needs_the_run() -> None:
    with pytest.raises(LayerError, match=r"runs 3 times.*relu#1 to relu#3"):
        cut_at(build("reused"), "relu", images(1))


@pytest.mark.parametrize("run", ["0", "4", "-1", "", "x", "1.0", " 1", "²", "1#1"])
def test_run_that_does_not_exist_is_refused(run: str) -> None:
    with pytest.raises(LayerError, match=re.escape(f"must be 1 to 3, got {run!r}")):
        cut_at(build("reused"), f"relu#{run}", images(1))


@pytest.mark.parametrize("run", [1, 2, 3])
def test_label_of_a_repeated_module_can_be_given_back(run: int) -> None:
    model = build("reused")
    cut = cut_at(model, f"relu#{run}", images(1))
    assert cut.layer == f"relu#{run}"
    assert cut_at(model, cut.layer, images(1)).layer == cut.layer
    site = find_site(model, cut.layer, images(1))
    assert (site.name, site.call, site.runs, site.module) == ("relu", run, 3, model.relu)


def test_run_number_of_a_module_that_runs_once_is_accepted_and_left_out_of_the_label() -> None:
    assert cut_at(build("residual"), "stem#1", images(1)).layer == "stem"


def test_layer_that_returns_no_map_is_refused() -> None:
    with pytest.raises(LayerError, match=r"returns shape \(1, 5\); expected N×K×h×w"):
        cut_at(build("residual"), "fc", images(1))
    model = settle(networks.PairStem(lambda a, b: (a, b), lambda p: p))
    with pytest.raises(LayerError, match="'stem' returns a tuple; expected one N×K×h×w tensor"):
        cut_at(model, "stem", images(1))


def test_functional_model_has_no_layer_to_cut_at() -> None:
    model = settle(networks.Functional())
    with pytest.raises(LayerError, match="near names: -"):
        cut_at(model, "conv", images(1))
    with pytest.raises(LayerError, match="name the target layer"):
        default_layer(model, images(1))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda y: (y, y), "returns a tuple"),
        (lambda y: [y], "returns a list"),
        (lambda y: {"out": y, "aux": y}, r"returns a dict \('out', 'aux'\)"),
        (lambda y: y[:, :, None], r"shape \(1, 5, 1\).*N×C"),
        (lambda y: y[0], r"shape \(5,\)"),
        (lambda _: None, "returns a NoneType"),
    ],
)
def test_model_that_returns_no_logits_is_refused(
    wrap: Callable[[Tensor], object], message: str
) -> None:
    model = settle(networks.Returning(wrap))
    with pytest.raises(ModelError, match=message):
        cut_at(model, "inner.body", images(1))
    untouched(model)


@pytest.mark.parametrize("part", ["", "1"])
def test_training_mode_is_refused_before_anything_runs(part: str) -> None:
    model = build("chain")
    model.get_submodule(part).train()
    snapshot = Snapshot(model)
    for act in (cut_at, find_site):
        with pytest.raises(ModelError, match=r"training mode \(.*\b1\b"):
            act(model, "5", images(1))
    with pytest.raises(ModelError, match="training mode"):
        default_layer(model, images(1))
    snapshot.check()


# ----------------------------------------------------------------------------- default layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("chain", "5"),
        ("flat", "3"),
        ("residual", "blocks"),
        ("dense", "norm"),
        ("reused", "relu#3"),
        ("gap linear", "body"),
        ("max linear", "body"),
        ("flatten linear", "body"),
        ("conv relu head", "head.1"),
        ("fixed pool head", "body"),
        ("batch reshape", "act"),
    ],
)
def test_default_layer_is_the_last_map(name: str, layer: str) -> None:
    model = build(name)
    assert default_layer(model, images(1)) == layer
    untouched(model)


@pytest.mark.parametrize("passed_over", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Dropout2d()])
def test_default_layer_passes_over_pooling_and_dropout(passed_over: nn.Module) -> None:
    model = settle(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), passed_over, networks.Mean(), nn.Linear(4, 5))
    )
    assert default_layer(model, images(1)) == "1"


def test_default_layer_skips_layers_with_a_path_around_them() -> None:
    model = settle(networks.DetachedSkip())
    assert default_layer(model, images(1)) == "stem"


# ----------------------------------------------------------------------------------- hygiene


@pytest.mark.parametrize("name", CUTTABLE)
def test_cutting_and_using_the_cut_leave_no_trace(name: str) -> None:
    model = build(name)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    snapshot = Snapshot(model)
    example = images(2)
    kept = example.clone()
    for layer in CUTTABLE[name][1]:
        cut = cut_at(model, layer, example)
        cut(example)
        default_layer(model, example)
        assert torch.equal(example, kept)
        snapshot.check()


def test_nothing_is_left_after_the_model_raised() -> None:
    model = settle(networks.Fails())
    cut = cut_at(model, "act", images(1))
    activations = cut.trunk(images(2))
    snapshot = Snapshot(model)
    model.armed = True
    for act in (
        lambda: cut_at(model, "act", images(1)),
        lambda: default_layer(model, images(1)),
        lambda: find_site(model, "act", images(1)),
        lambda: cut.read(activations),
        lambda: cut(images(2)),
    ):
        with pytest.raises(ArithmeticError, match="armed"):
            act()
        snapshot.check()
    assert torch.equal(cut.trunk(images(2)), activations), "the trunk stops before the failure"


def test_hooks_and_own_forward_of_the_user_survive() -> None:
    model = build("gap linear")
    seen: list[tuple[int, ...]] = []
    handle = model.body.register_forward_hook(lambda _m, _a, out: seen.append(tuple(out.shape)))
    owned = [model.body[0], model.body[2]]  # one finishes before the layer, one is the layer
    own = [module.forward for module in owned]
    for module, forward in zip(owned, own, strict=True):
        vars(module)["forward"] = forward
    cut = cut_at(model, "body.2", images(1))
    assert torch.equal(cut(images(2)), model(images(2)))
    assert list(model.body._forward_hooks) == [handle.id]
    assert all(vars(m)["forward"] is f for m, f in zip(owned, own, strict=True))
    assert seen


def test_cut_registers_the_model_once() -> None:
    model = build("residual")
    cut = cut_at(model, "blocks", images(1))
    assert len(list(cut.parameters())) == len(list(model.parameters()))
    assert {id(p) for p in cut.parameters()} == {id(p) for p in model.parameters()}


# ---------------------------------------------------------------------- pooled Linear weights


@pytest.mark.parametrize(
    ("name", "layer", "weight"),
    [
        ("gap linear", "body.2", "head.1.weight"),
        ("residual", "blocks", "fc.weight"),
        ("chain", "5", "9.weight"),
        ("fixed pool head", "body.2", "head.2.weight"),
    ],
)
def test_pooled_linear_weight_is_the_classifiers(name: str, layer: str, weight: str) -> None:
    model = build(name)
    cut = cut_at(model, layer, images(1))
    W = pooled_linear_weight(cut, cut.trunk(images(3)))
    assert torch.equal(W, model.get_parameter(weight))
    assert not W.requires_grad
    untouched(model)


@pytest.mark.parametrize("build_wall", [insert_wall, split_trunk])
@pytest.mark.parametrize("dead", ["bottom:3", "centre:3"])
def test_pooled_linear_weight_behind_a_wall(build_wall: Callable[..., object], dead: str) -> None:
    model = build("gap linear")
    walled = build_wall(model, "body.2", images(1), dead=dead)
    W = pooled_linear_weight(walled, walled.trunk(images(3)))
    assert torch.equal(W, model.head[1].weight)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("gap linear", "body.0"),
        ("gap relu mlp", "body.2"),
        ("gap layernorm", "body.2"),
        ("max linear", "body.2"),
        ("flatten linear", "body.2"),
        ("conv head", "body.2"),
        ("conv relu head", "body.2"),
        ("inplace head", "body.2"),
        ("dense", "norm"),
    ],
)
def test_pooled_linear_weight_refuses_other_heads(name: str, layer: str) -> None:
    model = build(name)
    cut = cut_at(model, layer, images(1))
    with pytest.raises(NotApplicableError, match="global average pooling followed by one Linear"):
        pooled_linear_weight(cut, cut.trunk(images(3)))
    untouched(model)


@pytest.mark.parametrize("change", [lambda y: 2 * y, lambda y: y.softmax(dim=1)])
def test_pooled_linear_weight_refuses_logits_that_are_not_the_linears_output(
    change: Callable[[Tensor], Tensor],
) -> None:
    cut = cut_at(settle(networks.Returning(change)), "inner.body", images(1))
    with pytest.raises(NotApplicableError):
        pooled_linear_weight(cut, cut.trunk(images(2)))


def test_pooled_linear_weight_refuses_a_pooling_that_differs_between_channels() -> None:
    class Slanted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3)) * torch.arange(1.0, 1 + x.shape[1])

    cut = cut_at(settle(networks.Headed(Slanted(), nn.Linear(6, 5))), "body", images(1))
    with pytest.raises(NotApplicableError):
        pooled_linear_weight(cut, cut.trunk(images(2)))


def test_pooled_linear_weight_refuses_global_maxima_that_stand_in_one_cell() -> None:
    """All maps have their maximum in the same cell, so that it looks like one pattern."""
    cut = cut_at(build("max linear"), "body", images(1))
    A = cut.trunk(images(2))
    A[:, :, 3, 3] = 100
    with pytest.raises(NotApplicableError):
        pooled_linear_weight(cut, A)


def test_pooled_linear_weight_refuses_a_pooling_whose_gradient_alone_looks_even() -> None:
    """LayerNorm without weights sums to 0, so that its gradient is the same 0 everywhere."""
    head = (networks.Mean(), nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 5))
    cut = cut_at(settle(networks.Headed(*head)), "body", images(1))
    with pytest.raises(NotApplicableError):
        pooled_linear_weight(cut, cut.trunk(images(2)))


def test_pooled_linear_weight_does_not_touch_parameter_gradients() -> None:
    model = build("gap linear")
    cut: Cut = cut_at(model, "body", images(1))
    pooled_linear_weight(cut, cut.trunk(images(2)))
    assert all(parameter.grad is None for parameter in model.parameters())


class OneCell(nn.Module):
    """A Linear on a single cell of the map: no global average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.maps(images)[:, :, 0, 0])
        return logits


class Weighted(OneCell):
    """A Linear on a weighted sum of cells that is no mean."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images)
        weights = torch.linspace(0, 1, maps.shape[-1], dtype=maps.dtype)
        logits: Tensor = self.linear((maps * weights).sum(dim=(2, 3)))
        return logits


@pytest.mark.parametrize("kind", [OneCell, Weighted])
def test_a_linear_on_something_else_than_a_mean_is_no_cam_head(kind: type[OneCell]) -> None:
    model = kind().double().eval()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    cut = cut_at(model, "maps", images[:1])
    with pytest.raises(NotApplicableError, match="global average pooling"):
        pooled_linear_weight(cut, cut.trunk(images).detach())


def test_a_branch_that_leaves_no_trace_on_the_graph_is_found_on_its_images() -> None:
    class Branching(OneCell):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.where(images.mean() > 5, -logits, logits)

    model = Branching().double().eval()
    usual = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    cut = cut_at(model, "maps", usual[:1])
    with torch.no_grad():
        assert cut.agrees_with_model(usual, cut(usual))
        assert not cut.agrees_with_model(usual + 10, cut(usual + 10))
