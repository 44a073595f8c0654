"""What a set of cells needs of every layer, against the layers themselves."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from camaudit.engine.chain import FastChain
from camaudit.engine.cone import Cone, Span, cone, span_of
from camaudit.walls.receptive import Chain, chain_of, reach
from tests.engine.drawn import Drawn, any_layers, cases
from tests.networks import images

CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def reads(case: Drawn) -> tuple[Tensor, Tensor]:
    """Boolean (H) and (W): image rows and columns that some wanted cell reads."""
    rows, columns = reach(case.chain)
    down, across = case.box
    return rows[down].any(dim=0), columns[across].any(dim=0)


def fast(case: Drawn) -> Tensor:
    with torch.no_grad():
        return FastChain(case.chain, case.rows, case.columns, winograd=False)(case.images)


def averages(case: Drawn) -> bool:
    """Whether averages over other than 1, 2 or 4 cells make numbers round."""
    return any(isinstance(m, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)) for m in case.trunk)


def assert_same(case: Drawn, found: Tensor, expected: Tensor) -> None:
    """Equal to the bit, or to rounding where averages round."""
    assert found.shape == expected.shape
    if averages(case):
        tolerance = 1e-12 if found.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    else:
        assert torch.equal(found, expected)


def within(case: Drawn, found: Tensor) -> Tensor:
    return found[:, :, *case.box]


@settings(max_examples=250, **CALM)
@given(case=cases())
def test_the_wanted_cells_are_those_of_the_whole_chain(case: Drawn) -> None:
    kept = case.images.clone()
    assert_same(case, fast(case), case.expected())
    assert torch.equal(case.images, kept), "the user's images were written to"


@settings(max_examples=100, **CALM)
@given(case=cases(any_layers))
def test_layers_that_cannot_be_cut_are_whole_and_right(case: Drawn) -> None:
    assert_same(case, fast(case), case.expected())


@settings(max_examples=100, **CALM)
@given(case=cases())
def test_only_pixels_that_wanted_cells_read_matter(case: Drawn) -> None:
    rows, columns = reads(case)
    expected = within(case, case.expected())
    case.images.masked_fill_(~(rows[:, None] & columns[None]), torch.nan)
    assert_same(case, within(case, fast(case)), expected)


@settings(max_examples=100, **CALM)
@given(case=cases(whole_numbers=False))
def test_rounding_is_all_that_differs_for_any_numbers(case: Drawn) -> None:
    tolerance = 1e-12 if case.images.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(fast(case), case.expected(), rtol=tolerance, atol=tolerance)


def hull(read: Tensor) -> tuple[int, int]:
    places = read.nonzero().flatten()
    return int(places[0]), int(places[-1]) + 1


@settings(max_examples=150, **CALM)
@given(case=cases(), cuts=st.integers(0, 2**5 - 1))
def test_no_more_than_the_cells_read_and_what_alignment_asks(case: Drawn, cuts: int) -> None:
    """The image ends with the last row that is read, and begins near the first."""
    cuttable = [bool(cuts >> place & 1) for place in range(len(case.chain.layers))]
    for axis, (wanted, read) in enumerate(zip((case.rows, case.columns), reads(case), strict=True)):
        found = cone(case.chain, axis, wanted, cuttable)
        if wanted.whole or not read.any():
            continue
        start, stop = hull(read)
        strides = prod(_stride(module, axis) for module, _ in case.chain.layers)
        assert found.image.start % strides == 0
        assert found.image.start + found.unread <= start
        assert start - found.image.start < strides or found.unread < strides
        assert found.image.stop >= stop
        if not any(_overhangs(module, axis) for module, _ in case.chain.layers):
            assert found.image.start + found.unread == start
            assert found.image.stop == stop


def _stride(module: nn.Module, axis: int) -> int:
    stride = getattr(module, "stride", 1)
    return stride[axis] if isinstance(stride, tuple) else stride


def _overhangs(module: nn.Module, axis: int) -> bool:
    """Whether a window's hull may hold cells that it does not read, or lie in padding alone."""
    values = [getattr(module, name, 1) for name in ("kernel_size", "padding", "dilation")]
    kernel, padding, dilation = (v[axis] if isinstance(v, tuple) else v for v in values)
    windowed = isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
    return windowed and (padding >= kernel or dilation > 1 or _stride(module, axis) > kernel)


