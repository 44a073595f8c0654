"""Real architectures at 224×224: built once a session, by name, with weights drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from camaudit.models import lite0
from camaudit.walls import WalledModel, paper_twins, paper_wall, split_trunk

#: Architecture → its last map before the head.
NETWORKS = {
    "resnet18": "layer4",
    "mobilenet_v3_small": "features",
    "densenet121": "features",
    "convnext_tiny": "features",
    "efficientnet_lite0": lite0.LAYER,
}


def photograph() -> Tensor:
    """scikit-image's chelsea, standardised for ImageNet, 1×3×224×224."""
    from skimage import data

    from camaudit.data.images import resize_center_crop
    from camaudit.data.preprocess import parse_preprocess

    pixels = resize_center_crop(data.chelsea(), 224)
    return parse_preprocess("imagenet").to_tensor([pixels])


def build(name: str) -> nn.Module:
    if name == "efficientnet_lite0":
        return lite0.build()
    torch.manual_seed(0)
    return get_model(name, weights=None).eval()


@pytest.fixture(scope="session")
def image() -> Tensor:
    return photograph()


@pytest.fixture(scope="session")
def paper_vgg16(image: Tensor) -> WalledModel:
    """The paper's VGG16 at He initialisation with its unmasked twin (two 0.9 GB networks)."""
    masked, unmasked = paper_twins(seed=0)
    return paper_wall(masked, image, unmasked=unmasked)


@pytest.fixture(scope="session")
def walled(image: Tensor, paper_vgg16: WalledModel) -> Callable[[str], WalledModel]:
    """Walled networks by name, each built once."""
    built: dict[str, WalledModel] = {"paper_vgg16": paper_vgg16}

    def get(name: str) -> WalledModel:
        if name not in built:
            built[name] = split_trunk(build(name), NETWORKS[name], image)
        return built[name]

    return get
