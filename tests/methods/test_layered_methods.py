"""Poly-CAM, RefineCAM and FullGrad equal their literal references, also behind walls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError, UsageError
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.methods.full_gradient import fullgrad
from camaudit.methods.layered import polycam, refinecam
from camaudit.objective import contrastive, counterfactual, custom
from camaudit.walls import WalledModel, insert_wall, split_trunk
from camaudit.walls.split import SplitTrunk
from tests import networks
from tests.methods.staged import Staged, staged
from tests.networks import build, images, settle
from tests.references.cams import _minmax_grid, _upsample_grid, _volume
from tests.references.layered_cams import LAYERED_REFERENCES, full_gradient
from tests.test_cut import Snapshot


def assert_close(found: Tensor, expected: Tensor, *, rounding: float = 1e-9) -> None:
    """Equal up to `rounding` of the largest value."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding * scale + 1e-300)


def stages_for(captured: Capture, row: int, layers: int) -> list[dict[str, Tensor]]:
    stages = [captured.at(name) for name in captured.stages(layers)]
    return [
        {"activations": stage.activations[row], "gradients": stage.gradients[row]}
        for stage in stages
    ]


def well_conditioned(stages: list[dict[str, Tensor]]) -> bool:
    """No local mean so near to 0 that rounding decides what it is divided by."""
    for stage, deeper in pairwise(stages):
        A = stage["activations"]
        cells = tuple(deeper["activations"].shape[-2:])
        means = upsample(nn.functional.adaptive_avg_pool2d(A, cells), tuple(A.shape[-2:]))
        small = means.abs() < 1e-6 * A.abs().amax(dim=(1, 2), keepdim=True)
        if bool((small & (means != 0)).any()):
            return False
    return True


# ------------------------------------------------------------------------------------ Poly-CAM


@pytest.mark.parametrize("form", ["±", "+", "-"])
@settings(max_examples=8)
@given(case=staged())
def test_polycam_equals_its_reference(form: str, case: Staged) -> None:
    captured = case.capture()
    ours = polycam(captured, layers=3, form=form)  # type: ignore[arg-type]
    for row in range(2):
        stages = stages_for(captured, row, 3)
        assume(well_conditioned(stages))
        expected = LAYERED_REFERENCES["polycam"](
            image=captured.images[row],
            target=int(captured.targets[row]),
            model=captured.model,
            stages=stages,
            form=form,
        )
        assert ours[row].shape == expected.shape
        if not expected.any() or float(expected.max()) > 1e-9:
            assert_close(ours[row] * (ours[row] > 1e-12), expected)


def stack(*, seed: int = 0) -> nn.Module:
    """Three resolutions (16, 8 and 4 cells a side), pooled Linear head."""
    return settle(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.ReLU(),
            networks.Mean(),
            nn.Linear(5, networks.CLASSES),
        ),
        seed,
    ).double()


