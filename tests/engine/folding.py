"""A small residual network, and what its folded pass is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from camaudit.cut import Cut
from camaudit.engine import Engine, Forwards, prepare
from camaudit.engine.convolution import FusedConv
from camaudit.engine.folded import FoldedModel
from camaudit.walls import WalledModel
from tests.networks import images

HOW = "folded batch norm, fused activations"
NEAR = 1e-5  #: of the range of logits

Function = Callable[[Tensor], Tensor]
Divided = Cut | WalledModel


class Skip(nn.Module):
    """Three convolutions with batch norm; activations, and a sum before the last of them."""

    def __init__(self, act: Function) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 1)
        self.norm3 = nn.BatchNorm2d(8)
        self.act = act
        self.block = nn.Identity()
        self.fc = nn.Linear(8, 5)

    def features(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.conv1(x)))
        y = self.act(self.norm2(self.conv2(x)))
        return self.act(self.norm3(self.conv3(y)) + x)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.block(self.features(x)).mean(dim=(2, 3)))


def folded(divided: Divided, example: Tensor | None = None) -> Forwards:
    forwards = prepare(divided, images(1) if example is None else example, Engine())
    assert (forwards.how, forwards.exact) == (HOW, False)
    return forwards


def itself(divided: Divided, example: Tensor | None = None) -> Forwards:
    forwards = prepare(divided, images(1) if example is None else example, Engine())
    assert (forwards.how, forwards.exact) == ("the model itself", True)
    return forwards


def convs(forwards: Forwards) -> list[FusedConv]:
    assert isinstance(forwards.run, FoldedModel)
    return forwards.run._convs


def joined(forwards: Forwards) -> list[str]:
    """What each convolution took over: n(orm), s(um), a(ctivation)."""
    return [
        "n" * (conv.norm is not None) + "s" * conv.adds + "a" * (conv.activation is not None)
        for conv in convs(forwards)
    ]


def assert_near(found: Tensor, own: Tensor) -> None:
    assert found.shape == own.shape
    assert float((found - own).abs().max()) <= NEAR * float(own.max() - own.min())


def assert_folded_near(divided: Divided, batch: Tensor | None = None) -> Forwards:
    """The folded pass is near float64 logits, in both layouts, and leaves its images alone."""
    batch = images(5, seed=2) if batch is None else batch
    forwards = folded(divided, batch[:1])
    with torch.no_grad():
        exact = copy.deepcopy(divided).double().logits(batch.double())
    for layout in (torch.contiguous_format, torch.channels_last):
        given = batch.contiguous(memory_format=layout)
        kept = given.clone()
        assert_near(passed(forwards, given), exact)
        assert torch.equal(given, kept)
    return forwards


def passed(forwards: Forwards, batch: Tensor) -> Tensor:
    """Logits by the folded pass, which must be the one that runs."""
    run = forwards.run
    assert isinstance(run, FoldedModel)
    with torch.no_grad():
        assert run.current(batch)
        return run(batch)
