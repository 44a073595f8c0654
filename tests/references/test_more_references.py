"""Checks of the later references: tiny cases done by hand, and identities."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from camaudit.maps import blur
from camaudit.methods import noise

from .cams import REFERENCES, reference_minmax, reference_upsample
from .gradient_cams import (
    GRADIENT_REFERENCES,
    At,
    _elementwise,
    _inverse,
    _warp,
    lift_contributions,
)
from .layered_cams import (
    LAYERED_REFERENCES,
    _locally_normalised,
    _pooled,
    full_gradient,
)
from .perturbation_cams import (
    PERTURBATION_REFERENCES,
    _denoised,
    _groups,
    rise_mask,
)
from .test_references import SEED, FlatNet, GapNet, case, close, counting_model, t64

MORE = {**GRADIENT_REFERENCES, **PERTURBATION_REFERENCES, **LAYERED_REFERENCES}
WHITE = torch.ones(3, 2, 2, dtype=torch.float64)
COUNTED = {"image": WHITE, "target": 1, "model": counting_model}
# masks [[0, .5], [.5, 1]] and [[0, 0], [0, 1]] of the counting model: they sum to 2 and 1
A_COUNTED = t64([[[0, 1], [1, 2]], [[0, 0], [0, 3]]])
NONLINEARITIES = [nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.SiLU()]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lit(name: str, arguments: dict, **options: object) -> Tensor:
    """A reference's map, which must show something: two empty maps would agree about nothing."""
    got = MORE[name](**(arguments | options))
    assert got.max() > 0
    return got


def flat_case(**options: int) -> dict:
    return case(FlatNet(cells=15, seed=SEED), **options)


def raised(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps[None], size, mode="bilinear")[0]


def derivatives(net: GapNet, target: int = 1) -> At:
    """image -> (activations, gradients) of the net's target logit."""

    def at(image: Tensor) -> tuple[Tensor, Tensor]:
        A = net.trunk(image[None]).detach().requires_grad_()
        (G,) = torch.autograd.grad(net.head(A)[0, target], A)
        return A[0].detach(), G[0]

    return at


def target_score(logits: Tensor) -> Tensor:
    return logits[:, 1]


def test_the_names_are_those_of_the_methods() -> None:
    assert len(MORE) == 10 + 10 + 3
    assert set(MORE) & set(REFERENCES) == {"scorecam", "scorecam++"}


@pytest.mark.parametrize("name", sorted(MORE))
def test_the_score_may_be_given_and_defaults_to_the_logit(name: str) -> None:
    net = FlatNet(cells=15, seed=SEED)
    arguments = case(net)
    linear = GapNet(seed=2)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear.linear]
    arguments |= {
        "at": derivatives(net),
        "head_layers": head,
        "layers": [linear.conv, nn.ReLU(), nn.AvgPool2d(2), *head],
        "stages": [dict(arguments)],
        "samples": 2,
        "masks": 5,
        "cells": 3,
        "steps": 3,
    }
    want = MORE[name](**arguments)
    close(MORE[name](**arguments, score=target_score), want)
    if name in {"sscam", "gscorecam", "liftcam", "reciprocam", "opticam", "finercam", "groupcam"}:
        other = MORE[name](**arguments, score=lambda logits: logits[:, 2] - 2 * logits[:, 0])
        assert not torch.allclose(other, want)


# ---------------------------------------------------------------------------------------------
# SmoothGradCAM++, ShapleyCAM, FinerCAM


def test_smoothgradcam_plus_plus_without_noise_is_gradcam_plus_plus() -> None:
    net = FlatNet(cells=15, seed=SEED)
    arguments = case(net) | {"at": derivatives(net)}
    close(lit("smoothgradcam++", arguments, std=0.0), REFERENCES["gradcam++"](**arguments))


def test_smoothgradcam_plus_plus_by_hand() -> None:
    # G = 2 and -1: D1 = 1/2, D2 = 5/2, D3 = 7/2; ΣA = 4: α = 2.5/(5 + 14), w = α/2
    A, image = t64([[[1, 3]]]), drawn(3, 2, 2)
    seen: list[Tensor] = []
    gradients: Iterator[Tensor] = iter([t64([[[2, 0]]]), t64([[[-1, 0]]])])

    def at(x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x)
        return 100 * A, next(gradients)

    options = {"seed": 7, "samples": 2, "std": 0.5}
    got = GRADIENT_REFERENCES["smoothgradcam++"](image=image, activations=A, at=at, **options)
    close(got, [[1.25 / 19, 3.75 / 19]])
    for index, x in enumerate(seen):
        close(x, image + 0.5 * t64(noise.normal(7, image, index, (3, 2, 2)).tolist()))
    assert not torch.equal(seen[0], seen[1])


def test_shapleycam_of_a_linear_head_is_gradcam() -> None:
    arguments = case(GapNet(seed=2))
    close(lit("shapleycam", arguments), REFERENCES["gradcam"](**arguments))


