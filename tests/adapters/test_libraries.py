"""Every class of pytorch-grad-cam, torchcam and captum behind the protocol, and what it leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camaudit.adapters import Adapter, captum, differences, load_adapter, torchcam, traces
from camaudit.adapters import pytorch_grad_cam as grad_cam
from camaudit.adapters.options import parameters
from camaudit.errors import MethodError, NotApplicableError, UsageError
from camaudit.invariance import registered
from camaudit.maps import minmax, upsample
from camaudit.spelling import EXTRAS, spelled
from tests import networks
from tests.invariance import foreign
from tests.parity.libraries import as_grad_cam

LAYER = "5"  # of networks.chain: the last ReLU, 8×8 cells of 8 channels

#: What a class needs beside its name; those that are too slow here or need functions are left out.
OPTIONS = {
    "pytorch_grad_cam:RefineCAM": "(target_layers=2+5)",
    "torchcam:RefineCAM": "(target_layer=2+5)",
    "torchcam:SSCAM": "(num_samples=2)",
    "captum:IntegratedGradients": "(n_steps=5)",
    "captum:LayerConductance": "(n_steps=5)",
    "captum:LayerIntegratedGradients": "(n_steps=5)",
    "captum:InternalInfluence": "(n_steps=5)",
    "captum:NoiseTunnel": "(attribution_method=Saliency, nt_samples=2)",
    "captum:Occlusion": "(sliding_window_shapes=3+8+8, strides=3+8+8)",
}
LEFT_OUT = {
    "captum:LimeBase", "captum:Lime", "captum:KernelShap", "captum:FeatureAblation",
    "captum:FeaturePermutation", "captum:LayerFeaturePermutation", "captum:ShapleyValues",
    "captum:ShapleyValueSampling", "captum:GradientShap", "captum:LayerGradientShap",
    "captum:DeepLiftShap", "captum:LayerDeepLiftShap", "captum:LayerFeatureAblation",
}  # fmt: skip
NOT_HERE = {"torchcam:LeGrad", "captum:LRP", "captum:LayerLRP"}  # not of this network
EVERY = [
    f"{name}:{found}{OPTIONS.get(f'{name}:{found}', '')}"
    for name, listing in (
        ("pytorch_grad_cam", grad_cam.classes),
        ("torchcam", torchcam.classes),
        ("captum", captum.classes),
    )
    for found in sorted(listing())
    if f"{name}:{found}" not in LEFT_OUT
]


def load(spec: str) -> Adapter:
    made = load_adapter(spelled(spec))
    assert isinstance(made, Adapter)
    return made


def asked(height: int = 16, width: int = 16) -> tuple[nn.Module, str, Tensor, Tensor]:
    model = networks.settle(networks.chain())
    return model, LAYER, networks.images(2, (height, width)), torch.tensor([1, 3])


@pytest.mark.parametrize("spec", EVERY)
def test_a_class_gives_maps_and_leaves_nothing(spec: str) -> None:
    """Also where parameters are frozen, have a gradient already, or the class fails."""
    model, layer, images, targets = asked()
    weights = list(model.parameters())
    for weight in weights[1:]:
        weight.requires_grad_(False)
    weights[0].grad = torch.ones_like(weights[0])
    seen: list[str] = []
    model.get_submodule(layer).register_forward_hook(lambda *_: seen.append("own"))
    before = traces(model)
    copy = images.clone()
    explain = load(spec)
    if spec.partition("(")[0] in NOT_HERE:
        with pytest.raises((ValueError, TypeError, AttributeError, MethodError)):
            explain(model, layer, images, targets)
    else:
        maps = explain(model, layer, images, targets)
        assert maps.ndim == 3
        assert len(maps) == len(images)
        assert torch.isfinite(maps).all()
        assert not maps.requires_grad
    assert differences(before, traces(model)) == []
    assert torch.equal(images, copy)
    assert bool((weights[0].grad == 1).all())
    assert explain.label == spec
    assert explain.processing
    assert (explain.distribution, explain.version[0].isdigit()) == (
        EXTRAS[spec.partition(":")[0]],
        True,
    )


@pytest.mark.parametrize(
    ("spec", "wrapper"),
    [
        ("pytorch_grad_cam:GradCAM", foreign.GradCamPackage("GradCAM")),
        ("pytorch_grad_cam:AblationCAM", foreign.GradCamPackage("AblationCAM")),
        ("pytorch_grad_cam:ShapleyCAM", foreign.GradCamPackage("ShapleyCAM")),
        ("pytorch_grad_cam:FullGrad", foreign.GradCamPackage("FullGrad")),
        ("pytorch_grad_cam:FinerCAM", foreign.GradCamFiner()),
        ("captum:LayerGradCam", foreign.Captum("LayerGradCam")),
        ("captum:LayerGradientXActivation(reduce=sum)", foreign.Captum("LayerGradientXActivation")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_maps_are_the_librarys_own(spec: str, wrapper: Callable[..., Tensor]) -> None:
    question = asked(16, 24)
    torch.testing.assert_close(load(spec)(*question), wrapper(*question), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spec", "method"),
    [
        ("torchcam:GradCAM", "gradcam"),
        ("torchcam:LayerCAM", "layercam"),
        ("torchcam:XGradCAM", "xgradcam"),
        ("torchcam:ScoreCAM", "scorecam(align_corners=false, normalise=before)"),
        ("captum:LayerGradCam(relu_attributions=true)", "gradcam"),
    ],
)
def test_raw_maps_are_the_methods_to_rounding(spec: str, method: str) -> None:
    question = asked(16, 24)
    ours = registered(method)(*question)
    torch.testing.assert_close(load(spec)(*question), ours, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("spec", "method"),
    [("GradCAM", "gradcam"), ("HiResCAM", "hirescam"), ("GradCAMElementWise", "elementwise")],
)
def test_min_max_is_all_that_pytorch_grad_cam_adds(spec: str, method: str) -> None:
    """By what `processing` says, applied to the method's own raw map."""
    model, layer, images, targets = asked(32, 40)
    raw = registered(method)(model, layer, images, targets)
    found = load(f"pytorch_grad_cam:{spec}")(model, layer, images, targets)
    torch.testing.assert_close(
        found, torch.from_numpy(as_grad_cam(raw)).float(), atol=1e-4, rtol=1e-3
    )


