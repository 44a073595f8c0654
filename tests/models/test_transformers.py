"""Transformers of torchvision, timm and transformers: their grid, and a wall among their tokens.

Tiny variants of every family with random weights. What the walled model says is compared with the
same model whose dead tokens are dropped by a hook of the test's own, right after the embedding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

from camaudit.attention import Hiding
from camaudit.capture import Capture, capture
from camaudit.cut import cut_at, default_layer
from camaudit.errors import LayerError, NotApplicableError, UsageError, WallError
from camaudit.methods import METHODS, compute, method_names
from camaudit.models.classifier import as_classifier
from camaudit.walls import WalledModel, insert_wall, split_trunk, verify_zone
from camaudit.walls.tokens import HidingHead, LeftOut, TokenSplit, hides
from tests.methods.test_contract import cheap
from tests.models.test_architectures import state
from tests.networks import images, settle
from tests.token_networks import TinyViT, tiny, without_tokens

SECONDS = 8.0  #: of processor time for one network; 2 on an idle core


def torchvision_vit() -> nn.Module:
    return VisionTransformer(32, 8, 4, 2, 32, 48, num_classes=5)


def torchvision_swin() -> nn.Module:
    return SwinTransformer([4, 4], 12, [1, 1, 2], [1, 2, 2], [4, 4], num_classes=5)


def timm_model(name: str, **options: Any) -> nn.Module:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    model: nn.Module = timm.create_model(name, num_classes=5, **options)
    return model


def hf_model(kind: str, attention: str = "sdpa", **options: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = getattr(transformers, f"{kind}Config")(num_labels=5, **options)
    config._attn_implementation = attention
    model: nn.Module = getattr(transformers, f"{kind}ForImageClassification")(config)
    return model


SMALL = {"depth": 4, "embed_dim": 32, "num_heads": 2}
SMALL_HF = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
ENCODER = {**SMALL_HF, "image_size": 32, "patch_size": 8, "intermediate_size": 48}


@dataclass(frozen=True)
class Family:
    """A network, the images' side, the layer that is found, and what is expected there.

    `start` is the module whose output has all tokens for the first time, where they can be
    dropped. `dead` says what becomes of dead tokens, `masked` whether attention hides them (None:
    no :class:`TokenSplit`).
    """

    name: str
    make: Callable[[], nn.Module]
    size: int
    layer: str
    prefix: int
    grid: tuple[int, int]
    start: str | None = None
    dead: str = "left out"
    masked: bool | None = True
    follows: bool = True
    blank: bool = False
    seed: int = 0


FAMILIES = [
    Family("torchvision ViT", torchvision_vit, 32, "encoder.layers.encoder_layer_1", 1, (4, 4),
           start="encoder.dropout"),
    Family("torchvision Swin", torchvision_swin, 64, "permute", 0, (4, 4), masked=None,
           follows=False),
    Family("timm ViT", partial(timm_model, "vit_tiny_patch16_224", img_size=64, **SMALL), 64,
           "blocks.1", 1, (4, 4), start="norm_pre"),
    Family("timm DeiT, distilled",
           partial(timm_model, "deit_tiny_distilled_patch16_224", img_size=64, **SMALL), 64,
           "blocks.1", 2, (4, 4), start="norm_pre"),
    Family("timm ViT with registers",
           partial(timm_model, "vit_base_patch14_reg4_dinov2", img_size=56, **SMALL), 56,
           "blocks.1", 5, (4, 4), start="norm_pre"),
    Family("timm ViT, mean",
           partial(timm_model, "vit_medium_patch16_gap_240", img_size=64, **SMALL), 64,
           "norm", 0, (4, 4), start="norm_pre"),
    Family("timm ViT, attention pooling", partial(timm_model, "test_vit3"), 160, "norm", 1,
           (10, 10), start="norm_pre", follows=False),
    Family("timm ViT, rotary positions",
           partial(timm_model, "vit_small_patch16_rope_224", img_size=64, **SMALL), 64,
           "blocks.1", 1, (4, 4), dead="0 and hidden from attention"),
    Family("timm BEiT", partial(timm_model, "beit_base_patch16_224", img_size=64, **SMALL), 64,
           "norm", 1, (4, 4)),
    Family("timm hybrid",
           partial(timm_model, "vit_tiny_r_s16_p8_224", img_size=64, depth=3, embed_dim=32,
                   num_heads=2), 64,
           "blocks.0", 1, (2, 2), start="norm_pre", blank=True),
    Family("timm CaiT", partial(timm_model, "cait_xxs24_224", img_size=64, **SMALL), 64,
           "blocks.2", 0, (4, 4), masked=None, follows=False),
    Family("timm Swin",
           partial(timm_model, "swin_tiny_patch4_window7_224", img_size=112, embed_dim=12,
                   depths=(1, 1, 2), num_heads=(1, 2, 2)), 112,
           "norm", 0, (7, 7), masked=None, follows=False, seed=1),
    Family("transformers ViT", partial(hf_model, "ViT", **ENCODER), 32, "vit.layers.1", 1, (4, 4),
           start="vit.embeddings"),
    Family("transformers ViT, eager", partial(hf_model, "ViT", "eager", **ENCODER), 32,
           "vit.layers.1", 1, (4, 4), start="vit.embeddings"),
    Family("transformers DeiT", partial(hf_model, "DeiT", **ENCODER), 32, "deit.layers.1", 2,
           (4, 4), start="deit.embeddings"),
    Family("transformers DINOv2 with registers",
           partial(hf_model, "Dinov2WithRegisters", image_size=56, patch_size=14, **SMALL_HF), 56,
           "dinov2_with_registers.layernorm", 5, (4, 4), start="dinov2_with_registers.embeddings"),
    Family("transformers Swin",
           partial(hf_model, "Swin", image_size=112, embed_dim=12, depths=[1, 1, 2],
                   num_heads=[1, 2, 2]), 112,
           "swin.layernorm", 0, (7, 7), masked=None, follows=False),
]  # fmt: skip

families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def built(family: Family, x: Tensor) -> nn.Module:
    model = settle(family.make(), family.seed)
    read: nn.Module = as_classifier(model, x[:1])
    return read


def behind(walled: WalledModel, name: str, seen: Capture) -> tuple[float, float]:
    """A method's largest value in live and in dead cells, which must be finite."""
    maps = compute(cheap(name), seen)
    assert bool(torch.isfinite(maps).all()), name
    assert bool((maps >= 0).all())
    dead = walled.zone.feature_dead
    return float(maps[:, ~dead].max()), float(maps[:, dead].max())


