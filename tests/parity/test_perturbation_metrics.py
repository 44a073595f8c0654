"""ROAD, deletion and the insertion canvas are those of the peers, or differ as said here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from camaudit.metrics.insertion_deletion import (
    class_probabilities,
    curve_auc,
    deletion_curve,
    insertion_canvas,
    pixel_order,
)
from camaudit.metrics.road import (
    PERCENTILES,
    imputation_noise,
    imputed_images,
    removed_pixels,
    road,
    road_average,
    road_curve,
)
from tests.parity.libraries import load, quiet

SIZE = (10, 10)  # of 100 pixels, every library removes the same number at each percentile
TARGETS = torch.tensor([2, 0, 1])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(channels: int = 3) -> nn.Module:
    """A small network, the same each time, whose probabilities are far from even."""
    layers = [nn.Conv2d(channels, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(20, 3)).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 2
    return model


def images(channels: int = 3) -> Tensor:
    return torch.randn(3, channels, *SIZE, generator=torch.Generator().manual_seed(1))


def maps(size: tuple[int, int] = SIZE) -> Tensor:
    """Maps without ties, in [0, 1]."""
    generator = torch.Generator().manual_seed(2)
    count = size[0] * size[1]
    rows = [torch.randperm(count, generator=generator) for _ in range(3)]
    return (torch.stack(rows).double() / (count - 1)).view(3, *size)


def same(ours: Any, theirs: Any) -> None:
    """Equal to the rounding of float32, in which the peers compute."""
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=2e-6)


# --- pytorch-grad-cam: ROAD -----------------------------------------------------------------------


def grad_cam_road(name: str, shown: Tensor) -> NDArray[Any]:
    """The class of that name on softmax probabilities, without noise."""
    module = load("pytorch_grad_cam.metrics.road")
    target = load("pytorch_grad_cam.utils.model_targets", "ClassifierOutputSoftmaxTarget")
    imputer = module.NoisyLinearImputer
    with quiet(), mock.patch.object(imputer, "__init__", lambda self: setattr(self, "noise", 0.0)):
        metric = getattr(module, name)()
        classes = [target(label) for label in TARGETS.tolist()]
        return np.asarray(metric(images(), shown.numpy(), classes, network()))


def our_road(shown: Tensor) -> tuple[Tensor, Tensor]:
    order, _ = pixel_order(shown)
    morf, lerf = (
        road_curve(network(), images(), order, TARGETS, first=first, noise=0)  # type: ignore[arg-type]
        for first in ("most", "least")
    )
    return morf, lerf


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_imputed_images_are_those_of_pytorch_grad_cam(noise: float) -> None:
    gone = maps() > 0.4
    ours = imputed_images(images(), gone, noise=noise)
    imputer = load("pytorch_grad_cam.metrics.road", "NoisyLinearImputer")(noise=noise)
    for row, image in enumerate(images()):
        # Its noise is drawn from torch's global state anew each time: here it is ours.
        drawn = torch.from_numpy(imputation_noise(image)).float()[:, gone[row]]
        with quiet(), mock.patch("torch.randn_like", lambda _, drawn=drawn: drawn):
            theirs = imputer(image, (~gone[row]).float())
        same(ours[row], theirs)


def test_road_is_that_of_pytorch_grad_cam() -> None:
    same(road(*our_road(maps())), grad_cam_road("ROADCombined", maps()))


def test_the_averages_of_pytorch_grad_cam_are_changes_of_the_probability() -> None:
    # It reports p(imputed) − p(x), ours p(imputed): the difference cancels in ROADCombined.
    morf, lerf = our_road(maps())
    full = class_probabilities(network(), images(), TARGETS)
    same(road_average(morf) - full, grad_cam_road("ROADMostRelevantFirstAverage", maps()))
    same(road_average(lerf) - full, grad_cam_road("ROADLeastRelevantFirstAverage", maps()))


def removed_there(shown: Tensor, percentile: int, *, most: bool) -> Tensor:
    """What pytorch-grad-cam removes: a threshold, where ours is a number of pixels."""
    values = shown if most else 1 - shown
    kept = [np.asarray(row) < np.percentile(row, percentile) for row in values.numpy()]
    return ~torch.from_numpy(np.stack(kept))


def test_tied_pixels_go_together_in_pytorch_grad_cam() -> None:
    # Where half of a map is 0, as after a rectifier, "10 % of the least salient" is that half. In
    # the other order up to 40 % kept are none: it removes the whole image.
    tied = (maps() - 0.5).clamp(min=0)
    order, _ = pixel_order(tied)
    gone = [removed_there(tied, percentile, most=False) for percentile in PERCENTILES]
    assert [int(rows[0].sum()) for rows in gone] == [90, 80, 70, 60, 50, 50, 50, 50, 50]
    ours = [removed_pixels(order, 100 - p, SIZE, most=False) for p in PERCENTILES]
    assert [int(rows[0].sum()) for rows in ours] == [90, 80, 70, 60, 50, 40, 30, 20, 10]
    assert all(bool((more | ~rows).all()) for more, rows in zip(gone, ours, strict=True))
    assert bool(removed_there(tied, 40, most=True).all())
    # With its pixels the figure is its figure.
    theirs = grad_cam_road("ROADLeastRelevantFirstAverage", tied)
    full = class_probabilities(network(), images(), TARGETS)
    means = []
    for masks in (gone, ours):
        imputed = [imputed_images(images(), rows, noise=0) for rows in masks]
        scores = [class_probabilities(network(), rows, TARGETS) for rows in imputed]
        means.append(torch.stack(scores).mean(dim=0))
    same(means[0] - full, theirs)
    same(means[1], road_average(our_road(tied)[1]))
    assert float((means[0] - means[1]).abs().max()) > 1e-3


def test_pytorch_grad_cam_may_remove_one_pixel_more() -> None:
    # Its threshold lies between two pixels; ours rounds the number of pixels down.
    shown = maps((8, 8))
    order, _ = pixel_order(shown)
    more = []
    for percentile in PERCENTILES:
        ours = removed_pixels(order, percentile, (8, 8), most=True)
        theirs = removed_there(shown, 100 - percentile, most=True)
        assert bool((theirs | ~ours).all())
        more.append(int((theirs & ~ours)[0].sum()))
    assert set(more) == {0, 1}


# --- Quantus: ROAD and pixel flipping -------------------------------------------------------------


def quantus(name: str, channels: int, shown: Tensor, **build: Any) -> Any:
    """The class of that name, called on a model of its own."""
    with quiet():
        made = load("quantus", name)(
            disable_warnings=True, display_progressbar=False, normalise=False, **build
        )
        return made(
            model=network(channels),
            x_batch=images(channels).numpy(),
            y_batch=TARGETS.numpy(),
            a_batch=shown.numpy()[:, None],
            channel_first=True,
            softmax=True,
            device="cpu",
        )


def test_imputed_images_are_those_of_quantus() -> None:
    impute = load("quantus.functions.perturb_func", "noisy_linear_imputation")
    gone = maps() > 0.4
    ours = imputed_images(images().double(), gone, noise=0)
    for row, image in enumerate(images().double().numpy()):
        with quiet():
            theirs = impute(image, np.flatnonzero(gone[row]), noise=0.0)
        np.testing.assert_allclose(ours[row], theirs, rtol=1e-10, atol=1e-12)


def test_quantus_counts_the_images_that_keep_their_class() -> None:
    # It reports, of a data set, the accuracy in MoRF order; ours the probability of each image.
    theirs = quantus("ROAD", 1, maps(), percentages=list(PERCENTILES), noise=0.0)
    order, _ = pixel_order(maps())
    for percentile in PERCENTILES:
        gone = removed_pixels(order, percentile, SIZE, most=True)
        with torch.no_grad():
            classes = network(1)(imputed_images(images(1), gone, noise=0)).argmax(dim=1)
        assert theirs[percentile] == pytest.approx(float((classes == TARGETS).double().mean()))


def test_road_of_quantus_takes_images_of_one_channel_alone() -> None:
    # It ranks the map's copies for each channel, and takes their places for pixels.
    with pytest.raises(IndexError):
        quantus("ROAD", 3, maps(), percentages=list(PERCENTILES), noise=0.0)


@pytest.mark.parametrize(("channels", "features"), [(1, 5), (1, 20), (2, 10)])
def test_deletion_is_pixel_flipping_of_quantus(channels: int, features: int) -> None:
    # It flips features, a pixel being one for each channel; its curve lacks the whole image.
    theirs = quantus(
        "PixelFlipping", channels, maps(), features_in_step=features, perturb_baseline=0.0
    )
    order, _ = pixel_order(maps())
    ours = deletion_curve(
        network(channels), images(channels), order, TARGETS, pixels_per_step=features // channels
    )
    same(ours[:, 1:], theirs)


def test_the_area_of_quantus_is_in_steps_and_lacks_the_first() -> None:
    # NumPy 2.4 has no trapz, which it calls. Its area is in steps; ours is over the unit interval.
    with mock.patch("numpy.trapz", np.trapezoid, create=True):
        theirs = quantus(
            "PixelFlipping", 1, maps(), features_in_step=5, perturb_baseline=0.0,
            return_auc_per_sample=True,
        )  # fmt: skip
    order, _ = pixel_order(maps())
    ours = deletion_curve(network(1), images(1), order, TARGETS, pixels_per_step=5)
    same(curve_auc(ours[:, 1:]) * 19, theirs)


# --- RISE's program: the canvas -------------------------------------------------------------------


def test_the_rise_kernel_is_a_filtered_impulse_with_mirrored_ends() -> None:
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = torch.from_numpy(ndimage.gaussian_filter(impulse, 5))
    given = images().double()
    theirs = torch.conv2d(given, kernel.expand(3, 1, 11, 11), padding=5, groups=3)
    torch.testing.assert_close(insertion_canvas(given, kernel="rise"), theirs)
    assert float((insertion_canvas(given) - theirs).abs().max()) > 0.01  # cut, not mirrored
