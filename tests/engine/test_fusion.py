"""What goes into one call with a convolution, and what does not: logits stay the model's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.cut import cut_at, default_layer
from camaudit.models import lite0
from camaudit.walls import insert_wall, split_trunk
from tests.engine.folding import (
    Divided,
    Function,
    Skip,
    assert_folded_near,
    assert_near,
    convs,
    folded,
    itself,
    joined,
    passed,
)
from tests.networks import images, settle

# ----------------------------------------------------------------------------------- what is fused


ACTIVATIONS: dict[str, tuple[Function, str]] = {
    "ReLU": (nn.ReLU(), "nsa"),
    "ReLU in place": (nn.ReLU(inplace=True), "nsa"),
    "ReLU6": (nn.ReLU6(inplace=True), "nsa"),
    "Hardtanh": (nn.Hardtanh(-0.5, 0.7), "nsa"),
    "SiLU": (nn.SiLU(inplace=True), "ns"),
    "Sigmoid": (nn.Sigmoid(), "ns"),
    "Tanh": (nn.Tanh(), "ns"),
    "Hardswish": (nn.Hardswish(), "ns"),
    "LeakyReLU": (nn.LeakyReLU(0.2), "ns"),
    "LeakyReLU 0": (nn.LeakyReLU(0.0), "nsa"),
    "GELU": (nn.GELU(), "ns"),
    "GELU tanh": (nn.GELU(approximate="tanh"), "ns"),
    "F.relu": (F.relu, "nsa"),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), "nsa"),
    "torch.relu": (torch.relu, "nsa"),
    "method": (lambda x: x.relu_(), "nsa"),
    "F.relu6": (F.relu6, "nsa"),
    "F.hardtanh": (lambda x: F.hardtanh(x, -0.4, 0.9, inplace=True), "nsa"),
    "F.hardtanh plain": (F.hardtanh, "nsa"),
    "F.leaky_relu": (lambda x: F.leaky_relu(x, 0.3), "ns"),
    "F.leaky_relu plain": (F.leaky_relu, "ns"),
    "F.gelu": (lambda x: F.gelu(x, approximate="tanh"), "ns"),
    "F.gelu plain": (F.gelu, "ns"),
    "F.silu": (lambda x: F.silu(x, inplace=True), "ns"),
    "F.hardswish": (F.hardswish, "ns"),
    "torch.sigmoid": (torch.sigmoid, "ns"),
    "torch.tanh": (torch.tanh, "ns"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name: str) -> None:
    act, after_sum = ACTIVATIONS[name]
    model = settle(Skip(act))
    forwards = assert_folded_near(cut_at(model, "block", images(1)))
    assert joined(forwards) == ["na", "na", after_sum]


@pytest.mark.parametrize(
    "act",
    [
        nn.Softplus(), nn.Hardsigmoid(), nn.PReLU(8), nn.Softmax(dim=1), nn.Dropout(0.5), nn.ELU(),
        lambda x: x * torch.sigmoid(x), lambda x: F.threshold(x, 0.1, 2.0),
    ],
)  # fmt: skip
def test_other_functions_run_as_they_are(act: Function) -> None:
    model = settle(Skip(act))
    forwards = assert_folded_near(cut_at(model, "block", images(1)))
    assert joined(forwards) == ["n", "n", "ns"]


class Padding(nn.Conv2d):
    """Pads by itself, one side only, and calls the function."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 2, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)


@pytest.mark.parametrize(
    ("conv", "taken"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=2), True),
        (nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), True),
        (nn.Conv2d(8, 8, 3, padding=(2, 1), dilation=(2, 1)), True),
        (nn.Conv2d(8, 8, (1, 5), padding=(0, 2)), True),
        (nn.Sequential(nn.ZeroPad2d((0, 2, 1, 1)), nn.Conv2d(8, 8, 3, bias=False)), True),
        (Padding(8, 8, (4, 2), groups=4), True),
        (Padding(8, 8, (4, 2), bias=False), True),
        (nn.Conv2d(8, 8, 3, padding="same"), False),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), False),
        (nn.ConvTranspose2d(8, 8, 3, padding=1), False),
    ],
    ids=str,
)
def test_every_convolution(conv: nn.Module, taken: bool) -> None:
    model = Skip(nn.ReLU())
    model.conv2 = conv
    forwards = assert_folded_near(cut_at(settle(model), "block", images(1)))
    assert joined(forwards) == ["na", "na", "nsa"] if taken else ["na", "nsa"]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_norms_without_weights_and_convolutions_without_bias(affine: bool, bias: bool) -> None:
    model = Skip(nn.ReLU())
    model.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=bias)
    model.norm2 = nn.BatchNorm2d(8, affine=affine, eps=0.1)
    forwards = assert_folded_near(cut_at(settle(model), "block", images(1)))
    assert joined(forwards) == ["na", "na", "nsa"]


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=self.training)


