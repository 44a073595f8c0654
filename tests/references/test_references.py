"""Checks of the references themselves: tiny cases done by hand, and identities."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from .cams import (
    REFERENCES,
    reference_bilinear_support,
    reference_minmax,
    reference_mu,
    reference_scored_rows,
    reference_upsample,
)

SEED = 3  # a network on which every method gives a map that is not empty
LN2 = math.log(2.0)
GRADIENT_METHODS = ["gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "elementwise"]

# The shared hand case: two channels of 2×2.
A_HAND = [[[1, 2], [3, 4]], [[2, 1], [0, 2]]]
G_HAND = [[[1, 0], [-1, 2]], [[-1, 1], [0, -2]]]


def t64(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(got: Tensor, want: object, tolerance: float = 1e-12) -> None:
    assert got.dtype == torch.float64
    wanted = want if isinstance(want, Tensor) else t64(want)
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def call(name: str, **arguments: object) -> Tensor:
    """A reference with every argument that the shared signature names."""
    given: dict[str, object] = {
        "image": None,
        "activations": None,
        "gradients": None,
        "target": 0,
        "head": None,
        "model": None,
        "classifier_weight": None,
    }
    return REFERENCES[name](**(given | arguments))


def lit(name: str, arguments: dict) -> Tensor:
    """A reference's map, which must show something: two empty maps would agree about nothing."""
    got = REFERENCES[name](**arguments)
    assert got.max() > 0
    return got


