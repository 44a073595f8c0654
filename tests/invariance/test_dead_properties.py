"""Walls: dead pixels reach no logit, and each property finds its fault."""

from __future__ import annotations

import pytest
import torch

from camaudit.invariance import PROPERTIES, Drawn, Explain, Plan, Situation, Stage, registered
from camaudit.invariance.dead import part_of, repainted
from tests.invariance import wrong
from tests.invariance.drawing import drawn, refuted
from tests.invariance.wrong import Mapped

WALLED = Drawn(
    plan=Plan(stages=(Stage(kernel=3, channels=2),), classes=2, height=8, width=5),
    targets=(0, 1),
    live_rows=2,
)


def test_dead_pixels_change_and_no_logit_does() -> None:
    for example in drawn("dead-pixels-live-part", 12):
        given = example.drawn.situation()
        changed = repainted(given, example.parameters)
        assert not torch.equal(changed.images, given.images)
        assert torch.equal(changed.logits(), given.logits())


def test_parts_are_cells_or_the_pixels_that_mix_only_such_cells() -> None:
    given = WALLED.situation()
    assert given.walled is not None
    zone = given.walled.zone
    assert part_of(zone, (6, 3), dead=True).all(dim=1).tolist() == [False] * 2 + [True] * 4
    assert part_of(zone, (6, 3), dead=False).all(dim=1).tolist() == [True] * 2 + [False] * 4
    # Live cells are centred on rows 0.2 and 1.5 of the image, the next one on 2.8.
    assert torch.equal(part_of(zone, (8, 5), dead=True), zone.scored)
    assert part_of(zone, (8, 5), dead=False).all(dim=1).tolist() == [True] * 2 + [False] * 6
    assert not bool(part_of(zone, (5, 3), dead=True).any())


FAULTS: list[tuple[str, Explain]] = [
    ("dead-pixels-live-part", Mapped(wrong.peaked)),
    ("dead-pixels-live-part", Mapped(wrong.smeared)),
    ("dead-mass-zero", wrong.RIGHT["gradcam"]),
    ("dead-mass-zero", Mapped(wrong.smeared, "hirescam")),
    ("dead-mass-zero", Mapped(wrong.lifted, "hirescam")),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 15) is not None


@pytest.mark.parametrize("name", ["dead-pixels-live-part", "dead-mass-zero"])
def test_a_wall_is_needed(name: str) -> None:
    info = PROPERTIES[name].info
    without = Drawn(plan=WALLED.plan, targets=(0,)).situation()
    assert info.needs(without) == "there is no wall"
    assert info.needs(WALLED.situation()) is None


def test_a_users_own_walled_model_is_tested_too() -> None:
    given = WALLED.situation()
    own = Situation(given.model, given.layer, given.images, given.targets, None, given.walled)
    parameters = {"paint": 1, "scale": 1.0}
    for name in ("dead-pixels-live-part", "dead-mass-zero"):
        assert PROPERTIES[name].function(registered("hirescam"), own, parameters).holds(0.0)
    mass = PROPERTIES["dead-mass-zero"].function(registered("lafam"), own, parameters)
    assert mass.difference is not None
    assert mass.difference > 0.1
