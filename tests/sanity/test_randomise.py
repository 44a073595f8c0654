"""Re-initialisation: laws, streams, parametrisations, and the model given back bit for bit."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from camaudit.errors import UsageError
from camaudit.sanity import SCHEMES, Randomiser, execution_order
from camaudit.sanity.draws import BLOCK, key, normal, permuted
from tests.networks import build, images, settle
from tests.sanity.models import MODELS, Argued, Replacing, Tied, old_weight_normed


def everything(model: nn.Module) -> dict[str, Any]:
    """All that must come back: values and identity of tensors, modes, flags, hooks."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "objects": {name: id(tensor) for name, tensor in tensors.items()},
        "memory": {name: tensor.data_ptr() for name, tensor in tensors.items()},
        "required": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "grad": {name: tensor.grad for name, tensor in tensors.items()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "plain": {
            (index, name): (id(value), value.detach().clone())
            for index, module in enumerate(model.modules())
            for name, value in vars(module).items()
            if isinstance(value, torch.Tensor)
        },
        "rng": torch.get_rng_state(),
    }


def assert_same(now: Any, before: Any) -> None:
    if isinstance(before, torch.Tensor):
        assert torch.equal(now, before)
    elif isinstance(before, dict):
        assert now.keys() == before.keys()
        for name in before:
            assert_same(now[name], before[name])
    elif isinstance(before, tuple):
        for left, right in zip(now, before, strict=True):
            assert_same(left, right)
    else:
        assert now == before


def network(name: str) -> nn.Module:
    return MODELS[name][0]() if name in MODELS else build(name)


