"""The search: each outcome, the shrunk counterexample, seeds, budgets and faults."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camaudit.errors import NotApplicableError, UnknownNameError, UsageError
from camaudit.invariance import (
    Example,
    FaultError,
    Guarded,
    Outcome,
    Search,
    Situation,
    examine,
    registered,
    replayed,
)

FEW = Search(examples=8)


def gradcam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    return registered("gradcam")(model, layer, images, targets)


def logits_as_a_map(model: nn.Module, _layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Depends on the scale of the logits: 1 where the target's exceeds 1."""
    with torch.no_grad():
        scores = model(images).gather(1, targets[:, None])[:, 0]
    return torch.stack([torch.ones_like(scores), scores.abs()], dim=1)[:, None, :]


def test_a_property_that_holds() -> None:
    found = examine("logit-scale", gradcam, search=FEW)
    assert found.outcome is Outcome.HOLDS
    assert found.examples == 8
    assert found.counterexample is None


def test_a_violation_by_definition_is_confirmed_by_a_counterexample() -> None:
    found = examine("logit-scale", registered("gradcam++"), method="gradcam++", search=FEW)
    assert found.outcome is Outcome.VIOLATED
    assert found.counterexample is not None
    assert found.counterexample.difference > 1e-6


def test_the_same_violation_of_another_explainer_is_a_bug() -> None:
    found = examine("logit-scale", registered("gradcam++"), method="gradcam", search=FEW)
    assert found.outcome is Outcome.BUG


def test_a_violation_that_is_not_found_is_not_confirmed() -> None:
    found = examine("logit-scale", gradcam, method="gradcam++", search=FEW)
    assert found.outcome is Outcome.NOT_CONFIRMED
    assert found.examples == 8


def test_a_counterexample_is_small_and_can_be_repeated() -> None:
    found = examine("logit-scale", logits_as_a_map, search=FEW)
    assert found.outcome is Outcome.BUG
    example = found.counterexample.example
    plan = example.drawn.plan
    assert (len(plan.stages), plan.height, plan.width, plan.classes) == (1, 1, 1, 1)
    assert len(example.drawn.targets) == 1
    again = replayed("logit-scale", logits_as_a_map, Example.from_dict(example.to_dict()))
    assert again is not None
    assert again.difference == found.counterexample.difference
    assert replayed("logit-scale", gradcam, example) is None


def test_the_same_seed_finds_the_same() -> None:
    one, other = (examine("logit-scale", logits_as_a_map, search=FEW) for _ in range(2))
    assert one.counterexample == other.counterexample
    assert (one.examples, one.degenerate) == (other.examples, other.degenerate)


