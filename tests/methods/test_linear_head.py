"""The head that CAM needs: a spatial mean times a factor above 0, then one Linear."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camaudit.cut import Cut, cut_at
from camaudit.errors import NotApplicableError
from camaudit.linear_head import pooled_linear_weight


class Pooled(nn.Module):
    """Three maps, their sum over cells times `factor`, and one Linear."""

    def __init__(self, factor: float, *, power: int = 1) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.trunk = nn.Conv2d(2, 3, 2, dtype=torch.float64)
        self.head = nn.Linear(3, 4, dtype=torch.float64)
        self.factor = factor
        self.power = power

    def forward(self, images: Tensor) -> Tensor:
        maps = self.trunk(images) ** self.power
        logits: Tensor = self.head(self.factor * maps.sum(dim=(2, 3)))
        return logits


def _cut(network: Pooled) -> tuple[Cut, Tensor]:
    images = torch.rand(2, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cut = cut_at(network.eval(), "trunk", images[:1])
    return cut, cut.trunk(images)


@pytest.mark.parametrize("factor", [1 / 12, 1.0, 3.0])
def test_any_factor_above_zero_is_a_mean(factor: float) -> None:
    network = Pooled(factor)
    assert torch.equal(pooled_linear_weight(*_cut(network)), network.head.weight)


@pytest.mark.parametrize("factor", [-1 / 12, -1.0])
def test_a_factor_below_zero_turns_the_map_and_is_refused(factor: float) -> None:
    with pytest.raises(NotApplicableError, match="global average pooling"):
        pooled_linear_weight(*_cut(Pooled(factor)))


def test_a_mean_of_squares_is_no_mean() -> None:
    with pytest.raises(NotApplicableError, match="global average pooling"):
        pooled_linear_weight(*_cut(Pooled(1.0, power=2)))
