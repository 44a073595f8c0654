"""Insertion and deletion against a literal reference; ties, shared ends and undefined maps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from camaudit.errors import UsageError
from camaudit.metrics.insertion_deletion import (
    check_order,
    class_probabilities,
    curve,
    curve_auc,
    deletion_curve,
    insertion_canvas,
    insertion_curve,
    pixel_order,
    pixel_sets,
)
from camaudit.metrics.registry import METRICS
from tests.references import metrics as reference

HEIGHT, WIDTH = 5, 6
PIXELS = HEIGHT * WIDTH
TARGETS = torch.tensor([2, 0, 1])

drawn_maps = hnp.arrays(np.float64, (3, HEIGHT, WIDTH), elements=st.integers(0, 4).map(float)).map(
    torch.from_numpy
)


class Network(nn.Module):
    """A small smooth network that counts the batches and images that it saw."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.kernel = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64).to(dtype)
        self.head = torch.randn(4 * PIXELS, 3, generator=generator, dtype=torch.float64).to(dtype)
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        features = torch.conv2d(images, self.kernel, padding=1).tanh()
        return features.flatten(1) @ self.head / 4


def images(count: int = 3, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def maps(count: int = 3, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def close(ours: Tensor, expected: object, *, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(ours.numpy(), np.asarray(expected), rtol=1e-10, atol=atol)


# --- the order ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(drawn=drawn_maps, seed=st.integers(0, 5))
def test_the_order_is_the_reference_with_its_ties(drawn: Tensor, seed: int) -> None:
    order, tied = pixel_order(drawn, seed=seed)
    for row in range(len(drawn)):
        expected, share = reference.pixel_order(drawn[row].numpy(), seed=seed)
        assert float(tied[row]) == pytest.approx(share, abs=1e-15)
        if reference.says_nothing(drawn[row].numpy()):
            assert order[row].tolist() == [-1] * PIXELS
        else:
            assert order[row].tolist() == expected


@given(drawn=drawn_maps)
def test_an_order_is_a_permutation_by_falling_value_whatever_the_scale(drawn: Tensor) -> None:
    order, tied = pixel_order(drawn)
    check_order(order, (3, PIXELS))
    assert torch.equal(pixel_order(drawn * 3 + 1)[0], order)
    assert torch.equal(pixel_order(drawn[1:2])[0], order[1:2])
    assert bool(((tied >= 0) & (tied <= 1)).all())
    for row in (order[:, 0] >= 0).nonzero().flatten():
        values = drawn[row].flatten()[order[row]]
        assert bool((values.diff() <= 0).all())


def test_equal_values_follow_one_permutation_for_all_maps_and_another_for_another_seed() -> None:
    flat = torch.zeros(2, HEIGHT, WIDTH)
    flat[0, 0, 0] = 1
    flat[1, 0, 0] = 7
    order, tied = pixel_order(flat, seed=4)
    assert torch.equal(order[0], order[1])
    assert tied.tolist() == [29 / 30] * 2
    assert not torch.equal(order[0], pixel_order(flat, seed=5)[0][0])
    assert order[0, 1:].tolist() != sorted(order[0, 1:].tolist())  # no corner comes first


@pytest.mark.parametrize(("fill", "share"), [(0.0, 1.0), (2.5, 1.0), (math.inf, math.nan)])
def test_constant_and_infinite_maps_have_no_order(fill: float, share: float) -> None:
    given = maps(2)
    given[0] = fill
    order, tied = pixel_order(given)
    assert order[0].tolist() == [-1] * PIXELS
    assert tied.tolist() == pytest.approx([share, 0.0], nan_ok=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_pixel_takes_the_order_away_and_only_from_its_map(bad: float) -> None:
    given = maps(2)
    given[1, 2, 3] = bad
    order, tied = pixel_order(given)
    assert int(order[1].max()) == -1
    assert math.isnan(float(tied[1]))
    assert torch.equal(order[:1], pixel_order(given[:1])[0])


def test_bad_maps_and_orders() -> None:
    for bad in (torch.ones(5, 6), torch.ones(1, 5, 6, dtype=torch.long), torch.ones(0, 5, 6)):
        with pytest.raises(UsageError, match="expected floating maps N×H×W"):
            pixel_order(bad)
    with pytest.raises(UsageError, match="seed is a whole number of at least 0, got -1"):
        pixel_order(maps(), seed=-1)
    with pytest.raises(UsageError, match="expected an order of int64"):
        check_order(torch.zeros(1, 3), (1, 3))
    for row in ([0, 0, 1], [0, 1, 3], [0, -1, 1], [-1, 0, 1]):
        with pytest.raises(UsageError, match="every pixel once, or -1 everywhere"):
            check_order(torch.tensor([row]), (1, 3))


# --- the canvas -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "sigma"), [(11, 5.0), (3, 1.0), (1, 2.0)])
@pytest.mark.parametrize("kernel", ["gaussian", "rise"])
def test_the_canvas_is_the_reference(size: int, sigma: float, kernel: str) -> None:
    given = images(2)
    ours = insertion_canvas(given, size=size, sigma=sigma, kernel=kernel)  # type: ignore[arg-type]
    for row in range(2):
        expected = reference.insertion_canvas(
            given[row].numpy(), size=size, sigma=sigma, kernel=kernel
        )
        close(ours[row], expected)


def test_the_canvas_keeps_dtype_and_the_inside_of_a_constant_image() -> None:
    blurred = insertion_canvas(torch.full((1, 2, 15, 15), 3.0))
    assert blurred.dtype == torch.float32
    torch.testing.assert_close(blurred[:, :, 5:10, 5:10], torch.full((1, 2, 5, 5), 3.0))
    assert bool((blurred[:, :, 0] < 3).all())  # zeros lie outside, as in RISE


def test_bad_canvases() -> None:
    for options in ({"size": 4}, {"size": -1}, {"sigma": 0.0}, {"sigma": math.nan}):
        with pytest.raises(UsageError, match="expected an odd size, a σ above 0"):
            insertion_canvas(images(), **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the kernel 'gaussian' or 'rise'"):
        insertion_canvas(images(), kernel="box")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected floating images N×C×H×W"):
        insertion_canvas(images()[0])


# --- the curves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels_per_step", [1, 4, 7, 30, 224])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_curves_are_the_reference(pixels_per_step: int, batch_size: int) -> None:
    given, shown, model = images(), maps(), Network()
    shown[2] = shown[2].round(decimals=1)  # some ties
    order, _ = pixel_order(shown, seed=1)
    options = {"pixels_per_step": pixels_per_step, "batch_size": batch_size}
    deleted = deletion_curve(model, given, order, TARGETS, **options)
    inserted = insertion_curve(model, given, order, TARGETS, **options)
    assert deleted.dtype == inserted.dtype == torch.float64
    for row, (image, shown_map) in enumerate(zip(given.numpy(), shown.numpy(), strict=True)):
        kept = {"seed": 1, "pixels_per_step": pixels_per_step}
        target = int(TARGETS[row])
        expected = reference.deletion_curve(model, image, shown_map, target, **kept)
        close(deleted[row], expected)
        close(curve_auc(deleted)[row], reference.curve_auc(expected))
        expected = reference.insertion_curve(model, image, shown_map, target, **kept)
        close(inserted[row], expected)
        close(curve_auc(inserted)[row], reference.curve_auc(expected))


def test_deleting_to_a_baseline_and_inserting_on_another_canvas() -> None:
    given, shown, model = images(), maps(), Network()
    order, _ = pixel_order(shown)
    black = torch.tensor([-2.0, -1.5, -1.0], dtype=torch.float64)
    end = black[None, :, None, None].expand(given.shape)
    ours = deletion_curve(model, given, order, TARGETS, baseline=black, pixels_per_step=4)
    again = insertion_curve(model, given, order, TARGETS, canvas=end, pixels_per_step=4)
    for row in range(3):
        arguments = (model, given[row].numpy(), shown[row].numpy(), int(TARGETS[row]))
        dark = end[row].numpy()
        close(ours[row], reference.deletion_curve(*arguments, end=dark, pixels_per_step=4))
        close(again[row], reference.insertion_curve(*arguments, start=dark, pixels_per_step=4))
    # Deletion in one order is insertion in the opposite one, read backwards.
    backwards = insertion_curve(model, given, order.flip(1), TARGETS, canvas=end, pixels_per_step=3)
    forwards = deletion_curve(model, given, order, TARGETS, baseline=black, pixels_per_step=3)
    close(backwards.flip(1), forwards)


def test_known_ends_are_taken_over_and_save_their_passes() -> None:
    given, model = images(), Network()
    order, _ = pixel_order(maps())
    whole = deletion_curve(model, given, order, TARGETS, pixels_per_step=4)
    assert sum(model.batches) == 3 * 9
    first = class_probabilities(model, given, TARGETS)
    last = class_probabilities(model, torch.zeros_like(given), TARGETS)
    for ends in ({"first": first}, {"last": last}, {"first": first, "last": last}):
        model.batches.clear()
        ours = deletion_curve(model, given, order, TARGETS, pixels_per_step=4, **ends)
        close(ours, whole)
        assert sum(model.batches) == 3 * (9 - len(ends))
    model.batches.clear()
    one = deletion_curve(model, given, order, TARGETS, pixels_per_step=30, first=first, last=last)
    close(one, torch.stack([first, last], dim=1))
    assert model.batches == []


@given(drawn=drawn_maps, step=st.integers(1, 31))
@settings(max_examples=60, deadline=None)
def test_orders_have_points_in_common_where_their_sets_are_equal(drawn: Tensor, step: int) -> None:
    order, _ = pixel_order(drawn, seed=1)
    other, _ = pixel_order(drawn.clamp(min=2), seed=1)
    found = pixel_sets(order, pixels_per_step=step) == pixel_sets(other, pixels_per_step=step)
    for row, (one, two) in enumerate(zip(order.tolist(), other.tolist(), strict=True)):
        ends = [min(k * step, PIXELS) for k in range(math.ceil(PIXELS / step) + 1)]
        if -1 not in (one[0], two[0]):
            assert found[row].tolist() == [set(one[:n]) == set(two[:n]) for n in ends]


def test_a_map_without_an_order_has_no_sets() -> None:
    order, _ = pixel_order(torch.stack([torch.ones(HEIGHT, WIDTH), maps()[0]]))
    found = pixel_sets(order, pixels_per_step=7)
    assert found.shape == (2, 6)
    assert found[0].tolist() == [0] * 6
    assert found[1].unique().numel() == 6


def test_points_in_common_save_their_passes() -> None:
    given, model = images(), Network()
    shown = maps()
    other = shown.clone()
    other[1, 0] += 2  # a row that comes first; elsewhere all stays as it is
    other[2] = 1.0
    order, changed = pixel_order(shown)[0], pixel_order(other)[0]
    for run in (insertion_curve, deletion_curve):
        done = run(model, given, order, TARGETS, pixels_per_step=4)
        wanted = run(model, given, changed, TARGETS, pixels_per_step=4)
        ours, theirs = (pixel_sets(one, pixels_per_step=4) for one in (changed, order))
        same = (ours == theirs) & (changed[:, :1] >= 0)
        assert same.sum(dim=1).tolist()[::2] == [9, 0]
        known = done.masked_fill(~same, torch.nan)
        model.batches.clear()
        ours = run(model, given, changed, TARGETS, pixels_per_step=4, known=known)
        assert sum(model.batches) == int((~same[1]).sum())
        np.testing.assert_allclose(ours.numpy(), wanted.numpy(), rtol=1e-10, atol=1e-12)
    model.batches.clear()
    assert torch.equal(
        deletion_curve(model, given, order, TARGETS, pixels_per_step=4, known=done), done
    )
    assert model.batches == []


def test_batches_are_full_across_images_and_one_image_can_stand_for_many() -> None:
    given, model = images(1).expand(3, -1, -1, -1), Network()
    order, _ = pixel_order(maps())
    target = TARGETS[:1].expand(3)
    ours = deletion_curve(model, given, order, target, pixels_per_step=4, batch_size=10)
    assert model.batches == [10, 10, 7]
    close(ours, deletion_curve(model, given.contiguous(), order, target, pixels_per_step=4))


def test_a_curve_depends_on_its_image_alone() -> None:
    given, model = images(), Network()
    order, _ = pixel_order(maps())
    whole = insertion_curve(model, given, order, TARGETS, pixels_per_step=4, batch_size=4)
    for row in range(3):
        alone = slice(row, row + 1)
        ours = insertion_curve(model, given[alone], order[alone], TARGETS[alone], pixels_per_step=4)
        close(ours, whole[alone])


def test_a_constant_map_is_undefined_and_costs_no_pass() -> None:
    given, shown, model = images(), maps(), Network()
    shown[0], shown[2, 0, 0] = 1.0, math.nan
    order, _ = pixel_order(shown)
    first = torch.full((3,), 0.5, dtype=torch.float64)
    ours = deletion_curve(model, given, order, TARGETS, pixels_per_step=4, first=first)
    assert sum(model.batches) == 8
    assert ours.isnan().all(dim=1).tolist() == [True, False, True]
    assert curve_auc(ours).isnan().tolist() == [True, False, True]
    model.batches.clear()
    none = deletion_curve(model, given[:1], order[:1], TARGETS[:1], pixels_per_step=4)
    assert bool(none.isnan().all())
    assert model.batches == []


def test_infinite_logits_are_undefined_and_only_for_their_image() -> None:
    def spoilt(batch: Tensor) -> Tensor:
        logits = Network()(batch)
        logits[batch[:, 0, 0, 0] == images()[1, 0, 0, 0]] = math.inf
        return logits

    order, _ = pixel_order(maps())
    ours = curve_auc(deletion_curve(spoilt, images(), order, TARGETS, pixels_per_step=4))
    assert ours.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_model_gets_images_of_their_dtype_and_layout(
    layout: torch.memory_format, dtype: torch.dtype
) -> None:
    given = images().to(dtype).contiguous(memory_format=layout)
    network, seen = Network(dtype), []

    def model(batch: Tensor) -> Tensor:
        seen.append((batch.dtype, batch.is_contiguous(memory_format=layout)))
        return network(batch)

    order, _ = pixel_order(maps())
    ours = insertion_curve(model, given, order, TARGETS, pixels_per_step=4)
    assert set(seen) == {(dtype, True)}
    expected = insertion_curve(Network(), images(), order, TARGETS, pixels_per_step=4)
    close(ours, expected, atol=1e-12 if dtype == torch.float64 else 1e-5)


def test_images_may_lie_in_memory_in_any_way() -> None:
    order, _ = pixel_order(maps())
    turned = images().transpose(2, 3).contiguous().transpose(2, 3)
    for run in (deletion_curve, insertion_curve):
        expected = run(Network(), images(), order, TARGETS, pixels_per_step=4)
        close(run(Network(), turned, order, TARGETS, pixels_per_step=4), expected)


def test_nothing_is_changed_or_left_behind() -> None:
    given, shown = images().requires_grad_(), maps()
    before, state = given.detach().clone(), torch.get_rng_state()
    order, _ = pixel_order(shown)
    kept = order.clone()
    ours = deletion_curve(Network(), given, order, TARGETS, pixels_per_step=4)
    assert not ours.requires_grad
    assert torch.is_grad_enabled()
    assert torch.equal(given.detach(), before)
    assert torch.equal(order, kept)
    assert torch.equal(torch.get_rng_state(), state)


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "images": (lambda: deletion(given=images()[0]), "expected floating images N×C×H×W"),
    "canvas": (
        lambda: insertion_curve(Network(), images(), order_of(), TARGETS, canvas=images(2)),
        "expected images and canvas of one shape",
    ),
    "order": (lambda: deletion(order=order_of()[:, :-1]), r"expected an order of int64 \(3, 30\)"),
    "rows": (lambda: deletion(order=torch.zeros(3, PIXELS).long()), "every pixel once"),
    "targets": (lambda: deletion(targets=TARGETS[:2]), "expected 3 targets"),
    "negative": (lambda: deletion(targets=-TARGETS), "expected 3 targets ≥ 0"),
    "class": (lambda: deletion(targets=TARGETS + 1), "target 3 is none of 3 classes"),
    "steps": (lambda: deletion(pixels_per_step=0), "pixels_per_step is a whole number"),
    "chunks": (lambda: deletion(batch_size=0), "batch_size is a whole number"),
    "baseline": (lambda: deletion(baseline=torch.zeros(2)), "expected a baseline of 3 values"),
    "first": (lambda: deletion(first=torch.tensor([0.0, 0.5, 1.5])), "3 probabilities in"),
    "known": (lambda: deletion(known=torch.rand(3, 2)), "known points as probabilities"),
    "known above 1": (lambda: deletion(known=torch.full((3, 2), 1.5)), "known points as prob"),
    "other order": (lambda: pixel_sets(torch.ones(1, 5).long()), "an order"),
    "last": (lambda: deletion(last=torch.rand(2)), "ends of curves as 3 probabilities"),
    "logits": (lambda: deletion(model=lambda batch: batch), "expected logits 3×classes"),
}


def order_of() -> Tensor:
    return pixel_order(maps())[0]


def deletion(
    *,
    model: Callable[[Tensor], Tensor] | None = None,
    given: Tensor | None = None,
    order: Tensor | None = None,
    targets: Tensor = TARGETS,
    **options: object,
) -> Tensor:
    return deletion_curve(
        model or Network(),
        images() if given is None else given,
        order_of() if order is None else order,
        targets,
        **{"batch_size": 3, "pixels_per_step": 4, **options},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(UsageError, match=message):
        call()


# --- the area -------------------------------------------------------------------------------------

drawn_curves = hnp.arrays(np.float64, (2, 6), elements=st.floats(0, 1)).map(torch.from_numpy)


@given(drawn=drawn_curves, more=st.floats(0, 1))
def test_the_area_is_the_reference_a_mean_and_monotone(drawn: Tensor, more: float) -> None:
    area = curve_auc(drawn)
    close(area, [reference.curve_auc(row.tolist()) for row in drawn])
    assert bool(((area >= drawn.amin(1) - 1e-15) & (area <= drawn.amax(1) + 1e-15)).all())
    assert bool((curve_auc(drawn + more * (1 - drawn)) >= area - 1e-15).all())


def test_a_flat_curve_has_its_height_and_a_straight_one_a_half() -> None:
    curves = torch.stack([torch.full((5,), 0.25), torch.linspace(0, 1, 5)])
    close(curve_auc(curves), [0.25, 0.5])


def test_bad_curves() -> None:
    for bad in (torch.ones(3), torch.ones(2, 1), torch.ones(0, 3), torch.full((1, 3), 1.1)):
        with pytest.raises(UsageError, match="at least two probabilities in"):
            curve_auc(bad)


def test_both_areas_are_registered_with_their_direction() -> None:
    assert METRICS["insertion-auc"].info.direction == "higher"
    assert METRICS["deletion-auc"].info.direction == "lower"
    for name in ("insertion-auc", "deletion-auc"):
        assert METRICS[name].info.check == "insertion-deletion"
        assert METRICS[name].function is curve_auc


def test_a_sharp_order_beats_its_reverse_where_one_pixel_decides() -> None:
    def model(batch: Tensor) -> Tensor:
        logits = batch.new_zeros(len(batch), 2)
        logits[:, 1] = 9 * batch[:, :, 2, 3].sum(dim=1)
        return logits

    given = torch.ones(1, 3, HEIGHT, WIDTH, dtype=torch.float64)
    shown = torch.zeros(1, HEIGHT, WIDTH)
    shown[0, 2, 3] = 1
    order, _ = pixel_order(shown)
    target, empty = torch.tensor([1]), torch.zeros_like(given)
    good, bad = (
        curve_auc(curve(model, given, empty, rows, target, pixels_per_step=1))
        for rows in (order, order.flip(1))
    )
    assert float(good) == pytest.approx(0.5 + 0.5 / PIXELS / 2, abs=1e-6)
    assert float(bad) == pytest.approx(1 - 0.5 / PIXELS / 2, abs=1e-6)
