"""Methods on random networks: which cells are run, what is recorded, and how it is summed up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from camaudit.audit.initialised import Measured, RandomNetwork, _count, measure
from camaudit.audit.random_networks import deep_network, simple_network
from camaudit.capture import capture
from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.metrics.dead_zone import dead_zone_mass
from camaudit.theory import Design, SimpleCNN, simple_wall
from camaudit.types import Status

DESIGN = Design(filters=6, size=(13, 13), classes=3)
NAMES = [f"image {number}" for number in range(7)]


def images() -> torch.Tensor:
    return torch.rand((7, 1, 13, 13), generator=torch.Generator().manual_seed(0))


def network(**fields: Any) -> RandomNetwork:
    return simple_network(DESIGN, images(), NAMES, check="theory/test", **fields)


def test_every_cell_is_what_the_method_says_of_that_network() -> None:
    methods = ["gradcam", "hirescam", "scorecam"]
    found = measure(network(), methods, seeds=[3, 4], seed=0)
    assert len(found.records) == 3 * 2 * 7
    walls = {seed: simple_wall(SimpleCNN(DESIGN, seed=seed)) for seed in (3, 4)}
    for record in found.records:
        wall = walls[record.seed or 0]
        row = NAMES.index(record.image)
        captured = capture(wall, images()[row : row + 1], targets=torch.tensor([0]))
        maps = upsample(compute(record.method, captured), (13, 13))
        mass = float(dead_zone_mass(maps, wall.zone.scored)[0])
        if record.status is Status.OK:
            assert record.mu_l1 == pytest.approx(mass, rel=1e-4, abs=1e-7)
        else:
            assert record.status is Status.DEGENERATE
            assert math.isnan(mass)
        assert record.unmasked is not None
        assert (record.check, record.target) == ("theory/test", 0)


def test_the_summary_is_crossed_over_networks_and_images() -> None:
    found = measure(network(), ["eigencam"], seeds=range(8), seed=0)
    (entry,) = found.summary
    table = np.full((8, 7), np.nan)
    for record in found.records:
        if record.mu_l1 is not None:
            table[record.seed or 0, NAMES.index(record.image)] = record.mu_l1
    assert entry.check == "theory/test"
    assert entry.mu_l1.mean == pytest.approx(float(np.nanmean(table)))
    assert entry.mu_l1.ci_low is not None
    assert entry.mu_l1.n == entry.n == int(np.isfinite(table).sum())
    assert entry.uniform == pytest.approx(network().walled.zone.scored_fraction)
    assert entry.unmasked is not None


def test_zero_behind_the_wall_stays_zero_in_every_network() -> None:
    found = measure(network(), ["hirescam", "layercam", "elementwise"], seeds=range(6), seed=0)
    scored = [record.mu_l1 for record in found.records if record.status is Status.OK]
    assert len(scored) > 60
    assert set(scored) == {0.0}


def test_networks_are_drawn_by_their_seed() -> None:
    one, two = (measure(network(), ["gradcam"], seeds=[1, 2], seed=0) for _ in range(2))
    assert one.records == two.records
    other = measure(network(), ["gradcam"], seeds=[2, 1], seed=0)
    assert {(r.seed, r.image): r.mu_l1 for r in other.records} == {
        (r.seed, r.image): r.mu_l1 for r in one.records
    }
    assert not torch.equal(one.logits[0], one.logits[1])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(0, [0, 0, 0, 0]), (1, [1, 0, 0, 0]), (2, [1, 1, 0, 0]), (4, [2, 2, 0, 0]),
     (6, [2, 2, 2, 0]), (9, [3, 3, 3, 0]), (10, [3, 3, 3, 1]), (None, [7, 7, 7, 7])],
)  # fmt: skip
def test_bounded_cells_form_a_square(cells: int | None, expected: list[int]) -> None:
    assert [_count(place, 7, cells) for place in range(4)] == expected


def test_bounded_methods_run_on_their_cells_alone() -> None:
    found = measure(
        network(), ["gradcam", "scorecam"], seeds=range(3), seed=0, bounded={"scorecam": 4}
    )
    counted = {
        name: sum(r.method == name for r in found.records) for name in ("gradcam", "scorecam")
    }
    assert counted == {"gradcam": 21, "scorecam": 4}


def test_logits_that_are_not_finite_are_errors_and_the_run_goes_on() -> None:
    drawn = network()

    def draw(seed: int) -> None:
        drawn.draw(seed)
        if seed == 1:
            model: Any = drawn.walled.trunk
            with torch.no_grad():
                model.model.conv.weight.fill_(float("inf"))

    broken = RandomNetwork(drawn.check, drawn.walled, draw, drawn.images, NAMES, target=0)
    found = measure(broken, ["gradcam"], seeds=[0, 1, 2], seed=0)
    by_seed = {seed: {r.status for r in found.records if r.seed == seed} for seed in range(3)}
    assert by_seed[1] == {Status.ERROR}
    assert Status.ERROR not in by_seed[0] | by_seed[2]
    assert len(found.logits) == 2


def test_logit_variance_is_a_share() -> None:
    deaf = torch.tensor([[1.0, -2.0]]).repeat(4, 1)
    assert Measured(logits=[deaf]).logit_variance()["between_images"] == 0
    centred = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    assert Measured(logits=[centred]).logit_variance()["between_images"] == pytest.approx(1)
    mixed = Measured(logits=[deaf, centred]).logit_variance()["between_images"]
    assert mixed == pytest.approx(0.5)
    nothing = {"between_images": None, "relative": None}
    assert Measured(logits=[torch.zeros(3, 2)]).logit_variance() == nothing
    assert Measured(logits=[deaf[:1]]).logit_variance() == nothing


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_large"])
def test_a_deep_network_with_its_wall(name: str) -> None:
    batch = torch.randn((2, 3, 224, 224), generator=torch.Generator().manual_seed(1))
    drawn = deep_network(name, batch, ["a", "b"], initialisation="he", check=f"theory/deep/{name}")
    found = measure(drawn, ["gradcam", "hirescam"], seeds=[0], seed=0)
    assert drawn.walled.zone.kind == "split trunk"
    assert {r.mu_l1 for r in found.records if r.method == "hirescam"} <= {0.0, None}
    share = found.logit_variance()["between_images"]
    assert share is not None
    assert 0 < share < 1


def test_deep_networks_that_there_are_not() -> None:
    batch = torch.zeros(1, 3, 224, 224)
    with pytest.raises(UsageError, match="among vgg16, resnet18, mobilenet_v3_large, convnext"):
        deep_network("alexnet", batch, ["a"], initialisation="he", check="x")
    with pytest.raises(UsageError, match="permute needs trained weights"):
        deep_network("resnet18", batch, ["a"], initialisation="permute", check="x")
