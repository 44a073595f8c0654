"""Captures at earlier layers: the same logits, that layer's own maps, and exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at, default_layer, stages_of
from camaudit.errors import LayerError, ModelError, NotApplicableError, UsageError
from camaudit.methods import compute
from camaudit.objective import contrastive
from camaudit.passage import passage_to
from camaudit.recent import Recent
from camaudit.sites import find_site
from camaudit.walls import PaperVGG16, insert_wall, inserted_wall, paper_wall, split_trunk, vgg16
from camaudit.walls.stages import inner_trunk
from tests import networks
from tests.networks import CUTTABLE, build, images, settle
from tests.test_capture import autograd_reference
from tests.test_cut import Snapshot, untouched

DIVIDE: dict[str, Callable[..., object]] = {
    "plain": cut_at,
    "insert": insert_wall,
    "split": split_trunk,
}


def earlier_sites() -> list[tuple[str, str, str]]:
    """Network, target layer and every cuttable layer up to it."""
    sites = []
    for name, (_, layers) in CUTTABLE.items():
        model = build(name)
        target = default_layer(model, images(1))
        order = [visit for visit in layers if visit.partition("#")[0] != target.partition("#")[0]]
        kept = [layer for layer in order if _before(model, layer, target)]
        sites += [(name, target, layer) for layer in kept]
    return sites


def _before(model: nn.Module, layer: str, target: str) -> bool:
    try:
        cut_at(model, target, images(1)).at(layer, images(1))
    except LayerError:
        return False
    return True


SITES = earlier_sites()


def captured_at(name: str, target: str, kind: str, **options: object) -> Capture:
    model, batch = build(name).double(), images(3).double()
    return capture(DIVIDE[kind](model, target, batch, **options), batch)  # type: ignore[operator]


# ------------------------------------------------------------------------------------- the logits


def test_there_are_sites_of_many_kinds() -> None:
    assert len(SITES) > 30
    assert {name for name, *_ in SITES} >= {"chain", "residual", "dense", "squeezed", "flat"}


@pytest.mark.parametrize("kind", DIVIDE)
@pytest.mark.parametrize(("name", "target", "layer"), SITES)
def test_logits_and_score_stay_what_they_are(name: str, target: str, layer: str, kind: str) -> None:
    captured = captured_at(name, target, kind)
    stage = captured.at(layer)
    exactly = {"rtol": 1e-12, "atol": 1e-12}
    with torch.no_grad():
        for logits in (stage.logits, stage.head(stage.activations), stage.model(stage.images),
                       stage.divided.logits(stage.images)):  # fmt: skip
            torch.testing.assert_close(logits, captured.logits, **exactly)
        doubled = stage.head(stage.activations.repeat(2, 1, 1, 1))
    torch.testing.assert_close(doubled, captured.logits.repeat(2, 1), **exactly)
    torch.testing.assert_close(stage.scores, captured.scores, **exactly)
    assert stage.targets is captured.targets
    assert stage.objective is captured.objective
    assert stage.activations.shape == stage.gradients.shape
    assert stage.gradients.abs().max() > 0


@pytest.mark.parametrize("kind", DIVIDE)
@pytest.mark.parametrize("dead", ["top:2", "left:2", "right:3", "centre:2"])
def test_any_side_may_be_dead(kind: str, dead: str) -> None:
    if (kind, dead) == ("split", "centre:2"):
        return  # no rectangle is left: see the refusals
    options = {} if kind == "plain" else {"dead": dead}
    captured = captured_at("chain", "5", kind, **options)
    for layer in captured.stages():
        torch.testing.assert_close(captured.at(layer).logits, captured.logits)


# --------------------------------------------------------------------- activations and gradients


@pytest.mark.parametrize(("name", "target", "layer"), SITES)
def test_without_a_wall_they_are_those_of_a_capture_there(
    name: str, target: str, layer: str
) -> None:
    model, batch = build(name).double(), images(3).double()
    stage = capture(cut_at(model, target, batch), batch).at(layer)
    there = capture(cut_at(model, layer, batch), batch)
    assert torch.equal(stage.activations, there.activations)
    assert torch.equal(stage.gradients, there.gradients)


@pytest.mark.parametrize(("name", "target", "layer"), SITES)
def test_behind_an_inserted_wall_gradients_are_those_of_the_whole_walled_model(
    name: str, target: str, layer: str
) -> None:
    model, batch = build(name).double(), images(2).double()
    walled = insert_wall(model, target, batch)
    captured = capture(walled, batch)
    stage = captured.at(layer)
    dead, scale = walled.zone.feature_dead, walled.wall.scale
    with inserted_wall(model, target, batch[:1], dead=dead, scale=scale):
        for row in range(2):
            A, G, logits = autograd_reference(
                model, layer, batch[row : row + 1], int(captured.targets[row])
            )
            torch.testing.assert_close(stage.activations[row], A[0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(stage.gradients[row], G[0], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(stage.logits[row], logits[0], rtol=1e-12, atol=1e-12)


CHAINS = [("chain", 5, range(5)), ("flat", 3, range(3)), ("gap linear", 2, range(2))]


def parts_of(name: str) -> tuple[nn.Module, list[nn.Module], str]:
    """A network, its layers in a row and what their names begin with."""
    model = build(name).double()
    if name == "gap linear":
        return model, [*model.body, *model.head], "body."
    return model, [*model], ""


@pytest.mark.parametrize("dead", ["bottom", "right", "top"])
@pytest.mark.parametrize(("name", "end", "early"), CHAINS)
def test_a_split_is_composed_of_the_crop_and_the_whole_image(
    name: str, end: int, early: range, dead: str
) -> None:
    model, layers, prefix = parts_of(name)
    batch = images(2).double()
    cells = 2 if dead == "top" and name == "chain" else 3
    walled = split_trunk(model, f"{prefix}{end}", batch, dead=f"{dead}:{cells}")
    captured = capture(walled, batch)
    top, left, height, width = walled.frame
    crop = batch[:, :, top : top + height, left : left + width]
    for number in early:
        try:
            stage = captured.at(f"{prefix}{number}")
        except NotApplicableError:
            assert dead == "top"
            continue
        first, rest = nn.Sequential(*layers[: number + 1]), layers[number + 1 : end + 1]
        whole, live = first(batch).detach(), first(crop).detach()
        rows, columns = (
            slice(start * whole.shape[axis] // 16, start * whole.shape[axis] // 16 + length)
            for axis, start, length in ((2, top, live.shape[2]), (3, left, live.shape[3]))
        )
        expected = whole.clone()
        expected[:, :, rows, columns] = live
        assert torch.equal(stage.activations, expected)
        live.requires_grad_(True)
        maps = nn.Sequential(*rest)(live.clone())
        box = walled.trunk.boxes[0]
        placed = torch.zeros(*maps.shape[:2], *walled.trunk.live.shape, dtype=maps.dtype)
        placed = torch.index_put(
            placed.permute(2, 3, 0, 1), _grid(box), maps.permute(2, 3, 0, 1)
        ).permute(2, 3, 0, 1)
        logits = nn.Sequential(*layers[end + 1 :])(placed * walled.wall.scale)
        scores = logits.gather(1, captured.targets[:, None]).sum()
        (wanted,) = torch.autograd.grad(scores, live)
        gradients = torch.zeros_like(expected)
        gradients[:, :, rows, columns] = wanted
        torch.testing.assert_close(stage.gradients, gradients, rtol=1e-10, atol=1e-12)


def _grid(box: tuple[slice, slice]) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(part.start, part.stop) for part in box)
    return tuple(torch.meshgrid(rows, columns, indexing="ij"))


@pytest.mark.parametrize("layer", ["2", "1", "0"])
def test_dead_pixels_move_neither_logits_nor_live_gradients_of_a_split_stage(layer: str) -> None:
    model, batch = build("chain").double(), images(2).double()
    walled = split_trunk(model, "5", batch)
    stage = capture(walled, batch).at(layer)
    noise = images(2, seed=8).double()
    moved = stage.again(torch.where(walled.zone.pixel_dead, noise, batch))
    assert torch.equal(moved.logits, stage.logits)
    assert torch.equal(moved.gradients, stage.gradients)
    outside = ~(stage.gradients != 0).any(dim=1).any(dim=0).any(dim=1)
    assert outside[-3:].all()
    assert not torch.equal(moved.activations, stage.activations)


# -------------------------------------------------------------------------------------- the names


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("chain", ["2", "5"]),
        ("flat", ["1", "3"]),
        ("residual", ["blocks"]),
        ("reused", ["relu#1", "relu#2", "relu#3"]),
        ("squeezed", ["stem", "body"]),
        ("gap linear", ["body.1", "body"]),
        ("conv head", ["body.1", "head.0"]),
    ],
)
@pytest.mark.parametrize("kind", DIVIDE)
def test_one_stage_a_size_the_last_before_pooling_and_the_target_last(
    name: str, names: list[str], kind: str
) -> None:
    captured = captured_at(name, names[-1], kind)
    assert captured.stages() == names
    for count in range(1, 5):
        assert captured.stages(count) == names[-count:]
    assert captured.at(names[0]).stages() == names[:1]
    with pytest.raises(UsageError, match="count must be at least 1; got 0"):
        captured.stages(0)


def test_a_layer_with_a_path_around_it_is_no_stage() -> None:
    model = settle(
        nn.Sequential(networks.Block(3), nn.MaxPool2d(2), networks.Block(3), nn.AvgPool2d(2),
                      nn.Conv2d(3, 4, 3), networks.Mean(), nn.Linear(4, 5))
    )  # fmt: skip
    assert stages_of(model, "4", images(1)) == ["0", "2", "4"]
    assert stages_of(model, "2", images(1)) == ["0", "2"]
    assert stages_of(model, "0", images(1)) == ["0"]


@pytest.mark.parametrize("kind", DIVIDE)
def test_resnet(kind: str) -> None:
    model, batch = settle(resnet18(num_classes=7)).double(), images(2, 64).double()
    captured = capture(DIVIDE[kind](model, "layer4", batch), batch)  # type: ignore[operator]
    assert captured.stages() == ["relu", "layer1", "layer2", "layer3", "layer4"]
    scale = float(captured.logits.abs().max())
    for layer, cells in zip(captured.stages(), (32, 16, 8, 4, 2), strict=True):
        stage = captured.at(layer)
        assert stage.activations.shape[-2:] == (cells, cells)
        torch.testing.assert_close(stage.logits, captured.logits, rtol=0, atol=1e-12 * scale)
    untouched(model)


def test_the_papers_network(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = (2, 2, 0, 2, 2, 0, 3, 3, 3, 0, 3, 3, 3, 0, 3, 3)
    monkeypatch.setattr(vgg16, "_PLAN", plan)
    masked = PaperVGG16(channels=4, hidden=8, num_classes=5).double().eval()
    batch = images(2, 224).double()
    captured = capture(paper_wall(masked, batch), batch)
    assert captured.stages() == ["3", "8", "15", "22", "29"]
    for layer in ("22", "15", "0"):
        stage = captured.at(layer)
        torch.testing.assert_close(stage.logits, captured.logits, rtol=1e-12, atol=1e-12)
        A, G, _ = autograd_reference(masked, layer, batch[:1], int(captured.targets[0]))
        torch.testing.assert_close(stage.activations[:1], A)
        torch.testing.assert_close(stage.gradients[:1], G, rtol=1e-9, atol=1e-14)


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("kind", DIVIDE)
def test_later_unknown_and_bypassed_layers_are_refused(kind: str) -> None:
    captured = captured_at("chain", "2", kind)
    with pytest.raises(LayerError, match="'5' runs after the target layer '2'"):
        captured.at("5")
    with pytest.raises(LayerError, match="no layer 'nope'"):
        captured.at("nope")
    with pytest.raises(LayerError, match="runs after the target layer '0'"):
        captured.at("0").at("2")
    with pytest.raises(LayerError, match="not the only path"):
        captured_at("residual", "blocks", kind).at("blocks.0.conv1")


def test_a_split_without_a_crop_has_no_earlier_layers() -> None:
    dead = torch.eye(8, dtype=torch.bool)
    captured = captured_at("chain", "5", "split", dead=dead)
    assert captured.at("5") is captured
    with pytest.raises(NotApplicableError, match="live cells are no rectangle"):
        captured.at("2")


def test_a_crop_that_begins_between_cells_of_the_earlier_layer_is_refused() -> None:
    captured = captured_at("gap linear", "body", "split", dead="top:2")
    assert captured.divided.frame[0] == 5  # 2.5 cells of the 8 of the earlier layer
    with pytest.raises(NotApplicableError, match="does not begin and end at whole cells"):
        captured.at("body.1")


def test_a_divided_model_may_have_no_layers() -> None:
    cut = cut_at(build("chain"), "5", images(1))
    bare = SimpleNamespace(trunk=cut.trunk, read=cut.read, logits=cut.logits)
    captured = capture(bare, images(2))
    for act in (captured.stages, lambda: captured.at("2")):
        with pytest.raises(NotApplicableError, match="SimpleNamespace cannot be looked at"):
            act()


def test_a_walled_model_of_foreign_parts_has_no_layers() -> None:
    with pytest.raises(NotApplicableError, match="is a Conv2d, not a model up to a layer"):
        inner_trunk(nn.Conv2d(3, 3, 1))


def test_a_stateful_part_between_the_layers_is_refused() -> None:
    class Growing(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x + self.calls

    model = settle(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), networks.Mean(),
                      nn.Linear(4, 5))
    )  # fmt: skip
    cut, early = cut_at(model, "2", images(1)), cut_at(model, "0", images(1))
    passage_to(cut.trunk.site, early, images(1))
    model[1] = Growing()
    with pytest.raises(
        LayerError, match="from layer '0' to '2' cannot be replayed: it gives other"
    ):
        passage_to(cut.trunk.site, early, images(1))


# --------------------------------------------------------------------------------- the same life


@pytest.mark.parametrize("kind", DIVIDE)
def test_the_target_layer_is_the_capture_itself(kind: str) -> None:
    captured = captured_at("reused", "relu#3", kind)
    assert captured.at("relu#3") is captured
    chained = captured_at("chain", "5", kind)
    assert chained.at("5") is chained
    assert chained.at("5#1") is chained
    stage = chained.at("2")
    assert stage.at("2") is stage


@pytest.mark.parametrize("kind", DIVIDE)
def test_stages_of_stages_are_those_of_the_capture(kind: str) -> None:
    captured = captured_at("chain", "5", kind)
    once, twice = captured.at("1"), captured.at("3").at("1")
    assert torch.equal(once.activations, twice.activations)
    assert torch.equal(once.gradients, twice.gradients)
    assert captured.at("4").stages() == ["2", "4"]


@pytest.mark.parametrize("kind", DIVIDE)
def test_a_cut_is_made_once_for_every_size_of_images(kind: str) -> None:
    captured = captured_at("chain", "5", kind)
    stage = captured.at("2")
    assert captured.rows(1, 2).at("2").divided is stage.divided
    assert captured.at("1").divided is not stage.divided
    if kind == "plain":
        larger = captured.again(images(2, 24).double())
        assert larger.at("2").divided is not stage.divided
        torch.testing.assert_close(larger.at("2").logits, larger.logits)


def test_recent_values_are_kept_and_old_ones_let_go() -> None:
    recent: Recent[object] = Recent(limit=2)
    example = images(1)
    first = recent.get("a", example, object)
    second = recent.get("b", example, object)
    assert recent.get("a", example, object) is first
    recent.get("c", example, object)
    assert recent.get("a", example, object) is first
    assert recent.get("b", example, object) is not second
    assert recent.get("b", example.double(), object) is not recent.get("b", example, object)


@pytest.mark.parametrize("kind", DIVIDE)
def test_rows_other_scores_and_other_images_work_at_a_stage(kind: str) -> None:
    captured = captured_at("chain", "5", kind)
    stage = captured.at("2")
    torch.testing.assert_close(stage.rows(1, 2).gradients, captured.rows(1, 2).at("2").gradients)
    contrast = captured.explaining(contrastive(2)).at("2")
    torch.testing.assert_close(contrast.gradients, stage.explaining(contrastive(2)).gradients)
    assert not torch.allclose(contrast.gradients, stage.gradients)
    other = images(3, seed=5).double()
    assert torch.equal(stage.again(other).gradients, captured.again(other).at("2").gradients)
    for method in ("gradcam", "eigencam", "scorecam", "ablationcam"):
        maps = compute(method, stage)
        assert maps.shape == (3, 16, 16)
        assert (maps > 0).any()
    with pytest.raises(NotApplicableError, match="global average pooling"):
        stage.linear_weight()


def test_masked_images_of_a_stage_run_as_those_of_the_capture() -> None:
    cut, batch = cut_at(build("chain"), "5", images(1)), images(2)
    forwards = cut.logits
    captured = capture(cut, batch, batch_size=5)
    assert captured.at("2").batch_size == 5
    assert captured.at("2").model == forwards
    assert captured.at("2").memo[0] is not captured.memo[0]


@pytest.mark.parametrize("kind", DIVIDE)
@pytest.mark.parametrize("name", ["chain", "residual", "reused", "inplace head", "writes input"])
def test_looking_at_stages_leaves_no_trace(name: str, kind: str) -> None:
    model, batch = build(name), images(2)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    captured = capture(
        DIVIDE[kind](model, default_layer(model, batch), batch),
        batch,  # type: ignore[operator]
    )
    snapshot = Snapshot(model)
    kept = batch.clone()
    for layer in (*captured.stages(), CUTTABLE[name][1][0]):
        captured.at(layer)
    assert torch.equal(batch, kept)
    snapshot.check()


@pytest.mark.parametrize("kind", ["insert", "split"])
def test_a_stage_leaves_no_trace_after_the_model_raised(kind: str) -> None:
    class Armed(networks.Fails):
        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x)
            if self.armed:
                raise ArithmeticError("armed")
            return self.fc(self.act(maps).mean(dim=(2, 3)))

    model, batch = settle(Armed()), images(2)
    walled = DIVIDE[kind](model, "act", batch)
    stage = capture(walled, batch).at("conv")  # type: ignore[arg-type]
    snapshot = Snapshot(model)
    model.armed = True
    with pytest.raises(ArithmeticError, match="armed"):
        stage.head(stage.activations)
    snapshot.check()
    assert not any(module.training for module in stage.divided.modules())


class SharedBefore(nn.Module):
    """One activation module runs inside a block, before the early layer and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), self.act, nn.Conv2d(4, 4, 1))
        self.middle = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.last = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.block(x))
        x = self.act(self.middle(x))
        return self.fc(self.act(self.last(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize("kind", ["insert", "split"])
@pytest.mark.parametrize("layer", ["block", "act#1", "act#2", "middle", "act#3", "last"])
def test_runs_of_a_shared_module_are_counted_where_the_replay_sees_them(
    kind: str, layer: str
) -> None:
    model, batch = settle(SharedBefore()).double(), images(2).double()
    assert find_site(model, "act#4", batch[:1]).runs == 4
    captured = capture(DIVIDE[kind](model, "act#4", batch), batch)  # type: ignore[operator]
    stage = captured.at(layer)
    torch.testing.assert_close(stage.logits, captured.logits, rtol=1e-12, atol=1e-12)
    assert F.mse_loss(stage.gradients, torch.zeros_like(stage.gradients)) > 0


def test_training_mode_is_refused() -> None:
    model = build("chain")
    captured = capture(cut_at(model, "5", images(1)), images(2))
    model.train()
    with pytest.raises(ModelError, match="training mode"):
        captured.at("2")
    model.eval()
