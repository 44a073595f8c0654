"""Cases of the gradient, activation, decomposition and augmentation methods known in advance."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError, UsageError
from camaudit.maps import upsample
from camaudit.methods import METHODS, compute
from camaudit.methods.augmentation import _transformations, _warp
from camaudit.methods.decomposition import first_component
from camaudit.objective import Objective, contrastive, counterfactual, custom
from tests.methods.drawn import network

NAMES = [
    "augmentedgradcam++", "eigengradcam", "fem", "finercam", "kpcacam", "lafam", "liftcam",
    "segeigencam", "shapleycam", "smoothgradcam++",
]  # fmt: skip


def ours(name: str, captured: Capture, **options: Any) -> Tensor:
    return METHODS[name].function(captured, **options)


def make(
    *,
    activation: str = "relu",
    pooled: bool = False,
    layers: int = 2,
    size: tuple[int, int] = (8, 10),
    dtype: torch.dtype = torch.float64,
    seed: int = 5,
) -> Capture:
    model = network(
        seed=seed, channels=5, activation=activation, pooled=pooled, layers=layers, size=size
    ).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(3, 3, *size, generator=generator, dtype=torch.float64).to(dtype)
    return capture(cut_at(model, "maps", images[:1]), images)


def of_maps(A: Tensor, G: Tensor | None = None) -> Capture:
    """A capture of the given maps (K×h×w), of a model that is beside the point."""
    captured = make(size=(4, 4)).rows(0, 1)
    gradients = torch.ones_like(A) if G is None else G
    return replace(captured, activations=A[None], gradients=gradients[None])


@pytest.mark.parametrize("name", NAMES)
def test_activations_that_are_not_finite_make_the_whole_map_nan(name: str) -> None:
    captured = make(activation="gelu")
    want = compute(name, captured)
    for value in (math.nan, math.inf, -math.inf):
        spoilt = captured.activations.clone()
        spoilt[1, 2, 1, 1] = value
        maps = compute(name, replace(captured, activations=spoilt))
        assert bool(maps[1].isnan().all())
        torch.testing.assert_close(maps[[0, 2]], want[[0, 2]], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("smoothgradcam++", {"samples": 0}),
        ("smoothgradcam++", {"std": -1.0}),
        ("smoothgradcam++", {"std": math.inf}),
        ("finercam", {"references": 0}),
        ("finercam", {"strength": math.nan}),
        ("kpcacam", {"kernel": "poly"}),
        ("kpcacam", {"gamma": 0.0}),
        ("fem", {"form": "mine"}),
        ("fem", {"k": -1.0}),
        ("augmentedgradcam++", {"samples": 0}),
        ("augmentedgradcam++", {"degrees": 200.0}),
        ("augmentedgradcam++", {"shift": -0.1}),
    ],
)
def test_other_values_of_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        ours(name, make(), **options)


# Smooth Grad-CAM++


@pytest.mark.parametrize("activation", ["relu", "gelu", "leaky"])
def test_smoothgradcam_plus_plus_without_noise_is_gradcam_plus_plus(activation: str) -> None:
    captured = make(activation=activation)
    torch.testing.assert_close(
        ours("smoothgradcam++", captured, std=0.0), compute("gradcam++", captured)
    )


def test_smoothgradcam_plus_plus_does_not_underflow_for_tiny_gradients() -> None:
    captured = make(activation="gelu", dtype=torch.float32)
    maps = [
        ours("smoothgradcam++", captured.explaining(custom(lambda y, s=s: y[:, 0] * s)))
        for s in (1e-25, 1e-8)  # already far below 2/(G ΣA), where the weight is G/2
    ]
    peaks = [m / m.amax(dim=(1, 2), keepdim=True) for m in maps]
    torch.testing.assert_close(peaks[0], peaks[1], rtol=1e-3, atol=1e-4)


def test_smoothgradcam_plus_plus_keeps_the_layout_of_the_images() -> None:
    captured = make()
    images = captured.images.contiguous(memory_format=torch.channels_last)
    seen: list[Tensor] = []

    class Watched:
        trunk = staticmethod(lambda x: (seen.append(x), captured.divided.trunk(x))[1])

    last = replace(captured, images=images, divided=Watched())
    for name in ("smoothgradcam++", "augmentedgradcam++"):
        torch.testing.assert_close(compute(name, last), compute(name, captured))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


# ShapleyCAM


@pytest.mark.parametrize("activation", ["relu", "leaky"])
@pytest.mark.parametrize("layers", [1, 2])
def test_shapleycam_of_a_piecewise_linear_head_is_gradcam(activation: str, layers: int) -> None:
    captured = make(activation=activation, layers=layers)
    assert torch.equal(compute("shapleycam", captured), compute("gradcam", captured))
    for parameter in captured.divided.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(compute("shapleycam", captured), compute("gradcam", captured))


def test_shapleycam_of_a_quadratic_score_by_hand() -> None:
    """s = y², y = g·A + b: G = 2 y g and H·A = 2 g (y − b), so G − ½ H·A = g (y + b)."""
    linear = make(pooled=True, layers=1)
    y, first = linear.logits[:, 0], torch.zeros_like(linear.targets)
    g = linear.explaining(Objective(), targets=first).gradients
    b = y - (g * linear.activations).sum(dim=(1, 2, 3))
    weights = g.mean(dim=(2, 3)) * (y + b)[:, None]
    want = torch.einsum("nk,nkij->nij", weights, linear.activations).relu()
    squared = linear.explaining(custom(lambda z: z[:, 0].square()))
    torch.testing.assert_close(compute("shapleycam", squared), want)


class Attention(nn.Module):
    """Cells attend to each other, by the fused kernel where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        return F.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0].mean(dim=1)


