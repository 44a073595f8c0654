"""Why a library's class violates a property that its method satisfies: each cause put to the test.

A violation is put down to the library's post-processing if our own method violates the property on
the same example once its map is processed so; and to a difference from the published formula if it
is gone where the claims of docs/conformance.md undo that difference on their side, or comes to ours
where they make it ours. What neither accounts for stands in `STATED`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from camaudit.invariance import Example, Explain, registered, replayed
from camaudit.maps import upsample
from tests.invariance.claims import claim_of

__all__ = ["PROCESSING", "STATED", "Stated", "cause"]

#: What every map of pytorch-grad-cam goes through.
PROCESSING = "min-max and resizing"
_GRAD_CAM = "pytorch_grad_cam"
_EPSILON = 1e-7  # of their min-max


@dataclass(frozen=True)
class Processed:
    """A method whose maps are rectified, min-maxed, resized to the image and min-maxed again."""

    method: Explain

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        raw = self.method(model, layer, images, targets).clamp(min=0)
        size = (images.shape[-2], images.shape[-1])
        return _scaled(upsample(_scaled(raw), size))


def _scaled(maps: Tensor) -> Tensor:
    above = maps - maps.amin(dim=(1, 2), keepdim=True)
    return above / (above.amax(dim=(1, 2), keepdim=True) + _EPSILON)


#: Classes that are another one where they are given a single layer.
_ALIKE = {(_GRAD_CAM, "RefineCAM"): "GradCAMPlusPlus"}


def cause(source: str, name: str, method: str | None, prop: str, example: Example) -> str | None:
    """What a violation is due to, as far as it can be put to the test; None otherwise."""
    processed = Processed if source == _GRAD_CAM and name != "FullGrad" else _as_it_is
    known = source == _GRAD_CAM and method is not None
    if known and replayed(prop, Processed(registered(method or "")), example) is not None:
        return PROCESSING
    claim = claim_of(source.replace("_", "-"), _ALIKE.get((source, name), name))
    if claim is None or claim.instead is None:
        return None
    titles = "; ".join(reason.title for reason in claim.reasons)
    instead = claim.instead
    if instead.explain is not claim.explain:
        return titles if replayed(prop, instead.explain, example) is None else None
    changed = registered(instead.method) if isinstance(instead.method, str) else instead.method
    return titles if replayed(prop, processed(changed), example) is not None else None


def _as_it_is(method: Explain) -> Explain:
    return method


@dataclass(frozen=True)
class Stated:
    """A cause that was read in the library's source: of some properties of some classes.

    properties: None for all that the class violates.
    """

    title: str
    text: str
    classes: frozenset[str]
    properties: frozenset[str] | None = None

    def covers(self, label: str, prop: str) -> bool:
        """Whether it is the cause of what a class (as in torchcam:CAM) violates."""
        return label in self.classes and (self.properties is None or prop in self.properties)


def _stated(title: str, text: str, classes: str, properties: str | None = None) -> Stated:
    known = None if properties is None else frozenset(properties.split())
    return Stated(title, text, frozenset(classes.split()), known)


STATED: tuple[Stated, ...] = (
    _stated(
        "a frozen linear head",
        "They differentiate the gradient again; where the score is linear in the activations and "
        "its weights require no gradient, the gradient is a constant without a graph, and "
        "`torch.autograd.grad` raises. The second derivative is 0 there, and the map Grad-CAM's.",
        "pytorch_grad_cam:ShapleyCAM",
    ),
    _stated(
        "0/0",
        "They divide by the score, and give NaN where it is 0 (no cell of the layer is active, and "
        "the head has no bias). Ours is undefined there too, and says so.",
        "pytorch_grad_cam:AblationCAM",
        "failing-model constant-image zero-map increasing-score",
    ),
    _stated(
        "weights drawn at random",
        "A weight for every channel of every image, from NumPy's global state: no function of the "
        "model. It is a control.",
        "pytorch_grad_cam:RandomCAM",
    ),
    _stated(
        "patches",
        "It explains patches of the image at twelve scales, weighs them by probabilities, averages "
        "what is above 0, and blurs by an 11×11 Gaussian: cells take mass from all around them.",
        "pytorch_grad_cam:SESS",
    ),
    _stated(
        "the Linear layer's own weights",
        "It reads the weights of the Linear layer, not what the model makes of a channel: a factor "
        "between layer and Linear, other logits than the Linear's, or a head of other operations "
        "are passed by, or raise.",
        "torchcam:CAM",
        "channel-scale score-linearity implementation",
    ),
    _stated(
        "not rectified",
        "They show the signed sum.",
        "torchcam:CAM",
        "map-range",
    ),
    _stated(
        "1e-8 in α's denominator",
        "It counts where gradients are below 1e-4. With 1e-60 in its place the same example holds.",
        "torchcam:SmoothGradCAMpp",
        "channel-scale",
    ),
    _stated(
        "noise from the global state",
        "Drawn for the whole batch, or for all channels, at once: another order, number or channel "
        "has other noise. The other properties were tested with the state set before every call.",
        "torchcam:SmoothGradCAMpp torchcam:SSCAM",
        "batch-order batch-size determinism dead-channel",
    ),
    _stated(
        "absolute values",
        "The adapter sums absolute values over channels, which do not know a score from its "
        "negative: no sum of them is the score. `reduce=sum` keeps the signs.",
        "captum:LayerDeepLift captum:LayerConductance captum:LayerIntegratedGradients "
        "captum:InternalInfluence captum:Saliency captum:InputXGradient captum:IntegratedGradients "
        "captum:DeepLift captum:NoiseTunnel captum:GradientShap captum:LayerGradientShap "
        "captum:DeepLiftShap captum:LayerDeepLiftShap captum:GuidedBackprop captum:Deconvolution "
        "captum:GuidedGradCam captum:FeatureAblation captum:LayerFeatureAblation",
        "completeness completeness-pooled",
    ),
    _stated(
        "absolute values of windows",
        "As above, and every pixel has the mean over its windows. With windows of one pixel and "
        "`reduce=sum` the same examples hold.",
        "captum:Occlusion",
        "completeness completeness-pooled",
    ),
    _stated(
        "signed",
        "`reduce=sum` keeps the signs.",
        "captum:LayerGradientXActivation",
        "map-range",
    ),
    _stated(
        "a black baseline",
        "It compares with a black image, or multiplies by the pixels: neither is shifted with the "
        "image (Kindermans et al. 2019). `baselines=` takes another.",
        "captum:LayerDeepLift captum:LayerConductance captum:LayerIntegratedGradients "
        "captum:InternalInfluence captum:InputXGradient captum:IntegratedGradients captum:DeepLift "
        "captum:GradientShap captum:LayerGradientShap captum:DeepLiftShap captum:LayerDeepLiftShap "
        "captum:FeatureAblation captum:Occlusion",
        "input-shift",
    ),
    _stated(
        "differences of scores",
        "A pixel, cell or window has what the score loses without it, and a function of the score "
        "changes each of these differences by a factor of its own.",
        "captum:FeatureAblation captum:LayerFeatureAblation captum:Occlusion",
        "increasing-score",
    ),
    _stated(
        "windows",
        "A pixel has the mean over the windows that hold it: it takes from its neighbours, and "
        "near the edge there are fewer windows. With windows of one pixel the same examples hold.",
        "captum:Occlusion",
        "dead-mass-zero translation",
    ),
    _stated(
        "the whole path",
        "It averages gradients between the baseline and the image, which a function of the score "
        "changes by another factor at every step: with 500 steps as with 5.",
        "captum:LayerConductance captum:LayerIntegratedGradients captum:InternalInfluence "
        "captum:IntegratedGradients captum:GradientShap captum:LayerGradientShap",
        "increasing-score",
    ),
    _stated(
        "a gradient alone",
        "It does not multiply by the activations: a channel that is 0, or scaled, has its gradient "
        "all the same.",
        "captum:InternalInfluence",
        "channel-scale dead-channel zero-map",
    ),
    _stated(
        "another backward pass",
        "It rectifies the gradient at every `nn.ReLU`: no derivative of the score, so not linear "
        "in it, and other operations that do the same as a ReLU are passed by.",
        "captum:GuidedBackprop captum:Deconvolution captum:GuidedGradCam",
        "score-linearity implementation",
    ),
    _stated(
        "nearest neighbours",
        "Grad-CAM is resized by the nearest neighbour, which is not its own mirror image where the "
        "sizes do not divide. With `interpolate_mode=bilinear` the same examples hold.",
        "captum:GuidedGradCam",
        "flip-vertical flip-vertical-kernels flip-horizontal flip-horizontal-kernels",
    ),
    _stated(
        "random copies",
        "It averages over noisy copies of the image, or over places drawn between it and a "
        "baseline: what is drawn is not mirrored or moved with the image, is other for other "
        "batches, and every copy's gradient changes by a factor of its own.",
        "captum:NoiseTunnel captum:GradientShap captum:LayerGradientShap",
    ),
)