@pytest.mark.parametrize("nothing", [nn.Identity(), nn.Dropout(0.5), nn.Dropout2d(0.5)])
def test_layers_that_do_nothing_are_no_obstacle(nothing: nn.Module) -> None:
    model = Skip(nn.ReLU())
    model.norm1 = nn.Sequential(nothing, model.norm1, nothing)
    model.norm2 = nn.Sequential(Dropping(), model.norm2)
    forwards = assert_folded_near(cut_at(settle(model), "block", images(1)))
    assert joined(forwards) == ["na", "na", "nsa"]


@dataclass
class Given:
    """What follows a convolution may be made of: the network, its result `y` and its input `x`."""

    net: Skip
    y: Tensor
    x: Tensor


After = Callable[[Given], Tensor]


class Own(Skip):
    """What follows the second convolution is written by a test."""

    def __init__(self, after: After) -> None:
        super().__init__(nn.ReLU())
        self.after = (after,)

    def features(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.conv1(x)))
        return self.after[0](Given(self, self.conv2(x), x))


def written_between(g: Given) -> Tensor:
    """The convolution's input is overwritten before its result is normalised."""
    g.x.mul_(3)
    return g.net.norm2(g.y) * g.x


def written_by_a_sum(g: Given) -> Tensor:
    g.x.add_(g.net.norm2(g.y))
    return g.x


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (lambda g: g.net.norm2(g.y) + g.y, ""),
        (lambda g: g.net.norm2(g.y) + g.y.mean(dim=(2, 3), keepdim=True), ""),
        (lambda g: F.relu(z := g.net.norm2(g.y)) - z, "n"),
        (lambda g: g.net.norm2(g.y) + g.x.mean(dim=(2, 3), keepdim=True), "n"),
        (lambda g: g.net.norm2(g.y) + g.x[:, :1], "n"),
        (lambda g: g.net.norm2(g.y) + g.net.norm3.weight.view(1, 8, 1, 1), "n"),
        (lambda g: g.net.norm2(g.y) + g.net.norm3.weight.view(1, 8, 1, 1).repeat(1, 1, 8, 8), "n"),
        (lambda g: g.net.norm2(g.y) + 1, "n"),
        (lambda g: torch.add(g.net.norm2(g.y), g.x, alpha=2), "n"),
        (lambda g: (z := g.net.norm2(g.y)) + z, "n"),
        (lambda g: g.net.norm2(g.y) - g.x, "n"),
        (lambda g: g.net.norm2(g.y.transpose(2, 3)), ""),
        (written_between, ""),
        (written_by_a_sum, "n"),
        (lambda g: g.net.norm2(g.y).add_(g.x), "ns"),
        (lambda g: g.x + g.net.norm2(g.y), "ns"),
        (lambda g: F.relu(torch.add(g.x, g.y)), "sa"),
        (lambda g: g.net.norm3(g.net.conv2(F.relu(g.net.norm2(g.y)))), "na n"),
    ],
)  # fmt: skip
def test_only_what_nobody_else_reads_is_taken_over(after: After, expected: str) -> None:
    forwards = assert_folded_near(cut_at(settle(Bypassed(Own(after))), "block", images(1)))
    assert joined(forwards) == ["na", *(expected.split(" "))]


class Bypassed(nn.Module):
    """A network whose maps go on beside a branch of their own, so that it is no chain."""

    def __init__(self, inner: Skip) -> None:
        super().__init__()
        self.inner = inner
        self.block = nn.Identity()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner.features(x)
        return self.fc(self.block(y * y.mean(dim=(2, 3), keepdim=True)).mean(dim=(2, 3)))


EVERY_CHANNEL = {"groups": 8}


class Called(nn.Module):
    """A function or a layer, as a layer of a network."""

    def __init__(self, made: Function) -> None:
        super().__init__()
        self.made = made

    def forward(self, x: Tensor) -> Tensor:
        return self.made(x)


