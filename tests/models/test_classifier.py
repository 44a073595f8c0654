"""Any model as a classifier: where its logits stand, and that nothing else of it changes."""

from __future__ import annotations

import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import capture
from camaudit.cut import cut_at, default_layer
from camaudit.engine import Engine, prepare
from camaudit.errors import DegenerateModelError, ModelError, NotApplicableError
from camaudit.invariance.explainer import LIGHT
from camaudit.methods import METHODS, compute
from camaudit.models.classifier import (
    Classifier,
    as_classifier,
    description_of,
    mean_over,
    own_module,
)
from camaudit.models.weights import state_sha256
from camaudit.probability import probabilities
from camaudit.walls import insert_wall, split_trunk
from tests.networks import chain, flat, images, settle

Named = namedtuple("Named", "logits aux")


@dataclass
class Output:
    """What some libraries return."""

    logits: Tensor
    hidden: Tensor


class Returning(nn.Module):
    """A small network that returns `form(logits, maps)`."""

    def __init__(self, form: Any, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.act = nn.ReLU()
        self.fc = nn.Linear(6, classes)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        maps = self.act(self.conv(x))
        return self.form(self.fc(maps.mean(dim=(2, 3))), maps)


def returning(form: Any, classes: int = 5) -> Any:
    return settle(Returning(form, classes))


def plain(model: Any, x: Tensor) -> Tensor:
    """The logits, by other means."""
    logits: Tensor = model.fc(model.act(model.conv(x)).mean(dim=(2, 3)))
    return logits


@pytest.mark.parametrize(
    ("form", "output", "found"),
    [
        (lambda z, _: {"logits": z, "loss": z.sum()}, None, "logits"),
        (lambda z, _: {"logits": z, "aux": 2 * z}, None, "logits"),
        (lambda z, _: {"aux": 2 * z, "main": z}, "main", "main"),
        (lambda z, a: {"maps": a, "out": z}, None, "out"),
        (lambda z, _: OrderedDict(out=z), None, "out"),
        (lambda z, a: {3: a, 7: z}, None, "7"),
        (lambda z, a: (a, z), None, "1"),
        (lambda z, _: (2 * z, z), "1", "1"),
        (lambda z, _: [z], None, "0"),
        (lambda z, _: (z, z.argmax(dim=1, keepdim=True)), None, "0"),
        (lambda z, _: Named(z, 2 * z), None, "logits"),
        (lambda z, _: Named(2 * z, z), "aux", "aux"),
        (lambda z, a: Output(z, a), None, "logits"),
        (lambda z, _: Output(2 * z, z), "hidden", "hidden"),
    ],
)
def test_logits_are_found_by_one_rule(form: Any, output: str | None, found: str) -> None:
    model, x = returning(form), images(3)
    seen = as_classifier(model, x[:1], output=output)
    assert torch.equal(seen(x), plain(model, x))
    assert description_of(seen) == {"output": found, "head": "softmax", "single_logit": False}


@pytest.mark.parametrize(
    ("form", "output", "said"),
    [
        (lambda z, _: {"one": z, "two": z}, None, r"more than one.*one: \(1, 5\), two.*--output"),
        (lambda z, a: (a, z.argmax(dim=1)), None, r"no floating tensor N×C.*0: \(1, 6, 16, 16\)"),
        (lambda z, _: {"logits": z}, "scores", r"--output scores is nothing.*logits: \(1, 5\)"),
        (lambda z, _: z, "logits", r"nothing that the model returns: a tensor \(1, 5\)"),
        (lambda z, a: (a, z), "0", r"shape \(1, 6, 16, 16\).*expected logits N×C"),
        (lambda z, _: {"a": [z]}, "a", r"what was read is a list"),
        (lambda _, a: a, None, "mean_over"),
        (lambda *_: None, None, "NoneType"),
        (lambda z, _: z.argmax(dim=1, keepdim=True), None, "int64"),
    ],
)
def test_what_is_no_logits_is_refused(form: Any, output: str | None, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        as_classifier(returning(form), images(1), output=output)


def test_a_model_of_logits_is_itself() -> None:
    model = chain()
    assert as_classifier(model, images(1)) is model
    assert own_module(model) is model


def test_nan_logits_are_refused() -> None:
    with pytest.raises(DegenerateModelError, match="NaN"):
        as_classifier(returning(lambda z, _: {"logits": z * torch.nan}), images(1))


def test_the_view_has_the_models_own_layers_and_state() -> None:
    model, x = returning(lambda z, _: {"logits": z}), images(2)
    seen = as_classifier(model, x[:1])
    assert isinstance(seen, Classifier)
    assert [n for n, _ in seen.named_modules()] == [n for n, _ in model.named_modules()]
    assert dict(seen.named_parameters()).keys() == dict(model.named_parameters()).keys()
    assert state_sha256(seen) == state_sha256(model)
    assert default_layer(seen, x[:1]) == "act"
    seen.train()
    assert model.training
    assert model.fc.training
    seen.eval()
    assert not model.training
    seen.double()
    assert model.fc.weight.dtype == torch.float64
    model.float()
    assert seen(x).dtype == torch.float32
    other = copy.deepcopy(seen)
    with torch.no_grad():
        other.fc.weight.zero_()
    assert not torch.equal(other(x), seen(x))
    assert own_module(other) is not model


@pytest.mark.parametrize(
    "form",
    [lambda z, _: z, lambda z, _: z.squeeze(), lambda z, _: z[:, 0], lambda z, _: {"p": z}],
)
def test_a_single_logit_is_two_classes(form: Any) -> None:
    model, x = returning(form, classes=1), images(3)
    seen = as_classifier(model, x[:1])
    z = plain(model, x)
    assert torch.equal(seen(x), torch.cat([-z, z], dim=1))
    assert description_of(seen)["single_logit"]
    share = probabilities(seen(x), seen.link)
    torch.testing.assert_close(share[:, 1], 1 / (1 + torch.exp(-z[:, 0])))
    torch.testing.assert_close(share.sum(dim=1), torch.ones(3))
    with pytest.raises(ModelError, match="softmax is always 1"):
        as_classifier(model, x[:1], head="softmax")


def test_a_single_logit_is_explained_for_either_class() -> None:
    """The map of class 1 is that of z, the map of class 0 that of −z; CAM knows the head."""
    model, x = returning(lambda z, _: z, classes=1), images(2)
    cut = cut_at(as_classifier(model, x[:1]), "act", x[:1])
    A = model.act(model.conv(x)).detach()
    weight = model.fc.weight.detach()[0]
    for target, sign in ((1, 1), (0, -1)):
        seen = capture(cut, x, targets=torch.full((2,), target))
        wanted = torch.einsum("k,nkij->nij", sign * weight, A).relu()
        torch.testing.assert_close(compute("cam", seen), wanted)
        torch.testing.assert_close(compute("gradcam", seen), wanted / (16 * 16))
        torch.testing.assert_close(seen.scores, sign * plain(model, x)[:, 0])
    top = capture(cut, x).targets
    assert torch.equal(top, (plain(model, x)[:, 0] > 0).long())


@pytest.mark.parametrize(("make", "layer", "place"), [(chain, "5", 9), (flat, "3", 8)])
def test_every_method_explains_a_single_logit(make: Any, layer: str, place: int) -> None:
    """As it explains the two logits (−z, z) of a network that has them, by every shortcut too."""
    one, two = make(), make()
    width = one[place].in_features
    one[place], two[place] = nn.Linear(width, 1), nn.Linear(width, 2)
    settle(one)
    two.load_state_dict(
        {
            name: torch.cat([-value, value]) if name.startswith(f"{place}.") else value
            for name, value in one.state_dict().items()
        }
    )
    x = images(2).double()
    seen = []
    for model in (one, two.eval()):
        read = as_classifier(model.double(), x[:1], head="sigmoid")
        walled = insert_wall(read, layer, x[:1])
        seen.append(capture(walled, x, forwards=prepare(walled, x[:1], Engine())))
    ran = 0
    for name in METHODS:
        try:
            ours, theirs = (compute(LIGHT.get(name, name), one) for one in seen)
        except NotApplicableError:
            continue
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9, equal_nan=True)
        ran += 1
    assert ran >= 25


def test_multi_label_probabilities_are_each_their_own() -> None:
    model, x = returning(lambda z, _: z), images(2)
    seen = as_classifier(model, x[:1], head="sigmoid")
    cut = cut_at(seen, "act", x[:1])
    found = capture(cut, x, targets=torch.tensor([1, 3]))
    z = plain(model, x)
    for divided in (cut, insert_wall(seen, "act", x[:1]), split_trunk(seen, "act", x[:1])):
        assert divided.link == "sigmoid"
    wanted = 1 / (1 + torch.exp(-z[0, 1].double()))
    torch.testing.assert_close(found.probability(z[:1], 0)[0], wanted)
    wide = capture(cut_at(model, "act", x[:1]), x, targets=torch.tensor([1, 3]))
    torch.testing.assert_close(
        wide.probability(z[:1], 0)[0], z[0].double().exp()[1] / z[0].double().exp().sum()
    )


def test_a_walled_stage_keeps_the_link() -> None:
    model = settle(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(6, 3),
        )
    )  # fmt: skip
    x = images(2)
    walled = split_trunk(as_classifier(model, x[:1], head="sigmoid"), "4", x[:1], live_rows=4)
    assert capture(walled, x).at("1").link == "sigmoid"


