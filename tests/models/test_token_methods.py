"""Attention rollout, LeGrad and ViT-ReciproCAM against literal references and torchcam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError, UsageError
from camaudit.methods import METHODS, compute, method_names
from camaudit.walls import insert_wall, split_trunk
from tests.networks import images, settle
from tests.references.token_methods import legrad, rollout, vit_reciprocam
from tests.token_networks import TinyViT, tiny

TOKEN_METHODS = [name for name in method_names() if METHODS[name].info.tokens]
KINDS: list[dict[str, Any]] = [
    {"prefix": 1, "pool": "class"},
    {"prefix": 3, "pool": "mean", "kind": "softmax"},
    {"prefix": 0, "pool": "mean"},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['prefix']}-{kind['pool']}")


def pictures(count: int = 2) -> Tensor:
    return images(count, (16, 24)).double()


def network(kind: dict[str, Any]) -> TinyViT:
    return tiny(dtype=torch.float64, **kind)


def test_they_are_the_methods_of_tokens() -> None:
    assert set(TOKEN_METHODS) == {"attention-rollout", "legrad", "vit-reciprocam"}


@kinds
@pytest.mark.parametrize("walled", [False, True])
def test_rollout_and_legrad_are_the_formulas(kind: dict[str, Any], walled: bool) -> None:
    """With a wall they are those of a network that has no dead tokens."""
    model, x = network(kind), pictures()
    keep = list(range(kind["prefix"] + 24))
    if walled:
        seen = capture(split_trunk(model, "blocks.0", x[:1], live_rows=2), x)
        keep = keep[: kind["prefix"] + 12]
    else:
        seen = capture(cut_at(model, "blocks.0", x[:1]), x)
    rolled, grad = compute("attention-rollout", seen), compute("legrad", seen)
    mean = compute("legrad(pool=mean)", seen)
    for row, target in enumerate(seen.targets.tolist()):
        wanted = rollout(model, x[row], keep)
        torch.testing.assert_close(rolled[row], wanted, rtol=1e-10, atol=1e-14)
        wanted = legrad(model, x[row], target, keep)
        torch.testing.assert_close(grad[row], wanted, rtol=1e-10, atol=1e-14)
        assert float(wanted.max()) > 0
        wanted = legrad(model, x[row], target, keep, pool="mean")
        torch.testing.assert_close(mean[row], wanted, rtol=1e-10, atol=1e-14)


@kinds
@pytest.mark.parametrize("gaussian", [False, True])
def test_vit_reciprocam_is_the_formula(kind: dict[str, Any], gaussian: bool) -> None:
    model, x = network(kind), pictures()
    seen = capture(cut_at(model, "blocks.1", x[:1]), x)
    name = "vit-reciprocam" if gaussian else "vit-reciprocam(window=token)"
    found = compute(name, seen)
    plain = compute("reciprocam-gaussian" if gaussian else "reciprocam", seen)
    assert torch.equal(found, plain)
    for row, target in enumerate(seen.targets.tolist()):
        wanted = vit_reciprocam(model, x[row], target, 1, gaussian=gaussian)
        torch.testing.assert_close(found[row], wanted, rtol=1e-9, atol=1e-12)


def test_legrad_equals_torchcams() -> None:
    torchcam = pytest.importorskip("torchcam.methods", reason="torchcam is not installed")
    options = {"num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
    model = settle(VisionTransformer(16, 4, num_classes=5, **options)).double()
    x = images(2, 16).double()
    seen = capture(cut_at(model, "encoder.layers.encoder_layer_1", x[:1]), x)
    with torchcam.LeGrad(model, list(model.encoder.layers)) as extractor:
        scores = model(x.clone().requires_grad_(True))
        (theirs,) = extractor(seen.targets.tolist(), scores, normalized=False)
    found = compute("legrad(pool=mean)", seen)
    torch.testing.assert_close(found, theirs, rtol=1e-8, atol=1e-12)


def test_rollout_of_an_image_sums_to_what_the_class_token_keeps() -> None:
    model, x = network({"prefix": 1}), pictures()
    maps = compute("attention-rollout", capture(cut_at(model, "blocks.0", x[:1]), x))
    sums = maps.sum(dim=(1, 2))
    assert bool(((sums > 0) & (sums < 1 - 0.5**3 + 1e-12)).all())


def test_their_weights_are_those_of_torchs_own_module() -> None:
    """Fused, by a softmax, and in `nn.MultiheadAttention` the same weights give the same maps."""
    x = pictures()
    base = network({"kind": "fused"})
    found = []
    for kind in ("fused", "softmax", "module"):
        model = network({"kind": kind})
        state = base.state_dict()
        if kind == "module":
            for old, new in (("qkv.", "in_proj_"), ("proj.", "out_proj.")):
                state = {
                    name.replace(f"attn.{old}", f"attn.{new}"): value
                    for name, value in state.items()
                }
        model.load_state_dict(state)
        seen = capture(split_trunk(model, "blocks.0", x[:1], live_rows=2), x)
        found.append(torch.stack([compute(name, seen) for name in TOKEN_METHODS]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found[0], found[2], rtol=1e-10, atol=1e-14)


def test_they_leave_the_model_as_it_was() -> None:
    model, x = network({}), pictures()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = capture(insert_wall(model, "blocks.0", x[:1]), x)
    for name in TOKEN_METHODS:
        compute(name, seen)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", TOKEN_METHODS)
def test_they_do_not_apply_to_maps(name: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).eval()
    x = images(1)
    with pytest.raises(NotApplicableError, match="reads the patch tokens of a transformer"):
        compute(name, capture(cut_at(model, "1", x), x))


@pytest.mark.parametrize("name", ["attention-rollout", "legrad"])
def test_attention_that_cannot_be_followed_is_refused(name: str) -> None:
    x = images(1, (16, 24))
    seen = capture(cut_at(tiny(kind="linear"), "blocks.0", x), x)
    with pytest.raises(NotApplicableError, match="none was seen in this model"):
        compute(name, seen)


@pytest.mark.parametrize("call", ["vit-reciprocam(window=box)", "legrad(pool=max)"])
def test_an_unknown_option_is_refused(call: str) -> None:
    x = images(1, (16, 24))
    seen = capture(cut_at(tiny(), "blocks.0", x), x)
    with pytest.raises(UsageError, match=r"got '(box|max)'"):
        compute(call, seen)