@pytest.mark.parametrize(
    ("zeros", "conv", "padding"),
    [
        (nn.ZeroPad2d((1, 1, 2, 2)), nn.Conv2d(8, 8, (5, 3)), (2, 1)),
        (nn.ConstantPad2d(1, 0.0), nn.Conv2d(8, 8, 5, padding=1), (2, 2)),
        (nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(8, 8, 2, **EVERY_CHANNEL), (1, 1)),
        (nn.ZeroPad2d((2, 1, 1, 2)), nn.Conv2d(8, 8, 4, **EVERY_CHANNEL), (2, 2)),
        (nn.ZeroPad2d((0, 1, 0, 0)), nn.Conv2d(8, 8, (3, 4), padding=1, **EVERY_CHANNEL), (1, 2)),
        (lambda x: F.pad(x, [1, 0, 0, 1], value=0), nn.Conv2d(8, 8, 2, **EVERY_CHANNEL), (1, 1)),
        (nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(8, 8, 2), (0, 0)),
        (nn.ZeroPad2d((0, 2, 1, 1)), nn.Conv2d(8, 8, 3, **EVERY_CHANNEL), (0, 0)),
        (nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(8, 8, 2, dilation=3, **EVERY_CHANNEL), (0, 0)),
        (nn.ZeroPad2d((-1, -1, 1, 1)), nn.Conv2d(8, 8, 3, padding=(0, 2)), (0, 2)),
        (nn.ConstantPad2d(1, 0.5), nn.Conv2d(8, 8, 3), (0, 0)),
        (nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3), (0, 0)),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), nn.Conv2d(8, 8, 3), (0, 0)),
        (lambda x: F.pad(x, (1, 1, 1, 1), value=1.0), nn.Conv2d(8, 8, 3), (0, 0)),
        (lambda x: F.pad(x, (1, 1, 1, 1, 0, 0)), nn.Conv2d(8, 8, 3), (0, 0)),
    ],
)
def test_zeros_around_the_maps(zeros: Function, conv: nn.Conv2d, padding: tuple[int, int]) -> None:
    """They become the convolution's own, as far as that is possible and cheap."""
    model = Own(lambda g: g.net.norm2(g.net.conv3(g.net.conv2(g.x))) + g.x)
    model.conv2, model.conv3 = Called(zeros), conv
    forwards = assert_folded_near(cut_at(settle(Bypassed(model)), "block", images(1)))
    assert joined(forwards) == ["na", "ns"]
    assert convs(forwards)[1]._settings[1] == padding


def test_an_infinite_pixel_beside_a_filter_of_one_more_column() -> None:
    """0 · ∞ is not a number, and the model itself has one: it runs."""
    model = Own(lambda g: g.net.norm2(g.net.conv3(g.net.conv2(g.x))) + g.x)
    model.act = nn.ReLU6()
    model.conv1 = nn.Sequential(nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(3, 3, 2, groups=3))
    model.norm1 = nn.Sequential(nn.ReLU6(), nn.Conv2d(3, 8, 3, stride=2, padding=1))
    model.conv2, model.conv3 = nn.Identity(), nn.Conv2d(8, 8, 3, padding=1)
    whole, batch = settle(Bypassed(model)), images(3)
    forwards = folded(cut_at(whole, "block", batch))
    assert convs(forwards)[0]._settings[1] == (1, 1)
    batch[1, :, 7, 7] = torch.inf
    with torch.no_grad():
        own = whole(batch)
        assert own.isfinite().all()
        assert_near(forwards(batch), own)


def written_around(g: Given) -> Tensor:
    """Maps are overwritten once zeros have been put around them."""
    wide = F.pad(g.x, (1, 1, 1, 1))
    g.x.mul_(3)
    return g.net.norm2(g.net.conv3(wide)) + g.x


def read_twice(g: Given) -> Tensor:
    wide = F.pad(g.x, (1, 1, 1, 1))
    return g.net.norm2(g.net.conv3(wide)) + wide


@pytest.mark.parametrize("after", [written_around, read_twice])
def test_zeros_that_somebody_else_reads(after: After) -> None:
    model = Own(after)
    model.conv3 = nn.Conv2d(8, 8, 3, padding=int(after is read_twice))
    model.conv2 = nn.Identity()
    forwards = assert_folded_near(cut_at(settle(Bypassed(model)), "block", images(1)))
    assert [conv._settings[1] for conv in convs(forwards)] == [(1, 1), model.conv3.padding]


# ------------------------------------------------------------------------------------ real networks


@pytest.mark.parametrize(
    "name",
    [
        "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "densenet121",
        "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf", "googlenet",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_networks_of_torchvision(name: str) -> None:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None, num_classes=10, **options)
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.bias):
                tensor.data.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            for tensor in (layer.running_var, layer.weight):
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    model.eval()
    cut = cut_at(model, default_layer(model, images(1, 64)), images(1, 64))
    forwards = assert_folded_near(cut, images(3, 64))
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    preceded = norms if name != "densenet121" else 59
    assert sum("n" in kind for kind in joined(forwards)) == preceded