def test_shapleycam_of_powers() -> None:
    # s = Σ c A²: H·A = G, half of GradCAM is left; s = Σ A³: G = 3A², H·A = 6A², nothing is left
    A = drawn(3, 2, 3, seed=1)
    c = drawn(3, 2, 3, seed=2)
    arguments = {"activations": A, "gradients": 2 * c * A, "target": 0}
    got = lit("shapleycam", arguments, head=lambda x: (c * x**2).sum((1, 2, 3))[:, None])
    close(got, REFERENCES["gradcam"](**arguments) / 2)
    arguments["gradients"] = 3 * A**2
    got = MORE["shapleycam"](**arguments, head=lambda x: (x**3).sum((1, 2, 3))[:, None])
    close(got, torch.zeros(2, 3).double(), 1e-13)


def test_finercam_without_strength_is_gradcam() -> None:
    arguments = flat_case()
    close(lit("finercam", arguments, strength=0.0), REFERENCES["gradcam"](**arguments))


def test_finercam_by_hand() -> None:
    # logits 5, 4, 9, 5.5, -3 for the target 0: the nearest three are 3, 1, 2
    A, W = drawn(4, 2, 2).abs(), drawn(5, 4, seed=3)
    bias = t64([5, 4, 9, 5.5, -3]) - W @ A.sum((1, 2))
    arguments = {"activations": A, "target": 0}
    head = {"head": lambda x: x.sum((2, 3)) @ W.T + bias}
    for count, near in {1: [3], 2: [3, 1], 3: [3, 1, 2], 9: [1, 2, 3, 4]}.items():
        weight = W[0] - 0.6 * W[near].mean(0)
        want = torch.einsum("k,kij->ij", weight, A).clamp(min=0)
        close(MORE["finercam"](**arguments, **head, references=count), want)


def test_finercam_with_one_class_is_gradcam() -> None:
    A = drawn(2, 2, 2).abs()
    got = MORE["finercam"](activations=A, target=0, head=lambda x: x.sum((1, 2, 3))[:, None])
    close(got, A.sum(0))


# ---------------------------------------------------------------------------------------------
# components


def test_eigengradcam_of_equal_gradients_is_eigencam() -> None:
    arguments = flat_case()
    ones = arguments | {"gradients": torch.ones_like(arguments["gradients"])}
    close(lit("eigengradcam", ones), REFERENCES["eigencam"](**ones))
    products = {"activations": arguments["gradients"] * arguments["activations"]}
    close(lit("eigengradcam", arguments), REFERENCES["eigencam"](**products))


@pytest.mark.parametrize(
    ("values", "gradient", "eigengrad", "segeigen"),
    [
        # centred (-1, -1, -1, 3): the larger end is up already
        ([0, 0, 0, 4], 1, [0, 0, 0, 3], [0, 0, 0, 3]),
        # centred (-3, 1, 1, 1): Seg-Eigen-CAM turns it over
        ([0, 4, 4, 4], 1, [0, 1, 1, 1], [3, 0, 0, 0]),
        # G ⊙ A centred (3, -1, -1, -1), |G| ⊙ A centred (-3, 1, 1, 1)
        ([0, 4, 4, 4], -1, [3, 0, 0, 0], [3, 0, 0, 0]),
        # |min| = |max|: as the first component
        ([0, 2, 4, 6], -1, [3, 1, 0, 0], [0, 0, 1, 3]),
    ],
)
def test_components_of_one_channel_by_hand(
    values: list[float], gradient: float, eigengrad: list[float], segeigen: list[float]
) -> None:
    A = t64(values).reshape(1, 2, 2)
    arguments = {"activations": A, "gradients": torch.full_like(A, gradient)}
    close(MORE["eigengradcam"](**arguments), t64(eigengrad).reshape(2, 2))
    close(MORE["segeigencam"](**arguments), t64(segeigen).reshape(2, 2))


def test_kpcacam_with_the_linear_kernel_is_eigencam() -> None:
    A = drawn(4, 3, 5, seed=4)
    close(lit("kpcacam", {}, activations=A, kernel="linear"), REFERENCES["eigencam"](activations=A))


@pytest.mark.parametrize(
    ("kernel", "gamma", "same", "different"),
    [
        ("sigmoid", None, math.tanh(5.0), math.tanh(-3.0)),
        ("sigmoid", 0.1, math.tanh(1.4), math.tanh(0.6)),
        ("rbf", None, 1.0, math.exp(-16.0)),
        ("linear", None, 4.0, -4.0),
    ],
)
def test_kpcacam_of_two_cells_by_hand(
    kernel: str, gamma: float | None, same: float, different: float
) -> None:
    # B = (-2, 2): the centred kernel is (s - d)/2·[[1, -1], [-1, 1]], λ = s - d
    A = t64([[[3, 7]]])
    want = [[0, math.sqrt((same - different) / 2)]]
    close(MORE["kpcacam"](activations=A, kernel=kernel, gamma=gamma), want)


def test_kpcacam_of_small_activations_is_eigencam_up_to_the_slope_of_tanh() -> None:
    # tanh(t + 1) = tanh 1 + t/cosh² 1 + …
    A = 1e-3 * drawn(4, 3, 3, seed=4)
    slope = math.sqrt(1 / 4) / math.cosh(1.0)
    got = lit("kpcacam", {"activations": A})
    close(got / slope / 1e-3, REFERENCES["eigencam"](activations=A) / 1e-3, 1e-4)
    assert MORE["kpcacam"](activations=torch.full((2, 3, 3), 0.3).double()).max() == 0


