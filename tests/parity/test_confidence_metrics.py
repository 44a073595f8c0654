"""Confidence metrics, ADCC's parts and sparsity as the libraries have them, or why they differ.

Average Drop and Increase in Confidence: torchcam and pytorch-grad-cam. The parts of ADCC:
pytorch-grad-cam, for its own ARCC. Sparseness and entropy: Quantus. Nobody computes Win or ADCC.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camaudit.errors import UsageError
from camaudit.maps import minmax, upsample
from camaudit.methods import METHODS
from camaudit.metrics.adcc import coherency, map_complexity
from camaudit.metrics.confidence import (
    average_drop,
    drop_in_logit,
    increase_in_confidence,
    masked_images,
)
from camaudit.metrics.sparsity import entropy, sparseness
from camaudit.objective import custom
from tests.parity.cases import SIZE, Case
from tests.parity.libraries import as_torchcam, load, quiet

SOFTMAX = partial(torch.softmax, dim=-1)
CASES = pytest.mark.parametrize("network", ["flat", "pooled"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def raw_maps(case: Case) -> Tensor:
    """GradCAM's raw maps at the layer's resolution."""
    maps: Tensor = METHODS["gradcam"].function(case.capture())
    return maps


def raw_maps_of_probabilities(case: Case) -> Tensor:
    """The same of the class's probability: the gradient is that of p_c, not of s_c."""
    seen = case.capture()
    rows = []
    for row, target in enumerate(case.targets.tolist()):
        score = custom(lambda logits, column=target: SOFTMAX(logits)[:, column])
        rows.append(METHODS["gradcam"].function(seen.explaining(score))[row])
    return torch.stack(rows)


