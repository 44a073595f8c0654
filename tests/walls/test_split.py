"""The split trunk: dead pixels cannot reach the logits, in any architecture, bit for bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import WallError
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.walls.insert import WalledModel
from camaudit.walls.split import split_trunk
from tests import networks
from tests.networks import build, images, settle
from tests.walls.test_insert import AVERAGING, RANDOM

NETWORKS = {
    "gap linear": "body", "gap layernorm": "body", "flatten linear": "body",
    "max linear": "body.2", "inplace head": "body", "squeezed": "body", "residual": "blocks",
    "dense": "norm", "reused": "relu#2", "writes input": "conv", "batch reshape": "act",
}  # fmt: skip
SIDES = ("bottom:3", "top:2", "left:3", "right:2", "centre:3", "corner", "middle", "random")


def side(name: str, grid: tuple[int, int]) -> Tensor | str:
    """A dead side, or a mask: all but a corner, all but a block in the middle, a random one."""
    mask = torch.ones(grid, dtype=torch.bool)
    if name == "corner":
        mask[-3:, :4] = False
    elif name == "middle":
        mask[1:4, 2:5] = False
    elif name == "random":
        mask = torch.rand(grid, generator=torch.Generator().manual_seed(2)) < 0.5
    else:
        return name
    return mask


def grid_of(model: nn.Module, layer: str, example: Tensor) -> tuple[int, int]:
    activations = cut_at(model, layer, example).trunk(example)
    return int(activations.shape[2]), int(activations.shape[3])


def changed(batch: Tensor, where: Tensor, seed: int, factor: float) -> Tensor:
    """`batch` with other values at `where`."""
    generator = torch.Generator().manual_seed(seed)
    noise = factor * torch.randn(batch.shape, generator=generator)
    return torch.where(where, noise, batch)


def assert_exact(walled: WalledModel, batch: Tensor) -> None:
    """No change of dead pixels changes one bit of the logits, by either way to them."""
    dead = walled.zone.pixel_dead
    assert dead.any()
    assert not dead.all()
    with torch.no_grad():
        expected = walled(batch)
        assert expected.isfinite().all()
        assert torch.equal(walled.logits(batch), expected)
        for seed, factor in enumerate((1.0, 1e4, 1e20, 0.0)):
            other = changed(batch, dead, seed, factor)
            assert not torch.equal(other, batch)
            assert torch.equal(walled(other), expected)
            assert torch.equal(walled.logits(other), expected)
        assert not torch.equal(walled(changed(batch, ~dead, 9, 1.0)), expected)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dead", SIDES)
def test_logits_are_bit_equal_under_any_change_of_dead_pixels(
    name: str, dead: str, example: Tensor, batch: Tensor
) -> None:
    model, layer = build(name), NETWORKS[name]
    walled = split_trunk(model, layer, example, dead=side(dead, grid_of(model, layer, example)))
    assert walled.zone.kind == "split trunk"
    assert_exact(walled, batch)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dead", SIDES)
def test_dead_cells_show_the_whole_image_and_live_cells_only_live_pixels(
    name: str, dead: str, example: Tensor, batch: Tensor
) -> None:
    model, layer = build(name), NETWORKS[name]
    walled = split_trunk(model, layer, example, dead=side(dead, grid_of(model, layer, example)))
    zone, trunk = walled.zone, walled.trunk
    with torch.no_grad():
        A = trunk(batch)
        whole = walled.unwalled.trunk(batch)
        assert torch.equal(A[:, :, zone.feature_dead], whole[:, :, zone.feature_dead])
        assert A[:, :, zone.feature_dead].abs().max() > 0
        moved = trunk(changed(batch, zone.pixel_dead, 3, 1.0))
        live_only = trunk.live_only(batch)
    live = ~zone.feature_dead
    assert torch.equal(moved[:, :, live], A[:, :, live])
    assert not torch.equal(moved[:, :, zone.feature_dead], A[:, :, zone.feature_dead])
    assert torch.equal(live_only[:, :, live], A[:, :, live])
    assert not live_only[:, :, zone.feature_dead].any()


@pytest.mark.parametrize("dead", ["bottom:3", "corner", "middle"])
def test_live_cells_are_the_trunk_of_the_crop(dead: str, example: Tensor, batch: Tensor) -> None:
    model = build("squeezed")
    walled = split_trunk(model, "body", example, dead=side(dead, (7, 7)))
    pixels = (~walled.zone.pixel_dead).nonzero()
    (top, left), (bottom, right) = pixels.amin(dim=0).tolist(), pixels.amax(dim=0).tolist()
    assert (~walled.zone.pixel_dead)[top : bottom + 1, left : right + 1].all()
    crop = batch[:, :, top : bottom + 1, left : right + 1]
    cells = walled.unwalled.trunk(crop)
    live = ~walled.zone.feature_dead
    found = walled.trunk(batch)[:, :, live]
    assert torch.equal(found, cells.flatten(2))
    assert f"pixel rows {top}-{bottom} and columns {left}-{right}" in walled.zone.why


def test_live_cells_of_a_scattered_mask_come_from_the_image_with_the_rest_at_zero(
    example: Tensor, batch: Tensor
) -> None:
    model = build("squeezed")
    walled = split_trunk(model, "body", example, dead=RANDOM)
    for row in range(16):
        for column in range(16):
            cell = RANDOM[row * 7 // 16, column * 7 // 16]
            assert walled.zone.pixel_dead[row, column] == cell
    hidden = batch.clone()
    hidden[:, :, walled.zone.pixel_dead] = 0
    cells = walled.unwalled.trunk(hidden)
    assert torch.equal(walled.trunk(batch)[:, :, ~RANDOM], cells[:, :, ~RANDOM])
    assert "mean colour" in walled.zone.why


@pytest.mark.parametrize("name", NETWORKS)
def test_zone_starts_near_the_cells_share_of_the_image(name: str, example: Tensor) -> None:
    model, layer = build(name), NETWORKS[name]
    h, _ = grid_of(model, layer, example)
    zone = split_trunk(model, layer, example, live_rows=h // 2).zone
    live = 16 - len(zone.pixel_dead_rows)
    assert zone.pixel_dead_rows == list(range(live, 16))
    assert abs(live - 16 * (h // 2) / h) <= -(-16 // h)


# ------------------------------------------------------------------------------- crop search

TRUNKS: dict[str, Callable[[], list[nn.Module]]] = {
    "stride 2": lambda: [nn.Conv2d(3, 4, 3, stride=2)],
    "stride 3 padded": lambda: [nn.Conv2d(3, 4, 5, stride=3, padding=2)],
    "stride 4 patches": lambda: [nn.Conv2d(3, 4, 4, stride=4)],
    "two strides": lambda: [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)],
    "other strides": lambda: [nn.Conv2d(3, 4, 3, (3, 1)), nn.ReLU(), nn.Conv2d(4, 4, 2, (1, 2))],
    "ceil pooling": lambda: [nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True)],
    "no stride": lambda: [nn.Conv2d(3, 4, 5)],
}


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (29, 19), (31, 16), (21, 37)])
def test_crop_gives_exactly_the_live_cells_on_odd_sizes(trunk: str, size: tuple[int, int]) -> None:
    model = settle(nn.Sequential(*TRUNKS[trunk](), networks.Mean(), nn.Linear(4, 5)))
    layer, example = str(len(model) - 3), images(1, size)
    h, w = grid_of(model, layer, example)
    corner = torch.ones(h, w, dtype=torch.bool)
    corner[-(h // 2) :, : w // 2] = False
    inner = torch.ones(h, w, dtype=torch.bool)
    inner[1 : 1 + (h - 1) // 2, 1 : 1 + (w - 1) // 2] = False
    for dead in [*(f"bottom:{n}" for n in range(1, h)), f"right:{w // 2}", "top:1", corner, inner]:
        walled = split_trunk(model, layer, example, dead=dead)
        assert_exact(walled, images(2, size))


def test_crop_of_inner_cells_grows_at_its_other_end_once_it_meets_the_border() -> None:
    model = settle(nn.Sequential(nn.Conv2d(3, 4, 5), networks.Mean(), nn.Linear(4, 5)))
    dead = torch.ones(12, 12, dtype=torch.bool)
    dead[9:11, 9:11] = False
    walled = split_trunk(model, "0", images(1), dead=dead)
    assert walled.trunk.boxes[1] == (slice(10, 16), slice(10, 16))
    assert_exact(walled, images(2))


def test_trunk_of_a_fixed_image_size_has_no_crop(example: Tensor) -> None:
    """torchvision's VisionTransformer asserts its image size."""
    model = settle(VisionTransformer(16, 4, 1, 2, 8, 16, num_classes=5))
    with pytest.raises(WallError, match="no crop of the 16×16 image gives exactly 2×4 cells"):
        split_trunk(model, "conv_proj", example, live_rows=2)
    scattered = split_trunk(model, "conv_proj", example, dead=side("random", (4, 4)))
    assert_exact(scattered, images(2))