# ---------------------------------------------------------------------------------------------
# FEM, LaFAM


def test_fem_by_hand() -> None:
    # μ = 2, σ² = (5·1 + 25)/6 = 5: 7 > 2 + 2√5 = 6.47 but not 2 + 3√5
    A = t64([[[1, 1, 1], [1, 1, 7]]])
    close(MORE["fem"](activations=A), [[0, 0, 0], [0, 0, 2]])
    close(MORE["fem"](activations=A, k=3.0), torch.zeros(2, 3).double())
    got = MORE["fem"](activations=A, form="pytorch-grad-cam")
    close(got, [[1 / 6, 1 / 6, 1 / 6], [1 / 6, 1 / 6, 7 / 6]])
    # a second channel: (1, …, 7) elsewhere with μ = -4 lowers the sum of the flags to ReLU(-4)
    close(MORE["fem"](activations=torch.cat([A, A.flip(2) - 6])), [[0, 0, 0], [0, 0, 2]])


def test_fem_flags_only_what_lies_above_the_bound() -> None:
    # one of five cells lies exactly at μ + 2σ = 1/5 + 2·2/5; no cell of a constant channel is above
    assert MORE["fem"](activations=t64([[[0, 0, 0, 0, 1]]])).max() == 0
    assert MORE["fem"](activations=torch.full((2, 3, 3), 0.1).double()).max() == 0


def test_lafam_by_hand() -> None:
    A = t64([[[1, -3], [2, 0]], [[3, 1], [-2, 5]]])
    close(MORE["lafam"](activations=A), [[2, 0], [0, 2.5]])


# ---------------------------------------------------------------------------------------------
# LIFT-CAM


def test_liftcam_of_a_linear_head_weighs_by_gradient_times_activation() -> None:
    net = GapNet(seed=2)
    arguments = case(net)
    A, G = arguments["activations"], arguments["gradients"]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.linear]
    want = torch.einsum("k,kij->ij", (G * A).sum((1, 2)), A).clamp(min=0)
    close(lit("liftcam", arguments, head_layers=head), want)


def test_liftcam_by_hand() -> None:
    # z = 3 - 1 - 1 = 1, z₀ = -1: Δf/Δz = 1/2; contributions 2·½·(3, -1), s(A) - s(0) = 2
    first, last = nn.Linear(2, 1).double(), nn.Linear(1, 1).double()
    with torch.no_grad():
        for layer, weight, bias in ((first, [[1, -1]], -1), (last, [[2]], 9)):
            layer.weight.copy_(t64(weight))
            layer.bias.fill_(bias)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), first, nn.ReLU(), last]
    A = t64([[[3]], [[1]]])
    contributions, difference = lift_contributions(A, head, lambda logits: logits[:, 0])
    close(contributions, [[[3]], [[-1]]])
    assert difference == 2
    close(MORE["liftcam"](activations=A, target=0, head_layers=head), [[8]])


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES, ids=repr)
@pytest.mark.parametrize("pooled", [True, False])
def test_the_contributions_are_complete(nonlinearity: nn.Module, pooled: bool) -> None:
    torch.manual_seed(0)
    width = 4 if pooled else 24
    front = [nn.AdaptiveAvgPool2d(1)] if pooled else [nonlinearity]
    head = [*front, nn.Flatten(), nn.Linear(width, 6), nonlinearity, nn.Linear(6, 3)]
    head = [layer.double() for layer in head]
    A = drawn(4, 2, 3, seed=5)
    A[1, 0] = 0.0  # cells at their reference
    contributions, difference = lift_contributions(A, head, target_score)
    network = nn.Sequential(*head)
    want = network(A[None])[0, 1] - network(torch.zeros_like(A)[None])[0, 1]
    assert difference == pytest.approx(want.item(), rel=1e-12)
    assert contributions.sum().item() == pytest.approx(want.item(), rel=1e-10)
    assert contributions[1, 0].abs().max() == 0
    weights = contributions.sum((1, 2))
    got = MORE["liftcam"](activations=A, target=1, head_layers=head)
    close(got, torch.einsum("k,kij->ij", weights, A).clamp(min=0))


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES, ids=repr)
@pytest.mark.parametrize("at", [-9.0, -0.4, 0.7, 30.0])
def test_nonlinearities_and_slopes(nonlinearity: nn.Module, at: float) -> None:
    z = t64(at).requires_grad_()
    value = nonlinearity(z)
    (slope,) = torch.autograd.grad(value, z)
    want = pytest.approx((value.item(), slope.item()), rel=1e-10, abs=1e-15)
    assert _elementwise(nonlinearity, at) == want


def test_liftcam_refuses_what_has_no_rule() -> None:
    arguments = {"activations": drawn(2, 2, 2), "target": 0}
    with pytest.raises(ValueError, match="rescale"):
        MORE["liftcam"](**arguments, head_layers=[nn.Flatten(), nn.Softmax(1)])
    with pytest.raises(ValueError, match="pooling"):
        MORE["liftcam"](**arguments, head_layers=[nn.AdaptiveAvgPool2d(2), nn.Flatten()])
    with pytest.raises(ValueError, match="add up"):
        MORE["liftcam"](
            **arguments, head_layers=[nn.Flatten()], score=lambda logits: logits[:, 0] ** 2
        )