def test_known_examples_come_first() -> None:
    known = examine("logit-scale", logits_as_a_map, search=FEW).counterexample.example
    calls: list[Tensor] = []

    def counting(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        calls.append(images)
        return logits_as_a_map(model, layer, images, targets)

    found = examine("logit-scale", counting, search=FEW, known=[known])
    assert found.outcome is Outcome.BUG
    assert found.counterexample.example == known
    assert torch.equal(calls[0], known.drawn.situation().images)
    assert found.examples == 1


def test_an_explainer_that_never_applies() -> None:
    def picky(*_: Any) -> Tensor:
        raise NotApplicableError("only for networks of another kind")

    found = examine("logit-scale", picky, search=FEW)
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert found.reason == "only for networks of another kind"
    assert found.passed_over > 0


def test_maps_that_are_always_zero_say_nothing() -> None:
    def nothing(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
        return torch.zeros(len(images), 2, 2, dtype=torch.float64)

    found = examine("logit-scale", nothing, search=FEW)
    assert found.outcome is Outcome.UNDEFINED
    assert (found.examples, found.degenerate > 0) == (0, True)


@pytest.mark.parametrize(
    ("answer", "fault", "said"),
    [
        (lambda n: torch.full((n, 2, 2), torch.nan), "not finite", "NaN"),
        (lambda n: torch.zeros(n, 1, 2, 2), "wrong shape", r"reduce N×C×h×w to one map an image"),
        (lambda n: torch.zeros(n + 1, 2, 2), "wrong shape", "shape"),
        (lambda n: torch.zeros(n, 2, 2, dtype=torch.int64), "wrong type", "int64"),
        (lambda _: [1.0], "wrong type", "list"),
        (lambda _: None, "wrong type", "NoneType"),
        (lambda n: torch.zeros(n, 2, 2, device="meta"), "other device", "meta"),
    ],
)
def test_every_way_to_give_no_maps_has_its_name(answer: Any, fault: str, said: str) -> None:
    found = examine("logit-scale", lambda _m, _l, images, _t: answer(len(images)), search=FEW)
    assert found.outcome is Outcome.FAULT
    assert found.fault == fault
    assert said in found.reason
    assert found.counterexample is not None


def test_transposed_maps_are_told() -> None:
    images, targets = torch.zeros(2, 3, 16, 8), torch.zeros(2, dtype=torch.int64)

    def asked(height: int, width: int) -> Tensor:
        answer = Guarded(lambda *_: torch.zeros(2, height, width))
        return answer(nn.Identity(), "", images, targets)

    for height, width in ((16, 8), (4, 2), (3, 3), (3, 2), (1, 1)):
        assert asked(height, width).shape == (2, height, width)
    for height, width in ((8, 16), (2, 4)):
        with pytest.raises(FaultError, match=f"transposed: expected .* 16×8; got {height}×{width}"):
            asked(height, width)


def test_an_explainer_that_raises_keeps_its_traceback() -> None:
    def broken(*_: Any) -> Tensor:
        raise KeyError("no such layer")

    found = examine("logit-scale", broken, search=FEW)
    assert (found.outcome, found.fault) == (Outcome.FAULT, "raised")
    assert "KeyError" in found.counterexample.trace
    assert "in broken" in found.counterexample.trace


def test_a_slow_explainer_is_stopped_by_its_budget() -> None:
    def slow(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        time.sleep(0.02)
        return gradcam(model, layer, images, targets)

    found = examine("logit-scale", slow, search=Search(examples=200, budget=0.1))
    assert (found.outcome, found.fault) == (Outcome.FAULT, "too slow")
    assert "budget" in found.reason


def test_arrays_are_taken_for_tensors() -> None:
    def numpy_maps(*asked: Any) -> np.ndarray:
        return gradcam(*asked).numpy()

    guarded = Guarded(numpy_maps)
    assert examine("logit-scale", numpy_maps, search=FEW).outcome is Outcome.HOLDS
    images = torch.rand(1, 1, 2, 2, dtype=torch.float64)
    guarded(nn.Sequential(nn.ReLU(), nn.Flatten()).eval(), "0", images, torch.tensor([0]))
    assert guarded.converted


def test_a_partly_undefined_map_of_a_registered_method_is_a_fault() -> None:
    explain = registered("gradcam")
    guarded = Guarded(explain)
    images = torch.rand(1, 1, 2, 2)
    whole = torch.full((1, 2, 2), torch.nan)
    assert guarded._checked(whole, images) is not None
    whole[0, 0, 0] = 0.0
    with pytest.raises(FaultError, match="NaN"):
        guarded._checked(whole, images)


def test_a_model_of_ones_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
    images = torch.rand(2, 1, 2, 2)
    own = Situation(model, "1", images, torch.tensor([0, 1]))
    found = examine("logit-scale", logits_as_a_map, own=own, search=Search(examples=2))
    assert found.outcome is Outcome.BUG
    assert found.counterexample.example is None
    assert found.counterexample.parameters["factor"] > 0


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="logit-scale"):
        examine("logit-scales", gradcam)
    with pytest.raises(UsageError, match="at least one example"):
        Search(examples=0)
    with pytest.raises(UsageError, match="budget"):
        Search(budget=0.0)
