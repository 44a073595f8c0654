"""What every foreign explainer claims to be, and what became of the claim: one source.

The tests hold to these rows and the table of docs/conformance.md is printed from them. A row that
says "different" comes with a reason, and with the claim that it satisfies once what the reason says
is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.invariance import Conformity, Explain
from tests.invariance.foreign import Captum, Changed, GradCamFiner, GradCamPackage, TorchCam
from tests.parity import changes, held, reasons
from tests.parity.reasons import Reason

__all__ = ["CLAIMS", "NOT_COMPARED", "Claim", "Instead", "claim_of"]

EQUAL, PROCESSED, DIFFERENT = Conformity.EQUAL, Conformity.PROCESSED, Conformity.DIFFERENT

IMAGE = "bilinear → min-max"  # and min-max before it, which is the same


@dataclass(frozen=True)
class Instead:
    """The claim that holds once the stated difference is undone on one of the two sides."""

    explain: Explain
    method: str | Explain
    says: str
    processing: str


@dataclass(frozen=True)
class Claim:
    """An explainer of a library and the method of ours that it is compared with.

    `limits` are those of :func:`camaudit.invariance.situations`, where the methods ask for them.
    """

    package: str
    explain: Explain
    method: str
    outcome: Conformity
    processing: str
    reasons: tuple[Reason, ...] = ()
    instead: Instead | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The class of the library."""
        name: str = self.explain.__name__  # type: ignore[attr-defined]
        return name

    @property
    def label(self) -> str:
        return f"{self.package} {self.name} = {self.method}"


def ablated_as_theirs(captured: Capture) -> Tensor:
    """AblationCAM with the score's own sign, each image ablated as its smallest value decides."""
    rows = [captured.rows(row, row + 1) for row in range(len(captured))]
    return torch.cat(
        [changes.ablated(row, far_below=row.activations.min().item() != 0) for row in rows]
    )


def pytorch_grad_cam(name: str, method: str, processing: str = IMAGE, **limits: Any) -> Claim:
    """A class of pytorch-grad-cam that does only what all of them do."""
    made = GradCamPackage(name)
    return Claim("pytorch-grad-cam", made, method, PROCESSED, processing, limits=limits)


def torchcam(name: str, method: str, **limits: Any) -> Claim:
    """An extractor of torchcam that does only what all of them do."""
    return Claim("torchcam", TorchCam(name), method, PROCESSED, "min-max", limits=limits)


def captum(name: str, method: str, outcome: Conformity, processing: str, **call: Any) -> Claim:
    """An attribution of captum."""
    return Claim("captum", Captum(name, call), method, outcome, processing)


def differs(
    claim: Claim,
    *found: Reason,
    says: str,
    explain: Explain | None = None,
    method: str | Explain | None = None,
) -> Claim:
    """The same explainer, which is another method, and what it is once that is changed."""
    instead = Instead(explain or claim.explain, method or claim.method, says, claim.processing)
    return replace(claim, outcome=DIFFERENT, reasons=found, instead=instead)


def our_sign(name: str) -> GradCamPackage:
    """A class of pytorch-grad-cam whose singular vector has the sign of our convention."""
    return GradCamPackage(name, held=partial(held.singular_vectors(+1), CASE, None))


CASE: Any = None  # what is held fixed here asks for no case

