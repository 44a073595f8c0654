"""Named differences: why one of our maps is not a library's, and where each side says so.

A :class:`Line` quotes the fragment of source that a difference hangs on. A test looks for it, so
that a change on either side shows even where no figure moves.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Line", "Reason"]


@dataclass(frozen=True)
class Line:
    """A fragment of source: `where` is "module:name.in.it", `code` stands in its text."""

    where: str
    code: str


@dataclass(frozen=True)
class Reason:
    """A difference: title, explanation, the lines of both sides, whose formula is the paper's."""

    title: str
    text: str
    ours: Line
    theirs: Line
    paper: str  # completes "the paper's formula is …"


GRADIENT = "camaudit.methods.gradient"
SCORES = "camaudit.methods.scores"
TORCHCAM = "torchcam.methods.gradient"
SCORES_OF_TORCHCAM = "torchcam.methods.activation"

EPSILON = Reason(
    title="1e-6 in α's denominator",
    text="They add 1e-6 to the denominator of α, which counts where gradients are small: with "
    "G = 1e-3 it is half of 2G².",
    ours=Line(f"{GRADIENT}:gradcam_plus_plus", "epsilon: float = 0.0"),
    theirs=Line(
        "pytorch_grad_cam.grad_cam_plusplus:GradCAMPlusPlus.get_cam_weights", "eps = 0.000001"
    ),
    paper="ours: eq. 19 has no epsilon",
)

UNDIVIDED = Reason(
    title="α is never divided",
    text="They divide a copy: indexing with a boolean mask makes a new tensor, whose in-place "
    "division is lost. α stays G², and the weight is Σ_ij ReLU(G)³.",
    ours=Line(f"{GRADIENT}:gradcam_plus_plus", "alpha = 1 / (2 + G * total)"),
    theirs=Line(f"{TORCHCAM}:GradCAMpp._get_weights", "alpha[idx][mask].div_(d[mask] + eps)"),
    paper="ours: eq. 19",
)

LAST_SAMPLE = Reason(
    title="the last noisy image stands in for all",
    text="Their hooks stay on while noisy images run: ReLU takes the last sample's gradient where "
    "eq. 9 has the mean, and the map sums the last noisy image's A. α's denominator has "
    "Σ_ab D3_ab A_ab for D3·Σ_ab A_ab. The noise is the same on both sides.",
    ours=Line(
        "camaudit.methods.smooth:smoothgradcam_plus_plus", "D3 / torch.where(D2 == 0, 1, D2)"
    ),
    theirs=Line(
        f"{TORCHCAM}:SmoothGradCAMpp._compute_smoothgrad_weights",
        "zip(alpha, self.hook_g, strict=True)",
    ),
    paper="ours; in α's numerator both have D2, as Grad-CAM++ does (torchcam notes that the paper "
    "prints D1)",
)

SIGNED_CAM = Reason(
    title="not rectified",
    text="They min-max the signed sum, so that cells that speak against the class are grey, not "
    "black; all our maps end in ReLU.",
    ours=Line("camaudit.methods.activation:cam", "return weighted_sum("),
    theirs=Line("torchcam.methods.core:_CAM.__init__", "self._relu = False"),
    paper="theirs: eq. 2 has no ReLU",
)

SIGNED_GRADCAM = Reason(
    title="signed unless relu_attributions=True",
    text="captum leaves the ReLU of eq. 2 to its caller; with relu_attributions=True the maps are "
    "equal.",
    ours=Line("camaudit.methods.base:weighted_sum", ".relu()"),
    theirs=Line("captum.attr:LayerGradCam.attribute", "if relu_attributions:"),
    paper="ours: eq. 2",
)

BEFORE_UPSAMPLING = Reason(
    title="masks are min-maxed before upsampling",
    text="They normalise A_k and upsample it with half-pixel centres, we upsample with aligned "
    'corners and normalise then; normalise="before", align_corners=False is their form.',
    ours=Line(f"{SCORES}:minmax_masks", 'if normalise == "before"'),
    theirs=Line(f"{SCORES_OF_TORCHCAM}:ScoreCAM._get_weights", "self._normalize(act.clone()"),
    paper="ours: eqs. 5-6 normalise Up(A_k)",
)

