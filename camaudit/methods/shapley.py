"""ShapleyCAM and LIFT-CAM: channels weighted by approximations of their Shapley values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camaudit.capture import Capture
from camaudit.errors import NotApplicableError
from camaudit.methods.base import MethodInfo, defined, method, weighted_sum
from camaudit.methods.rescale import rescaled

__all__ = ["liftcam", "shapleycam"]


@method(
    "shapleycam",
    MethodInfo(
        paper="Cai 2025, CAMs as Shapley Value-based Explainers",
        equation="definition",
        formula="ReLU(Σ_k w_k A_k), w_k = mean_ij (G − ½ H A)_kij, H = ∂²s/∂A²",
        family="gradient",
        cost="1 head forward and 2 head gradients",
        needs_gradients=True,
    ),
)
def shapleycam(capture: Capture) -> Tensor:
    """`w_k = mean_ij (G − ½ H·A)_kij`, `L = ReLU(Σ_k w_k A_k)`, `H = ∂²s/∂A²` the Hessian.

    Cai 2025, CAMs as Shapley Value-based Explainers: the second-order expansion of the score at A.
    A piecewise linear head has no curvature, and there it is Grad-CAM. Returns N×h×w. Raises
    :class:`camaudit.errors.NotApplicableError` where torch has no second derivative of the head.
    """
    A = capture.activations
    try:
        curvature = _hessian_times_activations(capture)
    except RuntimeError as error:
        if "is not implemented" not in str(error):
            raise
        raise NotApplicableError(
            f"ShapleyCAM needs a second derivative of the head, which torch has not: {error}"
        ) from error
    weights = (capture.gradients - curvature / 2).mean(dim=(2, 3))
    return defined(weighted_sum(weights, A), A)


def _hessian_times_activations(capture: Capture) -> Tensor:
    """`Σ_cd H_ab,cd A_cd` (N×K×h×w), image by image: their scores do not depend on each other."""
    rows = torch.arange(len(capture), device=capture.activations.device)
    # The fused kernels of attention have no second derivative; the plain one has.
    with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        A = capture.activations.detach().clone().requires_grad_(True)
        scores = capture.objective(capture.read(A), rows)
        (G,) = torch.autograd.grad(scores.sum(), A, create_graph=True)
        if not G.requires_grad:
            return torch.zeros_like(G)
        (product,) = torch.autograd.grad(G, A, A.detach(), materialize_grads=True)
    return product


@method(
    "liftcam",
    MethodInfo(
        paper="Jung & Oh 2021, Towards Better Explanations of Class Activation Mapping (LIFT-CAM)",
        equation="definition",
        formula="ReLU(Σ_k w_k A_k), w_k = Σ_ij of DeepLIFT's contributions of A_kij, reference 0",
        family="gradient",
        cost="2 head forwards and 1 head gradient",
    ),
)
def liftcam(capture: Capture) -> Tensor:
    """`w_k = Σ_ij m_kij A_kij`, m DeepLIFT's multipliers from A to s; `L = ReLU(Σ_k w_k A_k)`.

    Jung & Oh 2021, LIFT-CAM: the rescale rule with the reference A = 0. An elementwise
    nonlinearity f multiplies by `(f(z) − f(z₀))/(z − z₀)`, a linear layer by its weights; then the
    contributions sum to `s(A) − s(0)`. Returns N×h×w.

    Raises :class:`camaudit.errors.NotApplicableError` where they do not: the head holds something
    that the rule does not cover (max pooling of cells that differ at A = 0, softmax, a
    normalisation by the image's own statistics, a nonlinearity that is no module of torch.nn) or
    the score is not linear in the logits.
    """
    A = capture.activations
    contributions, reference = _contributions(capture)
    _require_completeness(contributions, capture.scores - reference, capture.scores)
    return defined(weighted_sum(contributions.sum(dim=(2, 3)), A), A)


def _contributions(capture: Capture) -> tuple[Tensor, Tensor]:
    """`m ⊙ A` (N×K×h×w) and the scores (N) of A = 0, both from one pass of the head."""
    count = len(capture)
    rows = torch.arange(count, device=capture.activations.device)
    modules = capture.divided.modules() if isinstance(capture.divided, nn.Module) else ()
    with torch.inference_mode(False), torch.enable_grad():
        A = capture.activations.detach().clone().requires_grad_(True)
        with rescaled(modules, 2 * count):
            logits = capture.read(torch.cat([A, torch.zeros_like(A)]))
        scores = capture.objective(logits[:count], rows)
        (multipliers,) = torch.autograd.grad(scores.sum(), A)
        reference = capture.objective(logits[count:], rows)
    return multipliers * A.detach(), reference.detach()


def _require_completeness(contributions: Tensor, change: Tensor, scores: Tensor) -> None:
    """Raise :class:`NotApplicableError` unless Σ contributions = `change` (N) to rounding."""
    total = contributions.sum(dim=(1, 2, 3))
    share = min(5e-2, max(1e-7, 840 * torch.finfo(scores.dtype).eps))  # 1e-4 in float32
    scale = torch.maximum(contributions.abs().sum(dim=(1, 2, 3)), change.abs())
    allowed = share * (scale + scores.abs() / 10)  # the change is a difference of such scores
    missing = (total - change).abs()
    broken = torch.isfinite(missing + allowed) & (missing > allowed)
    if bool(broken.any()):
        worst = int(torch.where(broken, missing, -1).argmax())
        raise NotApplicableError(
            "LIFT-CAM needs contributions that sum to the change of the score; they sum to "
            f"{float(total[worst]):.6g} where the score changes by {float(change[worst]):.6g}. The "
            "head (or the score) holds something that DeepLIFT's rescale rule does not cover: max "
            "pooling, softmax, a normalisation, or a nonlinearity that is no torch.nn module"
        )
