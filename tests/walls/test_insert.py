"""A wall is masking by hand: nothing dead is read, live cells are scaled, the model stays."""

import math
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from camaudit.cut import cut_at
from camaudit.errors import LayerError, ModelError, WallError
from camaudit.walls.insert import Wall, WalledModel, insert_wall, inserted_wall
from camaudit.walls.region import dead_cells
from tests import networks
from tests.networks import CUTTABLE, Headed, build, images, settle

RANDOM = torch.rand(7, 7, generator=torch.Generator().manual_seed(5)) < 0.4
WALLS: dict[str, dict[str, object]] = {
    "default": {},
    "live rows": {"live_rows": 2},
    "bottom": {"dead": "bottom:6"},
    "top": {"dead": "top:2"},
    "left": {"dead": "left:1"},
    "right": {"dead": "right:3"},
    "centre": {"dead": "centre:3"},
    "mask": {"dead": RANDOM},
}
HEADS = (
    "gap linear", "gap relu mlp", "gap layernorm", "max linear", "flatten linear", "conv head",
    "conv relu head", "inplace head", "fixed pool head", "squeezed",
)  # fmt: skip
AVERAGING = ("gap linear", "gap relu mlp", "gap layernorm", "conv head", "squeezed")


def dead_of(options: dict[str, object]) -> Tensor:
    return dead_cells((7, 7), **(options or {"live_rows": 4}))  # type: ignore[arg-type]


# -------------------------------------------------------------------------------- Wall itself


def test_wall_zeroes_dead_cells_and_scales_live_ones(batch: Tensor) -> None:
    maps = batch[:, :, :7, :7]
    found = Wall(~RANDOM, scale=2.5)(maps)
    assert torch.equal(found[:, :, RANDOM], torch.zeros(3, 3, int(RANDOM.sum())))
    assert torch.equal(found[:, :, ~RANDOM], 2.5 * maps[:, :, ~RANDOM])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_whatever_stands_behind_the_wall_stays_there(value: float) -> None:
    maps = torch.ones(1, 2, 7, 7)
    maps[:, :, RANDOM] = value
    leaf = maps.clone().requires_grad_(True)
    found = Wall(~RANDOM, scale=3.0)(leaf)
    assert torch.equal(found, 3.0 * (~RANDOM).float().expand(1, 2, 7, 7))
    found.sum().backward()
    assert torch.equal(leaf.grad, 3.0 * (~RANDOM).float().expand(1, 2, 7, 7))


def test_wall_for_maps_of_another_size_is_refused() -> None:
    with pytest.raises(WallError, match=r"maps of \(7, 7\) cells, the layer gave \(7, 6\)"):
        Wall(~RANDOM)(torch.zeros(1, 2, 7, 6))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_wall_keeps_the_dtype_and_holds_no_state(dtype: torch.dtype) -> None:
    wall = Wall(~RANDOM, scale=2.0)
    assert wall(torch.ones(1, 1, 7, 7, dtype=dtype)).dtype == dtype
    assert not wall.state_dict()