# ---------------------------------------------------------------------------------------------
# augmented GradCAM++


@pytest.mark.parametrize("size", [(5, 5), (4, 7)])
def test_warping_against_torch(size: tuple[int, int]) -> None:
    for seed in range(3):
        theta = drawn(2, 3, seed=seed)
        grid = drawn(*size, seed=seed + 10)
        field = functional.affine_grid(theta[None], [1, 1, *size], align_corners=False)
        want = functional.grid_sample(grid[None, None], field, align_corners=False)[0, 0]
        close(t64(_warp(grid.tolist(), tuple(map(tuple, theta.tolist())))), want)


def test_warping_by_hand() -> None:
    # output cell j reads cell j + 1; the inverse reads cell j - 1
    theta = ((1.0, 0.0, 2 / 4), (0.0, 1.0, 0.0))
    close(t64(_warp([[1, 2, 3, 4]], theta)), [[2, 3, 4, 0]])
    close(t64(_warp([[2, 3, 4, 0]], _inverse(theta))), [[0, 2, 3, 4]])
    quarter = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
    close(t64(_warp([[1, 2], [3, 4]], quarter)), [[2, 4], [1, 3]])
    close(t64(_warp([[2, 4], [1, 3]], _inverse(quarter))), [[1, 2], [3, 4]])


def test_the_inverse_undoes_the_map() -> None:
    theta = drawn(2, 3, seed=8)
    back = t64(_inverse(tuple(map(tuple, theta.tolist()))))
    row = t64([[0, 0, 1]])
    close(torch.cat([theta, row]) @ torch.cat([back, row]), torch.eye(3).double(), 1e-11)


def test_augmented_gradcam_plus_plus_of_unmoved_copies_is_gradcam_plus_plus() -> None:
    net = FlatNet(cells=15, seed=SEED)
    arguments = case(net) | {"at": derivatives(net), "samples": 2}
    want = reference_upsample(REFERENCES["gradcam++"](**arguments), (6, 10))
    close(lit("augmentedgradcam++", arguments, degrees=0.0, shift=0.0), want)
    turned = lit("augmentedgradcam++", arguments, degrees=40.0, shift=0.3)
    assert not torch.allclose(turned, want, atol=1e-3)


def test_augmented_gradcam_plus_plus_against_torch() -> None:
    net = FlatNet(cells=15, seed=SEED)
    arguments = case(net)
    image = arguments["image"]

    def warp(maps: Tensor, matrix: Tensor) -> Tensor:
        field = functional.affine_grid(matrix[None, :2], [1, *maps.shape], align_corners=False)
        return functional.grid_sample(maps[None], field, align_corners=False)[0]

    total = reference_upsample(REFERENCES["gradcam++"](**arguments), (6, 10))[None]
    weight = torch.ones_like(total)
    for j in (1, 2, 3):
        u = noise.uniform(5, image, j, 3)
        a = math.radians(30 * u[0])
        matrix = t64(
            [
                [math.cos(a), -math.sin(a) * 6 / 10, 0.4 * u[1]],
                [math.sin(a) * 10 / 6, math.cos(a), 0.4 * u[2]],
                [0, 0, 1],
            ]
        )
        A, G = derivatives(net)(warp(image, matrix))
        single = REFERENCES["gradcam++"](activations=A, gradients=G)
        total = total + warp(reference_upsample(single, (6, 10))[None], matrix.inverse())
        weight = weight + warp(torch.ones_like(total), matrix.inverse())
    options = {"seed": 5, "samples": 3, "degrees": 30.0, "shift": 0.2}
    got = lit("augmentedgradcam++", arguments, at=derivatives(net), **options)
    close(got, (total / weight)[0], 1e-11)


# ---------------------------------------------------------------------------------------------
# ScoreCAM and ScoreCAM++ with their options


def test_score_cams_by_default_are_the_first_references() -> None:
    arguments = flat_case()
    close(lit("scorecam", arguments), REFERENCES["scorecam"](**arguments))
    for baseline in ("none", "input", "black"):
        chosen = arguments | {"baseline": baseline}
        close(lit("scorecam++", chosen), REFERENCES["scorecam++"](**chosen))


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        # scores 2 ln 2 and ln 2 (powers 4 and 2), the all-zero mask 0
        ({}, (4 / 7, 2 / 7)),
        ({"baseline": "input"}, (4 / 7, 2 / 7)),
        ({"channel_softmax": False}, (2 * math.log(2), math.log(2))),
        ({"channel_softmax": False, "baseline": "black"}, (2 * math.log(2), math.log(2))),
        # p = 4/5 and 2/3; of the black image 1/2, of the white one 16/17
        ({"channel_softmax": False, "score": "probability"}, (4 / 5, 2 / 3)),
        (
            {"channel_softmax": False, "score": "probability", "baseline": "black"},
            (3 / 10, 1 / 6),
        ),
        (
            {"channel_softmax": False, "score": "probability", "baseline": "input"},
            (4 / 5 - 16 / 17, 2 / 3 - 16 / 17),
        ),
        # a blurred white image is white
        (
            {"channel_softmax": False, "score": "probability", "baseline": "blur"},
            (4 / 5 - 16 / 17, 2 / 3 - 16 / 17),
        ),
    ],
)
def test_scorecam_options_by_hand(options: dict, weights: tuple[float, float]) -> None:
    constant = torch.full((1, 2, 2), 5.0).double()
    got = MORE["scorecam"](activations=torch.cat([A_COUNTED, constant]), **COUNTED, **options)
    want = torch.einsum("k,kij->ij", t64(weights), A_COUNTED).clamp(min=0)
    close(got, want)