def test_torchcam_normalises_where_it_is_told_to() -> None:
    question = asked()
    raw, scaled = load("torchcam:GradCAM"), load("torchcam:GradCAM(normalized=true)")
    torch.testing.assert_close(scaled(*question), minmax(raw(*question)), atol=1e-5, rtol=1e-4)
    assert "not scaled" in raw.processing[-1]
    assert "min-max" in scaled.processing[1]


def test_torchcams_relu_is_where_processing_says() -> None:
    module, layer, images, _ = asked()
    for name, cls in torchcam.classes().items():
        if name in ("LeGrad", "RefineCAM"):
            continue
        with cls(module, layer, input_shape=tuple(images.shape[1:])) as made:  # type: ignore[call-arg]
            inner = getattr(made, "base_cam", made)
            rectifies = load(f"torchcam:{name}").processing[0] == "ReLU"
            assert rectifies is inner._relu, name


@pytest.mark.parametrize(
    ("how", "by_hand"),
    [
        ("abs-sum", lambda a: a.abs().sum(dim=1)),
        ("sum", lambda a: a.sum(dim=1)),
        ("positive-sum", lambda a: a.clamp(min=0).sum(dim=1)),
    ],
)
def test_channels_are_reduced_as_is_said(how: str, by_hand: Callable[[Tensor], Tensor]) -> None:
    from captum.attr import InputXGradient

    model, layer, images, targets = asked()
    found = load(f"captum:InputXGradient(reduce={how})")(model, layer, images, targets)
    given = images.clone().requires_grad_(True)
    expected = by_hand(InputXGradient(model).attribute(given, target=targets).detach())
    torch.testing.assert_close(found, expected)
    if how == "abs-sum":
        default = load("captum:InputXGradient")(model, layer, images, targets)
        torch.testing.assert_close(default, expected)