@families
def test_a_family_keeps_the_contract(family: Family) -> None:
    x = images(2, family.size)
    model = built(family, x)
    started = time.process_time()  # without the import of a library
    before = state(model)
    assert default_layer(model, x[:1]) == family.layer
    walled = split_trunk(model, family.layer, x[:1])
    seen = capture(walled, x)
    cells = walled.zone.feature_dead
    grid = walled.grid
    assert tuple(cells.shape) == family.grid
    assert grid.prefix == family.prefix
    assert seen.activations.shape[2:] == family.grid
    assert bool((seen.activations[:, :, cells] != 0).any())  # the layer shows what is behind
    assert bool((seen.gradients[:, :, cells] == 0).all())  # and the head does not read it
    assert bool((seen.gradients[:, :, ~cells] != 0).any())
    assert (walled.trunk.masked if isinstance(walled.trunk, TokenSplit) else None) == family.masked
    if grid.layout == "tokens":
        assert walled.description["dead_tokens"] == family.dead
    found = {name: behind(walled, name, seen) for name in ("gradcam", "hirescam", "layercam")}
    assert found["hirescam"][1] == found["layercam"][1] == 0
    assert sum(live > 1e-6 for live, _ in found.values()) >= 2  # else nothing is said
    verified = verify_zone(walled, x[:1], walled.zone, perturbations=7)
    assert verified.passed
    assert verified.bit_equal
    assert torch.equal(walled.logits(x), walled(x))
    for name in ("attention-rollout", "legrad"):
        if family.follows:
            live, dead = behind(walled, name, seen)
            assert live > 0
            assert dead == 0
        else:
            with pytest.raises(NotApplicableError):
                compute(name, seen)
    assert state(model) == before
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize(
    "family", [each for each in FAMILIES if each.start], ids=lambda family: family.name
)
def test_a_wall_is_as_if_its_tokens_were_not_there(family: Family) -> None:
    x = images(3, family.size)
    model = built(family, x)
    assert family.start is not None
    walled = split_trunk(model, family.layer, x[:1])
    shown = x
    if family.blank:  # its convolutions read beyond a patch
        shown = torch.where(walled.zone.pixel_dead, torch.zeros(()), x)
    wanted = without_tokens(model, family.start, walled.keep)(shown)
    with torch.no_grad():
        torch.testing.assert_close(walled.logits(x), wanted, rtol=1e-4, atol=1e-5)
        whole = model(x)
    assert float((whole - wanted).abs().max()) > 1e-3  # the dead tokens would have mattered


