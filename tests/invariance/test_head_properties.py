"""Properties of the layers: the function stays what it is, its modules do not, faults are found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camaudit.invariance import PROPERTIES, Explain
from camaudit.invariance.structure import Associated, flat, functional, nested, norms_folded, split
from tests.invariance.asked_about import asked_of, close, questions
from tests.invariance.drawing import drawn, refuted
from tests.invariance.literal import LITERAL, Literal
from tests.invariance.mutants import MUTANTS

EXAMPLES = 16
NAMES = ("linear-split", "linear-merge", "implementation", "containers", "folded-norm")


def kinds(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_maps_stay_what_they_are(name: str) -> None:
    for example in drawn(name, EXAMPLES):
        ours, theirs = questions(name, example)
        close(theirs.logits, ours.logits)
        close(theirs.activations, ours.activations)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_stay_what_they_are(name: str) -> None:
    for example in drawn(name, EXAMPLES):
        given = example.drawn.situation()
        found: list[Tensor] = []

        def keep(model, layer, images, targets, found=found):  # type: ignore[no-untyped-def]
            looked = Literal(lambda seen: seen.G.sum(dim=1))
            found.append(looked(model, layer, images, targets))
            return found[-1]

        PROPERTIES[name].function(keep, given, example.parameters)
        ours, theirs = found
        close(theirs, ours)


def test_one_linear_layer_becomes_two() -> None:
    for example in drawn("linear-split", EXAMPLES):
        ours, theirs = questions("linear-split", example)
        assert kinds(theirs.model, nn.Linear) == kinds(ours.model, nn.Linear) + 1


def test_both_sides_of_a_split_are_exact() -> None:
    given = drawn("linear-split", 1)[0].drawn.situation()
    for side in ("input", "output"):
        close(split(given, 0, side).logits(), given.logits())


def test_linear_layers_become_one() -> None:
    for example in drawn("linear-merge", EXAMPLES):
        ours, theirs = questions("linear-merge", example)
        assert kinds(ours.model, nn.Linear) > 1
        assert kinds(theirs.model, nn.Linear) == 1


def test_a_functional_head_has_no_modules() -> None:
    for example in drawn("implementation", EXAMPLES):
        given = example.drawn.situation()
        changed = functional(given)
        close(changed.logits(), given.logits())
        assert kinds(changed.model, nn.Linear) == 0
        assert not list(changed.model.get_submodule("head").children())[1:]


def test_containers_are_added_and_taken_away() -> None:
    for example in drawn("containers", EXAMPLES):
        given = example.drawn.situation()
        counts = [kinds(each.model, nn.Sequential) for each in (flat(given), given, nested(given))]
        assert counts == sorted(set(counts))
        assert not any(
            isinstance(child, nn.Sequential)
            for child in flat(given).model.get_submodule("trunk").children()
        )


def test_norms_are_folded() -> None:
    for example in drawn("folded-norm", EXAMPLES):
        given = example.drawn.situation()
        assert kinds(given.model, nn.BatchNorm2d) > 0
        changed = norms_folded(given)
        assert kinds(changed.model, nn.BatchNorm2d) == 0
        assert kinds(given.model, nn.BatchNorm2d) > 0
        close(changed.logits(), given.logits())


def test_a_users_own_model_can_be_nested_and_followed() -> None:
    for name in ("implementation", "containers"):
        info = PROPERTIES[name].info
        for example in drawn(name, EXAMPLES):
            given = example.drawn.situation().changed(plan=None)
            assert info.needs(given) is None
            example.parameters.update(operation="maxima", form="nested")
            ours, theirs = asked_of(name, given, example)
            close(theirs.logits, ours.logits)
            close(theirs.activations, ours.activations)
    for name in ("linear-split", "linear-merge", "folded-norm"):
        assert not PROPERTIES[name].info.own
        assert PROPERTIES[name].info.needs(given) is not None


def test_two_orders_of_maxima_agree_and_so_do_their_derivatives() -> None:
    logits = torch.randn(64, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    found = Associated(0.25)(logits)
    close(found, logits)
    weights = torch.arange(1.0, 5.0, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    close(gradient, weights.expand_as(logits))


FAULTS: list[tuple[str, Explain]] = [
    ("linear-split", MUTANTS["gradcam-positive-weights"].explain),
    ("linear-merge", MUTANTS["gradcam-positive-weights"].explain),
    ("implementation", MUTANTS["gradcam-positive-weights"].explain),
    ("containers", MUTANTS["gradcam-first-child"].explain),
    ("folded-norm", MUTANTS["layercam-last-convolution"].explain),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_of_the_layers_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 30) is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["gradcam", "xgradcam", "hirescam"])
def test_right_explainers_are_spared(name: str, method: str) -> None:
    assert refuted(name, LITERAL[method], 10) is None
