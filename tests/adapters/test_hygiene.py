"""Whatever is done to a model is seen by name, and put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camaudit.adapters import differences, traces, untouched
from tests.networks import chain, settle


class Spoilt(Exception):  # noqa: N818 - no error of anything
    """What an explainer raises half-way."""


def spoil(model: nn.Module) -> None:
    first, *others = model.parameters()
    nn.modules.module.register_module_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    model[0].register_full_backward_hook(lambda *_: None)  # type: ignore[operator]
    first.register_hook(lambda gradient: gradient)
    others[0].register_hook(lambda gradient: gradient)
    model[2] = nn.GELU()  # type: ignore[operator]
    model.train()
    model.kept = torch.ones(3)  # type: ignore[assignment]
    del model[4].__dict__["stride"]  # type: ignore[operator]
    for weight in others:
        weight.requires_grad_(not weight.requires_grad)
        weight.grad = torch.zeros_like(weight)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_seen_and_put_back(fails: bool) -> None:
    model = settle(chain())
    first, second, *_ = model.parameters()
    first.register_hook(lambda gradient: gradient)
    second.requires_grad_(False)
    first.grad = torch.ones_like(first)
    before, kept = traces(model), first.grad
    try:
        with untouched(model):
            assert first.grad is None
            second.requires_grad_(True)
            spoil(model)
            clauses = " | ".join(differences(before, traces(model)))
            for kind in ("attributes", "hooks", "children", "mode", "requires_grad", ".grad"):
                assert f"{kind} of " in clauses
            assert "hooks of all modules and" in clauses
            if fails:
                raise Spoilt
    except Spoilt:
        assert fails
    assert differences(before, traces(model)) == []
    assert first.grad is kept
    assert bool((kept == 1).all())
    assert model[4].stride == (1, 1)  # type: ignore[operator]
