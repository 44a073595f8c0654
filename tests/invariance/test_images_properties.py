"""Shifted input, images and maps without structure, range: exact, and each finds its fault."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camaudit.invariance import (
    PROPERTIES,
    Drawn,
    Explain,
    Head,
    Outcome,
    Plan,
    Search,
    Stage,
    checked,
    examine,
    registered,
)
from camaudit.invariance.images import Times, shifted
from camaudit.invariance.transforms import rewired, seen
from tests.invariance import wrong
from tests.invariance.drawing import drawn, refuted
from tests.invariance.wrong import Mapped


def test_a_compensated_shift_changes_no_logit_and_adds_no_layer() -> None:
    for example in drawn("input-shift", 12):
        given = example.drawn.situation()
        changed = shifted(given, example.parameters["shift"])
        assert not torch.equal(changed.images, given.images)
        torch.testing.assert_close(changed.logits(), given.logits(), rtol=1e-9, atol=1e-12)
        names = [name.removeprefix("model.") for name, _ in changed.model.named_modules()]
        assert names[2:] == [name for name, _ in given.model.named_modules()][1:]


def test_a_layer_times_zero_is_zero() -> None:
    for example in drawn("zero-map", 5):
        given = example.drawn.situation()
        changed = rewired(given, Times(0.0), nn.Identity())
        found: list[Tensor] = []
        layer = changed.model.get_submodule(changed.layer)
        layer.register_forward_hook(lambda *args, into=found: into.append(args[2]))
        changed.logits()
        assert bool((found[0] == 0).all())


def halves_nan(maps: Tensor) -> Tensor:
    """NaN in one cell of an otherwise finite map where the map is constant."""
    maps = maps.clone()
    maps[:, 0, 0] = maps[:, 0, 0] / (maps.amax(dim=(1, 2)) - maps.amin(dim=(1, 2)))
    return maps


FAULTS: list[tuple[str, Explain]] = [
    ("input-shift", wrong.masked),
    ("constant-image", Mapped(wrong.minmax)),
    ("constant-image", Mapped(halves_nan)),
    ("zero-map", Mapped(wrong.lifted)),
    ("zero-map", Mapped(wrong.minmax)),
    ("map-range", Mapped(wrong.turned)),
    ("map-range", Mapped(wrong.coarse)),
    ("map-range", Mapped(wrong.swapped)),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 15) is not None


def test_a_part_of_a_map_that_is_undefined_is_a_fault_whoever_asks() -> None:
    """Also without the guard around the explainer that turns NaN into a fault of its own."""
    for name in ("constant-image", "zero-map"):
        verdicts = [checked(name, Mapped(halves_nan), example) for example in drawn(name, 15)]
        assert any(verdict.fault is not None for verdict in verdicts)


def test_an_undefined_map_says_nothing() -> None:
    """AblationCAM divides by a score of 0: a model without biases, all zeros."""
    plan = Plan(stages=(Stage(kernel=2),), head=Head(hidden=(2,)), height=3, width=3)
    given = Drawn(plan=plan, targets=(0,)).situation()
    verdict = PROPERTIES["zero-map"].function(registered("ablationcam"), given, {"biased": False})
    assert verdict.says_nothing


def test_cells_of_a_users_own_model_are_found_by_running_it() -> None:
    given = drawn("map-range", 3)[2].drawn.situation()
    own = seen(given, lambda images: images)
    assert own.plan is None
    verdict = PROPERTIES["map-range"].function(registered("gradcam"), own, {})
    assert verdict.holds(0.0)


@pytest.mark.parametrize("name", ["zero-map", "map-range", "flip-horizontal"])
def test_a_layer_that_gives_no_maps_is_no_fault_of_the_explainer(name: str) -> None:
    def black_box(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
        return images.abs().sum(dim=1)

    given = drawn("map-range", 3)[2].drawn.situation()
    own = given.changed(model=given.model, layer="head")
    found = examine(name, black_box, own=own, search=Search(examples=2))
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "head" in str(found.reason)
