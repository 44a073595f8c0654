"""The paper's VGG16 on a real photograph: its zone, and parity with the library the paper used."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_grad_cam as peer
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.capture import Capture, capture
from camaudit.engine import Engine, prepare
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.methods.decomposition import first_component
from camaudit.methods.gradient import gradcam_plus_plus
from camaudit.metrics.dead_zone import dead_zone_figures
from camaudit.walls import WalledModel, paper_twins, paper_wall, verify_zone

pytestmark = pytest.mark.long

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def captured(paper_vgg16: WalledModel, image: Tensor) -> Capture:
    return capture(paper_vgg16, image, forwards=prepare(paper_vgg16, image, Engine()))


def their_postprocessing(raw: Tensor) -> NDArray[np.float32]:
    """pytorch-grad-cam's: rectify, min-max, bilinear resize by OpenCV, min-max again."""
    low = raw.relu()[0].numpy()
    low = low - low.min()
    resized = np.maximum(cv2.resize(low / (1e-7 + low.max()), (224, 224)), 0)
    resized = resized - resized.min()
    scaled: NDArray[np.float32] = resized / (1e-7 + resized.max())
    return scaled


class Once(nn.Module):
    """Layers that run on the first image alone; every later one gets what came of the first."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.kept: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.layers(images)
        return self.kept.expand(len(images), -1, -1, -1)


def theirs(cls: type, model: WalledModel, captured: Capture) -> NDArray[np.float32]:
    network: Any = model.trunk.model
    target = network[29]
    if cls is peer.AblationCAM:
        # It runs the whole network for every channel, always on the same image, and lets its own
        # layer drop what the layers before the target return.
        network = nn.Sequential(Once(network[:29]), *network[29:])
    targets = [ClassifierOutputTarget(int(captured.targets[0]))]
    with cls(model=network, target_layers=[target]) as cam:
        maps: NDArray[np.float32] = cam(input_tensor=captured.images, targets=targets)
    return maps[0]


def test_pixel_dead_rows_are_170_to_223(paper_vgg16: WalledModel) -> None:
    zone = paper_vgg16.zone
    assert zone.pixel_dead_rows == list(range(170, 224))
    assert bool((zone.pixel_dead == zone.scored).all())
    assert zone.scored_fraction == 54 / 224
    assert zone.kind == "receptive field"


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("gradcam", peer.GradCAM),
        ("xgradcam", peer.XGradCAM),
        ("hirescam", peer.HiResCAM),
        ("layercam", peer.LayerCAM),
        ("ablationcam", peer.AblationCAM),
    ],
)
def test_maps_agree_with_pytorch_grad_cam(
    name: str, cls: type, paper_vgg16: WalledModel, captured: Capture
) -> None:
    ours = their_postprocessing(compute(name, captured))
    assert np.abs(ours - theirs(cls, paper_vgg16, captured)).max() <= TOLERANCE


def test_scorecam_agrees_with_pytorch_grad_cam_at_a_narrow_last_layer(image: Tensor) -> None:
    """They run the whole network for every channel: 16 here, above layers of full width."""
    narrow = paper_wall(paper_twins(channels=16, hidden=256)[0], image)
    seen = capture(narrow, image, forwards=prepare(narrow, image, Engine()))
    ours = their_postprocessing(compute("scorecam", seen))
    assert np.abs(ours - theirs(peer.ScoreCAM, narrow, seen)).max() <= TOLERANCE


def test_gradcam_plus_plus_agrees_once_their_epsilon_is_added(
    paper_vgg16: WalledModel, captured: Capture
) -> None:
    """They add 1e-6 to α's denominator, which the paper's equation 19 does not have."""
    expected = theirs(peer.GradCAMPlusPlus, paper_vgg16, captured)
    with_epsilon = their_postprocessing(gradcam_plus_plus(captured, epsilon=1e-6))
    assert np.abs(with_epsilon - expected).max() <= TOLERANCE
    formula = their_postprocessing(compute("gradcam++", captured))
    assert TOLERANCE < np.abs(formula - expected).max() <= 1e-2


def test_eigencam_agrees_with_one_sign_of_the_singular_vector(
    paper_vgg16: WalledModel, captured: Capture
) -> None:
    """They keep the sign that LAPACK happens to return; ours is stated, theirs may be opposite."""
    expected = theirs(peer.EigenCAM, paper_vgg16, captured)
    projection = first_component(captured.activations)
    differences = [
        float(np.abs(their_postprocessing(sign * projection) - expected).max()) for sign in (1, -1)
    ]
    assert min(differences) <= TOLERANCE < max(differences)


def test_figures_on_the_photograph(paper_vgg16: WalledModel, captured: Capture) -> None:
    scored = paper_vgg16.zone.scored
    global_weights = ("gradcam", "gradcam++", "xgradcam", "eigencam")
    figures = {
        name: dead_zone_figures(upsample(compute(name, captured), (224, 224)), scored)[0]
        for name in (*global_weights, "hirescam", "layercam", "uniform")
    }
    assert figures["hirescam"].mu_l1 == figures["layercam"].mu_l1 == 0
    assert figures["uniform"].mu_l1 == pytest.approx(54 / 224, abs=1e-6)
    assert figures["uniform"].mu_l2 == pytest.approx((54 / 224) ** 0.5, abs=1e-6)
    for name in global_weights:
        mass = figures[name].mu_l1
        assert mass is not None
        assert mass > 0.05, name


def test_the_unmasked_twin_sees_the_dead_rows(paper_vgg16: WalledModel, image: Tensor) -> None:
    twin = paper_vgg16.unwalled
    assert twin is not None
    changed = image.clone()
    changed[:, :, 170:] = 0
    with torch.no_grad():
        assert not torch.equal(twin(image), twin(changed))
        assert torch.equal(paper_vgg16(image), paper_vgg16(changed))


@pytest.mark.usefixtures("two_threads")
def test_the_zone_holds_bit_for_bit_in_either_memory_layout(
    paper_vgg16: WalledModel, image: Tensor
) -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        found = verify_zone(
            paper_vgg16, image.to(memory_format=layout), paper_vgg16.zone, perturbations=7
        )
        assert found.bit_equal
        assert found.passed


def test_the_papers_network_is_audited_from_settings() -> None:
    outcome = run_audit(
        Settings(wall="vgg16", methods=("gradcam", "hirescam", "uniform"), num_images=1)
    )
    zone = outcome.results.provenance.zone
    assert zone["verified"] is True
    assert zone["pixel_dead_rows"] == list(range(170, 224))
    mass = {entry.method: entry.mu_l1.mean for entry in outcome.results.summary}
    assert mass["hirescam"] == 0
    assert mass["uniform"] == pytest.approx(54 / 224, abs=1e-6)
    assert (mass["gradcam"] or 0) > 0
