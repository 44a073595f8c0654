"""Properties of an answer, on explainers that meet them and on such as do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camaudit.invariance import Outcome, Search, examine, registered
from tests.invariance.literal import LITERAL

FEW = Search(examples=8, shrink=False)
NAMES = ("own-memory", "call-history", "failing-model")


def blind(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
    """An explainer that never runs the model."""
    return torch.ones_like(images[:, 0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["gradcam", "eigencam", "ablationcam", "shapleycam"])
def test_registered_methods_meet_them(name: str, method: str) -> None:
    found = examine(name, registered(method), method=method, search=FEW)
    assert found.outcome is Outcome.HOLDS
    assert found.examples == 8


def test_maps_that_are_the_images_are_no_answer() -> None:
    def first_colour(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
        return images[:, 0]

    found = examine("own-memory", first_colour, search=FEW)
    assert found.outcome is Outcome.BUG
    assert found.counterexample is not None
    assert found.counterexample.difference == 1.0


def test_an_explainer_that_knows_the_last_class_depends_on_history() -> None:
    asked = [torch.zeros(1, dtype=torch.int64)]

    def late(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        asked.append(targets)
        return LITERAL["gradcam"](model, layer, images, asked[-2][:1].expand(len(images)))

    assert examine("call-history", late, search=Search(examples=40)).outcome is Outcome.BUG


@pytest.mark.parametrize("method", ["gradcam", "ablationcam"])
def test_a_failure_that_is_hidden_is_found(method: str) -> None:
    def hiding(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        try:
            return LITERAL[method](model, layer, images, targets)
        except Exception:
            return blind(model, layer, images, targets)

    found = examine("failing-model", hiding, method=method, search=FEW)
    assert found.outcome is Outcome.BUG
    assert "all the same" in (found.reason or "")


def test_an_explainer_without_a_pass_has_no_failure() -> None:
    found = examine("failing-model", blind, search=FEW)
    assert found.outcome is Outcome.UNDEFINED