@pytest.mark.parametrize("name", ["timm ViT", "timm ViT, mean", "timm Swin", "transformers Swin"])
def test_every_method_runs_or_says_why_not(name: str) -> None:
    """On one network of each layout."""
    (family,) = [each for each in FAMILIES if each.name == name]
    x = images(1, family.size)
    model = built(family, x)
    walled = split_trunk(model, family.layer, x)
    seen, refused = capture(walled, x), set()
    for method in method_names():
        try:
            maps = compute(cheap(method), seen)
        except NotApplicableError:
            refused.add(method)
            continue
        assert bool(torch.isfinite(maps).all()), method
    followed = {"attention-rollout", "legrad"} if family.follows else set()
    assert not refused & (followed | {"gradcam", "ablationcam", "reciprocam", "shapleycam"})
    allowed = {"cam", "liftcam", "fullgrad", "polycam", "refinecam", "vit-reciprocam"}
    assert refused <= allowed | ({"attention-rollout", "legrad"} - followed)


def test_the_families_are_three_and_more() -> None:
    names = " ".join(family.name for family in FAMILIES)
    assert all(kind in names for kind in ("ViT", "DeiT", "Swin", "hybrid", "registers"))


# --- leaks ---------------------------------------------------------------------------------------


class HidingAllButOne(Hiding):
    """Forgets the second attention."""

    def _hides(self, keys: int, of: Tensor) -> bool:
        return super()._hides(keys, of) and self.whole != 2