def test_shapleycam_differentiates_attention_twice() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Attention(), nn.Linear(4, 3)).eval()
    images = torch.randn(2, 3, 6, 6)
    captured = capture(cut_at(model, "0", images[:1]), images)
    maps = compute("shapleycam", captured)
    assert bool(torch.isfinite(maps).all())
    assert not torch.allclose(maps, compute("gradcam", captured))


def test_shapleycam_of_a_head_that_torch_cannot_differentiate_twice_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardsigmoid(), nn.Flatten(), nn.Linear(64, 3))
    images = torch.randn(2, 3, 6, 6)
    captured = capture(cut_at(model.eval(), "0", images[:1]), images)
    with pytest.raises(NotApplicableError, match="second derivative"):
        compute("shapleycam", captured)


# Finer-CAM


def test_finercam_is_gradcam_of_the_contrast() -> None:
    captured = make(activation="gelu")
    other = captured.explaining(contrastive(3, strength=0.6))
    assert torch.equal(compute("finercam", captured), compute("gradcam", other))
    torch.testing.assert_close(
        ours("finercam", captured, strength=0.0), compute("gradcam", captured)
    )
    assert torch.equal(
        ours("finercam", captured, references=3), ours("finercam", captured, references=50)
    )


def test_finercam_keeps_the_classes_and_takes_the_place_of_the_objective() -> None:
    captured = make(activation="gelu")
    targets = (captured.targets + 1) % 4
    chosen = capture(captured.divided, captured.images, targets=targets)
    want = compute("finercam", chosen)
    assert not torch.allclose(want, compute("finercam", captured))
    for objective in (counterfactual(), contrastive(1)):
        other = captured.explaining(objective, targets=targets)
        assert torch.equal(compute("finercam", other), want)
    with pytest.raises(NotApplicableError, match="names no class"):
        compute("finercam", captured.explaining(custom(lambda logits: logits[:, 0])))


