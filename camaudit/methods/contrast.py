"""Finer-CAM: what speaks for the class rather than for those it is most easily taken for."""

from __future__ import annotations

from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import NotApplicableError
from camaudit.methods.base import MethodInfo, defined, method, weighted_sum
from camaudit.methods.options import count, not_negative
from camaudit.objective import contrastive

__all__ = ["finercam"]


@method(
    "finercam",
    MethodInfo(
        paper="Zhang et al. 2025, Finer-CAM: Spotting the Difference Reveals Finer Details",
        equation="definition",
        formula="GradCAM of s_c − γ mean_t s_t over the T classes of nearest logit",
        family="gradient",
        cost="1 head forward and gradient",
    ),
)
def finercam(capture: Capture, *, strength: float = 0.6, references: int = 3) -> Tensor:
    """`w_k = mean_ij ∂(s_c − γ mean_t s_t)/∂A_kij`, `L = ReLU(Σ_k w_k A_k)`; returns N×h×w.

    Zhang et al. 2025, Finer-CAM; t runs over the `references` other classes whose logits are
    nearest to `s_c` (fewer where the model has fewer), γ is the `strength`.

    The contrast takes the place of the capture's own objective and keeps its classes, also where
    that is contrastive or counterfactual. Raises
    :class:`camaudit.errors.NotApplicableError` for a custom objective, which names no class, and
    for a model with a single class; :class:`camaudit.errors.UsageError` for other values of the
    options.
    """
    count("references", references)
    not_negative("strength", strength)
    if capture.objective.function is not None:
        raise NotApplicableError(
            "Finer-CAM contrasts the logit of a class with others; a custom objective names no "
            "class (use a class, contrastive or counterfactual objective)"
        )
    if capture.logits.shape[1] < 2:
        raise NotApplicableError(
            "Finer-CAM contrasts the logit of a class with others; this model has a single class"
        )
    other = capture.explaining(contrastive(references, strength=strength))
    maps = weighted_sum(other.gradients.mean(dim=(2, 3)), other.activations)
    return defined(maps, capture.activations)
