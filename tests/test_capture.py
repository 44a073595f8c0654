"""The gradient is autograd's own, it stops at the target layer, and nothing else is touched."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import DegenerateModelError, NotApplicableError, UsageError
from camaudit.walls.insert import insert_wall
from tests import networks
from tests.networks import CUTTABLE, build, images, settle

SITES = [(name, layer) for name, (_, layers) in CUTTABLE.items() for layer in layers]
FIELDS = ("images", "activations", "gradients", "logits", "targets", "scores")


def autograd_reference(
    model: nn.Module, layer: str, image: Tensor, target: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, ∂s_c/∂A and logits of one image by backpropagation through the whole model."""
    base, _, number = layer.partition("#")
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        output.requires_grad_(True)
        output.retain_grad()
        kept.append(output)
        return output.clone()  # so that an in-place layer after it does not write into it

    handle = model.get_submodule(base).register_forward_hook(keep)
    try:
        logits = model(image.clone())
    finally:
        handle.remove()
    A = kept[int(number or 1) - 1]
    (G,) = torch.autograd.grad(logits[0, target], A)
    return A.detach(), G, logits.detach()


@pytest.mark.parametrize(("name", "layer"), SITES)
def test_gradients_equal_autograd_through_the_whole_model(name: str, layer: str) -> None:
    model = build(name).double()
    batch = images(3).double()
    targets = torch.tensor([4, 0, 2])
    captured = capture(cut_at(model, layer, batch), batch, targets=targets)
    for n in range(3):
        A, G, logits = autograd_reference(model, layer, batch[n : n + 1], int(targets[n]))
        torch.testing.assert_close(captured.activations[n : n + 1], A, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(captured.gradients[n : n + 1], G, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(captured.logits[n : n + 1], logits, rtol=1e-12, atol=1e-12)
        assert captured.scores[n] == captured.logits[n, targets[n]]
    assert captured.gradients.abs().max() > 0


@pytest.mark.parametrize(("name", "layer"), SITES)
def test_capture_of_a_batch_equals_captures_one_by_one(name: str, layer: str) -> None:
    cut = cut_at(build(name).double(), layer, images(1).double())
    batch = images(4).double()
    together = capture(cut, batch)
    for n in range(4):
        alone = capture(cut, batch[n : n + 1])
        for field in FIELDS:
            found, wanted = getattr(together, field)[n : n + 1], getattr(alone, field)
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CUTTABLE)
def test_images_and_parameters_stay_as_they_are(name: str) -> None:
    model = build(name)
    batch = images(2)
    kept = batch.clone()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    captured = capture(cut_at(model, CUTTABLE[name][1][-1], batch), batch)
    captured.head(captured.activations)
    captured.model(batch)
    assert torch.equal(batch, kept)
    assert captured.images is batch
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("field", FIELDS)
def test_nothing_in_a_capture_hangs_on_a_graph(field: str) -> None:
    captured = capture(cut_at(build("inplace head"), "body", images(1)), images(2))
    assert not getattr(captured, field).requires_grad


class NoBackward(torch.autograd.Function):
    """Identity whose backward pass must never run."""

    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: object, *_: Tensor) -> Tensor:
        raise AssertionError("differentiated below the target layer")


class Guarded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.act = nn.ReLU()
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(NoBackward.apply(self.conv(x))).mean(dim=(2, 3)))


def test_nothing_below_the_target_layer_is_differentiated() -> None:
    model = settle(Guarded())
    batch = images(2).requires_grad_(True)
    with pytest.raises(AssertionError, match="below the target layer"):
        model(batch).sum().backward()
    cut = cut_at(model, "act", batch)
    assert capture(cut, batch).gradients.abs().max() > 0
    assert capture(insert_wall(model, "act", batch, live_rows=4), batch).gradients.any()
    assert batch.grad is None


def test_capture_works_inside_no_grad() -> None:
    cut = cut_at(build("gap linear"), "body", images(1))
    outside = capture(cut, images(2))
    with torch.no_grad():
        inside = capture(cut, images(2))
    assert torch.equal(inside.gradients, outside.gradients)


def test_head_and_model_can_be_differentiated() -> None:
    captured = capture(cut_at(build("gap linear"), "body", images(1)), images(2))
    A = captured.activations.clone().requires_grad_(True)
    x = images(2).requires_grad_(True)
    assert torch.autograd.grad(captured.head(A).sum(), A)[0].any()
    assert torch.autograd.grad(captured.model(x).sum(), x)[0].any()
    assert torch.equal(captured.head(A), captured.logits)
    assert torch.equal(captured.model(images(2)), captured.logits)


# ----------------------------------------------------------------------------------- targets