def stacked(wall: str = "none", **options: object) -> Capture:
    model, batch = stack(), images(3).double()
    divide = {"none": cut_at, "insert": insert_wall, "split": split_trunk}[wall]
    return capture(divide(model, "7", batch), batch, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("wall", ["none", "insert", "split"])
def test_layers_say_how_far_polycam_goes_up(wall: str) -> None:
    captured = stacked(wall)
    for layers, cells in ((1, 4), (2, 8), (3, 16), (9, 16)):
        assert polycam(captured, layers=layers).shape == (3, cells, cells)
    assert torch.equal(polycam(captured), polycam(captured, layers=2))


def test_polycam_uses_the_score_of_the_capture_on_probabilities() -> None:
    captured = stacked()
    for objective in (contrastive(2), counterfactual(), custom(lambda logits: logits[:, 1])):
        other = captured.explaining(objective)
        found = polycam(other, layers=2)
        for row in range(3):
            expected = LAYERED_REFERENCES["polycam"](
                image=other.images[row],
                target=int(other.targets[row]),
                model=other.model,
                stages=stages_for(other, row, 2),
                score=lambda logits, row=row, other=other: other.score(logits, row),
            )
            assert_close(found[row], expected)


def test_polycam_is_empty_where_its_deepest_map_is() -> None:
    captured = stacked()
    nothing = replace(captured, activations=torch.zeros_like(captured.activations))
    assert not polycam(nothing, layers=3).any()


@pytest.mark.parametrize("method", ["polycam", "refinecam"])
def test_an_image_with_a_broken_stage_is_undefined_and_the_others_are_not(method: str) -> None:
    captured = stacked()
    spoilt = captured.activations.clone()
    spoilt[1, 0, 0, 0] = torch.nan
    maps = compute(method, replace(captured, activations=spoilt))
    assert maps[1].isnan().all()
    kept = torch.tensor([0, 2])
    torch.testing.assert_close(maps[kept], compute(method, captured)[kept], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("method", ["polycam", "refinecam", "fullgrad"])
@pytest.mark.parametrize("wall", ["none", "insert", "split"])
def test_maps_do_not_depend_on_the_batch_or_the_chunks(method: str, wall: str) -> None:
    captured = stacked(wall, batch_size=16)
    maps = compute(method, captured)
    assert bool((maps >= 0).all())
    assert bool((maps.amax(dim=(1, 2)) > 0).any())
    for row in range(3):
        alone = compute(method, replace(captured, batch_size=3).rows(row, row + 1))
        torch.testing.assert_close(alone[0], maps[row], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("options", [{"layers": 0}, {"layers": 1.0}, {"form": "+-"}])
def test_polycam_refuses_other_options(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} must be"):
        polycam(stacked(), **options)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------- RefineCAM


@pytest.mark.parametrize("base", ["gradcam++", "gradcam", "layercam"])
@settings(max_examples=8)
@given(case=staged())
def test_refinecam_equals_its_reference(base: str, case: Staged) -> None:
    captured = case.capture()
    ours = refinecam(captured, base=base)
    for row in range(2):
        expected = LAYERED_REFERENCES["refinecam"](
            image=captured.images[row], stages=stages_for(captured, row, 3), base=base
        )
        assume(bool(torch.isfinite(expected).all()))
        torch.testing.assert_close(ours[row], expected, rtol=1e-7, atol=1e-9)


def test_refinecam_of_one_layer_is_its_base_divided_by_its_maximum() -> None:
    captured = stacked()
    raised = upsample(compute("gradcam++", captured), (16, 16))
    expected = raised / raised.amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(refinecam(captured, layers=1), expected)


def test_refinecam_is_all_zero_where_a_stage_is() -> None:
    captured = stacked()
    nothing = replace(captured, gradients=-captured.gradients.abs())
    assert (compute("gradcam++", captured.at("4")) > 0).any()
    assert not refinecam(nothing).any()


def test_refinecam_takes_gradient_methods_alone() -> None:
    captured = stacked()
    with pytest.raises(UsageError, match="base must be a gradient method; 'eigencam' is a decomp"):
        refinecam(captured, base="eigencam")
    with pytest.raises(UsageError, match="did you mean gradcam"):
        refinecam(captured, base="gradcan")
    with pytest.raises(UsageError, match="layers must be an integer of at least 1; got 0"):
        refinecam(captured, layers=0)


@pytest.mark.parametrize("method", ["polycam", "refinecam", "fullgrad"])
def test_a_divided_model_without_layers_is_not_applicable(method: str) -> None:
    captured = stacked()
    plain = captured.divided
    bare = SimpleNamespace(trunk=plain.trunk, read=plain.read, logits=plain.logits)
    with pytest.raises(NotApplicableError):
        compute(method, replace(captured, divided=bare))


@pytest.mark.parametrize("method", ["polycam", "refinecam"])
def test_scattered_live_cells_of_a_split_have_no_earlier_layers(method: str) -> None:
    batch = images(2).double()
    dead = torch.eye(4, dtype=torch.bool)
    captured = capture(split_trunk(stack(), "7", batch, dead=dead), batch)
    with pytest.raises(NotApplicableError, match="no rectangle"):
        compute(method, captured)


# ------------------------------------------------------------------------------------ FullGrad


class Crop(nn.Module):
    """The part of the image that a split trunk's live cells are computed from."""

    def __init__(self, split: SplitTrunk) -> None:
        super().__init__()
        self.seen_part = split.seen_part

    def forward(self, x: Tensor) -> Tensor:
        return self.seen_part(x)


class Placed(nn.Module):
    """Live cells in a map of zeros."""

    def __init__(self, split: SplitTrunk) -> None:
        super().__init__()
        self.placed = split.placed

    def forward(self, x: Tensor) -> Tensor:
        return self.placed(x)


def unrolled(case: Staged) -> list[nn.Module]:
    """The divided model as a chain of layers, its wall among them."""
    trunk, head = case.layers[: case.cells], case.layers[case.cells :]
    if not isinstance(case.divided, WalledModel):
        return [*trunk, *head]
    split = case.divided.trunk
    if isinstance(split, SplitTrunk):
        trunk = [Crop(split), *trunk, Placed(split)]
    return [*trunk, case.divided.wall, *head]


def spread(m: Tensor, size: tuple[int, int]) -> Tensor:
    """Σ_k Up(minmax(|m_k|)) of m (K×h×w), literally."""
    total = torch.zeros(size, dtype=torch.float64)
    for grid in _volume(m.abs()):
        raised = _upsample_grid(_minmax_grid(grid), size, False)
        total += torch.tensor(raised, dtype=torch.float64)
    return total


def constant_to_rounding(parts: Sequence[Tensor]) -> bool:
    """Whether a channel varies, but so little that rounding may be the cause."""
    for part in parts:
        high, low = part.abs().amax(dim=(1, 2)), part.abs().amin(dim=(1, 2))
        if bool(((high > low) & (high - low < 1e-9 * high)).any()):
            return True
    return False


@settings(max_examples=20)
@given(case=staged(walls=("none", "insert")))
def test_fullgrad_equals_its_reference(case: Staged) -> None:
    captured = case.capture()
    ours = fullgrad(captured)
    layers = unrolled(case)
    for row in range(2):
        target = int(captured.targets[row])
        parts = full_gradient(captured.images[row], layers, lambda z, c=target: z[:, c])
        assume(not constant_to_rounding(parts.spatial))
        expected = LAYERED_REFERENCES["fullgrad"](
            image=captured.images[row], target=target, layers=layers
        )
        torch.testing.assert_close(ours[row], expected, rtol=1e-8, atol=1e-9)


@settings(max_examples=15)
@given(case=staged(walls=("split",)))
def test_fullgrad_of_a_split_lies_in_its_crop_up_to_the_wall(case: Staged) -> None:
    captured = case.capture()
    ours = fullgrad(captured)
    assert isinstance(case.divided, WalledModel)
    box = case.divided.frame
    assert box is not None
    top, left, height, width = box
    biased = [_biased(layer) for layer in case.layers]
    in_trunk = sum(biased[: case.cells])
    for row in range(2):
        target = int(captured.targets[row])
        parts = full_gradient(captured.images[row], unrolled(case), lambda z, c=target: z[:, c])
        assume(not constant_to_rounding(parts.spatial))
        expected = spread(parts.pixels, captured.size)
        for number, part in enumerate(parts.spatial):
            if number < in_trunk:
                live = spread(part, (height, width))
                expected[top : top + height, left : left + width] += live
            else:
                expected += spread(part, captured.size)
        torch.testing.assert_close(ours[row], expected, rtol=1e-8, atol=1e-9)


def _biased(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.bias is not None
    return isinstance(layer, nn.BatchNorm2d)


def by_hooks(model: nn.Module, image: Tensor, target: int) -> Tensor:
    """FullGrad of any model on one image, by hooks on the whole model."""
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, _args: object, output: Tensor) -> Tensor:
        outputs.append((module, output))
        return output.clone()

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    handles = [m.register_forward_hook(keep) for m in model.modules() if isinstance(m, kinds)]
    x = image[None].clone().requires_grad_(True)
    logits = model(x.clone())
    for handle in handles:
        handle.remove()
    leaves = [x, *(output for _, output in outputs)]
    to_x, *rest = torch.autograd.grad(logits[0, target], leaves, allow_unused=True)
    total = spread((x.detach() * to_x)[0], tuple(image.shape[1:]))
    for (module, _), gradient in zip(outputs, rest, strict=True):
        bias = module.bias
        if isinstance(module, nn.BatchNorm2d):
            slope = module.weight / torch.sqrt(module.running_var + module.eps)
            bias = module.bias - slope * module.running_mean
        if bias is not None and gradient is not None:
            part = bias.detach()[:, None, None] * gradient[0]
            total += spread(part, tuple(image.shape[1:]))
    return total


SITES = [
    ("residual", "stem"), ("residual", "blocks.0"), ("dense", "norm"), ("dense", "stem"),
    ("reused", "conv3"), ("reused", "relu#3"), ("squeezed", "body.0"), ("conv relu head", "body.2"),
    ("conv head", "head.0"), ("inplace head", "body"), ("chain", "1"), ("chain", "0"),
    ("writes input", "conv"), ("batch reshape", "conv"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer"), SITES)
def test_every_layer_with_a_bias_counts_once_wherever_the_cut_is(name: str, layer: str) -> None:
    """The head replays the model: what it answers from memory must not count again."""
    model = build(name).double()
    batch = images(2).double()
    captured = capture(cut_at(model, layer, batch), batch)
    snapshot = Snapshot(model)
    found = fullgrad(captured)
    snapshot.check()
    for row in range(2):
        expected = by_hooks(model, batch[row], int(captured.targets[row]))
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("wall", ["none", "insert", "split"])
def test_fullgrad_does_not_depend_on_the_target_layer(wall: str) -> None:
    captured = stacked(wall)
    for layer in captured.stages():
        torch.testing.assert_close(fullgrad(captured.at(layer)), fullgrad(captured))


def test_fullgrad_of_scattered_live_cells_reads_the_whole_image() -> None:
    batch = images(2).double()
    walled = split_trunk(stack(), "7", batch, dead=torch.eye(4, dtype=torch.bool))
    assert walled.frame is None
    maps = fullgrad(capture(walled, batch))
    hidden = capture(insert_wall(stack(), "7", batch, dead=torch.eye(4, dtype=torch.bool)),
                     torch.where(walled.trunk.seen, batch, 0))  # fmt: skip
    torch.testing.assert_close(maps, fullgrad(hidden))


def test_pixels_outside_the_crop_get_nothing_but_what_the_head_spreads() -> None:
    captured = stacked("split")
    assert isinstance(captured.divided, WalledModel)
    maps = fullgrad(captured)
    dead = captured.divided.zone.pixel_dead
    assert dead.any()
    assert not maps[:, dead].any()
    assert (maps[:, ~dead] > 0).any()


def test_fullgrad_follows_the_objective() -> None:
    captured = stacked()
    other = captured.explaining(custom(lambda logits: 3 * logits[:, 1] - logits[:, 0]))
    swapped = captured.explaining(counterfactual())
    assert not torch.allclose(fullgrad(other), fullgrad(captured))
    torch.testing.assert_close(fullgrad(swapped), fullgrad(captured))  # ψ takes the magnitude


class Normed(nn.Module):
    """A convolution without a bias, then the given BatchNorm."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = norm
        self.act = nn.ReLU()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.norm(self.conv(x))).mean(dim=(2, 3)))


def test_batch_norm_without_weights_has_its_implicit_bias() -> None:
    model, batch = settle(Normed(nn.BatchNorm2d(4, affine=False))).double(), images(2).double()
    captured = capture(cut_at(model, "act", batch[:1]), batch)
    found = fullgrad(captured)
    layers = [model.conv, model.norm, nn.ReLU(), networks.Mean(), model.fc]
    for row in range(2):
        expected = LAYERED_REFERENCES["fullgrad"](
            image=batch[row], target=int(captured.targets[row]), layers=layers
        )
        torch.testing.assert_close(found[row], expected)


def test_batch_norm_without_statistics_has_no_bias_of_its_own() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    model, batch = settle(Normed(norm)).double(), images(2).double()
    captured = capture(cut_at(model, "act", batch), batch)
    x = batch.clone().requires_grad_(True)
    scores = captured.objective(model(x), torch.arange(2))
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    found = fullgrad(captured)
    for row in range(2):
        torch.testing.assert_close(found[row], spread((batch * gradient)[row], (16, 16)))


class Tiled(nn.Module):
    """Runs its convolution on the two halves of every image, as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.join = nn.Identity()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=3)
        y = self.conv(torch.cat([left, right])).relu()
        return self.fc(self.join(torch.cat(y.chunk(2), dim=1)).mean(dim=(2, 3)))


def test_a_layer_that_mixes_the_batch_is_not_applicable_and_leaves_no_trace() -> None:
    model, batch = settle(Tiled()).double(), images(2).double()
    captured = capture(cut_at(model, "join", batch[:1]), batch)
    snapshot = Snapshot(model)
    with pytest.raises(NotApplicableError, match="belongs to no cell of one image"):
        fullgrad(captured)
    snapshot.check()


@pytest.mark.parametrize("layer", ["act", "conv"])
def test_fullgrad_leaves_no_trace_after_a_failure(layer: str) -> None:
    model, batch = settle(networks.Fails()), images(2)
    model.fc.weight.requires_grad_(False)
    captured = capture(cut_at(model, layer, batch), batch)
    snapshot = Snapshot(model)
    model.armed = True
    with pytest.raises(ArithmeticError, match="armed"):
        fullgrad(captured)
    snapshot.check()


@pytest.mark.parametrize("build_wall", [insert_wall, split_trunk])
@pytest.mark.parametrize("method", ["polycam", "refinecam", "fullgrad"])
def test_methods_leave_the_model_as_it_was(
    method: str, build_wall: Callable[..., WalledModel]
) -> None:
    model, batch = stack(), images(2).double()
    model.get_parameter("0.bias").requires_grad_(False)
    captured = capture(build_wall(model, "7", batch), batch)
    snapshot = Snapshot(model)
    compute(method, captured)
    snapshot.check()
