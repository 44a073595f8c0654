"""Winograd's convolutions against a direct one in float64, and what may not run by them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from camaudit.engine import winograd
from camaudit.engine.winograd import WORKSPACE_BYTES, WinogradConv, suits
from tests.engine.measured import Peak

#: Of the largest output. Measured over 1 500 draws: at most 2.2e-5 up to 512 channels and 2.8e-5
#: with 1 024; a direct float32 convolution has 5e-6.
BOUND = 4e-5

WIDTHS = ((64, 128), (128, 64), (8, 1024), (1024, 8))


def convolution(channels: tuple[int, int], *, bias: bool = True, seed: int = 0) -> nn.Conv2d:
    """A wide 3×3 convolution whose outputs are of unit scale, with float32 weights."""
    C, K = channels
    generator = torch.Generator().manual_seed(seed)
    conv = nn.Conv2d(C, K, 3, padding=1, bias=bias).requires_grad_(False)
    conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * (1 / (9 * C)) ** 0.5)
    if conv.bias is not None:
        conv.bias.copy_(torch.randn(K, generator=generator))
    return conv


def contiguous(x: Tensor) -> Tensor:
    return x.contiguous()


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def part_of_larger(x: Tensor) -> Tensor:
    """The same values as a slice, with NaN all around it."""
    return F.pad(x, (2, 3, 1, 4), value=torch.nan)[:, :, 1:-4, 2:-3]


def part_of_larger_last(x: Tensor) -> Tensor:
    return channels_last(F.pad(x, (1, 2, 3, 1), value=torch.nan))[:, :, 3:-1, 1:-2]


def every_second_image(x: Tensor) -> Tensor:
    return torch.stack([x, torch.full_like(x, torch.nan)], dim=1).flatten(0, 1)[::2]


def columns_first(x: Tensor) -> Tensor:
    """The same values with rows innermost in memory, then channels, then columns."""
    return x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


LAYOUTS = (
    contiguous, channels_last, part_of_larger, part_of_larger_last, every_second_image,
    columns_first,
)  # fmt: skip
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: x,
    "rectified": torch.relu,
    "shifted": lambda x: x + 3,
    "sparse": lambda x: torch.where(x > 2, x, 0.0),
}


def drawn_images(count: int, C: int, size: tuple[int, int], kind: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return KINDS[kind](torch.randn(count, C, *size, generator=generator))


def assert_near(conv: nn.Conv2d, images: Tensor, found: Tensor, *, rectify: bool = False) -> None:
    """`found` is the convolution of `images`, to the bound, as a float64 one computes it."""
    bias = None if conv.bias is None else conv.bias.double()
    exact = F.conv2d(images.double(), conv.weight.double(), bias, padding=1)
    expected = exact.relu() if rectify else exact
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= BOUND * float(exact.abs().max())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    channels=st.sampled_from(WIDTHS),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    count=st.integers(1, 3),
    bias=st.booleans(),
    rectify=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**16),
)
@example((64, 128), (1, 1), 1, True, False, contiguous, "normal", 0)
@example((64, 128), (20, 1), 2, True, True, columns_first, "normal", 0)
@example((128, 64), (16, 4), 1, False, False, channels_last, "shifted", 0)
def test_equals_a_direct_float64_convolution(
    channels: tuple[int, int],
    size: tuple[int, int],
    count: int,
    bias: bool,
    rectify: bool,
    layout: Callable[[Tensor], Tensor],
    kind: str,
    seed: int,
) -> None:
    conv = convolution(channels, bias=bias, seed=seed)
    given_images = layout(drawn_images(count, channels[0], size, kind, seed + 1))
    before = given_images.clone()
    found = WinogradConv(conv, rectify=rectify)(given_images)
    assert_near(conv, before, found, rectify=rectify)
    assert torch.equal(given_images, before)
    if rectify:
        assert torch.equal(found, WinogradConv(conv, rectify=False)(given_images).relu())


@pytest.mark.parametrize("floats", [1, 36 * 128 * 3, 36 * 128 * 3 * 2, 36 * 128 * 3 * 7])
@pytest.mark.parametrize("size", [(8, 9), (19, 12), (5, 10)])
def test_any_workspace_gives_the_same(
    floats: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row of tiles at a time, a few rows, whole images, several images."""
    conv = convolution((64, 128))
    images = drawn_images(5, 64, size, "normal", 3)
    monkeypatch.setattr(winograd, "_TILE_FLOATS", floats)
    assert_near(conv, images, WinogradConv(conv, rectify=False)(images))


def test_a_batch_over_the_workspace() -> None:
    """The real limit: 25 tiles of 128 channels each, 18 images at a time."""
    conv = convolution((64, 128))
    images = drawn_images(20, 64, (20, 20), "normal", 5)
    assert winograd._TILE_FLOATS < 20 * 36 * 25 * 128
    assert_near(conv, images, WinogradConv(conv, rectify=False)(images))


@pytest.mark.parametrize(
    ("channels", "size", "count"),
    [((64, 128), (20, 20), 20), ((16, 512), (96, 96), 2), ((512, 16), (96, 96), 2)],
)
def test_tiles_take_no_more_than_the_workspace(
    channels: tuple[int, int], size: tuple[int, int], count: int
) -> None:
    """Beside the result and one padded copy of the input."""
    conv = WinogradConv(convolution(channels), rectify=True)
    images = drawn_images(count, channels[0], size, "normal", 5)
    with Peak() as peak:
        found = conv(images)
    padded = channels[0] * (size[0] + 6) * (size[1] + 6) * 4 * count
    assert peak.bytes - found.untyped_storage().nbytes() - padded <= WORKSPACE_BYTES