CONSTANT_CHANNELS = Reason(
    title="constant channels are in the sum",
    text="A constant channel has no min-max form, so no mask: it takes part in the softmax, but we "
    "leave its A_k out of the map. They add it, which min-max hides again; it shows in their raw "
    "map (normalized=False).",
    ours=Line(f"{SCORES}:varying_sum", "varying = varying_channels(A)"),
    theirs=Line(
        "torchcam.methods.core:_CAM.compute_cams", "torch.nansum(weight * activation, dim=1)"
    ),
    paper="neither's: it does not say what min-max makes of a constant",
)

CUMULATED = Reason(
    title="the scales are summed up",
    text="They add each i/n to those before it: with n = 10 the mask is scaled by 0.1, 0.3, 0.6, … "
    "5.5 instead of 0.1, 0.2, 0.3, … 1.",
    ours=Line("camaudit.methods.smoothed:iscam", "scale=step / steps"),
    theirs=Line(f"{SCORES_OF_TORCHCAM}:ISCAM._get_score_weights", "coeff += (sidx + 1)"),
    paper="not settled here: torchcam's own docstring prints the sum, ours goes evenly from the "
    "empty mask to M_k",
)

SIGN_OF_SINGULAR_VECTOR = Reason(
    title="the sign of v₁ is LAPACK's",
    text="A singular vector has no sign of its own, and they keep the one that comes out, which "
    "may turn the map inside out from image to image. Ours makes Σ_cells (B v₁)·mean_k B ≥ 0.",
    ours=Line(
        "camaudit.methods.decomposition:first_component", "agreeing(projection, B.mean(dim=2))"
    ),
    theirs=Line(
        "pytorch_grad_cam.utils.svd_on_activations:get_2d_projection",
        "projection = reshaped_activations @ VT[0, :]",
    ),
    paper="neither's: it states no sign",
)

SIGN_OF_KERNEL_COMPONENT = Reason(
    title="the sign is that of the largest cell",
    text="scikit-learn makes the component's largest entry positive, we make "
    "Σ_cells P·mean_k B ≥ 0; where the two disagree one map is the other inside out.",
    ours=Line("camaudit.methods.kernel:kpcacam", "agreeing("),
    theirs=Line("sklearn.decomposition:KernelPCA._fit_transform_in_place", "svd_flip("),
    paper="neither's: it states no sign",
)

PEAK_SHARE = Reason(
    title="weights and maps change places",
    text="They weigh A_k by the share of its cells above μ + 2σ; the paper weighs the binary map "
    'of those cells by μ. form="pytorch-grad-cam" is theirs.',
    ours=Line("camaudit.methods.activation:fem", 'if form == "paper"'),
    theirs=Line("pytorch_grad_cam.fem:FEM.get_cam_image", "weights = binary_mask.mean(axis=axis)"),
    paper="ours",
)

UNRESCALED = Reason(
    title="SiLU is not rescaled",
    text="captum's DeepLIFT knows a short list of nonlinearities, and passes the derivative where "
    "one (here SiLU) is not on it, with no warning; the contributions then do not sum to the "
    "change of the score. We take the secant of every elementwise module.",
    ours=Line("camaudit.methods.rescale", "nn.Sigmoid, nn.SiLU, nn.Softplus"),
    theirs=Line(
        "captum.attr:DeepLift._is_non_linear", "type(module) in SUPPORTED_NON_LINEAR.keys()"
    ),
    paper="ours: the rescale rule is for any elementwise nonlinearity",
)

