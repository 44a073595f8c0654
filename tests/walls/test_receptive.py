"""Reach against brute force: NaN put into one row, column or pixel at a time, in float64."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.walls.receptive import Chain, chain_of, reach
from tests.networks import Block, Mean, images, settle

Pair = tuple[int, int]
ELEMENTWISE = (nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Identity, nn.Dropout, nn.LeakyReLU)


def nan_rows(trunk: nn.Module, size: Pair, axis: int) -> Tensor:
    """Boolean (cells×pixels) along `axis`: where NaN in one image row (column) arrives."""
    count = size[axis]
    probes = torch.ones(count, 3, *size, dtype=torch.float64)
    for index in range(count):
        probes[index].select(1 + axis, index).fill_(torch.nan)
    with torch.no_grad():
        arrived = trunk(probes).isnan().any(dim=1)
    return arrived.any(dim=2 - axis).T


def nan_pixel(trunk: nn.Module, size: Pair, row: int, column: int) -> Tensor:
    """Boolean (h×w): cells where NaN in one pixel arrives."""
    probe = torch.ones(1, 3, *size, dtype=torch.float64)
    probe[:, :, row, column] = torch.nan
    with torch.no_grad():
        return trunk(probe).isnan().any(dim=1)[0]


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Module:
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    return nn.Conv2d(
        3, 3, draw(pairs), stride=draw(pairs), dilation=draw(pairs),
        padding=draw(st.tuples(st.integers(0, 3), st.integers(0, 3))), padding_mode=mode,
        groups=draw(st.sampled_from([1, 3])), bias=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def poolings(draw: st.DrawFn) -> nn.Module:
    kernel = draw(pairs)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    options = {"stride": draw(st.none() | pairs), "padding": padding}
    options["ceil_mode"] = draw(st.booleans())
    if draw(st.booleans()):
        return nn.AvgPool2d(kernel, **options)
    return nn.MaxPool2d(kernel, dilation=draw(st.sampled_from([1, 2])), **options)


adaptive = st.builds(nn.AdaptiveAvgPool2d, st.tuples(st.integers(1, 6), st.integers(1, 6)))
paddings = st.tuples(*[st.integers(-1, 3)] * 4)
pads = st.builds(nn.ZeroPad2d, paddings) | st.builds(nn.ConstantPad2d, paddings, st.just(0.5))
pointwise = st.sampled_from(ELEMENTWISE).map(lambda kind: kind())
layers = st.one_of(convolutions(), poolings(), adaptive, pads, pointwise)


@st.composite
def chains(draw: st.DrawFn) -> tuple[nn.Sequential, Pair]:
    """Up to four layers that fit one after the other, and the image size."""
    size = draw(st.tuples(st.integers(5, 13), st.integers(5, 13)))
    kept: list[nn.Module] = []
    maps = torch.ones(1, 3, *size, dtype=torch.float64)
    for layer in draw(st.lists(layers, min_size=1, max_size=4)):
        layer.double().eval()
        try:
            with torch.no_grad():
                following = layer(maps)
        except RuntimeError:  # the maps have become too small for it
            continue
        if not following.numel():  # negative padding has cut everything away
            continue
        kept.append(layer)
        maps = following
    return nn.Sequential(*kept).eval(), size


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(chains(), st.data())
def test_reach_equals_nan_propagation(
    drawn: tuple[nn.Sequential, Pair], data: st.DataObject
) -> None:
    trunk, size = drawn
    if not len(trunk):
        return
    chain = chain_of(trunk, torch.zeros(1, 3, *size, dtype=torch.float64))
    assert isinstance(chain, Chain), chain
    rows, columns = reach(chain)
    # a cell in a pure padding row or column reads nothing along the other axis either
    assert torch.equal(rows & columns.any(), nan_rows(trunk, size, 0))
    assert torch.equal(columns & rows.any(), nan_rows(trunk, size, 1))
    row, column = (data.draw(st.integers(0, pixels - 1)) for pixels in size)
    read = rows[:, row, None] & columns[None, :, column]
    assert torch.equal(read, nan_pixel(trunk, size, row, column))


def test_reach_of_a_known_chain() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    chain = chain_of(trunk, images(1, (6, 4)))
    assert isinstance(chain, Chain)
    assert chain.image_size == (6, 4)
    assert [sizes for _, sizes in chain.layers] == [(6, 4), (6, 4), (3, 2)]
    rows, columns = reach(chain)
    read = [row.nonzero().flatten().tolist() for row in rows]
    assert read == [[0, 1, 2], [1, 2, 3, 4], [3, 4, 5]]
    assert columns.int().tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]


def test_vgg16_cells_read_196_rows_every_16() -> None:
    plan = [2, 2, 3, 3]
    trunk = nn.Sequential()
    for count in plan:
        trunk.extend(nn.Conv2d(3, 3, 3, padding=1) for _ in range(count))
        trunk.append(nn.MaxPool2d(2))
    trunk.extend(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
    chain = chain_of(trunk.eval(), images(1, 224))
    assert isinstance(chain, Chain)
    rows, _ = reach(chain)
    for cell in range(14):
        wanted = range(max(0, 16 * cell - 90), min(224, 16 * cell + 106))
        assert rows[cell].nonzero().flatten().tolist() == list(wanted)


def test_batchnorm_with_running_statistics_and_shared_activations_are_in_a_chain() -> None:
    relu = nn.ReLU(inplace=True)
    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), relu, nn.Conv2d(4, 4, 3), relu
    ).eval()  # fmt: skip
    assert isinstance(chain_of(trunk, images(1)), Chain)


def test_hooks_that_only_look_leave_a_chain_a_chain() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    seen: list[Tensor] = []
    trunk[0].register_forward_hook(lambda _m, _a, output: seen.append(output))
    assert isinstance(chain_of(trunk, images(1)), Chain)
    assert len(seen) == 1


# ---------------------------------------------------------------------------------- refusals


class Between(nn.Module):
    """conv → `change` → conv, with `change` between the two."""

    def __init__(self, change: Callable[[Tensor], Tensor], after: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 3, padding=1)
        self.conv2 = after or nn.Conv2d(3, 3, 3, padding=1)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.change(self.conv1(x)))


class Last(Between):
    """conv → conv → `change`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.conv2(self.conv1(x)))


