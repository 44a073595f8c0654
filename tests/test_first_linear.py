"""A flattening head loses a channel by subtraction, and any other head is told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.first_linear import FirstLinear, first_linear
from camaudit.methods import ablation as ablation_module
from camaudit.methods import compute
from camaudit.walls import insert_wall, split_trunk
from tests.methods.drawn import network

SIZE = (12, 14)


class Permuted(nn.Module):
    """A head that reads the cells in another order."""

    def forward(self, A: Tensor) -> Tensor:
        return A.permute(0, 2, 3, 1).flatten(1)


class Squared(nn.Module):
    """A head whose features are no multiples of the cells."""

    def forward(self, A: Tensor) -> Tensor:
        return A.square().flatten(1)


class Normed(nn.Module):
    """A head in which the features of one image depend on all its cells."""

    def forward(self, A: Tensor) -> Tensor:
        return (A / A.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()).flatten(1)


def with_head(first: nn.Module) -> nn.Sequential:
    model = network(seed=4, channels=5, activation="relu", pooled=False, layers=2, size=SIZE)
    head = model.get_submodule("head")
    assert isinstance(head, nn.Sequential)
    head[0] = first.eval()
    return model  # type: ignore[return-value]


def images(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, *SIZE, generator=generator, dtype=torch.float64)


def found_in(divided: Any, A: Tensor) -> FirstLinear | None:
    return first_linear(divided, divided.read, A, divided.read(A))


def naive(read: Callable[[Tensor], Tensor], A: Tensor) -> Tensor:
    """Logits (K×C) of one image's maps (K×h×w), one head pass a channel."""
    rows = []
    for k in range(len(A)):
        without = A.clone()
        without[k] = 0
        rows.append(read(without[None])[0])
    return torch.stack(rows)


@pytest.mark.parametrize("wall", ["none", "insert", "split"])
def test_subtraction_equals_the_naive_loop(wall: str) -> None:
    model, batch = with_head(nn.Flatten()), images()
    divided = {
        "none": lambda: cut_at(model, "maps", batch[:1]),
        "insert": lambda: insert_wall(model, "maps", batch[:1], live_rows=2),
        "split": lambda: split_trunk(model, "maps", batch[:1], live_rows=3),
    }[wall]()
    A = divided.trunk(batch).detach()
    found = found_in(divided, A)
    assert found is not None
    for row in range(2):
        ours = found.logits_without(row, torch.arange(5))
        torch.testing.assert_close(ours, naive(divided.read, A[row]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("first", [Permuted(), Squared(), Normed()], ids=lambda m: type(m).__name__)
def test_other_heads_are_refused(first: nn.Module) -> None:
    divided = cut_at(with_head(first), "maps", images(1))
    assert found_in(divided, divided.trunk(images()).detach()) is None


def test_a_pooled_head_is_refused() -> None:
    model = network(seed=4, channels=5, activation="relu", pooled=True, layers=2, size=SIZE)
    divided = cut_at(model, "maps", images(1))
    assert found_in(divided, divided.trunk(images()).detach()) is None


def test_a_linear_that_runs_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 2, 3, padding=1)
            self.linear = nn.Linear(32, 32)
            self.last = nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.linear(self.linear(self.maps(x).flatten(1)).relu()))

    model = Twice().double().eval()
    divided = cut_at(model, "maps", torch.randn(1, 3, 4, 4, dtype=torch.float64))
    A = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    assert found_in(divided, A) is None


def test_a_head_is_asked_again_when_it_has_changed() -> None:
    model, batch = with_head(nn.Flatten()), images()
    divided = insert_wall(model, "maps", batch[:1], live_rows=2)
    A = divided.trunk(batch).detach()
    assert found_in(divided, A) is not None
    head = model.get_submodule("head")
    assert isinstance(head, nn.Sequential)
    with torch.no_grad():
        head[1].weight.mul_(2)
    doubled = found_in(divided, A)
    assert doubled is not None
    expected = naive(divided.read, A[1])
    torch.testing.assert_close(
        doubled.logits_without(1, torch.arange(5)), expected, rtol=1e-12, atol=1e-13
    )
    handle = head[1].register_forward_pre_hook(lambda _, args: (args[0].square(),))
    assert found_in(divided, A) is None
    handle.remove()
    assert found_in(divided, A) is not None
    head[1] = nn.Sequential(head[1], nn.Tanh()).eval()
    assert found_in(divided, A) is not None
    head[0] = Permuted()
    assert found_in(divided, A) is None


def test_what_no_fingerprint_tells_shows_in_the_logits() -> None:
    model, batch = with_head(nn.Flatten()), images()
    divided = insert_wall(model, "maps", batch[:1], live_rows=2)
    A = divided.trunk(batch).detach()
    assert found_in(divided, A) is not None
    divided.wall.scale = 3.0
    scaled = found_in(divided, A)
    assert scaled is not None
    torch.testing.assert_close(
        scaled.logits_without(1, torch.arange(5)), naive(divided.read, A[1]), rtol=1e-12, atol=1e-13
    )
    assert first_linear(divided, divided.read, A, divided.read(A) + 1) is None


def test_nothing_is_left_on_the_model() -> None:
    model = with_head(nn.Flatten())
    divided = cut_at(model, "maps", images(1))
    found = found_in(divided, divided.trunk(images()).detach())
    assert found is not None
    found.logits_without(0, torch.tensor([1, 3]))
    for module in model.modules():
        assert not module._forward_hooks
        assert "forward" not in module.__dict__


def test_an_in_place_layer_after_the_linear_changes_nothing() -> None:
    model, batch = with_head(nn.Flatten()), images()
    head = model.get_submodule("head")
    assert isinstance(head, nn.Sequential)
    head[2] = nn.ReLU(inplace=True).eval()
    divided = cut_at(model, "maps", batch[:1])
    A = divided.trunk(batch).detach()
    found = found_in(divided, A)
    assert found is not None
    expected = naive(divided.read, A[1])
    for _ in range(2):
        ours = found.logits_without(1, torch.arange(5))
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_ablationcam_is_the_same_by_every_way(
    pooled: bool, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(seed=9, channels=6, activation="gelu", pooled=pooled, layers=layers, size=SIZE)
    captured = capture(insert_wall(model, "maps", images(1), live_rows=2), images())
    chosen = compute("ablationcam", captured)
    monkeypatch.setattr(ablation_module, "_linear_drops", lambda _: None)
    monkeypatch.setattr(ablation_module, "_flat_head", lambda _: None)
    torch.testing.assert_close(chosen, compute("ablationcam", captured), rtol=1e-10, atol=1e-13)
    assert bool((chosen > 0).any())