@pytest.mark.parametrize("kind", ["fused", "softmax", "module"])
def test_attention_alone_hides_dead_tokens_in_every_block(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the dead pixels shown masks alone keep them out; without masks they come through."""
    x = images(2, (16, 24))
    walled = split_trunk(tiny(kind=kind, depth=4), "blocks.2", x[:1])
    assert isinstance(walled.trunk, TokenSplit)
    walled.trunk.seen.fill_(True)
    assert verify_zone(walled, x, walled.zone, perturbations=3).bit_equal
    monkeypatch.setattr("camaudit.walls.tokens.Hiding", HidingAllButOne)
    assert not verify_zone(walled, x, walled.zone, perturbations=3).passed
    monkeypatch.undo()
    walled.trunk.masked = False
    assert not verify_zone(walled, x, walled.zone, perturbations=3).passed


def test_a_head_that_reads_dead_tokens_is_caught() -> None:
    x = images(2, (16, 24))
    walled = insert_wall(tiny(depth=4), "blocks.2", x[:1])
    seen = capture(walled, x)
    changed = seen.activations.clone()
    changed[:, :, walled.zone.feature_dead] = 1e6
    assert torch.equal(walled.read(changed, seen.rest), seen.logits)
    walled.wall = nn.Identity()
    assert not torch.equal(walled.read(changed, seen.rest), seen.logits)


def test_a_head_of_fixed_length_hides_dead_tokens() -> None:
    x = images(2, 64)
    model = settle(timm_model("vit_small_patch16_rope_224", img_size=64, **SMALL))
    walled = insert_wall(model, "blocks.1", x[:1])
    assert isinstance(walled.head, HidingHead)
    seen = capture(walled, x)
    changed = seen.activations.clone()
    changed[:, :, walled.zone.feature_dead] = 1e6
    assert torch.equal(walled.read(changed, seen.rest), seen.logits)
    whole = seen.rest, seen.activations * ~walled.zone.feature_dead
    with torch.no_grad():  # without the mask the tokens of 0 take part in the attention
        plain = walled.head.head(whole[1], whole[0])
    assert float((plain - seen.logits).abs().max()) > 1e-3


def test_tokens_mixed_outside_attention_are_blanked_and_it_says_so() -> None:
    x = images(2, (16, 24))
    model = tiny(mixed=True)
    walled = split_trunk(model, "blocks.1", x[:1])
    assert isinstance(walled.trunk, TokenSplit)
    assert not walled.trunk.masked
    assert "mean colour" in walled.zone.why
    assert "attention" not in walled.zone.why
    assert verify_zone(walled, x, walled.zone).bit_equal
    assert "no attention gives weight" in split_trunk(tiny(), "blocks.0", x[:1]).zone.why


def test_attention_that_cannot_be_hidden_from_is_refused() -> None:
    x = images(1, (16, 24))
    with pytest.raises(WallError, match=r"attn_implementation='sdpa' or 'eager'"):
        split_trunk(tiny(kind="linear"), "blocks.0", x)
    cut = cut_at(tiny(kind="linear"), "start", x)
    assert hides(cut.trunk, x, torch.arange(24).view(4, 6) < 12)  # nothing mixes them yet


# --- grids and layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_a_grid_is_no_square(prefix: int) -> None:
    x = images(2, (16, 24))
    pool = "class" if prefix else "mean"
    model = tiny(prefix=prefix, pool=pool)
    cut = cut_at(model, "blocks.0", x[:1])
    assert (cut.grid.prefix, cut.grid.size) == (prefix, (4, 6))
    A, rest = cut.look(x)
    tokens = cut.trunk.output(x)
    for i in range(4):
        for j in range(6):
            assert torch.equal(A[:, :, i, j], tokens[:, prefix + 6 * i + j])
    assert (rest is None) == (prefix == 0)
    assert rest is None or torch.equal(rest, tokens[:, :prefix])
    assert torch.equal(cut.grid.join(A, rest), tokens)
    torch.testing.assert_close(cut.read(A, rest), model(x).detach())


class Unfolded(nn.Module):
    """Patches by a Linear of unfolded pixels: no map tells the grid."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.embed = nn.Linear(48, 16)
        self.extra = nn.Parameter(torch.randn(1, extra, 16))
        self.mix = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(nn.functional.unfold(images, 4, stride=4).mT)
        x = self.norm(torch.cat([self.extra.expand(len(x), -1, -1), x], dim=1))
        x = x + self.mix(x, x, x)[0]
        return self.fc(x.mean(dim=1))


def test_the_images_own_shape_tells_a_grid_without_maps() -> None:
    x = images(1, (16, 32))
    cut = cut_at(Unfolded(2).eval(), "norm", x)
    assert (cut.grid.prefix, cut.grid.size) == (2, (4, 8))


def test_a_grid_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(LayerError, match=r"returns shape \(1, 33, 16\); expected N×K×h×w"):
        cut_at(Unfolded(17).eval(), "norm", images(1))


def test_layers_whose_patches_nothing_reads_are_refused_with_a_hint() -> None:
    x = images(1, (16, 24))
    model = tiny(depth=4)
    with pytest.raises(LayerError, match=r"only the 1 prefix token.*name 'blocks\.1'"):
        cut_at(model, "blocks.3", x)
    with pytest.raises(LayerError, match=r"skip connection leads around it.*name 'blocks\.1'"):
        cut_at(model, "blocks.3.norm1", x)


def test_the_last_tokens_read_are_read_by_their_direction_alone() -> None:
    """Σ_k G_k A_k is 0 where only a layer norm reads the tokens; the layer before is chosen."""
    x = images(2, (16, 24)).double()
    model = tiny(depth=4, dtype=torch.float64)
    assert default_layer(model, x[:1]) == "blocks.1"
    for layer, none in (("blocks.2", True), ("blocks.1", False)):
        seen = capture(cut_at(model, layer, x[:1]), x)
        product = seen.gradients * seen.activations
        share = product.sum(dim=1).abs().max() / product.abs().sum(dim=1).max()
        assert (float(share) < 1e-4) == none
    assert default_layer(tiny(depth=2), x[:1].float()) == "start"  # what the first block reads


def test_a_head_of_zeros_still_has_its_layer() -> None:
    """torchvision builds its transformer so: no gradient tells which tokens are read."""
    x = images(1, 32)
    model = torchvision_vit().eval()
    assert not model.heads.head.weight.any()
    with pytest.raises(LayerError, match="only the 1 prefix token"):
        cut_at(model, "encoder.layers.encoder_layer_3", x)
    cut_at(model, "encoder.layers.encoder_layer_2", x)


def test_the_head_asks_for_each_images_own_prefix() -> None:
    x = images(3, (16, 24))
    cut = cut_at(tiny(), "blocks.0", x[:1])
    seen = capture(cut, x)
    with pytest.raises(UsageError, match="expected rest of shape 3×1×K; got none"):
        cut.read(seen.activations)
    for row in range(3):
        one = seen.activations[row : row + 1]
        torch.testing.assert_close(seen.read(one, row), seen.logits[row : row + 1])
        assert not torch.allclose(seen.read(one, (row + 1) % 3), seen.logits[row : row + 1])
    twice = seen.read(torch.cat([seen.activations] * 2))
    torch.testing.assert_close(twice, torch.cat([seen.logits] * 2))
    part = seen.rows(1, 3)
    torch.testing.assert_close(part.read(part.activations), seen.logits[1:])
    other = seen.again(x.flip(0))
    torch.testing.assert_close(other.logits, seen.logits.flip(0))
    early = capture(cut_at(tiny(), "blocks.1", x[:1]), x).at("blocks.0")
    torch.testing.assert_close(early.activations, seen.activations)
    torch.testing.assert_close(early.gradients, seen.gradients)


def test_a_model_whose_windows_follow_the_image_is_put_back() -> None:
    """transformers' Swin keeps the window of the smallest image that it was shown."""
    x = images(1, 112)
    family = next(each for each in FAMILIES if each.name == "transformers Swin")
    model = built(family, x)
    with torch.no_grad():
        before = model(x)
        split_trunk(model, family.layer, x)
        assert torch.equal(model(x), before)


def test_insert_claims_no_pixels_among_tokens() -> None:
    x = images(1, (16, 24))
    walled = insert_wall(tiny(), "blocks.0", x, dead="left:2")
    assert walled.zone.kind == "none"
    assert isinstance(walled.wall, LeftOut)
    split = split_trunk(tiny(), "blocks.0", x, dead="centre:2")  # no rectangle stays
    assert verify_zone(split, x, split.zone).bit_equal


def test_tokens_of_every_method_are_named() -> None:
    assert {name for name in METHODS if METHODS[name].info.tokens} <= set(method_names())
    assert isinstance(tiny(), TinyViT)
