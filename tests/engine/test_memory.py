"""What a pass over one image takes, and that passes stay within the memory that they are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from camaudit.cut import Cut, cut_at
from camaudit.engine import Engine, prepare
from camaudit.engine.memory import peak_bytes
from camaudit.walls import WalledModel, insert_wall, split_trunk
from tests.engine.measured import Peak
from tests.networks import Dense, Residual, images, settle

MB = 2**20


class Two(nn.Module):
    """Returns its input beside its result, as a recurrent layer returns its state."""

    def forward(self, x: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        return x * factor, x


def test_the_largest_layer_twice() -> None:
    conv, pool = nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)
    trunk = nn.Sequential(conv, pool, nn.Conv2d(4, 2, 1))
    x = images(1, 8)
    assert peak_bytes(trunk.modules(), lambda: trunk(x)) == 2 * 4 * (3 + 4) * 64
    assert peak_bytes([pool], lambda: trunk(x)) == 2 * 4 * 4 * (64 + 16)
    assert peak_bytes([], lambda: trunk(x)) == 0
    double = trunk.double()
    assert peak_bytes(double.modules(), lambda: double(x.double())) == 2 * 8 * (3 + 4) * 64


def test_layers_that_return_no_single_tensor_count_what_they_are_given() -> None:
    two = Two()
    assert peak_bytes([two], lambda: two(torch.zeros(5), 2.0)) == 2 * 4 * 5


def test_no_hook_and_no_graph_is_left_behind() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    outputs: list[Tensor] = []

    def fails() -> None:
        outputs.append(trunk(images(1)))
        raise ArithmeticError("armed")

    with pytest.raises(ArithmeticError):
        peak_bytes(trunk.modules(), fails)
    assert not any(m._forward_hooks for m in trunk.modules())
    assert not outputs[0].requires_grad


# -------------------------------------------------------------------------------- passes that fit


def wide() -> nn.Module:
    """A chain that runs by Winograd's algorithm, with maps of 2.3 MB an image."""
    return settle(
        nn.Sequential(
            nn.Conv2d(3, 96, 3, padding=1), nn.ReLU(), nn.Conv2d(96, 96, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(96, 96, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 5),
        )
    )  # fmt: skip


def slim() -> nn.Module:
    """A chain without a convolution that suits."""
    return settle(
        nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 39 * 39, 9),
        )
    )  # fmt: skip


MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "wide chain": (wide, "6"),
    "slim chain": (slim, "4"),
    "residual": (lambda: settle(Residual()), "blocks"),
    "resnet18": (lambda: resnet18().eval(), "layer3"),
    "dense": (lambda: settle(Dense()), "norm"),
}
WALLS: dict[str, Callable[[nn.Module, str, Tensor], Cut | WalledModel]] = {
    "cut": cut_at,
    "insert": insert_wall,
    "split": split_trunk,
}


@pytest.mark.parametrize("kind", WALLS)
@pytest.mark.parametrize("name", MODELS)
def test_a_pass_takes_no_more_than_the_memory_it_is_given(name: str, kind: str) -> None:
    build, layer = MODELS[name]
    example = images(1, 78)
    divided = WALLS[kind](build(), layer, example)
    batches = []
    for memory in (16 * MB, 120 * MB):
        forwards = prepare(divided, example, Engine(batch_size=16, memory=memory))
        batches.append(forwards.batch_size)
        forwards(images(1, 78))  # what is measured once is measured now
        batch = images(min(forwards.batch_size, 24), 78)
        with Peak() as peak:
            forwards(batch)
        assert peak.bytes + batch.nbytes <= memory
    assert batches == sorted(batches)
    assert batches[0] < batches[-1] or batches[0] == 16


@pytest.mark.parametrize("build", [wide, slim, lambda: settle(Residual())])
def test_more_memory_never_means_fewer_images(build: Callable[[], nn.Module]) -> None:
    example = images(1, 78)
    model = build()
    divided = cut_at(model, "blocks" if isinstance(model, Residual) else "4", example)
    free = prepare(divided, example, Engine(batch_size=32)).batch_size
    batches = [
        prepare(divided, example, Engine(batch_size=32, memory=memory)).batch_size
        for memory in (1, 1000, MB, 10 * MB, 63 * MB, 64 * MB, 65 * MB, 500 * MB, 10**12)
    ]
    assert batches[0] == 1
    assert batches[-1] == free
    assert batches == sorted(batches)


def test_winograds_workspace_has_its_own_place_in_the_budget() -> None:
    example = images(1, 78)
    divided = cut_at(wide(), "6", example)
    for memory, how in ((60 * MB, "layer by layer"), (64 * MB, "layer by layer, Winograd")):
        forwards = prepare(divided, example, Engine(memory=memory))
        assert forwards.how.startswith(how)
        assert forwards.exact is ("Winograd" not in how)


def test_the_order_of_batch_sizes() -> None:
    """Both bounds hold; a chain passes at least 64 images through its head where memory allows."""
    example = images(1)
    chain = cut_at(slim_at(16), "2", example)
    assert prepare(chain, example, Engine(batch_size=2)).batch_size == 64
    assert prepare(chain, example, Engine(batch_size=100)).batch_size == 100
    other = cut_at(settle(Residual()), "blocks", example)
    assert prepare(other, example, Engine(batch_size=2)).batch_size == 2
    assert prepare(other, example, Engine(batch_size=2, memory=10**9)).batch_size == 2
    assert prepare(other, example, Engine(batch_size=100, memory=10**5)).batch_size < 10


def slim_at(size: int) -> nn.Module:
    cells = size // 2
    return settle(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(4 * cells * cells, 3),
        )
    )  # fmt: skip
