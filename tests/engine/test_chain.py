"""A fast chain gives the network's own activations: to the bit, or as near as Winograd comes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from camaudit.engine.chain import BLOCK, FastChain
from camaudit.engine.cone import Span
from camaudit.walls.receptive import Chain, chain_of
from tests.engine.drawn import Drawn, any_layers, cases
from tests.networks import images, settle

SIZE = (20, 18)
#: Of the largest activation after three convolutions by Winograd's algorithm.
NEAR = 1e-4


def wide(*after: nn.Module, first: nn.Module | None = None) -> nn.Sequential:
    """Three convolutions of which two are wide enough for Winograd's algorithm, and a pooling."""
    layers = [
        first or nn.Identity(),
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(), *after,
    ]  # fmt: skip
    return settle(nn.Sequential(*layers)).requires_grad_(False)  # type: ignore[return-value]


def chain(trunk: nn.Module, size: tuple[int, int] = SIZE) -> Chain:
    found = chain_of(trunk, images(1, size).to(next(trunk.parameters()).dtype))
    assert isinstance(found, Chain), found
    return found


def whole(found: Chain) -> tuple[Span, Span]:
    height, width = found.layers[-1][1]
    return Span(0, height, height), Span(0, width, width)


def fast(trunk: nn.Module, *, winograd: bool = True, **options: object) -> FastChain:
    """All cells of `trunk`."""
    found = chain(trunk)
    return FastChain(found, *whole(found), winograd=winograd, **options)  # type: ignore[arg-type]


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= NEAR * float(expected.abs().max())


# ---------------------------------------------------------------------------------------- Winograd


@pytest.mark.parametrize("count", [1, 7, 8, 9, 17])
def test_winograd_is_near_for_any_number_of_images(count: int) -> None:
    trunk, batch = wide(), images(count, SIZE)
    engine = fast(trunk)
    assert engine.winograd == 2
    assert_near(engine(batch), trunk(batch))


@pytest.mark.parametrize(
    "after",
    [
        (),
        (nn.Conv2d(64, 128, 3, padding=1),),
        (nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.ReLU()),
        (nn.Conv2d(64, 128, 3, padding=1), nn.LeakyReLU(0.3, inplace=True)),
        (nn.Conv2d(64, 128, 3, padding=1), nn.Conv2d(128, 64, 3, padding=1)),
        (nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 5, 1), nn.ReLU6(inplace=True)),
    ],
    ids=["", "conv", "conv relu relu", "conv leaky", "conv conv", "batchnorm relu 1×1 relu6"],
)
def test_what_follows_a_convolution_is_applied_once(after: tuple[nn.Module, ...]) -> None:
    trunk, batch = wide(*after), images(3, SIZE)
    assert_near(fast(trunk)(batch), trunk(batch))


def test_an_activation_is_kept_apart_from_its_rectified_form() -> None:
    """A convolution whose result is negative somewhere, with nothing after it."""
    trunk = wide(nn.Conv2d(64, 128, 3, padding=1))
    batch = images(2, SIZE)
    assert (fast(trunk)(batch) < 0).any()


