"""ROAD against a literal reference: imputation, its noise, removal in both orders, figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from camaudit.errors import UsageError
from camaudit.metrics.insertion_deletion import pixel_order
from camaudit.metrics.registry import METRICS
from camaudit.metrics.road import (
    PERCENTILES,
    imputation_noise,
    imputed_images,
    removed_pixels,
    road,
    road_average,
    road_curve,
)
from tests.references import metrics as reference

HEIGHT, WIDTH = 6, 7
TARGETS = torch.tensor([1, 0])

drawn_masks = hnp.arrays(np.bool_, (2, HEIGHT, WIDTH)).filter(
    lambda masks: not masks.all(axis=(1, 2)).any()
)


class Network(nn.Module):
    """A small smooth network that counts the images of each batch."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.kernel = torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.float64)
        self.head = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        kernel, head = self.kernel.to(images), self.head.to(images)
        return torch.conv2d(images, kernel).tanh().mean(dim=(2, 3)) @ head * 3


def images(count: int = 2, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 2, *size, generator=generator, dtype=torch.float64)


def maps(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def close(ours: Tensor, expected: object, *, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(ours.numpy(), np.asarray(expected), rtol=1e-10, atol=atol)


# --- imputation -----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(drawn=drawn_masks)
def test_imputed_pixels_are_the_reference(drawn: Any) -> None:
    ours = imputed_images(images(), torch.from_numpy(drawn), noise=0)
    for row in range(2):
        close(ours[row], reference.road_impute(images()[row].numpy(), drawn[row]))


@settings(max_examples=25)
@given(drawn=drawn_masks)
def test_imputed_pixels_stay_within_those_left_and_the_others_as_they_are(drawn: Any) -> None:
    gone, whole = torch.from_numpy(drawn), images()
    ours = imputed_images(whole, gone, noise=0)
    for row in range(2):
        left = whole[row][:, ~gone[row]]
        assert torch.equal(ours[row][:, ~gone[row]], left)
        imputed = ours[row][:, gone[row]]
        assert bool((imputed <= left.amax(dim=1, keepdim=True) + 1e-12).all())
        assert bool((imputed >= left.amin(dim=1, keepdim=True) - 1e-12).all())


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (2, 2), (13, 4), (12, 12)])
def test_imputation_at_other_sizes(size: tuple[int, int]) -> None:
    given = images(1, size=size)
    gone = torch.ones(1, *size, dtype=torch.bool)
    gone[0, -1, -1] = gone[0, size[0] // 2, 0] = False
    ours = imputed_images(given, gone, noise=0)
    close(ours[0], reference.road_impute(given[0].numpy(), gone[0].numpy()))


def test_a_plane_is_imputed_exactly_where_all_neighbours_are_inside() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    given = (2 * rows - 3 * columns + 1)[None, None].double()
    gone = torch.zeros(1, 8, 9, dtype=torch.bool)
    gone[0, 2:6, 2:6] = True
    close(imputed_images(given, gone, noise=0), given, atol=1e-11)


def test_the_noise_is_added_to_imputed_pixels_alone_and_scales() -> None:
    whole, gone = images(), maps() > 0.5
    plain = imputed_images(whole, gone, noise=0)
    for scale in (0.01, 2.0):
        ours = imputed_images(whole, gone, noise=scale, seed=5)
        drawn = np.stack([imputation_noise(image, seed=5) for image in whole])
        close(ours - plain, np.where(gone.numpy()[:, None], scale * drawn, 0))
        expected = reference.road_impute(
            whole[0].numpy(), gone[0].numpy(), noise=scale * imputation_noise(whole[0], seed=5)
        )
        close(ours[0], expected)


def test_the_noise_is_an_images_own_whatever_its_batch_dtype_and_seed() -> None:
    first, second = images().float()
    drawn = imputation_noise(first)
    assert drawn.shape == first.shape
    assert np.array_equal(drawn, imputation_noise(first.double()))
    assert not np.array_equal(drawn, imputation_noise(second))
    assert not np.array_equal(drawn, imputation_noise(first, seed=1))


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "turned"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_layout_of_images_are_kept(layout: str, dtype: torch.dtype) -> None:
    given, gone = images().to(dtype), maps() > 0.5
    expected = imputed_images(images(), gone, noise=0)
    if layout == "channels last":
        given = given.contiguous(memory_format=torch.channels_last)
    elif layout == "turned":
        given = given.transpose(2, 3).contiguous().transpose(2, 3)
    before = given.clone()
    ours = imputed_images(given, gone, noise=0)
    assert ours.dtype == dtype
    assert ours.stride() == given.stride()
    assert torch.equal(given, before)
    close(ours.double(), expected, atol=1e-12 if dtype == torch.float64 else 1e-6)


def test_nothing_to_impute_and_nothing_to_impute_from() -> None:
    none = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    assert torch.equal(imputed_images(images(), none), images())
    none[1] = True
    with pytest.raises(UsageError, match="image 1 has no pixel left"):
        imputed_images(images(), none)


def test_bad_imputations() -> None:
    gone = maps() > 0.5
    for whole, masks in (
        (images()[0], gone),
        (images(), gone[:1]),
        (images(), gone.double()),
        (images().long(), gone),
        (images()[:0], gone[:0]),
    ):
        with pytest.raises(UsageError, match="expected floating images N×C×H×W and boolean masks"):
            imputed_images(whole, masks)
    for options in ({"noise": -1.0}, {"noise": math.nan}, {"seed": -1}):
        with pytest.raises(UsageError, match="expected a noise and a seed of at least 0"):
            imputed_images(images(), gone, **options)  # type: ignore[arg-type]


# --- removal and curves ---------------------------------------------------------------------------


@pytest.mark.parametrize("most", [True, False])
@pytest.mark.parametrize("percentile", [1, 10, 50, 90, 99])
def test_removed_pixels_are_the_reference(percentile: int, most: bool) -> None:
    order, _ = pixel_order(maps())
    ours = removed_pixels(order, percentile, (HEIGHT, WIDTH), most=most)
    for row in range(2):
        expected = reference.road_removed(
            order[row].tolist(), percentile, (HEIGHT, WIDTH), most=most
        )
        assert np.array_equal(ours[row].numpy(), expected)


def test_both_orders_share_the_pixels_out() -> None:
    order, _ = pixel_order(maps().round(decimals=1))
    most = removed_pixels(order, 50, (HEIGHT, WIDTH), most=True)
    least = removed_pixels(order, 50, (HEIGHT, WIDTH), most=False)
    assert torch.equal(most, ~least)


@pytest.mark.parametrize("first", ["most", "least"])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_curves_and_figures_are_the_reference(first: Any, batch_size: int) -> None:
    order, _ = pixel_order(maps(), seed=2)
    model = Network()
    ours = road_curve(
        model, images(), order, TARGETS, first=first, noise=0.1, seed=3, batch_size=batch_size
    )
    assert ours.dtype == torch.float64
    assert sum(model.batches) == 2 * len(PERCENTILES)
    assert max(model.batches) <= batch_size
    for row in range(2):
        noise = 0.1 * imputation_noise(images()[row], seed=3)
        expected = reference.road_scores(
            model,
            images()[row].numpy(),
            maps()[row].numpy(),
            int(TARGETS[row]),
            most=first == "most",
            seed=2,
            noise=[noise] * len(PERCENTILES),
        )
        close(ours[row], expected)
        close(road_average(ours)[row], reference.road_morf(expected))


def test_a_curve_depends_on_its_image_alone_and_leaves_nothing_behind() -> None:
    order, _ = pixel_order(maps())
    given, state = images().requires_grad_(), torch.get_rng_state()
    whole = road_curve(Network(), given, order, TARGETS, first="most")
    assert not whole.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    alone = road_curve(Network(), images()[1:], order[1:], TARGETS[1:], first="most")
    close(alone, whole[1:])


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_map_without_an_order_is_undefined_and_costs_nothing(bad: float) -> None:
    shown, model = maps(), Network()
    shown[0] = bad
    order, _ = pixel_order(shown)
    morf, lerf = (
        road_curve(model, images(), order, TARGETS, first=first, percentiles=[25, 75])  # type: ignore[arg-type]
        for first in ("most", "least")
    )
    assert model.batches == [2, 2]
    assert morf.isnan().all(dim=1).tolist() == [True, False]
    assert road(morf, lerf).isnan().tolist() == [True, False]
    none = road_curve(model, images()[:1], order[:1], TARGETS[:1], first="most")
    assert bool(none.isnan().all())
    assert model.batches == [2, 2]


def test_a_map_of_what_counts_beats_its_opposite() -> None:
    def model(batch: Tensor) -> Tensor:
        logits = batch.new_zeros(len(batch), 2)
        logits[:, 1] = batch[:, 0, 2:4, 2:5].sum(dim=(1, 2)) - 3
        return logits

    given = torch.zeros(1, 2, HEIGHT, WIDTH, dtype=torch.float64)
    given[:, :, 2:4, 2:5] = 1
    order, _ = pixel_order(given[:, 0] + maps(1) / 9)
    figures = []
    for rows in (order, order.flip(1)):
        morf, lerf = (
            road_curve(model, given, rows, torch.tensor([1]), first=first, noise=0)  # type: ignore[arg-type]
            for first in ("most", "least")
        )
        figures.append(float(road(morf, lerf)))
    assert figures[0] > 0.2
    assert figures[1] == pytest.approx(-figures[0], abs=1e-12)


# --- figures --------------------------------------------------------------------------------------

drawn_curves = hnp.arrays(np.float64, (2, 5), elements=st.floats(0, 1)).map(torch.from_numpy)


@given(morf=drawn_curves, lerf=drawn_curves)
def test_figures_keep_their_ranges_and_change_sign_with_the_orders(
    morf: Tensor, lerf: Tensor
) -> None:
    both = road(morf, lerf)
    for name, figure in (("road-morf", road_average(morf)), ("road", both)):
        info = METRICS[name].info
        assert bool(((figure >= info.low) & (figure <= info.high)).all())
    assert torch.equal(road(lerf, morf), -both)
    expected = [reference.road(*rows) for rows in zip(morf.tolist(), lerf.tolist(), strict=True)]
    close(both, expected)


def test_directions_are_registered() -> None:
    directions = {name: METRICS[name].info.direction for name in METRICS if "road" in name}
    assert directions == {"road": "higher", "road-lerf": "higher", "road-morf": "lower"}
    assert METRICS["road"].function is road
    assert METRICS["road-morf"].function is METRICS["road-lerf"].function is road_average


def run(**options: Any) -> Tensor:
    order, _ = pixel_order(maps())
    given = {"images": images(), "order": order, "targets": TARGETS, "first": "most", **options}
    return road_curve(
        Network(), given.pop("images"), given.pop("order"), given.pop("targets"), **given
    )


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "first": (lambda: run(first="morf"), "expected first='most' or 'least'"),
    "no percentiles": (lambda: run(percentiles=[]), "at least one percentile"),
    "percentile 0": (lambda: run(percentiles=[0, 50]), "between 0 and 100, got 0"),
    "percentile 100": (lambda: run(percentiles=[100]), "between 0 and 100, got 100"),
    "chunks": (lambda: run(batch_size=0), "a batch_size of at least 1"),
    "images": (lambda: run(images=images()[0]), "expected images N×C×H×W with an order"),
    "rows": (lambda: run(targets=TARGETS[:1]), "expected images N×C×H×W with an order"),
    "order": (lambda: run(order=torch.zeros(2, 3).long()), r"expected an order of int64 \(2, 42\)"),
    "class": (lambda: run(targets=TARGETS + 2), "target 3 is none of 3 classes"),
    "curve": (lambda: road_average(torch.ones(3)), "expected probabilities N×percentiles"),
    "no curve": (lambda: road_average(torch.ones(0, 3)), "expected probabilities N×percentiles"),
    "range": (lambda: road_average(torch.full((1, 3), -0.1)), "expected probabilities"),
    "two": (lambda: road(torch.ones(1, 3), torch.ones(1, 2)), "at the same percentiles"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(UsageError, match=message):
        call()