# ----------------------------------------------------------------------------- walled logits


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("name", HEADS)
def test_logits_equal_masking_by_hand(name: str, wall: str, example: Tensor, batch: Tensor) -> None:
    model = build(name)
    options = WALLS[wall]
    walled = insert_wall(model, "body", example, **options)  # type: ignore[arg-type]
    dead = dead_of(options)
    scale = 49 / int((~dead).sum()) if name in AVERAGING else 1.0
    assert walled.description["rescale"] == walled.wall.scale == scale
    assert torch.equal(walled.zone.feature_dead, dead)

    def mask(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        masked = output * scale
        masked[:, :, dead] = 0
        return masked

    with torch.no_grad():
        plain = model(batch)
        handle = model.body.register_forward_hook(mask)
        wanted = model(batch)
        handle.remove()
    assert not torch.equal(wanted, plain)
    assert torch.equal(walled(batch), wanted)
    assert torch.equal(walled.logits(batch), wanted)
    assert torch.equal(walled.read(walled.trunk(batch)), wanted)


@pytest.mark.parametrize("wall", WALLS)
def test_flatten_head_behind_a_wall_is_the_head_with_masked_weights(
    wall: str, example: Tensor, batch: Tensor
) -> None:
    model = build("flatten linear").double()
    example, batch = example.double(), batch.double()
    walled = insert_wall(model, "body", example, **WALLS[wall])  # type: ignore[arg-type]
    masked = deepcopy(model)
    with torch.no_grad():
        masked.head[1].weight.view(5, 6, 7, 7)[:, :, dead_of(WALLS[wall])] = 0
        torch.testing.assert_close(walled(batch), masked(batch), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wall", WALLS)
def test_gap_head_behind_a_wall_reads_the_mean_over_live_cells(
    wall: str, example: Tensor, batch: Tensor
) -> None:
    model = build("gap relu mlp").double()
    example, batch = example.double(), batch.double()
    walled = insert_wall(model, "body", example, **WALLS[wall])  # type: ignore[arg-type]
    live = ~dead_of(WALLS[wall])
    with torch.no_grad():
        mean = model.body(batch)[:, :, live].mean(dim=2)
        wanted = model.head[1:](mean)
        torch.testing.assert_close(walled(batch), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", HEADS)
def test_rescaling_can_be_forced_and_forbidden(name: str, example: Tensor) -> None:
    model = build(name)
    scales = [
        insert_wall(model, "body", example, live_rows=3, rescale=rescale).wall.scale
        for rescale in ("always", "never")
    ]
    assert scales == [49 / 21, 1.0]


def test_head_that_asserts_its_size_keeps_scale_one(example: Tensor) -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[2:] == (7, 7), "wrong size"
            return x.mean(dim=(2, 3))

    walled = insert_wall(settle(Headed(Picky(), nn.Linear(6, 5))), "body", example)
    assert walled.wall.scale == 1.0


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_wall_fits_after_every_layer_with_more_than_one_row(name: str, batch: Tensor) -> None:
    model = build(name)
    for layer in CUTTABLE[name][1]:
        cut = cut_at(model, layer, batch)
        activations = cut.trunk(batch)
        if activations.shape[2] == 1:
            with pytest.raises(WallError):
                insert_wall(model, layer, batch)
            continue
        walled = insert_wall(model, layer, batch)
        dead = walled.zone.feature_dead
        other = activations.clone()
        other[:, :, dead] = 1e30 * torch.randn_like(other[:, :, dead]).sign()
        assert torch.equal(walled.trunk(batch), activations)
        assert torch.equal(walled.read(other), walled.read(activations))
        assert not torch.equal(walled.read(-activations), walled.read(activations))


@pytest.mark.parametrize("name", ["gap linear", "inplace head", "flatten linear"])
def test_infinite_activations_behind_the_wall_do_not_become_nan(
    name: str, example: Tensor, batch: Tensor
) -> None:
    walled = insert_wall(build(name), "body", example, live_rows=4)
    A = walled.trunk(batch)
    A[:, :, 4:] = math.inf
    assert torch.equal(walled.read(A), walled(batch))


# --------------------------------------------------------------------------- the model stays


@pytest.mark.parametrize("name", ["gap linear", "inplace head", "writes input", "residual"])
def test_the_model_is_left_untouched(name: str, batch: Tensor) -> None:
    model = build(name)
    layer = CUTTABLE[name][1][-1]
    state = deepcopy(model.state_dict())
    before = model(batch.clone())
    walled = insert_wall(model, layer, batch)
    walled(batch)
    assert torch.equal(model(batch.clone()), before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert list(model.state_dict()) == list(state)
    for module in model.modules():
        assert not module._forward_hooks
        assert "forward" not in vars(module)
        assert not module.training
    assert not any(module.training for module in walled.modules())


def test_unwalled_twin_is_the_model_itself(example: Tensor, batch: Tensor) -> None:
    model = build("gap linear")
    walled = insert_wall(model, "body", example)
    assert walled.unwalled is not None
    assert torch.equal(walled.unwalled(batch), model(batch))
    assert torch.equal(walled.unwalled.trunk(batch), walled.trunk(batch))
    assert not torch.equal(walled(batch), model(batch))
    assert {id(p) for p in walled.parameters()} == {id(p) for p in model.parameters()}


def test_trunk_shows_activity_behind_the_wall(example: Tensor, batch: Tensor) -> None:
    model = build("gap linear")
    walled = insert_wall(model, "body", example, live_rows=4)
    assert torch.equal(walled.trunk(batch), model.body(batch))
    assert walled.trunk(batch)[:, :, 4:].abs().max() > 0


def test_description(example: Tensor) -> None:
    walled = insert_wall(build("reused"), "relu#3", example, dead="bottom:2")
    assert walled.description == {
        "wall": "insert",
        "layer": "relu#3",
        "live": "rows 0-2 of 5",
        "rescale": 5 / 3,
    }


def test_image_of_another_size_is_refused(example: Tensor) -> None:
    walled = insert_wall(build("gap linear"), "body", example)
    with pytest.raises(WallError, match="build it for images of this size"):
        walled(images(1, 20))


@pytest.mark.parametrize(
    "options",
    [{"live_rows": 7}, {"live_rows": 0}, {"dead": "bottom:7"}, {"dead": "below"},
     {"live_rows": 2, "dead": "top:1"}, {"dead": torch.zeros(7, 7, dtype=torch.bool)},
     {"dead": torch.ones(6, 7, dtype=torch.bool)}],
)  # fmt: skip
def test_walls_that_cannot_be_built(options: dict[str, object], example: Tensor) -> None:
    with pytest.raises(WallError):
        insert_wall(build("gap linear"), "body", example, **options)  # type: ignore[arg-type]


# --------------------------------------------------------------------- receptive-field zones


def live_pixels(walled: WalledModel, size: tuple[int, int]) -> Tensor:
    """Pixels whose NaN reaches a live cell of the trunk, one by one."""
    live = ~walled.zone.feature_dead
    seen = torch.zeros(size, dtype=torch.bool)
    for row in range(size[0]):
        probes = torch.zeros(size[1], 3, *size)
        probes[torch.arange(size[1]), :, row, torch.arange(size[1])] = math.nan
        with torch.no_grad():
            seen[row] = walled.trunk(probes).isnan().any(dim=1)[:, live].any(dim=1)
    return seen


@pytest.mark.parametrize("wall", WALLS)
def test_zone_of_a_chain_is_exactly_what_no_live_cell_reads(wall: str, example: Tensor) -> None:
    walled = insert_wall(build("gap linear"), "body", example, **WALLS[wall])  # type: ignore[arg-type]
    seen = live_pixels(walled, (16, 16))
    assert torch.equal(walled.zone.pixel_dead, ~seen)
    assert walled.zone.kind == ("none" if seen.all() else "receptive field")


def test_zone_of_a_chain_says_which_rows_are_read(example: Tensor) -> None:
    zone = insert_wall(build("gap linear"), "body", example, live_rows=3).zone
    assert zone.pixel_dead_rows == list(range(8, 16))
    assert "rows 0-2 of 7" in zone.why
    assert "pixel rows 0-7 and columns 0-15" in zone.why


def test_zone_where_every_pixel_is_read(example: Tensor) -> None:
    zone = insert_wall(build("gap linear"), "body", example, dead="centre:1").zone
    assert (zone.kind, zone.exists) == ("none", False)
    assert "every pixel is in the receptive field of a live cell" in zone.why


@pytest.mark.parametrize(("name", "layer"), [("residual", "blocks"), ("squeezed", "body")])
def test_zone_of_what_is_no_chain_is_none_with_a_reason(
    name: str, layer: str, example: Tensor
) -> None:
    zone = insert_wall(build(name), layer, example, live_rows=2).zone
    assert (zone.kind, zone.exists, bool(zone.pixel_dead.any())) == ("none", False, False)
    assert "receptive fields cannot be computed" in zone.why


def test_zone_where_live_cells_read_padding_alone(example: Tensor) -> None:
    model = settle(
        nn.Sequential(
            nn.ZeroPad2d((0, 0, 40, 0)), nn.Conv2d(3, 4, 3), networks.Mean(), nn.Linear(4, 5)
        )
    )
    zone = insert_wall(model, "1", example, live_rows=3).zone
    assert (zone.kind, bool(zone.pixel_dead.any())) == ("none", False)
    assert "padding alone" in zone.why


# ----------------------------------------------------------------------------- inserted_wall


@pytest.mark.parametrize(
    ("name", "layer", "module"),
    [
        ("gap linear", "body", "body"),
        ("residual", "blocks.0.conv1", "blocks.0.conv1"),
        ("dense", "grow1", "grow1"),
        ("reused", "relu#2", "relu"),
    ],
)
def test_inserted_wall_masks_the_models_own_layer_and_restores_it(
    name: str, layer: str, module: str, batch: Tensor
) -> None:
    model = build(name)
    before = model(batch)
    runs: list[Tensor] = []
    number = int(layer.partition("#")[2] or 1)
    with inserted_wall(model, layer, batch, dead="bottom:2", scale=1.5) as inside:
        assert inside is model
        hook = model.get_submodule(module).register_forward_hook(
            lambda _m, _a, output: runs.append(output.clone())
        )
        walled = [model(batch), model(batch)]
        hook.remove()
    assert torch.equal(*walled)
    assert not torch.equal(walled[0], before)
    for run, output in enumerate(runs[: len(runs) // 2], start=1):
        assert (output[:, :, -2:] == 0).all() == (run == number)
    assert torch.equal(model(batch), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_inserted_wall_equals_insert_wall_where_both_apply(example: Tensor, batch: Tensor) -> None:
    model = build("gap linear")
    walled = insert_wall(model, "body", example, dead=RANDOM)
    with inserted_wall(model, "body", example, dead=RANDOM, scale=walled.wall.scale):
        found = model(batch)
    assert torch.equal(found, walled(batch))


def test_inserted_wall_restores_after_an_exception(batch: Tensor) -> None:
    model = settle(networks.Fails())
    before = model(batch)

    def fail() -> None:
        with inserted_wall(model, "act", batch, dead="top:1"):
            model.armed = True
            model(batch)

    with pytest.raises(ArithmeticError):
        fail()
    model.armed = False
    assert torch.equal(model(batch), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_inserted_wall_counts_runs_anew_after_a_forward_pass_that_raised(batch: Tensor) -> None:
    class Stumbles(networks.Reused):
        stumble = False

        def forward(self, x: Tensor) -> Tensor:
            if self.stumble:
                self.relu(self.conv1(x))
                raise ArithmeticError
            return super().forward(x)

    model = settle(Stumbles())
    with inserted_wall(model, "relu#2", batch, dead="bottom:2"):
        wanted = model(batch)
        model.stumble = True
        with pytest.raises(ArithmeticError):
            model(batch)
        model.stumble = False
        assert torch.equal(model(batch), wanted)


@pytest.mark.parametrize(
    ("layer", "dead", "error"),
    [
        ("head.1", "bottom:1", LayerError),
        ("nowhere", "bottom:1", LayerError),
        ("body", "bottom:7", WallError),
        ("body", "below", WallError),
        ("body", torch.ones(3, 3, dtype=torch.bool), WallError),
    ],
)
def test_inserted_wall_refuses_on_entry(
    layer: str, dead: Tensor | str, error: type[Exception], batch: Tensor
) -> None:
    model = build("gap linear")
    with pytest.raises(error), inserted_wall(model, layer, batch, dead=dead):
        pytest.fail("the context was entered")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_inserted_wall_refuses_training_mode_before_running(batch: Tensor) -> None:
    model = build("chain").train()
    before = deepcopy(model.state_dict())
    with pytest.raises(ModelError), inserted_wall(model, "5", batch, dead="top:1"):
        pytest.fail("the context was entered")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("make", [networks.gap_linear, networks.max_linear])
def test_a_wall_that_hides_a_whole_side_still_lets_the_rest_decide(
    make: Callable[[], nn.Module], example: Tensor
) -> None:
    walled = insert_wall(settle(make()), "body", example, dead="bottom:6")
    assert not torch.equal(walled(images(1, seed=3)), walled(images(1, seed=4)))


@pytest.mark.parametrize("bias", [0.0, 20.0, 100.0])
def test_a_large_bias_does_not_hide_that_a_global_maximum_is_no_mean(bias: float) -> None:
    """The tolerance of the detection is relative to what the maps change, not to the logits."""
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        linear = head[2]
        linear.weight.mul_(0.01)
        linear.bias.fill_(bias)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), head).double().eval()
    example = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    assert insert_wall(model, "0", example, live_rows=4).wall.scale == 1.0