# ------------------------------------------------------------------------------------ known chains


def chained(*layers: nn.Module, size: int | tuple[int, int] = 16) -> Chain:
    trunk = nn.Sequential(*layers).eval()
    found = chain_of(trunk, images(1, size))
    assert isinstance(found, Chain), found
    return found


def same(size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(3, 3, size, padding=size // 2)


def test_the_papers_network_reads_170_rows() -> None:
    layers: list[nn.Module] = []
    for count in (2, 2, 3, 3):
        layers += [*(same() for _ in range(count)), nn.MaxPool2d(2)]
    chain = chained(*layers, *(same() for _ in range(3)), size=224)
    cuttable = [isinstance(module, nn.MaxPool2d) for module, _ in chain.layers]
    rows = cone(chain, 0, Span(0, 5, 14), cuttable)
    assert rows.image == slice(0, 170)
    assert rows.result == slice(0, 5)
    assert [part.stop for part in rows.keep[2::3][:2]] == [168, 82]
    below = cone(chain, 0, Span(9, 14, 14), cuttable)
    assert below.image == slice(48, 224)  # cell row 9 reads rows 54 to 249: 48 is 3 · 16
    assert below.unread == 6
    columns = cone(chain, 1, Span(0, 14, 14), cuttable)
    assert columns == Cone(
        slice(None), 0, (slice(None),) * len(layers + [same()] * 3), slice(0, 14)
    )


def test_layers_are_cut_where_that_is_allowed() -> None:
    chain = chained(same(), same(), same())
    never = cone(chain, 0, Span(4, 6, 16), [False, False, False])
    assert (never.image, never.keep, never.result) == (
        slice(1, 9), (slice(None), slice(0, 8), slice(0, 8)), slice(3, 5),
    )  # fmt: skip
    last = cone(chain, 0, Span(4, 6, 16), [False, False, True])
    assert (last.image, last.keep, last.result) == (
        slice(1, 9), (slice(None), slice(0, 8), slice(2, 6)), slice(1, 3),
    )  # fmt: skip


def test_cells_that_read_padding_alone() -> None:
    conv = nn.Conv2d(3, 3, 1, padding=3)
    chain = chained(conv, same(), size=6)
    with torch.no_grad():
        whole = nn.Sequential(*[module for module, _ in chain.layers])(images(1, 6))
        for start in range(12):
            found = FastChain(
                chain, Span(start, start + 1, 12), Span(0, 12, 12), winograd=False
            )(images(1, 6))  # fmt: skip
            torch.testing.assert_close(found[:, :, start], whole[:, :, start])


@pytest.mark.parametrize(
    "layer",
    [
        nn.AdaptiveAvgPool2d(4), nn.ZeroPad2d(1), nn.ConstantPad2d(1, 0.5),
        nn.MaxPool2d(3, ceil_mode=True), nn.AvgPool2d(3, ceil_mode=True),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate"),
    ],
    ids=str,
)  # fmt: skip
def test_layers_whose_edges_are_no_zeros_make_everything_whole(layer: nn.Module) -> None:
    chain = chained(same(), layer, same())
    height = chain.layers[-1][1][0]
    found = cone(chain, 0, Span(1, 2, height), [True, True, True])
    assert found == Cone(slice(None), 0, (slice(None),) * 3, slice(1, 2))


def test_the_smallest_span_of_a_mask() -> None:
    assert span_of(torch.tensor([False, True, False, True, False])) == Span(1, 4, 5)
    assert span_of(torch.tensor([True])) == Span(0, 1, 1)
    assert Span(0, 3, 3).whole
    assert not Span(0, 2, 3).whole
    assert not Span(1, 3, 3).whole