def test_the_default_model() -> None:
    batch = images(2, 224)
    cut = cut_at(lite0.build(), lite0.LAYER, batch)
    forwards = assert_folded_near(cut, batch)
    assert joined(forwards).count("na") == 33
    assert joined(forwards).count("ns") == 9
    assert len(convs(forwards)) == 49
    padded = [conv for conv in convs(forwards) if max(conv._settings[1])]
    assert len(padded) == 16, "every convolution of single channels has its zeros inside"
    walled = split_trunk(cut.trunk.model, lite0.LAYER, batch)
    forwards = folded(walled, batch)
    found = passed(forwards, batch)
    with torch.no_grad():
        assert_near(found, walled.logits(batch))
    changed = torch.where(walled.zone.pixel_dead, torch.full_like(batch, 1e6), batch)
    assert torch.equal(passed(forwards, changed), found), "dead pixels reach no bit of the logits"


# ------------------------------------------------------------------------------------------- walls


@pytest.mark.parametrize(
    "layer", ["conv1", "norm1", "act#1", "conv2", "norm2", "conv3", "norm3", "act#3"]
)
@pytest.mark.parametrize("kind", ["cut", "insert", "insert right:3", "split"])
def test_the_wall_stands_right_at_the_layer(layer: str, kind: str) -> None:
    """Also where the layer lies within what is otherwise one call."""

    class Straight(Skip):
        def features(self, x: Tensor) -> Tensor:
            x = self.act(self.norm1(self.conv1(x * x.mean(dim=(2, 3), keepdim=True))))
            x = self.act(self.norm2(self.conv2(x)))
            return self.act(self.norm3(self.conv3(x)))

    model, batch = settle(Straight(nn.ReLU(inplace=True))), images(5, seed=2)
    divided: Divided
    if kind == "cut":
        divided = cut_at(model, layer, batch)
    elif kind == "split":
        divided = split_trunk(model, layer, batch)
    else:
        dead = kind.partition(" ")[2] or None
        divided = insert_wall(model, layer, batch, dead=dead)
    forwards = assert_folded_near(divided, batch)
    inner = {"conv": 0, "norm": 1, "act": 2}[layer.rstrip("#0123456789")]
    expected = ["na", "na", "na"]
    expected[int(layer[-1]) - 1] = ["", "n", "na"][inner]
    assert joined(forwards) == expected


def test_dead_pixels_reach_no_bit() -> None:
    model, batch = settle(Skip(nn.ReLU6())), images(3)
    walled = split_trunk(model, "block", batch, dead="left:3")
    forwards = folded(walled)
    changed = torch.where(walled.zone.pixel_dead, torch.full_like(batch, 1e6), batch)
    assert not torch.equal(changed, batch)
    assert torch.equal(passed(forwards, changed), passed(forwards, batch))


def test_walls_that_are_no_rectangle() -> None:
    dead = torch.eye(8, dtype=torch.bool)
    model, batch = settle(Skip(nn.ReLU())), images(4)
    for wall in (insert_wall, split_trunk):
        walled = wall(model, "block", batch, dead=dead)
        assert_folded_near(walled, batch)


class Viewing(Skip):
    """Makes rows of its maps, with the number of images as `count(images, maps)` has it."""

    def __init__(self, count: Callable[[Tensor, Tensor], int]) -> None:
        super().__init__(nn.ReLU())
        self.count = (count,)
        self.late = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        images, maps = x, self.features(x)
        x = self.late(self.conv2(self.block(maps)))
        return self.fc(x.view(self.count[0](images, maps), -1))


def test_heads_that_view_their_maps() -> None:
    for count in (lambda x, _A: len_of(x), lambda x, _A: x.shape[0] * 2 // 2):
        model = settle(Viewing(count))
        for layer in ("block", "late"):
            forwards = assert_folded_near(cut_at(model, layer, images(1)))
            assert joined(forwards)[:3] == ["na", "na", "nsa"]


def len_of(x: Tensor) -> int:
    return x.size(0)


def test_heads_that_read_more_than_the_layer() -> None:
    """Sizes of earlier maps would have to be computed once more."""
    model = settle(Viewing(lambda x, A: len_of(x) + A.shape[1] - 8))
    itself(cut_at(model, "late", images(1)))
    assert_folded_near(cut_at(model, "act#3", images(1)))
