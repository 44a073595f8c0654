"""One contract over the families of torchvision and timm, with random weights.

The layer is found, everything passes through it, a split wall's dead zone is verified by
perturbation, the methods run, HiResCAM is exactly 0 behind the wall, and the model is left as it
was. Of every family the smallest variant that shows its shape is taken; more of transformers, and
of what is particular to them, is in :mod:`tests.models.test_transformers`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import capture
from camaudit.cut import cut_at, default_layer
from camaudit.errors import LayerError
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.models.classifier import as_classifier
from camaudit.models.loading import load_model
from camaudit.models.weights import state_sha256
from camaudit.walls import WalledModel, split_trunk, verify_zone
from tests.networks import settle

METHODS = ("gradcam", "hirescam", "layercam")
SECONDS = 6.0  #: of processor time for one network; 1.5 on an idle core

#: Spec (five classes unless it says otherwise), side of the images, layer that is found.
FAMILIES = [
    ("torchvision:alexnet", 64, "features.11"),
    ("torchvision:squeezenet1_1", 64, "classifier.2"),
    ("torchvision:resnet18", 48, "layer4"),
    ("torchvision:densenet121", 64, "features"),
    ("torchvision:googlenet(init_weights=false)", 48, "inception5b"),
    ("torchvision:mobilenet_v2", 48, "features"),
    ("torchvision:mobilenet_v3_small", 64, "features"),
    ("torchvision:mnasnet0_5", 64, "layers"),
    ("torchvision:shufflenet_v2_x0_5", 64, "conv5"),
    ("torchvision:efficientnet_b0", 48, "features"),
    ("torchvision:regnet_y_400mf", 48, "trunk_output"),
    ("timm:test_vit", 160, "blocks.3"),
    ("timm:vit_medium_patch16_gap_240(img_size=64, depth=3, embed_dim=32, num_heads=2)", 64,
     "norm"),
    ("timm:deit_tiny_distilled_patch16_224(img_size=64, depth=4, embed_dim=32, num_heads=2)", 64,
     "blocks.1"),
    ("timm:swin_tiny_patch4_window7_224(img_size=112, embed_dim=12, depths=1+1+2, num_heads=1+2+2)",
     112, "norm"),
    ("timm:resnet10t", 48, "layer4"),
    ("timm:test_resnet", 64, "layer4"),
    ("timm:mobilenetv3_small_050", 64, "blocks"),
    ("timm:test_efficientnet", 64, "bn2"),
    ("timm:convnext_atto", 64, "norm_pre"),
    ("timm:convnextv2_atto", 64, "norm_pre"),
    ("timm:regnetx_002", 48, "final_conv"),
    ("timm:ghostnet_050", 48, "blocks"),
    ("timm:test_byobnet", 64, "final_conv"),
    ("timm:dla46_c", 64, "level5"),
    ("timm:hardcorenas_a", 48, "blocks"),
    ("timm:lcnet_035", 64, "blocks"),
    ("timm:test_nfnet", 64, "final_act"),
    ("timm:edgenext_xx_small", 64, "norm_pre"),
    ("timm:fasternet_t0", 64, "stages"),
    ("timm:starnet_s1", 48, "norm"),
    ("timm:semnasnet_050", 48, "bn2"),
    ("timm:inception_next_atto", 64, "stages"),
    ("timm:rexnet_100", 48, "features"),
    ("timm:test_mambaout", 64, "stages"),
]  # fmt: skip


def built(spec: str) -> nn.Module:
    """The network with weights that keep its activations alive."""
    name = f"{spec[:-1]}, num_classes=5)" if spec.endswith(")") else f"{spec}(num_classes=5)"
    return settle(load_model(name).model)


def state(model: nn.Module) -> list[Any]:
    """What an audit may not change."""
    return [
        state_sha256(model),
        *((name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks),
           "forward" in vars(module)) for name, module in model.named_modules()),
        *((name, p.requires_grad, p.grad is None) for name, p in model.named_parameters()),
    ]  # fmt: skip


def behind(walled: WalledModel, method: str, seen: Any) -> tuple[Tensor, Tensor]:
    """Each image's map, whole and in the scored zone (sums)."""
    maps = upsample(compute(method, seen), seen.size)
    assert bool(torch.isfinite(maps).all())
    return maps.sum(dim=(1, 2)), maps[:, walled.zone.scored].sum(dim=1)


@pytest.mark.parametrize(("spec", "size", "layer"), FAMILIES, ids=lambda v: str(v))
def test_a_family_keeps_the_contract(spec: str, size: int, layer: str) -> None:
    started = time.process_time()
    model = built(spec)
    before = state(model)
    x = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    seen_as = as_classifier(model, x[:1])
    assert seen_as is model
    assert default_layer(model, x[:1]) == layer
    walled = split_trunk(model, layer, x[:1])
    found = capture(walled, x)
    assert found.logits.shape == (3, 5)
    cells = walled.zone.feature_dead
    assert bool((found.activations[:, :, cells] != 0).any())  # the layer shows what is behind
    assert bool((found.gradients[:, :, cells] == 0).all())  # and the head does not read it
    sums = {method: behind(walled, method, found) for method in METHODS}
    for method in ("hirescam", "layercam"):
        assert bool((sums[method][1] == 0).all())
    assert sum(bool((whole > 0).any()) for whole, _ in sums.values()) >= 2  # else nothing is said
    verified = verify_zone(walled, x[:1], walled.zone, perturbations=3)
    assert verified.passed
    assert state(model) == before
    assert time.process_time() - started < SECONDS


def test_a_network_without_any_map_is_refused() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval()
    with pytest.raises(LayerError, match="no layer of the model gives an N×K×h×w map"):
        default_layer(flat, torch.zeros(1, 3, 8, 8))


def test_channels_last_are_maps_too() -> None:
    model = settle(load_model("timm:test_mambaout(num_classes=5)").model)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    cut = cut_at(model, "stages", x[:1])
    assert cut.grid.layout == "channels last"
    output = cut.trunk.output(x)
    A, rest = cut.look(x)
    assert rest is None
    assert A.shape[1] == output.shape[3] > A.shape[2] == A.shape[3] == output.shape[1]
    assert torch.equal(A.permute(0, 2, 3, 1), output)


def test_there_are_enough_families_and_the_page_points_here() -> None:
    assert len(FAMILIES) >= 25
    assert sum("vit" in spec or "deit" in spec or "swin" in spec for spec, _, _ in FAMILIES) >= 3
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert "tests/models/test_architectures.py" in page