# ------------------------------------------------------------------------------ audit of maps


@pytest.mark.parametrize("name", ["gap relu mlp", "squeezed", "residual", "flatten linear"])
@pytest.mark.parametrize("method", ["hirescam", "layercam", "elementwise"])
def test_cell_wise_methods_are_exactly_zero_behind_the_wall(
    name: str, method: str, example: Tensor, batch: Tensor
) -> None:
    walled = split_trunk(build(name), NETWORKS.get(name, "body"), example, live_rows=4)
    maps = compute(method, capture(walled, batch))
    assert not maps[:, walled.zone.feature_dead].any()
    assert (maps[:, ~walled.zone.feature_dead].amax(dim=1) > 0).sum() >= 2
    raised = upsample(maps, (16, 16))
    assert walled.zone.exists
    assert not raised[:, walled.zone.scored].any()
    assert (raised[:, walled.zone.pixel_dead & ~walled.zone.scored] > 0).any()


def test_gradcam_lights_up_behind_the_wall(example: Tensor, batch: Tensor) -> None:
    """Without this the test above could pass because there is nothing to see there."""
    walled = split_trunk(build("gap relu mlp"), "body", example, live_rows=4)
    assert (compute("gradcam", capture(walled, batch))[:, walled.zone.feature_dead] > 0).any()


