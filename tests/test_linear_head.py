"""Which heads are a Linear on a spatial mean: not what is one but for a millionth."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError
from camaudit.linear_head import pooled_linear_weight
from camaudit.methods import compute


def network(*between: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """One convolution, mean pooling, and a Linear behind what lies between."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *between,
        nn.Linear(3, 4),
    )  # fmt: skip
    model[0].weight.data.fill_(1.0)
    model[0].bias.data = torch.tensor([5.0, 5.2, 5.4])
    return model.to(dtype).eval()


def images(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(2, 1, 7, 7, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_pooled_linear_head_is_one_in_every_format(dtype: torch.dtype) -> None:
    model, given = network(dtype=dtype), images(dtype)
    seen = capture(cut_at(model, "1", given[:1]), given)
    assert torch.equal(seen.linear_weight(), model[4].weight)  # type: ignore[union-attr]


def test_a_gelu_that_is_nearly_the_identity_is_none() -> None:
    model, given = network(nn.GELU()), images()
    pooled = model[:4](given)  # type: ignore[index]
    nearly = (nn.functional.gelu(pooled) - pooled).abs().max() / pooled.abs().max()
    assert 0 < nearly < 1e-6
    cut = cut_at(model, "1", given[:1])
    with pytest.raises(NotApplicableError):
        pooled_linear_weight(cut, cut.trunk(given).detach())


def test_ablationcam_runs_such_a_head_for_every_channel() -> None:
    model, given = network(nn.GELU()), images()
    cut = cut_at(model, "1", given[:1])
    seen = capture(cut, given)
    A, scores = seen.activations, seen.scores
    weights = torch.zeros(2, 3, dtype=torch.float64)
    for k in range(3):
        without = A.clone()
        without[:, k] = 0
        left = seen.head(without).gather(1, seen.targets[:, None])[:, 0]
        weights[:, k] = (scores - left) / scores.abs()
    wanted = torch.einsum("nk,nkij->nij", weights, A).relu()
    torch.testing.assert_close(compute("ablationcam", seen), wanted.detach(), rtol=1e-12, atol=0)