@pytest.mark.parametrize("normalise", ["before", "after"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_scorecam_masks_against_tensor_expressions(normalise: str, align_corners: bool) -> None:
    arguments = flat_case()
    A, model, size = arguments["activations"], arguments["model"], (6, 10)
    masks = []
    for grid in A:
        if normalise == "after":
            masks.append(reference_minmax(reference_upsample(grid, size, align_corners)))
        else:
            masks.append(reference_upsample(reference_minmax(grid), size, align_corners))
    with torch.no_grad():
        scores = model(arguments["image"] * torch.stack(masks)[:, None])[:, 1]
    want = torch.einsum("k,kij->ij", scores.softmax(0), A).clamp(min=0)
    options = {"normalise": normalise, "align_corners": align_corners}
    close(lit("scorecam", arguments, **options), want)


def test_the_blur_baseline_against_tensor_expressions() -> None:
    arguments = flat_case()
    A, image, model = (arguments[name] for name in ("activations", "image", "model"))
    up = raised(A, (6, 10))
    # the soft pictures are surer of the class than the masked ones, or less sure
    for sigma, sign, options in ((10.0, -1, {}), (0.7, 1, {"sigma": 0.7})):
        with torch.no_grad():
            logits = model(torch.cat([image * up.tanh()[:, None], blur(image[None], sigma=sigma)]))
        p = logits.softmax(1)[:, 1]
        want = torch.einsum("k,kij->ij", sign * (p[:-1] - p[-1]), up.tanh()).clamp(min=0)
        options["score"] = lambda values, sign=sign: sign * values[:, 1]
        close(lit("scorecam++", arguments, baseline="blur", **options), want)

    plain = {"channel_softmax": False, "score": "logit"}
    masks = torch.stack([reference_minmax(reference_upsample(a, (6, 10), True)) for a in A])
    with torch.no_grad():
        s = model(torch.cat([image * masks[:, None], blur(image[None], sigma=10.0)]))[:, 1]
    want = torch.einsum("k,kij->ij", s[:-1] - s[-1], A).clamp(min=0)
    close(lit("scorecam", arguments, baseline="blur", **plain), want)


@pytest.mark.parametrize("gate_map", [True, False])
@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("tanh", torch.tanh),
        ("relu", torch.relu),
        ("sigmoid", torch.sigmoid),
        ("mish", functional.mish),
        ("swish", functional.silu),
        ("shipped", lambda up: torch.sigmoid(torch.relu(up / 2))),
    ],
)
def test_scorecam_plus_plus_gates_against_torch(name: str, gate: object, gate_map: bool) -> None:
    arguments = flat_case()
    arguments["activations"] = arguments["activations"] - 1.0  # of both signs
    up = raised(arguments["activations"], (6, 10))
    masks = gate(up)
    with torch.no_grad():
        p = arguments["model"](arguments["image"] * masks[:, None]).softmax(1)[:, 1]
    want = torch.einsum("k,kij->ij", p, masks if gate_map else up).clamp(min=0)
    close(lit("scorecam++", arguments, activation=name, gate_map=gate_map), want)


# ---------------------------------------------------------------------------------------------
# SS-CAM, IS-CAM, gScoreCAM

TORCHCAM = {"normalise": "before", "align_corners": False}


@pytest.mark.parametrize("kind", ["mask", "input"])
def test_sscam_without_noise_and_iscam_of_one_step_are_scorecam(kind: str) -> None:
    arguments = flat_case()
    constant = torch.ones_like(arguments["activations"][:1])
    arguments["activations"] = torch.cat([arguments["activations"], constant])
    want = lit("scorecam", arguments, **TORCHCAM)
    close(lit("sscam", arguments, std=0.0, samples=2, noise=kind), want)
    close(lit("iscam", arguments, steps=1), want)


def test_sscam_by_hand() -> None:
    # the counting model is linear: its score is ln 2 times the sum of what is left of the image
    got = MORE["sscam"](activations=A_COUNTED, **COUNTED, seed=3, samples=4, std=0.5)
    sums = [2.0, 1.0]
    for k in (0, 1):
        draws = [noise.normal(3, WHITE, (i, k), (2, 2)).sum() for i in range(4)]
        sums[k] += 0.5 * float(np.mean(draws))
    weights = (math.log(2) * t64(sums)).softmax(0)
    close(got, torch.einsum("k,kij->ij", weights, A_COUNTED))

    got = MORE["sscam"](activations=A_COUNTED, **COUNTED, seed=3, samples=4, std=0.5, noise="input")
    masks = t64([[[0, 0.5], [0.5, 1]], [[0, 0], [0, 1]]])
    red = sum(noise.normal(3, WHITE, i, (3, 2, 2))[0] for i in range(4)) / 4
    weights = (math.log(2) * (masks * (1 + 0.5 * t64(red.tolist()))).sum((1, 2))).softmax(0)
    close(got, torch.einsum("k,kij->ij", weights, A_COUNTED))


