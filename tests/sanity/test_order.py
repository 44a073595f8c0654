"""Layers in the order of a forward pass, with what is left alone named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camaudit.errors import ModelError
from camaudit.sanity import execution_order
from tests.networks import Reused, images, settle
from tests.sanity.models import MODELS, Reversed, Tied, TiedByStorage, scripted


def names(model: nn.Module) -> list[str]:
    return [layer.name for layer in execution_order(model, images(1)).layers]


def reasons(model: nn.Module) -> dict[str | None, str]:
    return {r.layer: r.reason for r in execution_order(model, images(1)).remarks}


def test_layers_stand_in_execution_order_whatever_the_order_of_registration() -> None:
    assert names(settle(Reversed())) == ["early", "norm", "late", "fc"]


def test_what_never_runs_and_constant_buffers_are_named() -> None:
    found = reasons(settle(Reversed()))
    assert "not used" in found["spare"]
    assert "buffer" in found["shift"]


def test_statistics_belong_to_their_normalisation() -> None:
    norm = execution_order(settle(Reversed()), images(1)).layers[1]
    assert {slot.local for slot in norm.slots} == {
        "weight", "bias", "running_mean", "running_var",
    }  # fmt: skip


def test_raw_parameters_are_layers_of_their_own_in_the_order_of_their_use() -> None:
    assert names(MODELS["raw"][0]()) == ["kernel", "scale", "matrix"]


def test_a_tied_weight_is_one_layer_at_its_first_use_and_named() -> None:
    model = settle(Tied())
    assert names(model)[0] == "second"  # its first name; used first by the module `first`
    assert "shared with first.weight" in reasons(model)["second.weight"]


def test_a_module_run_three_times_is_one_layer() -> None:
    assert names(settle(Reused())) == ["conv1", "conv2", "conv3", "fc"]


def test_parametrised_tensors_belong_to_their_host() -> None:
    order = execution_order(MODELS["weight norm"][0](), images(1))
    assert [layer.name for layer in order.layers] == ["0", "2", "5"]
    weight = next(slot for slot in order.layers[0].slots if slot.name == "0.weight")
    assert len(weight.stored) == 2


def test_a_frozen_batch_norm_of_buffers_is_a_layer() -> None:
    assert names(MODELS["frozen"][0]()) == ["0", "1", "3", "6"]


def test_attention_with_its_projections_is_found_though_no_module_runs_for_them() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(3, 1, batch_first=True)
            self.fc = nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = x.flatten(2).transpose(1, 2)[:, :9]
            return self.fc(self.attend(tokens, tokens, tokens)[0].mean(dim=1))

    assert set(names(Attending().eval())) == {"attend", "attend.out_proj", "fc"}


def test_quantised_modules_are_named() -> None:
    engine = "fbgemm" if "fbgemm" in torch.backends.quantized.supported_engines else "qnnpack"
    if engine not in torch.backends.quantized.supported_engines:
        pytest.skip("no engine for quantised modules")

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.packed = nn.Identity()
            self.packed._packed_params = object()
            self.fc = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.packed(self.conv(x)).mean(dim=(2, 3)))

    assert "quantised" in reasons(Packed().eval())["packed"]


@pytest.mark.filterwarnings("ignore:.*jit.*")
def test_torchscript_parts_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"'0' is TorchScript"):
        execution_order(scripted(), images(1))


def test_a_model_without_weights_and_one_in_training_mode_are_refused() -> None:
    with pytest.raises(ModelError, match="no weights"):
        execution_order(nn.Sequential(nn.ReLU()).eval(), images(1))
    with pytest.raises(ModelError, match="training mode"):
        execution_order(nn.Conv2d(3, 4, 3), images(1))


def test_two_parameters_on_one_memory_are_one_shared_tensor() -> None:
    model = TiedByStorage().eval()
    order = execution_order(model, images(1))
    slots = [slot.name for layer in order.layers for slot in layer.slots]
    assert "b.weight" in slots
    assert "c.weight" not in slots
    assert "shared with c.weight" in reasons(model)["b.weight"]


def test_overlapping_parameters_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"'b\.weight' and 'c\.weight' overlap"):
        execution_order(TiedByStorage(overlapping=True).eval(), images(1))


def test_disjoint_views_of_one_memory_are_tensors_of_their_own() -> None:
    model = TiedByStorage().eval()
    memory = torch.randn(3, 2, 3, 3, 3)  # interleaved
    model.b.weight, model.c.weight = (nn.Parameter(memory[:, place]) for place in range(2))
    assert names(model) == ["a", "b", "c", "fc"]
    assert "b.weight" not in reasons(model)


def test_tensors_that_are_registered_nowhere_are_named_where_they_are_read() -> None:
    class Loose(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.tensor(2.0)
            self.shifts = [nn.Parameter(torch.ones(3))]
            self.unread = torch.ones(3)
            self.alias = [self.fc.weight]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc((self.second(x) * self.scale).mean(dim=(2, 3)) + self.shifts[0])

    found = reasons(settle(Loose()))
    assert "neither parameter nor buffer" in found["scale"]
    assert "neither parameter nor buffer" in found["shifts"]
    assert not {"unread", "alias", "fc.weight"} & set(found)