def test_a_function_gives_baselines() -> None:
    model, layer, images, targets = asked()
    spec = "captum:GradientShap(baselines=tests.adapters.functions:dark, n_samples=2)"
    torch.manual_seed(0)
    maps = load(spec)(model, layer, images, targets)
    assert maps.shape == (2, 16, 16)
    assert torch.isfinite(maps).all()


def test_smoothing_reaches_the_library() -> None:
    question = asked()
    plain = load("pytorch_grad_cam:GradCAM")
    for option in ("aug_smooth", "eigen_smooth"):
        smooth = load(f"pytorch_grad_cam:GradCAM({option}=true)")
        assert not torch.allclose(smooth(*question), plain(*question))
        assert len(smooth.processing) == len(plain.processing) + 1


def test_tokens_become_maps_by_reshape_transform() -> None:
    """It is ours where none is given; without a grid the message says what the layer gives."""
    model = networks.settle(Tokens())
    images, targets = networks.images(2), torch.tensor([0, 1])
    own = load("pytorch_grad_cam:GradCAM")(model, "tokens", images, targets)
    with pytest.raises(
        MethodError, match=r"'tokens' gives a tensor of shape \(2, 37, 4\); give re"
    ):
        load("pytorch_grad_cam:GradCAM")(networks.settle(Tokens(37)), "tokens", images, targets)
    spec = "pytorch_grad_cam:GradCAM(reshape_transform=tests.adapters.functions:grid)"
    explain = load(spec)
    maps = explain(model, "tokens", images, targets)
    torch.testing.assert_close(own, maps)
    expected = registered("gradcam")(model, "conv", images, targets)
    torch.testing.assert_close(
        maps, minmax(upsample(minmax(expected), (16, 16))), atol=1e-4, rtol=1e-3
    )
    assert explain.processing[0] == "reshape_transform of the layer's output"


