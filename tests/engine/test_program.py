"""Calls run on as many images as stay in the cache, and whatever their number is on all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camaudit.cut import cut_at
from camaudit.engine import program
from camaudit.engine.convolution import FusedConv
from camaudit.engine.folded import folded_model
from tests.engine.folding import Skip, assert_near
from tests.networks import images, settle


class Narrowing(nn.Module):
    """Maps of 8×8, 4×4 and 4×4 cells, and rows as many as there are images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.block = nn.ReLU()
        self.fc = nn.Linear(8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        count = x.size(0)
        x = self.conv2(self.conv1(x).relu()).relu()
        return self.fc(self.block(self.conv3(x)).view(count, -1))


#: Bytes of what the three convolutions read and write for one image.
LARGE, MIDDLE, SMALL = 4 * (3 * 256 + 8 * 64), 4 * (8 * 64 + 8 * 16), 4 * (8 * 16 + 8 * 16)


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[FusedConv, list[int]]:
    """How many images every convolution is called with."""
    counts: dict[FusedConv, list[int]] = {}
    call = FusedConv.__call__

    def noted(self: FusedConv, x: Tensor, other: Tensor | None = None) -> Tensor:
        counts.setdefault(self, []).append(len(x))
        return call(self, x, other)

    monkeypatch.setattr(FusedConv, "__call__", noted)
    return counts


def run(
    model: nn.Module, cached: int, batch: Tensor, monkeypatch: pytest.MonkeyPatch
) -> list[list[int]]:
    """How many images every convolution gets, in order, where so many bytes are cached."""
    monkeypatch.setattr(program, "_CACHED", cached)
    made = folded_model(cut_at(model, "block", batch), batch[:1])
    assert made is not None
    counts = counted(monkeypatch)
    with torch.no_grad():
        assert made.current(batch)
        assert_near(made(batch), model(batch))
    return list(counts.values())


@pytest.mark.parametrize(
    ("cached", "expected"),
    [
        (1, [[1] * 7, [1] * 7, [1] * 7]),
        (LARGE, [[1] * 7, [2, 2, 2, 1], [4, 3]]),
        (2 * MIDDLE - 1, [[1] * 7, [1] * 7, [4, 3]]),
        (2 * LARGE - 1, [[1] * 7, [2, 2, 2, 1], [7]]),
        (3 * LARGE, [[2, 2, 2, 1], [4, 3], [7]]),
        (4 * LARGE, [[4, 3], [7], [7]]),
        (2**23, [[7], [7], [7]]),
    ],
)
def test_large_maps_in_small_blocks(
    cached: int, expected: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (LARGE // MIDDLE, LARGE // SMALL) == (2, 5)
    model = settle(Narrowing())
    assert run(model, cached, images(7, seed=3), monkeypatch) == expected


def test_what_lies_beside_a_skip_connection_runs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third convolution, with the map that it adds, is larger than the second."""
    first, second, third = run(settle(Skip(nn.ReLU())), 8192, images(5), monkeypatch)
    assert first == second == third == [1] * 5
