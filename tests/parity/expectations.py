"""The table: every method that a library shares with us, and whether its maps are ours.

An expectation without a reason says that the maps are equal. One with a reason says how far they
are apart, and under which change of ours or of theirs they are equal again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods import compute
from tests.parity import changes, held, reasons
from tests.parity.cases import SIZE, Case
from tests.parity.libraries import (
    LIBRARIES,
    Maps,
    Peer,
    as_contributions,
    as_drops,
    as_grad_cam,
    as_torchcam,
    difference,
    rectified,
    rectified_parts,
    run,
)
from tests.parity.reasons import Reason

__all__ = ["EXPECTATIONS", "OURS_ALONE", "THEIRS_ALONE", "Expectation"]

Change = Callable[[Capture], Tensor]

#: What is left after float32 resizing and an epsilon of 1e-7, an epsilon of 1e-8, or rounding.
TOLERANCE = {"pytorch-grad-cam": 1e-6, "torchcam": 1e-7, "captum": 1e-12}
#: The same for float32 networks.
TOLERANCE_FLOAT32 = 1e-5


@dataclass(frozen=True)
class Expectation:
    """What is expected of `method` (with `options`) and `peer` on `networks`.

    Equal without a `reason`. With one, the maps are `apart` by a figure in that range, and equal
    once ours are computed by `changed` (a function, or our method with options as one writes
    them on the command line), theirs by `changed_peer`, or both. `within` is for maps that keep
    more of an epsilon of theirs than their library's usual.
    """

    method: str
    peer: Peer
    networks: tuple[str, ...] = ("flat", "pooled", "smooth")
    options: str = ""
    reason: Reason | None = None
    apart: tuple[float, float] = (0.0, 0.0)
    changed: Change | str | None = None
    changed_peer: Peer | None = None
    within: float | None = None

    @property
    def label(self) -> str:
        title = self.reason.title if self.reason else "equal"
        return f"{self.method} / {self.peer.owner} {self.peer.name} / {title}"

    def tolerance(self, dtype: torch.dtype = torch.float64) -> float:
        """How near maps must be that are called equal: `within`, or what their library leaves."""
        exact = self.within or TOLERANCE[self.peer.owner]
        return max(exact, TOLERANCE_FLOAT32) if dtype == torch.float32 else exact

    def unchanged_difference(self, case: Case) -> float:
        """How far apart the maps are as both libraries give them."""
        return self._difference(case, self.method + self.options, self.peer)

    def explained_difference(self, case: Case) -> float:
        """How far apart they are after the stated change; the same without one."""
        return self._difference(
            case, self.changed or self.method + self.options, self.changed_peer or self.peer
        )

    def apart_by(self) -> float:
        """The largest difference on any of the networks."""
        return max(self.unchanged_difference(Case(name)) for name in self.networks)

    def remaining(self) -> float:
        """The largest difference on any of the networks that is not explained."""
        return max(self.explained_difference(Case(name)) for name in self.networks)

    def _difference(self, case: Case, ours: Change | str, peer: Peer) -> float:
        captured = case.capture()
        with torch.no_grad():
            raw = compute(ours, captured) if isinstance(ours, str) else ours(captured)
        shown: Maps = LIBRARIES[peer.owner].postprocess(raw, peer)
        return difference(shown, run(peer, case))


grad_cam = partial(Peer, "pytorch-grad-cam")
torchcam = partial(Peer, "torchcam")
captum = partial(Peer, "captum")

EIGEN_CAM = grad_cam("EigenCAM", patch=held.singular_vectors(-1))
EIGEN_GRAD_CAM = grad_cam("EigenGradCAM", patch=held.singular_vectors(-1))
OUR_SIGN = held.singular_vectors(+1)

EXPECTATIONS: tuple[Expectation, ...] = (
    # --- activation
    Expectation(
        "cam",
        torchcam("CAM"),
        networks=("pooled",),
        reason=reasons.SIGNED_CAM,
        apart=(0.1, 1.0),
        changed=changes.signed_cam,
    ),
    Expectation(
        "fem",
        grad_cam("FEM"),
        reason=reasons.PEAK_SHARE,
        apart=(0.2, 1.0),
        changed="fem(form=pytorch-grad-cam)",
    ),
    # --- gradient
    Expectation("gradcam", grad_cam("GradCAM")),
    Expectation("gradcam", torchcam("GradCAM")),
    Expectation(
        "gradcam",
        captum("LayerGradCam"),
        reason=reasons.SIGNED_GRADCAM,
        apart=(0.1, 1.0),
        changed_peer=captum("LayerGradCam", call={"relu_attributions": True}),
    ),
    Expectation(
        "gradcam++",
        grad_cam("GradCAMPlusPlus"),
        reason=reasons.EPSILON,
        apart=(3e-4, 0.1),
        changed="gradcam++(epsilon=1e-6)",
    ),
    Expectation(
        "gradcam++",
        torchcam("GradCAMpp"),
        reason=reasons.UNDIVIDED,
        apart=(0.1, 1.0),
        changed=changes.undivided,
    ),
    Expectation(
        "smoothgradcam++",
        torchcam("SmoothGradCAMpp", patch=held.image_noise),
        reason=reasons.LAST_SAMPLE,
        apart=(0.1, 1.0),
        changed=partial(changes.last_sample, samples=4, std=0.3),
    ),
    Expectation("xgradcam", grad_cam("XGradCAM")),
    Expectation("xgradcam", torchcam("XGradCAM")),
    Expectation("hirescam", grad_cam("HiResCAM")),
    Expectation("hirescam", captum("LayerGradientXActivation", read=rectified)),
    Expectation("layercam", grad_cam("LayerCAM")),
    Expectation("layercam", torchcam("LayerCAM")),
    Expectation("elementwise", grad_cam("GradCAMElementWise")),
    Expectation("elementwise", captum("LayerGradientXActivation", read=rectified_parts)),
    Expectation(
        "finercam",
        grad_cam("FinerCAM"),
        reason=reasons.PROBABILITY_WEIGHTED,
        apart=(0.1, 1.0),
        changed=changes.probability_weighted,
    ),
    Expectation("finercam", torchcam("FinerCAM")),
    Expectation("shapleycam", grad_cam("ShapleyCAM")),
    Expectation("liftcam", captum("DeepLift", read=as_contributions), networks=("flat", "pooled")),
    Expectation(
        "liftcam",
        captum("DeepLift", read=as_contributions),
        networks=("smooth",),
        reason=reasons.UNRESCALED,
        apart=(0.05, 1.0),
        changed=changes.gradient_times_activation,
    ),
    # --- multi-layer
    Expectation("fullgrad", grad_cam("FullGrad"), networks=("flat", "smooth"), within=3e-5),
    Expectation(
        "fullgrad",
        grad_cam("FullGrad"),
        networks=("pooled",),
        reason=reasons.EPSILON_OF_EVERY_CHANNEL,
        apart=(1.5e-4, 1e-3),
        changed_peer=grad_cam("FullGrad", patch=held.loud_scores),
    ),
    Expectation(
        "refinecam",
        grad_cam("RefineCAM"),
        reason=reasons.STAGES_OF_GRAD_CAM,
        apart=(0.01, 1.0),
        changed=partial(changes.refined, base=changes.with_epsilon, scaled=as_grad_cam),
        within=1e-5,
    ),
    Expectation(
        "refinecam",
        torchcam("RefineCAM", call={"target_shape": SIZE}),
        reason=reasons.STAGES_OF_TORCHCAM,
        apart=(0.1, 1.0),
        changed=partial(changes.refined, base=changes.undivided, scaled=as_torchcam),
    ),
    # --- decomposition
    Expectation(
        "eigencam",
        EIGEN_CAM,
        reason=reasons.SIGN_OF_SINGULAR_VECTOR,
        apart=(0.5, 1.1),
        changed_peer=replace(EIGEN_CAM, patch=OUR_SIGN),
    ),
    Expectation(
        "eigengradcam",
        EIGEN_GRAD_CAM,
        reason=reasons.SIGN_OF_SINGULAR_VECTOR,
        apart=(0.5, 1.1),
        changed_peer=replace(EIGEN_GRAD_CAM, patch=OUR_SIGN),
    ),
    Expectation("segeigencam", grad_cam("SegEigenCAM")),
    Expectation("kpcacam", grad_cam("KPCA_CAM"), networks=("pooled", "smooth")),
    Expectation(
        "kpcacam",
        grad_cam("KPCA_CAM"),
        networks=("flat",),
        reason=reasons.SIGN_OF_KERNEL_COMPONENT,
        apart=(0.5, 1.1),
        changed_peer=grad_cam("KPCA_CAM", patch=held.kernel_components),
    ),
    # --- perturbation
    Expectation(
        "scorecam", grad_cam("ScoreCAM"), networks=("flat", "pooled", "smooth", "constant")
    ),
    Expectation(
        "scorecam",
        torchcam("ScoreCAM"),
        networks=("flat", "pooled", "smooth", "constant"),
        reason=reasons.BEFORE_UPSAMPLING,
        apart=(1e-3, 1.0),
        changed="scorecam(align_corners=false, normalise=before)",
    ),
    Expectation(
        "scorecam",
        torchcam("ScoreCAM", call={"normalized": False}),
        networks=("constant",),
        reason=reasons.CONSTANT_CHANNELS,
        apart=(1e-3, 1.0),
        changed=changes.with_constant_channels,
    ),
    Expectation(
        "sscam", torchcam("SSCAM", {"num_samples": 3}, patch=held.mask_noise), options="(samples=3)"
    ),
    Expectation(
        "iscam",
        torchcam("ISCAM", {"num_samples": 4}),
        options="(steps=4)",
        reason=reasons.CUMULATED,
        apart=(0.05, 1.0),
        changed=partial(changes.cumulated, steps=4),
    ),
    Expectation("ablationcam", grad_cam("AblationCAM"), networks=("flat", "pooled")),
    Expectation(
        "ablationcam",
        grad_cam("AblationCAM"),
        networks=("negative",),
        reason=reasons.NEGATIVE_SCORE,
        apart=(0.5, 1.1),
        changed=changes.ablated,
    ),
    Expectation(
        "ablationcam",
        grad_cam("AblationCAM"),
        networks=("smooth",),
        reason=reasons.FAR_BELOW,
        apart=(0.1, 1.1),
        changed=partial(changes.ablated, far_below=True),
    ),
    Expectation(
        "ablationcam",
        captum("LayerFeatureAblation", read=as_drops),
        networks=("flat", "pooled", "smooth", "negative"),
    ),
    # --- control
    Expectation(
        "random",
        grad_cam("RandomCAM", patch=held.uniform_draws),
        reason=reasons.ANOTHER_CONTROL,
        apart=(0.1, 1.1),
        changed=changes.drawn_weights,
    ),
)

#: Our methods that none of the three libraries has.
OURS_ALONE = frozenset(
    {
        "attention-rollout",
        "augmentedgradcam++",
        "groupcam",
        "gscorecam",
        "lafam",
        "legrad",
        "opticam",
        "polycam",
        "reciprocam",
        "reciprocam-gaussian",
        "rise",
        "scorecam++",
        "vit-reciprocam",
    }
)

#: Public classes of theirs that are not here, and why. Of captum, those named after Grad-CAM.
THEIRS_ALONE: dict[str, dict[str, str]] = {
    "pytorch-grad-cam": {
        "AblationLayer": "a part of AblationCAM",
        "AblationLayerVit": "a part of AblationCAM",
        "AblationLayerFasterRCNN": "a part of AblationCAM",
        "ActivationsAndGradients": "their hooks",
        "DeepFeatureFactorization": "concepts, no map of a class",
        "GuidedBackpropReLUModel": "a gradient at the image, no map of a layer",
        "SESS": "a wrapper that crops and rescales the image for another method",
    },
    "torchcam": {"LeGrad": "of transformers, beside ours in tests/models/test_token_methods.py"},
    "captum": {"GuidedGradCam": "a gradient at the image, times GradCAM"},
}