@pytest.mark.parametrize("classes", [1, 2])
def test_finercam_with_few_classes(classes: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, classes)).double().eval()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    captured = capture(cut_at(model, "0", images[:1]), images)
    if classes == 1:
        with pytest.raises(NotApplicableError, match="single class"):
            compute("finercam", captured)
        return
    W = model[2].weight.detach().reshape(2, 4, 4, 4)
    c = captured.targets
    weights = (W[c] - 0.6 * W[1 - c]).mean(dim=(2, 3))
    want = torch.einsum("nk,nkij->nij", weights, captured.activations).relu()
    torch.testing.assert_close(compute("finercam", captured), want)


# Components


def test_the_first_component_of_a_map_of_rank_one_is_exact() -> None:
    A = torch.zeros(2, 7, 2, 3, dtype=torch.float64)
    A[:, 3] = torch.tensor([[6.0, 0, 0], [0, 0, 0]])
    for channels in (7, 4):  # more channels than cells, and fewer
        P = first_component(A[:, :channels])
        torch.testing.assert_close(P[0], torch.tensor([[5.0, -1, -1], [-1, -1, -1]]).double())
        for scale in (1e-200, 1e200):
            torch.testing.assert_close(first_component(A[:, :channels] * scale) / scale, P)
    A[0] = 0
    A[1] = 0.5
    for channels in (7, 4):
        assert bool((first_component(A[:, :channels]) == 0).all())