NAMES = [*MODELS, "chain", "residual", "reused", "inplace head"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_model_is_bit_identical_afterwards(
    name: str, scheme: Any, error: type[BaseException] | None
) -> None:
    model = network(name)
    order = execution_order(model, images(1))
    before = everything(model)
    try:
        with Randomiser(model, order, scheme=scheme) as weights:
            for layer in order.layers:
                weights.randomise(layer, seed=1)
            model(images(2))
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as raised:
        assert type(raised) is error  # noqa: PT017 - the reason why the context was left
    assert_same(everything(model), before)


@pytest.mark.parametrize("name", [name for name in NAMES if "tied" not in name])
@pytest.mark.parametrize("scheme", ["he", "module"])
def test_every_tensor_of_every_layer_is_drawn(name: str, scheme: Any) -> None:
    model = network(name)
    order = execution_order(model, images(1))
    with Randomiser(model, order, scheme=scheme) as weights:
        for layer in order.layers:
            old = [tensor.clone() for slot in layer.slots for tensor in slot.stored]
            assert weights.randomise(layer, seed=1)
            if name == "orthogonal" and layer.name == "5":
                continue  # what is new lies in a buffer of the parametrisation
            new = [tensor for slot in layer.slots for tensor in slot.stored]
            assert all(not torch.equal(a, b) for a, b in zip(old, new, strict=True))


def test_weights_depend_on_seed_and_name_alone() -> None:
    model = build("residual")
    order = execution_order(model, images(1))
    first, second = (order.layers[place] for place in (1, 3))  # equal shapes
    with Randomiser(model, order) as weights:
        weights.randomise(first, seed=1)
        weights.randomise(second, seed=1)
        one, other = first.module.weight.clone(), second.module.weight.clone()
        assert one.shape == other.shape
        assert not torch.equal(one, other)
        weights.restore()
        weights.randomise(first, seed=2)
        assert not torch.equal(first.module.weight, one)
        weights.randomise(first, seed=1)
        assert torch.equal(first.module.weight, one)
    expected = normal(1, "blocks.0.conv1.weight", one.numel()).mul_(math.sqrt(2 / 54))
    assert torch.equal(one, expected.view(one.shape))


def test_blocks_are_drawn_by_generators_of_their_own() -> None:
    count = BLOCK + 100
    values = normal(3, "name", count)
    generator = torch.Generator().manual_seed(key(3, "name", 1))
    assert torch.equal(values[BLOCK:], torch.empty(100).normal_(generator=generator))
    assert abs(float(values.mean())) < 2e-3
    assert abs(float(values.var()) - 1) < 3e-3


@pytest.mark.parametrize("factory", [MODELS["weight norm"][0], old_weight_normed])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("scheme", ["he", "module"])
def test_a_weight_normed_layer_gets_the_weights_of_its_plain_twin(
    factory: Any, scheme: Any
) -> None:
    plain, normed = build_plain(), factory()
    found = []
    for model in (plain, normed):
        order = execution_order(model, images(1))
        with Randomiser(model, order, scheme=scheme) as weights:
            weights.randomise(order.layers[0], seed=5)
            with torch.no_grad():
                found.append(model[0](images(1)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def build_plain() -> nn.Module:
    model = MODELS["weight norm"][0]()
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    return model


def test_a_spectral_norm_finds_the_norm_of_its_new_weight() -> None:
    model = MODELS["spectral norm"][0]()
    order = execution_order(model, images(1))
    with Randomiser(model, order) as weights:
        weights.randomise(order.layers[0], seed=1)
        largest = torch.linalg.matrix_norm(model[0].weight.detach().flatten(1), ord=2)
    assert float(largest) == pytest.approx(1, abs=1e-3)


def test_a_parametrisation_without_an_inverse_is_named() -> None:
    model = MODELS["one way"][0]()
    order = execution_order(model, images(1))
    with Randomiser(model, order) as weights:
        weights.randomise(order.layers[0], seed=1)
        (remark,) = weights.remarks
    assert remark.layer == "0.weight"
    assert "right inverse" in remark.reason


def test_a_module_without_an_initialiser_is_named_and_drawn_all_the_same() -> None:
    model = MODELS["raw"][0]()
    order = execution_order(model, images(1))
    with Randomiser(model, order, scheme="module") as weights:
        for layer in order.layers:
            weights.randomise(layer, seed=1)
        named = {remark.layer: remark.reason for remark in weights.remarks}
    assert set(named) == {"kernel", "scale", "matrix"}
    assert all("no initialiser" in reason for reason in named.values())


def test_the_own_initialiser_is_used_where_there_is_one() -> None:
    model = build("flat")
    order = execution_order(model, images(1))
    twin = copy.deepcopy(model[5])
    with Randomiser(model, order, scheme="module") as weights:
        weights.randomise(order.layers[2], seed=4)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(4, "5", "module"))
            twin.reset_parameters()
        assert torch.equal(model[5].weight, twin.weight)
        assert torch.equal(model[5].bias, twin.bias)


def test_both_users_see_a_tied_weight() -> None:
    model = settle(Tied())
    order = execution_order(model, images(1))
    with Randomiser(model, order) as weights:
        weights.randomise(order.layers[0], seed=1)
        assert model.first.weight is model.second.weight


def test_permuting_keeps_the_entries_and_leaves_zeros_in_place() -> None:
    values = torch.arange(20.0).view(4, 5) % 7
    found = permuted(1, "w", values)
    assert torch.equal(found == 0, values == 0)
    assert torch.equal(found.flatten().sort().values, values.flatten().sort().values)
    assert not torch.equal(found, values)


def test_normalisations_start_again_and_scalars_keep_their_magnitude() -> None:
    model = build("chain")
    order = execution_order(model, images(1))
    with Randomiser(model, order) as weights:
        weights.randomise(order.layers[1], seed=1)
        norm = model[1]
        for tensor, value in (
            (norm.weight, 1), (norm.bias, 0), (norm.running_mean, 0), (norm.running_var, 1),
        ):  # fmt: skip
            assert torch.equal(tensor, torch.full_like(tensor, value))
        assert norm.num_batches_tracked == 0
    raw = MODELS["raw"][0]()
    order = execution_order(raw, images(1))
    scale = raw.scale.abs().item()
    with Randomiser(raw, order) as weights:
        weights.randomise(order.layers[1], seed=1)
        assert raw.scale.item() == pytest.approx(scale * normal(1, "scale", 1).item(), rel=1e-6)


def test_another_scheme_is_refused() -> None:
    model = build("chain")
    with pytest.raises(UsageError, match="he, module, permute"):
        Randomiser(model, execution_order(model, images(1)), scheme="xavier")  # type: ignore[arg-type]


def test_an_orthogonal_weight_is_drawn_again_and_each_state_comes_back() -> None:
    model = MODELS["orthogonal"][0]()
    order = execution_order(model, images(1))
    old = model[5].weight.detach().clone()
    with Randomiser(model, order) as weights:
        assert weights.randomise(order.layers[-1], seed=1)
        one = model[5].weight.detach().clone()
        assert not torch.allclose(one, old)
        weights.randomise(order.layers[-1], seed=2)
        assert not torch.allclose(model[5].weight, one)
        weights.randomise(order.layers[-1], seed=1)
        assert torch.equal(model[5].weight, one)
        weights.restore(order.layers[-1])
        assert torch.equal(model[5].weight, old)


@pytest.mark.parametrize("how", ["parameter", "data"])
def test_an_initialiser_may_replace_tensors(how: str) -> None:
    model = settle(Replacing(how))
    order = execution_order(model, images(1))
    layer = next(layer for layer in order.layers if layer.name == "mix")
    weight = model.mix.weight
    with Randomiser(model, order, scheme="module") as weights:
        for seed in (1, 2):
            assert weights.randomise(layer, seed=seed)
            assert model.mix.weight is weight
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key(seed, "mix", "module"))
                assert torch.equal(weight, torch.randn(4, 4, 3, 3))
                assert torch.equal(model.mix.bias, torch.randn(4))
        assert not weights.remarks


@pytest.mark.parametrize("how", ["raises", "argument"])
def test_an_initialiser_that_fails_is_named_and_replaced_by_the_law(how: str) -> None:
    model = settle(Replacing(how))
    if how == "argument":
        model.mix = settle(Argued())
    order = execution_order(model, images(1))
    layer = next(layer for layer in order.layers if layer.name == "mix")
    child = model.mix.child.weight.detach().clone()
    with Randomiser(model, order, scheme="module") as weights:
        weights.randomise(layer, seed=1)
        expected = normal(1, "mix.weight", 144).mul_(math.sqrt(2 / 36)).view(4, 4, 3, 3)
        assert torch.equal(model.mix.weight, expected)
        assert torch.equal(model.mix.bias, torch.zeros(4))
        assert torch.equal(model.mix.child.weight, child)
        (remark,) = weights.remarks
    assert remark.layer == "mix"
    cause = "RuntimeError: no luck" if how == "raises" else "TypeError"
    assert "initialiser failed" in remark.reason
    assert cause in remark.reason


def test_ctrl_c_within_an_initialiser_leaves_nothing_behind() -> None:
    model = settle(Replacing("interrupts"))
    order = execution_order(model, images(1))
    layer = next(layer for layer in order.layers if layer.name == "mix")
    before = everything(model)
    with pytest.raises(KeyboardInterrupt), Randomiser(model, order, scheme="module") as weights:
        weights.randomise(layer, seed=1)
    assert_same(everything(model), before)


def test_memory_shared_by_two_layers_is_saved_before_either_is_written() -> None:
    model = MODELS["tied by storage"][0]()
    order = execution_order(model, images(1))
    before = everything(model)
    with Randomiser(model, order) as weights:
        for layer in order.layers:
            weights.randomise(layer, seed=1)
        for layer in order.layers:
            weights.restore(layer)
        assert_same(everything(model), before)


def test_restoring_one_layer_leaves_the_others_random() -> None:
    model = MODELS["raw"][0]()
    model.register_parameter("scale", nn.Parameter(torch.tensor(0.5)))
    order = execution_order(model, images(1))
    with Randomiser(model, order) as weights:
        for layer in order.layers:
            weights.randomise(layer, seed=1)
        random = model.kernel.detach().clone()
        weights.restore(next(layer for layer in order.layers if layer.name == "scale"))
        assert model.scale.item() == 0.5
        assert torch.equal(model.kernel, random)


def test_permuting_names_tensors_of_equal_entries_alone() -> None:
    model = build("flat")
    with torch.no_grad():
        model[5].bias.fill_(3)
    order = execution_order(model, images(1))
    with Randomiser(model, order, scheme="permute") as weights:
        for layer in order.layers:
            weights.randomise(layer, seed=1)
        assert [remark.layer for remark in weights.remarks] == ["5.bias"]
        assert "all equal" in weights.remarks[0].reason