class ByKeyword(Between):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(input=self.conv1(x))


class Subclassed(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean())


def mixed_in_place(x: Tensor) -> Tensor:
    return x.add_(x.mean())


def write_to_a_view(x: Tensor) -> Tensor:
    x[:, :1].add_(x.mean())
    return x


def same(x: Tensor) -> Tensor:
    return x


BRANCH = "a branch or a functional call"
END = "not the output of the chain's last layer"
NO_CHAIN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "residual block": (lambda: Block(3), BRANCH),
    "functional relu between layers": (lambda: Between(F.relu), BRANCH),
    "mean taken off between layers": (lambda: Between(lambda x: x - x.mean()), BRANCH),
    "in-place addition between layers": (lambda: Between(mixed_in_place), BRANCH),
    "in-place addition to a view": (lambda: Between(write_to_a_view), BRANCH),
    "flip between layers": (lambda: Between(lambda x: x.flip(2)), BRANCH),
    "functional operation at the end": (lambda: Last(F.relu), END),
    "in-place operation at the end": (lambda: Last(mixed_in_place), END),
    "call by keyword": (lambda: ByKeyword(same), BRANCH),
    "subclass of Conv2d": (lambda: Between(same, Subclassed(3, 3, 1)), "Subclassed is not a conv"),
    "linear layer": (lambda: nn.Linear(16, 4), "Linear is not a convolution"),
    "group norm": (lambda: nn.GroupNorm(1, 3), "GroupNorm is not a convolution"),
    "instance norm": (lambda: nn.InstanceNorm2d(3), "InstanceNorm2d is not a convolution"),
    "softmax": (lambda: nn.Softmax2d(), "Softmax2d is not a convolution"),
    "upsampling": (lambda: nn.Upsample(scale_factor=2), "Upsample is not a convolution"),
    "transposed": (lambda: nn.ConvTranspose2d(3, 3, 2), "ConvTranspose2d is not a convolution"),
    "reflection pad": (lambda: nn.ReflectionPad2d(1), "ReflectionPad2d is not a convolution"),
    "pooling to a vector": (lambda: Mean(), "Mean is not a convolution"),
    "padding by name": (lambda: nn.Conv2d(3, 3, 3, padding="same"), "padding='same'"),
    "batch statistics": (
        lambda: nn.BatchNorm2d(3, track_running_stats=False),
        "without running statistics mixes all positions",
    ),
    "pooling with indices": (lambda: nn.MaxPool2d(2, return_indices=True), "not return a map"),
}


@pytest.mark.parametrize(("network", "reason"), NO_CHAIN.values(), ids=NO_CHAIN)
def test_what_is_no_chain_is_refused_with_its_reason(
    network: Callable[[], nn.Module], reason: str
) -> None:
    trunk = nn.Sequential(network()).eval()
    found = chain_of(trunk, images(1))
    assert isinstance(found, str), "accepted"
    assert reason in found
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trunk.modules())


def test_batchnorm_in_training_mode_is_refused() -> None:
    trunk = nn.Sequential(nn.BatchNorm2d(3)).train()
    assert "mixes all positions" in str(chain_of(trunk, images(1)))


@pytest.mark.parametrize("in_place", [False, True])
def test_forward_hook_that_alters_an_output_is_refused(in_place: bool) -> None:
    trunk = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))

    def hook(_module: nn.Module, _args: object, output: Tensor) -> Tensor | None:
        if not in_place:
            return output + output.mean()
        mixed_in_place(output)
        return None

    trunk[0].register_forward_hook(hook)
    assert "a hook or another forward function" in str(chain_of(trunk, images(1)))


@pytest.mark.parametrize("in_place", [False, True])
def test_forward_pre_hook_that_alters_an_input_is_refused(in_place: bool) -> None:
    trunk = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))

    def hook(_module: nn.Module, args: tuple[Tensor]) -> object:
        return (mixed_in_place(args[0]),) if in_place else (args[0] + args[0].mean(),)

    trunk[1].register_forward_pre_hook(hook)
    assert BRANCH in str(chain_of(trunk, images(1)))


def test_replaced_forward_function_is_refused() -> None:
    trunk = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    own = trunk[0].forward
    trunk[0].forward = lambda x: own(x - x.mean())
    assert "another forward function" in str(chain_of(trunk, images(1)))


def test_hooks_are_removed_when_the_trunk_raises() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with pytest.raises(RuntimeError):
        chain_of(trunk, torch.zeros(1, 7, 8, 8))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trunk.modules())