def test_iscam_by_hand() -> None:
    # (1/4)(1/4 + 2/4 + 3/4 + 4/4) = 5/8 of the scores 2 ln 2 and ln 2
    weights = t64([2 * math.log(2) * 5 / 8, math.log(2) * 5 / 8]).softmax(0)
    want = torch.einsum("k,kij->ij", weights, A_COUNTED)
    close(MORE["iscam"](activations=A_COUNTED, **COUNTED, steps=4), want)


def test_gscorecam_of_all_channels_is_scorecam() -> None:
    arguments = flat_case()
    for channels in (4, 300):
        got = lit("gscorecam", arguments, channels=channels)
        close(got, REFERENCES["scorecam"](**arguments))


def test_gscorecam_takes_the_largest_mean_gradients() -> None:
    arguments = flat_case()
    A, G = arguments["activations"], torch.zeros_like(arguments["gradients"])
    G[:, 0, 0] = t64([-9, 2, 5, 2])
    arguments["gradients"] = G
    close(lit("gscorecam", arguments, channels=1), A[2])
    for channels, picked in {2: [1, 2], 3: [1, 2, 3]}.items():
        want = REFERENCES["scorecam"](**(arguments | {"activations": A[picked]}))
        close(lit("gscorecam", arguments, channels=channels), want)


# ---------------------------------------------------------------------------------------------
# Recipro-CAM, RISE


