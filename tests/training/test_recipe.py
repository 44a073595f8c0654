"""The recipe: the authors' figures, the schedules, and settings out of range."""

from __future__ import annotations

import pytest

from camaudit.errors import UsageError
from camaudit.training.recipe import PRESETS, learning_rate, make_optimiser, recipe


def test_the_papers_recipe() -> None:
    paper = recipe("paper")
    assert (paper.epochs, paper.batch_size, paper.lr) == (90, 256, 0.03)
    assert (paper.momentum, paper.weight_decay, paper.nesterov) == (0.9, 1e-4, False)
    rates = [learning_rate(paper, epoch * 7 + 6, 7) for epoch in (0, 29, 30, 59, 60, 89)]
    assert rates == pytest.approx([0.03, 0.03, 0.003, 0.003, 0.0003, 0.0003])


def test_the_cosine_rises_to_its_rate_and_falls_to_0() -> None:
    small = recipe("small", epochs=10)
    rates = [learning_rate(small, step, 20) for step in range(200)]
    assert max(rates) == pytest.approx(small.lr, rel=0.01)
    assert 0 < rates[0] < 0.1 * small.lr
    assert 0 < rates[-1] < 0.01 * small.lr
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_other_optimisers_bring_their_own_rate() -> None:
    assert recipe("small", optimiser="adamw").lr == 1e-3
    assert recipe("small", optimiser="adamw", lr=0.01).lr == 0.01
    assert recipe("small", lr=None) == PRESETS["small"]
    import torch

    weights = [torch.nn.Parameter(torch.zeros(1))]
    for name in ("sgd", "adam", "adamw", "rmsprop"):
        made = make_optimiser(recipe("paper", optimiser=name), weights)
        assert type(made).__name__.lower() == name


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"lr": float("inf")},
     {"momentum": 1.0}, {"weight_decay": -1.0}, {"optimiser": "lion"}, {"schedule": "linear"},
     {"crop": "five"}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        recipe("small", **change)
    with pytest.raises(UsageError, match="preset among"):
        recipe("large")
