"""One forward and one gradient of the head: everything that saliency methods read.

`A` = output of the target layer (N×K×h×w), `G = ∂s_c/∂A`, `s_c` the target logit. The trunk runs
without autograd and the gradient stops at `A`: nothing below the target layer is differentiated,
and no parameter's `.grad` is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from camaudit.errors import DegenerateModelError, UsageError
from camaudit.linear_head import pooled_linear_weight

__all__ = ["Capture", "Divided", "capture"]


class Divided(Protocol):
    """A model cut at its target layer (a :class:`camaudit.cut.Cut`, with or without a wall)."""

    def trunk(self, images: Tensor) -> Tensor:
        """Activations (N×K×h×w) of images (N×C×H×W)."""

    def read(self, activations: Tensor) -> Tensor:
        """Logits (M×C) of activations (M×K×h×w)."""

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N×C) of images."""


@dataclass(frozen=True, eq=False)
class Capture:
    """What a batch left at the target layer.

    images (N×C×H×W), activations and gradients (N×K×h×w), logits (N×C), targets (N, int64),
    scores (N) = logits at the targets. `head` maps M×K×h×w to M×C and `model` M×C×H×W to M×C,
    both without autograd. `linear_weight()` is the class weight (C×K) of a pooled Linear head or
    raises :class:`camaudit.errors.NotApplicableError`. `batch_size` bounds the images of one
    perturbation forward.
    """

    images: Tensor
    activations: Tensor
    gradients: Tensor
    logits: Tensor
    targets: Tensor
    scores: Tensor
    head: Callable[[Tensor], Tensor]
    model: Callable[[Tensor], Tensor]
    linear_weight: Callable[[], Tensor]
    batch_size: int = 16

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (H, W) of the images."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    def rows(self, start: int, stop: int) -> Capture:
        """The capture of images start … stop − 1, without computing anything again."""
        fields = ("images", "activations", "gradients", "logits", "targets", "scores")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in fields})


def capture(
    divided: Divided,
    images: Tensor,
    *,
    targets: Tensor | None = None,
    batch_size: int = 16,
) -> Capture:
    """Run `divided` once on `images` (N×C×H×W) and differentiate its head once.

    `targets` (N, int64) defaults to the model's top-1. Raises :class:`DegenerateModelError` where
    logits are not finite and :class:`UsageError` for targets that do not fit.
    """
    with torch.inference_mode(False):
        with torch.no_grad():
            activations = divided.trunk(images).detach()
        leaf = activations.clone().requires_grad_(True)
        with torch.enable_grad():
            logits = divided.read(leaf)
            targets = _resolve_targets(targets, logits)
            scores = logits.gather(1, targets[:, None]).squeeze(1)
            (gradients,) = torch.autograd.grad(scores.sum(), leaf)
    return Capture(
        images=images,
        activations=activations,
        gradients=gradients,
        logits=logits.detach(),
        targets=targets,
        scores=scores.detach(),
        head=torch.no_grad()(divided.read),
        model=torch.no_grad()(divided.logits),
        linear_weight=lambda: pooled_linear_weight(divided, activations),
        batch_size=batch_size,
    )


def _resolve_targets(targets: Tensor | None, logits: Tensor) -> Tensor:
    if not bool(torch.isfinite(logits).all()):
        bad = (~torch.isfinite(logits).all(dim=1)).nonzero().flatten().tolist()
        raise DegenerateModelError(
            f"the model's logits are NaN or infinite for {len(bad)} of {len(logits)} image(s) "
            f"(rows {bad[:5]} of the batch): there is no decision to explain; check the weights "
            "and the preprocessing"
        )
    if targets is None:
        return logits.argmax(dim=1)
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise UsageError(f"target classes must be integers; got {targets.dtype}")
    targets = targets.to(device=logits.device, dtype=torch.int64)
    if targets.shape != logits.shape[:1]:
        raise UsageError(
            f"expected one target class an image, {len(logits)} in all; got shape "
            f"{tuple(targets.shape)}"
        )
    if bool(((targets < 0) | (targets >= logits.shape[1])).any()):
        raise UsageError(
            f"target classes must be 0 to {logits.shape[1] - 1}; got {targets.tolist()[:5]}"
        )
    return targets
