"""Flips, transposition and translation: exact on drawn networks, and each finds its fault."""

from __future__ import annotations

import pytest
import torch

from camaudit.invariance import PROPERTIES, Explain, Stage, replayed
from camaudit.invariance.space import (
    Move,
    conjugated,
    flip_horizontal,
    flip_vertical,
    mirrored,
    transpose,
)
from tests.invariance import wrong
from tests.invariance.drawing import drawn, refuted
from tests.invariance.wrong import Mapped

MOVES = {
    "flip-horizontal": flip_horizontal,
    "flip-vertical": flip_vertical,
    "transpose": transpose,
}


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def maps_of(model: torch.nn.Module, layer: str, images: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *args: found.append(args[2]))
    with torch.no_grad():
        model(images)
    handle.remove()
    return found[0]


@pytest.mark.parametrize(("name", "move"), MOVES.items())
@pytest.mark.parametrize("change", [conjugated, mirrored])
def test_a_moved_network_gives_the_same_logits_and_moved_maps(
    name: str, move: Move, change: object
) -> None:
    suffix = "" if change is conjugated else "-kernels"
    for example in drawn(name + suffix, 12):
        given = example.drawn.situation()
        moved = change(given, move)  # type: ignore[operator]
        close(moved.logits(), given.logits())
        close(
            move(maps_of(moved.model, moved.layer, moved.images)),
            maps_of(given.model, given.layer, given.images),
        )


def test_a_rolled_image_rolls_the_maps() -> None:
    for example in drawn("translation", 12):
        given, steps = example.drawn.situation(), example.parameters
        assert given.plan is not None
        by = steps["down"] * given.plan.stride, steps["across"] * given.plan.stride
        rolled = given.changed(images=given.images.roll(by, dims=(2, 3)))
        close(rolled.logits(), given.logits())
        before, after = (maps_of(each.model, each.layer, each.images) for each in (given, rolled))
        close(before.roll((steps["down"], steps["across"]), dims=(2, 3)), after)


FAULTS: list[tuple[str, Explain]] = [
    ("flip-horizontal", Mapped(wrong.slanted)),
    ("flip-vertical", Mapped(wrong.ramp)),
    ("transpose", Mapped(wrong.ramp)),
    ("transpose", Mapped(wrong.slanted)),
    ("flip-horizontal", Mapped(wrong.swapped)),
    ("flip-horizontal-kernels", Mapped(wrong.slanted)),
    ("flip-vertical-kernels", Mapped(wrong.ramp)),
    ("transpose-kernels", Mapped(wrong.ramp)),
    ("translation", Mapped(wrong.centred)),
    ("translation", Mapped(wrong.smeared)),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_of_space_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 20) is not None


def test_maps_of_the_image_size_are_rolled_by_pixels() -> None:
    """Upsampled maps are compared away from the borders, where they are clamped."""

    def raised(model, layer, images, targets):  # type: ignore[no-untyped-def]
        maps = wrong.RIGHT["hirescam"](model, layer, images, targets)
        size = tuple(images.shape[2:])
        return torch.nn.functional.interpolate(maps[:, None], size, mode="bilinear")[:, 0]

    examples = drawn("translation", 20)
    assert all(replayed("translation", raised, example) is None for example in examples)
    strides = [example.drawn.plan.stride for example in examples]
    assert max(strides) > 1
    shifted = Mapped(lambda maps: maps.roll(1, dims=2) * torch.arange(maps.shape[2]))
    assert any(replayed("translation", shifted, example) for example in examples)


def test_kernels_are_moved_only_where_that_is_exact() -> None:
    example = drawn("flip-horizontal-kernels", 1)[0]
    given = example.drawn.situation()
    needs = PROPERTIES["flip-horizontal-kernels"].info.needs
    assert needs(given) is None
    assert "drawn" in str(needs(given.changed(plan=None)))
    plan = example.drawn.plan
    wide = plan.changed(stages=(Stage(kernel=2, stride=2),), height=5, width=5)
    assert "evenly" in str(needs(given.changed(plan=wide)))