CLAIMS: tuple[Claim, ...] = (
    pytorch_grad_cam("GradCAM", "gradcam"),
    pytorch_grad_cam("HiResCAM", "hirescam"),
    pytorch_grad_cam("GradCAMElementWise", "elementwise"),
    differs(
        pytorch_grad_cam("GradCAMPlusPlus", "gradcam++"),
        reasons.EPSILON,
        says="`gradcam++(epsilon=1e-6)`",
        method="gradcam++(epsilon=1e-6)",
    ),
    pytorch_grad_cam("XGradCAM", "xgradcam"),
    pytorch_grad_cam("LayerCAM", "layercam"),
    pytorch_grad_cam("ShapleyCAM", "shapleycam"),
    differs(
        replace(pytorch_grad_cam("FinerCAM", "finercam", min_classes=4), explain=GradCamFiner()),
        reasons.PROBABILITY_WEIGHTED,
        says="ours, of their score",
        method=Changed(changes.probability_weighted, "finercam of their score"),
    ),
    differs(
        pytorch_grad_cam("EigenCAM", "eigencam"),
        reasons.SIGN_OF_SINGULAR_VECTOR,
        says="theirs, with our sign",
        explain=our_sign("EigenCAM"),
    ),
    differs(
        pytorch_grad_cam("EigenGradCAM", "eigengradcam"),
        reasons.SIGN_OF_SINGULAR_VECTOR,
        says="theirs, with our sign",
        explain=our_sign("EigenGradCAM"),
    ),
    pytorch_grad_cam("SegEigenCAM", "segeigencam", min_cells=2),
    differs(
        pytorch_grad_cam("KPCA_CAM", "kpcacam"),
        reasons.SIGN_OF_KERNEL_COMPONENT,
        says="theirs, with our sign",
        explain=GradCamPackage("KPCA_CAM", held=partial(held.kernel_components, CASE, None)),
    ),
    differs(
        pytorch_grad_cam("FEM", "fem", min_cells=3),
        reasons.PEAK_SHARE,
        says="`fem(form=pytorch-grad-cam)`",
        method="fem(form=pytorch-grad-cam)",
    ),
    pytorch_grad_cam("ScoreCAM", "scorecam"),
    differs(
        pytorch_grad_cam("AblationCAM", "ablationcam"),
        reasons.NEGATIVE_SCORE,
        reasons.FAR_BELOW,
        says="ours, divided by s_c and ablated as theirs",
        method=Changed(ablated_as_theirs, "ablationcam ablated as theirs"),
    ),
    differs(
        pytorch_grad_cam("FullGrad", "fullgrad", "min-max"),
        reasons.EPSILON_OF_EVERY_CHANNEL,
        says="theirs, of a million times the score",
        explain=GradCamPackage("FullGrad", held=partial(held.loud_scores, CASE, None)),
    ),
    replace(
        torchcam("CAM", "cam", pooled=True, hidden=0),
        processing="not rectified → min-max",
        reasons=(reasons.SIGNED_CAM,),
    ),
    torchcam("GradCAM", "gradcam"),
    differs(
        torchcam("GradCAMpp", "gradcam++"),
        reasons.UNDIVIDED,
        says="ours, α undivided",
        method=Changed(changes.undivided, "gradcam++ with α undivided"),
    ),
    torchcam("XGradCAM", "xgradcam"),
    torchcam("LayerCAM", "layercam"),
    torchcam("FinerCAM", "finercam", min_classes=2),
    differs(
        torchcam("ScoreCAM", "scorecam"),
        reasons.BEFORE_UPSAMPLING,
        says="`scorecam(align_corners=false, normalise=before)`",
        method="scorecam(align_corners=false, normalise=before)",
    ),
    differs(
        replace(torchcam("ISCAM", "iscam(steps=4)"), explain=TorchCam("ISCAM", {"num_samples": 4})),
        reasons.CUMULATED,
        says="ours, the scales summed up",
        method=Changed(partial(changes.cumulated, steps=4), "iscam with scales summed up"),
    ),
    replace(
        captum("LayerGradCam", "gradcam", PROCESSED, "not rectified"),
        reasons=(reasons.SIGNED_GRADCAM,),
    ),
    captum("LayerGradCam", "gradcam", EQUAL, "none", relu_attributions=True),
    captum("LayerGradientXActivation", "hirescam", PROCESSED, "not rectified"),
)


def claim_of(package: str, name: str) -> Claim | None:
    """What a class of a library claims to be; None where it is not compared with a method."""
    return next((one for one in CLAIMS if (one.package, one.name) == (package, name)), None)


#: Classes of theirs that one of our methods stands for, and that are not compared; and why.
NOT_COMPARED = {
    "pytorch-grad-cam `RandomCAM`": "a control drawn at random, and ours is drawn otherwise",
    "pytorch-grad-cam `SESS`": "a wrapper that explains patches of the image by another class",
    "torchcam `LeGrad`": "it reads the attention of transformers",
    "pytorch-grad-cam and torchcam `RefineCAM`": "several layers at once; a claim has one",
    "torchcam `SmoothGradCAMpp`, `SSCAM`": "noise drawn at random: no two libraries draw the same "
    "(with the noise held fixed they are compared in the README's table)",
    "captum `DeepLift`, `LayerFeatureAblation`": "attributions that are no map until they are "
    "combined; the README's table says how",
}