# ------------------------------------------------------------------------------------ frame


@pytest.mark.parametrize("name", [*AVERAGING, "max linear", "flatten linear", "fixed pool head"])
def test_rescaling_follows_the_head(name: str, example: Tensor) -> None:
    walled = split_trunk(build(name), "body", example, live_rows=4)
    assert walled.wall.scale == (7 / 4 if name in AVERAGING else 1.0)


def test_default_is_four_rows_of_seven_and_description_says_so(example: Tensor) -> None:
    walled = split_trunk(build("gap linear"), "body", example)
    wanted = {"wall": "split", "layer": "body", "live": "rows 0-3 of 7", "rescale": 7 / 4}
    assert walled.description == wanted
    assert walled.zone.feature_fraction == 3 / 7
    assert not any(module.training for module in walled.modules())


def test_unwalled_twin_is_the_model_itself(example: Tensor, batch: Tensor) -> None:
    model = build("gap linear")
    walled = split_trunk(model, "body", example)
    assert torch.equal(walled.unwalled(batch), model(batch))
    assert {id(p) for p in walled.parameters()} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("dead", ["bottom:3", "random"])
def test_images_of_another_size_are_refused(dead: str, example: Tensor) -> None:
    walled = split_trunk(build("gap linear"), "body", example, dead=side(dead, (7, 7)))
    for act in (walled, walled.logits):
        with pytest.raises(WallError, match=r"images of \(16, 16\) pixels; got \(16, 20\)"):
            act(images(1, (16, 20)))


def test_split_works_in_float64_and_in_channels_last(example: Tensor, batch: Tensor) -> None:
    for change in (nn.Module.double, lambda m: m.to(memory_format=torch.channels_last)):
        model = change(build("squeezed"))
        dtype = model.fc.weight.dtype
        walled = split_trunk(model, "body", example.to(dtype), live_rows=4)
        dead = walled.zone.pixel_dead
        wanted = walled(batch.to(dtype))
        assert torch.equal(walled.logits(batch.to(dtype)), wanted)
        assert torch.equal(walled(changed(batch, dead, 1, 5.0).to(dtype)), wanted)