@pytest.mark.parametrize("shape", [(40, 3, 3), (9, 3, 3), (4, 5, 5)])
def test_the_first_component_is_that_of_the_singular_value_decomposition(
    shape: tuple[int, int, int],
) -> None:
    A = torch.randn(6, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    B = A.flatten(2).transpose(1, 2)
    B = B - B.mean(dim=1, keepdim=True)
    U, S, _ = torch.linalg.svd(B, full_matrices=False)
    want = U[:, :, 0] * S[:, :1]
    got = first_component(A).flatten(1)
    sign = (got * want).sum(dim=1, keepdim=True).sign()
    torch.testing.assert_close(got, sign * want, rtol=1e-9, atol=1e-11)
    assert bool(((got * B.mean(dim=2)).sum(dim=1) >= 0).all())


def test_kpcacam_with_the_linear_kernel_is_eigencam() -> None:
    captured = make(activation="gelu")
    torch.testing.assert_close(
        ours("kpcacam", captured, kernel="linear"), compute("eigencam", captured)
    )


def test_kpcacam_of_small_activations_has_lost_nothing_to_rounding() -> None:
    """Near 0 the kernels are linear in u·v: γ sech²(1) u·v, and 2γ u·v after centring."""
    captured = make(activation="gelu")
    small = replace(captured, activations=captured.activations * 1e-9)
    want = compute("eigencam", small) / math.sqrt(5)
    torch.testing.assert_close(compute("kpcacam", small), want / math.cosh(1), atol=0, rtol=1e-6)
    rbf = ours("kpcacam", small, kernel="rbf")
    torch.testing.assert_close(rbf, want * math.sqrt(2), atol=0, rtol=1e-6)


def test_decompositions_of_maps_without_variance_are_empty() -> None:
    flat = of_maps(torch.full((3, 2, 4), 0.5, dtype=torch.float64))
    for name in ("eigencam", "eigengradcam", "segeigencam", "kpcacam"):
        assert bool((compute(name, flat) == 0).all())
    assert bool((ours("kpcacam", flat, kernel="rbf") == 0).all())


def test_segeigencam_turns_the_larger_peak_positive() -> None:
    """One channel with one deep cell: EigenGradCAM's sign keeps it negative."""
    A = torch.tensor([[[4.0, 4.0, 0.0], [4.0, 4.0, 4.0]]], dtype=torch.float64)
    captured = of_maps(A, torch.full_like(A, -1.0))
    torch.testing.assert_close(
        compute("segeigencam", captured)[0], torch.tensor([[0, 0, 10 / 3], [0, 0, 0]]).double()
    )
    even = of_maps(torch.tensor([[[1.0, 3.0]]], dtype=torch.float64))
    torch.testing.assert_close(compute("segeigencam", even)[0], torch.tensor([[0, 1.0]]).double())


def test_segeigencam_of_two_cells_is_a_tie_whatever_rounding_says() -> None:
    """Centred, they are a and −a; the sign that both peaks leave open is the first component's."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        captured = of_maps(torch.rand(3, 1, 2, generator=generator, dtype=torch.float64))
        torch.testing.assert_close(
            compute("segeigencam", captured), compute("eigengradcam", captured)
        )


# Activations alone


def test_fem_by_hand() -> None:
    A = torch.zeros(3, 2, 5, dtype=torch.float64)
    A[0, 0, 0] = 10  # mean 1, deviation 3: a peak above 7
    A[1] = 0.1  # constant
    A[2, 1, 4] = -10  # no peak above the mean
    captured = of_maps(A)
    want = torch.zeros(2, 5, dtype=torch.float64)
    want[0, 0] = 1
    torch.testing.assert_close(compute("fem", captured)[0], want)
    torch.testing.assert_close(ours("fem", captured, form="pytorch-grad-cam")[0], want)
    assert bool((ours("fem", captured, k=3.1) == 0).all())


def test_lafam_by_hand() -> None:
    A = torch.tensor([[[1.0, -2.0]], [[3.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(compute("lafam", of_maps(A))[0], torch.tensor([[2.0, 0]]).double())


# Augmented Grad-CAM++


def test_augmented_gradcam_plus_plus_of_copies_that_stay_is_gradcam_plus_plus() -> None:
    captured = make(activation="gelu")
    want = upsample(compute("gradcam++", captured), captured.size)
    stays = ours("augmentedgradcam++", captured, degrees=0.0, shift=0.0)
    torch.testing.assert_close(stays, want)
    assert not torch.allclose(compute("augmentedgradcam++", captured), want)


@pytest.mark.parametrize("size", [(8, 10), (11, 6)])
def test_copies_are_turned_and_not_sheared(size: tuple[int, int]) -> None:
    captured = make(size=size)
    there, back = _transformations(captured, 40.0, 0.3, 7, 1)
    half = torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64)
    turn = there[:, :, :2] * half[:, None] / half  # in pixels
    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(2).double().expand(3, 2, 2))
    assert bool((there[:, :, 2].abs() <= 0.6).all())
    whole = torch.tensor([[[0, 0, 1.0]]], dtype=torch.float64).expand(3, 1, 3)
    product = torch.cat([there, whole], dim=1) @ torch.cat([back, whole], dim=1)
    torch.testing.assert_close(product, torch.eye(3).double().expand(3, 3, 3))
    images = captured.images
    quarter = torch.tensor([[[0, -1.0, 0], [1.0, 0, 0]]], dtype=torch.float64).expand(3, 2, 3)
    square = images[:, :, : min(size), : min(size)]
    torch.testing.assert_close(_warp(square, quarter), square.rot90(1, dims=(2, 3)))


def test_pixels_that_no_copy_shows_keep_the_clean_map() -> None:
    """Moved by more than its size a copy shows nothing, and takes no part in the average."""
    captured = make(activation="gelu")
    want = upsample(compute("gradcam++", captured), captured.size)
    there, back = _transformations(captured, 0.0, 1.0, 3, 1)
    ones = torch.ones_like(want)[:, None]
    unseen = _warp(ones, back)[:, 0] == 0
    assert bool(unseen.any())
    maps = ours("augmentedgradcam++", captured, samples=1, degrees=0.0, shift=1.0, seed=3)
    torch.testing.assert_close(maps[unseen], want[unseen])
    assert torch.equal(there[:, :, :2], torch.eye(2).double().expand(3, 2, 2))
