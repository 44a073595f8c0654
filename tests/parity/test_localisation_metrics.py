"""Localisation, infidelity and max-sensitivity as Quantus and captum have them, or why they differ.

pytorch-grad-cam and torchcam compute none of these figures; nobody computes the overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camaudit.metrics.infidelity import infidelity, max_sensitivity, score_changes
from camaudit.metrics.localisation import boxes_to_mask, energy_pointing_game, pointing_game
from tests.parity.libraries import load, quiet

N, C, SIDE, CLASSES, SAMPLES = 4, 2, 6, 3, 5
TARGETS = torch.tensor([2, 0, 1, 1])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


class Smooth(nn.Module):
    """Logits that are not linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(CLASSES, C * SIDE * SIDE, seed=9) / 5)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1).to(self.weight) @ self.weight.T) * 3


IMAGES = drawn(N, C, SIDE, SIDE, seed=1)
MAPS = drawn(N, SIDE, SIDE, seed=2).abs()
MAPS[0, 1, 1] = MAPS[1, 3, 3] = 9  # a hit each; the other two maps have theirs outside
NOISE = 0.5 * drawn(N, SAMPLES, C, SIDE, SIDE, seed=3)
REGIONS = torch.stack(
    [boxes_to_mask([box], (SIDE, SIDE)) for box in [(0, 0, 3, 6), (2, 1, 5, 4)] * (N // 2)]
)


def explainer(images: Tensor) -> Tensor:
    return torch.relu(images.sum(dim=1) + images[:, 0].square())


def changes() -> Tensor:
    with torch.no_grad():
        return score_changes(Smooth(), IMAGES, TARGETS, NOISE)


def same(ours: Tensor, theirs: Any, *, rtol: float = 1e-9) -> None:
    wanted = torch.as_tensor(np.asarray(theirs, dtype=np.float64))
    torch.testing.assert_close(ours, wanted, rtol=rtol, atol=1e-12, equal_nan=True)


# --- Quantus --------------------------------------------------------------------------------------


def quantus(name: str, *, maps: Tensor = MAPS, call: Any = None, **build: Any) -> NDArray[Any]:
    """The figures of Quantus's class `name`, one an image; `call` are arguments of its call."""
    with quiet(), np.errstate(all="ignore"):
        made = load("quantus", name)(disable_warnings=True, display_progressbar=False, **build)
        found = made(
            model=Smooth().eval(),
            x_batch=IMAGES.numpy(),
            y_batch=TARGETS.numpy(),
            a_batch=maps[:, None].numpy(),
            device="cpu",
            **(call or {}),
        )
    return np.asarray(found, dtype=np.float64)


def regions(masks: Tensor) -> dict[str, Any]:
    return {"s_batch": masks[:, None].numpy()}


@pytest.mark.parametrize("normalise", [False, True])
def test_pointing_game_is_that_of_quantus(normalise: bool) -> None:
    theirs = quantus("PointingGame", normalise=normalise, call=regions(REGIONS))
    same(pointing_game(MAPS, REGIONS), theirs)
    assert set(theirs) == {0, 1}


def test_of_several_maxima_one_is_enough_for_quantus() -> None:
    maps = MAPS.clamp(max=1).round()
    ours = pointing_game(maps, REGIONS)
    assert bool(((ours > 0) & (ours < 1)).any())
    # a flat top would otherwise hit whatever region it touches
    same(ours.ceil(), quantus("PointingGame", normalise=False, maps=maps, call=regions(REGIONS)))


def test_quantus_counts_a_hit_where_there_is_nothing_to_hit_or_no_maximum() -> None:
    empty = REGIONS.clone()
    empty[0] = False
    ours = pointing_game(MAPS, empty)
    assert math.isnan(ours[0])
    # its NaN for an empty region is written into an array of booleans, where it becomes True
    same(ours.nan_to_num(1.0), quantus("PointingGame", normalise=False, call=regions(empty)))
    flat = MAPS.clone()
    flat[2:] = 0.5  # it refuses a batch of constant maps, but no constant map in a batch
    ours = pointing_game(flat, REGIONS)
    assert ours.isnan().tolist() == [False, False, True, True]
    # every pixel of a constant map is its maximum, and some lie in the region
    theirs = quantus("PointingGame", normalise=False, maps=flat, call=regions(REGIONS))
    same(ours.nan_to_num(1.0), theirs)


@pytest.mark.parametrize("normalise", [False, True])
def test_energy_is_quantus_relevance_mass(normalise: bool) -> None:
    masks = REGIONS.clone()
    masks[1] = False
    maps = MAPS.clone()
    maps[2] = 0.3
    theirs = quantus("RelevanceMassAccuracy", maps=maps, normalise=normalise, call=regions(masks))
    ours = energy_pointing_game(maps, masks)
    same(ours, theirs)
    assert ours.isnan().tolist() == [False, True, False, False]


def test_energy_is_quantus_attribution_localisation() -> None:
    masks = REGIONS.clone()
    masks[1] = False
    theirs = quantus("AttributionLocalisation", normalise=False, call=regions(masks))
    total = MAPS.sum(dim=(1, 2))
    # its denominator has 1e-9 added
    same(energy_pointing_game(MAPS, masks) * total / (total + 1e-9), theirs)


def test_a_signed_map_has_a_relevance_mass_but_no_share() -> None:
    maps = drawn(N, SIDE, SIDE, seed=6)
    assert bool(energy_pointing_game(maps, REGIONS).isnan().all())
    theirs = quantus("RelevanceMassAccuracy", maps=maps, normalise=False, call=regions(REGIONS))
    # parts that cancel out make shares below 0 and above 1
    assert theirs.min() < 0
    assert theirs.max() > 1


def turns(sign: int) -> Callable[..., NDArray[np.float64]]:
    """Quantus's perturbation: at each call the next of NOISE, added to the images or taken off."""
    left = iter(NOISE.transpose(0, 1))

    def perturb(**_: Any) -> NDArray[np.float64]:
        return (IMAGES + sign * next(left)).flatten(1).numpy()

    return perturb


def test_infidelity_is_that_of_quantus() -> None:
    theirs = quantus(
        "Infidelity",
        perturb_func=turns(-1),
        perturb_patch_sizes=[SIDE],  # one patch is the whole image
        n_perturb_samples=SAMPLES,
        call={"channel_first": True, "softmax": False},
    )
    # it runs the model on images in float32
    same(infidelity(MAPS, NOISE, changes(), normalise=False), theirs, rtol=1e-5)


def test_max_sensitivity_is_that_of_quantus() -> None:
    def explain(inputs: NDArray[np.float64], **_: Any) -> NDArray[np.float64]:
        return explainer(torch.as_tensor(inputs))[:, None].numpy()

    maps = explainer(IMAGES)
    theirs = quantus(
        "MaxSensitivity",
        maps=maps,
        perturb_func=turns(1),
        nr_samples=SAMPLES,
        call={"explain_func": explain, "channel_first": True},
    )
    same(max_sensitivity(explainer, IMAGES, maps, NOISE), theirs)


# --- captum ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [False, True])
def test_infidelity_is_that_of_captum(normalise: bool) -> None:
    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        return NOISE.flatten(0, 1), inputs - NOISE.flatten(0, 1)

    maps = MAPS.clone()
    maps[3] = 0  # a silent map has a figure in both
    theirs = load("captum.metrics", "infidelity")(
        Smooth(),
        perturb,
        IMAGES,
        maps[:, None].expand(-1, C, -1, -1),  # a pixel's value stands for each of its channels
        target=TARGETS,
        n_perturb_samples=SAMPLES,
        normalize=normalise,
    )
    same(infidelity(maps, NOISE, changes(), normalise=normalise), theirs.detach())


def captum_sensitivity(explain: Callable[[Tensor], Tensor]) -> Tensor:
    def explained(inputs: Any) -> Any:
        return (explain(inputs[0]),) if isinstance(inputs, tuple) else explain(inputs)

    found: Tensor = load("captum.metrics", "sensitivity_max")(
        explained,
        IMAGES,
        perturb_func=lambda inputs: inputs + NOISE.flatten(0, 1),
        n_perturb_samples=SAMPLES,
    )
    return found


def test_max_sensitivity_is_that_of_captum() -> None:
    ours = max_sensitivity(explainer, IMAGES, explainer(IMAGES), NOISE)
    same(ours, captum_sensitivity(explainer))


def test_captum_divides_a_change_from_nothing_by_one() -> None:
    def shifted(images: Tensor) -> Tensor:
        """0 on the first image as it is, and only there."""
        first = (images - IMAGES[:1]).abs().flatten(1).amax(dim=1) < 1e-12
        return explainer(images) * ~first[:, None, None]

    ours = max_sensitivity(shifted, IMAGES, shifted(IMAGES), NOISE)
    assert ours.isnan().tolist() == [True, False, False, False]
    theirs = captum_sensitivity(shifted)
    same(ours[1:], theirs[1:])
    # what is left is the absolute change, in other units than the figures beside it
    absolute = explainer(IMAGES[:1] + NOISE[0]).flatten(1).norm(dim=1).max()
    assert theirs[0].item() == pytest.approx(absolute.item())
