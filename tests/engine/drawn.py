"""Chains of layers drawn by Hypothesis, in numbers that floating point adds without rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from camaudit.engine.cone import Span
from camaudit.walls.receptive import Chain, chain_of
from tests.walls.test_receptive import convolutions, pads, pairs, poolings

_DYADIC = (
    nn.ReLU, nn.ReLU6, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Hardtanh,
    lambda: nn.LeakyReLU(0.25), lambda: nn.ReLU(inplace=True), lambda: nn.Hardtanh(inplace=True),
    lambda: nn.LeakyReLU(0.5, inplace=True),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Drawn:
    """A trunk that is a chain, images for it, and a span of its cells along each axis."""

    trunk: nn.Sequential
    chain: Chain
    images: Tensor
    rows: Span
    columns: Span

    @property
    def box(self) -> tuple[slice, slice]:
        """The wanted cells."""
        return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)

    def expected(self) -> Tensor:
        """What the whole chain gives on the wanted cells, 0 elsewhere."""
        with torch.no_grad():
            whole = self.trunk(self.images.clone())
        part = torch.zeros_like(whole)
        part[:, :, *self.box] = whole[:, :, *self.box]
        return part


def normalisation() -> nn.Module:
    """BatchNorm in eval mode with powers of two."""
    norm = nn.BatchNorm2d(3, eps=0.0)
    norm.running_mean = torch.tensor([1.0, -2.0, 0.0])
    norm.running_var = torch.tensor([4.0, 0.25, 1.0])
    return norm


pointwise = st.sampled_from(_DYADIC).map(lambda kind: kind()) | st.builds(normalisation)
#: Zero padding alone, no ceil mode, no layer that pads: what cuts can go through.
plain_convolutions = st.builds(
    lambda kernel, stride, dilation, padding, groups, bias: nn.Conv2d(
        3, 3, kernel, stride=stride, dilation=dilation, padding=padding, groups=groups, bias=bias
    ),
    pairs, pairs, pairs, st.tuples(st.integers(0, 3), st.integers(0, 3)), st.sampled_from([1, 3]),
    st.booleans(),
)  # fmt: skip


@st.composite
def plain_poolings(draw: st.DrawFn) -> nn.Module:
    pool = draw(poolings())
    pool.ceil_mode = False
    if isinstance(pool, nn.AvgPool2d):
        pool.count_include_pad = draw(st.booleans())
    return pool


plain_layers = st.one_of(plain_convolutions, plain_poolings(), pointwise)
any_layers = st.one_of(
    convolutions(), poolings(), pads, pointwise, st.builds(nn.AdaptiveAvgPool2d, pairs)
)


@st.composite
def spans(draw: st.DrawFn, size: int) -> Span:
    """A span of at least one cell, often a single one."""
    start = draw(st.integers(0, size - 1))
    return Span(start, draw(st.integers(start + 1, size)), size)


@st.composite
def cases(
    draw: st.DrawFn,
    layers: st.SearchStrategy[nn.Module] = plain_layers,
    *,
    most: int = 5,
    whole_numbers: bool = True,
) -> Drawn:
    """Up to `most` layers that fit one after the other, images, and wanted cells.

    With `whole_numbers` weights are -1, 0 or 1 and pixels small whole numbers.
    """
    size = draw(st.tuples(st.integers(5, 24), st.integers(5, 24)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    kept: list[nn.Module] = []
    maps = torch.ones(1, 3, *size, dtype=dtype)
    for layer in draw(st.lists(layers, min_size=1, max_size=most)):
        layer = _filled(layer.to(dtype).eval(), generator, whole_numbers)
        try:
            with torch.no_grad():
                following = layer(maps)
        except RuntimeError:  # the maps have become too small for it
            continue
        if following.numel():
            kept.append(layer)
            maps = following.clone()
    trunk = nn.Sequential(*(kept or [nn.Identity()])).eval()
    count = draw(st.sampled_from([1, 2, 9]))
    if whole_numbers:
        images = torch.randint(-4, 5, (count, 3, *size), generator=generator).to(dtype)
    else:
        images = torch.randn(count, 3, *size, generator=generator, dtype=dtype)
    if draw(st.booleans()):
        images = images.contiguous(memory_format=torch.channels_last)
    chain = chain_of(trunk, images[:1].clone())
    assert isinstance(chain, Chain), chain
    height, width = chain.layers[-1][1]
    return Drawn(trunk, chain, images, draw(spans(height)), draw(spans(width)))


def _filled(layer: nn.Module, generator: torch.Generator, whole_numbers: bool) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        for tensor in layer.parameters():
            drawn = torch.randint(-1, 2, tensor.shape, generator=generator)
            if not whole_numbers:
                drawn = torch.randn(tensor.shape, generator=generator) * 0.3
            tensor.requires_grad_(False).copy_(drawn)
    return layer