@pytest.mark.parametrize("rows", [(0, 3), (3, 7), (7, 10), (4, 5)])
@pytest.mark.parametrize("columns", [(0, 9), (2, 5), (6, 9), (8, 9)])
def test_winograd_on_some_of_the_cells(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """Odd starts: a pooling and two tile grids lie between cells and pixels."""
    trunk, batch = wide(), images(2, SIZE)
    found = FastChain(chain(trunk), Span(*rows, 10), Span(*columns, 9), winograd=True)(batch)
    expected = trunk(batch)
    box = slice(*rows), slice(*columns)
    assert_near(found[:, :, *box], expected[:, :, *box])
    found[:, :, *box] = 0
    assert not found.any()


@pytest.mark.parametrize("rows", [(0, 3), (3, 7), (7, 10)])
@pytest.mark.parametrize("columns", [(0, 9), (2, 5), (6, 9)])
@pytest.mark.parametrize("value", [1e20, torch.nan])
def test_pixels_outside_the_cone_do_not_even_change_the_rounding(
    rows: tuple[int, int], columns: tuple[int, int], value: float
) -> None:
    """Winograd's tiles mix their pixels; those that no wanted cell may read are not in them."""
    trunk, batch = wide(), images(2, SIZE)
    engine = FastChain(chain(trunk), Span(*rows, 10), Span(*columns, 9), winograd=True)
    expected = engine(batch)
    # a cell reads one pixel on each side for each convolution before the pooling and two after
    (top, bottom), (left, right) = (
        (max(0, 2 * start - 4), 2 * stop + 4) for start, stop in (rows, columns)
    )
    changed = torch.full_like(batch, value)
    changed[:, :, top:bottom, left:right] = batch[:, :, top:bottom, left:right]
    assert torch.equal(engine(changed), expected)


@pytest.mark.parametrize("weights", [torch.contiguous_format, torch.channels_last])
def test_the_layout_is_that_of_the_images(weights: torch.memory_format) -> None:
    """A head may flatten its maps with `view`, which takes them as they lie in memory."""
    trunk = wide().to(memory_format=weights)
    batch = images(2, SIZE)
    for layout in (torch.contiguous_format, torch.channels_last):
        given_images = batch.contiguous(memory_format=layout)
        assert fast(trunk)(given_images).is_contiguous(memory_format=layout)
        found = chain(trunk)
        some = FastChain(found, Span(2, 5, 10), Span(0, 9, 9), winograd=True)
        assert some(given_images).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("first", [nn.ReLU(inplace=True), nn.Hardtanh(inplace=True), nn.Identity()])
def test_images_are_never_written_to(
    winograd: bool, layout: torch.memory_format, first: nn.Module
) -> None:
    trunk = wide(first=first)
    batch = images(9, SIZE).contiguous(memory_format=layout)
    kept = batch.clone()
    expected = trunk(batch.clone())
    assert_near(fast(trunk, winograd=winograd)(batch), expected)
    assert torch.equal(batch, kept)
    found = chain(trunk)
    FastChain(found, Span(8, 10, 10), Span(3, 4, 9), winograd=winograd)(batch)
    assert torch.equal(batch, kept)


def test_activations_of_one_call_are_left_alone_by_the_next() -> None:
    engine = fast(wide())
    first = engine(images(2, SIZE))
    kept = first.clone()
    engine(images(2, SIZE, seed=5))
    assert torch.equal(first, kept)


def test_no_image_gives_no_activation() -> None:
    assert fast(wide())(images(1, SIZE)[:0]).shape == (0, 64, 10, 9)


def test_no_more_than_a_block_of_images_runs_at_a_time() -> None:
    class Counting(nn.Identity):
        sizes: list[int] = []  # noqa: RUF012 - one test, one instance

        def forward(self, x: Tensor) -> Tensor:
            self.sizes.append(len(x))
            return x

    trunk = wide()
    found = chain(trunk)
    layers = ((Counting(), SIZE), *found.layers)
    for block, expected in ((BLOCK, [7, 7, 6]), (3, [3] * 6 + [2]), (64, [20]), (1, [1] * 20)):
        Counting.sizes.clear()
        engine = FastChain(Chain(layers, SIZE), *whole(found), winograd=True, block=block)
        assert_near(engine(images(20, SIZE)), trunk(images(20, SIZE)))
        assert Counting.sizes == expected


# -------------------------------------------------------------------------------- changed weights


def scaled(conv: nn.Conv2d) -> None:
    conv.weight.mul_(1.5)


def past_the_version(conv: nn.Conv2d) -> None:
    conv.weight.data.mul_(1.5)


def replaced(conv: nn.Conv2d) -> None:
    conv.weight = nn.Parameter(conv.weight.flip(0), requires_grad=False)


def moved_bias(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    conv.bias.add_(1)


@pytest.mark.parametrize("change", [scaled, past_the_version, replaced, moved_bias])
def test_changed_weights_are_noticed(change: Callable[[nn.Conv2d], None]) -> None:
    trunk, batch = wide(), images(2, SIZE)
    engine = fast(trunk)
    before = engine(batch)
    change(trunk.get_submodule("7"))  # type: ignore[arg-type]
    change(trunk.get_submodule("1"))  # type: ignore[arg-type]
    assert_near(engine(batch), trunk(batch))
    assert float((engine(batch) - before).abs().max()) > 0.1
    assert engine.winograd == 2


def test_another_dtype_runs_without_winograd() -> None:
    trunk, batch = wide(), images(2, SIZE)
    engine = fast(trunk)
    engine(batch)
    trunk.double()
    found = engine(batch.double())
    assert engine.winograd == 0
    torch.testing.assert_close(found, trunk(batch.double()), rtol=1e-12, atol=1e-12)


# --------------------------------------------------------------------------------- the same bits


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases(any_layers, whole_numbers=False))
def test_with_the_networks_own_function_the_bits_are_its_own(case: Drawn) -> None:
    """Whatever the layers: for every block the bits that the network gives for that block."""

    def own(given_images: Tensor) -> Tensor:
        found: Tensor = case.trunk(given_images.clone())
        return found

    engine = FastChain(case.chain, case.rows, case.columns, winograd=False, own=own)
    with torch.no_grad():
        for _ in range(2):
            found = engine(case.images)
            pieces = max(1, -(-len(case.images) // BLOCK))
            for block, part in zip(
                found.tensor_split(pieces), case.images.tensor_split(pieces), strict=True
            ):
                assert torch.equal(block[:, :, *case.box], own(part)[:, :, *case.box])


def test_a_network_that_gives_other_bits_is_asked_every_time() -> None:
    trunk, batch = wide(), images(3, SIZE)
    asked: list[int] = []

    def own(given_images: Tensor) -> Tensor:
        asked.append(len(given_images))
        found: Tensor = trunk(given_images)
        found[0, 0, 0, 0] += 1e-6
        return found

    engine = fast(trunk, winograd=False, own=own)
    for _ in range(2):
        expected = trunk(batch)
        expected[0, 0, 0, 0] += 1e-6
        assert torch.equal(engine(batch), expected)
    assert asked == [3, 3, 3]


def test_a_network_that_gives_the_same_bits_is_asked_once_a_form() -> None:
    trunk = wide()
    asked: list[tuple[int, bool]] = []

    def own(given_images: Tensor) -> Tensor:
        last = given_images.is_contiguous(memory_format=torch.channels_last)
        asked.append((len(given_images), last))
        return trunk(given_images)  # type: ignore[no-any-return]

    engine = fast(trunk, winograd=False, own=own)
    batch = images(3, SIZE)
    last = batch.contiguous(memory_format=torch.channels_last)
    for given_images in (batch, batch, batch[:2], last, last, batch[:2]):
        assert torch.equal(engine(given_images), trunk(given_images))
    assert asked == [(3, False), (2, False), (3, True)]


def test_nothing_random_is_drawn_from_the_global_state() -> None:
    trunk, batch = wide(), images(2, SIZE)
    before = torch.get_rng_state()
    fast(trunk, winograd=False, own=trunk)(batch)
    fast(trunk)(batch)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("layer", [nn.GELU(), nn.SiLU(inplace=True), nn.Sigmoid(), nn.ELU()])
def test_exponentials_are_not_repeatable(layer: nn.Module) -> None:
    assert not fast(wide(layer)).repeatable
    assert fast(wide(nn.ReLU6(), nn.Hardswish())).repeatable