def test_no_image_at_all() -> None:
    found = WinogradConv(convolution((64, 128)), rectify=True)(torch.zeros(0, 64, 5, 6))
    assert found.shape == (0, 128, 5, 6)


def test_every_call_has_a_result_of_its_own() -> None:
    conv = WinogradConv(convolution((64, 128)), rectify=False)
    images = drawn_images(1, 64, (6, 6), "normal", 1)
    first = conv(images)
    kept = first.clone()
    assert torch.equal(conv(images), kept)
    conv(images + 1)
    assert torch.equal(first, kept)


# ------------------------------------------------------------------------------------------- suits


class Subclass(nn.Conv2d):
    """A convolution of the user's own."""


class Doubled(nn.Module):
    """A parametrisation."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def parametrised() -> nn.Module:
    conv = convolution((64, 128))
    parametrize.register_parametrization(conv, "weight", Doubled())
    return conv


def with_a_forward_hook() -> nn.Module:
    conv = convolution((64, 128))
    conv.register_forward_hook(lambda *_: None)
    return conv


def with_a_forward_pre_hook() -> nn.Module:
    conv = convolution((64, 128))
    conv.register_forward_pre_hook(lambda *_: None)
    return conv


def with_its_own_forward() -> nn.Module:
    conv = convolution((64, 128))
    conv.forward = lambda x: x  # type: ignore[method-assign]
    return conv


def plain(**options: object) -> Callable[[], nn.Module]:
    chosen = {"in_channels": 64, "out_channels": 128, "kernel_size": 3, "padding": 1, **options}
    return lambda: nn.Conv2d(**chosen)  # type: ignore[arg-type]


REFUSED: dict[str, Callable[[], nn.Module]] = {
    "stride 2": plain(stride=2),
    "stride in one direction": plain(stride=(1, 2)),
    "dilation": plain(dilation=2),
    "groups": plain(in_channels=256, out_channels=256, groups=2),
    "no padding": plain(padding=0),
    "padding 2": plain(padding=2),
    "padding in one direction": plain(padding=(1, 0)),
    "padding by name": plain(padding="same"),
    "reflected padding": plain(padding_mode="reflect"),
    "circular padding": plain(padding_mode="circular"),
    "1×1": plain(kernel_size=1, padding=0),
    "5×5": plain(kernel_size=5, padding=2),
    "3×1": plain(kernel_size=(3, 1), padding=(1, 0)),
    "3×5": plain(kernel_size=(3, 5)),
    "narrow": plain(in_channels=3),
    "float64": plain(dtype=torch.float64),
    "bfloat16": plain(dtype=torch.bfloat16),
    "another device": plain(device="meta"),
    "subclass": lambda: Subclass(64, 128, 3, padding=1),
    "transposed": lambda: nn.ConvTranspose2d(64, 128, 3, padding=1),
    "another layer": nn.ReLU,
    "parametrised": parametrised,
    "forward hook": with_a_forward_hook,
    "forward pre-hook": with_a_forward_pre_hook,
    "another forward function": with_its_own_forward,
}


@pytest.mark.parametrize("module", REFUSED.values(), ids=REFUSED)
def test_other_layers_do_not_suit(module: Callable[[], nn.Module]) -> None:
    assert not suits(module())


@pytest.mark.parametrize("channels", [*WIDTHS, (512, 512), (90, 92)])
@pytest.mark.parametrize("bias", [True, False])
def test_plain_wide_convolutions_suit(channels: tuple[int, int], bias: bool) -> None:
    assert suits(convolution(channels, bias=bias))


# ----------------------------------------------------------------------------------------- current


def scaled_in_place(conv: nn.Conv2d) -> None:
    conv.weight.mul_(2)


def past_the_version(conv: nn.Conv2d) -> None:
    conv.weight.data[0, 0, 0, 0] += 1


def through_numpy(conv: nn.Conv2d) -> None:
    conv.weight.detach().numpy()[:] = 0


def loaded(conv: nn.Conv2d) -> None:
    conv.load_state_dict({"weight": conv.weight.flip(0), "bias": conv.bias})


def replaced(conv: nn.Conv2d) -> None:
    conv.weight = nn.Parameter(conv.weight + 1)


def moved_bias(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    conv.bias[3] += 1


def without_bias(conv: nn.Conv2d) -> None:
    conv.bias = None


def to_float64(conv: nn.Conv2d) -> None:
    conv.double()


def hooked(conv: nn.Conv2d) -> None:
    conv.register_forward_hook(lambda *_: None)


CHANGES = (
    scaled_in_place, past_the_version, through_numpy, loaded, replaced, moved_bias, without_bias,
    to_float64, hooked,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_convolution_is_not_current(change: Callable[[nn.Conv2d], None]) -> None:
    conv = convolution((64, 128))
    fast = WinogradConv(conv, rectify=False)
    assert fast.current()
    change(conv)
    assert not fast.current()


def test_a_bias_given_later_is_noticed() -> None:
    conv = convolution((64, 128), bias=False)
    fast = WinogradConv(conv, rectify=False)
    assert fast.current()
    conv.bias = nn.Parameter(torch.zeros(128))
    assert not fast.current()


def test_equal_weights_in_another_place_are_current() -> None:
    conv = convolution((64, 128))
    fast = WinogradConv(conv, rectify=False)
    conv.weight = nn.Parameter(conv.weight.clone())
    assert fast.current()