PROBABILITY_WEIGHTED = Reason(
    title="the contrast is weighted by probabilities, γ = 1",
    text="They explain Σ_t p_t (s_c − s_t)/Σ_t p_t and differentiate the probabilities too; we "
    "explain s_c − 0.6·mean_t s_t. The three classes are the same.",
    ours=Line("camaudit.methods.contrast:finercam", "contrastive(references, strength=strength)"),
    theirs=Line(
        "pytorch_grad_cam.utils.model_targets:FinerWeightedTarget.__call__",
        "prob = torch.softmax(model_output, dim=-1)",
    ),
    paper="ours (torchcam reads it so too); theirs is the authors' code",
)

NEGATIVE_SCORE = Reason(
    title="a negative score turns the map inside out",
    text="They divide the drop by s_c, which turns all weights where s_c < 0; we divide by |s_c|.",
    ours=Line("camaudit.methods.ablation:ablationcam", "capture.scores[:, None].abs()"),
    theirs=Line(
        "pytorch_grad_cam.ablation_cam:AblationCAM.get_cam_weights",
        "weights = (original_scores - weights) / original_scores",
    ),
    paper="theirs as printed (eq. 3), where scores are positive",
)

FAR_BELOW = Reason(
    title="ablated to −1e7, −2e7, … where no activation is 0",
    text="Unless the smallest activation is exactly 0 they ablate with the minimum less 1e7, and "
    "take the minimum again with the channels before it, so that the k-th of a batch is at −k·1e7 "
    "and its weight grows with its place in the batch. We set it to 0.",
    ours=Line("camaudit.methods.ablation:_row_drops", "chunk] = 0"),
    theirs=Line("pytorch_grad_cam.ablation_layer:AblationLayer.__call__", "ABLATION_VALUE = 1e7"),
    paper="ours: an ablated channel is 0",
)

EPSILON_OF_EVERY_CHANNEL = Reason(
    title="1e-7 in every channel's min-max",
    text="They add 1e-7 to every channel's maximum before dividing by it, which counts where bias "
    "times gradient is small. When they explain a million times the score, whose channels have "
    "the same min-max form, the maps are equal.",
    ours=Line("camaudit.methods.full_gradient:_rectified", "minmax(size)"),
    theirs=Line("pytorch_grad_cam.utils.image:scale_cam_image", "img / (1e-7 + np.max(img))"),
    paper="ours: the ψ of the paper's experiments has no epsilon",
)

STAGES_OF_GRAD_CAM = Reason(
    title="min-max at every stage",
    text="They min-max every stage's map, before resizing and after, which takes its lowest level "
    "away; we divide it by its maximum, so that what is above 0 stays so. Their loop over the "
    "stages that would divide by the maximum binds a local name and changes nothing. The stages "
    "are their Grad-CAM++, with 1e-6 in α's denominator.",
    ours=Line("camaudit.methods.layered:refinecam", "_peaked(upsample("),
    theirs=Line(
        "pytorch_grad_cam.base_cam:BaseCAM.aggregate_multi_layers", "scale_cam_image(result)"
    ),
    paper="not settled here: both bring every stage to [0, 1]",
)

STAGES_OF_TORCHCAM = Reason(
    title="min-max at every stage, and α is never divided",
    text="They min-max every stage's map before upsampling it, we divide it by its maximum after; "
    "and their Grad-CAM++ is not divided (see there).",
    ours=Line("camaudit.methods.layered:refinecam", "_peaked(upsample("),
    theirs=Line(f"{TORCHCAM}:RefineCAM.fuse_cams", "_CAM._normalize(cam.clone())"),
    paper="not settled here for the stages; ours for Grad-CAM++ (eq. 19)",
)

ANOTHER_CONTROL = Reason(
    title="another control",
    text="Theirs draws a weight in [−1, 1) for every channel and shows the network's own maps; "
    "ours is noise on the grid and knows nothing of the network.",
    ours=Line("camaudit.methods.controls:random", ".random((h, w))"),
    theirs=Line("pytorch_grad_cam.random_cam:RandomCAM.get_cam_weights", "np.random.uniform(-1, 1"),
    paper="neither's: a control has none",
)