def test_reciprocam_of_a_pooled_linear_head_is_cam() -> None:
    net = GapNet(seed=2)
    arguments = case(net)
    cells = arguments["activations"][0].numel()
    close(lit("reciprocam", arguments), REFERENCES["cam"](**arguments) / cells)

    signed = torch.einsum("k,kij->ij", net.linear.weight.detach()[1], arguments["activations"])
    bias = net.linear.bias.detach()[1]
    close(lit("reciprocam", arguments, baseline="none"), (signed / cells + bias).clamp(min=0))
    kernel = t64([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    spread = functional.conv2d(signed[None, None], kernel[None, None], padding=1)[0, 0]
    close(lit("reciprocam-gaussian", arguments), (spread / cells).clamp(min=0))


def test_reciprocam_of_a_curved_head_against_a_batch() -> None:
    arguments = flat_case()
    A, head = arguments["activations"], arguments["head"]
    kept = A * torch.eye(15).double().reshape(15, 1, 3, 5)
    with torch.no_grad():
        want = head(kept)[:, 1] - head(torch.zeros_like(A)[None])[0, 1]
    close(lit("reciprocam", arguments), want.clamp(min=0).reshape(3, 5))


@pytest.mark.parametrize("size", [(8, 11), (7, 7)])
def test_rise_masks_against_torch(size: tuple[int, int]) -> None:
    image = drawn(3, *size)
    for index in range(4):
        stream = noise.generator(2, image, index)
        grid = t64((stream.random((4, 4)) < 0.3).astype(float).tolist())
        steps = [math.ceil(side / 4) for side in size]
        top, left = (int(stream.integers(0, step)) for step in steps)
        whole = raised(grid[None], (5 * steps[0], 5 * steps[1]))[0]
        want = whole[top : top + size[0], left : left + size[1]]
        close(t64(rise_mask(image, seed=2, index=index, cells=4, keep=0.3)), want)


def test_rise_of_a_constant_model_is_flat_up_to_sampling() -> None:
    image = drawn(3, 6, 8)
    constant = {"model": lambda x: x.new_tensor([[0.0, math.log(3.0)]]), "target": 1}
    got = MORE["rise"](image=image, **constant, masks=400, cells=3)
    assert got.mean().item() == pytest.approx(0.75, rel=0.05)
    assert got.std().item() < 0.05
    close(
        MORE["rise"](image=image, **constant, masks=3, keep=1.0), torch.full((6, 8), 0.75).double()
    )


def test_rise_by_hand() -> None:
    # the mean over the masks of p(x ⊙ M)·M / keep
    arguments = flat_case() | {"seed": 4, "cells": 3, "keep": 0.4}
    image, model = arguments["image"], arguments["model"]
    masks = torch.stack(
        [t64(rise_mask(image, seed=4, index=i, cells=3, keep=0.4)) for i in range(5)]
    )
    with torch.no_grad():
        p = model(image * masks[:, None]).softmax(1)[:, 1]
    want = torch.einsum("k,kij->ij", p, masks) / (5 * 0.4)
    close(lit("rise", arguments, masks=5), want)
    negative = MORE["rise"](**arguments, masks=5, score=lambda values: -values[:, 1])
    assert negative.max() == 0


# ---------------------------------------------------------------------------------------------
# Opti-CAM, Group-CAM


def test_opticam_without_steps_is_the_mean_of_the_channels() -> None:
    arguments = flat_case()
    close(lit("opticam", arguments, steps=0), arguments["activations"].mean(0))
    close(
        lit("opticam", arguments | {"activations": arguments["activations"][:1]}, steps=3),
        arguments["activations"][0],
    )


def test_opticam_of_constant_channels() -> None:
    A = t64([1, -4, 9])[:, None, None].expand(3, 2, 2)
    close(MORE["opticam"](activations=A, **COUNTED), [[2, 2], [2, 2]])


def test_opticam_takes_the_first_step_of_adam_by_hand() -> None:
    # Adam's first step is the learning rate times the gradient's sign. The counting model wants
    # the sum of minmax(L) large: channel 0 (sum of the mask 3) rather than channel 1 (sum 1).
    A = t64([[[1, 1], [1, 0]], [[0, 0], [1, 0]]])
    got = MORE["opticam"](activations=A, **COUNTED, steps=1, learning_rate=0.1)
    share = 1 / (1 + math.exp(-0.2))
    close(got, [[share, share], [1, 0]], 1e-6)


def test_opticam_raises_its_objective() -> None:
    arguments = flat_case()

    def objective(found: Tensor) -> float:
        mask = reference_minmax(reference_upsample(found, (6, 10)))
        with torch.no_grad():
            return arguments["model"]((arguments["image"] * mask)[None])[0, 1].item()

    values = [objective(lit("opticam", arguments, steps=steps)) for steps in (0, 5, 20)]
    assert values[0] < values[1] <= values[2]


def test_groupcam_parts_against_numpy() -> None:
    for count, groups in [(7, 3), (4, 4), (9, 2), (5, 1)]:
        want = [part.tolist() for part in np.array_split(np.arange(count), groups)]
        assert _groups(count, groups) == want
    for seed, percentile in enumerate([0, 30, 70, 100]):
        grid = drawn(3, 4, seed=seed).clamp(min=0)
        bound = np.percentile(grid.numpy(), percentile)
        want = torch.where(grid >= bound - 1e-15, grid, 0.0)
        close(t64(_denoised(grid.tolist(), percentile)), want)


def test_groupcam_against_tensor_expressions() -> None:
    arguments = flat_case()
    A, G, image = (arguments[name] for name in ("activations", "gradients", "image"))
    arguments |= {"sigma": 1.0}
    weighted = A * G.mean((1, 2))[:, None, None]
    soft = blur(image[None], sigma=1.0)[0]
    for groups, members in {
        1: [[0, 1, 2, 3]],
        2: [[0, 1], [2, 3]],
        9: [[0], [1], [2], [3]],
    }.items():
        want = torch.zeros(6, 10).double()
        for group in members:
            part = weighted[group].sum(0).clamp(min=0)
            if part.max() == 0:
                continue
            part = torch.where(part >= torch.quantile(part, 0.7), part, 0.0)
            mask = reference_minmax(reference_upsample(part, (6, 10)))
            with torch.no_grad():
                p = arguments["model"](torch.stack([image * mask + soft * (1 - mask), soft]))
            p = p.softmax(1)[:, 1]
            want = want + (p[0] - p[1]).clamp(min=0) * mask
        close(lit("groupcam", arguments, groups=groups), want)


def test_groupcam_without_a_positive_group_is_empty() -> None:
    arguments = flat_case()
    arguments["gradients"] = -arguments["gradients"].abs()
    got = MORE["groupcam"](**arguments)
    close(got, torch.zeros(6, 10).double())


# ---------------------------------------------------------------------------------------------
# Poly-CAM


def test_adaptive_pooling_against_torch() -> None:
    for big, small in [((4, 6), (2, 3)), ((5, 7), (2, 3)), ((3, 3), (3, 3)), ((7, 5), (4, 4))]:
        grid = drawn(*big)
        want = functional.adaptive_avg_pool2d(grid[None], small)[0]
        close(t64(_pooled(grid.tolist(), small)), want)


def test_local_normalisation_by_hand() -> None:
    # pooled to one cell: mean 2; an empty channel stays empty, and one whose mean is negative
    close(t64(_locally_normalised([[1, 3]], (1, 1))), [[0.5, 1.5]])
    close(t64(_locally_normalised([[0, 0]], (1, 1))), [[0, 0]])
    close(t64(_locally_normalised([[1, -3]], (1, 1))), [[0, 0]])


@pytest.mark.parametrize("form", ["+", "-", "±"])
def test_polycam_of_one_stage_against_tensor_expressions(form: str) -> None:
    arguments = flat_case()
    A, image = arguments["activations"], arguments["image"]
    masks = torch.stack([reference_minmax(reference_upsample(grid, (6, 10))) for grid in A])

    def p(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return arguments["model"](pictures).softmax(1)[:, 1]

    plus = p(image * masks[:, None]) - p(torch.zeros_like(image)[None])
    minus = p(image[None]) - p(image * (1 - masks[:, None]))
    weight = {"+": plus, "-": minus, "±": plus + minus}[form]
    want = torch.einsum("k,kij->ij", weight, A).clamp(min=0)
    close(lit("polycam", arguments, stages=[{"activations": A}], form=form), want)


def test_polycam_constant_channels_weigh_nothing() -> None:
    arguments = flat_case()
    A = arguments["activations"]
    more = torch.cat([torch.full_like(A[:1], 7.0), A, torch.zeros_like(A[:1])])
    want = lit("polycam", arguments, stages=[{"activations": A}])
    close(lit("polycam", arguments, stages=[{"activations": more}]), want)


def test_polycam_of_equal_stages_keeps_the_shape_of_the_deepest() -> None:
    # Down and Up do nothing, LNorm = 1: P¹ = ReLU(Σ_k w_k)·P²/max P², A > 0
    arguments = flat_case()
    A = arguments["activations"] + 0.1
    stage = {"activations": A}
    alone = lit("polycam", arguments, stages=[stage])
    nothing = {"activations": torch.zeros_like(A)}
    twice = lit("polycam", arguments, stages=[stage, stage])
    close(twice / twice.max(), alone / alone.max())
    # an empty deepest stage leaves nothing
    empty = MORE["polycam"](**arguments, stages=[stage, nothing])
    close(empty, torch.zeros(3, 5).double())


def test_polycam_of_two_stages_against_tensor_expressions() -> None:
    arguments = flat_case()
    late, image = arguments["activations"], arguments["image"]
    early = drawn(3, 6, 10, seed=9).abs()

    def p(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return arguments["model"](pictures).softmax(1)[:, 1]

    masks = torch.stack([reference_minmax(grid) for grid in early])[:, None]
    weight = p(image * masks) - p(0 * image[None]) + p(image[None]) - p(image * (1 - masks))
    deep = lit("polycam", arguments, stages=[{"activations": late}])
    coarse = raised(functional.adaptive_avg_pool2d(early, (3, 5)), (6, 10))
    products = early / coarse * raised((deep / deep.max())[None], (6, 10))
    want = torch.einsum("k,kij->ij", weight, products).clamp(min=0)
    got = lit("polycam", arguments, stages=[{"activations": early}, {"activations": late}])
    assert got.shape == (6, 10)
    close(got, want)


# ---------------------------------------------------------------------------------------------
# Refine-CAM, FullGrad


@pytest.mark.parametrize("base", ["gradcam++", "layercam"])
def test_refinecam_of_one_stage_is_its_base_over_its_maximum(base: str) -> None:
    arguments = flat_case()
    single = reference_upsample(REFERENCES[base](**arguments), (6, 10))
    single = single / single.max()
    close(lit("refinecam", arguments, stages=[arguments], base=base), single)
    close(lit("refinecam", arguments, stages=[arguments] * 3, base=base), single**3)
    empty = {"activations": drawn(2, 4, 4), "gradients": torch.zeros(2, 4, 4).double()}
    got = MORE["refinecam"](**arguments, stages=[empty, arguments], base=base)
    close(got, torch.zeros(6, 10).double())


def convolutional(*, norm: bool) -> list[nn.Module]:
    """A plain network of ReLUs and pools, in eval mode with drawn norm statistics."""
    torch.manual_seed(1)
    normalised = [nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)] if norm else []
    layers = [
        nn.Conv2d(3, 4, 3, padding=1, bias=not norm),
        *normalised,
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 2),
        nn.LeakyReLU(0.3),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(5, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    ]
    for layer in layers:
        layer.double().eval()
    for layer in normalised:
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2.0)
    return layers


@pytest.mark.parametrize("norm", [True, False])
def test_the_full_gradient_is_complete(norm: bool) -> None:
    image, layers = drawn(3, 6, 7), convolutional(norm=norm)
    parts = full_gradient(image, layers, target_score)
    assert len(parts.spatial) == (3 if norm else 2)
    want = nn.Sequential(*layers)(image[None].clone())[0, 1].item()
    assert parts.total() == pytest.approx(want, rel=1e-11)
    got = lit("fullgrad", {"image": image, "layers": layers, "target": 1})
    assert got.shape == (6, 7)


def test_fullgrad_by_hand() -> None:
    # z = 3x + 2, s = V·z: ψ(x·3V) + ψ(2V); x·3V = (-6, 0, 18, 12), 2V = (4, 2, -6, 2)
    conv, last = nn.Conv2d(1, 1, 1).double(), nn.Linear(4, 1).double()
    with torch.no_grad():
        conv.weight.fill_(3.0)
        conv.bias.fill_(2.0)
        last.weight.copy_(t64([[2, 1, -3, 1]]))
    image = t64([[[-1, 0], [-2, 4]]])
    got = MORE["fullgrad"](image=image, target=0, layers=[conv, nn.Flatten(), last])
    # |·|: (6, 0, 18, 12)/18 and (4, 2, 6, 2) less 2 over 4
    close(got, [[1 / 3 + 1 / 2, 0], [2, 2 / 3]])
    # equal biases' gradients have no min-max form
    with torch.no_grad():
        last.weight.fill_(1.0)
    got = MORE["fullgrad"](image=image, target=0, layers=[conv, nn.Flatten(), last])
    close(got, [[1 / 4, 0], [1 / 2, 1]])