def test_default_target_is_the_top_class() -> None:
    model = build("flatten linear")
    captured = capture(cut_at(model, "body", images(1)), images(6))
    assert torch.equal(captured.targets, model(images(6)).argmax(dim=1))
    assert captured.targets.dtype == torch.int64
    assert len(set(captured.targets.tolist())) > 1
    assert torch.equal(captured.scores, captured.logits.amax(dim=1))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_explicit_targets_are_taken_as_they_are(dtype: torch.dtype) -> None:
    cut = cut_at(build("gap linear"), "body", images(1))
    captured = capture(cut, images(3), targets=torch.tensor([3, 3, 1], dtype=dtype))
    assert captured.targets.tolist() == [3, 3, 1]
    assert torch.equal(captured.scores, captured.logits[torch.arange(3), [3, 3, 1]])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 1]), r"one target class an image, 3 in all; got shape \(2,\)"),
        (torch.tensor(1), r"got shape \(\)"),
        (torch.zeros(3, 1, dtype=torch.int64), r"got shape \(3, 1\)"),
        (torch.tensor([0, 1, 5]), r"must be 0 to 4; got \[0, 1, 5\]"),
        (torch.tensor([0, -1, 2]), r"must be 0 to 4"),
        (torch.tensor([0.0, 1.5, 2.0]), r"must be integers; got torch\.float32"),
        (torch.tensor([True, False, True]), r"must be integers; got torch\.bool"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets: Tensor, message: str) -> None:
    cut = cut_at(build("gap linear"), "body", images(1))
    with pytest.raises(UsageError, match=message):
        capture(cut, images(3), targets=targets)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_degenerate(value: float) -> None:
    cut = cut_at(build("gap linear"), "body", images(1))
    batch = images(4)
    batch[2] = value
    with pytest.raises(DegenerateModelError, match=r"for 1 of 4 image\(s\) \(rows \[2\]"):
        capture(cut, batch)
    with pytest.raises(DegenerateModelError):
        capture(cut, batch, targets=torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_single_logit_that_is_not_finite_is_degenerate(value: float) -> None:
    def spoil(logits: Tensor) -> Tensor:
        spoilt = torch.zeros_like(logits)
        spoilt[-1, 3] = value
        return logits + spoilt

    cut = cut_at(settle(networks.Returning(spoil)), "inner.body", images(1))
    with pytest.raises(DegenerateModelError, match=r"for 1 of 3 image\(s\) \(rows \[2\]"):
        capture(cut, images(3))


# ------------------------------------------------------------------------------- the record


def test_rows_slices_every_field_and_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = capture(cut_at(build("gap linear"), "body", images(1)), images(5), batch_size=3)
    monkeypatch.setattr(nn.Module, "__call__", None)
    part = captured.rows(1, 4)
    for field in FIELDS:
        assert torch.equal(getattr(part, field), getattr(captured, field)[1:4])
    assert (len(captured), len(part), part.batch_size) == (5, 3, 3)
    assert part.head is captured.head
    assert part.model is captured.model


def test_size_is_height_then_width() -> None:
    captured = capture(
        cut_at(build("gap linear"), "body", images(1, (16, 20))), images(2, (16, 20))
    )
    assert captured.size == (16, 20)


def test_capture_is_frozen() -> None:
    captured: Capture = capture(cut_at(build("gap linear"), "body", images(1)), images(1))
    with pytest.raises(FrozenInstanceError):
        captured.scores = captured.logits  # type: ignore[misc]


def test_linear_weight_is_asked_of_the_head() -> None:
    model = build("gap linear")
    captured = capture(cut_at(model, "body", images(1)), images(2))
    assert torch.equal(captured.linear_weight(), model.head[1].weight)
    refused = capture(cut_at(build("max linear"), "body", images(1)), images(2))
    with pytest.raises(NotApplicableError):
        refused.linear_weight()


def test_gap_linear_gradient_is_the_class_weight_over_all_cells() -> None:
    model = build("gap linear").double()
    captured = capture(cut_at(model, "body", images(1).double()), images(3).double())
    wanted = model.head[1].weight[captured.targets] / 49
    found = captured.gradients
    torch.testing.assert_close(found, wanted[:, :, None, None].expand_as(found))


def test_walled_gradient_is_exactly_zero_on_dead_cells_while_they_are_active() -> None:
    walled = insert_wall(settle(networks.gap_relu_mlp()), "body", images(1), live_rows=4)
    captured = capture(walled, images(3))
    assert torch.equal(captured.gradients[:, :, 4:], torch.zeros(3, 6, 3, 7))
    assert captured.gradients[:, :, :4].abs().min() > 0
    assert captured.activations[:, :, 4:].abs().min() > 0


def test_capture_works_inside_inference_mode() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    model = model.double().eval()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    cut = cut_at(model, "0", images[:1])
    plain = capture(cut, images)
    with torch.inference_mode():
        inside = capture(cut, images.clone())
    assert torch.equal(inside.gradients, plain.gradients)
    assert torch.equal(inside.logits, plain.logits)