class Tokens(nn.Module):
    """A convolution whose maps go on as tokens (N×T×C), the first `count` of them."""

    def __init__(self, count: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.tokens = nn.Identity()
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(self.conv(images).flatten(2).transpose(1, 2)[:, : self.count])
        found: Tensor = self.head(tokens.mean(dim=1))
        return found


class Twice(nn.Module):
    """A ReLU that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.relu(self.relu(self.conv(images)) - 0.1).mean(dim=(2, 3)))
        return found


@pytest.mark.parametrize(
    "spec", ["pytorch_grad_cam:GradCAM", "torchcam:GradCAM", "captum:LayerGradientXActivation"]
)
def test_runs_of_a_layer_that_hooks_cannot_tell_apart(spec: str) -> None:
    model = networks.settle(Twice())
    images, targets = networks.images(2), torch.tensor([0, 1])
    with pytest.raises(NotApplicableError, match="'relu', which runs more often than the model"):
        load(spec)(model, "relu", images, targets)
    with pytest.raises(UsageError, match="a later run of a module"):
        load(spec)(model, "relu#2", images, targets)
    with pytest.raises(UsageError, match="'rely': no such layer"):
        load(spec)(model, "rely", images, targets)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pytorch_grad_cam:GradCam", r"no explainer 'GradCam': did you mean GradCAM"),
        ("torchcam:Saliency", "torchcam has no explainer 'Saliency'"),
        ("captum:NeuronGradient", "no explainer 'NeuronGradient'"),
        ("captum:Occlusion", r"needs sliding_window_shapes: write captum:Occlusion\(sliding"),
        ("captum:NoiseTunnel", "needs attribution_method"),
        (
            "captum:Saliency(steps=3)",
            "has no option 'steps'; it has abs, grad_kwargs, reduce|reduce",
        ),
        (
            "captum:Saliency(reduce=mean)",
            "reduce must be one of abs-sum, sum, positive-sum; got 'm",
        ),
        ("captum:Saliency(abs=yes)", "abs must be true or false; got 'yes'"),
        ("captum:IntegratedGradients(n_steps=2.5)", "n_steps must be a whole number; got 2.5"),
        ("captum:Saliency(abs)", "an option is written option=value; got 'abs'"),
        ("captum:Saliency(abs=true,abs=false)", "gives the option abs twice"),
        ("pytorch_grad_cam:GradCAM(aug_smooth=1)", "aug_smooth must be true or false; got 1"),
        ("pytorch_grad_cam:GradCAM(reshape_transform=nowhere:f)", "cannot import 'nowhere'"),
        ("pytorch_grad_cam:RefineCAM(base_method=GradCaM)", "base_method must be a class such as"),
    ],
)
def test_what_a_class_cannot_do_is_said(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(spec)


def test_options_of_a_base_class_are_known() -> None:
    assert "compute_input_gradient" not in parameters(grad_cam.classes()["GradCAM"])
    assert "reshape_transform" in parameters(torchcam.classes()["ScoreCAM"])


@pytest.mark.parametrize(("package", "extra"), list(EXTRAS.items()))
def test_a_missing_library_names_its_extra(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("camaudit.adapters.base.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=rf'pip install "camaudit\[{extra}\]"'):
        load(f"{package}:GradCAM")


@pytest.mark.parametrize(
    ("version", "refused"), [("1.4.9", True), ("2.0", True), ("1.5.7", False), ("1.6.0rc1", False)]
)
def test_versions_that_are_not_supported_are_told(
    version: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("camaudit.adapters.base.metadata.version", lambda _name: version)
    if refused:
        with pytest.raises(
            UsageError, match=rf"{version} is installed; supported are versions fro"
        ):
            load("pytorch_grad_cam:GradCAM")
    else:
        assert load("pytorch_grad_cam:GradCAM").version == version


def test_no_library_is_imported_before_it_is_named() -> None:
    code = (
        "import sys, camaudit.adapters, camaudit.invariance; "
        "sys.exit(bool({'pytorch_grad_cam', 'torchcam', 'captum'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "spec", ["torchcam:SmoothGradCAMpp(num_samples=2)", "pytorch_grad_cam:RandomCAM"]
)
def test_what_is_drawn_follows_from_the_random_state_which_stays(spec: str) -> None:
    question, explain = asked(), load(spec)
    torch.manual_seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), repr(np.random.get_state())
    first = explain(*question)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert repr(np.random.get_state()) == states[1]
    assert torch.equal(explain(*question), first)
    torch.manual_seed(4)
    np.random.seed(4)
    assert not torch.equal(explain(*question), first)


def test_a_failing_deeplift_leaves_no_attribute_on_modules() -> None:
    model, layer, images, targets = asked()

    class Fails(nn.Module):
        def forward(self, _maps: Tensor) -> Tensor:
            raise RuntimeError("no head")

    model[9] = Fails()  # type: ignore[operator]
    before = traces(model)
    with pytest.raises(RuntimeError, match="no head"):
        load("captum:DeepLift")(model, layer, images, targets)
    assert differences(before, traces(model)) == []


def test_an_explainer_that_fails_leaves_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own object is closed, not only the model tidied up behind it."""
    model, layer, images, targets = asked()
    held: list[object] = []
    made = grad_cam.classes()["GradCAM"]
    real = made.__init__  # type: ignore[misc]

    def kept(self: object, *args: object, **kwargs: object) -> None:
        real(self, *args, **kwargs)  # type: ignore[misc]
        held.append(self)

    def fails(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(made, "__init__", kept)
    monkeypatch.setattr(made, "get_cam_image", fails)
    before = traces(model)
    with pytest.raises(RuntimeError, match="out of memory"):
        load("pytorch_grad_cam:GradCAM")(model, layer, images, targets)
    assert differences(before, traces(model)) == []
    (explainer,) = held
    assert explainer.activations_and_grads.handles == []  # type: ignore[attr-defined]
