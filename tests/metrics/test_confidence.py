"""Confidence metrics against literal float64 references, their properties, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from camaudit.errors import NotApplicableError, UsageError
from camaudit.maps import minmax
from camaudit.metrics.confidence import (
    average_drop,
    drop_in_logit,
    increase_in_confidence,
    masked_images,
    win,
)
from camaudit.metrics.registry import METRICS
from tests.references import metrics as reference

NAN = math.nan
MEAN, STD = torch.tensor([0.4, 0.5, 0.3]).double(), torch.tensor([0.2, 0.3, 0.25]).double()

probability = st.floats(0, 1, allow_subnormal=False)
probabilities = st.lists(st.tuples(probability, probability), min_size=1, max_size=6)
maybe = st.one_of(probability, st.just(NAN))
shares = st.sampled_from([0.0, 12.5, 12.5, 40.0, 100.0, NAN])
tables = st.tuples(st.integers(2, 5), st.integers(1, 4)).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=shares)
)


def column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pictures(count: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standardised images and weights in [0, 1] that take both ends."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 4, 5, generator=generator, dtype=torch.float64)
    return images, minmax(torch.rand(count, 4, 5, generator=generator, dtype=torch.float64))


# --- masked images


@pytest.mark.parametrize("baseline", [None, [0.5, -1.0, 2.0]])
def test_masked_images_equal_the_reference(baseline: list[float] | None) -> None:
    images, weights = pictures()
    ours = masked_images(images, weights, baseline=None if baseline is None else column(baseline))
    for row in range(len(images)):
        expected = reference.masked_images(
            images[row].numpy(), weights[row].numpy(), baseline=baseline
        )
        np.testing.assert_allclose(ours[row].numpy(), expected, rtol=0, atol=1e-15)


def test_no_baseline_multiplies_the_standardised_image() -> None:
    images, weights = pictures()
    assert torch.equal(masked_images(images, weights), images * weights[:, None])
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(masked_images(images, weights, baseline=zero), images * weights[:, None])


def test_black_multiplies_the_raw_image() -> None:
    images, weights = pictures()
    mean, std = MEAN[:, None, None], STD[:, None, None]
    raw = (images * std + mean) * weights[:, None]
    black = masked_images(images, weights, baseline=-MEAN / STD)
    torch.testing.assert_close(black, (raw - mean) / std, rtol=0, atol=1e-14)


@pytest.mark.parametrize("baseline", [None, torch.tensor([3.0, 4.0, 5.0]).double()])
def test_weights_of_one_keep_the_image_and_of_zero_leave_the_baseline(
    baseline: Tensor | None,
) -> None:
    images, weights = pictures()
    ones = torch.ones_like(weights)
    assert torch.equal(masked_images(images, ones, baseline=baseline), images)
    left = masked_images(images, 0 * ones, baseline=baseline)
    wanted = torch.zeros(3).double() if baseline is None else baseline
    assert torch.equal(left, wanted[:, None, None].expand_as(left))


def test_a_map_and_its_complement_share_the_image_out() -> None:
    images, weights = pictures()
    black = -MEAN / STD
    both = masked_images(images, weights, baseline=black)
    both = both + masked_images(images, 1 - weights, baseline=black)
    torch.testing.assert_close(both, images + black[:, None, None], rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_masked_images_have_the_dtype_of_the_images_and_no_graph(dtype: torch.dtype) -> None:
    images, weights = pictures()
    seen = images.to(dtype).requires_grad_()
    masked = masked_images(seen, weights.requires_grad_())
    assert masked.dtype == dtype
    assert not masked.requires_grad


def test_undefined_weights_spoil_their_own_image_only() -> None:
    images, weights = pictures()
    weights[0] = minmax(torch.ones(4, 5).double())
    masked = masked_images(images, weights)
    assert bool(masked[0].isnan().all())
    assert torch.equal(masked[1:], masked_images(images[1:], weights[1:]))


def test_bad_masking() -> None:
    images, weights = pictures()
    with pytest.raises(UsageError, match=r"expected images N×C×H×W .* image\[None\]"):
        masked_images(images[0], weights)
    with pytest.raises(UsageError, match=r"floating point, N ≥ 1; got torch.uint8"):
        masked_images(images.byte(), weights)
    with pytest.raises(UsageError, match=r"N ≥ 1; got torch.float64 \(0, 3, 4, 5\)"):
        masked_images(images[:0], weights[:0])
    with pytest.raises(UsageError, match=r"\(2, 4, 5\) for these images.*\(2, 5, 4\); upsample"):
        masked_images(images, weights.mT)
    with pytest.raises(UsageError, match="floating point N×H×W"):
        masked_images(images, weights > 0)
    with pytest.raises(UsageError, match=r"weights in \[0, 1\]; got 0 to 3; .*minmax"):
        masked_images(images, 3 * weights)
    with pytest.raises(UsageError, match=r"weights in \[0, 1\]"):
        masked_images(images, torch.full_like(weights, math.inf))
    with pytest.raises(UsageError, match=r"expected a baseline of 3 finite numbers.*\(2,\)"):
        masked_images(images, weights, baseline=torch.zeros(2))
    with pytest.raises(UsageError, match="finite numbers"):
        masked_images(images, weights, baseline=torch.tensor([0, NAN, 0]))


# --- average drop and increase


@given(pairs=st.lists(st.tuples(maybe, maybe), min_size=1, max_size=6))
def test_drop_and_increase_equal_the_reference(pairs: list[tuple[float, float]]) -> None:
    full, masked = column([y for y, _ in pairs]), column([o for _, o in pairs])
    for ours, theirs in (
        (average_drop, reference.average_drop),
        (increase_in_confidence, reference.increase_in_confidence),
    ):
        expected = column([theirs(y, o) for y, o in pairs])
        torch.testing.assert_close(ours(full, masked), expected, rtol=1e-14, atol=0, equal_nan=True)


@given(pairs=probabilities)
def test_drop_lies_in_its_range_and_excludes_an_increase(pairs: list[tuple[float, float]]) -> None:
    full, masked = column([y for y, _ in pairs]), column([o for _, o in pairs])
    drop, rise = average_drop(full, masked), increase_in_confidence(full, masked)
    assert bool(((drop >= 0) & (drop <= 100) | (full == 0)).all())
    assert set(rise.tolist()) <= {0.0, 100.0}
    assert bool((drop[(rise == 100) & (full > 0)] == 0).all())


@given(pairs=probabilities)
def test_a_figure_does_not_depend_on_the_batch(pairs: list[tuple[float, float]]) -> None:
    full, masked = column([y for y, _ in pairs]), column([o for _, o in pairs])
    for figure in (average_drop, increase_in_confidence, drop_in_logit):
        alone = [figure(full[row : row + 1], masked[row : row + 1]) for row in range(len(pairs))]
        torch.testing.assert_close(
            figure(full, masked), torch.cat(alone), rtol=0, atol=0, equal_nan=True
        )


@given(full=st.floats(0.01, 1), one=probability, other=probability)
def test_the_drop_never_grows_with_the_confidence_kept(
    full: float, one: float, other: float
) -> None:
    less, more = average_drop(column([full] * 2), column(sorted([one, other]))).tolist()
    assert less >= more


def test_drop_by_hand() -> None:
    full, masked = column([0.8, 0.8, 0.8, 0.8, 1.0]), column([0.2, 0.8, 0.9, 0.0, 0.0])
    assert average_drop(full, masked).tolist() == pytest.approx([75, 0, 0, 100, 100])
    assert increase_in_confidence(full, masked).tolist() == [0, 0, 100, 0, 0]


def test_no_confidence_to_lose_is_undefined_and_not_zero() -> None:
    full, masked = column([0.0, 0.0, 0.5]), column([0.0, 0.3, 0.5])
    drop = average_drop(full, masked)
    assert drop.isnan().tolist() == [True, True, False]
    assert increase_in_confidence(full, masked).tolist() == [0, 100, 0]


def test_the_smallest_confidence_still_has_a_drop() -> None:
    tiny = 5e-324
    assert average_drop(column([tiny, tiny]), column([0.0, tiny])).tolist() == [100, 0]


@pytest.mark.parametrize("figure", [average_drop, increase_in_confidence, drop_in_logit])
@pytest.mark.parametrize(("full", "masked"), [(NAN, 0.5), (0.5, NAN), (NAN, NAN)])
def test_an_undefined_confidence_leaves_its_own_image_undefined(
    figure: object, full: float, masked: float
) -> None:
    found = figure(column([full, 0.5]), column([masked, 0.25]))  # type: ignore[operator]
    assert found.isnan().tolist() == [True, False]


@pytest.mark.parametrize("figure", [average_drop, increase_in_confidence])
def test_what_are_no_probabilities(figure: object) -> None:
    full = column([0.5, 0.25])
    with pytest.raises(
        UsageError, match=r"masked in \[0, 1\].* got 1.5; turn the logits into probabilities first"
    ):
        figure(full, column([0.1, 1.5]))  # type: ignore[operator]
    with pytest.raises(UsageError, match=r"full in \[0, 1\].* got -2"):
        figure(-4 * full, full)  # type: ignore[operator]
    with pytest.raises(UsageError, match="got inf"):
        figure(full, full * math.inf)  # type: ignore[operator]


@pytest.mark.parametrize("figure", [average_drop, increase_in_confidence, drop_in_logit])
def test_bad_columns(figure: object) -> None:
    full = column([0.5, 0.25])
    for wrong in (full[:1], full[None], torch.tensor([1, 0]), full > 0):
        with pytest.raises(UsageError, match="one value of floating point for each of N ≥ 1"):
            figure(full, wrong)  # type: ignore[operator]
    with pytest.raises(UsageError, match="N ≥ 1 images"):
        figure(full[:0], full[:0])  # type: ignore[operator]


def test_half_precision_is_computed_in_float64() -> None:
    found = average_drop(torch.tensor([0.75]).half(), torch.tensor([0.5]).half())
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(100 / 3, rel=1e-15)


# --- drop in logit


logits = st.floats(-1e300, 1e300, allow_subnormal=False)


@given(pairs=st.lists(st.tuples(logits, logits), min_size=1, max_size=6))
def test_drop_in_logit_equals_the_reference(pairs: list[tuple[float, float]]) -> None:
    full, without = column([s for s, _ in pairs]), column([t for _, t in pairs])
    found = drop_in_logit(full, without).tolist()
    assert found == [reference.drop_in_logit(s, t) for s, t in pairs]
    assert drop_in_logit(without, full).tolist() == [-drop for drop in found]


def test_a_drop_in_logit_that_overflows_is_undefined() -> None:
    found = drop_in_logit(column([1e308, 1.0]), column([-1e308, 0.5]))
    assert [math.isnan(drop) for drop in found.tolist()] == [True, False]


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
def test_an_infinite_logit_has_no_drop(bad: float) -> None:
    found = drop_in_logit(column([bad, 1.0, bad, 2.0]), column([1.0, bad, bad, 0.5]))
    assert found.isnan().tolist() == [True, True, True, False]


# --- win


@given(drops=tables)
def test_win_equals_the_reference(drops: np.ndarray) -> None:
    expected = torch.tensor(reference.win(drops.tolist()), dtype=torch.float64)
    ours = win(torch.from_numpy(drops))
    torch.testing.assert_close(ours, expected, rtol=1e-15, atol=0, equal_nan=True)


@given(drops=tables)
def test_an_image_is_shared_out_whole_or_not_at_all(drops: np.ndarray) -> None:
    found = win(torch.from_numpy(drops))
    total = found.nansum(dim=0)
    counted = (~torch.from_numpy(drops).isnan()).sum(dim=0) >= 2
    assert total[counted].tolist() == pytest.approx([100.0] * int(counted.sum()))
    assert bool(found[:, ~counted].isnan().all())


@given(drops=tables, data=st.data())
def test_win_does_not_depend_on_the_order_of_methods_or_the_other_images(
    drops: np.ndarray, data: st.DataObject
) -> None:
    table = torch.from_numpy(drops)
    order = data.draw(st.permutations(range(len(table))))
    same = {"rtol": 0, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(win(table[order]), win(table)[order], **same)
    for image in range(table.shape[1]):
        torch.testing.assert_close(win(table[:, [image]]), win(table)[:, [image]], **same)


@given(drops=hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 5.0, 60.0])))
def test_means_of_methods_that_always_compete_sum_to_100(drops: np.ndarray) -> None:
    assert float(win(torch.from_numpy(drops)).mean(dim=1).sum()) == pytest.approx(100)


def test_ties_are_shared_and_the_undefined_do_not_compete() -> None:
    drops = torch.tensor(
        [[5.0, 0.0, NAN, NAN, NAN], [7.0, 0.0, 80.0, 3.0, NAN], [5.0 + 1e-6, 0.0, 90.0, NAN, NAN]]
    ).double()
    found = win(drops)
    third = 100 / 3
    assert found[:, 0].tolist() == [100, 0, 0], "a hair's breadth is no tie"
    assert found[:, 1].tolist() == pytest.approx([third, third, third])
    assert math.isnan(found[0, 2])
    assert found[1:, 2].tolist() == [100, 0]
    assert bool(found[:, 3:].isnan().all()), "nobody to compete with"


def test_one_method_has_no_rivals() -> None:
    with pytest.raises(NotApplicableError, match="compares methods and got 1; give two or more"):
        win(torch.zeros(1, 3))
    with pytest.raises(NotApplicableError, match="got 0"):
        win(torch.zeros(0, 3))


def test_bad_tables() -> None:
    with pytest.raises(UsageError, match=r"M methods on N images; got \(3,\)"):
        win(torch.zeros(3))
    with pytest.raises(UsageError, match="N ≥ 1 images"):
        win(torch.zeros(2, 0))
    with pytest.raises(UsageError, match="floating point"):
        win(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(UsageError, match=r"drops of method 1 in \[0, 100\].* got 101; .*percent"):
        win(torch.tensor([[1.0], [101.0]]))


def test_the_registry_says_how_to_read_them() -> None:
    read = {
        name: METRICS[name].info for name in METRICS if METRICS[name].info.check == "confidence"
    }
    assert {
        name: (info.direction, info.unit, info.low, info.high) for name, info in read.items()
    } == {
        "average-drop": ("lower", "%", 0, 100),
        "increase-in-confidence": ("higher", "%", 0, 100),
        "win": ("higher", "%", 0, 100),
        "drop-in-logit": ("higher", "logit", -math.inf, math.inf),
    }
    assert read["win"].needs == "methods"
    assert METRICS["average-drop"].function is average_drop


def test_drops_within_the_tolerance_share_the_win() -> None:
    drops = torch.tensor([[10.0, 5.0], [10.0005, 5.0], [10.5, 9.0]], dtype=torch.float64)
    assert win(drops)[:, 0].tolist() == [100, 0, 0]
    assert win(drops, tolerance=1e-3).T.tolist() == [[50, 50, 0], [50, 50, 0]]
    with pytest.raises(UsageError, match="percentage points"):
        win(drops, tolerance=-1.0)
