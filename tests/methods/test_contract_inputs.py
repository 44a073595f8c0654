"""What every registered method keeps, whatever it is given: layouts, scores, failures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError
from camaudit.methods import METHODS, compute, method_names
from camaudit.objective import contrastive, counterfactual, custom
from camaudit.walls import insert_wall
from tests.methods.drawn import network
from tests.methods.test_contract import cheap, make

NAMES = method_names(tokens=False)
EVERY = pytest.mark.parametrize("name", NAMES)
IGNORES_SCORE = {name for name in NAMES if METHODS[name].info.family == "control"} | {
    "eigencam", "kpcacam", "fem", "lafam",
}  # fmt: skip
NEEDS_LINEAR_SCORE = {"cam", "finercam"}  # refuse a custom function, which need not be linear


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@EVERY
def test_memory_layout_does_not_change_the_map(name: str) -> None:
    images = make().images
    last = make(images=images.to(memory_format=torch.channels_last))
    assert last.images.is_contiguous(memory_format=torch.channels_last)
    close(compute(cheap(name), last), compute(cheap(name), make(images=images)))


@EVERY
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_gives_the_same_map(name: str) -> None:
    model = network(seed=3, channels=5, activation="relu", pooled=True, layers=1, size=(8, 10))
    images = make().images.cuda()
    there = capture(cut_at(model.cuda(), "maps", images[:1]), images, batch_size=2)
    close(compute(cheap(name), there).cpu(), compute(cheap(name), make()))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_type_and_most_of_the_map(name: str, dtype: torch.dtype) -> None:
    images = make().images.to(dtype).double()  # the same pixels in both precisions
    exact = compute(cheap(name), make(images=images))
    rounded = compute(cheap(name), make(images=images, dtype=dtype))
    assert rounded.dtype == dtype
    assert bool(torch.isfinite(rounded).all())
    for ours, wanted in zip(rounded.double(), exact, strict=True):
        overlap = (ours * wanted).sum() / (ours.norm() * wanted.norm())
        assert float(overlap) > 0.97


class Rows(nn.Module):
    """A flattening that does not take a batch of no images."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.reshape(len(maps), -1)


@EVERY
def test_a_layer_without_activity_gives_a_finite_map(name: str) -> None:
    model = network(seed=3, channels=5, activation="relu", pooled=True, layers=2, size=(8, 10))
    model.get_submodule("head")[1] = Rows().eval()  # type: ignore[operator]
    conv = model.get_submodule("maps.0")
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        assert conv.bias is not None
        conv.bias.fill_(-1e3)
    images = make().images
    captured = capture(cut_at(model, "maps", images[:1]), images, batch_size=2)
    assert not captured.activations.any()
    maps = compute(cheap(name), captured) if name != "cam" else torch.zeros(1)
    assert bool(torch.isfinite(maps).all())
    if METHODS[name].info.family != "control" and name != "rise":
        assert not maps.any()


@EVERY
def test_negative_logits_give_finite_maps(name: str) -> None:
    model = network(seed=3, channels=5, activation="relu", pooled=True, layers=1, size=(8, 10))
    linear = model.get_submodule("head.2")
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.bias.fill_(-50.0)
    images = make().images
    captured = capture(cut_at(model, "maps", images[:1]), images, batch_size=2)
    assert bool((captured.scores < 0).all())
    maps = compute(cheap(name), captured)
    assert bool(torch.isfinite(maps).all())
    assert bool((maps >= 0).all())


@EVERY
def test_a_custom_score_that_picks_the_class_changes_nothing(name: str) -> None:
    images = make().images
    divided = make().divided
    two = torch.tensor([2, 2, 2])
    plain = capture(divided, images, targets=two, batch_size=2)
    picked = capture(divided, images, objective=custom(lambda logits: logits[:, 2]), batch_size=2)
    if name in NEEDS_LINEAR_SCORE:
        with pytest.raises(NotApplicableError):
            compute(name, picked)
        return
    close(compute(cheap(name), picked), compute(cheap(name), plain))


@EVERY
def test_a_contrast_of_strength_0_changes_nothing(name: str) -> None:
    captured = make()
    weakened = captured.explaining(contrastive(2, strength=0.0))
    close(compute(cheap(name), weakened), compute(cheap(name), captured))


@EVERY
@pytest.mark.parametrize(
    "objective", [counterfactual(), contrastive(1)], ids=["counterfactual", "contrastive"]
)
def test_another_score_gives_another_map(name: str, objective: object) -> None:
    captured = make(channels=8)
    other = captured.explaining(objective)  # type: ignore[arg-type]
    afresh = capture(captured.divided, captured.images, objective=objective, batch_size=2)  # type: ignore[arg-type]
    maps = compute(cheap(name), other)
    close(maps, compute(cheap(name), afresh))
    assert bool(torch.isfinite(maps).all())
    assert bool((maps >= 0).all())
    same = torch.allclose(maps, compute(cheap(name), captured), rtol=1e-6, atol=1e-9)
    if name == "finercam":
        assert same  # it is a contrast of its own
    elif name in {"segeigencam", "fullgrad"} and objective.sign < 0:  # type: ignore[attr-defined]
        assert same  # they read the gradient's magnitude alone
    else:
        assert same == (name in IGNORES_SCORE)


class BrokenError(RuntimeError):
    """A failure inside the network."""


@EVERY
@pytest.mark.parametrize("after", [0, 1])
def test_a_network_that_fails_is_left_as_it_was(name: str, after: int) -> None:
    model = network(seed=1, channels=4, activation="relu", pooled=False, layers=2, size=(8, 8))
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    captured = capture(insert_wall(model, "maps", images[:1], live_rows=2), images, batch_size=1)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    failing = replace(
        captured, head=_failing(captured.head, after), model=_failing(captured.model, after)
    )
    random_state = torch.random.get_rng_state()
    with contextlib.suppress(BrokenError, NotApplicableError):
        compute(cheap(name), failing)
    assert torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    for module in model.modules():
        assert not module.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert "forward" not in module.__dict__
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def _failing(function: Callable[[Tensor], Tensor], after: int) -> Callable[[Tensor], Tensor]:
    calls = 0

    def failing(tensor: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > after:
            raise BrokenError("the network fails")
        return function(tensor)

    return failing


@EVERY
def test_a_method_works_inside_inference_mode(name: str) -> None:
    captured = make()
    expected = compute(cheap(name), captured)
    with torch.inference_mode():
        close(compute(cheap(name), captured), expected)


@EVERY
def test_no_forward_takes_more_images_than_the_batch_size(name: str) -> None:
    captured = make(channels=7)
    largest = 0

    def counted(images: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, len(images))
        return captured.divided.logits(images)

    one: Capture = replace(captured.rows(0, 1), model=counted, batch_size=3)
    compute(cheap(name), one)
    assert largest <= 3