def test_an_objective_reads_maps() -> None:
    model, x = returning(lambda _, a: {"out": a}), images(2)
    region = torch.zeros(16, 16)
    region[2:5, 7:] = 1
    seen = as_classifier(model, x[:1], objective=mean_over(region))
    A = model.act(model.conv(x))
    torch.testing.assert_close(seen(x), A[:, :, 2:5, 7:].mean(dim=(2, 3)))
    whole = as_classifier(model, x[:1], objective=mean_over())
    torch.testing.assert_close(whole(x), A.mean(dim=(2, 3)))
    assert description_of(whole)["output"] == "objective"


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (lambda found: found["out"], "expected logits N×C"),
        (lambda _: 3.0, "what was read is a float"),
        (mean_over(torch.ones(3, 3)), "the region has"),
        (mean_over(output="maps"), r"out: \(1, 6, 16, 16\)"),
    ],
)
def test_an_objective_must_give_scores(objective: Any, said: str) -> None:
    model = returning(lambda _, a: {"out": a})
    with pytest.raises(ModelError, match=said):
        as_classifier(model, images(1), objective=objective)


def test_an_empty_region_and_two_readings_are_refused() -> None:
    with pytest.raises(ModelError, match="not all 0"):
        mean_over(torch.zeros(4, 4))
    with pytest.raises(ModelError, match="leave output out"):
        as_classifier(chain(), images(1), output="out", objective=mean_over())
