"""Fused maps: scaled, joined, and undefined only where a part of them is."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import LayerError, UnknownNameError, UsageError
from camaudit.maps import upsample
from camaudit.methods import METHODS, compute, method_names
from camaudit.methods.calls import fused, method_call
from camaudit.methods.fusion import fuse
from camaudit.walls import insert_wall, split_trunk
from tests.methods.test_layered_methods import stack
from tests.networks import images


def literal(maps: list[Tensor], size: tuple[int, int], how: str, scale: str) -> Tensor:
    """Pixel by pixel in Python floats."""
    raised = [upsample(one, size).tolist() for one in maps]
    out = torch.zeros(len(maps[0]), *size, dtype=torch.float64)
    for n in range(len(maps[0])):
        scaled = []
        for one in raised:
            values = [value for row in one[n] for value in row]
            low = min(values) if scale == "minmax" else 0.0
            span = 1.0 if scale == "none" else max(values) - low
            low = 0.0 if scale == "none" else low
            scaled.append([[(v - low) / span if span else 0.0 for v in row] for row in one[n]])
        for i in range(size[0]):
            for j in range(size[1]):
                column = [one[i][j] for one in scaled]
                value = max(column) if how == "max" else math.fsum(column) / len(column)
                out[n, i, j] = value
    return out


@st.composite
def several(draw: st.DrawFn) -> list[Tensor]:
    count, images = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    maps = []
    for _ in range(count):
        cells = draw(st.integers(1, 3)), draw(st.integers(1, 4))
        one = torch.rand(images, *cells, generator=generator, dtype=torch.float64)
        maps.append(one * draw(st.sampled_from([0.0, 1e-3, 1.0, 1e4])))
    return maps


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("scale", ["max", "minmax", "none"])
@given(maps=several())
def test_fuse_equals_its_definition(how: str, scale: str, maps: list[Tensor]) -> None:
    found = fuse(maps, size=(5, 6), how=how, scale=scale)  # type: ignore[arg-type]
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, literal(maps, (5, 6), how, scale), rtol=1e-12, atol=1e-14)


def test_zeros_stay_zeros_and_an_empty_map_stays_empty() -> None:
    one = torch.tensor([[[0.0, 2.0], [0.0, 4.0]]], dtype=torch.float64)
    empty = torch.zeros(1, 2, 2, dtype=torch.float64)
    for scale in ("max", "minmax", "none"):
        assert not fuse([empty, empty], size=(4, 4), scale=scale).any()  # type: ignore[arg-type]
    assert torch.equal(fuse([one], size=(2, 2)), one / 4)
    assert torch.equal(fuse([one, empty], size=(2, 2)), one / 8)
    assert torch.equal(fuse([one, empty], size=(2, 2), how="max"), one / 4)
    assert not fuse([one + 3, one * 0 + 7], size=(2, 2), how="mean", scale="minmax")[0, :, 0].any()


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("scale", ["max", "minmax", "none"])
def test_an_undefined_map_stays_undefined_and_leaves_other_images_alone(
    how: str, scale: str
) -> None:
    maps = [torch.rand(2, 2, 2, dtype=torch.float64), torch.rand(2, 4, 4, dtype=torch.float64)]
    maps[1][0] = torch.nan
    found = fuse(maps, size=(4, 4), how=how, scale=scale)  # type: ignore[arg-type]
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_fuse_refuses_other_words_nothing_and_maps_of_other_images() -> None:
    one = torch.rand(2, 3, 3)
    with pytest.raises(UsageError, match="how must be one of mean, max; got 'sum'"):
        fuse([one], size=(3, 3), how="sum")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="scale must be one of max, minmax, none; got 'l2'"):
        fuse([one], size=(3, 3), scale="l2")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one map"):
        fuse([], size=(3, 3))
    with pytest.raises(UsageError, match=r"same N images; got shapes \[\(2, 3, 3\), \(1, 3, 3\)\]"):
        fuse([one, one[:1]], size=(3, 3))
    with pytest.raises(UsageError, match="expected maps N×h×w"):
        fuse([one[0]], size=(3, 3))


# ------------------------------------------------------------------------------- several layers


def captured_behind(wall: str) -> Capture:
    divide = {"none": cut_at, "insert": insert_wall, "split": split_trunk}[wall]
    batch = images(2).double()
    return capture(divide(stack(), "7", batch), batch)


#: Methods whose defaults take many passes, with fewer.
_FEWER = {
    "rise": "rise(masks=20)", "sscam": "sscam(samples=2)", "opticam": "opticam(steps=2)",
    "iscam": "iscam(steps=2)",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(method_names(tokens=False)) - {"cam"}))
def test_every_method_can_be_fused(name: str) -> None:
    captured = captured_behind("none")
    spec = _FEWER.get(name, name)
    found = fused(spec, captured, ["4", "7"], seed=3)
    maps = [compute(spec, captured.at(layer), seed=3) for layer in ("4", "7")]
    assert torch.equal(found, fuse(maps, size=(16, 16)))
    assert found.shape == (2, 16, 16)
    assert bool((found >= 0).all())
    assert bool((found <= 1 + 1e-12).all())
    assert METHODS[name].info.family


@pytest.mark.parametrize("wall", ["none", "insert", "split"])
def test_options_reach_the_fusion(wall: str) -> None:
    captured = captured_behind(wall)
    maps = [compute("layercam", captured.at(layer)) for layer in captured.stages()]
    found = fused("layercam", captured, captured.stages(), how="max", scale="none")
    assert torch.equal(found, fuse(maps, size=(16, 16), how="max", scale="none"))
    assert torch.equal(
        fused("layercam", captured, ["7"], scale="none"), upsample(maps[-1], (16, 16))
    )


def test_local_methods_fused_over_a_split_stay_in_front_of_the_wall() -> None:
    captured = captured_behind("split")
    dead = captured.divided.zone.pixel_dead  # type: ignore[attr-defined]
    found = fused("layercam", captured, captured.stages()[:1])
    assert not found[:, dead].any()
    assert (found[:, ~dead] > 0).any()


def test_fused_refuses_no_layer_unknown_ones_and_unknown_methods() -> None:
    captured = captured_behind("none")
    for nothing in ([], (), "47"):
        with pytest.raises(UsageError, match="a list of at least one layer"):
            fused("gradcam", captured, nothing)
    with pytest.raises(LayerError, match="no layer '99'"):
        fused("gradcam", captured, ["99"])
    with pytest.raises(UnknownNameError):
        fused("gradcan", captured, ["7"])


def test_the_model_is_a_chain_of_three_sizes() -> None:
    assert isinstance(stack(), nn.Sequential)
    assert captured_behind("none").stages() == ["1", "4", "7"]


def test_a_spec_names_the_layers_to_fuse() -> None:
    call = method_call("gradcam++( epsilon=0.5, fuse = max, at=conv1 + conv2)")
    assert call.layers == ("conv1", "conv2")
    assert call.label == "gradcam++(at=conv1+conv2, fuse=max, epsilon=0.5)"
    assert method_call(call.label) == call
    with pytest.raises(UsageError, match="fuse must be one of mean, max; got 'sum'"):
        method_call("gradcam(at=conv1, fuse=sum)")
    with pytest.raises(UsageError, match="gradcam has no option 'at='"):
        method_call("gradcam(at=)")