class GapNet(nn.Module):
    """conv 3×3 → ReLU → 2×2 average → Linear on the mean; or on the mean of the live rows only."""

    def __init__(
        self, channels: int = 4, classes: int = 3, live_rows: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1).double()
        self.linear = nn.Linear(channels, classes).double()
        self.live_rows = live_rows
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=generator)

    def trunk(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.relu(self.conv(x)), 2)

    def head(self, A: Tensor) -> Tensor:
        return self.linear(A[:, :, : self.live_rows].mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


class FlatNet(GapNet):
    """The same trunk with a curved head: one weight matrix on tanh(A) + A²/9, cell by cell."""

    def __init__(self, cells: int, channels: int = 4, classes: int = 3, seed: int = 0) -> None:
        super().__init__(channels, classes, seed=seed)
        generator = torch.Generator().manual_seed(seed + 1)
        weight = torch.randn(classes, channels * cells, generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(weight)

    def head(self, A: Tensor) -> Tensor:
        cells = A.flatten(1)
        return (torch.tanh(cells) + cells.square() / 9) @ self.weight.T


def case(net: GapNet, target: int = 1, size: tuple[int, int] = (6, 10), seed: int = 3) -> dict:
    """The keyword arguments of one image, gradient by autograd."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(3, *size, generator=generator, dtype=torch.float64)
    A = net.trunk(image[None]).detach().requires_grad_()
    (G,) = torch.autograd.grad(net.head(A)[0, target], A)
    return {
        "image": image,
        "activations": A[0].detach(),
        "gradients": G[0],
        "target": target,
        "head": net.head,
        "model": net,
        "classifier_weight": net.linear.weight.detach(),
    }


# ---------------------------------------------------------------------------------------------
# by hand: activations and gradients


@pytest.mark.parametrize(
    ("name", "want"),
    [
        # w = (1+0-1+2)/4, (-1+1+0-2)/4 = 1/2, -1/2; A1/2 - A2/2 = [[-.5, .5], [1.5, 1]]
        ("gradcam", [[0, 0.5], [1.5, 1]]),
        # w = (1+0-3+8)/10, (-2+1+0-4)/5 = 0.6, -1; 0.6 A1 - A2 = [[-1.4, .2], [1.8, .4]]
        ("xgradcam", [[0, 0.2], [1.8, 0.4]]),
        # G⊙A = [[1, 0], [-3, 8]] + [[-2, 1], [0, -4]] = [[-1, 1], [-3, 4]]
        ("hirescam", [[0, 1], [0, 4]]),
        # [[1, 0], [0, 2]]⊙A1 + [[0, 1], [0, 0]]⊙A2
        ("layercam", [[1, 1], [0, 8]]),
        # ReLU[[1, 0], [-3, 8]] + ReLU[[-2, 1], [0, -4]]
        ("elementwise", [[1, 1], [0, 8]]),
        # α = 1/(2 + G ΣA): w1 = 1/12 + 2/22 = 23/132 (ΣA = 10), w2 = 1/7 (ΣA = 5)
        (
            "gradcam++",
            [[23 / 132 + 2 / 7, 46 / 132 + 1 / 7], [69 / 132, 92 / 132 + 2 / 7]],
        ),
    ],
)
def test_by_hand(name: str, want: list[list[float]]) -> None:
    close(call(name, activations=t64(A_HAND), gradients=t64(G_HAND)), want)


def test_cam_by_hand() -> None:
    # row 1 is (2, -1): 2 A1 - A2 = [[2-2, 4-1], [6-0, 8-2]]
    weight = t64([[5, 5], [2, -1]])
    got = call("cam", activations=t64(A_HAND), target=1, classifier_weight=weight)
    close(got, [[0, 3], [6, 6]])


def test_cam_without_a_linear_head_is_an_error() -> None:
    with pytest.raises(ValueError, match="global average pooling"):
        call("cam", activations=t64(A_HAND), classifier_weight=None)


def test_negative_activations_tell_the_cellwise_methods_apart() -> None:
    # A = -2, -3, 4 and G = -1, 5, 2, 0 at cells; G⊙A = 2, -15, 8, 0; ReLU(G)⊙A = 0, -15, 8, 0
    A, G = t64([[[-2, -3], [4, 7]]]), t64([[[-1, 5], [2, 0]]])
    close(call("hirescam", activations=A, gradients=G), [[2, 0], [8, 0]])
    close(call("layercam", activations=A, gradients=G), [[0, 0], [8, 0]])
    # a second channel of G⊙A = -6 everywhere: Σ_k before or after ReLU differ
    A, G = torch.cat([A, t64([[[6, 6], [6, 6]]])]), torch.cat([G, t64([[[-1, -1], [-1, -1]]])])
    close(call("elementwise", activations=A, gradients=G), [[2, 0], [8, 0]])
    close(call("hirescam", activations=A, gradients=G), [[0, 0], [2, 0]])


def test_xgradcam_is_zero_where_the_activations_sum_to_zero() -> None:
    # channel 1 sums to 0 and is dropped; channel 2 has w = (4·1)/2 = 2
    A, G = t64([[[1, -1], [2, -2]], [[1, 1], [0, 0]]]), t64([[[3, 3], [3, 3]], [[4, 0], [0, 0]]])
    close(call("xgradcam", activations=A, gradients=G), [[2, 2], [0, 0]])


def test_gradcam_plus_plus_without_gradient_or_without_activation() -> None:
    A = t64([[[1, -1], [0, 0]], [[1, 0], [0, 1]]])
    # channel 1: ΣA = 0, so α = 1/2 and w = (2 + 4)/2 = 3; channel 2: G = 0, so w = 0
    G = t64([[[2, 4], [0, -1]], [[0, 0], [0, 0]]])
    close(call("gradcam++", activations=A, gradients=G), [[3, 0], [0, 0]])
    close(call("gradcam++", activations=A, gradients=0 * G), [[0, 0], [0, 0]])


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1.0, 1e12, 1e150])
def test_gradcam_plus_plus_depends_on_the_scale_of_the_logits_as_the_formula_does(
    scale: float,
) -> None:
    # one channel, A = (1, 3; 0, 0), G = t(1, 2; 0, -1): w = t/(2+4t) + 2t/(2+8t)
    A, G = t64([[[1, 3], [0, 0]]]), scale * t64([[[1, 2], [0, -1]]])
    weight = scale / (2 + 4 * scale) + 2 * scale / (2 + 8 * scale)
    got = call("gradcam++", activations=A, gradients=G)
    close(got / weight, [[1, 3], [0, 0]])


def test_gradcam_plus_plus_at_its_pole() -> None:
    # ΣA = -2, G = 1: 2 + G ΣA = 0. With G = -1, ΣA = 2 the pole is multiplied by ReLU(G) = 0.
    with pytest.raises(ZeroDivisionError):
        call("gradcam++", activations=t64([[[-2, 0]]]), gradients=t64([[[1, 0]]]))
    got = call("gradcam++", activations=t64([[[2, 0]]]), gradients=t64([[[-1, 0]]]))
    close(got, [[0, 0]])


def test_eigencam_by_hand() -> None:
    # centred columns (-1, 1, -1, 1) and (-.5, -.5, .5, .5): XᵀX = diag(4, 1), v = (1, 0)
    A = t64([[[1, 3], [1, 3]], [[5.5, 5.5], [6.5, 6.5]]])
    close(call("eigencam", activations=A), [[0, 1], [0, 1]])
    # rank one: c = (-3, -1, 1, 3), A1 = c + 4, A2 = 10 - 2c: v = (-1, 2)/√5, X v = -√5 c
    A = t64([[[1, 3], [5, 7]], [[16, 12], [8, 4]]])
    close(call("eigencam", activations=A), [[3 * math.sqrt(5), math.sqrt(5)], [0, 0]])
    # one channel: X v = ±c, and + agrees with the mean over channels, which is c
    close(call("eigencam", activations=t64([[[1, 3], [5, 7]]])), [[0, 0], [1, 3]])
    close(call("eigencam", activations=t64([[[2, 2], [2, 2]]])), [[0, 0], [0, 0]])


# ---------------------------------------------------------------------------------------------
# by hand: methods that call the network


def counting_model(x: Tensor) -> Tensor:
    """Logits (0, ln2 · sum of the red channel): exponentials are powers of two."""
    red = x[:, 0].sum((1, 2)) * LN2
    return torch.stack([torch.zeros_like(red), red], dim=1)


def test_scorecam_by_hand() -> None:
    # masks [[0, .5], [.5, 1]] and [[0, 0], [0, 1]] sum to 2 and 1: w = (4, 2)/6
    A = t64([[[0, 1], [1, 2]], [[0, 0], [0, 3]]])
    given = {"image": torch.ones(3, 2, 2).double(), "target": 1, "model": counting_model}
    close(call("scorecam", activations=A, **given), [[0, 2 / 3], [2 / 3, 7 / 3]])
    # a constant channel scores 2⁰: w = (4, 2, 1)/7, and its own A = 5 adds nothing
    A = torch.cat([A, torch.full((1, 2, 2), 5.0).double()])
    close(call("scorecam", activations=A, **given), [[0, 4 / 7], [4 / 7, 2]])
    close(call("scorecam", activations=A[2:], **given), [[0, 0], [0, 0]])


def test_scorecam_upsamples_with_aligned_corners_then_normalises() -> None:
    # row (1, 3) to 4 columns: aligned 1, 5/3, 7/3, 3 → mask 0, 1/3, 2/3, 1, sum 2;
    # row (3, 1) gives 1, 2/3, 1/3, 0; pixels (0, 0, 0, 3) read 3 and 0: w = (8, 1)/9
    A = t64([[[1, 3]], [[3, 1]]])
    image = torch.zeros(3, 1, 4).double()
    image[0, 0] = t64([0, 0, 0, 3])
    got = call("scorecam", activations=A, image=image, target=1, model=counting_model)
    close(got, [[11 / 9, 25 / 9]])
    # pixels (0, 3, 0, 0) read 3·1/3 = 1 and 3·2/3 = 2: w = (2, 4)/6; half-pixel: 3/4 and 9/4
    image[0, 0] = t64([0, 3, 0, 0])
    got = call("scorecam", activations=A, image=image, target=1, model=counting_model)
    close(got, [[7 / 3, 5 / 3]])
    # extremes between the samples: (0, 3, 0) → 0, 2, 2, 0 → mask 0, 1, 1, 0, not 0, 2/3, 2/3, 0;
    # (3, 0, 3) → 3, 1, 1, 3 → 1, 0, 0, 1; pixels (0, 1, 0, 0) read 1 and 0: w = (2, 1)/3
    A = t64([[[0, 3, 0]], [[3, 0, 3]]])
    image[0, 0] = t64([0, 1, 0, 0])
    got = call("scorecam", activations=A, image=image, target=1, model=counting_model)
    close(got, [[1, 2, 1]])


def test_scorecam_plus_plus_by_hand() -> None:
    # tanh(½ ln a) = (a-1)/(a+1): masks [[0, .5], [.5, 0]] and [[.75, .75], [.5, 0]], sums 1 and 2
    a = [[[1, 3], [3, 1]], [[7, 7], [3, 1]]]
    given = {
        "activations": t64(a).log() / 2,
        "image": torch.ones(3, 2, 2).double(),
        "target": 1,
        "model": counting_model,
    }
    # p = 2ᵘ/(2ᵘ+1): α = 2/3, 4/5
    none = [[3 / 5, 1 / 3 + 3 / 5], [1 / 3 + 2 / 5, 0]]
    close(call("scorecam++", **given), none)
    close(call("scorecam++", baseline="none", **given), none)
    # p(black) = 1/2: α = 1/6, 3/10
    black = [[9 / 40, 1 / 12 + 9 / 40], [1 / 12 + 3 / 20, 0]]
    close(call("scorecam++", baseline="black", **given), black)
    # p(x) = 16/17 exceeds both: α < 0 and the map is empty
    close(call("scorecam++", baseline="input", **given), [[0, 0], [0, 0]])
    with pytest.raises(ValueError, match="baseline"):
        call("scorecam++", baseline="white", **given)


def test_scorecam_plus_plus_takes_tanh_after_half_pixel_upsampling() -> None:
    # one channel (0, ln 7) to 4 columns: ln 7 · (0, 1/4, 3/4, 1), tanh(½ ln a)-form with a = 49ᵉ
    A = t64([[[0, math.log(7)]]])
    got = call(
        "scorecam++",
        activations=A,
        image=torch.zeros(3, 1, 4).double(),
        target=1,
        model=counting_model,
    )
    # the image is black, so α = 1/2; tanh(e ln 7) = (49ᵉ - 1)/(49ᵉ + 1), at e = 1: 48/50
    want = [(49**e - 1) / (49**e + 1) / 2 for e in (0.0, 0.25, 0.75, 1.0)]
    assert want[3] == pytest.approx(12 / 25)
    close(got, [want])


def test_ablationcam_by_hand() -> None:
    # s = 1·ΣA1 - 3·ΣA2 = 10 - 15 = -5; without 1: -15, without 2: 10; w = 10/5, -15/5 = 2, -3
    def head(A: Tensor) -> Tensor:
        s = A[:, 0].sum((1, 2)) - 3 * A[:, 1].sum((1, 2))
        return torch.stack([s, -s], dim=1)

    got = call("ablationcam", activations=t64(A_HAND), head=head, target=0)
    close(got, [[0, 1], [6, 2]])
    # the other class: s = 5, w = (5-15)/5, (5+10)/5 = -2, 3; 3 A2 - 2 A1 = [[4, -1], [-6, -2]]
    close(call("ablationcam", activations=t64(A_HAND), head=head, target=1), [[4, 0], [0, 0]])
    with pytest.raises(ZeroDivisionError):
        call("ablationcam", activations=0 * t64(A_HAND), head=head, target=0)


# ---------------------------------------------------------------------------------------------
# identities


@pytest.mark.parametrize("name", list(REFERENCES))
def test_shape_kind_and_untouched_inputs(name: str) -> None:
    net = FlatNet(cells=15, seed=SEED)
    arguments = case(net)
    copies = {k: v.clone() for k, v in arguments.items() if isinstance(v, Tensor)}
    got = lit(name, arguments)
    assert got.dtype == torch.float64
    assert got.shape == ((6, 10) if name == "scorecam++" else (3, 5))
    assert torch.isfinite(got).all()
    assert (got >= 0).all()
    for key, before in copies.items():
        assert torch.equal(arguments[key], before)


def test_names() -> None:
    wanted = "cam gradcam gradcam++ xgradcam hirescam layercam elementwise eigencam scorecam"
    assert list(REFERENCES) == [*wanted.split(), "scorecam++", "ablationcam"]


@pytest.mark.parametrize("seed", range(3))
def test_gap_head_makes_gradcam_xgradcam_hirescam_and_cam_proportional(seed: int) -> None:
    # s = Σ_k W_ck mean(A_k) + b, so G_kij = W_ck/(h w) in every cell
    arguments = case(GapNet(seed=seed), target=seed)
    gradcam = lit("gradcam", arguments)
    assert gradcam.max() > 0
    close(lit("xgradcam", arguments), gradcam)
    close(lit("hirescam", arguments), gradcam)
    close(lit("cam", arguments), gradcam * 15)


def test_cells_without_gradient_are_exactly_zero_in_the_cellwise_methods() -> None:
    arguments = case(GapNet(live_rows=2, seed=5), size=(8, 10))
    dead = slice(2, None)
    assert (arguments["gradients"][:, dead] == 0).all()
    assert (arguments["activations"][:, dead] > 0).any()
    for name in ("hirescam", "layercam", "elementwise"):
        got = lit(name, arguments)
        assert (got[dead] == 0).all()
        assert got[:2].max() > 0
    # the blind methods paint the dead cells; GradCAM stays proportional to CAM, HiResCAM does not
    gradcam = lit("gradcam", arguments)
    assert gradcam[dead].max() > 0
    close(lit("cam", arguments), gradcam * 20)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_gradient_methods_against_tensor_expressions(shift: float) -> None:
    arguments = case(FlatNet(cells=15, seed=SEED))
    arguments["activations"] = arguments["activations"] - shift  # of both signs where shifted
    A, G = arguments["activations"], arguments["gradients"]
    alpha = 1 / (2 + G * A.sum((1, 2), keepdim=True))
    weights = {
        "gradcam": G.mean((1, 2)),
        "gradcam++": (alpha * G.clamp(min=0)).sum((1, 2)),
        "xgradcam": (G * A).sum((1, 2)) / A.sum((1, 2)),
    }
    for name, weight in weights.items():
        close(lit(name, arguments), torch.einsum("k,kij->ij", weight, A).clamp(min=0))
    close(lit("hirescam", arguments), (G * A).sum(0).clamp(min=0))
    close(lit("layercam", arguments), (G.clamp(min=0) * A).sum(0).clamp(min=0))
    close(lit("elementwise", arguments), (G * A).clamp(min=0).sum(0))
    assert (lit("elementwise", arguments) >= lit("hirescam", arguments)).all()


@pytest.mark.parametrize("name", [name for name in GRADIENT_METHODS if name != "gradcam++"])
def test_maps_are_linear_in_the_scale_of_the_logits(name: str) -> None:
    arguments = case(FlatNet(cells=15, seed=SEED))
    louder = arguments | {"gradients": arguments["gradients"] * 7}
    close(lit(name, louder), lit(name, arguments) * 7)


def test_non_negative_gradients_make_layercam_and_elementwise_hirescam() -> None:
    arguments = case(FlatNet(cells=15, seed=SEED))
    arguments["gradients"] = arguments["gradients"].abs()
    close(lit("layercam", arguments), lit("hirescam", arguments))
    close(lit("elementwise", arguments), lit("hirescam", arguments))


def test_rectified_activations_make_layercam_elementwise() -> None:
    # A ≥ 0: ReLU(G)·A = ReLU(G·A)
    arguments = case(FlatNet(cells=15, seed=SEED))
    close(lit("layercam", arguments), lit("elementwise", arguments))


def test_eigencam_against_the_singular_value_decomposition() -> None:
    generator = torch.Generator().manual_seed(4)
    for shape in ((4, 3, 5), (7, 2, 2), (2, 4, 4)):
        A = torch.randn(shape, generator=generator, dtype=torch.float64)
        X = A.flatten(1).T
        X = X - X.mean(0, keepdim=True)
        v = torch.linalg.svd(X, full_matrices=False).Vh[0]
        v = v * v.sum().sign()  # Σ_cells (X v)·mean_k X = λ Σ_k v_k / K
        want = (X @ v).clamp(min=0).reshape(shape[1:])
        close(REFERENCES["eigencam"](activations=A), want, 1e-9)
        # a constant added to a channel is centred away; the map scales with the activations
        shift = torch.arange(shape[0]).double()[:, None, None]
        close(REFERENCES["eigencam"](activations=A + shift), want, 1e-9)
        close(REFERENCES["eigencam"](activations=A * 1e-180) * 1e180, want, 1e-9)


def test_scorecam_softmax_makes_any_baseline_a_no_op() -> None:
    arguments = case(FlatNet(cells=15, seed=SEED))
    model = arguments["model"]
    want = lit("scorecam", arguments)
    close(lit("scorecam", arguments | {"model": lambda x: model(x) - 40.0}), want, 1e-11)


def test_scorecam_constant_channels_only_share_out_the_softmax() -> None:
    arguments = case(FlatNet(cells=15, seed=SEED))
    A, model, target = arguments["activations"], arguments["model"], arguments["target"]
    size = tuple(arguments["image"].shape[1:])
    scores = []
    for grid in A:
        mask = reference_minmax(reference_upsample(grid, size, align_corners=True))
        scores.append(model((arguments["image"] * mask)[None])[0, target].item())
    zero = model(torch.zeros_like(arguments["image"])[None])[0, target].item()
    share = sum(map(math.exp, scores)) / (sum(map(math.exp, scores)) + 400 * math.exp(zero))
    assert 0.1 < share < 0.9
    extra = torch.stack([torch.zeros_like(A[0]), torch.full_like(A[0], 9.0)] * 200)
    more = arguments | {"activations": torch.cat([extra, A])}
    close(lit("scorecam", more), lit("scorecam", arguments) * share, 1e-11)


def test_scorecam_plus_plus_against_tensor_expressions() -> None:
    arguments = case(GapNet(seed=2))
    model, image, target = arguments["model"], arguments["image"], arguments["target"]
    H = functional.interpolate(arguments["activations"][None], (6, 10), mode="bilinear")[0].tanh()
    with torch.no_grad():
        p = model(image * H[:, None]).softmax(1)[:, target]
        p_x = model(image[None]).softmax(1)[0, target]
        p_0 = model(torch.zeros_like(image)[None]).softmax(1)[0, target]
    for baseline, offset in {"none": 0.0, "input": p_x, "black": p_0}.items():
        want = torch.einsum("k,kij->ij", p - offset, H).clamp(min=0)
        close(lit("scorecam++", arguments | {"baseline": baseline}), want)


def test_ablation_weights_of_a_linear_head_sum_to_the_sign_of_the_logit() -> None:
    # without a bias Σ_k (s - s^(k)) = s; one constant-1 cell grid per channel reads off Σ_k w_k
    net = GapNet(seed=6)
    with torch.no_grad():
        net.linear.bias.zero_()
    A = torch.ones(4, 2, 2).double()
    logits = net.head(A[None])[0]
    for target in range(3):
        got = REFERENCES["ablationcam"](activations=A, head=net.head, target=target)
        close(got, torch.full((2, 2), max(0.0, logits[target].sign().item())).double())
    assert {value > 0 for value in logits.tolist()} == {True, False}


def test_ablationcam_against_a_batch_of_ablations() -> None:
    arguments = case(FlatNet(cells=15, seed=SEED))
    A, target = arguments["activations"], arguments["target"]
    without = A * (1 - torch.eye(4).double())[:, :, None, None]
    with torch.no_grad():
        s = arguments["head"](A[None])[0, target]
        weight = (s - arguments["head"](without)[:, target]) / s.abs()
    want = torch.einsum("k,kij->ij", weight, A).clamp(min=0)
    close(lit("ablationcam", arguments), want)


# ---------------------------------------------------------------------------------------------
# upsampling, normalisation, μ, scored rows


def test_upsampling_by_hand() -> None:
    # 2 → 4, half-pixel positions -1/4→0, 1/4, 3/4, 5/4→1; aligned 0, 1/3, 2/3, 1
    close(reference_upsample(t64([[0, 4]]), (1, 4)), [[0, 1, 3, 4]])
    close(reference_upsample(t64([[0, 3]]), (1, 4), align_corners=True), [[0, 1, 2, 3]])
    # outer product of (1/4, 3/4)-weights: row 1 is 3/4 of (0, 1, 3, 4) plus 1/4 of (8, …, 8)
    want = [[0, 1, 3, 4], [2, 2.75, 4.25, 5], [6, 6.25, 6.75, 7], [8, 8, 8, 8]]
    close(reference_upsample(t64([[0, 4], [8, 8]]), (4, 4)), want)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((1, 1), (3, 4)),
        ((2, 2), (2, 2)),
        ((2, 3), (10, 7)),
        ((7, 7), (64, 56)),
        ((14, 14), (112, 99)),
        ((5, 4), (3, 1)),
        ((1, 6), (1, 13)),
    ],
)
def test_upsampling_against_torch(
    small: tuple[int, int], large: tuple[int, int], align_corners: bool
) -> None:
    generator = torch.Generator().manual_seed(8)
    values = torch.randn(small, generator=generator, dtype=torch.float64)
    want = functional.interpolate(
        values[None, None], large, mode="bilinear", align_corners=align_corners
    )[0, 0]
    close(reference_upsample(values, large, align_corners), want)


def test_minmax() -> None:
    close(reference_minmax(t64([[-1, 0], [1, 3]])), [[0, 0.25], [0.5, 1]])
    close(reference_minmax(t64([[2, 2], [2, 2]])), [[0, 0], [0, 0]])


def test_mu_by_hand() -> None:
    zone = torch.tensor([[False, False], [True, True]])
    # L1: (3+4)/(1+2+3+4); L2: 5/√30
    assert reference_mu(t64([[1, 2], [3, 4]]), zone, 1) == pytest.approx(0.7, rel=1e-15)
    assert reference_mu(t64([[1, 2], [3, 4]]), zone, 2) == pytest.approx(5 / math.sqrt(30))
    assert reference_mu(t64([[1, 2], [0, 0]]), zone, 1) == 0.0
    assert reference_mu(t64([[0, 0], [0, 1e-300]]), zone, 2) == 1.0
    assert reference_mu(t64([[1e308, 1e308], [1e308, 1e308]]), zone, 1) == 0.5


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -math.inf])
def test_a_degenerate_map_has_no_mu(value: float) -> None:
    zone = torch.tensor([[False, True]])
    for p in (1, 2):
        assert reference_mu(t64([[0.0, value]]), zone, p) is None
    for other in (math.nan, math.inf):
        assert reference_mu(t64([[other, 1.0]]), zone, 1) is None


def test_uniform_map_on_the_paper_model() -> None:
    # 54 of 224 rows: 54/224 = 0.241, √(54/224) = 0.491
    zone = torch.zeros(224, 224, dtype=torch.bool)
    zone[170:] = True
    uniform = torch.ones(224, 224)
    assert reference_mu(uniform, zone, 1) == pytest.approx(54 / 224, rel=1e-12)
    assert reference_mu(uniform, zone, 2) == pytest.approx(math.sqrt(54 / 224), rel=1e-12)
    assert round(54 / 224, 3) == 0.241
    assert round(math.sqrt(54 / 224), 3) == 0.491


def test_bilinear_support() -> None:
    # positions -1/4→0, 1/4, 3/4, 5/4→1 with the weight beyond the edge folded onto row 1
    assert reference_bilinear_support(2, 4) == [{0}, {0, 1}, {0, 1}, {1}]
    # 2 → 6: -1/3→0, 0, 1/3, 2/3, 1, 4/3: rows 1 and 4 hit a centre exactly
    assert reference_bilinear_support(2, 6) == [{0}, {0}, {0, 1}, {0, 1}, {1}, {1}]
    assert reference_bilinear_support(3, 3) == [{0}, {1}, {2}]
    assert reference_bilinear_support(1, 3) == [{0}, {0}, {0}]
    # 4 → 2: positions 1/2, 5/2
    assert reference_bilinear_support(4, 2) == [{0, 1}, {2, 3}]


@pytest.mark.parametrize(("h", "H"), [(14, 224), (7, 224), (7, 50), (2, 10)])
def test_bilinear_support_is_where_one_hot_rows_go(h: int, H: int) -> None:
    support = reference_bilinear_support(h, H)
    for row in range(h):
        one_hot = torch.zeros(h, 1)
        one_hot[row] = 1
        column = reference_upsample(one_hot, (H, 1))[:, 0]
        assert [row in rows for rows in support] == (column > 0).tolist()


@pytest.mark.parametrize(
    ("h", "dead_cells", "dead_pixels", "want"),
    [
        # the paper's VGG16: 5…13 of 14 and 170…223; row 170 reads (170.5/16 - 1/2) = 10.2
        (14, range(5, 14), range(170, 224), range(170, 224)),
        # cells alone: (i + ½)/16 - ½ ≥ 5 from i = 87.5
        (14, range(5, 14), range(224), range(88, 224)),
        # 7×7 with 4 live rows, crop 128: (i + ½)/32 - ½ ≥ 4 from i = 143.5
        (7, range(4, 7), range(128, 224), range(144, 224)),
        (7, [], range(128, 224), []),
        (7, range(4, 7), [], []),
        # a dead stripe in the middle: 2.0 ≤ (i + ½)/32 - ½ ≤ 4.0 from 79.5 to 143.5
        (7, [2, 3, 4], range(224), range(80, 144)),
    ],
)
def test_scored_rows(h: int, dead_cells: range, dead_pixels: range, want: range) -> None:
    assert reference_scored_rows(h, 224, dead_cells, dead_pixels) == list(want)


def test_a_perfect_explainer_scores_exactly_zero_on_the_scored_rows() -> None:
    arguments = case(GapNet(live_rows=2, seed=5), size=(8, 10))
    rows = reference_scored_rows(4, 24, [2, 3], range(13, 24))
    # (i + ½)/6 - ½ ≥ 2 from i = 14.5
    assert rows == list(range(15, 24))
    zone = torch.zeros(24, 20, dtype=torch.bool)
    zone[rows] = True

    def score(name: str) -> float | None:
        raised = reference_upsample(lit(name, arguments), (24, 20))
        return reference_mu(raised, zone, 1)

    assert score("hirescam") == 0.0
    assert score("layercam") == 0.0
    assert score("elementwise") == 0.0
    gradcam = score("gradcam")
    assert gradcam is not None
    assert gradcam > 0.0
