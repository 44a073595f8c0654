"""Infidelity and max-sensitivity against literal references, and the noise that both are fed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.methods.noise import normal
from camaudit.metrics.infidelity import (
    gaussian_noise,
    infidelity,
    max_sensitivity,
    score_changes,
    uniform_noise,
)
from camaudit.metrics.registry import METRICS
from tests.references import metrics as reference

N, C, H, W, CLASSES = 3, 2, 4, 5, 3
TARGETS = torch.tensor([2, 0, 1])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


WEIGHTS = drawn(CLASSES, C * H * W, seed=9)
IMAGES = drawn(N, C, H, W, seed=1)
MAPS = drawn(N, H, W, seed=2).abs()


def model(images: Tensor) -> Tensor:
    """Logits of a smooth model that is not linear."""
    return torch.tanh(images.flatten(1) @ WEIGHTS.to(images).T / 5) * 3


def explainer(images: Tensor) -> Tensor:
    return torch.relu(images.sum(dim=1) + images[:, 0].square())


def figures(maps: Tensor, noise: Tensor, *, normalise: bool) -> Tensor:
    changes = score_changes(model, IMAGES, TARGETS, noise)
    return infidelity(maps, noise, changes, normalise=normalise)


seeds = st.integers(0, 2**32 - 1)


# --- against the references -----------------------------------------------------------------------


@given(seed=seeds, samples=st.integers(1, 6), normalise=st.booleans())
def test_infidelity_equals_the_reference(seed: int, samples: int, normalise: bool) -> None:
    noise, maps = drawn(N, samples, C, H, W, seed=seed), drawn(N, H, W, seed=seed + 1).abs()
    ours = figures(maps, noise, normalise=normalise)
    expected = [
        reference.infidelity(
            model,
            IMAGES[row].numpy(),
            maps[row].numpy(),
            int(TARGETS[row]),
            list(noise[row].numpy()),
            normalise=normalise,
        )
        for row in range(N)
    ]
    # of one change, β leaves nothing but rounding
    assert ours.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(seed=seeds, samples=st.integers(1, 6))
def test_max_sensitivity_equals_the_reference(seed: int, samples: int) -> None:
    noise = 0.3 * drawn(N, samples, C, H, W, seed=seed)
    ours = max_sensitivity(explainer, IMAGES, explainer(IMAGES), noise)
    expected = [
        reference.max_sensitivity(explainer, IMAGES[row].numpy(), list(noise[row].numpy()))
        for row in range(N)
    ]
    assert ours.tolist() == pytest.approx(expected, rel=1e-12)


def test_infidelity_by_hand() -> None:
    # IᵀΛ = 1·2 and −2·2; the score moves by 1 and by 0
    maps, noise = torch.tensor([[[2.0]]]), torch.tensor([1.0, -2.0]).view(1, 2, 1, 1, 1)
    changes = torch.tensor([[1.0, 0.0]])
    assert infidelity(maps, noise, changes, normalise=False).item() == (1 + 16) / 2
    # β = (2·1)/(4 + 16) = 0.1, errors 0.8 and 0.4
    assert infidelity(maps, noise, changes).item() == pytest.approx((0.64 + 0.16) / 2)


# --- properties -----------------------------------------------------------------------------------


@given(seed=seeds)
def test_the_gradient_of_a_linear_model_is_perfectly_faithful(seed: int) -> None:
    gradient = drawn(H, W, seed=seed)
    noise = drawn(N, 5, C, H, W, seed=seed + 1)

    def linear(images: Tensor) -> Tensor:
        return (images.sum(dim=1) * gradient).sum(dim=(1, 2))[:, None]

    changes = score_changes(linear, IMAGES, torch.zeros(N, dtype=torch.int64), noise)
    maps = gradient.expand(N, -1, -1)
    for normalise in (False, True):
        found = infidelity(maps, noise, changes, normalise=normalise)
        torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-20)


@given(seed=seeds, factor=st.floats(1e-6, 1e6))
def test_no_scale_is_better_than_the_normalised_one(seed: int, factor: float) -> None:
    noise = drawn(N, 6, C, H, W, seed=seed)
    best = figures(MAPS, noise, normalise=True)
    scaled = figures(factor * MAPS, noise, normalise=True)
    torch.testing.assert_close(scaled, best, rtol=1e-9, atol=0)
    assert bool((figures(factor * MAPS, noise, normalise=False) >= best * (1 - 1e-9)).all())
    silent = figures(torch.zeros_like(MAPS), noise, normalise=True)
    assert bool((best <= silent * (1 + 1e-12)).all())


@given(seed=seeds, factor=st.floats(1e-6, 1e6))
def test_sensitivity_knows_no_scale(seed: int, factor: float) -> None:
    noise = 0.1 * drawn(N, 3, C, H, W, seed=seed)
    plain = max_sensitivity(explainer, IMAGES, explainer(IMAGES), noise)
    scaled = max_sensitivity(
        lambda images: factor * explainer(images), IMAGES, factor * explainer(IMAGES), noise
    )
    torch.testing.assert_close(scaled, plain, rtol=1e-9, atol=0)
    assert bool((plain >= 0).all())


def test_more_changes_never_lower_the_maximum() -> None:
    noise, maps = 0.2 * drawn(N, 8, C, H, W), explainer(IMAGES)
    found = [max_sensitivity(explainer, IMAGES, maps, noise[:, : s + 1]) for s in range(8)]
    for fewer, more in itertools.pairwise(found):
        assert bool((more >= fewer).all())


def test_an_explainer_that_ignores_the_image_is_not_sensitive() -> None:
    noise = drawn(N, 4, C, H, W)
    assert max_sensitivity(lambda _: MAPS, IMAGES, MAPS, noise).tolist() == [0, 0, 0]


def test_figures_are_of_their_image_alone() -> None:
    noise = gaussian_noise(IMAGES, seed=4, samples=4)
    together = figures(MAPS, noise, normalise=True)
    sensitive = max_sensitivity(explainer, IMAGES, explainer(IMAGES), noise)
    for row in range(N):
        part = slice(row, row + 1)
        own = gaussian_noise(IMAGES[part], seed=4, samples=4)
        assert torch.equal(own, noise[part])
        changes = score_changes(model, IMAGES[part], TARGETS[part], own)
        alone = infidelity(MAPS[part], own, changes)
        torch.testing.assert_close(alone, together[part], rtol=1e-12, atol=0)
        alone = max_sensitivity(explainer, IMAGES[part], explainer(IMAGES[part]), own)
        torch.testing.assert_close(alone, sensitive[part], rtol=1e-12, atol=0)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_change_nothing_and_known_scores_are_not_computed_again(batch_size: int) -> None:
    noise = drawn(N, 4, C, H, W)
    sizes = []

    def counted(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return model(images)

    plain = score_changes(model, IMAGES, TARGETS, noise)
    full = model(IMAGES).gather(1, TARGETS[:, None])[:, 0]
    found = score_changes(counted, IMAGES, TARGETS, noise, full=full, batch_size=batch_size)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-14)
    assert sum(sizes) == N * 4
    assert max(sizes) <= batch_size
    sizes.clear()
    score_changes(counted, IMAGES, TARGETS, noise, batch_size=batch_size)
    assert sum(sizes) == N * 5


def test_no_autograd_and_nothing_is_changed() -> None:
    images, noise = IMAGES.clone().requires_grad_(True), drawn(N, 2, C, H, W)
    kept = noise.clone()
    changes = score_changes(model, images, TARGETS, noise)
    maps = explainer(images)
    for found in (
        changes,
        infidelity(maps, noise, changes),
        max_sensitivity(explainer, images, maps, noise),
    ):
        assert found.dtype == torch.float64
        assert not found.requires_grad
    assert torch.equal(noise, kept)
    assert torch.equal(images.detach(), IMAGES)


def test_single_precision_is_summed_in_float64() -> None:
    noise, maps = drawn(N, 3, C, H, W).float(), MAPS.float()
    changes = score_changes(model, IMAGES.float(), TARGETS, noise)
    found = infidelity(maps, noise, changes)
    assert torch.equal(found, infidelity(maps.double(), noise.double(), changes))


# --- noise ----------------------------------------------------------------------------------------


def test_gaussian_noise_has_its_deviation_and_uniform_noise_its_radius() -> None:
    images = drawn(2, 3, 32, 32)
    noise = gaussian_noise(images, seed=0, samples=4, sigma=0.5)
    assert noise.shape == (2, 4, 3, 32, 32)
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.abs().max() > 1
    noise = uniform_noise(images, seed=0, samples=4, radius=0.5)
    assert noise.shape == (2, 4, 3, 32, 32)
    assert 0.499 < noise.abs().max() <= 0.5
    assert noise.std().item() == pytest.approx(0.5 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("draw", [gaussian_noise, uniform_noise])
def test_noise_is_the_images_own_and_seeded(draw: object) -> None:
    assert callable(draw)
    state = torch.get_rng_state()
    noise = draw(IMAGES, seed=5, samples=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(draw(IMAGES, seed=5, samples=3), noise)
    assert torch.equal(draw(IMAGES.flip(0), seed=5, samples=3).flip(0), noise)
    assert torch.equal(draw(IMAGES, seed=5, samples=9)[:, :3], noise)
    assert not torch.equal(draw(IMAGES, seed=6, samples=3), noise)
    for other in (noise[1, 0], noise[0, 1]):
        assert not torch.equal(noise[0, 0], other)
    single = draw(IMAGES.float(), seed=5, samples=3)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, noise.float())


def test_methods_do_not_draw_the_noise_that_tests_them() -> None:
    """Under one seed too; a smoothed map would be steadier on what it was averaged over."""
    drawn_by_methods = normal(5, IMAGES[0], 0, (C, H, W))
    ours = gaussian_noise(IMAGES, seed=5, samples=1, sigma=1)[0, 0].numpy()
    assert not np.allclose(ours, drawn_by_methods)


# --- where there is no figure ---------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("normalise", [False, True])
def test_what_is_not_finite_has_no_infidelity_and_harms_no_other(
    bad: float, normalise: bool
) -> None:
    noise = drawn(N, 3, C, H, W)
    before = figures(MAPS, noise, normalise=normalise)
    maps = MAPS.clone()
    maps[0, 1, 1] = bad
    found = figures(maps, noise, normalise=normalise)
    assert math.isnan(found[0])
    assert torch.equal(found[1:], before[1:])
    changes = score_changes(model, IMAGES, TARGETS, noise)
    changes[1, 2] = bad
    assert math.isnan(infidelity(MAPS, noise, changes, normalise=normalise)[1])


def test_a_silent_map_says_that_no_change_matters() -> None:
    noise = drawn(N, 3, C, H, W)
    changes = score_changes(model, IMAGES, TARGETS, noise)
    expected = changes.square().mean(dim=1)
    for normalise in (False, True):
        found = infidelity(torch.zeros_like(MAPS), noise, changes, normalise=normalise)
        assert torch.equal(found, expected)


def test_a_map_that_is_zero_everywhere_has_no_relative_change() -> None:
    noise, maps = drawn(N, 3, C, H, W), MAPS.clone()
    maps[0] = 0
    found = max_sensitivity(lambda _: MAPS, IMAGES, maps, noise)
    assert math.isnan(found[0])
    assert found[1:].tolist() == [0, 0]
    # losing the whole map is a change by its own length
    gone = max_sensitivity(lambda _: torch.zeros_like(MAPS), IMAGES, MAPS, noise)
    assert gone.tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_map_leaves_no_sensitivity_of_its_image(bad: float) -> None:
    noise, calls = drawn(N, 3, C, H, W), []

    def breaks_once(images: Tensor) -> Tensor:
        maps = explainer(images)
        calls.append(len(images))
        if len(calls) == 2:
            maps[1, 0, 0] = bad
        return maps

    found = max_sensitivity(breaks_once, IMAGES, explainer(IMAGES), noise)
    assert calls == [N, N, N]
    assert found.isnan().tolist() == [False, True, False]
    maps = explainer(IMAGES)
    maps[2, 0, 0] = bad
    found = max_sensitivity(explainer, IMAGES, maps, noise)
    assert found.isnan().tolist() == [False, False, True]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_maps_do_not_overflow(scale: float) -> None:
    noise = drawn(N, 4, C, H, W)
    found = figures(scale * MAPS, noise, normalise=True)
    torch.testing.assert_close(found, figures(MAPS, noise, normalise=True), rtol=1e-9, atol=0)
    maps = explainer(IMAGES)
    plain = max_sensitivity(explainer, IMAGES, maps, noise)
    scaled = max_sensitivity(lambda x: scale * explainer(x), IMAGES, scale * maps, noise)
    torch.testing.assert_close(scaled, plain, rtol=1e-9, atol=0)


# --- bad input ------------------------------------------------------------------------------------

NOISE = drawn(N, 2, C, H, W)
CHANGES = drawn(N, 2)


@pytest.mark.parametrize(
    ("maps", "noise", "changes"),
    [
        (MAPS[0], NOISE, CHANGES),
        (MAPS[:2], NOISE, CHANGES),
        (MAPS.long(), NOISE, CHANGES),
        (MAPS[:, :-1], NOISE, CHANGES),
        (MAPS, NOISE[:, 0], CHANGES),
        (MAPS, NOISE, CHANGES[:, :1]),
        (MAPS, NOISE, CHANGES[0]),
        (MAPS[:0], NOISE[:0], CHANGES[:0]),
        (MAPS, NOISE[:, :0], CHANGES[:, :0]),
    ],
)
def test_infidelity_refuses_what_does_not_fit(maps: Tensor, noise: Tensor, changes: Tensor) -> None:
    with pytest.raises(UsageError, match="expected"):
        infidelity(maps, noise, changes)


@pytest.mark.parametrize(
    ("images", "maps", "noise"),
    [
        (IMAGES[0], MAPS, NOISE),
        (IMAGES[:2], MAPS, NOISE),
        (IMAGES[:, :1], MAPS, NOISE),
        (IMAGES, MAPS[:, 1:], NOISE),
        (IMAGES, MAPS[:, ::2, ::2], NOISE),
        (IMAGES, MAPS, NOISE[:, 0]),
        (IMAGES, MAPS, NOISE[:, :0]),
    ],
)
def test_sensitivity_refuses_what_does_not_fit(images: Tensor, maps: Tensor, noise: Tensor) -> None:
    with pytest.raises(UsageError, match="expected"):
        max_sensitivity(explainer, images, maps, noise)


def test_sensitivity_refuses_an_explainer_of_other_maps() -> None:
    with pytest.raises(UsageError, match="of the explainer"):
        max_sensitivity(lambda images: explainer(images)[:, ::2], IMAGES, MAPS, NOISE)


def test_score_changes_refuse_what_does_not_fit() -> None:
    def run(**changed: object) -> None:
        options: dict[str, object] = {
            "model": model,
            "images": IMAGES,
            "targets": TARGETS,
            "noise": NOISE,
        }
        score_changes(**(options | changed))  # type: ignore[arg-type]

    run()
    for changed, message in [
        ({"targets": TARGETS[:2]}, "one an image"),
        ({"targets": TARGETS.double()}, "int64"),
        ({"targets": TARGETS + 1}, "must be 0 to 2"),
        ({"targets": TARGETS - 1}, "must be 0 to 2"),
        ({"full": torch.zeros(2)}, "one an image"),
        ({"batch_size": 0}, "batch size"),
        ({"noise": NOISE[:, :, :1]}, "none of images"),
        ({"noise": NOISE[0]}, "expected images"),
        ({"model": lambda images: images.flatten(1).sum(dim=1)}, "expected logits"),
    ]:
        with pytest.raises(UsageError, match=message):
            run(**changed)


@pytest.mark.parametrize(
    "options",
    [{"samples": 0}, {"sigma": 0.0}, {"sigma": -1.0}, {"sigma": math.nan}, {"sigma": math.inf}],
)
def test_noise_is_of_positive_size(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected 1 or more samples"):
        gaussian_noise(IMAGES, seed=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [IMAGES[0], IMAGES[:0], IMAGES.long()])
def test_noise_is_of_images(images: Tensor) -> None:
    with pytest.raises(UsageError, match="expected images"):
        uniform_noise(images, seed=0)


@pytest.mark.parametrize(
    ("name", "check"), [("infidelity", "infidelity"), ("max-sensitivity", "sensitivity")]
)
def test_figures_are_registered(name: str, check: str) -> None:
    info = METRICS[name].info
    assert (info.check, info.direction, info.needs) == (check, "lower", "explainer")
    assert (info.low, info.high) == (0, math.inf)