def class_logits(case: Case, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = case.model()(images)
    return logits.gather(1, case.targets[:, None])[:, 0]


def class_probabilities(case: Case, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits = case.model()(images)
    return SOFTMAX(logits).gather(1, case.targets[:, None])[:, 0]


def confidences(case: Case, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Y = p_c(x) and O = p_c(x⊙w)."""
    masked = masked_images(case.images, weights)
    return class_probabilities(case, case.images), class_probabilities(case, masked)


def same(ours: Tensor, theirs: Any, *, tolerance: float) -> None:
    wanted = torch.as_tensor(np.asarray(theirs, dtype=np.float64))
    torch.testing.assert_close(ours, wanted, rtol=tolerance, atol=tolerance)


# --- torchcam: Average Drop and Increase in Confidence, as means over the images


def summary(case: Case, logits_fn: Any = SOFTMAX) -> dict[str, float]:
    """torchcam's figures of its own GradCAM."""
    model = case.model()
    with quiet(), load("torchcam.methods", "GradCAM")(
        model, case.spec.layer, input_shape=(3, *SIZE)
    ) as extractor:  # fmt: skip
        measured = load("torchcam.metrics", "ClassificationMetric")(extractor, logits_fn)
        measured.update(case.images, case.targets.tolist())
    found: dict[str, float] = measured.summary()
    return found


def as_weights_of_torchcam(raw: Tensor) -> Tensor:
    """Min-max at the layer's resolution, then upsampled, so that hardly a pixel of it is 1."""
    return upsample(torch.from_numpy(as_torchcam(raw)), SIZE)


@CASES
def test_average_drop_and_increase_are_torchcams_of_its_own_maps(network: str) -> None:
    case, theirs = Case(network), summary(Case(network))
    # the metric hands the extractor what it takes for scores: it explains the probability
    weights = as_weights_of_torchcam(raw_maps_of_probabilities(case))
    full, masked = confidences(case, weights)
    shares = average_drop(full, masked) / 100 * full / (full + 1e-7)  # their guard against Y = 0
    same(shares.mean(), theirs["avg_drop"], tolerance=1e-7)
    same(
        increase_in_confidence(full, masked).mean() / 100, theirs["conf_increase"], tolerance=1e-12
    )


@CASES
def test_torchcam_differs_by_what_it_explains_and_by_scaling_before_upsampling(
    network: str,
) -> None:
    case, theirs = Case(network), summary(Case(network))["avg_drop"]
    ours = minmax(upsample(raw_maps(case), SIZE))
    assert ours.amax(dim=(1, 2)).tolist() == [1, 1, 1]
    for weights in (
        ours,
        as_weights_of_torchcam(raw_maps(case)),
        minmax(upsample(raw_maps_of_probabilities(case), SIZE)),
    ):
        found = average_drop(*confidences(case, weights)).mean() / 100
        assert abs(float(found) - theirs) > 1e-4, "one of the two changes is not enough"


@CASES
def test_torchcam_takes_logits_for_confidences_unless_told_not_to(network: str) -> None:
    case = Case(network)
    weights = as_weights_of_torchcam(raw_maps(case))
    full = class_logits(case, case.images)
    masked = class_logits(case, masked_images(case.images, weights))
    theirs = summary(case, logits_fn=None)["avg_drop"]
    same(((full - masked).relu() / (full + 1e-7)).mean(), theirs, tolerance=1e-7)
    with pytest.raises(UsageError, match="turn the logits into probabilities first"):
        average_drop(full, masked)


class Fixed:
    """What torchcam's metric needs of an extractor, with given maps."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, *_args: Any) -> list[Tensor]:
        return [load("torchcam.methods.core", "_CAM")._normalize(self.maps.clone())]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> AbstractContextManager[None]:
        return nullcontext()


def test_a_constant_map_is_a_black_image_for_torchcam_and_undefined_for_us() -> None:
    case = Case("flat")
    maps = torch.full((3, *SIZE), 0.5, dtype=torch.float64)
    measured = load("torchcam.metrics", "ClassificationMetric")(Fixed(case.model(), maps), SOFTMAX)
    measured.update(case.images, case.targets.tolist())
    full, nothing = confidences(case, torch.zeros_like(maps))
    same(average_drop(full, nothing).mean() / 100, measured.summary()["avg_drop"], tolerance=1e-6)
    assert bool(average_drop(*confidences(case, minmax(maps))).isnan().all())


# --- pytorch-grad-cam: Average Drop, Increase in Confidence, and the drop where the map is hidden


def changed(name: str, case: Case, weights: Tensor, *, softmax: bool = True) -> NDArray[Any]:
    """pytorch-grad-cam's figure of each image, computed in float32."""
    kind = "ClassifierOutputSoftmaxTarget" if softmax else "ClassifierOutputTarget"
    target = load("pytorch_grad_cam.utils.model_targets", kind)
    figure = load("pytorch_grad_cam.metrics.cam_mult_image", name)()
    stacked = weights[:, None].numpy()
    found: NDArray[Any] = figure(
        case.images, stacked, [target(one) for one in case.targets.tolist()], case.model()
    )
    return found


@CASES
def test_drop_is_pytorch_grad_cams_divided_by_the_confidence(network: str) -> None:
    case = Case(network)
    weights = minmax(upsample(raw_maps(case), SIZE))
    full, masked = confidences(case, weights)
    ours = average_drop(full, masked)
    theirs = torch.from_numpy(changed("DropInConfidence", case, weights)).double()
    same(100 * theirs / full, ours, tolerance=1e-4)
    # theirs is the absolute drop, so that a class of low confidence hardly counts
    assert float((100 * theirs - ours).abs().max()) > 1


@CASES
def test_increase_is_pytorch_grad_cams_with_probabilities(network: str) -> None:
    case = Case(network)
    weights = minmax(upsample(raw_maps(case), SIZE))
    ours = increase_in_confidence(*confidences(case, weights)) / 100
    same(ours, changed("IncreaseInConfidence", case, weights), tolerance=0)


@CASES
def test_drop_in_logit_is_what_their_multiplication_by_the_complement_changes(
    network: str,
) -> None:
    case = Case(network)
    weights = 1 - minmax(upsample(raw_maps(case), SIZE))
    hidden = class_logits(case, masked_images(case.images, weights))
    ours = drop_in_logit(class_logits(case, case.images), hidden)
    same(-ours, changed("CamMultImageConfidenceChange", case, weights, softmax=False),
         tolerance=1e-5)  # fmt: skip
    # their drop is cut off at 0, where the logit rises
    same(ours.clamp(min=0), changed("DropInConfidence", case, weights, softmax=False),
         tolerance=1e-5)  # fmt: skip


# --- pytorch-grad-cam: the parts of ADCC


def smooth_maps(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return upsample(torch.rand(3, 4, 5, generator=generator, dtype=torch.float64), SIZE)


def test_complexity_is_pytorch_grad_cams_of_the_scaled_map() -> None:
    theirs = load("pytorch_grad_cam.metrics.arcc", "Complexity")()
    maps = smooth_maps(0)
    same(map_complexity(maps), theirs(minmax(maps).numpy()), tolerance=1e-12)
    # theirs takes maps as they come: a constant one has the complexity of its level, 0 if scaled
    assert theirs(np.full((1, *SIZE), 0.5)).tolist() == [0.5]
    assert math.isnan(float(map_complexity(torch.full((1, *SIZE), 0.5))))


def coherency_of_theirs(again: Tensor, maps: Tensor) -> NDArray[Any]:
    figure = load("pytorch_grad_cam.metrics.arcc", "Coherency")()
    images = torch.zeros(len(maps), 3, *SIZE, dtype=torch.float64)
    found: NDArray[Any] = figure(
        images, maps.numpy(), None, None, lambda **_given: again.numpy()
    )  # fmt: skip
    return found


def test_coherency_is_pytorch_grad_cams() -> None:
    again, maps = smooth_maps(1), smooth_maps(2)
    # 1e-8 is added to the product of the deviations there
    same(coherency(again, maps), coherency_of_theirs(again, maps), tolerance=1e-6)
    faint = coherency_of_theirs(1e-8 * again, maps)
    assert np.abs(faint - 0.5).max() < 0.1 * np.abs(coherency(again, maps).numpy() - 0.5).max()
    same(coherency(1e-8 * again, maps), coherency(again, maps), tolerance=1e-12)


def test_an_empty_map_of_the_masked_image_is_half_coherent_there_and_undefined_here() -> None:
    empty, maps = torch.zeros(3, *SIZE, dtype=torch.float64), smooth_maps(2)
    assert coherency_of_theirs(empty, maps).tolist() == [0.5, 0.5, 0.5]
    assert bool(coherency(empty, maps).isnan().all())


# --- Quantus: sparseness and complexity


def quantus(name: str, maps: Tensor) -> NDArray[np.float64]:
    images = np.ones((len(maps), 3, *SIZE))
    with quiet(), np.errstate(all="ignore"):
        figure = load("quantus", name)(disable_warnings=True)
        found = figure(model=None, x_batch=images, y_batch=np.zeros(len(maps), dtype=int),
                       a_batch=maps[:, None].numpy().copy(), channel_first=True)  # fmt: skip
    return np.asarray(found, dtype=np.float64)


def test_sparseness_is_quantus_with_its_floor() -> None:
    maps = 5 * smooth_maps(3).square()
    theirs = quantus("Sparseness", maps)
    # theirs divides by the maximum of the whole batch and adds 1e-7 to every pixel
    same(sparseness(maps / maps.max() + 1e-7), theirs, tolerance=1e-12)
    same(sparseness(maps), theirs, tolerance=1e-5)


def test_sparseness_of_a_faint_map_depends_on_its_batch_in_quantus() -> None:
    faint = torch.cat([1e-8 * smooth_maps(3)[:1], smooth_maps(3)[1:]])
    assert quantus("Sparseness", faint)[0] < 0.2 * quantus("Sparseness", faint[:1])[0]
    same(sparseness(faint)[:1], sparseness(faint[:1]), tolerance=1e-14)
    same(sparseness(faint)[:1], quantus("Sparseness", faint[:1]), tolerance=1e-5)


def test_entropy_is_quantus_complexity() -> None:
    maps = 5 * smooth_maps(3).square()
    maps[0, :10] = 0
    # theirs adds 1e-12 to every share inside the logarithm
    same(entropy(maps), quantus("Complexity", maps), tolerance=1e-8)


def test_an_empty_map_scores_0_in_quantus_sparseness_and_is_undefined_here() -> None:
    maps = smooth_maps(4)
    maps[0] = 0
    assert abs(quantus("Sparseness", maps)[0]) < 1e-9
    assert math.isnan(quantus("Complexity", maps)[0])
    assert sparseness(maps).isnan().tolist() == [True, False, False]
    assert entropy(maps).isnan().tolist() == [True, False, False]
